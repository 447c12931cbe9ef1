// The recorder's way out: events into the ring, messages over the channel, and the mode that says what is still told. Whatever goes wrong
// here ends the telling and nothing else.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "core/channel.h"
#include "core/events.h"
#include "core/ring.h"

namespace gcr {

// What is still told: everything; no writes any more, but allocations and handles; nothing.
enum class Telling : int { all, allocations, nothing };

class Emitter {
 public:
  // Connects, makes a ring and says hello; waits for the welcome. An empty text, or what went wrong.
  std::string connect(const std::string &path, HelloMessage hello);

  // The same after the supervisor has gone, while nobody submits. What was told before is lost with it, so nothing is told from then on.
  std::string reconnect(const std::string &path, HelloMessage hello);

  bool tells_writes() const { return telling_.load(std::memory_order_relaxed) == Telling::all; }
  bool tells_allocations() const { return telling_.load(std::memory_order_relaxed) != Telling::nothing; }

  // An event that says what may be written, or in which order. False when writes are not told.
  template <class Event>
  bool write(const Event &event, std::uint64_t stream = 0, std::uint16_t flags = 0) {
    return tells_writes() && put(event, stream, flags);
  }
  // An event about modules, functions and allocations.
  template <class Event>
  bool allocation(const Event &event, std::uint16_t flags = 0) {
    return tells_allocations() && put(event, 0, flags);
  }

  // A message that is no reply; the descriptors stay the caller's.
  template <class Body>
  bool message(const Body &body, std::span<const int> descriptors = {}) {
    return tells_allocations() && send(static_cast<std::uint16_t>(Body::type), 0, encode_message(body), descriptors);
  }
  bool send(std::uint16_t type, std::uint64_t request, Bytes body, std::span<const int> descriptors = {});

  // From here on writes are not told: every checkpoint is a full one.
  void stop_writes(const std::string &reason);
  // From here on nothing is told.
  void stop_all(const std::string &reason);
  // The supervisor has gone.
  void supervisor_gone();

  std::uint64_t position() const { return writer_ ? writer_->position() : 0; }
  Channel &channel() { return channel_; }

  // In a child of fork: lets the parent's descriptors go, and nothing more.
  void abandon();

  // A line into the file of GCR_TRACE.
  static void trace(const std::string &line);

 private:
  template <class Event>
  bool put(const Event &event, std::uint64_t stream, std::uint16_t flags) {
    const std::size_t size = event_bytes(event);
    if (size > writer_->largest()) return false;
    std::uint8_t *to = writer_->reserve(size);
    if (!to) {
      supervisor_gone();
      return false;
    }
    encode_event(event, stream, flags, to, size);
    writer_->commit(to, size);
    return true;
  }

  std::atomic<Telling> telling_{Telling::nothing};
  Channel channel_;
  RingMemory memory_;
  std::unique_ptr<RingWriter> writer_;
  Descriptor ring_, wake_;
  std::mutex sending_;
};

}  // namespace gcr
