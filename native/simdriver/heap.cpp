// See heap.h.
#include "heap.h"

#include <unistd.h>

#include <vector>

#include "link.h"
#include "result.h"

namespace gcr::sim {
namespace {

constexpr std::size_t alignment = 512;
// Allocations from this size on get memory of their own.
constexpr std::size_t large = granularity / 2;
constexpr AllocationProperties heap_properties{1, 0, {1, 0}, nullptr, {}};

constexpr std::size_t round_up(std::size_t value, std::size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

std::map<DevicePointer, Heap::Block>::iterator Heap::add_block(std::size_t size) {
  const auto physical = Physical::create(link_, size, heap_properties);
  const DevicePointer address = space_.reserve(size, 0, 0);
  try {
    space_.map(address, size, 0, physical);
    space_.set_access(address, size, Access::read_write);
  } catch (const Failure &) {
    if (space_.find(address)) space_.unmap(address, size);
    space_.free(address, size);
    throw;
  }
  return blocks_.emplace(address, Block{size, {{address, size}}}).first;
}

DevicePointer Heap::carve(Block &block, std::size_t size) {
  for (const auto &[address, length] : block.unused) {
    if (length < size) continue;
    const DevicePointer found = address;
    const std::size_t rest = length - size;
    block.unused.erase(found);
    if (rest > 0) block.unused.emplace(found + size, rest);
    return found;
  }
  return 0;
}

DevicePointer Heap::allocate(std::size_t size, AllocationKind kind, const void *context) {
  require(size > 0, invalid_value);
  require(size <= std::size_t{1} << 46, out_of_memory);
  const std::size_t needed = round_up(size, alignment);
  const std::lock_guard lock(mutex_);
  DevicePointer address = 0;
  if (needed < large) {
    for (auto &[start, block] : blocks_) {
      address = carve(block, needed);
      if (address) break;
    }
  }
  if (!address) address = carve(add_block(round_up(needed, granularity))->second, needed);
  allocations_.emplace(address, Allocation{address, size, kind, context});
  return address;
}

void Heap::give_back(std::map<DevicePointer, Allocation>::iterator allocation) {
  const DevicePointer address = allocation->first;
  std::size_t size = round_up(allocation->second.size, alignment);
  allocations_.erase(allocation);
  const auto owner = std::prev(blocks_.upper_bound(address));
  auto &unused = owner->second.unused;
  auto next = unused.lower_bound(address);
  if (next != unused.end() && next->first == address + size) {
    size += next->second;
    next = unused.erase(next);
  }
  if (next != unused.begin() && std::prev(next)->first + std::prev(next)->second == address) {
    std::prev(next)->second += size;
  } else {
    unused.emplace(address, size);
  }
  if (unused.begin()->second != owner->second.size) return;
  const auto [start, length] = std::pair(owner->first, owner->second.size);
  blocks_.erase(owner);
  space_.unmap(start, length);
  space_.free(start, length);
}

void Heap::free(DevicePointer address, bool variable) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(address);
  require(found != allocations_.end(), invalid_value);
  require((found->second.kind == AllocationKind::variable) == variable, invalid_value);
  give_back(found);
}

void Heap::free_all(const void *context) {
  const std::lock_guard lock(mutex_);
  for (auto it = allocations_.begin(); it != allocations_.end();) {
    const auto next = std::next(it);
    if (it->second.context == context) give_back(it);
    it = next;
  }
}

std::optional<Allocation> Heap::find(DevicePointer address) const {
  const std::lock_guard lock(mutex_);
  const auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return std::nullopt;
  const Allocation &found = std::prev(after)->second;
  if (address >= found.address + found.size) return std::nullopt;
  return found;
}

bool Heap::owns(DevicePointer address) const {
  const std::lock_guard lock(mutex_);
  const auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return false;
  return address < std::prev(after)->first + std::prev(after)->second.size;
}

void *PinnedMemory::allocate(std::size_t size, unsigned flags) {
  require(size > 0, invalid_value);
  const std::size_t whole = round_up(size, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
  Descriptor memory = make_memory("gcr-pinned-memory", whole);
  HostMapping mapping = map_shared(memory.get(), whole);
  void *const address = mapping.bytes();
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  const int passed = memory.get();
  const Body body = Body().u64(number).u64(whole).u64(0);
  require(link_.tell(ToDevice::map, body, {&passed, 1}), device_unavailable);
  const std::lock_guard lock(mutex_);
  entries_.emplace(number, Entry{{number, size, flags, false}, std::move(memory), std::move(mapping)});
  return address;
}

void PinnedMemory::free(void *address) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(reinterpret_cast<std::uintptr_t>(address));
  require(found != entries_.end() && !found->second.range.registered, invalid_value);
  link_.tell(ToDevice::unmap, Body().u64(found->first).u64(found->second.memory.size()));
  entries_.erase(found);
}

void PinnedMemory::add(void *address, std::size_t size, unsigned flags) {
  require(address && size > 0, invalid_value);
  const auto start = reinterpret_cast<std::uintptr_t>(address);
  const std::lock_guard lock(mutex_);
  const auto after = entries_.lower_bound(start + size);
  const bool clash = after != entries_.begin() &&
                     std::prev(after)->first + std::prev(after)->second.range.size > start;
  require(!clash, host_memory_already_registered);
  entries_.emplace(start, Entry{{start, size, flags, true}, {}, {}});
}

void PinnedMemory::remove(void *address) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(reinterpret_cast<std::uintptr_t>(address));
  require(found != entries_.end() && found->second.range.registered, host_memory_not_registered);
  entries_.erase(found);
}

void PinnedMemory::tell_again() {
  const std::lock_guard lock(mutex_);
  for (const auto &[address, entry] : entries_) {
    if (entry.range.registered) continue;
    const int passed = entry.descriptor.get();
    require(link_.tell(ToDevice::map, Body().u64(address).u64(entry.memory.size()).u64(0), {&passed, 1}), device_unavailable);
  }
}

std::optional<PinnedRange> PinnedMemory::find(const void *address) const {
  const auto number = reinterpret_cast<std::uintptr_t>(address);
  const std::lock_guard lock(mutex_);
  const auto after = entries_.upper_bound(number);
  if (after == entries_.begin()) return std::nullopt;
  const PinnedRange &range = std::prev(after)->second.range;
  if (number >= range.address + range.size) return std::nullopt;
  return range;
}

}  // namespace gcr::sim
