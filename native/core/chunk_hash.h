// The chunk hash gcr-nh128-1 (docs/formats/chunk-hash.md). Every implementation here yields the same sixteen bytes; which one runs is
// decided once, by what the processor has. The whole store relies on it to recognise equal chunks and damage.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace gcr {

constexpr size_t kChunkBytes = 65536;

/// A hash, and the name of a chunk. All zero is the zero name: a chunk of zero bytes only.
struct ChunkName {
  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const ChunkName&) const = default;
  bool is_zero() const { return *this == ChunkName{}; }
  std::string hex() const;
  /// The first eight bytes as a number that orders like the name.
  uint64_t prefix() const {
    uint64_t value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return __builtin_bswap64(value);
  }
};

/// Hash of at most 65,536 bytes.
ChunkName chunk_hash(const uint8_t* bytes, size_t length);

/// Tree hash of any number of bytes.
ChunkName tree_hash(const uint8_t* bytes, size_t length);

/// Tree hash of bytes that come piece by piece; holds 64 KiB a level.
class TreeHasher {
 public:
  void add(const uint8_t* bytes, size_t length);
  ChunkName finish();

 private:
  void add_at(size_t level, const uint8_t* bytes, size_t length);
  struct Level {
    std::vector<uint8_t> page;
    bool continued = false;  // a page of this level has gone up already
  };
  std::vector<Level> levels_;
};

bool is_all_zero(const uint8_t* bytes, size_t length);

/// The name of a chunk's content: the zero name for zero bytes, else the hash.
ChunkName chunk_name(const uint8_t* bytes, size_t length);

/// For tests: the implementations that this processor can run, the plain one first.
struct HashImplementation {
  const char* name;
  ChunkName (*hash)(const uint8_t* bytes, size_t length);
};
std::vector<HashImplementation> hash_implementations();

}  // namespace gcr
