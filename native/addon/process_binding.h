// The addon's part for the driver's own checkpoint of processes.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `processCheckpoint`, `processState` and `freeMemory` to the addon's exports (src/native/process.ts).
void define_process(Napi::Env env, Napi::Object exports);

}  // namespace gcr
