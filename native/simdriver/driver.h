// The simulated driver of this process: one object, made by the first call and never destroyed, because threads of it may still
// run while the process ends. The entry points (api_*.cpp) are thin shells around it; `call` is the way in.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "address_space.h"
#include "graph.h"
#include "heap.h"
#include "link.h"
#include "module.h"
#include "physical.h"
#include "process_gate.h"
#include "queue.h"
#include "result.h"
#include "work.h"

#define GCR_SIM_API extern "C" __attribute__((visibility("default"))) gcr::sim::Result

namespace gcr::sim {

struct Context {
  std::uint64_t number = 0;
  bool primary = false;
  unsigned flags = 0;
  std::shared_ptr<Stream> legacy;
  std::size_t limits[8] = {1024, 1 << 20, 8 << 20, 2, 2048, 128, 0, 0};
};

// Objects that the application knows by address.
template <class T>
class Registry {
 public:
  T *add(std::shared_ptr<T> object) {
    T *const handle = object.get();
    const std::lock_guard lock(mutex_);
    objects_.emplace(handle, std::move(object));
    return handle;
  }
  // Throws Failure when there is none.
  std::shared_ptr<T> find(const void *handle, Result otherwise) const {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(handle);
    require(found != objects_.end(), otherwise);
    return found->second;
  }
  std::shared_ptr<T> remove(const void *handle, Result otherwise) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(handle);
    require(found != objects_.end(), otherwise);
    std::shared_ptr<T> object = std::move(found->second);
    objects_.erase(found);
    return object;
  }
  template <class Predicate>
  std::vector<std::shared_ptr<T>> remove_if(Predicate predicate) {
    std::vector<std::shared_ptr<T>> gone;
    const std::lock_guard lock(mutex_);
    std::erase_if(objects_, [&](auto &entry) {
      if (!predicate(*entry.second)) return false;
      gone.push_back(std::move(entry.second));
      return true;
    });
    return gone;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<const void *, std::shared_ptr<T>> objects_;
};

// Handles of physical memory, counted.
class MemoryHandles {
 public:
  std::uint64_t add(std::shared_ptr<Physical> physical);
  std::shared_ptr<Physical> find(std::uint64_t handle) const;  // these throw Failure (invalid_value)
  void release(std::uint64_t handle);
  // One reference more to the handle of mapped memory, which gets a new one when all were released.
  std::uint64_t retain(const std::shared_ptr<Physical> &physical);

 private:
  struct Entry {
    std::shared_ptr<Physical> physical;
    unsigned references;
  };
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, Entry> entries_;
  std::uint64_t next_ = 1;
};

struct Pool {
  bool standard = false;
  std::uint64_t release_threshold = 0;
  int reuse[3] = {1, 1, 1};
};

// State of the calling thread.
struct ThreadState {
  std::vector<Context *> contexts;
  std::vector<std::shared_ptr<Stream>> streams;  // per-thread default streams, one a context
  CaptureMode capture_mode = CaptureMode::global;
  bool per_thread_default = false;  // the entry point called treats stream 0 as the per-thread default stream
  bool in_host_function = false;
  ~ThreadState();
};
ThreadState &thread_state();

class Driver {
 public:
  static Driver &get();

  Result initialize();
  // Connects to the device if that has not been done. False when there is none.
  bool connect();
  bool initialized() const { return initialized_ && !forked_; }
  int sticky() const { return sticky_; }
  // Ends the context: the first failure of executed work, which every later call returns.
  void set_sticky(Result result);

  Context *current() const;  // throws Failure (invalid_context)
  std::shared_ptr<Stream> stream(void *handle);
  Context *retain_primary();
  void release_primary();
  bool primary_active() const { return primary_references_ > 0; }
  std::shared_ptr<Context> make_context(unsigned flags);
  void destroy_context(const std::shared_ptr<Context> &context);

  // Gives work to a stream, or to the graph that the stream is captured into.
  void dispatch(const std::shared_ptr<Stream> &stream, NodeType type, Work work);
  Ticket submit(const std::shared_ptr<Stream> &stream, std::function<void()> body);
  // Waits outside of the gate; afterwards reports what has failed. Throws Failure.
  void wait(const Ticket &ticket);
  void synchronize(const void *context);
  // Fails while a capture forbids what has side effects that it cannot hold.
  void forbid_in_capture();
  void call_host(const HostWork &work);

  ProcessAnswer process(ProcessAction action, std::uint32_t timeout_ms);

  DeviceLink link;
  AddressSpace space;
  Heap heap;
  PinnedMemory pinned;
  MemoryHandles handles;
  Queues queues;
  ProcessGate gate;
  Graphs graphs;
  Registry<Context> contexts;
  Registry<Stream> streams;
  Registry<Event> events;
  Registry<Module> modules;
  Registry<Module> libraries;
  Registry<Pool> pools;
  std::shared_ptr<Pool> default_pool;

  // The module of a function or kernel that the application names. Throws Failure (invalid_handle).
  std::shared_ptr<Module> module_of(const Function *function) const;
  void add_functions(const std::shared_ptr<Module> &module);
  void remove_functions(const Module &module);

 private:
  Driver();

  std::mutex mutex_;  // guards initialisation, the primary context and the process state
  bool connected_ = false;
  std::atomic<bool> initialized_ = false;
  std::atomic<bool> forked_ = false;
  std::atomic<int> sticky_ = success;
  std::shared_ptr<Context> primary_;
  std::atomic<unsigned> primary_references_ = 0;
  std::mutex process_mutex_;
  std::uint32_t process_state_ = 0;
  bool lost_ = false;  // a restore has failed
  mutable std::mutex functions_mutex_;
  std::unordered_map<const Function *, std::weak_ptr<Module>> functions_;
  std::atomic<std::uint64_t> next_context_ = 1;
};

enum class Need { nothing, initialized, context };

// Runs the body of an entry point: checks what it needs, goes through the gate, and turns failures into results.
template <Need need = Need::context, class Body>
Result call(Body body) noexcept {
  Driver &driver = Driver::get();
  if constexpr (need != Need::nothing) {
    if (!driver.initialized()) return not_initialized;
    if (thread_state().in_host_function) return not_permitted;
  }
  struct Pass {
    ProcessGate *gate;
    ~Pass() {
      if (gate) gate->leave();
    }
  } pass{need == Need::nothing ? nullptr : &driver.gate};
  if (pass.gate) pass.gate->enter();
  try {
    if constexpr (need == Need::context) {
      if (driver.sticky()) return static_cast<Result>(driver.sticky());
      if (driver.link.lost()) return device_unavailable;
      driver.current();
    }
    body(driver);
    return success;
  } catch (const Failure &failure) {
    return failure.result;
  } catch (const std::bad_alloc &) {
    return out_of_memory;
  } catch (...) {
    return unknown;
  }
}

}  // namespace gcr::sim
