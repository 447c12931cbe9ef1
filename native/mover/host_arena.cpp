// See host_arena.h.
#include "mover/host_arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>

#include "core/thread_pool.h"

namespace gcr {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr unsigned most_threads = 16;
constexpr unsigned register_portable = 1;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

// Slots are numbered by 26 bits then: 4 TiB of addresses, which cost nothing.
constexpr std::size_t most_segments = std::size_t{1} << 16;
constexpr std::size_t range_bytes = most_segments * HostArena::segment_bytes;
constexpr int nothing_there = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

// False, with errno, when there is no such memory.
bool map_segment(std::uint8_t *at) {
  constexpr std::size_t size = HostArena::segment_bytes;
  constexpr int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  // Fails at once unless the system has as many huge pages set aside.
  if (mmap(at, size, protection, flags | MAP_HUGETLB, -1, 0) == MAP_FAILED) {
    if (mmap(at, size, protection, flags, -1, 0) == MAP_FAILED) return false;
    madvise(at, size, MADV_HUGEPAGE);
  }
  // A child of fork would share pages with us until one of both writes, and the device would go on with the wrong one.
  madvise(at, size, MADV_DONTFORK);
  madvise(at, size, MADV_DONTDUMP);
  return true;
}

void unmap(std::uint8_t *at, std::size_t bytes) { mmap(at, bytes, PROT_NONE, nothing_there | MAP_FIXED, -1, 0); }

void touch(std::uint8_t *data) {
  if (madvise(data, HostArena::segment_bytes, MADV_POPULATE_WRITE) == 0) return;
  for (std::size_t at = 0; at < HostArena::segment_bytes; at += 4096) const_cast<volatile std::uint8_t *>(data)[at] = 0;
}

}  // namespace

HostArena::HostArena() {
  // Transparent huge pages need a start that is aligned to them; what lies before it is left as it is.
  void *range = mmap(nullptr, range_bytes + huge_page, PROT_NONE, nothing_there, -1, 0);
  if (range == MAP_FAILED) throw DriverError(std::string("no addresses for host memory: ") + std::strerror(errno), result::out_of_memory);
  auto *begin = static_cast<std::uint8_t *>(range);
  const std::size_t before = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  data_ = begin + before;
  if (before > 0) munmap(begin, before);
  if (before < huge_page) munmap(data_ + range_bytes, huge_page - before);
}

void HostArena::grow(std::size_t segments, const std::shared_ptr<const OpenDevice> &device, const Progress &progress,
                     const std::atomic<bool> &stop) {
  const std::lock_guard alone(growing_);
  const std::size_t before = segments_;  // changed nowhere else
  const auto no_memory = [&](const char *why) {
    return DriverError("no " + std::to_string(segments * segment_bytes) + " bytes of host memory: " + why, result::out_of_memory);
  };
  const auto machine = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  if (segments > machine / segment_bytes || segments > most_segments - before) throw no_memory("the machine has less");
  // What is not an arena's at the end is given back.
  struct Rest {
    const HostArena &arena;
    std::size_t end;
    ~Rest() {
      std::uint8_t *from = arena.data_ + arena.segments_ * segment_bytes;
      if (from < arena.data_ + end * segment_bytes) unmap(from, static_cast<std::size_t>(arena.data_ + end * segment_bytes - from));
    }
  } rest{*this, before};
  for (; rest.end < before + segments; ++rest.end)
    if (!map_segment(data_ + rest.end * segment_bytes)) throw no_memory(std::strerror(errno));

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<char> touched(segments);
  ThreadPool pool(std::min({std::max(std::thread::hardware_concurrency(), 1u), most_threads, static_cast<unsigned>(segments)}));
  for (std::size_t i = 0; i < segments; ++i) {
    pool.submit([&, i] {
      if (!stop) touch(data_ + (before + i) * segment_bytes);
      const std::lock_guard lock(mutex);
      touched[i] = 1;
      changed.notify_one();
    });
  }
  // Each is pinned while later ones are still touched. When this throws, the pool ends before memory is given back.
  for (std::size_t i = 0; i < segments; ++i) {
    {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return touched[i] != 0; });
    }
    if (stop) throw DriverError("making host memory was stopped", result::not_ready);
    {
      const std::lock_guard lock(mutex_);
      if (device) pin_up_to(before + i + 1, device);
      ++segments_;
    }
    progress((i + 1) * segment_bytes, segments * segment_bytes);
  }
}

void HostArena::pin_up_to(std::size_t segments, const std::shared_ptr<const OpenDevice> &device) {
  const Driver &driver = device->driver();
  const bool can = driver.cuMemHostRegister && driver.cuMemHostUnregister;
  if (can && pinned_by_.size() < segments && refusal_.empty()) device->make_current();
  while (pinned_by_.size() < segments && refusal_.empty()) {
    std::uint8_t *at = data_ + pinned_by_.size() * segment_bytes;
    const Result outcome = can ? driver.cuMemHostRegister(at, segment_bytes, register_portable) : result::not_supported;
    if (outcome == 0) pinned_by_.push_back(device);
    else refusal_ = "cuMemHostRegister: " + driver.error_name(outcome);
  }
}

void HostArena::pin(const std::shared_ptr<const OpenDevice> &device) {
  const std::lock_guard lock(mutex_);
  pin_up_to(segments_, device);
}

std::size_t HostArena::slots() const {
  const std::lock_guard lock(mutex_);
  return segments_ * segment_slots;
}

bool HostArena::is_pinned() const {
  const std::lock_guard lock(mutex_);
  return pinned_by_.size() == segments_;
}

std::string HostArena::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

bool HostArena::is_reached_by(const OpenDevice &device) const {
  const Driver &driver = device.driver();
  const std::lock_guard lock(mutex_);
  DevicePointer address = 0;
  return pinned_by_.size() == segments_ && driver.cuMemHostGetDevicePointer && driver.cuMemHostGetDevicePointer(&address, data_, 0) == 0 &&
         address == reinterpret_cast<DevicePointer>(data_);
}

HostArena::~HostArena() {
  for (std::size_t i = 0; i < pinned_by_.size(); ++i) {
    try {
      pinned_by_[i]->make_current();
      pinned_by_[i]->driver().cuMemHostUnregister(data_ + i * segment_bytes);
    } catch (const DriverError &) {
      // The context is dead, and with it the driver has let go.
    }
  }
  munmap(data_, range_bytes);
}

}  // namespace gcr
