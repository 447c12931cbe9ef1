// The channel: framing, descriptors, limits, deadlines, hang-up; and the messages' encoders and decoders.
#include "../channel.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cstring>
#include <thread>

#include "../events.h"
#include "plain_check.h"

using namespace gcr;

namespace {

struct Pair {
  Channel left, right;
  Pair() {
    int ends[2];
    CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    left = Channel(Descriptor(ends[0]));
    right = Channel(Descriptor(ends[1]));
  }
};

int open_descriptors() {
  int count = 0;
  for (int number = 0; number < 1024; ++number) count += ::fcntl(number, F_GETFD) >= 0;
  return count;
}

void messages_travel() {
  Pair pair;
  const int before = open_descriptors();
  {
    int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int files[] = {file, file, file};
    const std::vector<std::uint8_t> body(channel_message_bytes - channel_head_bytes, 7);
    CHECK(pair.left.send(3, 42, body, files));
    ::close(file);
    Message message;
    CHECK(pair.right.receive(message, 1000));
    CHECK(message.type == 3 && message.request == 42 && message.body == body && message.descriptors.size() == 3);
    for (const Descriptor &one : message.descriptors) CHECK(::fcntl(one.get(), F_GETFD) == FD_CLOEXEC);
    CHECK(pair.left.send(4, 0, {}));
    CHECK(pair.right.receive(message, 1000));
    CHECK(message.body.empty() && message.descriptors.empty());
    CHECK(pair.right.receive(message, 20).status == ChannelStatus::timeout);
    CHECK(pair.left.send(3, 0, std::vector<std::uint8_t>(channel_message_bytes)).error == EMSGSIZE);
    CHECK(pair.left.send(3, 0, {}, std::vector<int>(65, 0)).error == EMSGSIZE);
  }
  CHECK(open_descriptors() == before);
}

// A message whose head does not describe it ends the connection, and its descriptors are closed.
void bad_framing() {
  const int before = open_descriptors();
  const struct {
    std::uint32_t length;
    std::uint16_t descriptors;
    std::size_t sent, passed;
  } cases[] = {{16, 0, 20, 0}, {24, 0, 20, 0}, {20, 1, 20, 0}, {20, 0, 20, 1}, {4, 0, 4, 0}, {20, 64, 20, 65}};
  for (const auto &one : cases) {
    Pair pair;
    std::uint8_t bytes[64] = {};
    std::memcpy(bytes, &one.length, 4);
    std::memcpy(bytes + 6, &one.descriptors, 2);
    iovec part{bytes, one.sent};
    alignas(cmsghdr) char control[CMSG_SPACE(65 * sizeof(int))] = {};
    msghdr packet{};
    packet.msg_iov = &part;
    packet.msg_iovlen = 1;
    if (one.passed) {
      packet.msg_control = control;
      packet.msg_controllen = CMSG_SPACE(one.passed * sizeof(int));
      cmsghdr *rights = CMSG_FIRSTHDR(&packet);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(one.passed * sizeof(int));  // all of them number 0, which is open
    }
    CHECK(::sendmsg(pair.left.descriptor(), &packet, 0) == static_cast<ssize_t>(one.sent));
    Message message;
    CHECK(pair.right.receive(message, 1000).status == ChannelStatus::bad_message);
    CHECK(message.descriptors.empty() && message.body.empty());
    CHECK(pair.left.receive(message, 1000).status == ChannelStatus::closed);
  }
  CHECK(open_descriptors() == before);
}

void server_and_client() {
  char folder[] = "/tmp/gcr-channel-XXXXXX";
  CHECK(::mkdtemp(folder));
  const std::string path = std::string(folder) + "/socket";
  {
    Listener listener;
    CHECK(listener.listen(path) == 0);
    struct stat status {};
    CHECK(::stat(path.c_str(), &status) == 0 && (status.st_mode & 0777) == 0600);
    CHECK(Listener().listen(path) == EADDRINUSE);
    std::thread client([&path] {
      Channel channel;
      CHECK(channel.connect(path) == 0);
      CHECK(channel.send(1, 0, encode_message(WelcomeMessage{})));
      Message message;
      CHECK(channel.receive(message, 5000).status == ChannelStatus::closed);
    });
    Channel channel;
    PeerCredentials peer;
    CHECK(listener.accept(channel, peer, 5000));
    CHECK(peer.pid == ::getpid() && peer.uid == ::getuid());
    Message message;
    CHECK(channel.receive(message, 5000));
    CHECK(decode_message<WelcomeMessage>(message.body)->version == protocol_version);
    channel = Channel();
    client.join();
    std::thread stopper([&listener] { listener.shutdown(); });
    CHECK(listener.accept(channel, peer, 5000).status == ChannelStatus::closed);
    stopper.join();
  }
  CHECK(::access(path.c_str(), F_OK) != 0);
  Channel channel;
  CHECK(channel.connect(path) == ENOENT);
  CHECK(channel.connect(std::string(200, 'x')) == ENAMETOOLONG);
  ::rmdir(folder);
}

// In the abstract namespace nothing is left of a listener, and only the whole name is its.
void without_a_file() {
  const std::string path = std::string(1, '\0') + "gcr-channel-" + std::to_string(::getpid());
  Channel channel;
  {
    Listener listener;
    CHECK(listener.listen(path) == 0 && Listener().listen(path) == EADDRINUSE);
    CHECK(channel.connect(path) == 0 && channel.connect(path + "0") == ECONNREFUSED);
  }
  CHECK(channel.connect(path) == ECONNREFUSED);
}

// A body is decoded only if it is exactly what its fields say.
void bodies() {
  HelloMessage hello;
  hello.pid = 7;
  hello.devices.resize(2);
  hello.devices[1].name = "a device";
  hello.devices[1].uuid[15] = 9;
  const auto bytes = encode_message(hello);
  const auto back = decode_message<HelloMessage>(bytes);
  CHECK(back && back->pid == 7 && back->devices.size() == 2 && back->devices[1].name == "a device");
  CHECK(back->devices[1].uuid[15] == 9);
  for (std::size_t size = 0; size < bytes.size(); ++size) CHECK(!decode_message<HelloMessage>(Bytes(bytes).first(size)));
  auto longer = bytes;
  longer.push_back(0);
  CHECK(!decode_message<HelloMessage>(longer));
  AttachMessage attach{1, {5, 6}};
  CHECK(decode_message<AttachMessage>(encode_message(attach))->handles == attach.handles);
  const std::uint8_t huge[8] = {0xff, 0xff, 0xff, 0xff};
  CHECK(!decode_message<AttachMessage>(huge));
}

}  // namespace

int main() {
  messages_travel();
  bad_framing();
  server_and_client();
  without_a_file();
  bodies();
}
