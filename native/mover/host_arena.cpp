// See host_arena.h.
#include "mover/host_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <thread>

#include "core/thread_pool.h"

namespace gcr {
namespace {

constexpr std::size_t huge_page = std::size_t{2} << 20;
constexpr std::size_t stripe = std::size_t{64} << 20;  // what a thread touches at once
constexpr unsigned most_threads = 16;
constexpr unsigned register_portable = 1;
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void *map_memory(std::size_t size) {
  constexpr int protection = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
  // Fails at once unless the system has set so many aside.
  if (size % huge_page == 0) {
    void *huge = mmap(nullptr, size, protection, flags | MAP_HUGETLB, -1, 0);
    if (huge != MAP_FAILED) return huge;
  }
  // Transparent huge pages need a start that is aligned to them.
  void *whole = mmap(nullptr, size + huge_page, PROT_NONE, flags | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED) return nullptr;
  auto *begin = static_cast<std::uint8_t *>(whole);
  auto *aligned = begin + (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  if (aligned != begin) munmap(begin, static_cast<std::size_t>(aligned - begin));
  const std::size_t rest = static_cast<std::size_t>(begin + size + huge_page - (aligned + size));
  if (rest) munmap(aligned + size, rest);
  if (mprotect(aligned, size, protection) != 0) {
    munmap(aligned, size);
    return nullptr;
  }
  madvise(aligned, size, MADV_HUGEPAGE);
  return aligned;
}

}  // namespace

HostArena::HostArena(std::size_t slots, const std::shared_ptr<const OpenDevice> &device,
                     const std::function<void(std::uint64_t, std::uint64_t)> &progress, const std::atomic<bool> &stop)
    : slots_(slots) {
  std::mutex mutex;
  std::condition_variable touched;
  std::vector<std::size_t> untouched;  // bytes, by segment
  try {
    map();
    for (const Segment &segment : segments_) untouched.push_back(segment.size);
    ThreadPool pool(std::clamp<unsigned>(std::min<std::size_t>(std::thread::hardware_concurrency(), bytes() / stripe + 1), 1, most_threads));
    for (std::size_t number = 0; number < segments_.size(); ++number) {
      for (std::size_t from = 0; from < segments_[number].size; from += stripe) {
        pool.submit([&, number, from] {
          const std::size_t to = std::min(from + stripe, segments_[number].size);
          if (!stop) touch(number * segment_bytes + from, number * segment_bytes + to);
          const std::lock_guard lock(mutex);
          untouched[number] -= to - from;
          touched.notify_one();
        });
      }
    }
    std::uint64_t done = 0;
    for (std::size_t number = 0; number < segments_.size(); ++number) {
      {
        std::unique_lock lock(mutex);
        touched.wait(lock, [&] { return untouched[number] == 0; });
      }
      if (stop) throw DriverError("making host memory was stopped", result::not_ready);
      if (device) {
        const std::lock_guard lock(mutex_);
        if (refusal_.empty()) pin(segments_[number], device);
      }
      progress(done += segments_[number].size, bytes());
    }
  } catch (...) {
    end();
    throw;
  }
}

HostArena::~HostArena() { end(); }

void HostArena::map() {
  for (std::size_t at = 0; at < bytes(); at += segment_bytes) {
    const std::size_t size = std::min(segment_bytes, bytes() - at);
    void *data = map_memory(size);
    if (!data)
      throw DriverError("no " + std::to_string(bytes()) + " bytes of host memory: " + std::strerror(errno), result::out_of_memory);
    segments_.push_back({static_cast<std::uint8_t *>(data), size, nullptr});
    // A child of fork would share pages with us until one of both writes, and the device would go on with the wrong one.
    madvise(data, size, MADV_DONTFORK);
    madvise(data, size, MADV_DONTDUMP);
  }
}

void HostArena::touch(std::size_t from, std::size_t to) const {
  std::uint8_t *data = segments_[from / segment_bytes].data + from % segment_bytes;
  if (madvise(data, to - from, MADV_POPULATE_WRITE) == 0) return;
  for (std::size_t at = 0; at < to - from; at += 4096) const_cast<volatile std::uint8_t *>(data)[at] = 0;
}

bool HostArena::pin(const Segment &segment, const std::shared_ptr<const OpenDevice> &device) const {
  const Driver &driver = device->driver();
  Result outcome = result::not_supported;
  if (driver.cuMemHostRegister && driver.cuMemHostUnregister) {
    device->make_current();
    outcome = driver.cuMemHostRegister(segment.data, segment.size, register_portable);
  }
  if (outcome != 0) {
    refusal_ = "cuMemHostRegister: " + driver.error_name(outcome);
    return false;
  }
  segment.pinned_by = device;
  return true;
}

void HostArena::pin(const std::shared_ptr<const OpenDevice> &device) const {
  const std::lock_guard lock(mutex_);
  for (const Segment &segment : segments_) {
    if (!refusal_.empty()) return;
    if (!segment.pinned_by) pin(segment, device);
  }
}

bool HostArena::is_pinned() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(segments_.begin(), segments_.end(), [](const Segment &segment) { return segment.pinned_by != nullptr; });
}

std::string HostArena::refusal() const {
  const std::lock_guard lock(mutex_);
  return refusal_;
}

void HostArena::end() {
  for (const Segment &segment : segments_) {
    if (segment.pinned_by) {
      const Driver &driver = segment.pinned_by->driver();
      // Refused only when the context is dead, and the driver lets go then by itself.
      try {
        segment.pinned_by->make_current();
        driver.cuMemHostUnregister(segment.data);
      } catch (const DriverError &) {
      }
    }
    munmap(segment.data, segment.size);
  }
}

}  // namespace gcr
