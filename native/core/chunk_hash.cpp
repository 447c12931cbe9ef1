#include "core/chunk_hash.h"

#include <algorithm>
#include <bit>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static_assert(std::endian::native == std::endian::little, "the store's formats are read in place, as little-endian");

namespace gcr {
namespace {

constexpr size_t kRowBytes = 1024;
constexpr size_t kMostRows = kChunkBytes / kRowBytes;
constexpr size_t kLanes = 64;
constexpr size_t kPasses = 4;
constexpr size_t kFirstKeyWords = 262;
constexpr size_t kSecondKeyWords = 518;

struct Keys {
  alignas(64) std::array<uint32_t, kFirstKeyWords> first{};
  alignas(64) std::array<uint32_t, kSecondKeyWords> second{};
};

constexpr Keys make_keys() {
  Keys keys;
  uint64_t state = 0x6763722d68617368;
  for (size_t j = 0; j < (kFirstKeyWords + kSecondKeyWords) / 2; ++j) {
    state += 0x9e3779b97f4a7c15;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    for (size_t half = 0; half < 2; ++half) {
      const size_t word = 2 * j + half;
      const auto value = static_cast<uint32_t>(z >> (32 * half));
      if (word < kFirstKeyWords) {
        keys.first[word] = value;
      } else {
        keys.second[word - kFirstKeyWords] = value;
      }
    }
  }
  return keys;
}

constexpr Keys kKeys = make_keys();

/// A[l][p] of the document at place 4 l + p, which is also the order of the second message's words.
using FirstSums = std::array<uint64_t, kLanes * kPasses>;
using SecondSums = std::array<uint64_t, kPasses>;

uint32_t word_at(const uint8_t* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

struct Scalar {
  /// Adds `rows` rows, the first of which is row `row` of the chunk.
  static void first(const uint8_t* data, size_t rows, size_t row, FirstSums& sums) {
    for (size_t r = 0; r < rows; ++r) {
      const uint32_t* key = kKeys.first.data() + 4 * (row + r);
      const uint8_t* words = data + r * kRowBytes;
      for (size_t lane = 0; lane < kLanes; ++lane) {
        for (size_t pass = 0; pass < kPasses; ++pass) {
          for (size_t h = 0; h < 2; ++h) {
            const uint32_t left = word_at(words + 16 * lane + 8 * h) + key[2 * h + 2 * pass];
            const uint32_t right = word_at(words + 16 * lane + 8 * h + 4) + key[2 * h + 1 + 2 * pass];
            sums[kPasses * lane + pass] += static_cast<uint64_t>(left) * right;
          }
        }
      }
    }
  }

  static void second(const FirstSums& message, SecondSums& sums) {
    for (size_t i = 0; i < message.size(); ++i) {
      for (size_t pass = 0; pass < kPasses; ++pass) {
        const uint32_t left = static_cast<uint32_t>(message[i]) + kKeys.second[2 * i + 2 * pass];
        const uint32_t right = static_cast<uint32_t>(message[i] >> 32) + kKeys.second[2 * i + 1 + 2 * pass];
        sums[pass] += static_cast<uint64_t>(left) * right;
      }
    }
  }
};

#if defined(__x86_64__)
/// Chunks are mostly hashed one behind the other, and the walk down a part of the columns is nothing that a processor foresees. So while
/// a full chunk is computed the memory behind it is fetched, step by step; where nothing follows that does no harm.
template <size_t kLines>
inline void fetch_next_chunk(const uint8_t* chunk, size_t step) {
  const uint8_t* const next = chunk + kChunkBytes + step * kLines * 64;
  for (size_t line = 0; line < kLines; ++line) _mm_prefetch(next + 64 * line, _MM_HINT_T1);
}

#define GCR_AVX2 __attribute__((target("avx2")))
#define GCR_AVX512 __attribute__((target("avx512f,avx512dq")))

struct Avx2 {
  // 64 bytes of columns at a time: eight sums stay in registers over all rows.
  GCR_AVX2 static void first(const uint8_t* data, size_t rows, size_t row, FirstSums& sums) {
    for (size_t column = 0; column < kRowBytes; column += 64) {
      __m256i sum[2][kPasses];
      for (auto& vector : sum) {
        for (auto& value : vector) value = _mm256_setzero_si256();
      }
      for (size_t r = 0; r < rows; ++r) {
        const uint32_t* key = kKeys.first.data() + 4 * (row + r);
        const uint8_t* words = data + r * kRowBytes + column;
        if (rows == kMostRows) fetch_next_chunk<1>(data, column + r);
        const __m256i word[2] = {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)),
                                 _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words + 32))};
#pragma GCC unroll 4
        for (size_t pass = 0; pass < kPasses; ++pass) {
          const __m256i k =
              _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(key + 2 * pass)));
#pragma GCC unroll 2
          for (size_t v = 0; v < 2; ++v) {
            const __m256i x = _mm256_add_epi32(word[v], k);
            sum[v][pass] = _mm256_add_epi64(sum[v][pass], _mm256_mul_epu32(x, _mm256_srli_epi64(x, 32)));
          }
        }
      }
      // A vector holds h = 0 and 1 of two lanes; their sum is the lane's.
      for (size_t v = 0; v < 2; ++v) {
        const __m256i low = _mm256_add_epi64(_mm256_unpacklo_epi64(sum[v][0], sum[v][1]),
                                             _mm256_unpackhi_epi64(sum[v][0], sum[v][1]));
        const __m256i high = _mm256_add_epi64(_mm256_unpacklo_epi64(sum[v][2], sum[v][3]),
                                              _mm256_unpackhi_epi64(sum[v][2], sum[v][3]));
        auto* out = reinterpret_cast<__m256i*>(sums.data() + column / 4 + 8 * v);
        _mm256_storeu_si256(
            out, _mm256_add_epi64(_mm256_loadu_si256(out), _mm256_permute2x128_si256(low, high, 0x20)));
        _mm256_storeu_si256(
            out + 1, _mm256_add_epi64(_mm256_loadu_si256(out + 1), _mm256_permute2x128_si256(low, high, 0x31)));
      }
    }
  }

  GCR_AVX2 static void second(const FirstSums& message, SecondSums& sums) {
    __m256i sum[kPasses];
    for (auto& value : sum) value = _mm256_setzero_si256();
    for (size_t i = 0; i < message.size(); i += 4) {
      const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(message.data() + i));
      for (size_t pass = 0; pass < kPasses; ++pass) {
        const auto* key = reinterpret_cast<const __m256i*>(kKeys.second.data() + 2 * i + 2 * pass);
        const __m256i x = _mm256_add_epi32(word, _mm256_loadu_si256(key));
        sum[pass] = _mm256_add_epi64(sum[pass], _mm256_mul_epu32(x, _mm256_srli_epi64(x, 32)));
      }
    }
    for (size_t pass = 0; pass < kPasses; ++pass) {
      alignas(32) std::array<uint64_t, 4> parts;
      _mm256_store_si256(reinterpret_cast<__m256i*>(parts.data()), sum[pass]);
      sums[pass] = parts[0] + parts[1] + parts[2] + parts[3];
    }
  }
};

struct Avx512 {
  // 256 bytes of columns at a time: sixteen sums stay in registers over all rows.
  GCR_AVX512 static void first(const uint8_t* data, size_t rows, size_t row, FirstSums& sums) {
    constexpr size_t kVectors = 4;
    for (size_t column = 0; column < kRowBytes; column += 64 * kVectors) {
      __m512i sum[kVectors][kPasses];
      for (auto& vector : sum) {
        for (auto& value : vector) value = _mm512_setzero_si512();
      }
      for (size_t r = 0; r < rows; ++r) {
        const uint32_t* key = kKeys.first.data() + 4 * (row + r);
        const uint8_t* words = data + r * kRowBytes + column;
        if (rows == kMostRows) fetch_next_chunk<kVectors>(data, column / kVectors + r);
        __m512i k[kPasses];
#pragma GCC unroll 4
        for (size_t pass = 0; pass < kPasses; ++pass) {
          k[pass] = _mm512_broadcast_i64x2(_mm_loadu_si128(reinterpret_cast<const __m128i*>(key + 2 * pass)));
        }
#pragma GCC unroll 4
        for (size_t v = 0; v < kVectors; ++v) {
          const __m512i word = _mm512_loadu_si512(words + 64 * v);
#pragma GCC unroll 4
          for (size_t pass = 0; pass < kPasses; ++pass) {
            const __m512i x = _mm512_add_epi32(word, k[pass]);
            sum[v][pass] = _mm512_add_epi64(sum[v][pass], _mm512_mul_epu32(x, _mm512_srli_epi64(x, 32)));
          }
        }
      }
      for (size_t v = 0; v < kVectors; ++v) {
        const __m512i low = _mm512_add_epi64(_mm512_unpacklo_epi64(sum[v][0], sum[v][1]),
                                             _mm512_unpackhi_epi64(sum[v][0], sum[v][1]));
        const __m512i high = _mm512_add_epi64(_mm512_unpacklo_epi64(sum[v][2], sum[v][3]),
                                              _mm512_unpackhi_epi64(sum[v][2], sum[v][3]));
        // Lane j of `low` has passes 0 and 1 of column lane j, `high` passes 2 and 3.
        const __m512i even = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high);
        const __m512i odd = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high);
        uint64_t* out = sums.data() + (column + 64 * v) / 4;
        _mm512_storeu_si512(out, _mm512_add_epi64(_mm512_loadu_si512(out), even));
        _mm512_storeu_si512(out + 8, _mm512_add_epi64(_mm512_loadu_si512(out + 8), odd));
      }
    }
  }

  GCR_AVX512 static void second(const FirstSums& message, SecondSums& sums) {
    __m512i sum[kPasses];
    for (auto& value : sum) value = _mm512_setzero_si512();
    for (size_t i = 0; i < message.size(); i += 8) {
      const __m512i word = _mm512_loadu_si512(message.data() + i);
      for (size_t pass = 0; pass < kPasses; ++pass) {
        const __m512i x = _mm512_add_epi32(word, _mm512_loadu_si512(kKeys.second.data() + 2 * i + 2 * pass));
        sum[pass] = _mm512_add_epi64(sum[pass], _mm512_mul_epu32(x, _mm512_srli_epi64(x, 32)));
      }
    }
    for (size_t pass = 0; pass < kPasses; ++pass) {
      alignas(64) std::array<uint64_t, 8> parts;
      _mm512_store_si512(parts.data(), sum[pass]);
      sums[pass] = parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5] + parts[6] + parts[7];
    }
  }
};
#endif

void sip_round(SecondSums& v) {
  v[0] += v[1];
  v[1] = std::rotl(v[1], 13) ^ v[0];
  v[0] = std::rotl(v[0], 32);
  v[2] += v[3];
  v[3] = std::rotl(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = std::rotl(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = std::rotl(v[1], 17) ^ v[2];
  v[2] = std::rotl(v[2], 32);
}

ChunkName finalise(SecondSums v, uint64_t length) {
  v[3] ^= length;
  for (int i = 0; i < 2; ++i) sip_round(v);
  v[0] ^= length;
  v[2] ^= 0xee;
  for (int i = 0; i < 4; ++i) sip_round(v);
  std::array<uint64_t, 2> halves{v[0] ^ v[1] ^ v[2] ^ v[3], 0};
  v[1] ^= 0xdd;
  for (int i = 0; i < 4; ++i) sip_round(v);
  halves[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
  ChunkName name;
  std::memcpy(name.bytes.data(), halves.data(), sizeof halves);
  if (name.is_zero()) name.bytes[0] = 1;
  return name;
}

template <class Implementation>
ChunkName hash_with(const uint8_t* bytes, size_t length) {
  alignas(64) FirstSums message{};
  const size_t rows = length / kRowBytes;
  const size_t rest = length % kRowBytes;
  if (rows > 0) Implementation::first(bytes, rows, 0, message);
  if (rest > 0 || length == 0) {
    alignas(64) std::array<uint8_t, kRowBytes> padded{};
    if (rest > 0) std::memcpy(padded.data(), bytes + rows * kRowBytes, rest);
    Implementation::first(padded.data(), 1, rows, message);
  }
  SecondSums sums{};
  Implementation::second(message, sums);
  return finalise(sums, length);
}

}  // namespace

std::vector<HashImplementation> hash_implementations() {
  std::vector<HashImplementation> all{{"scalar", hash_with<Scalar>}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) all.push_back({"avx2", hash_with<Avx2>});
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    all.push_back({"avx512", hash_with<Avx512>});
  }
#endif
  return all;
}

std::string ChunkName::hex() const {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

ChunkName chunk_hash(const uint8_t* bytes, size_t length) {
  static const auto best = hash_implementations().back().hash;
  return best(bytes, length);
}

ChunkName tree_hash(const uint8_t* bytes, size_t length) {
  if (length <= kChunkBytes) return chunk_hash(bytes, length);
  TreeHasher hasher;
  hasher.add(bytes, length);
  return hasher.finish();
}

void TreeHasher::add(const uint8_t* bytes, size_t length) {
  if (length > 0) add_at(0, bytes, length);
}

void TreeHasher::add_at(size_t level, const uint8_t* bytes, size_t length) {
  if (levels_.size() == level) levels_.emplace_back();
  while (length > 0) {
    if (levels_[level].page.size() == kChunkBytes) {
      // Only now is it certain that this page is not the whole level.
      const ChunkName name = chunk_hash(levels_[level].page.data(), kChunkBytes);
      levels_[level].page.clear();
      levels_[level].continued = true;
      add_at(level + 1, name.bytes.data(), name.bytes.size());
    }
    std::vector<uint8_t>& page = levels_[level].page;
    const size_t taken = std::min(length, kChunkBytes - page.size());
    page.insert(page.end(), bytes, bytes + taken);
    bytes += taken;
    length -= taken;
  }
}

ChunkName TreeHasher::finish() {
  if (levels_.empty()) return chunk_hash(nullptr, 0);
  for (size_t level = 0;; ++level) {
    const ChunkName name = chunk_hash(levels_[level].page.data(), levels_[level].page.size());
    if (!levels_[level].continued) return name;
    add_at(level + 1, name.bytes.data(), name.bytes.size());
  }
}

bool is_all_zero(const uint8_t* bytes, size_t length) {
  const size_t head = std::min<size_t>(length, 16);
  for (size_t i = 0; i < head; ++i) {
    if (bytes[i] != 0) return false;
  }
  // The first sixteen are zero, so it is all zero if every byte equals the one sixteen before it.
  return length <= 16 || std::memcmp(bytes, bytes + 16, length - 16) == 0;
}

ChunkName chunk_name(const uint8_t* bytes, size_t length) {
  return is_all_zero(bytes, length) ? ChunkName{} : chunk_hash(bytes, length);
}

}  // namespace gcr
