// The channel of docs/formats/runtime-protocol.md: a Unix socket of packets, each a message with file descriptors. It guarantees
// framing (a message handed out has a body as long as its head says and as many descriptors as it says), the peer's
// credentials, and that no descriptor outlives a message that nobody took. It knows nothing of what messages mean.
// Relied on by the recorder, the addon and the simulated driver. Nothing here throws but for lack of memory.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "descriptor.h"

namespace gcr {

constexpr std::size_t channel_head_bytes = 16;
constexpr std::size_t channel_message_bytes = 65536;
constexpr std::size_t channel_descriptors = 64;
constexpr int channel_forever = -1;

struct Message {
  std::uint16_t type = 0;
  std::uint64_t request = 0;
  std::vector<std::uint8_t> body;
  std::vector<Descriptor> descriptors;
};

// What became of an attempt to send or receive. `error` is an errno where the status is `failed`.
enum class ChannelStatus { ok, timeout, closed, bad_message, failed };
struct ChannelResult {
  ChannelStatus status = ChannelStatus::ok;
  int error = 0;
  explicit operator bool() const { return status == ChannelStatus::ok; }
};

struct PeerCredentials {
  pid_t pid = 0;
  uid_t uid = 0;
};

// Who is at the other end of a connected Unix socket. False with errno when it cannot be told.
bool peer_credentials(int socket, PeerCredentials &credentials);

// Whether a message to or from that user is allowed: the same user as ours, or root.
bool trusted_peer(const PeerCredentials &peer);

// One connection. Sending and receiving may happen on two threads at once; two senders must agree between themselves.
class Channel {
 public:
  Channel() = default;
  explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}

  // Connects to a listening socket of this user (or root); a path that begins with a zero byte is of the abstract namespace. Returns an errno, 0 for
  // success.
  int connect(const std::string &path);

  // Sends one message; the descriptors stay the caller's. `timeout` in milliseconds.
  ChannelResult send(std::uint16_t type, std::uint64_t request, std::span<const std::uint8_t> body,
                     std::span<const int> descriptors = {}, int timeout = channel_forever);

  // Receives one message. `bad_message` ends the connection, as the protocol demands.
  ChannelResult receive(Message &message, int timeout = channel_forever);

  // Whether the other side has taken everything that was sent, or there is none.
  bool is_taken() const;

  // Ends the connection for both sides and wakes whoever waits in `receive`; the descriptor is closed with the object.
  void shutdown();

  int descriptor() const { return socket_.get(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }

 private:
  Descriptor socket_;
};

// A listening socket at a path. The path is removed with the object; one that begins with a zero byte is of the abstract namespace.
class Listener {
 public:
  Listener() = default;
  Listener(Listener &&) = default;
  Listener &operator=(Listener &&) = delete;
  ~Listener();

  // Binds and listens; the file gets mode 0600. Returns an errno, 0 for success (EADDRINUSE where something exists there).
  int listen(const std::string &path);

  // Waits for the next connection from a trusted peer; others are closed and not told of.
  ChannelResult accept(Channel &channel, PeerCredentials &peer, int timeout = channel_forever);

  // Removes the path and wakes whoever waits in `accept`, which then says `closed`.
  void shutdown();

  int descriptor() const { return socket_.get(); }

 private:
  Descriptor socket_;
  std::string path_;
};

}  // namespace gcr
