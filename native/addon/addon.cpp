// The addon's exports, as src/native/addon.ts declares them. Nothing here but conversion.
#include <napi.h>

#include <cstring>

#include "addon/arguments.h"
#include "addon/channel_binding.h"
#include "addon/device_binding.h"
#include "addon/environment.h"
#include "addon/lock_binding.h"
#include "addon/native_backend.h"
#include "addon/native_stream.h"
#include "addon/process_binding.h"
#include "addon/ring_binding.h"
#include "core/chunk_hash.h"

namespace gcr {
namespace {

Napi::Value name_array(Napi::Env env, const ChunkName& name) {
  Napi::Uint8Array array = Napi::Uint8Array::New(env, sizeof name);
  std::memcpy(array.Data(), &name, sizeof name);
  return array;
}

Napi::Value hash_chunks(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytes_argument(info, 0);
  const size_t chunks = (bytes.size + kChunkBytes - 1) / kChunkBytes;
  Napi::Uint8Array names = Napi::Uint8Array::New(info.Env(), chunks * sizeof(ChunkName));
  for (size_t i = 0; i < chunks; ++i) {
    const ChunkName name = chunk_name(bytes.data + i * kChunkBytes, std::min(kChunkBytes, bytes.size - i * kChunkBytes));
    std::memcpy(names.Data() + i * sizeof name, &name, sizeof name);
  }
  return names;
}

Napi::Value hash_chunk(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytes_argument(info, 0);
  if (bytes.size > kChunkBytes) throw Napi::RangeError::New(info.Env(), "a chunk has at most 65,536 bytes");
  return name_array(info.Env(), chunk_hash(bytes.data, bytes.size));
}

Napi::Value hash_tree(const Napi::CallbackInfo& info) {
  const Bytes bytes = bytes_argument(info, 0);
  return name_array(info.Env(), tree_hash(bytes.data, bytes.size));
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  Environment& environment = Environment::of(env);
  environment.define("NativeLock", NativeLock::define(env));
  environment.define("NativeWriter", NativeWriter::define(env));
  environment.define("NativeReader", NativeReader::define(env));
  exports.Set("NativeBackend", NativeBackend::define(env));
  exports.Set("NativeCancellation", NativeCancellation::define(env));
  exports.Set("hashChunks", Napi::Function::New<hash_chunks>(env));
  exports.Set("chunkHash", Napi::Function::New<hash_chunk>(env));
  exports.Set("treeHash", Napi::Function::New<hash_tree>(env));
  define_channel(env, exports);
  define_device(env, exports);
  define_process(env, exports);
  define_ring(env, exports);
  define_lock(env, exports);
  return exports;
}

}  // namespace
}  // namespace gcr

Napi::Object initialise(Napi::Env env, Napi::Object exports) { return gcr::initialise(env, exports); }
NODE_API_MODULE(gcr_native, initialise)
