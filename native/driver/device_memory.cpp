// See device_memory.h.
#include "driver/device_memory.h"

#include <cstring>

namespace gcr {
namespace {

// The beginning of the arguments of cuCheckpointProcessLock; what follows, and all of the others' arguments, is reserved.
struct LockArguments {
  unsigned timeout_ms;
  unsigned reserved0;
  std::uint64_t reserved[7];
};
static_assert(sizeof(LockArguments) == 64);

}  // namespace

DeviceContext::DeviceContext(const std::string& driver, const std::array<unsigned char, 16>& uuid) : driver_(driver) {
  driver_.check(driver_.cuInit(0), "cuInit");
  if (!driver_.cuDeviceGetCount || !driver_.cuDeviceGetUuid || !driver_.cuMemImportFromShareableHandle || !driver_.cuMemUnmap ||
      !driver_.cuMemRelease || !driver_.cuDevicePrimaryCtxRelease)
    throw std::runtime_error("the driver is too old: CUDA 11.4 is needed");
  int count = 0;
  driver_.check(driver_.cuDeviceGetCount(&count), "cuDeviceGetCount");
  for (int i = 0; i < count; ++i) {
    Uuid found{};
    driver_.check(driver_.cuDeviceGet(&device_, i), "cuDeviceGet");
    driver_.check(driver_.cuDeviceGetUuid(&found, device_), "cuDeviceGetUuid");
    if (std::memcmp(found.bytes, uuid.data(), uuid.size()) != 0) continue;
    driver_.check(driver_.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain");
    return;
  }
  throw std::runtime_error("no device has that uuid");
}

DeviceContext::~DeviceContext() {
  if (context_) driver_.cuDevicePrimaryCtxRelease(device_);
}

void DeviceContext::make_current() const { driver_.check(driver_.cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

int create_memory(const DeviceContext& context, std::size_t size) {
  const Driver& driver = context.driver();
  if (!driver.cuMemExportToShareableHandle) throw std::runtime_error("the driver is too old: CUDA 11.4 is needed");
  AllocationProperties wanted{};
  wanted.type = allocation_pinned;
  wanted.handle_types = handle_file_descriptor;
  wanted.location = {location_device, context.device()};
  context.make_current();
  Handle handle = 0;
  driver.check(driver.cuMemCreate(&handle, size, &wanted, 0), "make memory");
  int descriptor = -1;
  const Result outcome = driver.cuMemExportToShareableHandle(&descriptor, handle, handle_file_descriptor, 0);
  driver.cuMemRelease(handle);
  driver.check(outcome, "export memory");
  return descriptor;
}

ImportedMemory::ImportedMemory(std::shared_ptr<const DeviceContext> context, int descriptor, std::size_t size)
    : context_(std::move(context)), size_(size) {
  const Driver& driver = context_->driver();
  context_->make_current();
  void* exported = reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor));
  driver.check(driver.cuMemImportFromShareableHandle(&handle_, exported, handle_file_descriptor), "import memory");
  Result outcome = driver.cuMemAddressReserve(&address_, size, 0, 0, 0);
  if (outcome == result::success) {
    outcome = driver.cuMemMap(address_, size, 0, handle_, 0);
    if (outcome == result::success) {
      const AccessDescriptor access{{location_device, context_->device()}, access_read_write};
      outcome = driver.cuMemSetAccess(address_, size, &access, 1);
      if (outcome == result::success) return;
      driver.cuMemUnmap(address_, size);
    }
    driver.cuMemAddressFree(address_, size);
  }
  driver.cuMemRelease(handle_);
  driver.check(outcome, "map imported memory");
}

ImportedMemory::~ImportedMemory() {
  const Driver& driver = context_->driver();
  driver.cuMemUnmap(address_, size_);
  driver.cuMemAddressFree(address_, size_);
  driver.cuMemRelease(handle_);
}

void ImportedMemory::check_range(std::size_t offset, std::size_t size) const {
  if (offset > size_ || size > size_ - offset) throw std::out_of_range("beyond the end of the device memory");
}

void ImportedMemory::read(std::size_t offset, void* to, std::size_t size) const {
  check_range(offset, size);
  if (size == 0) return;
  context_->make_current();
  context_->driver().check(context_->driver().cuMemcpyDtoH(to, address_ + offset, size), "copy from the device");
}

void ImportedMemory::write(std::size_t offset, const void* from, std::size_t size) const {
  check_range(offset, size);
  if (size == 0) return;
  const Driver& driver = context_->driver();
  context_->make_current();
  driver.check(driver.cuMemcpyHtoD(address_ + offset, from, size), "copy to the device");
  // A small copy may return before it has arrived, and another process is going to look.
  driver.check(driver.cuCtxSynchronize(), "copy to the device");
}

void process_checkpoint(const Driver& driver, int pid, CheckpointAction action, unsigned timeout_ms) {
  Result (*const calls[])(int, void*) = {driver.cuCheckpointProcessLock, driver.cuCheckpointProcessCheckpoint,
                                         driver.cuCheckpointProcessRestore, driver.cuCheckpointProcessUnlock};
  constexpr const char* names[] = {"lock", "checkpoint", "restore", "unlock"};
  const auto which = static_cast<std::size_t>(action);
  if (!calls[which]) throw std::runtime_error("the driver cannot checkpoint processes: CUDA 12.8 is needed");
  LockArguments arguments{timeout_ms, 0, {}};
  driver.check(calls[which](pid, action == CheckpointAction::lock ? &arguments : nullptr), names[which]);
}

int process_state(const Driver& driver, int pid) {
  if (!driver.cuCheckpointProcessGetState) throw std::runtime_error("the driver cannot checkpoint processes: CUDA 12.8 is needed");
  int state = 0;
  driver.check(driver.cuCheckpointProcessGetState(pid, &state), "state");
  return state;
}

}  // namespace gcr
