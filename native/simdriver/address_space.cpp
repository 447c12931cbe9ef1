// See address_space.h.
#include "address_space.h"

#include <sys/mman.h>

#include <mutex>
#include <set>

#include "link.h"
#include "result.h"

namespace gcr::sim {
namespace {

constexpr DevicePointer address_end = DevicePointer{1} << 47;

void *pointer(DevicePointer address) { return reinterpret_cast<void *>(address); }

// Reserves exactly there or nowhere.
bool reserve_at(DevicePointer address, std::size_t size) {
  void *got = ::mmap(pointer(address), size, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (got == MAP_FAILED) return false;
  if (got == pointer(address)) return true;
  ::munmap(got, size);  // a kernel that does not know MAP_FIXED_NOREPLACE
  return false;
}

DevicePointer reserve_anywhere(std::size_t size, std::size_t alignment) {
  void *got = ::mmap(nullptr, size + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  require(got != MAP_FAILED, out_of_memory);
  const auto start = reinterpret_cast<DevicePointer>(got);
  const DevicePointer address = (start + alignment - 1) / alignment * alignment;
  if (address > start) ::munmap(got, address - start);
  const DevicePointer rest = address + size;
  if (start + size + alignment > rest) ::munmap(pointer(rest), start + size + alignment - rest);
  return address;
}

}  // namespace

DevicePointer AddressSpace::reserve(std::size_t size, std::size_t alignment, DevicePointer wanted) {
  require(size > 0 && size % granularity == 0 && size < address_end, invalid_value);
  require((alignment & (alignment - 1)) == 0, invalid_value);
  if (alignment < granularity) alignment = granularity;
  const std::unique_lock lock(mutex_);
  // The address is a wish, as it is to the real driver.
  const bool possible = wanted != 0 && wanted % alignment == 0 && wanted < address_end - size;
  const DevicePointer address =
      possible && reserve_at(wanted, size) ? wanted : reserve_anywhere(size, alignment);
  reservations_.emplace(address, size);
  return address;
}

void AddressSpace::free(DevicePointer address, std::size_t size) {
  const std::unique_lock lock(mutex_);
  const auto found = reservations_.find(address);
  require(found != reservations_.end() && found->second == size, invalid_value);
  const auto inside = mappings_.lower_bound(address);
  require(inside == mappings_.end() || inside->first >= address + size, invalid_value);
  reservations_.erase(found);
  ::munmap(pointer(address), size);
}

void AddressSpace::map(DevicePointer address, std::size_t size, std::size_t offset, std::shared_ptr<Physical> physical) {
  require(size > 0 && size % granularity == 0 && address % granularity == 0, invalid_value);
  // Drivers up to now map whole allocations only.
  require(offset == 0 && size == physical->size(), invalid_value);
  const std::unique_lock lock(mutex_);
  const auto after = reservations_.upper_bound(address);
  require(after != reservations_.begin(), invalid_value);
  const auto &[start, length] = *std::prev(after);
  require(address + size <= start + length, invalid_value);
  const auto next = mappings_.lower_bound(address);
  require(next == mappings_.end() || next->first >= address + size, invalid_value);
  require(at(address) == mappings_.end(), invalid_value);
  mappings_.emplace(address, Mapping{size, offset, std::move(physical), Access::none});
}

std::vector<AddressSpace::Mappings::iterator> AddressSpace::filling(DevicePointer address, std::size_t size) {
  std::vector<Mappings::iterator> found;
  DevicePointer next = address;
  for (auto it = mappings_.find(address); it != mappings_.end() && it->first == next && next < address + size; ++it) {
    found.push_back(it);
    next += it->second.size;
  }
  if (next != address + size) found.clear();
  return found;
}

void AddressSpace::unmap(DevicePointer address, std::size_t size) {
  const std::unique_lock lock(mutex_);
  const auto found = filling(address, size);
  require(!found.empty(), invalid_value);
  for (const auto it : found) {
    if (it->second.access != Access::none) tell_unmap(it->first, it->second);
    mappings_.erase(it);
  }
}

void AddressSpace::set_access(DevicePointer address, std::size_t size, Access access) {
  const std::unique_lock lock(mutex_);
  const auto found = filling(address, size);
  require(!found.empty(), invalid_value);
  for (const auto it : found) {
    Mapping &mapping = it->second;
    const bool was = mapping.access != Access::none;
    const bool is = access != Access::none;
    if (is && !was) tell_map(it->first, mapping);
    if (was && !is) tell_unmap(it->first, mapping);
    mapping.access = access;
  }
}

Access AddressSpace::access(DevicePointer address) const {
  const std::shared_lock lock(mutex_);
  const auto it = at(address);
  require(it != mappings_.end(), invalid_value);
  return it->second.access;
}

bool AddressSpace::reserved(DevicePointer address) const {
  const std::shared_lock lock(mutex_);
  const auto after = reservations_.upper_bound(address);
  if (after == reservations_.begin()) return false;
  const auto &[start, length] = *std::prev(after);
  return address < start + length;
}

AddressSpace::Mappings::const_iterator AddressSpace::at(DevicePointer address) const {
  const auto after = mappings_.upper_bound(address);
  if (after == mappings_.begin()) return mappings_.end();
  const auto it = std::prev(after);
  return address < it->first + it->second.size ? it : mappings_.end();
}

std::optional<MappedRange> AddressSpace::find(DevicePointer address) const {
  const std::shared_lock lock(mutex_);
  const auto it = at(address);
  if (it == mappings_.end()) return std::nullopt;
  return MappedRange{it->first, it->second.size, it->second.physical};
}

bool AddressSpace::covered(DevicePointer address, std::size_t size, Access wanted) const {
  DevicePointer next = address;
  for (auto it = at(address); next < address + size; ++it) {
    if (it == mappings_.end() || it->first > next || it->second.access < wanted) return false;
    next = it->first + it->second.size;
  }
  return true;
}

bool AddressSpace::accessible(DevicePointer address, std::size_t size, Access wanted) const {
  const std::shared_lock lock(mutex_);
  return covered(address, size, wanted);
}

std::vector<std::span<std::uint8_t>> AddressSpace::pieces(DevicePointer address, std::size_t size, Access wanted) const {
  require(covered(address, size, wanted), illegal_address);
  std::vector<std::span<std::uint8_t>> found;
  DevicePointer next = address;
  for (auto it = at(address); next < address + size; ++it) {
    const std::size_t inside = next - it->first;
    const std::size_t length = std::min<std::size_t>(it->second.size - inside, address + size - next);
    found.emplace_back(it->second.physical->bytes() + it->second.offset + inside, length);
    next += length;
  }
  return found;
}

void AddressSpace::tell_map(DevicePointer address, const Mapping &mapping) {
  const int descriptor = mapping.physical->descriptor();
  const Body body = Body().u64(address).u64(mapping.size).u64(mapping.offset);
  require(link_.tell(ToDevice::map, body, {&descriptor, 1}), device_unavailable);
}

void AddressSpace::tell_unmap(DevicePointer address, const Mapping &mapping) {
  // Without a device there is nothing to unmap, and freeing must not fail.
  link_.tell(ToDevice::unmap, Body().u64(address).u64(mapping.size));
}

void AddressSpace::move_out() {
  const std::unique_lock lock(mutex_);
  for (const auto &[address, mapping] : mappings_) require(!mapping.physical->shared(), not_supported);
  for (const auto &[address, mapping] : mappings_) {
    if (mapping.access != Access::none) tell_unmap(address, mapping);
    mapping.physical->move_out();
  }
}

void AddressSpace::move_in() {
  const std::unique_lock lock(mutex_);
  std::set<Physical *> moved;
  try {
    for (const auto &[address, mapping] : mappings_) {
      mapping.physical->move_in(link_);
      moved.insert(mapping.physical.get());
    }
  } catch (const Failure &) {
    for (Physical *physical : moved) physical->move_out();
    throw;
  }
  for (const auto &[address, mapping] : mappings_) {
    if (mapping.access != Access::none) tell_map(address, mapping);
  }
}

}  // namespace gcr::sim
