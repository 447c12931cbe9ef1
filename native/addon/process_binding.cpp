// See process_binding.h.
#include "addon/process_binding.h"

#include <string>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "driver/process_checkpoint.h"

namespace gcr {
namespace {

Driver open_driver(const std::string& path) {
  Driver driver(path);
  driver.check(driver.cuInit(0), "cuInit");
  return driver;
}

/// processCheckpoint(driver, pid, action, timeoutMs): on a thread of its own, because the driver's work takes seconds.
Napi::Value checkpoint(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const auto pid = static_cast<int>(number_argument(info, 1));
  const uint64_t action = number_argument(info, 2);
  const auto timeout = static_cast<unsigned>(number_argument(info, 3));
  if (action > static_cast<uint64_t>(CheckpointAction::unlock)) throw Napi::RangeError::New(info.Env(), "no such step");
  auto* const job = new Job(info.Env());
  const Napi::Promise promise = job->promise();
  Environment::of(info.Env()).run_long(
      job, [=] { process_checkpoint(open_driver(path), pid, static_cast<CheckpointAction>(action), timeout); });
  return promise;
}

/// processState(driver, pid)
Napi::Value state(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const auto pid = static_cast<int>(number_argument(info, 1));
  try {
    return Napi::Number::New(info.Env(), process_state(open_driver(path), pid));
  } catch (const std::runtime_error& error) {
    throw Napi::Error::New(info.Env(), error.what());
  }
}

}  // namespace

void define_process(Napi::Env env, Napi::Object exports) {
  exports.Set("processCheckpoint", Napi::Function::New<checkpoint>(env));
  exports.Set("processState", Napi::Function::New<state>(env));
}

}  // namespace gcr
