// The gate that holds submissions back. Every intercepted call passes it: `enter` before anything is recorded, `leave` after the driver has
// returned. `close` lets nobody in any more and `wait_idle` says when everybody who was in has left, so what is in the ring then has been
// given to the driver, and nothing else has.
#pragma once

#include <atomic>
#include <cstdint>

#include "recorder/hot.h"
#include "recorder/thread.h"

namespace gcr {

class Gate {
 public:
  Gate();

  void enter(ThreadState &thread) {
    GateSlot &slot = thread.slot ? *thread.slot : take_slot(thread);
    // Either we see the closed gate or the agent sees us: it lets the system see to that where it can, so that nobody waits here for all that the
    // processor has still to write; else both sides are sequentially consistent.
    if (hot.fenced.load(std::memory_order_relaxed)) [[unlikely]] slot.busy.exchange(1);
    else slot.busy.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (hot.closed.load()) [[unlikely]] wait_open(slot);
  }
  static void leave(ThreadState &thread) { thread.slot->busy.store(0, std::memory_order_release); }

  // From here on nobody else comes in. False when it is not certain of everybody, and has to be tried again; then the gate is open.
  bool close();
  void open();

  // Launches of all threads that were counted instead of told, since the process began.
  std::uint64_t untold() const;

  // Whether everybody has left within the time.
  bool wait_idle(std::int64_t deadline_ns);

  // At a thread's end.
  static void give_back(GateSlot *slot) { slot->taken.store(false, std::memory_order_release); }

 private:
  GateSlot &take_slot(ThreadState &thread);
  void wait_open(GateSlot &slot);

  std::atomic<GateSlot *> slots_{nullptr};
  std::atomic<std::uint32_t> made_{0};
};

// Monotonic time in nanoseconds.
std::int64_t now_ns();

}  // namespace gcr
