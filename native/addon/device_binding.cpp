// See device_binding.h. Copies run on the pool; an object that is closed while a copy is under way ends with the copy.
#include "addon/device_binding.h"

#include <memory>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "driver/device_memory.h"

namespace gcr {
namespace {

/// Runs a call on JavaScript's thread; what it throws becomes a JavaScript error with the driver's number as `result`.
template <class Call>
auto with_driver_errors(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const DriverError& error) {
    Napi::Error thrown = Napi::Error::New(env, error.what());
    thrown.Set("result", Napi::Number::New(env, error.result));
    throw thrown;
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& error) {
    throw Napi::Error::New(env, error.what());
  }
}

class NativeDeviceMemory : public Napi::ObjectWrap<NativeDeviceMemory> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDeviceMemory",
                       {InstanceMethod("read", &NativeDeviceMemory::read), InstanceMethod("write", &NativeDeviceMemory::write),
                        InstanceMethod("close", &NativeDeviceMemory::close)});
  }
  explicit NativeDeviceMemory(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeDeviceMemory>(info) {
    memory_ = *info[0].As<Napi::External<std::shared_ptr<ImportedMemory>>>().Data();
  }

 private:
  template <class Copy>
  Napi::Value copy(const Napi::CallbackInfo& info, Copy copy) {
    if (!memory_) throw Napi::Error::New(info.Env(), "the device memory is closed");
    const uint64_t offset = number_argument(info, 0);
    const Bytes bytes = bytes_argument(info, 1);
    auto* const job = new Job(info.Env());
    const Napi::Promise promise = job->promise();
    job->keep(bytes.object);
    Environment::of(info.Env()).run_short(job, [=, memory = memory_] { copy(*memory, offset, bytes.data, bytes.size); });
    return promise;
  }
  Napi::Value read(const Napi::CallbackInfo& info) {
    return copy(info, [](ImportedMemory& memory, uint64_t offset, uint8_t* data, size_t size) { memory.read(offset, data, size); });
  }
  Napi::Value write(const Napi::CallbackInfo& info) {
    return copy(info, [](ImportedMemory& memory, uint64_t offset, uint8_t* data, size_t size) { memory.write(offset, data, size); });
  }
  Napi::Value close(const Napi::CallbackInfo& info) {
    memory_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<ImportedMemory> memory_;
};

class NativeDevice : public Napi::ObjectWrap<NativeDevice> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDevice",
                       {InstanceMethod("import", &NativeDevice::import_memory), InstanceMethod("create", &NativeDevice::create),
                        InstanceMethod("close", &NativeDevice::close)});
  }
  /// new NativeDevice(driver, uuid)
  explicit NativeDevice(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeDevice>(info) {
    const std::string driver = string_argument(info, 0);
    const Bytes uuid = bytes_argument(info, 1);
    if (uuid.size != 16) throw Napi::RangeError::New(info.Env(), "a uuid has 16 bytes");
    std::array<unsigned char, 16> bytes;
    std::copy_n(uuid.data, 16, bytes.begin());
    context_ = with_driver_errors(info.Env(), [&] { return std::make_shared<DeviceContext>(driver, bytes); });
  }

 private:
  /// import(fd, size): the descriptor stays the caller's.
  Napi::Value import_memory(const Napi::CallbackInfo& info) {
    if (!context_) throw Napi::Error::New(info.Env(), "the device is closed");
    const int descriptor = info[0].As<Napi::Number>().Int32Value();
    const uint64_t size = number_argument(info, 1);
    auto memory = with_driver_errors(info.Env(), [&] { return std::make_shared<ImportedMemory>(context_, descriptor, size); });
    return Environment::of(info.Env())
        .constructor("NativeDeviceMemory")
        .New({Napi::External<std::shared_ptr<ImportedMemory>>::New(info.Env(), &memory)});
  }
  /// create(size): the descriptor of new memory, the caller's.
  Napi::Value create(const Napi::CallbackInfo& info) {
    if (!context_) throw Napi::Error::New(info.Env(), "the device is closed");
    const uint64_t size = number_argument(info, 0);
    return Napi::Number::New(info.Env(), with_driver_errors(info.Env(), [&] { return create_memory(*context_, size); }));
  }
  Napi::Value close(const Napi::CallbackInfo& info) {
    context_.reset();
    return info.Env().Undefined();
  }

  std::shared_ptr<DeviceContext> context_;
};

/// processCheckpoint(driver, pid, action, timeoutMs): a promise, because the driver's work takes seconds.
Napi::Value process_checkpoint_js(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const auto pid = static_cast<int>(number_argument(info, 1));
  const auto action = static_cast<CheckpointAction>(number_argument(info, 2));
  const auto timeout = static_cast<unsigned>(number_argument(info, 3));
  auto* const job = new Job(info.Env());
  const Napi::Promise promise = job->promise();
  Environment::of(info.Env()).run_long(job, [=] {
    const Driver driver(path);
    driver.check(driver.cuInit(0), "cuInit");
    process_checkpoint(driver, pid, action, timeout);
  });
  return promise;
}

/// processState(driver, pid)
Napi::Value process_state_js(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0);
  const auto pid = static_cast<int>(number_argument(info, 1));
  return with_driver_errors(info.Env(), [&]() -> Napi::Value {
    const Driver driver(path);
    driver.check(driver.cuInit(0), "cuInit");
    return Napi::Number::New(info.Env(), process_state(driver, pid));
  });
}

}  // namespace

void define_device(Napi::Env env, Napi::Object exports) {
  Environment::of(env).define("NativeDeviceMemory", NativeDeviceMemory::define(env));
  exports.Set("NativeDevice", NativeDevice::define(env));
  exports.Set("processCheckpoint", Napi::Function::New<process_checkpoint_js>(env));
  exports.Set("processState", Napi::Function::New<process_state_js>(env));
}

}  // namespace gcr
