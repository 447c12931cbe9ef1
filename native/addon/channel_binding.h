// The addon's parts for the channel and for descriptors that arrive by it.
#pragma once

#include <napi.h>

namespace gcr {

/// Adds `listenChannel`, `peerCredentials`, `closeFd` and `mapFd` to the addon's exports (src/native/channel.ts).
void define_channel(Napi::Env env, Napi::Object exports);

}  // namespace gcr
