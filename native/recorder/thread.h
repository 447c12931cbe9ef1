// What a thread of the application carries for the recorder: the guard against recursion, its slot in the gate, its caches. Plain
// data in static thread storage, because it is touched on every call.
#pragma once

#include <atomic>
#include <cstdint>

#include "driver/types.h"

namespace gcr {

struct FunctionRecord;
class LibraryCall;

// Whether a thread has a submission under way. Slots are never freed, only handed on to another thread.
struct alignas(64) GateSlot {
  std::atomic<std::uint32_t> busy{0};
  std::atomic<bool> taken{false};
  std::uint32_t number = 0;  // from 1, one a slot
  GateSlot *next = nullptr;
  std::atomic<std::uint64_t> untold{0};  // launches that were counted instead of told; written by the slot's thread alone

  void count() { untold.store(untold.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
};

struct alignas(64) ThreadState {
  int depth = 0;              // inside of a wrapper: calls from here are the driver's or our own
  bool in_driver = false;     // … and the real function is running
  GateSlot *slot = nullptr;
  const void *caller = nullptr;         // who called the wrapper that this thread is in, or was in last
  LibraryCall *library_call = nullptr;  // the innermost call of a documented library that is under way
  std::uint64_t default_stream = 0;     // number of this thread's per-thread default stream, 0: none yet
  std::uint64_t function_epoch = 0, stream_epoch = 0;  // of what is remembered below

  // Programs have some hundred kernels in turn; what is not found here costs a lock and a search.
  static constexpr unsigned cached_functions = 512, cached_streams = 8;
  struct CachedFunction {
    Function handle;
    const FunctionRecord *record;
  };
  struct CachedKernel {
    Kernel handle;
    Function function;
  };
  struct CachedStream {
    Stream handle;
    std::uint64_t number;
  };
  CachedFunction functions[cached_functions] = {};
  CachedKernel kernels[cached_functions] = {};  // whose functions are known as theirs
  CachedStream streams[cached_streams] = {};
};

// A handle's place in a cache: whatever its distance from its neighbours is, they do not meet more often than by chance.
template <unsigned places>
unsigned cache_place(const void *handle) {
  static_assert((places & (places - 1)) == 0);
  return static_cast<unsigned>((reinterpret_cast<std::uintptr_t>(handle) * 0x9E3779B97F4A7C15ULL) >> 32) & (places - 1);
}

extern thread_local constinit ThreadState this_thread __attribute__((tls_model("initial-exec")));

// While the driver runs for us: what it calls is its own business.
class InDriver {
 public:
  explicit InDriver(ThreadState &thread) : thread_(thread), depth_(thread.depth), in_driver_(thread.in_driver) {
    thread.depth = 1;
    thread.in_driver = true;
  }
  ~InDriver() {
    thread_.depth = depth_;
    thread_.in_driver = in_driver_;
  }

 private:
  ThreadState &thread_;
  int depth_;
  bool in_driver_;
};

}  // namespace gcr
