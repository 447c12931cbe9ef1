// See gate.h.
#include "recorder/gate.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace gcr {
namespace {

// A slot outlives its thread's other destructors: when one of them calls the driver, it takes a slot again and this runs again.
void thread_ends(void *) {
  if (this_thread.slot) Gate::give_back(this_thread.slot);
  this_thread.slot = nullptr;
}

// membarrier(2): every thread of the process has what it wrote before seen by all, and has yet to read what it reads after.
bool barrier() { return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0; }
// Has to be asked for first.
bool barriers_begin() { return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0; }

pthread_key_t end_key() {
  static const pthread_key_t key = [] {
    pthread_key_t made{};
    pthread_key_create(&made, thread_ends);
    return made;
  }();
  return key;
}

}  // namespace

thread_local constinit ThreadState this_thread;

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

GateSlot &Gate::take_slot(ThreadState &thread) {
  pthread_setspecific(end_key(), &thread);
  for (GateSlot *slot = slots_.load(); slot; slot = slot->next)
    if (bool expected = false; slot->taken.compare_exchange_strong(expected, true)) return *(thread.slot = slot);
  auto *slot = new GateSlot;
  slot->taken = true;
  slot->number = ++made_;
  slot->next = slots_.load();
  while (!slots_.compare_exchange_weak(slot->next, slot)) {
  }
  return *(thread.slot = slot);
}

void Gate::wait_open(GateSlot &slot) {
  do {
    slot.busy.store(0);
    while (hot.closed.load()) ::syscall(SYS_futex, &hot.closed, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0);
    slot.busy.exchange(1);
  } while (hot.closed.load());
}

// ThreadSanitizer knows nothing of what the system sees to.
Gate::Gate() {
#ifndef __SANITIZE_THREAD__
  hot.fenced = !barriers_begin();
#endif
}

bool Gate::close() {
  hot.closed.store(1);
  if (hot.fenced.load()) return true;
  // What was asked for once is forgotten when the process is brought back from disk.
  if (barrier() || (barriers_begin() && barrier())) return true;
  // From now on everybody sees to it alone; who came in before has been seen by the next time.
  hot.fenced = true;
  open();
  return false;
}

void Gate::open() {
  hot.closed.store(0);
  ::syscall(SYS_futex, &hot.closed, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

std::uint64_t Gate::untold() const {
  std::uint64_t count = 0;
  for (const GateSlot *slot = slots_.load(); slot; slot = slot->next) count += slot->untold.load(std::memory_order_relaxed);
  return count;
}

bool Gate::wait_idle(std::int64_t deadline_ns) {
  for (GateSlot *slot = slots_.load(); slot; slot = slot->next)
    while (slot->busy.load()) {
      if (now_ns() > deadline_ns) return false;
      ::usleep(50);
    }
  return true;
}

}  // namespace gcr
