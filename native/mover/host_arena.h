// Host memory in slots of a chunk's size, made for copies between it and devices: huge pages where the system has them, touched by many threads, and
// pinned. It grows by segments inside of one range of addresses, so slot i is always at 65,536 i. Whoever copies holds it; it goes with the last
// holder.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/chunk_hash.h"
#include "mover/device.h"

namespace gcr {

class HostArena {
 public:
  static constexpr std::size_t slot_bytes = kChunkBytes;
  static constexpr std::size_t segment_slots = 1024;
  static constexpr std::size_t segment_bytes = segment_slots * slot_bytes;

  // Addresses only. Throws DriverError when there are none.
  HostArena();
  HostArena(const HostArena &) = delete;
  ~HostArena();

  // Appends segments, each as soon as it is touched and `device` (may be null) has pinned it; `progress` is told bytes that are ready. Throws
  // DriverError when the system has no such memory, and when `stop` becomes true. One at a time; from any thread.
  using Progress = std::function<void(std::uint64_t done, std::uint64_t total)>;
  void grow(std::size_t segments, const std::shared_ptr<const OpenDevice> &device, const Progress &progress, const std::atomic<bool> &stop);

  std::uint8_t *data() const { return data_; }
  std::uint8_t *slot(std::size_t number) const { return data_ + number * slot_bytes; }
  std::size_t slots() const;

  // Pins what is not pinned yet; a driver that refuses once is not asked again. From any thread.
  void pin(const std::shared_ptr<const OpenDevice> &device);
  bool is_pinned() const;
  // Why not; empty when it is, or nobody has asked for it.
  std::string refusal() const;
  // Whether kernels on the device reach all of it by our addresses.
  bool is_reached_by(const OpenDevice &device) const;

 private:
  void pin_up_to(std::size_t segments, const std::shared_ptr<const OpenDevice> &device);  // under the mutex

  std::uint8_t *data_ = nullptr;
  std::mutex growing_;
  mutable std::mutex mutex_;  // guards what follows
  std::size_t segments_ = 0;
  std::vector<std::shared_ptr<const OpenDevice>> pinned_by_;  // the first segments
  std::string refusal_;
};

}  // namespace gcr
