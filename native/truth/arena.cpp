// See arena.h. Blocks of 4 KiB are the unit of comparison: the device flags those that are not pure noise, and only these
// are copied back and compared byte by byte.
#include "arena.h"

#include <algorithm>
#include <cstring>

#include "arena_kernels_ptx.h"

namespace gcr {

namespace {
constexpr std::size_t block_size = 4096;
constexpr std::size_t chunk_size = 16 << 20;
constexpr std::uint64_t page = 2 << 20;
// Where a reserved range may lie when the wished one is taken: the same address with other high bits, so that its place
// relative to multiples of 4 GiB stays.
constexpr std::uint64_t high_bits_step = 1ull << 36;
constexpr int high_bits_tries = 64;
}  // namespace

std::uint64_t noise_word(std::uint64_t index) {
  std::uint64_t z = (index + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

Arena::Arena(const Driver &driver, Device device, const ArenaPlan &plan, bool on_host)
    : driver_(driver), plan_(plan), on_host_(on_host) {
  for (int attempt = 0; attempt < high_bits_tries && !base_; ++attempt) {
    DevicePointer wanted = plan.base + static_cast<std::uint64_t>(attempt) * high_bits_step, got = 0;
    if (driver.cuMemAddressReserve(&got, plan.size, page, wanted, 0) != 0) continue;
    if (got == wanted)
      base_ = got;
    else
      driver.cuMemAddressFree(got, plan.size);
  }
  if (!base_) {
    DevicePointer got = 0;
    driver.check(driver.cuMemAddressReserve(&got, plan.size, page, 0, 0), "reserve");
    base_ = got;
  }
  for (const Segment &segment : plan.segments) {
    AllocationProperties properties{};
    properties.type = 1;
    properties.location = {1, device};
    Handle handle = 0;
    driver.check(driver.cuMemCreate(&handle, segment.size, &properties, 0), "create memory");
    driver.check(driver.cuMemMap(base_ + segment.offset, segment.size, 0, handle, 0), "map memory");
    AccessDescriptor access{{1, device}, 3};
    driver.check(driver.cuMemSetAccess(base_ + segment.offset, segment.size, &access, 1), "allow access");
  }
  if (!on_host_) load_kernels();
}

void Arena::load_kernels() {
  Module module = nullptr;
  driver_.check(driver_.cuModuleLoadDataEx(&module, arena_kernels_ptx, 0, nullptr, nullptr), "the recorder's own kernels");
  driver_.check(driver_.cuModuleGetFunction(&fill_, module, "gcr_fill"), "gcr_fill");
  driver_.check(driver_.cuModuleGetFunction(&compare_, module, "gcr_compare"), "gcr_compare");
  std::uint64_t largest = 0;
  for (const Segment &segment : plan_.segments) largest = std::max(largest, segment.size);
  driver_.check(driver_.cuMemAlloc(&flags_, largest / block_size), "flags");
}

void Arena::run_kernel(Function function, void **arguments) {
  LaunchConfiguration configuration{};
  std::fill_n(configuration.grid, 3, 1u);
  std::fill_n(configuration.block, 3, 1u);
  configuration.grid[0] = 2048;
  configuration.block[0] = 256;
  driver_.check(driver_.cuLaunchKernelEx(&configuration, function, arguments, nullptr), "the recorder's own launch");
  driver_.check(driver_.cuCtxSynchronize(), "the recorder's own kernel");
}

void Arena::expected(std::uint64_t offset, std::size_t size, Bytes &bytes) const {
  bytes.resize(size);
  for (std::size_t at = 0; at < size; at += 8) {
    std::uint64_t word = noise_word((offset + at) / 8) ^ mask_;
    std::memcpy(&bytes[at], &word, 8);
  }
  const std::uint64_t from = base_ + offset, to = from + size;
  for (const FixedBytes &fixed : fixed_) {
    std::uint64_t first = std::max(from, fixed.address), last = std::min(to, fixed.address + fixed.bytes.size());
    if (first < last) std::memcpy(&bytes[first - from], &fixed.bytes[first - fixed.address], last - first);
  }
}

void Arena::fill_segment(const Segment &segment) {
  if (!on_host_) {
    DevicePointer start = base_ + segment.offset;
    unsigned long long words = segment.size / 8, first = segment.offset / 8, mask = mask_;
    void *arguments[] = {&start, &words, &first, &mask};
    run_kernel(fill_, arguments);
    return;
  }
  Bytes bytes;
  for (std::uint64_t at = 0; at < segment.size; at += chunk_size) {
    std::size_t size = std::min<std::uint64_t>(chunk_size, segment.size - at);
    expected(segment.offset + at, size, bytes);
    driver_.check(driver_.cuMemcpyHtoD(base_ + segment.offset + at, bytes.data(), size), "fill");
  }
}

void Arena::fill(bool complement, const std::vector<FixedBytes> &fixed) {
  mask_ = complement ? ~0ull : 0;
  fixed_.clear();
  for (const Segment &segment : plan_.segments) fill_segment(segment);
  fixed_ = fixed;
  for (const FixedBytes &content : fixed_)
    if (!content.bytes.empty())
      driver_.check(driver_.cuMemcpyHtoD(content.address, content.bytes.data(), content.bytes.size()), "fixed content");
}

std::vector<std::uint8_t> Arena::flags_of(const Segment &segment) {
  std::vector<std::uint8_t> flags(segment.size / block_size, 0);
  if (on_host_) {
    std::fill(flags.begin(), flags.end(), std::uint8_t{1});
    return flags;
  }
  driver_.check(driver_.cuMemcpyHtoD(flags_, flags.data(), flags.size()), "clear flags");
  DevicePointer start = base_ + segment.offset, to = flags_;
  unsigned long long words = segment.size / 8, first = segment.offset / 8, mask = mask_;
  void *arguments[] = {&start, &words, &first, &mask, &to};
  run_kernel(compare_, arguments);
  driver_.check(driver_.cuMemcpyDtoH(flags.data(), flags_, flags.size()), "read flags");
  return flags;
}

Runs Arena::changed_in(const Segment &segment) {
  Runs runs;
  const std::vector<std::uint8_t> flags = flags_of(segment);
  Bytes now, before;
  for (std::size_t first = 0; first < flags.size();) {
    if (!flags[first]) {
      ++first;
      continue;
    }
    std::size_t last = first;
    while (last < flags.size() && flags[last] && (last - first) * block_size < chunk_size) ++last;
    std::uint64_t offset = segment.offset + first * block_size;
    std::size_t size = (last - first) * block_size;
    now.resize(size);
    driver_.check(driver_.cuMemcpyDtoH(now.data(), base_ + offset, size), "read back");
    expected(offset, size, before);
    append_differences(runs, base_ + offset, before.data(), now.data(), size);
    first = last;
  }
  return runs;
}

Runs Arena::changed() {
  Runs runs;
  for (const Segment &segment : plan_.segments)
    for (const Run &run : changed_in(segment)) append_run(runs, run.from, run.to);
  return runs;
}

}  // namespace gcr
