// Physical memory of the simulated device: a memfd whose shared lock tells the device that somebody still holds it
// (docs/formats/runtime-protocol.md). The application never sees its bytes at the device's addresses; the driver copies through a
// mapping of its own. It lives while a handle, a mapping or a descriptor does, in whichever process.
#pragma once

#include <memory>
#include <vector>

#include "../core/descriptor.h"
#include "cuda_types.h"

namespace gcr::sim {

class DeviceLink;

constexpr std::size_t granularity = std::size_t{2} << 20;

// A range of this process's memory, unmapped with its owner.
class HostMapping {
 public:
  HostMapping() = default;
  HostMapping(void *address, std::size_t size) : address_(address), size_(size) {}
  HostMapping(HostMapping &&other) noexcept;
  HostMapping &operator=(HostMapping &&other) noexcept;
  ~HostMapping();

  std::uint8_t *bytes() const { return static_cast<std::uint8_t *>(address_); }
  std::size_t size() const { return size_; }
  explicit operator bool() const { return address_ != nullptr; }

 private:
  void *address_ = nullptr;
  std::size_t size_ = 0;
};

// A new memfd of `size` zero bytes. Throws Failure.
Descriptor make_memory(const char *name, std::size_t size);
// Maps a memfd for this process, not inherited by children. Throws Failure.
HostMapping map_shared(int descriptor, std::size_t size);

class Physical {
 public:
  // New memory of the device; CUDA_ERROR_OUT_OF_MEMORY when it has no more. Throws Failure.
  static std::shared_ptr<Physical> create(DeviceLink &link, std::size_t size, const AllocationProperties &properties);
  // The memory behind a descriptor that `share` gave, here or in another process. Throws Failure.
  static std::shared_ptr<Physical> import(Descriptor descriptor, const AllocationProperties &properties);

  std::size_t size() const { return size_; }
  const AllocationProperties &properties() const { return properties_; }
  std::uint8_t *bytes() const { return host_.bytes(); }
  int descriptor() const { return descriptor_.get(); }

  // A new descriptor of the memory for others.
  Descriptor share();
  // Whether other processes may hold it.
  bool shared() const { return shared_; }

  // A checkpoint takes the content into host memory and gives the memory back; `move_in` gets new memory for it. Throws Failure,
  // and leaves things as they were.
  void move_out();
  void move_in(DeviceLink &link);

 private:
  Physical(Descriptor descriptor, std::size_t size, const AllocationProperties &properties, bool shared);

  std::size_t size_;
  AllocationProperties properties_;
  bool shared_;
  Descriptor descriptor_;
  HostMapping host_;
  std::vector<std::uint8_t> saved_;
};

}  // namespace gcr::sim
