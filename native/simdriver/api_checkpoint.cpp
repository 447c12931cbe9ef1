// Entry points: checkpoint of a process, this one or another, through the device.
#include <unistd.h>

#include "driver.h"

namespace gcr::sim {
namespace {

// Without the device, which this process does not have while it is checkpointed.
std::uint32_t ask_self(Driver &driver, ProcessAction action, std::uint32_t timeout_ms) {
  if (action == ProcessAction::restore) require(driver.link.come_back(), device_unavailable);
  const ProcessAnswer answer = driver.process(action, timeout_ms);
  if (answer.state == process_checkpointed && action != ProcessAction::state) driver.link.leave();
  require(answer.status == success, answer.status);
  return answer.state;
}

std::uint32_t ask(int pid, ProcessAction action, std::uint32_t timeout_ms) {
  Driver &driver = Driver::get();
  require(driver.connect(), not_initialized);
  if (pid == ::getpid()) return ask_self(driver, action, timeout_ms);
  const Body body =
      Body().u32(static_cast<std::uint32_t>(action)).u32(static_cast<std::uint32_t>(pid)).u32(timeout_ms);
  const Reply reply = driver.link.ask(ToDevice::process, body);
  require(reply.status == success, reply.status);
  Reader read(reply.body);
  std::uint32_t state = 0;
  read(state);
  return state;
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

// Outside of the gate: they are what opens it.
GCR_SIM_API cuCheckpointProcessGetState(int pid, int *state) {
  return call<Need::nothing>([&](Driver &) {
    require(state, invalid_value);
    *state = static_cast<int>(ask(pid, ProcessAction::state, 0));
  });
}

GCR_SIM_API cuCheckpointProcessLock(int pid, CheckpointLockArguments *arguments) {
  return call<Need::nothing>([&](Driver &) { ask(pid, ProcessAction::lock, arguments ? arguments->timeout_ms : 0); });
}

GCR_SIM_API cuCheckpointProcessCheckpoint(int pid, void *) {
  return call<Need::nothing>([&](Driver &) { ask(pid, ProcessAction::checkpoint, 0); });
}

GCR_SIM_API cuCheckpointProcessRestore(int pid, void *) {
  return call<Need::nothing>([&](Driver &) { ask(pid, ProcessAction::restore, 0); });
}

GCR_SIM_API cuCheckpointProcessUnlock(int pid, void *) {
  return call<Need::nothing>([&](Driver &) { ask(pid, ProcessAction::unlock, 0); });
}
