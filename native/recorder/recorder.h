// The recorder of one process: made at the first cuInit that succeeds while a supervisor answers, never destroyed. This is the one global
// object. A child of fork begins without one.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <shared_mutex>

#include "driver/driver.h"
#include "recorder/agent.h"
#include "recorder/emitter.h"
#include "recorder/gate.h"
#include "recorder/graphs.h"
#include "recorder/hot.h"
#include "recorder/memory.h"
#include "recorder/modules.h"
#include "recorder/sharing.h"
#include "recorder/streams.h"

namespace gcr {

// Host memory that a device can reach while the program goes on changing it: contents copied from there are not known.
class PinnedRanges {
 public:
  void add(const void *place, std::size_t size);
  void remove(const void *place);
  bool touches(const void *place, std::size_t size) const;

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::uintptr_t, std::size_t> ranges_;
};

struct Recorder {
  explicit Recorder(const Driver &found)
      : driver(found), memory(driver, emitter, sharing), modules(driver, emitter, memory), graphs(driver, emitter, modules), agent(*this) {}

  static Recorder *current() { return hot.recorder.load(std::memory_order_acquire); }

  // Whether there is a supervisor to record for: GCR_SOCKET is set.
  static bool wanted();
  // After a cuInit that succeeded.
  static void start(const Driver &driver);

  // Who this process is. What the driver says was asked for when the recording began: later it may be locked.
  HelloMessage hello(Greeting greeting) const;

  void context_created(Context context) {
    if (memory.context_created(context)) modules.context_created(context);
  }

  // Whether the stream is being captured: what is submitted becomes a graph's node instead of running.
  [[gnu::hot]] bool captured(Stream stream, bool per_thread) const;

  const Driver driver;
  Emitter emitter;
  Sharing sharing;
  Memory memory;
  Modules modules;
  Streams streams;
  Graphs graphs;
  Gate gate;
  Agent agent;
  PinnedRanges pinned;

 private:
  void ask_driver();

  HelloMessage description_;
};

}  // namespace gcr
