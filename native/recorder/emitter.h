// The recorder's way out: events into the ring, messages over the channel, and the mode that says what is still told. Whatever goes wrong
// here ends the telling and nothing else.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "core/channel.h"
#include "core/events.h"
#include "core/ring.h"
#include "recorder/hot.h"

namespace gcr {

class Emitter {
 public:
  // Connects, makes a ring and says hello; waits for the welcome. An empty text, or what went wrong.
  std::string connect(const std::string &path, HelloMessage hello, bool *known = nullptr);

  // The same after the supervisor has gone, while nobody submits. What was found to be impossible to tell stays untold. `known`: whether
  // this supervisor has what was told before; if not, it is to be told again.
  std::string reconnect(const std::string &path, HelloMessage hello, bool &known);

  bool tells_writes() const { return hot.telling.load(std::memory_order_relaxed) == Telling::all; }
  // Whether writes can be told at all, by this connection or a later one.
  bool may_tell_writes() const { return limit_.load(std::memory_order_relaxed) == Telling::all; }
  // Whether a later supervisor can be told anything.
  bool may_reconnect() const { return limit_.load(std::memory_order_relaxed) != Telling::nothing; }
  bool tells_allocations() const { return hot.telling.load(std::memory_order_relaxed) != Telling::nothing; }

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
  // From here on another process may have device memory of this one: its writes are not seen, and no other memory may take the place of what is there.
  void share(const std::string &reason);
  bool is_shared() const { return shared_.load(std::memory_order_relaxed); }
  // From here on nothing is told.
  void stop_all(const std::string &reason);
  // The supervisor has gone.
  void supervisor_gone();

  // Before what leads to a launch.
  void prepare() const {
    if (tells_writes() && !hot.quiet.load(std::memory_order_relaxed)) hot.writer->prepare();
  }

  std::uint64_t position() const { return hot.writer ? hot.writer->position() : 0; }
  Channel &channel() { return channel_; }

  // Lets connection and ring go, so that nothing of them is in this process; while nobody submits.
  void disconnect();

  // In a child of fork: lets the parent's descriptors go, and nothing more.
  void abandon();

  // A line into the file of GCR_TRACE.
  static void trace(const std::string &line);

 private:
  template <class Event>
  bool put(const Event &event, std::uint64_t stream, std::uint16_t flags) {
    const std::size_t size = event_bytes(event);
    if (size > hot.writer->largest()) return false;
    std::uint8_t *to = hot.writer->reserve(size);
    if (!to) {
      supervisor_gone();
      return false;
    }
    encode_event(event, stream, flags, to, size);
    hot.writer->commit(to, size);
    return true;
  }

  // What is still told becomes no more than this, also by later connections.
  void limit(Telling to, const std::string &reason);

  std::atomic<Telling> limit_{Telling::all};
  std::mutex limiting_;
  std::string limit_reason_, shared_reason_;
  std::atomic<bool> shared_{false};
  Channel channel_;
  RingMemory memory_;
  Descriptor ring_, wake_;
  std::mutex sending_;
};

}  // namespace gcr
