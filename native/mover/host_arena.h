// Host memory in slots of a chunk's size, made for copies between it and devices: huge pages where the system has them, touched by many threads, and
// pinned. It is in segments so that pinning proceeds while later segments are still touched. Whoever copies holds it; it goes with the last holder.
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
  static constexpr std::size_t segment_slots = 16384;
  static constexpr std::size_t segment_bytes = segment_slots * slot_bytes;

  // `device` (may be null) pins each segment when it was touched. `progress` is told bytes that are ready; when `stop` becomes true the
  // constructor throws. Throws DriverError when the system has no such memory.
  HostArena(std::size_t slots, const std::shared_ptr<const OpenDevice> &device,
            const std::function<void(std::uint64_t done, std::uint64_t total)> &progress, const std::atomic<bool> &stop);
  HostArena(const HostArena &) = delete;
  ~HostArena();

  std::size_t slots() const { return slots_; }
  std::size_t bytes() const { return slots_ * slot_bytes; }
  std::size_t segments() const { return segments_.size(); }
  std::uint8_t *segment(std::size_t number) const { return segments_[number].data; }
  std::size_t bytes_of_segment(std::size_t number) const { return segments_[number].size; }
  std::uint8_t *slot(std::size_t number) const {
    return segments_[number / segment_slots].data + number % segment_slots * slot_bytes;
  }

  // Pins what is not pinned yet; a driver that refuses once is not asked again. From any thread.
  void pin(const std::shared_ptr<const OpenDevice> &device) const;
  bool is_pinned() const;
  // Why not; empty when it is, or nobody has asked for it.
  std::string refusal() const;

 private:
  struct Segment {
    std::uint8_t *data = nullptr;
    std::size_t size = 0;
    mutable std::shared_ptr<const OpenDevice> pinned_by;
  };
  void map();
  void touch(std::size_t from, std::size_t to) const;
  bool pin(const Segment &segment, const std::shared_ptr<const OpenDevice> &device) const;  // under the mutex
  void end();

  std::size_t slots_;
  std::vector<Segment> segments_;
  mutable std::mutex mutex_;  // guards what follows, and who has pinned what
  mutable std::string refusal_;
};

}  // namespace gcr
