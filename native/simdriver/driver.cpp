// See driver.h.
#include "driver.h"

#include <pthread.h>

#include <algorithm>

namespace gcr::sim {
namespace {

constexpr std::uint32_t state_running = 0;
constexpr std::uint32_t state_locked = 1;
constexpr std::uint32_t state_checkpointed = 2;

void *const legacy_stream = reinterpret_cast<void *>(1);
void *const per_thread_stream = reinterpret_cast<void *>(2);

}  // namespace

ThreadState::~ThreadState() {
  for (const auto &stream : streams) Driver::get().queues.remove(stream);
}

ThreadState &thread_state() {
  thread_local ThreadState state;
  return state;
}

std::uint64_t MemoryHandles::add(std::shared_ptr<Physical> physical) {
  const std::lock_guard lock(mutex_);
  entries_.emplace(next_, Entry{std::move(physical), 1});
  return next_++;
}

std::shared_ptr<Physical> MemoryHandles::find(std::uint64_t handle) const {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  require(found != entries_.end(), invalid_value);
  return found->second.physical;
}

void MemoryHandles::release(std::uint64_t handle) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(handle);
  require(found != entries_.end(), invalid_value);
  if (--found->second.references == 0) entries_.erase(found);
}

std::uint64_t MemoryHandles::retain(const std::shared_ptr<Physical> &physical) {
  const std::lock_guard lock(mutex_);
  for (auto &[handle, entry] : entries_) {
    if (entry.physical != physical) continue;
    ++entry.references;
    return handle;
  }
  entries_.emplace(next_, Entry{physical, 1});
  return next_++;
}

Driver::Driver()
    : link([this](ProcessAction action, std::uint32_t timeout) { return process(action, timeout); }),
      space(link), heap(link, space), pinned(link), default_pool(std::make_shared<Pool>()) {
  default_pool->standard = true;
  pools.add(default_pool);
}

Driver &Driver::get() {
  static Driver *const driver = new Driver;
  return *driver;
}

bool Driver::connect() {
  const std::lock_guard lock(mutex_);
  if (!connected_) connected_ = link.connect();
  return connected_;
}

Result Driver::initialize() {
  if (forked_) return not_initialized;
  if (!connect()) return no_device;
  const std::lock_guard lock(mutex_);
  if (initialized_) return success;
  // A context does not survive fork: the threads that serve it are not there, and neither is the connection.
  pthread_atfork(nullptr, nullptr, [] { get().forked_ = true; });
  initialized_ = true;
  return success;
}

void Driver::set_sticky(Result result) {
  int none = success;
  sticky_.compare_exchange_strong(none, result);
}

Context *Driver::current() const {
  const auto &stack = thread_state().contexts;
  require(!stack.empty() && stack.back(), invalid_context);
  contexts.find(stack.back(), invalid_context);
  return stack.back();
}

std::shared_ptr<Context> Driver::make_context(unsigned flags) {
  auto context = std::make_shared<Context>();
  context->number = next_context_++;
  context->flags = flags;
  context->legacy = queues.add(StreamKind::legacy, 0, 0, context.get());
  contexts.add(context);
  return context;
}

Context *Driver::retain_primary() {
  const std::lock_guard lock(mutex_);
  if (primary_references_++ == 0) {
    const unsigned flags = primary_ ? primary_->flags : 0;
    primary_ = make_context(flags);
    primary_->primary = true;
  }
  return primary_.get();
}

void Driver::release_primary() {
  std::shared_ptr<Context> gone;
  {
    const std::lock_guard lock(mutex_);
    require(primary_references_ > 0, invalid_context);
    if (--primary_references_ == 0) gone = primary_;
  }
  if (gone) destroy_context(gone);
}

void Driver::destroy_context(const std::shared_ptr<Context> &context) {
  synchronize(context.get());
  contexts.remove(context.get(), invalid_context);
  for (const auto &stream : streams.remove_if([&](const Stream &s) { return s.context == context.get(); })) {
    queues.remove(stream);
  }
  queues.remove(context->legacy);
  for (auto *registry : {&modules, &libraries}) {
    for (const auto &module : registry->remove_if([&](const Module &m) { return m.context() == context.get(); })) {
      remove_functions(*module);
    }
  }
  heap.free_all(context.get());
}

std::shared_ptr<Stream> Driver::stream(void *handle) {
  Context *const context = current();
  ThreadState &thread = thread_state();
  if (handle == legacy_stream || (!handle && !thread.per_thread_default)) return context->legacy;
  if (!handle || handle == per_thread_stream) {
    for (const auto &stream : thread.streams) {
      if (stream->context == context) return stream;
    }
    thread.streams.push_back(queues.add(StreamKind::per_thread, 0, 0, context));
    return thread.streams.back();
  }
  return streams.find(handle, invalid_handle);
}

Ticket Driver::submit(const std::shared_ptr<Stream> &stream, std::function<void()> body) {
  return queues.submit(stream, [this, body = std::move(body)] {
    if (sticky()) return;
    try {
      body();
    } catch (const Failure &failure) {
      set_sticky(failure.result);
    } catch (...) {
      set_sticky(unknown);
    }
  });
}

void Driver::dispatch(const std::shared_ptr<Stream> &stream, NodeType type, Work work) {
  {
    const std::lock_guard lock(graphs.mutex);
    if (stream->capture) return graphs.capture(*stream, type, std::move(work));
    if (stream->kind == StreamKind::legacy) graphs.prohibit_implicit(stream->context);
  }
  submit(stream, [this, work = std::move(work)] { run(*this, work); });
}

void Driver::wait(const Ticket &ticket) {
  gate.leave();
  queues.wait(ticket);
  gate.enter();
  if (sticky()) fail(static_cast<Result>(sticky()));
}

void Driver::synchronize(const void *context) {
  gate.leave();
  queues.drain(context);
  gate.enter();
}

void Driver::forbid_in_capture() {
  const std::lock_guard lock(graphs.mutex);
  graphs.prohibit(thread_state().capture_mode);
}

void Driver::call_host(const HostWork &work) {
  bool &inside = thread_state().in_host_function;
  inside = true;
  work.function(work.data);
  inside = false;
}

std::shared_ptr<Module> Driver::module_of(const Function *function) const {
  const std::lock_guard lock(functions_mutex_);
  const auto found = functions_.find(function);
  require(found != functions_.end(), invalid_handle);
  std::shared_ptr<Module> module = found->second.lock();
  require(module != nullptr, invalid_handle);
  return module;
}

void Driver::add_functions(const std::shared_ptr<Module> &module) {
  const std::lock_guard lock(functions_mutex_);
  for (const auto &function : module->functions()) functions_.emplace(function.get(), module);
}

void Driver::remove_functions(const Module &module) {
  const std::lock_guard lock(functions_mutex_);
  for (const auto &function : module.functions()) functions_.erase(function.get());
}

ProcessAnswer Driver::process(ProcessAction action, std::uint32_t timeout_ms) {
  using std::chrono::milliseconds, std::chrono::steady_clock;
  const std::lock_guard lock(process_mutex_);
  try {
    switch (action) {
      case ProcessAction::state:
        break;
      case ProcessAction::lock: {
        require(process_state_ == state_running, illegal_state);
        const auto start = steady_clock::now();
        require(gate.close(milliseconds(timeout_ms)), not_ready);
        const auto gone = std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
        const auto left = timeout_ms ? std::max(milliseconds(timeout_ms) - gone, milliseconds(1)) : milliseconds(0);
        if (!queues.drain(nullptr, left)) {
          gate.open();
          fail(not_ready);
        }
        process_state_ = state_locked;
        break;
      }
      case ProcessAction::checkpoint:
        require(process_state_ == state_locked, illegal_state);
        space.move_out();
        process_state_ = state_checkpointed;
        break;
      case ProcessAction::restore:
        require(process_state_ == state_checkpointed, illegal_state);
        // As driver 580: a restore that found no memory cannot be repeated, and nothing brings the process back.
        require(!lost_, operating_system);
        lost_ = true;
        space.move_in();
        lost_ = false;
        process_state_ = state_locked;
        break;
      case ProcessAction::unlock:
        require(process_state_ == state_locked, illegal_state);
        gate.open();
        process_state_ = state_running;
        break;
      default:
        fail(invalid_value);
    }
    return {success, process_state_};
  } catch (const Failure &failure) {
    return {failure.result, process_state_};
  } catch (...) {
    return {out_of_memory, process_state_};
  }
}

}  // namespace gcr::sim
