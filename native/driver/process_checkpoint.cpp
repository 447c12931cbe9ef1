// See process_checkpoint.h.
#include "driver/process_checkpoint.h"

namespace gcr {
namespace {

constexpr const char* too_old = "the driver cannot checkpoint processes: CUDA 12.8 is needed";

}  // namespace

void process_checkpoint(const Driver& driver, int pid, CheckpointAction action, unsigned timeout_ms) {
  Result (*const calls[])(int, void*) = {driver.cuCheckpointProcessLock, driver.cuCheckpointProcessCheckpoint,
                                         driver.cuCheckpointProcessRestore, driver.cuCheckpointProcessUnlock};
  constexpr const char* names[] = {"lock", "checkpoint", "restore", "unlock"};
  const auto which = static_cast<std::size_t>(action);
  if (!calls[which]) throw std::runtime_error(too_old);
  // The other steps' arguments are all reserved, and may be null.
  CheckpointLockArguments arguments{timeout_ms, 0, {}};
  driver.check(calls[which](pid, action == CheckpointAction::lock ? &arguments : nullptr), names[which]);
}

int process_state(const Driver& driver, int pid) {
  if (!driver.cuCheckpointProcessGetState) throw std::runtime_error(too_old);
  int state = 0;
  driver.check(driver.cuCheckpointProcessGetState(pid, &state), "state");
  return state;
}

}  // namespace gcr
