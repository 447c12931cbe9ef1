// A supervisor made for tests: starts an application under the recorder, meets it at a socket of its own, reads its ring and its messages, and asks
// it for what a supervisor asks for.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <set>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/channel.h"
#include "core/events.h"
#include "core/ring.h"
#include "core/test/plain_check.h"

namespace gcr {

struct Told {
  EventType type;
  std::uint16_t flags;
  std::uint64_t stream;
  std::vector<std::uint8_t> bytes;
  template <class Event>
  Event as() const {
    const auto view = event_at(bytes);
    const auto event = view ? decode_event<Event>(*view) : std::nullopt;
    CHECK(event);
    return *event;
  }
};

// A test and its name.
struct Test {
  const char *name;
  void (*run)();
};
#define GCR_TEST(name) {#name, name}

// Runs all, or the one that is named.
inline void run_tests(std::initializer_list<Test> tests, const char *only) {
  for (const Test &test : tests) {
    if (only && std::string(only) != test.name) continue;
    std::fprintf(stderr, "%s\n", test.name);
    test.run();
  }
}

// A supervisor and its application. What the application writes to its standard error is kept in a file.
class Session {
 public:
  // Paths, for all sessions.
  static inline std::string recorder, driver;

  explicit Session(const std::string &program, const char *what, std::vector<std::string> more = {}) {
    char folder[] = "/tmp/gcr-recorder-XXXXXX";
    CHECK(mkdtemp(folder));
    folder_ = folder;
    CHECK(listener_.listen(folder_ + "/socket") == 0);
    int to[2], from[2];
    CHECK(pipe2(to, O_CLOEXEC) == 0 && pipe2(from, O_CLOEXEC) == 0);
    application_ = fork();
    CHECK(application_ >= 0);
    if (application_ == 0) {
      dup2(to[0], 0);
      dup2(from[1], 1);
      dup2(open(errors_path().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), 2);
      const char *preload = std::getenv("GCR_TEST_PRELOAD");  // a sanitizer's runtime must come first
      setenv("LD_PRELOAD", (preload ? std::string(preload) + ":" + recorder : recorder).c_str(), 1);
      setenv("GCR_SOCKET", (folder_ + "/socket").c_str(), 1);
      setenv("GCR_DRIVER", driver.c_str(), 1);
      for (const std::string &one : more) putenv(const_cast<char *>(one.c_str()));
      execl(program.c_str(), program.c_str(), what, nullptr);
      _exit(127);
    }
    to_ = Descriptor(to[1]);
    from_ = Descriptor(from[0]);
    close(to[0]);
    close(from[1]);
  }
  ~Session() {
    if (std::getenv("GCR_TEST_SHOW")) std::fputs(errors().c_str(), stderr);
    if (application_ > 0) kill(application_, SIGKILL);
    if (application_ > 0) waitpid(application_, nullptr, 0);
    const std::string command = "rm -rf " + folder_;
    CHECK(std::system(command.c_str()) == 0);
  }

  // As another supervisor, after the first one has gone: what was told is forgotten.
  void meet_again() {
    told.clear();
    handles.clear();
    Listener successor;
    CHECK(successor.listen(folder_ + "/socket." + std::to_string(application_)) == 0);
    meet(successor);
    CHECK(ask(MessageType::ping).status == 0);
    pump();
  }
  void meet() { meet(listener_); }
  void meet(Listener &listener) {
    PeerCredentials peer;
    CHECK(listener.accept(channel_, peer, 20000));
    Message message;
    CHECK(channel_.receive(message, 20000));
    CHECK(message.type == static_cast<std::uint16_t>(MessageType::hello) && message.descriptors.size() == 2);
    hello_ = *decode_message<HelloMessage>(message.body);
    CHECK(hello_.pid == static_cast<std::uint32_t>(peer.pid));
    reader_.reset();
    const std::string wrong = memory_.open(message.descriptors[0].get());
    CHECK(wrong.empty());
    wake_ = std::move(message.descriptors[1]);
    reader_ = std::make_unique<RingReader>(memory_, wake_.get());
    CHECK(channel_.send(static_cast<std::uint16_t>(MessageType::welcome), 0, encode_message(WelcomeMessage{})));
  }

  // Takes what is there; messages that are no replies are kept. An application that writes faster than we read would keep us here, and fill our memory.
  void pump() {
    const std::uint64_t end = reader_->position() + ring_default_bytes;
    while (const std::size_t size = reader_->position() < end ? reader_->drain(buffer_) : 0) {
      const auto &buffer = buffer_;
      for (std::size_t at = 0; at < size;) {
        const auto view = event_at(Bytes(buffer).subspan(at, size - at));
        CHECK(view);
        if (keep || view->type != EventType::launch)
          told.push_back({view->type, view->flags, view->stream, {buffer.begin() + static_cast<long>(at), buffer.begin() + static_cast<long>(at + view->size)}});
        ++seen;
        at += view->size;
      }
    }
    CHECK(reader_->broken().empty());
    Message message;
    while (channel_.receive(message, 0)) take(message);
  }

  // Pumps, or leaves the ring as it is, until the application has said where it is.
  std::string said(bool pumping = true) {
    for (;;) {
      if (pumping) pump();
      pollfd waiting{from_.get(), POLLIN, 0};
      if (poll(&waiting, 1, 1) <= 0) continue;
      char word[64] = {};
      const ssize_t count = read(from_.get(), word, sizeof(word) - 1);
      if (pumping) pump();
      return std::string(word, count > 0 ? static_cast<std::size_t>(count) : 0);
    }
  }
  void go_on() { CHECK(write(to_.get(), "x", 1) == 1); }
  int ended(bool pumping = true) {
    int status = 0;
    while (waitpid(application_, &status, WNOHANG) == 0) {
      if (pumping) pump();
      usleep(200);
    }
    application_ = -1;
    return status;
  }

  ReplyMessage ask(MessageType type, const std::vector<std::uint8_t> &body = {}, std::span<const int> descriptors = {}) {
    CHECK(channel_.send(static_cast<std::uint16_t>(type), ++request_, body, descriptors));
    replied_.reset();
    while (!replied_) pump();
    pump();  // what was written before the answer
    reply_ = std::move(*replied_);
    Reader reader(reply_);
    ReplyMessage reply;
    reply.fields(reader);
    CHECK(reader.good());
    position = untold = 0;
    if (reader.left() == 16) {
      reader(position);
      reader(untold);
    }
    return reply;
  }

  void ask_only(MessageType type, const std::vector<std::uint8_t> &body) {
    CHECK(channel_.send(static_cast<std::uint16_t>(type), ++request_, body));
  }
  // Whatever it is; the other side may have gone.
  void send_raw(std::uint16_t type, std::uint64_t request, const std::vector<std::uint8_t> &body, std::span<const int> descriptors) {
    channel_.send(type, request, body, descriptors);
  }
  // Takes answers to whatever was asked.
  void pump_anything() {
    for (Message message; channel_.receive(message, 2);) message = {};
  }
  bool hung_up() const {
    pollfd end{channel_.descriptor(), 0, 0};
    return poll(&end, 1, 1) > 0 && (end.revents & POLLHUP);
  }

  std::vector<Told> of(EventType type) const {
    std::vector<Told> found;
    std::copy_if(told.begin(), told.end(), std::back_inserter(found), [&](const Told &one) { return one.type == type; });
    return found;
  }

  void abandon() { channel_ = Channel(); }
  std::string errors() const {
    std::ifstream file(errors_path());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // A message that is no request.
  void tell(MessageType type, const std::vector<std::uint8_t> &body) { CHECK(channel_.send(static_cast<std::uint16_t>(type), 0, body)); }
  RingReader &reader() { return *reader_; }
  // How far events have got room in the ring.
  std::uint64_t reserved() const { return memory_.head()->reserved.load(); }
  // Whether the application is inside of a call, because nobody has read for so long.
  bool somebody_waits_for_room() const { return memory_.head()->waiting.load() > 0; }
  pid_t application() const { return application_; }
  const HelloMessage &hello() const { return hello_; }

  struct Sent {
    HandleMessage handle;
    Descriptor descriptor;
  };
  std::vector<Told> told;
  std::map<std::uint64_t, Sent> handles;
  std::map<std::uint64_t, std::string> images;
  std::map<std::uint64_t, std::uint64_t> vacant;  // sizes
  std::map<std::uint64_t, ImageName> known;
  std::set<std::uint32_t> in_use;  // devices
  std::string kept;
  std::uint64_t position = 0, untold = 0;  // of the last hold
  long seen = 0;
  bool keep = true;

 private:
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(1 << 20);
  void take(Message &message) {
    switch (static_cast<MessageType>(message.type)) {
      case MessageType::reply:
        CHECK(message.request == request_);
        replied_ = std::move(message.body);
        break;
      case MessageType::handle: {
        const auto handle = decode_message<HandleMessage>(message.body);
        CHECK(handle && message.descriptors.size() == 1);
        handles[handle->number] = {*handle, std::move(message.descriptors[0])};
        break;
      }
      case MessageType::handle_gone:
        CHECK(handles.erase(decode_message<HandleGoneMessage>(message.body)->number) == 1);
        break;
      case MessageType::image: {
        const auto image = decode_message<ImageMessage>(message.body);
        CHECK(image && message.descriptors.size() == 1);
        std::string text(image->size, 0);
        CHECK(pread(message.descriptors[0].get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
        images[image->module] = text;
        break;
      }
      case MessageType::vacant: {
        const auto handle = decode_message<VacantMessage>(message.body);
        vacant[handle->number] = handle->size;
        break;
      }
      case MessageType::known_image: {
        const auto image = decode_message<KnownImageMessage>(message.body);
        known[image->module] = image->name;
        break;
      }
      case MessageType::in_use:
        in_use.insert(decode_message<InUseMessage>(message.body)->device);
        break;
      case MessageType::kept:
        kept = decode_message<KeptMessage>(message.body)->text;
        break;
      default:
        CHECK(message.type == static_cast<std::uint16_t>(MessageType::stopped));
    }
  }

  std::string errors_path() const { return folder_ + "/errors"; }

  std::string folder_;
  Listener listener_;
  Channel channel_;
  RingMemory memory_;
  Descriptor wake_, to_, from_;
  std::unique_ptr<RingReader> reader_;
  HelloMessage hello_;
  pid_t application_ = -1;
  std::uint64_t request_ = 0;
  std::optional<std::vector<std::uint8_t>> replied_;
  std::vector<std::uint8_t> reply_;
};

}  // namespace gcr
