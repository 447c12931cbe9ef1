// See physical.h.
#include "physical.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "link.h"
#include "result.h"

namespace gcr::sim {
namespace {

constexpr char device_memory_name[] = "gcr-device-memory";

// Whether a descriptor is memory of the device: names of memfds begin with "/memfd:".
bool is_device_memory(int descriptor) {
  std::array<char, 128> target{};
  const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  if (::readlink(path.c_str(), target.data(), target.size() - 1) < 0) return false;
  return std::string_view(target.data()).starts_with(std::string("/memfd:") + device_memory_name);
}

// Memory that the device has taken into account.
Descriptor registered_memory(DeviceLink &link, std::size_t size) {
  Descriptor memory = make_memory(device_memory_name, size);
  require(::flock(memory.get(), LOCK_SH) == 0, operating_system);
  const int passed = memory.get();
  const Reply reply = link.ask(ToDevice::memory, Body().u64(size), {&passed, 1});
  require(reply.status == success, reply.status);
  return memory;
}

}  // namespace

HostMapping::HostMapping(HostMapping &&other) noexcept
    : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}

HostMapping &HostMapping::operator=(HostMapping &&other) noexcept {
  std::swap(address_, other.address_);
  std::swap(size_, other.size_);
  return *this;
}

HostMapping::~HostMapping() {
  if (address_) ::munmap(address_, size_);
}

Descriptor make_memory(const char *name, std::size_t size) {
  Descriptor memory(::memfd_create(name, MFD_CLOEXEC));
  require(static_cast<bool>(memory), operating_system);
  require(::ftruncate(memory.get(), static_cast<off_t>(size)) == 0, out_of_memory);
  return memory;
}

HostMapping map_shared(int descriptor, std::size_t size) {
  void *address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  require(address != MAP_FAILED, out_of_memory);
  ::madvise(address, size, MADV_DONTFORK);
  return {address, size};
}

Physical::Physical(Descriptor descriptor, std::size_t size, const AllocationProperties &properties, bool shared)
    : size_(size), properties_(properties), shared_(shared), descriptor_(std::move(descriptor)),
      host_(map_shared(descriptor_.get(), size)) {}

std::shared_ptr<Physical> Physical::create(DeviceLink &link, std::size_t size, const AllocationProperties &properties) {
  return std::shared_ptr<Physical>(new Physical(registered_memory(link, size), size, properties, false));
}

std::shared_ptr<Physical> Physical::import(Descriptor descriptor, const AllocationProperties &properties) {
  struct stat status {};
  require(::fstat(descriptor.get(), &status) == 0 && is_device_memory(descriptor.get()), invalid_value);
  const auto size = static_cast<std::size_t>(status.st_size);
  return std::shared_ptr<Physical>(new Physical(std::move(descriptor), size, properties, true));
}

Descriptor Physical::share() {
  Descriptor copy(::fcntl(descriptor_.get(), F_DUPFD_CLOEXEC, 0));
  require(static_cast<bool>(copy), operating_system);
  shared_ = true;
  return copy;
}

void Physical::move_out() {
  if (!host_) return;
  saved_.assign(host_.bytes(), host_.bytes() + size_);
  host_ = HostMapping();
  descriptor_.reset();
}

void Physical::move_in(DeviceLink &link) {
  if (host_) return;
  Descriptor memory = registered_memory(link, size_);
  host_ = map_shared(memory.get(), size_);
  descriptor_ = std::move(memory);
  std::memcpy(host_.bytes(), saved_.data(), size_);
  saved_ = {};
}

}  // namespace gcr::sim
