// See process_checkpoint.h.
#include "driver/process_checkpoint.h"

#include <cstring>

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

std::size_t free_memory(const Driver& driver, const std::uint8_t* uuid) {
  if (!driver.cuMemGetInfo || !driver.cuDeviceGetCount || !driver.cuDeviceGetUuid || !driver.cuDevicePrimaryCtxRelease) throw std::runtime_error("the driver is too old");
  int count = 0;
  driver.check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
  for (Device device = 0; device < count; ++device) {
    Uuid own{};
    driver.check(driver.cuDeviceGetUuid(&own, device), "cuDeviceGetUuid");
    if (std::memcmp(&own, uuid, sizeof own) != 0) continue;
    Context context = nullptr;
    driver.check(driver.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
    std::size_t free = 0, total = 0;
    Result outcome = driver.cuCtxSetCurrent(context);
    if (outcome == result::success) outcome = driver.cuMemGetInfo(&free, &total);
    driver.cuCtxSetCurrent(nullptr);
    driver.cuDevicePrimaryCtxRelease(device);
    driver.check(outcome, "cuMemGetInfo");
    return free;
  }
  throw std::runtime_error("the application's device is not visible here");
}

int process_state(const Driver& driver, int pid) {
  if (!driver.cuCheckpointProcessGetState || !driver.cuCheckpointProcessCheckpoint) return process_unsupported;
  int state = 0;
  driver.check(driver.cuCheckpointProcessGetState(pid, &state), "state");
  return state;
}

}  // namespace gcr
