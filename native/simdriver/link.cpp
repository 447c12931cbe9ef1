// See link.h.
#include "link.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <thread>

#include "result.h"

namespace gcr::sim {
namespace {

constexpr std::uint32_t protocol_version = 1;
constexpr std::uint16_t message_reply = 16;
constexpr std::uint16_t message_process = 17;
constexpr std::uint16_t message_process_reply = 18;

}  // namespace

void start_thread(std::function<void()> body) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread(std::move(body)).detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool DeviceLink::connect() {
  const char *path = std::getenv("GCR_SIM_SOCKET");
  if (!path) {
    trace("GCR_SIM_SOCKET is not set");
    return false;
  }
  path_ = path;
  return connect_to(path_);
}

bool DeviceLink::connect_to(const std::string &path) {
  if (const int error = channel_.connect(path)) {
    trace("no simulated device at " + path + ", errno " + std::to_string(error));
    return false;
  }
  lost_ = false;
  receiving_ = true;
  start_thread([this] { receive(); });
  const Reply reply = ask(ToDevice::hello, Body().u32(protocol_version).u32(static_cast<std::uint32_t>(::getpid())));
  Reader read(reply.body);
  std::uint64_t memory_bytes = 0, number = 0;
  read(memory_bytes);
  const auto uuid = read.take_view(sizeof(uuid_.bytes));
  read(number);
  if (reply.status != success || !read.good()) {
    // Its thread must not meet a later connection.
    channel_.shutdown();
    while (receiving_) ::usleep(1000);
    return false;
  }
  // Once: a device that it comes back to is the same one, and others read this without a lock.
  const std::lock_guard lock(mutex_);
  if (number_ == 0) {
    memory_bytes_ = memory_bytes;
    std::copy(uuid.begin(), uuid.end(), uuid_.bytes);
    number_ = number;
  }
  return true;
}

bool DeviceLink::send(ToDevice type, std::uint64_t request, const Body &body, std::span<const int> descriptors) {
  const std::lock_guard lock(send_mutex_);
  return static_cast<bool>(channel_.send(static_cast<std::uint16_t>(type), request, body.content(), descriptors));
}

bool DeviceLink::tell(ToDevice type, const Body &body, std::span<const int> descriptors) {
  return send(type, 0, body, descriptors);
}

Reply DeviceLink::ask(ToDevice type, const Body &body, std::span<const int> descriptors) {
  std::uint64_t request;
  {
    const std::lock_guard lock(mutex_);
    if (lost_) return {};
    request = next_request_++;
    waiting_.emplace(request, nullptr);
  }
  if (!send(type, request, body, descriptors)) lose();
  std::unique_lock lock(mutex_);
  const auto place = waiting_.find(request);
  answered_.wait(lock, [&] { return place->second || lost_; });
  Reply reply = place->second ? std::move(*place->second) : Reply{};
  waiting_.erase(place);
  return reply;
}

void DeviceLink::lose() {
  channel_.shutdown();
  const std::lock_guard lock(mutex_);
  lost_ = true;
  answered_.notify_all();
}

void DeviceLink::receive() {
  Message message;
  while (channel_.receive(message)) handle(message);
  if (away_) {
    receiving_ = false;
    return stay_away();
  }
  trace("the simulated device is gone");
  lose();
  receiving_ = false;
}

void DeviceLink::stay_away() {
  std::string path = path_ + ".";
  {
    const std::lock_guard lock(mutex_);
    path += std::to_string(number_);
  }
  {
    const std::lock_guard lock(send_mutex_);
    channel_ = Channel();
  }
  for (;;) {
    ::usleep(20'000);
    const bool wanted = wanted_.exchange(false);
    if (!wanted && ::access(path.c_str(), F_OK) != 0) continue;
    // Before it is connected: the first thing that is asked may lead it away again.
    away_ = false;
    if (connect_to(wanted ? path_ : path)) return;
    away_ = true;
  }
}

void DeviceLink::leave() {
  away_ = true;
  // Wakes the thread that receives; only when that has closed the socket does the device see the end of the connection.
  ::shutdown(channel_.descriptor(), SHUT_RD);
}

bool DeviceLink::come_back() {
  wanted_ = true;
  for (int i = 0; i < 500 && away_; ++i) ::usleep(10'000);
  return !away_;
}

void DeviceLink::handle(Message &message) {
  Reader read(message.body);
  std::uint32_t first = 0;
  read(first);
  if (message.type == message_reply) {
    std::string_view text;
    read(text);
    if (!read.good()) return lose();
    auto reply = std::make_unique<Reply>();
    reply->status = static_cast<Result>(first);
    reply->text = text;
    const auto rest = read.take_view(read.left());
    reply->body.assign(rest.begin(), rest.end());
    const std::lock_guard lock(mutex_);
    const auto place = waiting_.find(message.request);
    if (place == waiting_.end()) return;
    place->second = std::move(reply);
    answered_.notify_all();
  } else if (message.type == message_process) {
    std::uint32_t timeout = 0;
    read(timeout);
    if (!read.good()) return lose();
    // Locking waits for queues that need this thread to end their launches.
    start_thread([this, first, timeout, request = message.request] {
      const ProcessAnswer answer = handler_(static_cast<ProcessAction>(first), timeout);
      const Body body = Body().u32(answer.status).u32(answer.state);
      const std::lock_guard lock(send_mutex_);
      channel_.send(message_process_reply, request, body.content());
      if (answer.state == process_checkpointed) leave();
    });
  } else {
    lose();
  }
}

}  // namespace gcr::sim
