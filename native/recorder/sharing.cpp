// See sharing.h.
#include "recorder/sharing.h"

#include <pthread.h>
#include <signal.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/events.h"
#include "recorder/gate.h"
#include "recorder/thread.h"

namespace gcr {
namespace {

// Sixteen bytes that no driver's handle begins with but by chance; the last is the version.
constexpr std::uint8_t magic[16] = {'g', 'c', 'r', 0x9b, 0x1d, 0xe6, 0x52, 0xc8, 0x3f, 0x77, 0xa4, 0x0e, 0xd1, 0x68, 0xf5, 1};
constexpr std::uint16_t type_ask = 1, type_place = 2;
// Who connects asks at once.
constexpr int asked_within_ms = 1'000;
constexpr std::int64_t answered_within_ns = 10'000'000'000;
constexpr useconds_t pause = 10'000;  // microseconds, where no connection can be taken now

struct HandleLayout {
  std::uint8_t magic[16];
  SharedName name;
  std::uint8_t zeros[24];
};
static_assert(sizeof(HandleLayout) == sizeof(IpcHandle));

struct AskMessage {
  std::uint64_t allocation = 0;
  void fields(auto &f) { f(allocation); }
};
struct PlaceMessage {
  std::uint32_t status = 0;
  SharedPlace place;
  void fields(auto &f) {
    f(status);
    f.zeros(4);
    if constexpr (requires { f.left(); }) {
      if (const Bytes device = f.take_view(sizeof(place.device)); device.size() == sizeof(place.device))
        std::copy(device.begin(), device.end(), place.device);
    } else {
      f.bytes(Bytes(place.device));
    }
    f(place.block);
    f(place.block_bytes);
    f(place.offset);
    f(place.size);
  }
};

// In the abstract namespace, so that nothing is left when the process ends.
std::string address_of(const std::uint8_t (&process)[16]) {
  std::string address = std::string(1, '\0') + "gcr-memory-";
  for (const std::uint8_t byte : process) {
    address += "0123456789abcdef"[byte >> 4];
    address += "0123456789abcdef"[byte & 15];
  }
  return address;
}

// Milliseconds until then, none once it is over.
int left_until(std::int64_t deadline_ns) { return static_cast<int>(std::max<std::int64_t>(0, deadline_ns - now_ns()) / 1'000'000); }

// Whoever has ended, or has never been, does not take a connection.
Result why(int error) { return error == ECONNREFUSED || error == ENOENT ? result::invalid_handle : result::operating_system; }
Result why(const ChannelResult &failed) {
  return failed.status == ChannelStatus::closed ? result::invalid_handle : result::operating_system;
}

}  // namespace

int Sharing::start() {
  if (started_) return 0;
  if (::getrandom(process_, sizeof(process_), 0) != static_cast<ssize_t>(sizeof(process_))) return EIO;
  if (const int error = listener_.listen(address_of(process_))) return error;
  sigset_t all, before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = ::pthread_create(&thread, nullptr, run, this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error) {
    listener_.shutdown();
    return error;
  }
  ::pthread_detach(thread);
  started_ = true;
  return 0;
}

int Sharing::offer(std::uint64_t allocation, const SharedPlace &place, Descriptor memory, IpcHandle &handle) {
  const std::lock_guard lock(mutex_);
  if (const int error = start()) return error;
  if (!blocks_.contains(place.block)) {
    if (!memory) return EBADF;
    blocks_[place.block] = std::move(memory);
  }
  places_[allocation] = place;
  HandleLayout layout{};
  std::memcpy(layout.magic, magic, sizeof(magic));
  std::memcpy(layout.name.process, process_, sizeof(process_));
  layout.name.allocation = allocation;
  std::memcpy(&handle, &layout, sizeof(handle));
  return 0;
}

bool Sharing::offers_block(std::uint64_t block) const {
  const std::lock_guard lock(mutex_);
  return blocks_.contains(block);
}

void Sharing::withdraw(std::uint64_t allocation) {
  if (!started_) return;
  const std::lock_guard lock(mutex_);
  places_.erase(allocation);
}

void Sharing::withdraw_block(std::uint64_t block) {
  if (!started_) return;
  const std::lock_guard lock(mutex_);
  blocks_.erase(block);
}

std::optional<SharedName> Sharing::name_in(const IpcHandle &handle) {
  HandleLayout layout;
  std::memcpy(static_cast<void *>(&layout), &handle, sizeof(layout));
  if (std::memcmp(layout.magic, magic, sizeof(magic)) != 0) return std::nullopt;
  return layout.name;
}

bool Sharing::is_own(const SharedName &name) const {
  return started_ && std::memcmp(name.process, process_, sizeof(process_)) == 0;
}

Result Sharing::ask(const SharedName &name, SharedPlace &place, Descriptor &memory) {
  const std::int64_t deadline = now_ns() + answered_within_ns;
  Channel channel;
  if (const int error = channel.connect(address_of(name.process))) return why(error);
  const auto asked = channel.send(type_ask, 1, encode_message(AskMessage{name.allocation}), {}, left_until(deadline));
  if (!asked) return why(asked);
  Message answer;
  const auto received = channel.receive(answer, left_until(deadline));
  if (!received) return why(received);
  const auto told = decode_message<PlaceMessage>(answer.body);
  if (answer.type != type_place || !told) return result::operating_system;
  if (told->status) return static_cast<Result>(told->status);
  place = told->place;
  const bool inside = place.size > 0 && place.offset <= place.block_bytes && place.size <= place.block_bytes - place.offset;
  if (answer.descriptors.size() != 1 || !inside) return result::operating_system;
  memory = std::move(answer.descriptors[0]);
  return result::success;
}

void Sharing::abandon() {
  if (!started_) return;
  ::close(listener_.descriptor());
  for (const auto &[block, memory] : blocks_) ::close(memory.get());
}

void *Sharing::run(void *sharing) {
  // Nothing that this thread does is the program's.
  this_thread.depth = 1;
  this_thread.in_driver = true;
  static_cast<Sharing *>(sharing)->serve();
  return nullptr;
}

void Sharing::serve() {
  for (;;) {
    Channel channel;
    PeerCredentials peer;
    const ChannelResult taken = listener_.accept(channel, peer);
    if (taken.status == ChannelStatus::closed || taken.error == EBADF) return;
    try {
      Message asked;
      if (!taken) ::usleep(pause);
      else if (channel.receive(asked, asked_within_ms) && asked.type == type_ask) answer(channel, asked);
    } catch (const std::exception &) {
      // No memory for this one: it is told nothing.
    }
  }
}

void Sharing::answer(Channel &channel, const Message &asked) {
  const auto wanted = decode_message<AskMessage>(asked.body);
  if (!wanted) return;
  // Sent under the lock, so that no copy of a descriptor is about when the process forks; a fresh socket has room.
  const std::lock_guard lock(mutex_);
  const auto place = places_.find(wanted->allocation);
  const auto memory = place == places_.end() ? blocks_.end() : blocks_.find(place->second.block);
  if (memory == blocks_.end()) {
    channel.send(type_place, asked.request, encode_message(PlaceMessage{result::invalid_handle, {}}), {}, 0);
    return;
  }
  const int descriptor = memory->second.get();
  channel.send(type_place, asked.request, encode_message(PlaceMessage{0, place->second}), {&descriptor, 1}, 0);
}

}  // namespace gcr
