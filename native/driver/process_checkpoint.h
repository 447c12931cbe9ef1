// The driver's own checkpoint of another process, step by step (CUDA 12.8). Throws DriverError, and std::runtime_error where there is no
// driver or one without such calls.
#pragma once

#include "driver/driver.h"

namespace gcr {

enum class CheckpointAction { lock, checkpoint, restore, unlock };

/// `timeout_ms` is for `lock`: how long to wait for the process's work, 0 for ever.
void process_checkpoint(const Driver& driver, int pid, CheckpointAction action, unsigned timeout_ms);

/// What a driver without these calls is said to have every process in.
constexpr int process_unsupported = 4;

/// 0 running, 1 locked, 2 checkpointed, 3 failed, process_unsupported.
int process_state(const Driver& driver, int pid);

/// Bytes of the device that nobody uses. `uuid` has sixteen bytes. Where this process has no context on the device it makes one for the question.
std::size_t free_memory(const Driver& driver, const std::uint8_t* uuid);

}  // namespace gcr
