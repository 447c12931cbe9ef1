// Pack files (docs/formats/store.md): building one chunk after the other, and reading table and trailer back. A reader never believes a
// number before it is held against the file's size; what it holds in memory is bounded by kMostPackEntries.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/aligned_buffer.h"
#include "core/backend.h"
#include "core/chunk_hash.h"

namespace gcr {

constexpr uint64_t kMostPackEntries = 1 << 20;
constexpr uint64_t kPackBytes = uint64_t{256} << 20;
constexpr uint64_t kLeastPackBytes = uint64_t{64} << 20;

/// An entry of a pack table, as it is in the file.
struct PackEntry {
  ChunkName name;
  uint32_t block;
  uint32_t length;
  uint64_t zero;
};
static_assert(sizeof(PackEntry) == 32);

/// Bytes that a chunk takes in a pack.
constexpr uint64_t padded(uint32_t length) { return round_up(length, kBlockBytes); }

struct PackTrailer {
  uint64_t entries;
  uint64_t table;  // place of the table in the file
  ChunkName table_hash;
};

using Block = std::array<uint8_t, kBlockBytes>;

void encode_pack_header(uint64_t number, uint8_t* block);
void encode_pack_trailer(uint64_t number, const PackTrailer& trailer, uint8_t* block);
/// Throw `damaged`, naming `file`.
void check_pack_header(const uint8_t* block, uint64_t number, const std::string& file);
PackTrailer parse_pack_trailer(const uint8_t* block, uint64_t number, uint64_t file_bytes, const std::string& file);
void check_pack_table(std::span<const PackEntry> table, const PackTrailer& trailer, const std::string& file);

/// Reads header, trailer and table of a pack and checks all of it; throws `damaged`.
std::vector<PackEntry> read_pack_table(Backend& backend, uint64_t number);

/// A chunk to be appended.
struct NewChunk {
  ChunkName name;
  const uint8_t* bytes;
  uint32_t length;
};

/// Builds one pack. One thread at a time.
class PackWriter {
 public:
  explicit PackWriter(Backend& backend);
  uint64_t number() const { return number_; }
  uint64_t bytes() const { return end_; }
  bool full(uint64_t target) const { return end_ >= target || table_.size() >= kMostPackEntries - 1024; }

  /// Appends chunks with one write, straight from their memory where it is aligned. Gives the block of the first; the others
  /// follow it without a gap. At most 1,024 chunks.
  uint32_t append(std::span<const NewChunk> chunks);

  /// Table and trailer, content to disk, final name. The caller syncs the folder.
  void close();

 private:
  std::unique_ptr<OutputFile> file_;
  uint64_t number_;
  uint64_t end_ = kBlockBytes;
  std::vector<PackEntry> table_;
  AlignedBuffer staging_;
};

}  // namespace gcr
