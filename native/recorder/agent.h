// The agent: the recorder's own thread, which answers the supervisor. It holds submissions back, waits for the queues, exchanges the
// physical memory, copies memory that has no handle, and lets the application go on. It is the only reader of the channel.
//
// Whatever state the supervisor dies in, the application ends in one of two: running (memory attached), or ended with a message after 60
// seconds without memory.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>

#include "recorder/emitter.h"
#include "recorder/gate.h"

namespace gcr {

struct Recorder;

class Agent {
 public:
  explicit Agent(Recorder &recorder) : recorder_(recorder) {}

  // Starts the thread, with all signals blocked. False when there is none to be had.
  bool start();

 private:
  static void *run(void *agent);
  void serve();
  // False: the connection must end.
  bool answer(Message &message);
  void reply(std::uint64_t request, std::uint32_t status, const std::string &text = "");

  std::uint32_t hold(std::int64_t deadline_ns, std::string &text);
  std::uint32_t drain(std::int64_t deadline_ns, std::string &text);
  std::uint32_t transfer(const TransferMessage &wanted, int descriptor, bool to_device, std::string &text);
  void locate(const LocateMessage &wanted);
  void release();
  void reconnect();
  // Ends the process, because its memory is not what it should be.
  static void end(std::string_view message);

  Recorder &recorder_;
  bool held_ = false, detached_ = false;
  bool guarded_ = false;  // memory is being written

  // The thread that waits for the queues; it may outlast the deadline, then the next hold waits for it first.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool draining_ = false;
  std::uint32_t drained_ = 0;
};

}  // namespace gcr
