// Device memory for JavaScript: physical memory that another process exported, or that is made here, mapped into a context of our own. Used by
// the supervisor to save and restore an application's memory without that application's help.
#pragma once

#include <napi.h>

namespace gcr {

/// The class `NativeDevice`: `new NativeDevice(driver, uuid)`, `importMemory(fd, bytes)`, `createMemory(bytes)`.
Napi::Function define_device(Napi::Env env);

}  // namespace gcr
