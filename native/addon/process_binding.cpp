// See process_binding.h.
#include "addon/process_binding.h"

#include <algorithm>
#include <array>
#include <memory>
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

/// processState(driver, pid): a promise, because the driver may have to ask the process.
Napi::Value state(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const auto pid = static_cast<int>(number_argument(info, 1));
  auto* const job = new Job(info.Env());
  const Napi::Promise promise = job->promise();
  const auto found = std::make_shared<int>(0);
  job->set_result([found](Napi::Env env) { return Napi::Number::New(env, *found); });
  Environment::of(info.Env()).run_long(job, [=] { *found = process_state(open_driver(path), pid); });
  return promise;
}

/// freeMemory(driver, uuid)
Napi::Value memory(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const Bytes uuid = bytes_argument(info, 1);
  std::array<std::uint8_t, 16> wanted{};
  if (uuid.size != wanted.size()) throw Napi::RangeError::New(info.Env(), "a UUID has 16 bytes");
  std::copy_n(uuid.data, wanted.size(), wanted.begin());
  auto* const job = new Job(info.Env());
  const Napi::Promise promise = job->promise();
  const auto found = std::make_shared<std::size_t>(0);
  job->set_result([found](Napi::Env env) { return Napi::Number::New(env, static_cast<double>(*found)); });
  Environment::of(info.Env()).run_long(job, [=] { *found = free_memory(open_driver(path), wanted.data()); });
  return promise;
}

}  // namespace

void define_process(Napi::Env env, Napi::Object exports) {
  exports.Set("processCheckpoint", Napi::Function::New<checkpoint>(env));
  exports.Set("processState", Napi::Function::New<state>(env));
  exports.Set("freeMemory", Napi::Function::New<memory>(env));
}

}  // namespace gcr
