// Calls a fuzz target with mutated seeds: GCR_FUZZ_RUNS inputs (20,000) from the seed GCR_FUZZ_SEED (1). A crash or a sanitizer's
// report is a finding; the number of the input repeats it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "core/fuzz/fuzz.h"

namespace {

uint64_t state;

uint64_t random_below(uint64_t bound) {
  state += 0x9e3779b97f4a7c15;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return (z ^ (z >> 31)) % bound;
}

void mutate(std::vector<uint8_t>& bytes) {
  constexpr uint64_t kInteresting[] = {0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff, UINT64_MAX, UINT64_MAX / 2};
  switch (random_below(7)) {
    case 0:
      if (!bytes.empty()) bytes[random_below(bytes.size())] ^= static_cast<uint8_t>(1 << random_below(8));
      break;
    case 1:
      if (!bytes.empty()) bytes[random_below(bytes.size())] = static_cast<uint8_t>(random_below(256));
      break;
    case 2:
    case 3: {  // a number somewhere; headers are at the start
      const uint64_t value = random_below(2) == 0 ? kInteresting[random_below(std::size(kInteresting))] : random_below(1 << 20);
      const size_t width = size_t{1} << random_below(4);
      const size_t limit = random_below(2) == 0 ? 64 : bytes.size();
      if (bytes.size() < width + 1 || limit <= width) break;
      const size_t at = random_below(std::min(limit, bytes.size()) - width + 1) / width * width;
      for (size_t i = 0; i < width; ++i) bytes[at + i] = static_cast<uint8_t>(value >> (8 * i));
      break;
    }
    case 4: bytes.resize(random_below(bytes.size() + 1)); break;
    case 5: bytes.resize(bytes.size() + random_below(8192)); break;
    default: {
      if (bytes.size() < 2) break;
      const size_t from = random_below(bytes.size());
      const size_t length = random_below(bytes.size() - from);
      const size_t to = random_below(bytes.size() - length);
      for (size_t i = 0; i < length; ++i) bytes[to + i] = bytes[from + i];
    }
  }
}

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

}  // namespace

int main() {
  const uint64_t runs = setting("GCR_FUZZ_RUNS", 20000);
  const uint64_t seed = setting("GCR_FUZZ_SEED", 1);
  const auto seeds = fuzz_seeds();
  for (const auto& bytes : seeds) LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  for (uint64_t run = 0; run < runs; ++run) {
    state = seed * 0x100000001b3 + run;
    std::vector<uint8_t> bytes = seeds[random_below(seeds.size())];
    for (uint64_t i = 1 + random_below(6); i > 0; --i) mutate(bytes);
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  std::printf("%llu inputs\n", static_cast<unsigned long long>(runs));
}
