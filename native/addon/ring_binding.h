// The addon's part for the ring.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `NativeRing` to the addon's exports (src/native/ring.ts).
void define_ring(Napi::Env env, Napi::Object exports);

}  // namespace gcr
