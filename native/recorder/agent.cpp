// See agent.h.
#include "recorder/agent.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "recorder/recorder.h"

namespace gcr {
namespace {

constexpr std::uint32_t status_errno = 0x10000;
// Looks for a supervisor. A process without memory is looking for five seconds in short steps, because it may be one that is just being written to
// disk; after a minute it is ended.
constexpr int short_looks = 250, patience = short_looks + 275;
constexpr useconds_t short_look = 20'000, look_without_memory = 200'000, look_while_running = 1'000'000;  // microseconds
constexpr std::int64_t shut_ns = 2'000'000'000;
constexpr const char *late_call = "a driver call did not return in time: it waits for a kernel that hangs, or for much work; the program goes on";
constexpr const char *shared_memory = "its device memory is shared with another process, which would not get the memory that comes in its place";
constexpr const char *late_queues = "the queues were not empty in time: a kernel hangs, or there is much work; the program goes on";

std::string driver_text(const Driver &driver, const char *what, std::uint32_t status) {
  if (status >= status_errno) return std::string(what) + ": " + std::strerror(static_cast<int>(status - status_errno));
  return std::string(what) + ": " + driver.error_name(static_cast<Result>(status));
}

}  // namespace

bool Agent::start(std::string socket) {
  socket_ = std::move(socket);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool started = pthread_create(&thread, nullptr, run, this) == 0;
  if (started) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return started;
}

void *Agent::run(void *agent) {
  // What this thread calls is never recorded, whichever way a call takes.
  this_thread.depth = 1;
  this_thread.in_driver = true;
  try {
    static_cast<Agent *>(agent)->serve();
  } catch (const std::exception &) {
    static_cast<Agent *>(agent)->recorder_.emitter.supervisor_gone();
    static_cast<Agent *>(agent)->recorder_.gate.open();
  }
  return nullptr;
}

void Agent::serve() {
  for (;;) {
    Message message;
    if (recorder_.emitter.channel().receive(message) && answer(message)) continue;
    recorder_.emitter.channel().shutdown();
    recorder_.emitter.supervisor_gone();
    if (guarded_) end("gcr: the supervisor has gone while it restored this process's device memory, which is neither old nor new; ending it\n");
    if (!detached_) release();
    if (!recorder_.emitter.may_reconnect()) return;
    reconnect();
  }
}

void Agent::release() {
  held_ = false;
  for (const auto &body : std::exchange(located_, {}))
    if (const auto wanted = decode_message<LocateMessage>(body)) locate(*wanted);
  recorder_.gate.open();
}

void Agent::reply(std::uint64_t request, std::uint32_t status, const std::string &text) {
  recorder_.emitter.send(static_cast<std::uint16_t>(MessageType::reply), request, encode_message(ReplyMessage{status, text}));
}

bool Agent::answer(Message &message) {
  const auto type = static_cast<MessageType>(message.type);
  if (type == MessageType::locate) {
    const auto wanted = decode_message<LocateMessage>(message.body);
    if (!wanted || message.request != 0 || !message.descriptors.empty()) return false;
    // Without memory the driver may be locked, and whoever calls it then waits.
    if (detached_) located_.push_back(std::move(message.body));
    else locate(*wanted);
    return true;
  }
  if (type == MessageType::keep) {
    const auto wanted = decode_message<KeepMessage>(message.body);
    if (!wanted || message.request != 0 || !message.descriptors.empty()) return false;
    saved_ = (wanted->flags & keep_saved) != 0;
    kept_ = wanted->text;
    return true;
  }
  if (type == MessageType::image_name) {
    const auto wanted = decode_message<ImageNameMessage>(message.body);
    if (!wanted || message.request != 0 || !message.descriptors.empty()) return false;
    recorder_.modules.image_named(wanted->module, wanted->name);
    return true;
  }
  if (type == MessageType::quiet) {
    if (message.request != 0 || !message.body.empty() || !message.descriptors.empty()) return false;
    // Asked for before a hold that has come true meanwhile, it says nothing of what follows.
    if (!held_) hot.quiet = true;
    return true;
  }
  if (message.request == 0) return false;
  const std::size_t descriptors = message.descriptors.size();
  std::uint32_t status = 0;
  std::string text;
  switch (type) {
    case MessageType::hold: {
      const auto wanted = decode_message<HoldMessage>(message.body);
      if (!wanted || descriptors || held_) return false;
      status = hold(now_ns() + std::int64_t{wanted->deadline_ms} * 1'000'000, text);
      if (status == 0) {
        held_ = true;
        // Nobody is inside of the gate.
        hot.quiet = false;
        recorder_.emitter.send(static_cast<std::uint16_t>(MessageType::reply), message.request,
                               encode_message(HeldMessage{{0, ""}, recorder_.emitter.position(), recorder_.gate.untold() - untold_before_}));
        return true;
      }
      break;
    }
    case MessageType::release:
      if (!message.body.empty() || descriptors || !held_ || detached_ || guarded_) return false;
      release();
      break;
    case MessageType::detach:
      if (!message.body.empty() || descriptors || !held_ || detached_) return false;
      detached_ = true;
      saved_ = false;
      status = recorder_.memory.detach();
      if (status) text = recorder_.emitter.is_shared() ? shared_memory : driver_text(recorder_.driver, "detach", status);
      break;
    case MessageType::attach: {
      const auto wanted = decode_message<AttachMessage>(message.body);
      if (!wanted || wanted->handles.size() != descriptors || !detached_) return false;
      status = recorder_.memory.attach(wanted->handles, message.descriptors);
      if (status) text = driver_text(recorder_.driver, "attach", status);
      else if (!wanted->more && !recorder_.memory.is_attached()) {
        status = status_errno + ENOENT;
        text = "not every handle came back";
      } else if (!wanted->more) {
        detached_ = false;
      }
      break;
    }
    case MessageType::guard: {
      const auto wanted = decode_message<GuardMessage>(message.body);
      if (!wanted || descriptors || !held_ || detached_) return false;
      guarded_ = wanted->on != 0;
      break;
    }
    case MessageType::park:
      if (!message.body.empty() || descriptors || !detached_) return false;
      reply(message.request, 0);
      return false;
    case MessageType::ping:
      if (!message.body.empty() || descriptors) return false;
      break;
    case MessageType::read:
    case MessageType::write: {
      const auto wanted = decode_message<TransferMessage>(message.body);
      if (!wanted || descriptors != 1 || !held_ || detached_) return false;
      status = transfer(*wanted, message.descriptors[0].get(), type == MessageType::write, text);
      break;
    }
    default:
      return false;
  }
  reply(message.request, status, text);
  return true;
}

void Agent::locate(const LocateMessage &wanted) {
  recorder_.modules.locate(wanted.module, wanted.names);
}

std::uint32_t Agent::shut(std::int64_t deadline_ns, std::string &text) {
  for (;;) {
    // A capture has to come to its end first: its thread needs the driver for that, and nothing may wait for a stream meanwhile.
    while (hot.captures.load() > 0) {
      if (now_ns() > deadline_ns) {
        text = "a stream is being captured";
        return status_errno + ETIMEDOUT;
      }
      ::usleep(1000);
    }
    if (!recorder_.gate.close()) {
      ::usleep(1000);
      continue;
    }
    if (!recorder_.gate.wait_idle(deadline_ns)) {
      recorder_.gate.open();
      text = late_call;
      return status_errno + ETIMEDOUT;
    }
    if (hot.captures.load() == 0) return 0;
    recorder_.gate.open();
  }
}

std::uint32_t Agent::hold(std::int64_t deadline_ns, std::string &text) {
  if (const std::uint32_t status = shut(deadline_ns, text)) return status;
  const std::uint32_t status = drain(deadline_ns, text);
  if (status) recorder_.gate.open();
  return status;
}

std::uint32_t Agent::drain(std::int64_t deadline_ns, std::string &text) {
  std::unique_lock lock(mutex_);
  const auto left = [&] { return std::chrono::nanoseconds(std::max<std::int64_t>(0, deadline_ns - now_ns())); };
  if (!changed_.wait_for(lock, left(), [this] { return !draining_; })) {
    text = late_queues;
    return status_errno + ETIMEDOUT;
  }
  draining_ = true;
  drained_ = 0;
  std::thread([this, contexts = recorder_.memory.contexts()] {
    this_thread.depth = 1;
    this_thread.in_driver = true;
    std::uint32_t status = 0;
    for (Context context : contexts) {
      Result outcome = recorder_.driver.cuCtxSetCurrent(context);
      if (outcome == result::success) outcome = recorder_.driver.cuCtxSynchronize();
      if (outcome != result::success) status = static_cast<std::uint32_t>(outcome);
    }
    const std::lock_guard done(mutex_);
    draining_ = false;
    drained_ = status;
    changed_.notify_all();
  }).detach();
  if (!changed_.wait_for(lock, left(), [this] { return !draining_; })) {
    text = late_queues;
    return status_errno + ETIMEDOUT;
  }
  if (drained_) text = driver_text(recorder_.driver, "waiting for the queues", drained_);
  return drained_;
}

std::uint32_t Agent::transfer(const TransferMessage &wanted, int descriptor, bool to_device, std::string &text) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) return status_errno + static_cast<std::uint32_t>(errno);
  const Context context = recorder_.memory.context_of(wanted.address, wanted.size);
  if (!context || wanted.size == 0 || static_cast<std::uint64_t>(status.st_size) < wanted.size) {
    text = "no allocation is there, or the file is too small";
    return result::invalid_value;
  }
  void *place = ::mmap(nullptr, wanted.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (place == MAP_FAILED) return status_errno + static_cast<std::uint32_t>(errno);
  Result outcome = recorder_.driver.cuCtxSetCurrent(context);
  if (outcome == result::success)
    outcome = to_device ? recorder_.driver.cuMemcpyHtoD(wanted.address, place, wanted.size)
                        : recorder_.driver.cuMemcpyDtoH(place, wanted.address, wanted.size);
  if (outcome == result::success) outcome = recorder_.driver.cuCtxSynchronize();
  ::munmap(place, wanted.size);
  if (outcome != result::success) text = driver_text(recorder_.driver, "copy", static_cast<std::uint32_t>(outcome));
  return static_cast<std::uint32_t>(outcome);
}

void Agent::reconnect() {
  // A place of this process's own: who listens there wants to take over this process and no other.
  const std::string path = socket_ + "." + std::to_string(::getpid());
  Emitter::trace(detached_ ? "without a supervisor and memory; waiting for one" : "without a supervisor; going on unrecorded");
  if (detached_) recorder_.emitter.disconnect();
  // Looks are counted, not time: a process that is restored from disk has not waited meanwhile.
  for (int looks = 0; !detached_ || saved_ || looks < patience; ++looks) {
    if (::access(path.c_str(), F_OK) == 0 && meet(path)) return;
    ::usleep(!detached_ ? look_while_running : looks < short_looks ? short_look : look_without_memory);
  }
  end("gcr: the supervisor has gone and did not come back with this process's device memory; ending it\n");
}

bool Agent::meet(const std::string &path) {
  std::string problem;
  if (!detached_ && shut(now_ns() + shut_ns, problem) != 0) return false;
  bool known = false;
  untold_before_ = recorder_.gate.untold();
  problem = recorder_.emitter.reconnect(path, recorder_.hello(detached_ ? Greeting::detached : Greeting::runs), known);
  if (!problem.empty()) Emitter::trace("no new supervisor: " + problem);
  else if (!known) {
    recorder_.emitter.message(KeptMessage{kept_});
    recorder_.modules.retell();
    recorder_.memory.retell();
    recorder_.modules.retell_variables();
    recorder_.graphs.retell();
  }
  if (!detached_) release();
  return problem.empty();
}

void Agent::end(std::string_view message) {
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, message.data(), message.size());
  ::kill(::getpid(), SIGKILL);
}

}  // namespace gcr
