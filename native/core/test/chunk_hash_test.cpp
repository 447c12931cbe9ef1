// The hash against the vectors of scripts/hash-vectors.py, the implementations against each other, and structured contents that a bad
// implementation (a lane, a row or a word treated like another) would confuse.
#include "core/chunk_hash.h"

#include <fstream>
#include <map>
#include <set>

#include "core/test/check.h"

namespace gcr::test {
namespace {

Bytes content(const std::string& pattern, size_t length) {
  Bytes bytes(length);
  if (pattern == "ones") std::fill(bytes.begin(), bytes.end(), uint8_t{0xff});
  if (pattern == "counter") {
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<uint8_t>(i);
  }
  if (pattern == "last") bytes[length - 1] = 0x80;
  if (pattern == "lcg") {
    auto state = static_cast<uint32_t>(length);
    for (uint8_t& byte : bytes) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<uint8_t>(state >> 24);
    }
  }
  return bytes;
}

TEST(hashes_are_those_of_the_independent_implementation) {
  std::ifstream file(GCR_FIXTURES "/hash/vectors.json");
  bool tree = false;
  int seen = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.find("\"tree\"") != std::string::npos) tree = true;
    char pattern[16];
    char hash[33];
    size_t length = 0;
    if (std::sscanf(line.c_str(), " {\"pattern\": \"%15[a-z]\", \"length\": %zu, \"hash\": \"%32[0-9a-f]\"}", pattern, &length, hash) != 3) {
      continue;
    }
    const Bytes bytes = content(pattern, length);
    ++seen;
    if (tree) {
      CHECK(tree_hash(bytes.data(), bytes.size()).hex() == hash);
      continue;
    }
    for (const HashImplementation& implementation : hash_implementations()) {
      CHECK(implementation.hash(bytes.data(), bytes.size()).hex() == hash);
    }
  }
  CHECK(seen == 68);
}

TEST(implementations_agree_on_any_length) {
  Random random(1);
  const Bytes bytes = random.bytes(kChunkBytes + 64);
  for (int round = 0; round < 2000; ++round) {
    const size_t length = round < 100 ? static_cast<size_t>(round) * 11 : random.below(kChunkBytes + 1);
    const uint8_t* const start = bytes.data() + random.below(64);
    std::set<ChunkName> names;
    for (const HashImplementation& implementation : hash_implementations()) names.insert(implementation.hash(start, length));
    CHECK(names.size() == 1);
  }
}

TEST(structured_contents_do_not_collide) {
  std::map<ChunkName, std::string> seen;
  Bytes bytes(kChunkBytes);
  const auto add = [&](const std::string& what) {
    const auto [at, added] = seen.emplace(chunk_hash(bytes.data(), bytes.size()), what);
    if (!added) fail(__FILE__, __LINE__, what + " collides with " + at->second);
  };
  add("zero");
  for (size_t byte = 0; byte < kChunkBytes; ++byte) {
    bytes[byte] = static_cast<uint8_t>(1 << (byte % 8));
    add("bit in byte " + std::to_string(byte));
    bytes[byte] = 0;
  }
  for (size_t bit = 0; bit < 8 * 1024; ++bit) {
    bytes[bit / 8] = static_cast<uint8_t>(1 << (bit % 8));
    if (bit / 8 % 8 != bit % 8) add("bit " + std::to_string(bit));
    bytes[bit / 8] = 0;
  }
  Random random(2);
  const Bytes original = random.bytes(kChunkBytes);
  const auto swapped = [&](size_t a, size_t b, size_t size, const char* what) {
    bytes = original;
    std::swap_ranges(bytes.begin() + static_cast<long>(a), bytes.begin() + static_cast<long>(a + size), bytes.begin() + static_cast<long>(b));
    add(std::string(what) + " " + std::to_string(a) + " and " + std::to_string(b));
  };
  for (size_t word = 1; word < 2048; ++word) swapped(4 * (word - 1), 4 * word, 4, "words");
  for (size_t lane = 1; lane < 64; ++lane) swapped(0, 16 * lane, 16, "lanes of a row");
  for (size_t row = 1; row < 64; ++row) swapped(0, 1024 * row, 1024, "rows");
  for (size_t lane = 1; lane < 64; ++lane) {
    bytes = original;
    for (size_t row = 0; row < 64; ++row) {
      std::swap_ranges(bytes.begin() + static_cast<long>(1024 * row), bytes.begin() + static_cast<long>(1024 * row + 16),
                       bytes.begin() + static_cast<long>(1024 * row + 16 * lane));
    }
    add("whole lanes 0 and " + std::to_string(lane));
  }
  for (size_t shift = 1; shift < 2048; ++shift) {
    std::copy(original.begin(), original.end() - static_cast<long>(shift), bytes.begin() + static_cast<long>(shift));
    std::copy(original.end() - static_cast<long>(shift), original.end(), bytes.begin());
    add("shifted by " + std::to_string(shift));
  }
  std::fill(bytes.begin(), bytes.end(), uint8_t{0});
  for (size_t length = 0; length < kChunkBytes; ++length) {
    const auto [at, added] = seen.emplace(chunk_hash(bytes.data(), length), "zeros " + std::to_string(length));
    if (!added) fail(__FILE__, __LINE__, "zeros collide: " + std::to_string(length) + ", " + at->second);
  }
}

TEST(tree_hash_by_pieces_is_the_tree_hash) {
  Random random(3);
  for (const size_t length : {size_t{0}, size_t{1}, size_t{65535}, size_t{65536}, size_t{65537}, size_t{131072}, size_t{400000}}) {
    const Bytes bytes = random.bytes(length);
    TreeHasher hasher;
    for (size_t at = 0; at < length;) {
      const size_t piece = std::min<size_t>(length - at, 1 + random.below(90000));
      hasher.add(bytes.data() + at, piece);
      at += piece;
    }
    CHECK(hasher.finish() == tree_hash(bytes.data(), length));
    // By the definition, one level at a time.
    Bytes level = bytes;
    while (level.size() > kChunkBytes) {
      Bytes next;
      for (size_t at = 0; at < level.size(); at += kChunkBytes) {
        const ChunkName name = chunk_hash(level.data() + at, std::min(kChunkBytes, level.size() - at));
        next.insert(next.end(), name.bytes.begin(), name.bytes.end());
      }
      level = next;
    }
    CHECK(chunk_hash(level.data(), level.size()) == tree_hash(bytes.data(), length));
  }
}

TEST(zero_chunks_are_recognised_at_every_byte) {
  for (const size_t length : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, size_t{100}, kChunkBytes}) {
    Bytes bytes(length);
    CHECK(chunk_name(bytes.data(), length).is_zero());
    for (size_t at = 0; at < length; at += length > 1000 ? 61 : 1) {
      bytes[at] = 1;
      CHECK(!is_all_zero(bytes.data(), length));
      bytes[at] = 0;
    }
    bytes[length - 1] = 0x80;
    CHECK(!chunk_name(bytes.data(), length).is_zero());
  }
}

}  // namespace
}  // namespace gcr::test
