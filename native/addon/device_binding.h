// The addon's part for device memory and the driver's own checkpoint of processes.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `NativeDevice`, `processCheckpoint` and `processState` to the addon's exports (src/native/device.ts).
void define_device(Napi::Env env, Napi::Object exports);

}  // namespace gcr
