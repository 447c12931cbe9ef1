// See channel.h.
#include "channel.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include <cerrno>
#include <cstring>

#include "wire.h"

namespace gcr {
namespace {

std::int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// A moment until which to wait; `channel_forever` never comes.
class Deadline {
 public:
  explicit Deadline(int timeout) : at_(timeout < 0 ? -1 : now_ms() + timeout) {}

  // Waits until the socket can be read or written, or hangs up. 0, ETIMEDOUT, or poll's errno.
  int wait(int socket, short what, bool *hung_up = nullptr) const {
    for (;;) {
      std::int64_t left = -1;
      if (at_ >= 0) {
        left = at_ - now_ms();
        if (left < 0) left = 0;
      }
      pollfd wanted{socket, what, 0};
      const int count = ::poll(&wanted, 1, static_cast<int>(left));
      if (count > 0) {
        if (hung_up) *hung_up = wanted.revents & POLLHUP;
        return 0;
      }
      if (count == 0) return ETIMEDOUT;
      if (errno != EINTR) return errno;
    }
  }

 private:
  std::int64_t at_;
};

ChannelResult failure(int error) {
  if (error == ETIMEDOUT) return {ChannelStatus::timeout, error};
  if (error == EPIPE || error == ECONNRESET || error == ENOTCONN) return {ChannelStatus::closed, error};
  return {ChannelStatus::failed, error};
}

int address_of(const std::string &path, sockaddr_un &address) {
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return 0;
}

Descriptor packet_socket() { return Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

}  // namespace

bool peer_credentials(int socket, PeerCredentials &credentials) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  credentials = {peer.pid, peer.uid};
  return true;
}

bool trusted_peer(const PeerCredentials &peer) { return peer.uid == ::geteuid() || peer.uid == 0; }

int Channel::connect(const std::string &path) {
  sockaddr_un address{};
  if (int error = address_of(path, address)) return error;
  Descriptor socket = packet_socket();
  if (!socket) return errno;
  // A full backlog of a local socket shows as EAGAIN; the listener takes connections on a thread of its own, so it is short.
  for (int tries = 0; ::connect(socket.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0; ++tries) {
    if (errno != EAGAIN && errno != EINTR) return errno;
    if (tries == 500) return ETIMEDOUT;
    const timespec pause{0, 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  PeerCredentials peer;
  if (!peer_credentials(socket.get(), peer)) return errno;
  if (!trusted_peer(peer)) return EPERM;
  socket_ = std::move(socket);
  return 0;
}

ChannelResult Channel::send(std::uint16_t type, std::uint64_t request, std::span<const std::uint8_t> body,
                            std::span<const int> descriptors, int timeout) {
  if (!socket_) return failure(ENOTCONN);
  if (body.size() > channel_message_bytes - channel_head_bytes || descriptors.size() > channel_descriptors)
    return failure(EMSGSIZE);
  std::uint8_t head[channel_head_bytes];
  const auto length = static_cast<std::uint32_t>(channel_head_bytes + body.size());
  const auto count = static_cast<std::uint16_t>(descriptors.size());
  std::memcpy(head, &length, 4);
  std::memcpy(head + 4, &type, 2);
  std::memcpy(head + 6, &count, 2);
  std::memcpy(head + 8, &request, 8);
  iovec parts[2] = {{head, sizeof(head)}, {const_cast<std::uint8_t *>(body.data()), body.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * channel_descriptors)];
  msghdr packet{};
  packet.msg_iov = parts;
  packet.msg_iovlen = 2;
  if (count) {
    std::memset(control, 0, sizeof(control));
    packet.msg_control = control;
    packet.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr *rights = CMSG_FIRSTHDR(&packet);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  const Deadline deadline(timeout);
  for (;;) {
    if (::sendmsg(socket_.get(), &packet, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != ENOBUFS) return failure(errno);
    if (int error = deadline.wait(socket_.get(), POLLOUT)) return failure(error);
  }
}

ChannelResult Channel::receive(Message &message, int timeout) {
  if (!socket_) return failure(ENOTCONN);
  std::uint8_t head[channel_head_bytes];
  message.body.resize(channel_message_bytes - channel_head_bytes);
  iovec parts[2] = {{head, sizeof(head)}, {message.body.data(), message.body.size()}};
  // One descriptor more than allowed, so that too many are seen instead of cut off.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * (channel_descriptors + 1))];
  msghdr packet{};
  packet.msg_iov = parts;
  packet.msg_iovlen = 2;
  const Deadline deadline(timeout);
  ssize_t size = 0;
  for (;;) {
    packet.msg_control = control;
    packet.msg_controllen = sizeof(control);
    size = ::recvmsg(socket_.get(), &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (size >= 0) break;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return failure(errno);
    if (int error = deadline.wait(socket_.get(), POLLIN)) return failure(error);
  }
  message.descriptors.clear();
  for (cmsghdr *part = CMSG_FIRSTHDR(&packet); part; part = CMSG_NXTHDR(&packet, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      message.descriptors.emplace_back(number);
    }
  }
  if (size == 0) {
    message.body.clear();
    message.descriptors.clear();
    return {ChannelStatus::closed, 0};
  }
  std::uint32_t length = 0;
  std::uint16_t count = 0;
  std::memcpy(&length, head, 4);
  std::memcpy(&message.type, head + 4, 2);
  std::memcpy(&count, head + 6, 2);
  std::memcpy(&message.request, head + 8, 8);
  if (static_cast<std::size_t>(size) < channel_head_bytes || length != static_cast<std::size_t>(size) ||
      count != message.descriptors.size() || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
    message.descriptors.clear();
    message.body.clear();
    shutdown();
    return {ChannelStatus::bad_message, EBADMSG};
  }
  message.body.resize(length - channel_head_bytes);
  return {};
}

bool Channel::is_taken() const {
  int left = 0;
  return ioctl(socket_.get(), SIOCOUTQ, &left) != 0 || left == 0;
}

void Channel::shutdown() {
  if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
}

Listener::~Listener() { shutdown(); }

int Listener::listen(const std::string &path) {
  sockaddr_un address{};
  if (int error = address_of(path, address)) return error;
  Descriptor socket = packet_socket();
  if (!socket) return errno;
  // The mode is set before anybody can connect: a bound socket refuses until it listens.
  if (::bind(socket.get(), reinterpret_cast<sockaddr *>(&address), sizeof(address)) != 0) return errno;
  const bool is_file = path[0] != '\0';
  if ((is_file && ::chmod(path.c_str(), 0600) != 0) || ::listen(socket.get(), 64) != 0) {
    const int error = errno;
    if (is_file) ::unlink(path.c_str());
    return error;
  }
  socket_ = std::move(socket);
  if (is_file) path_ = path;
  return 0;
}

ChannelResult Listener::accept(Channel &channel, PeerCredentials &peer, int timeout) {
  const Deadline deadline(timeout);
  bool hung_up = false;  // after shutdown
  for (;;) {
    Descriptor socket(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      if (!peer_credentials(socket.get(), peer) || !trusted_peer(peer)) continue;
      channel = Channel(std::move(socket));
      return {};
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EINVAL || (errno == EAGAIN && hung_up)) return {ChannelStatus::closed, 0};
    if (errno != EAGAIN) return failure(errno);
    if (int error = deadline.wait(socket_.get(), POLLIN, &hung_up)) return failure(error);
  }
}

void Listener::shutdown() {
  if (!socket_) return;
  if (!path_.empty()) ::unlink(path_.c_str());
  path_.clear();
  ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace gcr
