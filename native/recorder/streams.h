// Numbers of streams, and which numbers stand for what was captured by a CUDA event. A number is never used again, so a stream that is
// made where another was destroyed is not taken for it. Numbers of streams that the legacy default stream is ordered with are even; so is its own, 0.
#pragma once

#include <atomic>
#include <cstdint>
#include <shared_mutex>
#include <unordered_map>

#include "recorder/emitter.h"
#include "recorder/thread.h"

namespace gcr {

// Handles that mean the default streams.
inline const Stream stream_legacy = reinterpret_cast<Stream>(1);
inline const Stream stream_per_thread = reinterpret_cast<Stream>(2);
// A flag of a stream's creation.
constexpr unsigned stream_non_blocking = 1;

class Streams {
 public:
  // The number of a stream as an entry point got it; `per_thread`: the entry point's default stream is the thread's own.
  [[gnu::hot]] std::uint64_t number(ThreadState &thread, Stream stream, bool per_thread);

  void created(Stream stream, unsigned flags);
  void destroyed(Stream stream);

  // A stream's work so far is captured by the event under a number of its own.
  std::uint64_t recorded(Event event);
  // The number of what the event captured last, 0 for nothing.
  std::uint64_t captured_by(Event event) const;
  // Also when it was recorded by what is not followed: nothing is said of what it captured.
  void destroyed(Event event);
  void forget_events();

 private:
  std::uint64_t fresh() { return next_odd_.fetch_add(2); }
  std::uint64_t fresh_blocking() { return next_even_.fetch_add(2); }

  std::atomic<std::uint64_t> next_odd_{3}, next_even_{2};
  mutable std::shared_mutex mutex_;
  std::unordered_map<Stream, std::uint64_t> numbers_;
  std::unordered_map<Event, std::uint64_t> events_;
};

}  // namespace gcr
