// The gate that holds submissions back. Every intercepted call passes it: `enter` before anything is recorded, `leave` after the driver has
// returned. `close` lets nobody in any more and `wait_idle` says when everybody who was in has left, so what is in the ring then has been
// given to the driver, and nothing else has.
#pragma once

#include <atomic>
#include <cstdint>

#include "recorder/thread.h"

namespace gcr {

class Gate {
 public:
  void enter(ThreadState &thread) {
    GateSlot &slot = thread.slot ? *thread.slot : take_slot(thread);
    // Sequentially consistent on both sides: either we see the closed gate or the agent sees us.
    slot.busy.exchange(1);
    if (closed_.load()) wait_open(slot);
  }
  static void leave(ThreadState &thread) { thread.slot->busy.store(0, std::memory_order_release); }

  void close() { closed_.store(1); }
  void open();
  bool is_closed() const { return closed_.load() != 0; }

  // Whether everybody has left within the time.
  bool wait_idle(std::int64_t deadline_ns);

  // At a thread's end.
  static void give_back(GateSlot *slot) { slot->taken.store(false, std::memory_order_release); }

 private:
  GateSlot &take_slot(ThreadState &thread);
  void wait_open(GateSlot &slot);

  std::atomic<std::uint32_t> closed_{0};
  std::atomic<GateSlot *> slots_{nullptr};
  std::atomic<std::uint32_t> made_{0};
};

// Monotonic time in nanoseconds.
std::int64_t now_ns();

}  // namespace gcr
