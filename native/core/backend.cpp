#include "core/backend.h"

#include "core/error.h"
#include "core/names.h"

namespace gcr {

void InputFile::read(uint64_t offset, void* target, size_t length) {
  iovec piece{target, length};
  read(offset, std::span(&piece, 1));
}

void OutputFile::write(uint64_t offset, const void* bytes, size_t length) {
  iovec piece{const_cast<void*>(bytes), length};
  write(offset, std::span(&piece, 1));
}

std::vector<uint8_t> Backend::get(const std::string& name, uint64_t limit) {
  const auto file = open(name, Access::small);
  const uint64_t size = file->size();
  if (size > limit) {
    throw StoreError(ErrorKind::invalid, name,
                     "has " + std::to_string(size) + " bytes, more than the " + std::to_string(limit) + " expected");
  }
  std::vector<uint8_t> bytes(size);
  if (size > 0) file->read(0, bytes.data(), size);
  return bytes;
}

void Backend::put(const std::string& name, std::span<const uint8_t> bytes, PutMode mode) {
  const auto file = create(name, Access::small);
  if (!bytes.empty()) file->write(0, bytes.data(), bytes.size());
  file->commit(mode);
  sync_folder(std::string(split_name(name).folder));
}

}  // namespace gcr
