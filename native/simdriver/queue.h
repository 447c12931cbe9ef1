// Streams and events. What is given to a stream runs on the stream's thread, in order, after everything it was told to wait for.
// A ticket names a piece of work by stream and number; work only ever waits for tickets that were given out before it, so
// streams cannot wait for each other in a circle.
//
// Default stream semantics (CUDA programming guide, "Implicit synchronization"): work of the legacy default stream waits for all
// blocking streams, and their later work waits for it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda_types.h"

namespace gcr::sim {

class Stream;
struct Capture;

struct Ticket {
  std::shared_ptr<Stream> stream;  // null: nothing to wait for
  std::uint64_t number = 0;
};

struct Event {
  unsigned flags = 0;  // 2: no timing
  // Guarded by the queue system.
  Ticket recorded;
  std::chrono::steady_clock::time_point time;
  // Of an event recorded while its stream was capturing.
  std::shared_ptr<Capture> capture;
  std::vector<void *> captured_after;  // nodes

  bool timed() const { return !(flags & 2); }
};

enum class StreamKind { legacy, per_thread, created };

class Stream {
 public:
  Stream(StreamKind kind, unsigned flags, int priority, void *context)
      : kind(kind), flags(flags), priority(priority), context(context) {}

  const StreamKind kind;
  const unsigned flags;  // 1: does not synchronise with the legacy default stream
  const int priority;
  void *const context;
  std::shared_ptr<Capture> capture;  // while it is capturing; guarded by the graphs' mutex
  std::vector<void *> capture_after;  // nodes that what is captured next comes after

 private:
  friend class Queues;
  struct Item {
    std::vector<Ticket> after;
    std::function<void()> run;
  };
  std::deque<Item> items_;
  std::uint64_t submitted_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t number_ = 0;
  bool started_ = false;
  bool closing_ = false;
};

class Queues {
 public:
  std::shared_ptr<Stream> add(StreamKind kind, unsigned flags, int priority, void *context);
  // What was given to it still runs.
  void remove(const std::shared_ptr<Stream> &stream);

  // `run` must not throw.
  Ticket submit(const std::shared_ptr<Stream> &stream, std::function<void()> run, std::vector<Ticket> after = {});
  void record(const std::shared_ptr<Event> &event, const std::shared_ptr<Stream> &stream);
  void wait_for(const std::shared_ptr<Stream> &stream, const std::shared_ptr<Event> &event);

  void wait(const Ticket &ticket);
  bool done(const Ticket &ticket) const;
  Ticket last(const std::shared_ptr<Stream> &stream) const;
  Ticket recorded(const Event &event) const;
  std::chrono::steady_clock::time_point time(const Event &event) const;

  // Waits for all that was given to streams of a context (null: of all), at most so long (zero: for ever); false on timeout.
  bool drain(const void *context, std::chrono::milliseconds timeout = {});

  std::uint64_t number(const Stream &stream) const { return stream.number_; }

 private:
  static bool complete(const Ticket &ticket);
  Ticket enqueue(const std::shared_ptr<Stream> &stream, std::function<void()> run, std::vector<Ticket> after);
  void serve(const std::shared_ptr<Stream> &stream);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, std::shared_ptr<Stream>> streams_;
  std::uint64_t next_ = 1;
};

}  // namespace gcr::sim
