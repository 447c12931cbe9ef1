// See lock_binding.h.
#include "addon/lock_binding.h"

#include <sys/file.h>

#include <cerrno>
#include <cstring>

namespace gcr {
namespace {

// tryExclusiveLock(fd) → whether the open file behind it has the exclusive lock now. Never waits.
Napi::Value try_exclusive_lock(const Napi::CallbackInfo& info) {
  const int descriptor = info[0].As<Napi::Number>().Int32Value();
  if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(info.Env(), true);
  if (errno == EWOULDBLOCK) return Napi::Boolean::New(info.Env(), false);
  throw Napi::Error::New(info.Env(), std::string("flock: ") + std::strerror(errno));
}

}  // namespace

void define_lock(Napi::Env env, Napi::Object exports) {
  exports.Set("tryExclusiveLock", Napi::Function::New<try_exclusive_lock>(env));
}

}  // namespace gcr
