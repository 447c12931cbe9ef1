// The kernels that a checkpoint runs on the device, shipped as PTX (gcr_kernels.ptx, made by scripts/make-kernels.sh), so that
// any GPU can run them that the driver compiles for. One block of 256 threads handles one chunk of at most 65,536 bytes at a
// time; blocks take chunks in turn. The hash is gcr-nh128-1 (docs/formats/chunk-hash.md), the same as native/core/chunk_hash.
//
// Addresses of chunks are multiples of 16. Bytes of a chunk behind its length are read up to the next multiple of 16 at most.
#include <cstdint>

using u32 = std::uint32_t;
using u64 = unsigned long long;

struct Chunk {
  u64 address;
  u32 length;  // 1 to 65,536
  u32 index;   // where its result goes
};

namespace {

constexpr int threads = 256, lanes = 64, rows_at_once = threads / lanes, row_bytes = 1024, passes = 4;

struct Keys {
  u32 rows[262];    // K1
  u32 second[518];  // K2
};

constexpr u64 split_mix(u64 &state) {
  state += 0x9e3779b97f4a7c15ull;
  u64 z = state;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return z ^ z >> 31;
}

constexpr Keys make_keys() {
  Keys keys{};
  u64 state = 0x6763722d68617368ull;
  for (int word = 0; word < 780; word += 2) {
    const u64 out = split_mix(state);
    const u32 halves[2] = {static_cast<u32>(out), static_cast<u32>(out >> 32)};
    for (int half = 0; half < 2; ++half) {
      const int at = word + half;
      (at < 262 ? keys.rows[at] : keys.second[at - 262]) = halves[half];
    }
  }
  return keys;
}

__constant__ Keys keys = make_keys();

__device__ u64 product(u32 a, u32 b) { return static_cast<u64>(a) * b; }

__device__ u64 rotate(u64 x, int by) { return x << by | x >> (64 - by); }

struct Sip {
  u64 v[4];
  __device__ void rounds(int count) {
    for (int i = 0; i < count; ++i) {
      v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
      v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
      v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
      v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
    }
  }
  __device__ u64 folded() const { return v[0] ^ v[1] ^ v[2] ^ v[3]; }
};

// 16 bytes of a chunk; those behind its length count as zero.
__device__ uint4 load(const unsigned char *chunk, u32 offset, u32 length) {
  if (offset >= length) return {};
  uint4 value = __ldg(reinterpret_cast<const uint4 *>(chunk + offset));
  if (offset + 16 <= length) return value;
  u32 words[4] = {value.x, value.y, value.z, value.w};
  for (u32 word = 0; word < 4; ++word) {
    const u32 start = offset + 4 * word;
    const u32 kept = start >= length ? 0 : min(length - start, 4u);
    words[word] &= kept == 4 ? 0xffffffffu : (1u << 8 * kept) - 1;
  }
  return {words[0], words[1], words[2], words[3]};
}

__device__ void add_row(u64 (&sum)[passes], const uint4 &words, u32 row) {
  const u32 *key = keys.rows + 4 * row;
#pragma unroll
  for (int pass = 0; pass < passes; ++pass)
    sum[pass] += product(words.x + key[2 * pass], words.y + key[2 * pass + 1]) +
                 product(words.z + key[2 * pass + 2], words.w + key[2 * pass + 3]);
}

struct Shared {
  u64 first[rows_at_once][lanes][passes];
  u64 second[threads / 32][passes];
};

// The name of a chunk, valid in thread 0: the zero name when all bytes are zero.
__device__ ulonglong2 chunk_name(Shared &shared, const unsigned char *chunk, u32 length) {
  const u32 thread = threadIdx.x, lane = thread % lanes, group = thread / lanes;
  u64 sum[passes] = {};
  u32 any = 0;
  if (length == 65536) {
#pragma unroll
    for (u32 i = 0; i < 65536 / row_bytes / rows_at_once; ++i) {
      const u32 row = i * rows_at_once + group;
      const uint4 words = __ldg(reinterpret_cast<const uint4 *>(chunk + row * row_bytes + lane * 16));
      any |= words.x | words.y | words.z | words.w;
      add_row(sum, words, row);
    }
  } else {
    for (u32 row = group; row * row_bytes < length; row += rows_at_once) {
      const uint4 words = load(chunk, row * row_bytes + lane * 16, length);
      any |= words.x | words.y | words.z | words.w;
      add_row(sum, words, row);
    }
  }
#pragma unroll
  for (int pass = 0; pass < passes; ++pass) shared.first[group][lane][pass] = sum[pass];
  const bool is_zero = !__syncthreads_or(any != 0);
  // Thread i has pair i of the second message: lane i / 4, pass i % 4.
  u64 mine = 0;
#pragma unroll
  for (int from = 0; from < rows_at_once; ++from) mine += (&shared.first[from][0][0])[thread];
#pragma unroll
  for (int pass = 0; pass < passes; ++pass) {
    const u32 *key = keys.second + 2 * thread + 2 * pass;
    u64 part = product(static_cast<u32>(mine) + key[0], static_cast<u32>(mine >> 32) + key[1]);
    for (int step = 16; step; step /= 2) part += __shfl_down_sync(0xffffffffu, part, step);
    if (thread % 32 == 0) shared.second[thread / 32][pass] = part;
  }
  __syncthreads();
  if (thread != 0 || is_zero) return {};
  Sip sip{};
  for (int warp = 0; warp < threads / 32; ++warp)
    for (int pass = 0; pass < passes; ++pass) sip.v[pass] += shared.second[warp][pass];
  sip.v[3] ^= length;
  sip.rounds(2);
  sip.v[0] ^= length;
  sip.v[2] ^= 0xee;
  sip.rounds(4);
  ulonglong2 name;
  name.x = sip.folded();
  sip.v[1] ^= 0xdd;
  sip.rounds(4);
  name.y = sip.folded();
  if ((name.x | name.y) == 0) name.x = 1;
  return name;
}

}  // namespace

// names[chunk.index] = name of the chunk. Grid: any number of blocks.
extern "C" __global__ void __launch_bounds__(threads)
    gcr_name_chunks(const Chunk *chunks, u32 count, ulonglong2 *names) {
  __shared__ Shared shared;
  for (u32 i = blockIdx.x; i < count; i += gridDim.x) {
    const Chunk chunk = chunks[i];
    const ulonglong2 name = chunk_name(shared, reinterpret_cast<const unsigned char *>(chunk.address), chunk.length);
    if (threadIdx.x == 0) names[chunk.index] = name;
  }
}

// Names of the `count` chunks of one piece of memory: chunk i at base + 65,536 i, the last `last_length` bytes long.
extern "C" __global__ void __launch_bounds__(threads)
    gcr_name_range(const unsigned char *base, u32 count, u32 last_length, ulonglong2 *names) {
  __shared__ Shared shared;
  for (u32 i = blockIdx.x; i < count; i += gridDim.x) {
    const u32 length = i + 1 == count ? last_length : 65536;
    const ulonglong2 name = chunk_name(shared, base + i * 65536ull, length);
    if (threadIdx.x == 0) names[i] = name;
  }
}

// Copies chunk i to target + 65,536 chunk.index; bytes behind its length up to a multiple of 16 come along.
extern "C" __global__ void __launch_bounds__(threads)
    gcr_gather(const Chunk *chunks, u32 count, unsigned char *target) {
  for (u32 i = blockIdx.x; i < count; i += gridDim.x) {
    const Chunk chunk = chunks[i];
    const uint4 *from = reinterpret_cast<const uint4 *>(chunk.address);
    uint4 *to = reinterpret_cast<uint4 *>(target + chunk.index * 65536ull);
#pragma unroll 4
    for (u32 at = threadIdx.x; at < (chunk.length + 15) / 16; at += threads) to[at] = __ldg(from + at);
  }
}

// The other way: source + 65,536 chunk.index to the chunk, byte by byte at a ragged end.
extern "C" __global__ void __launch_bounds__(threads)
    gcr_scatter(const Chunk *chunks, u32 count, const unsigned char *source) {
  for (u32 i = blockIdx.x; i < count; i += gridDim.x) {
    const Chunk chunk = chunks[i];
    const unsigned char *from = source + chunk.index * 65536ull;
    unsigned char *to = reinterpret_cast<unsigned char *>(chunk.address);
    const u32 whole = chunk.length / 16;
#pragma unroll 4
    for (u32 at = threadIdx.x; at < whole; at += threads)
      reinterpret_cast<uint4 *>(to)[at] = __ldg(reinterpret_cast<const uint4 *>(from) + at);
    for (u32 at = whole * 16 + threadIdx.x; at < chunk.length; at += threads) to[at] = from[at];
  }
}
