// See emitter.h.
#include "recorder/emitter.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace gcr {
namespace {

constexpr int send_timeout_ms = 10'000;
constexpr int welcome_timeout_ms = 30'000;

}  // namespace

std::string Emitter::connect(const std::string &path, HelloMessage hello, bool *known) {
  Channel channel;
  if (const int error = channel.connect(path)) return path + ": " + std::strerror(error);
  RingMemory memory;
  Descriptor ring, wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return std::string("no eventfd: ") + std::strerror(errno);
  if (const int error = memory.create(ring_default_bytes, ring)) return std::string("no memory for the ring: ") + std::strerror(error);
  // A child of fork must not write into its parent's ring.
  ::madvise(memory.head(), ring_head_bytes + memory.data_bytes(), MADV_DONTFORK);
  hello.ring_bytes = memory.data_bytes();
  const int descriptors[] = {ring.get(), wake.get()};
  if (!channel.send(static_cast<std::uint16_t>(MessageType::hello), 0, encode_message(hello), descriptors, send_timeout_ms))
    return "the supervisor takes no hello";
  Message answer;
  if (!channel.receive(answer, welcome_timeout_ms) || answer.type != static_cast<std::uint16_t>(MessageType::welcome))
    return "the supervisor does not answer";
  const auto welcome = decode_message<WelcomeMessage>(answer.body);
  if (!welcome || welcome->version != protocol_version) return "the supervisor is of another version";
  if (known) *known = (welcome->flags & welcome_known) != 0;
  channel_ = std::move(channel);
  memory_ = std::move(memory);
  ring_ = std::move(ring);
  wake_ = std::move(wake);
  hot.writer.emplace(memory_, wake_.get(), channel_.descriptor());
  hot.quiet = false;
  hot.telling = Telling::all;
  return "";
}

std::string Emitter::reconnect(const std::string &path, HelloMessage hello, bool &known) {
  hot.writer.reset();
  std::string problem = connect(path, std::move(hello), &known);
  const std::lock_guard lock(limiting_);
  if (problem.empty() && !may_tell_writes()) {
    hot.telling = Telling::allocations;
    put(StoppedEvent{limit_reason_}, 0, 0);
  }
  if (problem.empty() && is_shared()) put(SharedEvent{shared_reason_}, 0, 0);
  return problem;
}

void Emitter::disconnect() {
  hot.telling = Telling::nothing;
  hot.writer.reset();
  memory_ = RingMemory();
  ring_.reset();
  wake_.reset();
  const std::lock_guard lock(sending_);
  channel_ = Channel();
}

bool Emitter::send(std::uint16_t type, std::uint64_t request, Bytes body, std::span<const int> descriptors) {
  const std::lock_guard lock(sending_);
  const ChannelResult result = channel_.send(type, request, body, descriptors, send_timeout_ms);
  trace("message " + std::to_string(type) + (result ? "" : " not sent"));
  if (!result) supervisor_gone();
  return static_cast<bool>(result);
}

void Emitter::limit(Telling to, const std::string &reason) {
  const std::lock_guard lock(limiting_);
  if (limit_ >= to) return;
  limit_ = to;
  limit_reason_ = reason;
}

void Emitter::stop_writes(const std::string &reason) {
  limit(Telling::allocations, reason);
  Telling expected = Telling::all;
  if (!hot.telling.compare_exchange_strong(expected, Telling::allocations)) return;
  trace("stopped telling writes: " + reason);
  put(StoppedEvent{reason}, 0, 0);
}

void Emitter::share(const std::string &reason) {
  stop_writes(reason);
  {
    const std::lock_guard lock(limiting_);
    if (shared_) return;
    shared_reason_ = reason;
    shared_ = true;
  }
  allocation(SharedEvent{reason});
}

void Emitter::stop_all(const std::string &reason) {
  limit(Telling::nothing, reason);
  if (hot.telling.exchange(Telling::nothing) == Telling::nothing) return;
  trace("stopped: " + reason);
  put(StoppedEvent{reason}, 0, stopped_all);
  const std::lock_guard lock(sending_);
  channel_.send(static_cast<std::uint16_t>(MessageType::stopped), 0, encode_message(StoppedMessage{reason}), {}, send_timeout_ms);
}

void Emitter::supervisor_gone() {
  if (hot.telling.exchange(Telling::nothing) != Telling::nothing) trace("the supervisor has gone");
  if (hot.writer) hot.writer->close();
}

void Emitter::abandon() {
  hot.telling = Telling::nothing;
  for (int descriptor : {channel_.descriptor(), ring_.get(), wake_.get()})
    if (descriptor >= 0) ::close(descriptor);
}

void Emitter::trace(const std::string &line) {
  static const char *path = std::getenv("GCR_TRACE");
  if (!path) return;
  Descriptor file(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const std::string text = std::to_string(::getpid()) + " " + line + "\n";
  [[maybe_unused]] const ssize_t written = file ? ::write(file.get(), text.data(), text.size()) : 0;
}

}  // namespace gcr
