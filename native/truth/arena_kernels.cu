// The recorder's own kernels: fill an arena with noise, and flag the 4-KiB blocks that are no longer that noise. The noise is
// a function of the place, so that no second copy of the arena is needed; `noise_word` of arena.cpp is the same function.
// Embedded as text: scripts/truth/make-arena-kernels.sh writes arena_kernels_ptx.h from this file.

__device__ static unsigned long long noise_word(unsigned long long index) {
  unsigned long long z = (index + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Word `i` of the segment becomes the noise of word `first + i`, xor `mask`.
extern "C" __global__ void gcr_fill(unsigned long long *segment, unsigned long long words, unsigned long long first,
                                    unsigned long long mask) {
  unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += step)
    segment[i] = noise_word(first + i) ^ mask;
}

// flags[b] becomes 1 where block b of 512 words differs from what gcr_fill left; flags are zero before.
extern "C" __global__ void gcr_compare(const unsigned long long *segment, unsigned long long words,
                                       unsigned long long first, unsigned long long mask, unsigned char *flags) {
  unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
  for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += step)
    if (segment[i] != (noise_word(first + i) ^ mask)) flags[i / 512] = 1;
}
