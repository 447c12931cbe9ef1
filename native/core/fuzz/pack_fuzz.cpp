// A pack of any content: reading it either fails as `damaged` or gives a table within the file. The hashes of table and trailer are set
// right in half of the inputs, or mutations would never get behind them.
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "core/fuzz/fuzz.h"
#include "core/names.h"
#include "core/pack.h"

namespace {

constexpr uint64_t kNumber = 0x1234;

void repair(std::vector<uint8_t>& file) {
  if (file.size() < 2 * gcr::kBlockBytes) return;
  uint8_t* const trailer = file.data() + file.size() - gcr::kBlockBytes;
  uint64_t entries;
  uint64_t table;
  std::memcpy(&entries, trailer + 8, 8);
  std::memcpy(&table, trailer + 16, 8);
  if (table <= file.size() && entries <= (file.size() - table) / 32) {
    const gcr::ChunkName hash = gcr::tree_hash(file.data() + table, entries * 32);
    std::memcpy(trailer + 24, &hash, sizeof hash);
  }
  const gcr::ChunkName hash = gcr::chunk_hash(trailer, 4080);
  std::memcpy(trailer + 4080, &hash, sizeof hash);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto backend = gcr::open_memory_backend("fuzz-pack", true);
  std::vector<uint8_t> file(data, data + size);
  if (size % 2 == 0) repair(file);
  backend->put(gcr::pack_name(kNumber), file, gcr::PutMode::replace);
  try {
    for (const gcr::PackEntry& entry : gcr::read_pack_table(*backend, kNumber)) {
      if (uint64_t{entry.block} * gcr::kBlockBytes + entry.length > size || entry.length > gcr::kChunkBytes) std::abort();
    }
  } catch (const gcr::StoreError& error) {
    if (error.kind() != gcr::ErrorKind::damaged) std::abort();
  }
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  std::vector<uint8_t> file(gcr::kBlockBytes);
  gcr::encode_pack_header(kNumber, file.data());
  std::vector<gcr::PackEntry> table;
  for (uint32_t i = 0; i < 5; ++i) {
    table.push_back({gcr::chunk_hash(file.data(), i), static_cast<uint32_t>(file.size() / gcr::kBlockBytes), 4000, 0});
    file.resize(file.size() + gcr::kBlockBytes, static_cast<uint8_t>(i));
  }
  const size_t place = file.size();
  file.resize(place + 2 * gcr::kBlockBytes);
  std::memcpy(file.data() + place, table.data(), table.size() * 32);
  gcr::encode_pack_trailer(kNumber, {table.size(), place, gcr::tree_hash(file.data() + place, table.size() * 32)},
                           file.data() + place + gcr::kBlockBytes);
  return {file, {}};
}
