// Device memory at addresses that the plan chooses, filled with noise, and the comparison of all of it with what was put
// there. Content is a function of the place (`noise_word`), complemented in every second run, overlaid with fixed bytes;
// so the comparison needs no copy on the device and misses nothing, also outside of the buffers.
#pragma once

#include <memory>

#include "driver/driver.h"
#include "plan.h"
#include "runs.h"

namespace gcr {

// Bytes that were put at a device address.
struct FixedBytes {
  std::uint64_t address;
  Bytes bytes;
};

class Arena {
 public:
  // Reserves and maps. `on_host`: fill and compare by copies instead of kernels. Throws DriverError.
  Arena(const Driver &driver, Device device, const ArenaPlan &plan, bool on_host);
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  std::uint64_t base() const { return base_; }

  // Noise everywhere; its complement when `complement`; `fixed` on top.
  void fill(bool complement, const std::vector<FixedBytes> &fixed);
  // What differs from the last `fill`.
  Runs changed();

 private:
  void load_kernels();
  void fill_segment(const Segment &segment);
  Runs changed_in(const Segment &segment);
  std::vector<std::uint8_t> flags_of(const Segment &segment);
  // What `fill` left in [offset, offset + size) of the arena.
  void expected(std::uint64_t offset, std::size_t size, Bytes &bytes) const;
  void run_kernel(Function function, void **arguments);

  const Driver &driver_;
  const ArenaPlan plan_;
  std::uint64_t base_ = 0;
  bool on_host_;
  Function fill_ = nullptr, compare_ = nullptr;
  DevicePointer flags_ = 0;
  std::uint64_t mask_ = 0;
  std::vector<FixedBytes> fixed_;
};

// The noise of one aligned word of eight bytes; the same function as in arena_kernels.cu.
std::uint64_t noise_word(std::uint64_t index);

}  // namespace gcr
