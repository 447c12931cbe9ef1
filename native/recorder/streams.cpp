// See streams.h.
#include "recorder/streams.h"

#include <mutex>

namespace gcr {

std::uint64_t Streams::number(ThreadState &thread, Stream stream, bool per_thread) {
  if (stream == stream_legacy || (!stream && !per_thread)) return legacy_stream;
  if (stream == stream_per_thread || !stream) {
    if (!thread.default_stream) thread.default_stream = fresh_blocking();
    return thread.default_stream;
  }
  const std::uint64_t epoch = hot.streams.load(std::memory_order_acquire);
  ThreadState::CachedStream &cached = thread.streams[cache_place<ThreadState::cached_streams>(stream)];
  if (thread.stream_epoch != epoch) {
    for (auto &one : thread.streams) one = {};
    thread.stream_epoch = epoch;
  } else if (cached.handle == stream) {
    return cached.number;
  }
  {
    const std::shared_lock lock(mutex_);
    if (const auto found = numbers_.find(stream); found != numbers_.end()) {
      cached = {stream, found->second};
      return found->second;
    }
  }
  // Made by an entry point that we do not see: whether it is blocking nobody knows, and an order is taken for none.
  const std::unique_lock lock(mutex_);
  const auto [place, added] = numbers_.try_emplace(stream, 0);
  if (added) place->second = fresh();
  return place->second;
}

void Streams::created(Stream stream, unsigned flags) {
  const std::unique_lock lock(mutex_);
  numbers_[stream] = flags & stream_non_blocking ? fresh() : fresh_blocking();
  hot.streams.fetch_add(1);
}

void Streams::destroyed(Stream stream) {
  const std::unique_lock lock(mutex_);
  numbers_.erase(stream);
  hot.streams.fetch_add(1);
}

std::uint64_t Streams::recorded(Event event) {
  const std::unique_lock lock(mutex_);
  return events_[event] = fresh();
}

std::uint64_t Streams::captured_by(Event event) const {
  const std::shared_lock lock(mutex_);
  const auto found = events_.find(event);
  return found == events_.end() ? 0 : found->second;
}

void Streams::destroyed(Event event) {
  const std::unique_lock lock(mutex_);
  events_.erase(event);
}

void Streams::forget_events() {
  const std::unique_lock lock(mutex_);
  events_.clear();
}

}  // namespace gcr
