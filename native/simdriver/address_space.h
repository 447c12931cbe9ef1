// The device addresses of this process: reserved ranges, and what is mapped where. Addresses are reserved in the process's own
// address space and stay inaccessible to the host, so a device pointer means nothing else and host code that follows one
// crashes. Whoever copies holds the space meanwhile, so that nothing is unmapped under it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <vector>

#include "physical.h"

namespace gcr::sim {

enum class Access { none = 0, read = 1, read_write = 3 };

struct MappedRange {
  DevicePointer address;
  std::size_t size;
  std::shared_ptr<Physical> physical;
};

class AddressSpace {
 public:
  explicit AddressSpace(DeviceLink &link) : link_(link) {}

  // All throw Failure where the driver refuses.
  DevicePointer reserve(std::size_t size, std::size_t alignment, DevicePointer wanted);
  void free(DevicePointer address, std::size_t size);
  void map(DevicePointer address, std::size_t size, std::size_t offset, std::shared_ptr<Physical> physical);
  // Whole mappings only, which must fill the range.
  void unmap(DevicePointer address, std::size_t size);
  void set_access(DevicePointer address, std::size_t size, Access access);
  Access access(DevicePointer address) const;

  // Whether the address belongs to the device, mapped or not.
  bool reserved(DevicePointer address) const;
  // The mapping that holds an address.
  std::optional<MappedRange> find(DevicePointer address) const;
  // Whether every byte of the range may be touched that way.
  bool accessible(DevicePointer address, std::size_t size, Access wanted) const;
  // While this is held nothing is unmapped. Not to be taken twice by one thread.
  [[nodiscard]] std::shared_lock<std::shared_mutex> hold() const { return std::shared_lock(mutex_); }
  // The range as host memory, in order; valid while held. Throws Failure (illegal_address) unless all of it is accessible.
  std::vector<std::span<std::uint8_t>> pieces(DevicePointer address, std::size_t size, Access wanted) const;

  // Memory of a checkpoint: everything that is mapped leaves the device, and comes back to the same addresses.
  void move_out();
  void move_in();

 private:
  struct Mapping {
    std::size_t size;
    std::size_t offset;
    std::shared_ptr<Physical> physical;
    Access access;
  };
  using Mappings = std::map<DevicePointer, Mapping>;

  // The mappings that fill a range exactly; none when they do not.
  std::vector<Mappings::iterator> filling(DevicePointer address, std::size_t size);
  Mappings::const_iterator at(DevicePointer address) const;
  bool covered(DevicePointer address, std::size_t size, Access wanted) const;
  void tell_map(DevicePointer address, const Mapping &mapping);
  void tell_unmap(DevicePointer address, const Mapping &mapping);

  DeviceLink &link_;
  mutable std::shared_mutex mutex_;
  std::map<DevicePointer, std::size_t> reservations_;
  Mappings mappings_;
};

}  // namespace gcr::sim
