// Allocations that are not mapped by the application itself: device memory (cuMemAlloc and its kin, module variables), carved from
// blocks of at least 2 MiB, and pinned host memory, which kernels reach at the same address as the host.
#pragma once

#include <map>
#include <mutex>
#include <optional>

#include "address_space.h"

namespace gcr::sim {

enum class AllocationKind { plain, pooled, variable };

struct Allocation {
  DevicePointer address;
  std::size_t size;
  AllocationKind kind;
  const void *context;
};

class Heap {
 public:
  Heap(DeviceLink &link, AddressSpace &space) : link_(link), space_(space) {}

  // Throws Failure (out_of_memory, invalid_value for a size of 0).
  DevicePointer allocate(std::size_t size, AllocationKind kind, const void *context);
  // Throws Failure (invalid_value) unless an allocation of that kind (variables apart: plain or pooled) begins there.
  void free(DevicePointer address, bool variable = false);
  // Everything that a context has allocated.
  void free_all(const void *context);
  // The allocation that holds an address.
  std::optional<Allocation> find(DevicePointer address) const;
  // Whether a mapping belongs to this heap.
  bool owns(DevicePointer address) const;

 private:
  struct Block {
    std::size_t size;
    std::map<DevicePointer, std::size_t> unused;
  };

  DevicePointer carve(Block &block, std::size_t size);
  std::map<DevicePointer, Block>::iterator add_block(std::size_t size);
  void give_back(std::map<DevicePointer, Allocation>::iterator allocation);

  DeviceLink &link_;
  AddressSpace &space_;
  mutable std::mutex mutex_;
  std::map<DevicePointer, Block> blocks_;
  std::map<DevicePointer, Allocation> allocations_;
};

struct PinnedRange {
  std::uintptr_t address;
  std::size_t size;
  unsigned flags;
  bool registered;  // the application's own memory, which kernels do not reach
};

class PinnedMemory {
 public:
  explicit PinnedMemory(DeviceLink &link) : link_(link) {}

  // All throw Failure where the driver refuses.
  void *allocate(std::size_t size, unsigned flags);
  void free(void *address);
  void add(void *address, std::size_t size, unsigned flags);
  void remove(void *address);
  std::optional<PinnedRange> find(const void *address) const;

  // Tells a device to which the process has connected again.
  void tell_again();

 private:
  struct Entry {
    PinnedRange range;
    Descriptor descriptor;
    HostMapping memory;
  };

  DeviceLink &link_;
  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Entry> entries_;
};

}  // namespace gcr::sim
