// See device_binding.h. Copies run on Node's worker threads; a mapping stays until the last copy that uses it has ended, whoever closes it.
#include "addon/device_binding.h"

#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "addon/arguments.h"
#include "driver/driver.h"

namespace gcr {
namespace {

struct OpenDevice {
  const Driver *driver = nullptr;
  Device number = 0;
  Context context = nullptr;

  AllocationProperties properties() const {
    AllocationProperties wanted{};
    wanted.type = allocation_pinned;
    wanted.handle_types = handle_file_descriptor;
    wanted.location = {location_device, number};
    return wanted;
  }
};

// Drivers are opened once and never closed.
const Driver &driver_at(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, Driver> open;
  const std::lock_guard lock(mutex);
  const auto found = open.find(path);
  if (found != open.end()) return found->second;
  Driver driver(path);
  driver.check(driver.cuInit(0), "cuInit");
  return open.emplace(path, driver).first->second;
}

// A handle, mapped for reading and writing.
class MappedMemory {
 public:
  MappedMemory(std::shared_ptr<const OpenDevice> device, Handle handle, std::size_t size)
      : device_(std::move(device)), handle_(handle), size_(size) {
    const Driver &driver = *device_->driver;
    try {
      driver.check(driver.cuMemAddressReserve(&address_, size_, 0, 0, 0), "cuMemAddressReserve");
      driver.check(driver.cuMemMap(address_, size_, 0, handle_, 0), "cuMemMap");
      mapped_ = true;
      const AccessDescriptor access{{location_device, device_->number}, access_read_write};
      driver.check(driver.cuMemSetAccess(address_, size_, &access, 1), "cuMemSetAccess");
    } catch (...) {
      end();
      throw;
    }
  }
  MappedMemory(const MappedMemory &) = delete;
  ~MappedMemory() { end(); }

  void copy(std::size_t offset, std::uint8_t *bytes, std::size_t count, bool to_device) const {
    if (offset > size_ || count > size_ - offset) throw std::runtime_error("a copy ends outside of the memory");
    const Driver &driver = *device_->driver;
    driver.check(driver.cuCtxSetCurrent(device_->context), "cuCtxSetCurrent");
    if (to_device) driver.check(driver.cuMemcpyHtoD(address_ + offset, bytes, count), "cuMemcpyHtoD");
    else driver.check(driver.cuMemcpyDtoH(bytes, address_ + offset, count), "cuMemcpyDtoH");
    driver.check(driver.cuCtxSynchronize(), "cuCtxSynchronize");
  }

  int exported() const {
    const Driver &driver = *device_->driver;
    int fd = -1;
    driver.check(driver.cuMemExportToShareableHandle(&fd, handle_, handle_file_descriptor, 0), "cuMemExportToShareableHandle");
    return fd;
  }

 private:
  void end() {
    const Driver &driver = *device_->driver;
    if (mapped_) driver.cuMemUnmap(address_, size_);
    if (address_) driver.cuMemAddressFree(address_, size_);
    driver.cuMemRelease(handle_);
  }

  std::shared_ptr<const OpenDevice> device_;
  Handle handle_;
  std::size_t size_;
  DevicePointer address_ = 0;
  bool mapped_ = false;
};

// A copy on a worker thread; keeps the array and the mapping.
class Copy : public Napi::AsyncWorker {
 public:
  Copy(Napi::Env env, std::shared_ptr<const MappedMemory> memory, std::size_t offset, const Bytes &bytes, bool to_device)
      : AsyncWorker(env), deferred_(env), kept_(Napi::Persistent(bytes.object)), memory_(std::move(memory)), offset_(offset),
        data_(bytes.data), size_(bytes.size), to_device_(to_device) {}
  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { memory_->copy(offset_, data_, size_, to_device_); }
  void OnOK() override { deferred_.Resolve(Env().Undefined()); }
  void OnError(const Napi::Error &error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference kept_;
  std::shared_ptr<const MappedMemory> memory_;
  std::size_t offset_;
  std::uint8_t *data_;
  std::size_t size_;
  bool to_device_;
};

Napi::Value start_copy(const Napi::CallbackInfo &info, const std::shared_ptr<std::shared_ptr<const MappedMemory>> &memory, bool to_device) {
  if (!*memory) throw Napi::Error::New(info.Env(), "the memory was closed");
  auto *copy = new Copy(info.Env(), *memory, number_argument(info, 0), bytes_argument(info, 1), to_device);
  const Napi::Promise promise = copy->promise();
  copy->Queue();
  return promise;
}

Napi::Object memory_object(Napi::Env env, std::shared_ptr<const MappedMemory> mapped) {
  // Shared by the three functions, so that closing one closes it for all.
  auto memory = std::make_shared<std::shared_ptr<const MappedMemory>>(std::move(mapped));
  Napi::Object object = Napi::Object::New(env);
  object.Set("read", Napi::Function::New(env, [memory](const Napi::CallbackInfo &info) { return start_copy(info, memory, false); }));
  object.Set("write", Napi::Function::New(env, [memory](const Napi::CallbackInfo &info) { return start_copy(info, memory, true); }));
  object.Set("close", Napi::Function::New(env, [memory](const Napi::CallbackInfo &) { memory->reset(); }));
  return object;
}

// Errors of the driver as JavaScript's.
template <class Call>
auto guarded(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const Napi::Error &) {
    throw;
  } catch (const std::exception &error) {
    throw Napi::Error::New(env, error.what());
  }
}

class NativeDevice : public Napi::ObjectWrap<NativeDevice> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDevice",
                       {InstanceMethod("importMemory", &NativeDevice::import_memory), InstanceMethod("createMemory", &NativeDevice::create_memory)});
  }

  explicit NativeDevice(const Napi::CallbackInfo &info) : Napi::ObjectWrap<NativeDevice>(info) {
    const std::string path = string_argument(info, 0);
    const Bytes uuid = bytes_argument(info, 1);
    guarded(info.Env(), [&] {
      auto device = std::make_shared<OpenDevice>();
      device->driver = &driver_at(path);
      const Driver &driver = *device->driver;
      device->number = -1;
      int count = 0;
      if (!driver.cuDeviceGetCount || !driver.cuDeviceGetUuid) throw std::runtime_error("the driver is too old");
      driver.check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
      for (int i = 0; i < count; ++i) {
        Uuid own{};
        driver.check(driver.cuDeviceGetUuid(&own, i), "cuDeviceGetUuid");
        if (uuid.size == sizeof own && std::memcmp(&own, uuid.data, sizeof own) == 0) device->number = i;
      }
      if (device->number < 0) throw std::runtime_error("the application's device is not visible here");
      driver.check(driver.cuDevicePrimaryCtxRetain(&device->context, device->number), "cuDevicePrimaryCtxRetain");
      device_ = std::move(device);
    });
  }

 private:
  std::shared_ptr<const MappedMemory> map(Handle handle, std::size_t size) {
    const Driver &driver = *device_->driver;
    driver.check(driver.cuCtxSetCurrent(device_->context), "cuCtxSetCurrent");
    return std::make_shared<MappedMemory>(device_, handle, size);
  }

  // importMemory(fd, bytes): the descriptor stays the caller's.
  Napi::Value import_memory(const Napi::CallbackInfo &info) {
    const auto fd = static_cast<int>(number_argument(info, 0));
    const std::size_t size = number_argument(info, 1);
    return guarded(info.Env(), [&] {
      const Driver &driver = *device_->driver;
      driver.check(driver.cuCtxSetCurrent(device_->context), "cuCtxSetCurrent");
      Handle handle = 0;
      driver.check(driver.cuMemImportFromShareableHandle(&handle, reinterpret_cast<void *>(static_cast<std::intptr_t>(fd)), handle_file_descriptor),
                   "cuMemImportFromShareableHandle");
      return memory_object(info.Env(), map(handle, size));
    });
  }

  // createMemory(bytes): `{ memory, fd }`; the descriptor is the caller's.
  Napi::Value create_memory(const Napi::CallbackInfo &info) {
    const std::size_t size = number_argument(info, 0);
    return guarded(info.Env(), [&] {
      const Driver &driver = *device_->driver;
      const AllocationProperties wanted = device_->properties();
      Handle handle = 0;
      driver.check(driver.cuCtxSetCurrent(device_->context), "cuCtxSetCurrent");
      driver.check(driver.cuMemCreate(&handle, size, &wanted, 0), "cuMemCreate");
      const auto memory = map(handle, size);
      Napi::Object made = Napi::Object::New(info.Env());
      made.Set("fd", Napi::Number::New(info.Env(), memory->exported()));
      made.Set("memory", memory_object(info.Env(), memory));
      return made;
    });
  }

  std::shared_ptr<const OpenDevice> device_;
};

}  // namespace

Napi::Function define_device(Napi::Env env) { return NativeDevice::define(env); }

}  // namespace gcr
