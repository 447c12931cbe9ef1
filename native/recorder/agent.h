// The agent: the recorder's own thread, which answers the supervisor. It holds submissions back, waits for the queues, exchanges the
// physical memory, copies memory that has no handle, and lets the application go on. It is the only reader of the channel.
//
// Whatever state the supervisor dies in, the application ends in one of three: running (memory attached), waiting for a supervisor with its
// memory in a store, or ended with a message after 60 seconds without memory.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "recorder/emitter.h"
#include "recorder/gate.h"

namespace gcr {

struct Recorder;

class Agent {
 public:
  explicit Agent(Recorder &recorder) : recorder_(recorder) {}

  // Starts the thread, with all signals blocked. False when there is none to be had. `socket`: where the supervisor was found.
  bool start(std::string socket);

 private:
  static void *run(void *agent);
  void serve();
  // False: the connection must end.
  bool answer(Message &message);
  void reply(std::uint64_t request, std::uint32_t status, const std::string &text = "");

  std::uint32_t hold(std::int64_t deadline_ns, std::string &text);
  // Lets nobody submit any more, and waits for those who do.
  std::uint32_t shut(std::int64_t deadline_ns, std::string &text);
  std::uint32_t drain(std::int64_t deadline_ns, std::string &text);
  std::uint32_t transfer(const TransferMessage &wanted, int descriptor, bool to_device, std::string &text);
  void locate(const LocateMessage &wanted);
  void release();
  // Waits for a new supervisor and tells it everything.
  void reconnect();
  bool meet(const std::string &path);
  // Ends the process, because its memory is not what it should be.
  static void end(std::string_view message);

  Recorder &recorder_;
  std::string socket_;
  bool held_ = false, detached_ = false;
  bool guarded_ = false;  // memory is being written
  bool saved_ = false;    // what the memory held is in a store
  std::uint64_t untold_before_ = 0;  // launches that an earlier connection's supervisor was not told
  std::string kept_;      // what a supervisor wants its successor to know
  std::vector<std::vector<std::uint8_t>> located_;  // bodies of `locate` that came while the driver may be locked

  // The thread that waits for the queues; it may outlast the deadline, then the next hold waits for it first.
  std::mutex mutex_;
  std::condition_variable changed_;
  bool draining_ = false;
  std::uint32_t drained_ = 0;
};

}  // namespace gcr
