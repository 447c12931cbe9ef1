// Device memory for JavaScript: physical memory that another process exported, or that is made here, mapped into a context of our own, and slots of
// host memory for it. Used by the supervisor to save and restore an application's memory without that application's help.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `openDevice` and `NativeHostArena` to the addon's exports (src/native/device.ts).
void define_device(Napi::Env env, Napi::Object exports);

}  // namespace gcr
