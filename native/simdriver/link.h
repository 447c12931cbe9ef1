// The connection to the simulated device (docs/formats/runtime-protocol.md, "Simulated device"). It guarantees that a request
// ends: with the device's answer, or with CUDA_ERROR_DEVICE_UNAVAILABLE once the device is gone. Messages reach the device in the
// order in which they were given here. Any thread may use it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "../core/channel.h"
#include "../core/wire.h"
#include "cuda_types.h"

namespace gcr::sim {

enum class ToDevice : std::uint16_t {
  hello = 1,
  memory = 2,
  map = 3,
  unmap = 4,
  memory_info = 5,
  module = 6,
  launch = 7,
  place = 8,
  module_gone = 9,
  process = 10,
};

enum class ProcessAction : std::uint32_t { state = 0, lock = 1, checkpoint = 2, restore = 3, unlock = 4 };

// The state of a process whose driver has let the device go.
constexpr std::uint32_t process_checkpointed = 2;

// The body of a message, field by field.
class Body {
 public:
  Body &u32(std::uint32_t value) { return raw(&value, 4); }
  Body &u64(std::uint64_t value) { return raw(&value, 8); }
  Body &bytes(std::span<const std::uint8_t> content) { return raw(content.data(), content.size()); }
  std::span<const std::uint8_t> content() const { return content_; }

 private:
  Body &raw(const void *from, std::size_t size) {
    const std::size_t before = content_.size();
    content_.resize(before + size);
    if (size) std::memcpy(content_.data() + before, from, size);
    return *this;
  }
  std::vector<std::uint8_t> content_;
};

struct Reply {
  Result status = device_unavailable;
  std::string text;
  std::vector<std::uint8_t> body;  // what follows the text
};

struct ProcessAnswer {
  Result status;
  std::uint32_t state;
};

class DeviceLink {
 public:
  // Does what another process asked of this one; called on a thread of its own.
  using ProcessHandler = std::function<ProcessAnswer(ProcessAction, std::uint32_t timeout_ms)>;

  explicit DeviceLink(ProcessHandler handler) : handler_(std::move(handler)) {}
  DeviceLink(const DeviceLink &) = delete;
  DeviceLink &operator=(const DeviceLink &) = delete;

  // Connects to the socket that GCR_SIM_SOCKET names and says hello. False when there is no device. A process whose driver has answered that it
  // is checkpointed has no connection, and looks for one at that path with `.` and its number behind it, which the device has told it.
  bool connect();

  // What a process does that checkpoints itself: lets the device go, and comes back to where it was. False without a device.
  void leave();
  bool come_back();

  // Sends a message that is not answered; false when the device is gone.
  bool tell(ToDevice type, const Body &body, std::span<const int> descriptors = {});
  // Sends a request and waits for its answer.
  Reply ask(ToDevice type, const Body &body, std::span<const int> descriptors = {});

  bool lost() const { return lost_; }
  std::uint64_t memory_bytes() const { return memory_bytes_; }
  const Uuid &uuid() const { return uuid_; }

 private:
  bool send(ToDevice type, std::uint64_t request, const Body &body, std::span<const int> descriptors);
  void receive();
  bool connect_to(const std::string &path);
  // Waits until a device wants this process back.
  void stay_away();
  void handle(Message &message);
  void lose();

  ProcessHandler handler_;
  std::string path_;
  std::atomic<bool> away_ = false;    // from when the driver answers that it is checkpointed until it has a device again
  std::atomic<bool> receiving_ = false;
  std::atomic<bool> wanted_ = false;  // the process wants itself back
  Channel channel_;
  std::mutex send_mutex_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable answered_;
  std::map<std::uint64_t, std::unique_ptr<Reply>> waiting_;  // null until the answer is there
  std::uint64_t next_request_ = 1;
  std::atomic<bool> lost_ = true;
  std::uint64_t memory_bytes_ = 0;
  Uuid uuid_{};
  std::uint64_t number_ = 0;  // of this process as the device counts; in a namespace of its own it has another for itself
};

// Starts a thread that takes no signals, so that the application's handlers never run on it; nobody joins it.
void start_thread(std::function<void()> body);

}  // namespace gcr::sim
