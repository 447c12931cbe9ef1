// The addon's part for locks that tell whether a file is still held by others.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `tryExclusiveLock` to the addon's exports (src/native/lock.ts).
void define_lock(Napi::Env env, Napi::Object exports);

}  // namespace gcr
