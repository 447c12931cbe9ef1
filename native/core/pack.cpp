#include "core/pack.h"

#include <algorithm>
#include <cstring>

#include "core/block.h"
#include "core/error.h"
#include "core/names.h"

namespace gcr {
namespace {

constexpr char kHeaderMagic[8] = {'G', 'C', 'R', 'P', 'A', 'C', 'K', '\0'};
constexpr char kTrailerMagic[8] = {'G', 'C', 'R', 'P', 'K', 'E', 'N', 'D'};
constexpr uint32_t kVersion = 1;
constexpr size_t kCheckedTrailerBytes = 4080;

}  // namespace

void encode_pack_header(uint64_t number, uint8_t* block) {
  std::memset(block, 0, kBlockBytes);
  std::memcpy(block, kHeaderMagic, 8);
  store(block, 8, kVersion);
  store(block, 12, static_cast<uint32_t>(kChunkBytes));
  store(block, 16, number);
}

void encode_pack_trailer(uint64_t number, const PackTrailer& trailer, uint8_t* block) {
  std::memset(block, 0, kBlockBytes);
  std::memcpy(block, kTrailerMagic, 8);
  store(block, 8, trailer.entries);
  store(block, 16, trailer.table);
  store(block, 24, trailer.table_hash);
  store(block, 40, number);
  store(block, kCheckedTrailerBytes, chunk_hash(block, kCheckedTrailerBytes));
}

void check_pack_header(const uint8_t* block, uint64_t number, const std::string& file) {
  if (std::memcmp(block, kHeaderMagic, 8) != 0) damaged(file, "is not a pack");
  if (load<uint32_t>(block, 8) != kVersion) damaged(file, "is a pack of an unknown version");
  if (load<uint32_t>(block, 12) != kChunkBytes) damaged(file, "is a pack with another chunk size");
  if (load<uint64_t>(block, 16) != number) damaged(file, "has another pack's number");
}

PackTrailer parse_pack_trailer(const uint8_t* block, uint64_t number, uint64_t file_bytes, const std::string& file) {
  if (std::memcmp(block, kTrailerMagic, 8) != 0) damaged(file, "has no trailer");
  if (load<ChunkName>(block, kCheckedTrailerBytes) != chunk_hash(block, kCheckedTrailerBytes)) {
    damaged(file, "the trailer's hash is wrong");
  }
  const PackTrailer trailer{load<uint64_t>(block, 8), load<uint64_t>(block, 16), load<ChunkName>(block, 24)};
  if (load<uint64_t>(block, 40) != number) damaged(file, "the trailer has another pack's number");
  if (trailer.entries > kMostPackEntries) damaged(file, "has too many entries");
  if (trailer.table < kBlockBytes || trailer.table % kBlockBytes != 0 || trailer.table > file_bytes) {
    damaged(file, "the table's place is wrong");
  }
  if (trailer.table + round_up(trailer.entries * sizeof(PackEntry), kBlockBytes) + kBlockBytes != file_bytes) {
    damaged(file, "the file's size does not fit its table");
  }
  return trailer;
}

void check_pack_table(std::span<const PackEntry> table, const PackTrailer& trailer, const std::string& file) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(table.data());
  if (tree_hash(bytes, table.size_bytes()) != trailer.table_hash) damaged(file, "the table's hash is wrong");
  uint64_t end = kBlockBytes;
  for (const PackEntry& entry : table) {
    const uint64_t place = uint64_t{entry.block} * kBlockBytes;
    if (entry.length == 0 || entry.length > kChunkBytes || entry.name.is_zero() || entry.zero != 0 || place < end ||
        place + padded(entry.length) > trailer.table) {
      damaged(file, "the table has an entry that cannot be");
    }
    end = place + padded(entry.length);
  }
}

std::vector<PackEntry> read_pack_table(Backend& backend, uint64_t number) {
  const std::string name = pack_name(number);
  const auto file = backend.open(name, Access::small);
  if (file->size() < 2 * kBlockBytes || file->size() % kBlockBytes != 0) damaged(name, "the file's size is no pack's");
  Block block;
  file->read(0, block.data(), block.size());
  check_pack_header(block.data(), number, name);
  file->read(file->size() - kBlockBytes, block.data(), block.size());
  const PackTrailer trailer = parse_pack_trailer(block.data(), number, file->size(), name);
  std::vector<PackEntry> table(trailer.entries);
  if (!table.empty()) file->read(trailer.table, table.data(), table.size() * sizeof(PackEntry));
  check_pack_table(table, trailer, name);
  return table;
}

PackWriter::PackWriter(Backend& backend) : number_(random_number()) {
  file_ = backend.create(pack_name(number_), Access::large);
  AlignedBuffer header(kBlockBytes);
  encode_pack_header(number_, header.data());
  file_->write(0, header.data(), kBlockBytes);
}

uint32_t PackWriter::append(std::span<const NewChunk> chunks) {
  const auto needs_staging = [&](const NewChunk& chunk) {
    return chunk.length % kBlockBytes != 0 || (file_->wants_alignment() && !is_aligned(chunk.bytes));
  };
  uint64_t staged = 0;
  for (const NewChunk& chunk : chunks) {
    if (needs_staging(chunk)) staged += padded(chunk.length);
  }
  if (staging_.size() < staged) staging_ = AlignedBuffer(round_up(staged, kChunkBytes));

  std::vector<iovec> pieces;
  uint64_t length = 0;
  uint8_t* free = staging_.data();
  for (const NewChunk& chunk : chunks) {
    auto* bytes = const_cast<uint8_t*>(chunk.bytes);
    if (needs_staging(chunk)) {
      std::memcpy(free, chunk.bytes, chunk.length);
      std::memset(free + chunk.length, 0, padded(chunk.length) - chunk.length);
      bytes = free;
      free += padded(chunk.length);
    }
    if (!pieces.empty() && static_cast<uint8_t*>(pieces.back().iov_base) + pieces.back().iov_len == bytes) {
      pieces.back().iov_len += padded(chunk.length);
    } else {
      pieces.push_back({bytes, padded(chunk.length)});
    }
    length += padded(chunk.length);
  }
  const uint64_t place = end_;
  file_->write(place, pieces);
  for (const NewChunk& chunk : chunks) {
    table_.push_back({chunk.name, static_cast<uint32_t>(end_ / kBlockBytes), chunk.length, 0});
    end_ += padded(chunk.length);
  }
  return static_cast<uint32_t>(place / kBlockBytes);
}

void PackWriter::close() {
  const uint64_t table_bytes = table_.size() * sizeof(PackEntry);
  AlignedBuffer tail(round_up(table_bytes, kBlockBytes) + kBlockBytes);
  std::memset(tail.data(), 0, tail.size());
  if (!table_.empty()) std::memcpy(tail.data(), table_.data(), table_bytes);
  const PackTrailer trailer{table_.size(), end_, tree_hash(tail.data(), table_bytes)};
  encode_pack_trailer(number_, trailer, tail.data() + tail.size() - kBlockBytes);
  file_->write(end_, tail.data(), tail.size());
  file_->commit(PutMode::create);
  file_.reset();
}

}  // namespace gcr
