// See device.h.
#include "mover/device.h"

#include <cstring>
#include <map>
#include <mutex>

#include "simdriver/limits.h"

namespace gcr {
namespace {

// Drivers are opened once and never closed.
const Driver &driver_at(const std::string &path) {
  static std::mutex mutex;
  static std::map<std::string, Driver> open;
  const std::lock_guard lock(mutex);
  const auto found = open.find(path);
  if (found != open.end()) return found->second;
  Driver driver(path);
  driver.check(driver.cuInit(0), "cuInit");
  // Older ones than CUDA 10.2's lack some of what is used here.
  if (!driver.cuDeviceGetCount || !driver.cuDeviceGetUuid || !driver.cuDeviceGetAttribute || !driver.cuMemHostAlloc || !driver.cuMemFreeHost ||
      !driver.cuMemcpyHtoDAsync || !driver.cuMemcpyDtoHAsync || !driver.cuStreamCreateWithPriority || !driver.cuCtxGetStreamPriorityRange ||
      !driver.cuStreamDestroy || !driver.cuStreamSynchronize || !driver.cuEventCreate || !driver.cuEventDestroy || !driver.cuEventRecord ||
      !driver.cuEventSynchronize || !driver.cuMemRelease || !driver.cuMemUnmap || !driver.cuMemImportFromShareableHandle ||
      !driver.cuMemExportToShareableHandle)
    throw std::runtime_error("the driver is too old");
  return open.emplace(path, driver).first->second;
}

}  // namespace

std::shared_ptr<const OpenDevice> OpenDevice::open(const std::string &driver_path, const std::uint8_t *uuid, std::size_t uuid_bytes) {
  const Driver &driver = driver_at(driver_path);
  int count = 0;
  driver.check(driver.cuDeviceGetCount(&count), "cuDeviceGetCount");
  for (int number = 0; number < count; ++number) {
    Uuid own{};
    driver.check(driver.cuDeviceGetUuid(&own, number), "cuDeviceGetUuid");
    if (uuid_bytes == sizeof own && std::memcmp(&own, uuid, sizeof own) == 0) return std::make_shared<OpenDevice>(driver, number);
  }
  throw std::runtime_error("the application's device is not visible here");
}

OpenDevice::OpenDevice(const Driver &driver, Device number) : driver_(driver), number_(number) {
  char name[128] = {};
  driver_.check(driver_.cuDeviceGetName(name, sizeof name - 1, number_), "cuDeviceGetName");
  simulated_ = std::strcmp(name, sim::device_name) == 0;
  driver_.check(driver_.cuDevicePrimaryCtxRetain(&context_, number_), "cuDevicePrimaryCtxRetain");
}

std::shared_ptr<const MappedMemory> MappedMemory::import(std::shared_ptr<const OpenDevice> device, int descriptor, std::size_t size) {
  const Driver &driver = device->driver();
  device->make_current();
  Handle handle = 0;
  driver.check(driver.cuMemImportFromShareableHandle(&handle, reinterpret_cast<void *>(static_cast<std::intptr_t>(descriptor)),
                                                     handle_file_descriptor),
               "cuMemImportFromShareableHandle");
  return std::make_shared<MappedMemory>(std::move(device), handle, size);
}

std::shared_ptr<const MappedMemory> MappedMemory::create(std::shared_ptr<const OpenDevice> device, std::size_t size) {
  const Driver &driver = device->driver();
  device->make_current();
  const AllocationProperties wanted = driver.exportable_on(device->number());
  Handle handle = 0;
  driver.check(driver.cuMemCreate(&handle, size, &wanted, 0), "cuMemCreate");
  return std::make_shared<MappedMemory>(std::move(device), handle, size);
}

MappedMemory::MappedMemory(std::shared_ptr<const OpenDevice> device, Handle handle, std::size_t size)
    : device_(std::move(device)), handle_(handle), size_(size) {
  const Driver &driver = device_->driver();
  try {
    driver.check(driver.cuMemAddressReserve(&address_, size_, 0, 0, 0), "cuMemAddressReserve");
    driver.check(driver.cuMemMap(address_, size_, 0, handle_, 0), "cuMemMap");
    mapped_ = true;
    const AccessDescriptor access{{location_device, device_->number()}, access_read_write};
    driver.check(driver.cuMemSetAccess(address_, size_, &access, 1), "cuMemSetAccess");
  } catch (...) {
    end();
    throw;
  }
}

int MappedMemory::exported() const {
  const Driver &driver = device_->driver();
  int fd = -1;
  driver.check(driver.cuMemExportToShareableHandle(&fd, handle_, handle_file_descriptor, 0), "cuMemExportToShareableHandle");
  return fd;
}

void MappedMemory::end() {
  const Driver &driver = device_->driver();
  // On whatever thread let go last: without a context the driver may refuse, and the memory would stay.
  driver.cuCtxSetCurrent(device_->context());
  if (mapped_) driver.cuMemUnmap(address_, size_);
  if (address_) driver.cuMemAddressFree(address_, size_);
  driver.cuMemRelease(handle_);
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<const OpenDevice> device, std::size_t size) : device_(std::move(device)), size_(size) {
  constexpr unsigned portable = 1;
  void *data = nullptr;
  device_->make_current();
  device_->driver().check(device_->driver().cuMemHostAlloc(&data, size, portable), "cuMemHostAlloc");
  data_ = static_cast<std::uint8_t *>(data);
}

PinnedBuffer::~PinnedBuffer() {
  if (!data_) return;
  const Driver &driver = device_->driver();
  try {
    device_->make_current();
    driver.cuMemFreeHost(data_);
  } catch (const DriverError &) {
    // The context is dead, and its memory with it.
  }
}

}  // namespace gcr
