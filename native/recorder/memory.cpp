// See memory.h.
#include "recorder/memory.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "recorder/contracts.h"
#include "recorder/current.h"
#include "recorder/gate.h"

namespace gcr {
namespace {

constexpr std::size_t slab_bytes = 2 << 20;
constexpr std::size_t largest_slot = 1 << 20;
constexpr std::size_t slot_unit = 256;
constexpr std::size_t pitch_unit = 512;
constexpr std::uint32_t status_errno = 0x10000;

// The class of a request: a multiple of 256 up to 2 KiB, then four steps a doubling.
std::size_t slot_size(std::size_t size) {
  if (size <= 8 * slot_unit) return round_up_to(size, slot_unit);
  std::size_t doubling = 8 * slot_unit;
  while (doubling * 2 < size) doubling *= 2;
  return round_up_to(size, doubling / 4);
}

// Descriptors are the program's to use: of ours it notices nothing as long as they leave it most of them.
int largest_kept_descriptor() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<int>(std::min<rlim_t>(limit.rlim_cur / 2, 65536)) : 0;
}

bool is_legal(Result outcome) { return outcome == result::success; }

}  // namespace

std::size_t Memory::granularity(int device) {
  const auto [place, added] = granularity_.try_emplace(device, slab_bytes);
  if (added) {
    AllocationProperties properties{allocation_pinned, handle_file_descriptor, {location_device, device}, nullptr, {}};
    std::size_t found = 0;
    if (driver_.cuMemGetAllocationGranularity && is_legal(driver_.cuMemGetAllocationGranularity(&found, &properties, 0)) && found)
      place->second = found;
  }
  return place->second;
}

bool Memory::send_handle(Physical &physical) {
  int exported = physical.exported.get();
  Descriptor own;
  if (exported < 0) {
    if (!driver_.cuMemExportToShareableHandle ||
        !is_legal(driver_.cuMemExportToShareableHandle(&exported, physical.current, handle_file_descriptor, 0)))
      return false;
    own = Descriptor(exported);
  }
  HandleMessage message;
  message.number = physical.number;
  message.size = physical.size;
  message.device = static_cast<std::uint32_t>(physical.device);
  return physical.sent = emitter_.message(message, {&exported, 1});
}

bool Memory::allow(DevicePointer address, std::size_t size, int device) {
  std::vector<AccessDescriptor> access{{{location_device, device}, access_read_write}};
  for (int peer : peers_[device]) access.push_back({{location_device, peer}, access_read_write});
  return is_legal(driver_.cuMemSetAccess(address, size, access.data(), access.size()));
}

bool Memory::wait_for_supervisor() {
  constexpr std::int64_t hears_within = 3'000'000'000, acts_within = 500'000'000;
  if (let_go_ == 0) return false;
  const std::int64_t now = now_ns();
  if (heard_ == 0 && emitter_.channel().is_taken()) heard_ = now;
  if (heard_ != 0 ? now > heard_ + acts_within : now > let_go_ + hears_within) {
    let_go_ = 0;
    return false;
  }
  constexpr timespec moment{0, 1'000'000};
  nanosleep(&moment, nullptr);
  return true;
}

bool Memory::make_block(int device, std::size_t size, DevicePointer *address) {
  if (!driver_.cuMemRelease || !driver_.cuMemUnmap || !driver_.cuMemImportFromShareableHandle) return false;
  const AllocationProperties properties = driver_.exportable_on(device);
  Handle handle = 0;
  if (!is_legal(with_room([&] { return driver_.cuMemCreate(&handle, size, &properties, 0); }))) return false;
  if (!is_legal(driver_.cuMemAddressReserve(address, size, 0, 0, 0))) {
    driver_.cuMemRelease(handle);
    return false;
  }
  auto physical = std::make_unique<Physical>();
  physical->number = next_handle_++;
  physical->size = size;
  physical->device = device;
  physical->current = handle;
  const bool mapped = is_legal(driver_.cuMemMap(*address, size, 0, handle, 0));
  if (!mapped || !allow(*address, size, device) || !send_handle(*physical)) {
    if (mapped) driver_.cuMemUnmap(*address, size);
    driver_.cuMemAddressFree(*address, size);
    driver_.cuMemRelease(handle);
    return false;
  }
  physical->mappings = 1;
  mappings_[*address] = {size, 0, physical.get(), 0};
  physicals_[physical->number] = std::move(physical);
  return true;
}

void Memory::end_physical(Physical *physical) {
  if (physical->sent && emitter_.message(HandleGoneMessage{physical->number})) {
    let_go_ = now_ns();
    heard_ = 0;
  }
  sharing_.withdraw_block(physical->number);
  physicals_.erase(physical->number);
}

void Memory::end_block(DevicePointer address) {
  const auto found = mappings_.find(address);
  const Mapping mapping = found->second;
  mappings_.erase(found);
  driver_.cuMemUnmap(address, mapping.size);
  driver_.cuMemAddressFree(address, mapping.size);
  driver_.cuMemRelease(mapping.physical->current);
  end_physical(mapping.physical);
}

bool Memory::take_slot(int device, Context context, std::size_t size, DevicePointer *address, DevicePointer *block,
                       std::size_t *slot) {
  *slot = slot_size(size);
  for (auto &[base, slab] : slabs_) {
    if (slab.slot_bytes != *slot || slab.device != device || slab.context != context || slab.free.empty()) continue;
    *block = base;
    *address = base + *slot * slab.free.back();
    slab.free.pop_back();
    ++slab.used;
    return true;
  }
  const std::size_t bytes = round_up_to(slab_bytes, granularity(device));
  if (!make_block(device, bytes, block)) return false;
  Slab &slab = slabs_[*block];
  slab = {*slot, device, context, 1, {}};
  for (auto i = static_cast<unsigned>(bytes / *slot); i-- > 1;) slab.free.push_back(i);
  *address = *block;
  return true;
}

void Memory::give_slot(DevicePointer block, unsigned slot) {
  const auto found = slabs_.find(block);
  if (found == slabs_.end()) return;
  found->second.free.push_back(slot);
  if (--found->second.used == 0) {
    slabs_.erase(found);
    end_block(block);
  }
}

std::uint64_t Memory::tell(DevicePointer address, std::size_t size, AllocationKind kind, bool saveable, std::uint64_t handle,
                           std::uint64_t offset) {
  const std::uint64_t number = next_allocation_++;
  Context context = nullptr;
  if (driver_.cuCtxGetCurrent) driver_.cuCtxGetCurrent(&context);
  // What a documented library allocates for itself, its calls may write.
  const auto family = static_cast<std::uint16_t>(family_at(this_thread.caller));
  if (address) {
    Allocation &allocation = allocations_[address] = {number, size, kind, saveable, context, 0, 0};
    allocation.family = family;
  }
  if (context) contexts_.insert(context);
  emitter_.allocation(AllocEvent{number, address, size, handle, offset, static_cast<std::uint32_t>(kind), saveable}, family);
  return number;
}

void Memory::forget(DevicePointer address) {
  const auto found = allocations_.find(address);
  if (found == allocations_.end()) return;
  emitter_.allocation(FreeEvent{found->second.number});
  sharing_.withdraw(found->second.number);
  allocations_.erase(found);
}

Result Memory::forbidden_by_capture() const {
  // Mapped memory may be made and ended at any time, cuMemAlloc and cuMemFree may not, and they look at captures before anything else.
  return hot.captures.load() > 0 && driver_.cuMemFree ? driver_.cuMemFree(0) : result::success;
}

bool Memory::allocate(DevicePointer *address, std::size_t size) {
  Device device = 0;
  Context context = nullptr;
  if (size == 0 || !emitter_.tells_allocations() || !driver_.cuCtxGetDevice || !is_legal(driver_.cuCtxGetDevice(&device)) ||
      !is_legal(driver_.cuCtxGetCurrent(&context)) || !is_legal(forbidden_by_capture()))
    return false;
  const std::lock_guard lock(mutex_);
  DevicePointer block = 0, place = 0;
  std::size_t slot = 0;
  if (size <= largest_slot) {
    if (!take_slot(device, context, size, &place, &block, &slot)) return false;
  } else {
    if (!make_block(device, round_up_to(size, granularity(device)), &block)) return false;
    place = block;
  }
  const Mapping &mapping = mappings_[block];
  tell(place, size, AllocationKind::device, true, mapping.physical->number, place - block);
  Allocation &allocation = allocations_[place];
  allocation.slot = slot;
  allocation.block = block;
  *address = place;
  return true;
}

bool Memory::allocate_pitch(DevicePointer *address, std::size_t *pitch, std::size_t width, std::size_t height) {
  const std::size_t wide = round_up_to(width, pitch_unit);
  std::size_t size = 0;
  if (width == 0 || height == 0 || wide < width || __builtin_mul_overflow(wide, height, &size) || !allocate(address, size)) return false;
  *pitch = wide;
  return true;
}

bool Memory::release(DevicePointer address, Result *outcome) {
  Context context = nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = allocations_.find(address);
    if (found == allocations_.end() || !found->second.block) return false;
    context = found->second.context;
  }
  *outcome = forbidden_by_capture();
  if (*outcome != result::success) return true;
  // As cuMemFree does: what was submitted before is done before the memory is anybody else's. Without the lock, because it takes long.
  bool idle = false;
  // While a capture is under way waiting is not allowed and would spoil it: the memory is put aside until it can be known to be idle.
  if (hot.captures.load() == 0) {
    const Current current(driver_, context);
    if (current) {
      const Result synchronized = driver_.cuCtxSynchronize();
      idle = is_legal(synchronized);
      // A capture that began meanwhile refuses, too. Other errors are the context's end.
      if (!idle && synchronized != 900 && synchronized != 901 && synchronized != 906) *outcome = synchronized;
    }
  }
  if (*outcome != result::success) return true;
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(address);
  if (found == allocations_.end() || !found->second.block) {
    *outcome = result::invalid_value;  // freed twice, at the same time
    return true;
  }
  const Allocation allocation = found->second;
  forget(address);
  if (!idle) {
    quarantine_.push_back({allocation.block, allocation.slot ? static_cast<unsigned>((address - allocation.block) / allocation.slot) : 0, context});
    return true;
  }
  std::vector<Quarantined> ready;
  std::erase_if(quarantine_, [&](const Quarantined &one) { return one.context == context && (ready.push_back(one), true); });
  for (const Quarantined &one : ready) {
    if (slabs_.contains(one.block)) give_slot(one.block, one.slot);
    else end_block(one.block);
  }
  if (allocation.slot) give_slot(allocation.block, static_cast<unsigned>((address - allocation.block) / allocation.slot));
  else end_block(allocation.block);
  return true;
}

bool Memory::is_shareable(DevicePointer address) const {
  const std::lock_guard lock(mutex_);
  const auto *found = ours_at(address);
  return found && found->second.block;
}

bool Memory::share(DevicePointer address, IpcHandle &handle, Result *outcome) {
  const std::lock_guard lock(mutex_);
  const auto *found = ours_at(address);
  if (!found || !found->second.block) return false;
  const Allocation &allocation = found->second;
  const Physical &physical = *mappings_.at(allocation.block).physical;
  SharedPlace place{{}, physical.number, physical.size, found->first - allocation.block, allocation.size};
  if (!driver_.cuDeviceGetUuid || !is_legal(driver_.cuDeviceGetUuid(reinterpret_cast<Uuid *>(place.device), physical.device))) return false;
  Descriptor memory;
  if (!sharing_.offers_block(physical.number)) {
    int exported = physical.exported ? ::fcntl(physical.exported.get(), F_DUPFD_CLOEXEC, 0) : -1;
    if (exported < 0 && !is_legal(driver_.cuMemExportToShareableHandle(&exported, physical.current, handle_file_descriptor, 0))) return false;
    memory = Descriptor(exported);
    ::fcntl(exported, F_SETFD, FD_CLOEXEC);
  }
  const int error = sharing_.offer(allocation.number, place, std::move(memory), handle);
  *outcome = error == 0 ? result::success : error == EAGAIN || error == EMFILE ? result::out_of_memory : result::operating_system;
  return true;
}

int Memory::device_of(const std::uint8_t (&uuid)[16]) const {
  int count = 0;
  if (!driver_.cuDeviceGetCount || !driver_.cuDeviceGetUuid || !is_legal(driver_.cuDeviceGetCount(&count))) return -1;
  for (int i = 0; i < count; ++i) {
    Device device = 0;
    Uuid own{};
    if (is_legal(driver_.cuDeviceGet(&device, i)) && is_legal(driver_.cuDeviceGetUuid(&own, device)) && std::memcmp(own.bytes, uuid, sizeof(uuid)) == 0)
      return device;
  }
  return -1;
}

Memory::Opened::Place *Memory::opened_at(const SharedName &name, Context context, DevicePointer *address) {
  for (auto &[block, opened] : opened_) {
    if (opened.context != context || std::memcmp(opened.name.process, name.process, sizeof(name.process)) != 0) continue;
    for (auto &[place, known] : opened.places) {
      if (known.allocation != name.allocation) continue;
      *address = place;
      return &known;
    }
  }
  return nullptr;
}

DevicePointer Memory::count_opened(DevicePointer address, Opened::Place &place) {
  if (place.references++ == 0) {
    tell(address, place.size, AllocationKind::imported, false, 0, 0);
    allocations_[address].opened = true;
  }
  return address;
}

Result Memory::map_shared(const Opened &opened, Device here, int memory, DevicePointer *block) {
  if (opened.device != here) {
    int can = 1;
    if (driver_.cuDeviceCanAccessPeer && (!is_legal(driver_.cuDeviceCanAccessPeer(&can, here, opened.device)) || !can)) return result::peer_access_unsupported;
    let_reach(here, opened.device);
  }
  Handle handle = 0;
  void *const shareable = reinterpret_cast<void *>(static_cast<std::intptr_t>(memory));
  if (!is_legal(driver_.cuMemImportFromShareableHandle(&handle, shareable, handle_file_descriptor))) return result::map_failed;
  Result outcome = driver_.cuMemAddressReserve(block, opened.size, 0, 0, 0);
  if (is_legal(outcome)) {
    outcome = driver_.cuMemMap(*block, opened.size, 0, handle, 0);
    const AccessDescriptor access{{location_device, here}, access_read_write};
    if (is_legal(outcome) && !allow(*block, opened.size, opened.device) && !is_legal(driver_.cuMemSetAccess(*block, opened.size, &access, 1))) {
      driver_.cuMemUnmap(*block, opened.size);
      outcome = result::map_failed;
    }
    if (!is_legal(outcome)) driver_.cuMemAddressFree(*block, opened.size);
  }
  // The mapping keeps it.
  driver_.cuMemRelease(handle);
  if (is_legal(outcome)) opened_[*block] = opened;
  return outcome;
}

void Memory::end_opened(DevicePointer block) {
  const std::size_t size = opened_.at(block).size;
  opened_.erase(block);
  driver_.cuMemUnmap(block, size);
  driver_.cuMemAddressFree(block, size);
}

Result Memory::open_shared(const SharedName &name, DevicePointer *address) {
  Context context = nullptr;
  Device here = 0;
  if (!driver_.cuCtxGetCurrent || !driver_.cuCtxGetDevice || !is_legal(driver_.cuCtxGetCurrent(&context)) || !context ||
      !is_legal(driver_.cuCtxGetDevice(&here)) || sharing_.is_own(name))
    return result::invalid_context;
  if (!driver_.cuMemImportFromShareableHandle || !driver_.cuMemUnmap || !driver_.cuMemRelease) return result::not_supported;
  DevicePointer place = 0;
  {
    const std::lock_guard lock(mutex_);
    if (Opened::Place *known = opened_at(name, context, &place)) return *address = count_opened(place, *known), result::success;
  }
  // Without the lock: whoever is asked may be asking this process.
  SharedPlace told;
  Descriptor memory;
  if (const Result outcome = Sharing::ask(name, told, memory)) return outcome;
  const std::lock_guard lock(mutex_);
  if (Opened::Place *known = opened_at(name, context, &place)) return *address = count_opened(place, *known), result::success;
  DevicePointer block = 0;
  for (const auto &[start, opened] : opened_)
    if (opened.context == context && opened.block == told.block && std::memcmp(opened.name.process, name.process, sizeof(name.process)) == 0) block = start;
  if (!block) {
    const int device = device_of(told.device);
    if (device < 0) return result::invalid_device;
    if (const Result outcome = map_shared({name, told.block, told.block_bytes, device, context, {}}, here, memory.get(), &block)) return outcome;
  }
  // What was there and is still open was freed by its process, and its place given out again.
  Opened::Place &added = opened_[block].places[block + told.offset];
  const unsigned before = added.references;
  if (before) forget(block + told.offset);
  added = {name.allocation, told.size, 0, 0};
  *address = count_opened(block + told.offset, added);
  added.references += before;
  return result::success;
}

bool Memory::close_shared(DevicePointer address, Result *outcome) {
  const auto block_of = [&]() -> DevicePointer {
    for (const auto &[block, opened] : opened_)
      if (const auto found = opened.places.find(address); found != opened.places.end() && found->second.references) return block;
    return 0;
  };
  Context context = nullptr;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    const DevicePointer block = block_of();
    if (!block) return false;
    *outcome = result::success;
    Opened &opened = opened_[block];
    Opened::Place &place = opened.places[address];
    if (--place.references) return true;
    forget(address);
    place.closed = number = ++closes_;
    context = opened.context;
  }
  // What was submitted before is done before the memory goes. While a capture is under way that cannot be waited for: the memory stays until another
  // is closed.
  const Current current(driver_, context);
  if (!current || hot.captures.load() > 0 || !is_legal(driver_.cuCtxSynchronize())) return true;
  const std::lock_guard lock(mutex_);
  for (auto at = opened_.begin(); at != opened_.end();) {
    const DevicePointer block = at->first;
    Opened &opened = (at++)->second;
    if (opened.context != context) continue;
    // What was closed since may have work that began after the waiting.
    std::erase_if(opened.places, [&](const auto &one) { return one.second.references == 0 && one.second.closed <= number; });
    if (opened.places.empty()) end_opened(block);
  }
  return true;
}

std::uint64_t Memory::variable(DevicePointer address, std::size_t size) {
  const std::lock_guard lock(mutex_);
  const auto found = allocations_.find(address);
  if (found != allocations_.end()) return found->second.number;
  return tell(address, size, AllocationKind::module_variable, true, 0, 0);
}

void Memory::forget_variables(const std::vector<DevicePointer> &addresses) {
  const std::lock_guard lock(mutex_);
  for (DevicePointer address : addresses) forget(address);
}

void Memory::array_created(void *array) {
  const std::lock_guard lock(mutex_);
  arrays_[array] = tell(0, 0, AllocationKind::array, false, 0, 0);
}

void Memory::array_destroyed(void *array) {
  const std::lock_guard lock(mutex_);
  const auto found = arrays_.find(array);
  if (found == arrays_.end()) return;
  emitter_.allocation(FreeEvent{found->second});
  arrays_.erase(found);
}

const std::pair<const DevicePointer, Memory::Allocation> *Memory::ours_at(DevicePointer address) const {
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return nullptr;
  --found;
  const bool is_ours = found->second.block || found->second.opened;
  return is_ours && address - found->first < found->second.size ? &*found : nullptr;
}

bool Memory::range_of(DevicePointer address, DevicePointer *base, std::size_t *size) const {
  const std::lock_guard lock(mutex_);
  const auto *found = ours_at(address);
  if (!found) return false;
  if (base) *base = found->first;
  if (size) *size = found->second.size;
  return true;
}

Context Memory::owner_of(DevicePointer address) const {
  const std::lock_guard lock(mutex_);
  const auto *found = ours_at(address);
  return found ? found->second.context : nullptr;
}

bool Memory::is_followed(DevicePointer address) const {
  const std::lock_guard lock(mutex_);
  auto found = allocations_.upper_bound(address);
  return found != allocations_.begin() && address - (--found)->first < found->second.size;
}

Memory::Physical *Memory::physical_of(Handle handle) const {
  const auto found = handles_.find(handle);
  return found == handles_.end() ? nullptr : found->second;
}

Memory::Physical &Memory::adopt(Handle *handle, std::size_t size, int device, bool exportable) {
  auto physical = std::make_unique<Physical>();
  physical->number = next_handle_++;
  physical->size = size;
  physical->device = device;
  physical->current = *handle;
  if (exportable) send_handle(*physical);
  // After an exchange of memory the driver may give out a number that the program still holds for another handle.
  static constexpr Handle own_numbers = 0x6763'7200'0000'0000;
  if (handles_.contains(*handle)) *handle = own_numbers + physical->number;
  handles_[*handle] = physical.get();
  return *(physicals_[physical->number] = std::move(physical));
}

void Memory::retained(Handle *handle) {
  const std::lock_guard lock(mutex_);
  for (auto &[known, physical] : handles_)
    if (physical->current == *handle) {
      ++physical->references;
      ++physical->held;
      *handle = known;
      return;
    }
}

Handle Memory::actual(Handle handle) const {
  const std::lock_guard lock(mutex_);
  const Physical *physical = physical_of(handle);
  return physical ? physical->current : handle;
}

bool Memory::is_on_device(Handle handle) const {
  const std::lock_guard lock(mutex_);
  const Physical *physical = physical_of(handle);
  return !physical || physical->device >= 0;
}

int Memory::handle_types(Handle handle, int otherwise) const {
  const std::lock_guard lock(mutex_);
  const Physical *physical = physical_of(handle);
  return physical && physical->handle_types >= 0 ? physical->handle_types : otherwise;
}

Result Memory::release_handle(Handle handle) {
  const std::lock_guard lock(mutex_);
  Physical *physical = physical_of(handle);
  if (!physical) return driver_.cuMemRelease(handle);
  Result outcome = result::success;
  if (physical->held >= physical->references) {
    outcome = driver_.cuMemRelease(physical->current);
    if (outcome != result::success) return outcome;
    --physical->held;
  }
  if (--physical->references == 0) {
    handles_.erase(handle);
    if (physical->mappings == 0) end_physical(physical);
  }
  return outcome;
}

Result Memory::map(DevicePointer address, std::size_t size, std::size_t offset, Handle handle, unsigned long long flags) {
  const std::lock_guard lock(mutex_);
  Physical *physical = physical_of(handle);
  const Result outcome = driver_.cuMemMap(address, size, offset, physical ? physical->current : handle, flags);
  if (outcome != result::success) return outcome;
  const bool saveable = physical && physical->sent;
  const std::uint64_t number = tell(address, size, saveable ? AllocationKind::mapped_by_application : AllocationKind::imported, saveable,
                                    saveable ? physical->number : 0, offset);
  if (physical) {
    ++physical->mappings;
    mappings_[address] = {size, offset, physical, number};
  }
  return outcome;
}

Result Memory::unmap(DevicePointer address, std::size_t size) {
  const std::lock_guard lock(mutex_);
  const Result outcome = driver_.cuMemUnmap(address, size);
  if (outcome != result::success) return outcome;
  // A range may hold several mappings, and holds each whole.
  for (auto at = mappings_.lower_bound(address); at != mappings_.end() && at->first - address < size;) {
    Physical *physical = at->second.physical;
    at = mappings_.erase(at);
    if (--physical->mappings == 0 && physical->references == 0) end_physical(physical);
  }
  for (auto at = allocations_.lower_bound(address); at != allocations_.end() && at->first - address < size;) {
    const DevicePointer place = at->first;
    ++at;
    forget(place);
  }
  return outcome;
}

void Memory::access_set(DevicePointer address, std::size_t size, const AccessDescriptor *access, std::size_t count) {
  const std::lock_guard lock(mutex_);
  // The range holds mappings whole. A call says nothing of devices that it does not name: what they may do stays.
  for (auto at = mappings_.lower_bound(address); at != mappings_.end() && at->first - address < size; ++at) {
    std::vector<AccessDescriptor> &known = at->second.access;
    for (std::size_t i = 0; i < count; ++i) {
      const auto [type, id] = access[i].location;
      std::erase_if(known, [&](const AccessDescriptor &one) { return one.location.type == type && one.location.id == id; });
      if (access[i].flags) known.push_back(access[i]);
    }
  }
}

bool Memory::context_created(Context context) {
  const std::lock_guard lock(mutex_);
  if (!contexts_.insert(context).second) return false;
  Device device = 0;
  const Current current(driver_, context);
  if (!current || !driver_.cuCtxGetDevice || !is_legal(driver_.cuCtxGetDevice(&device)) || !devices_.insert(device).second) return true;
  emitter_.message(InUseMessage{static_cast<std::uint32_t>(device)});
  const auto can_reach = [&](int here, int there) {
    int can = 0;
    return driver_.cuDeviceCanAccessPeer && is_legal(driver_.cuDeviceCanAccessPeer(&can, here, there)) && can;
  };
  for (const int other : devices_) {
    if (other == device) continue;
    if (can_reach(device, other)) let_reach(device, other);
    if (can_reach(other, device)) let_reach(other, device);
  }
  return true;
}

void Memory::let_reach(int here, int there) {
  if (!peers_[there].insert(here).second) return;
  for (const auto &[address, mapping] : mappings_)
    if (!mapping.allocation && mapping.mapped && mapping.physical->device == there) allow(address, mapping.size, there);
  for (const auto &[address, opened] : opened_)
    if (opened.device == there) allow(address, opened.size, there);
}

void Memory::context_destroyed(Context context) {
  const std::lock_guard lock(mutex_);
  contexts_.erase(context);
  std::set<DevicePointer> blocks;
  std::vector<DevicePointer> ended;
  for (const auto &[address, allocation] : allocations_) {
    if (allocation.context != context || allocation.kind == AllocationKind::mapped_by_application) continue;
    ended.push_back(address);
    if (allocation.block) blocks.insert(allocation.block);
  }
  for (DevicePointer address : ended) forget(address);
  std::erase_if(quarantine_, [&](const Quarantined &one) { return one.context == context && (blocks.insert(one.block), true); });
  for (const auto &[block, slab] : slabs_)
    if (slab.context == context) blocks.insert(block);
  for (DevicePointer block : blocks) {
    slabs_.erase(block);
    end_block(block);
  }
  for (auto at = opened_.begin(); at != opened_.end();) {
    const auto [block, opened] = *at++;
    if (opened.context == context) end_opened(block);
  }
}

std::vector<Context> Memory::contexts() const {
  const std::lock_guard lock(mutex_);
  return {contexts_.begin(), contexts_.end()};
}

void Memory::peer_enabled(Context peer) {
  Device here = 0, there = 0;
  if (!is_legal(driver_.cuCtxGetDevice(&here))) return;
  {
    const Current current(driver_, peer);
    if (!current || !is_legal(driver_.cuCtxGetDevice(&there))) return;
  }
  const std::lock_guard lock(mutex_);
  let_reach(here, there);
}

bool Memory::is_attached() const {
  const std::lock_guard lock(mutex_);
  return std::all_of(mappings_.begin(), mappings_.end(), [](const auto &one) { return one.second.mapped; }) &&
         std::all_of(physicals_.begin(), physicals_.end(), [](const auto &one) { return one.second->current != 0; });
}

void Memory::retell() {
  const std::lock_guard lock(mutex_);
  for (const int device : devices_) emitter_.message(InUseMessage{static_cast<std::uint32_t>(device)});
  for (auto &[number, physical] : physicals_) {
    if (!physical->sent) continue;
    if (physical->current) physical->sent = send_handle(*physical);
    else emitter_.message(VacantMessage{number, physical->size, static_cast<std::uint32_t>(physical->device)});
  }
  // In the order in which they were made, as they were told the first time.
  std::map<std::uint64_t, std::pair<AllocEvent, std::uint16_t>> events;
  for (const auto &[address, allocation] : allocations_) {
    AllocEvent event{allocation.number, address, allocation.size, 0, 0, static_cast<std::uint32_t>(allocation.kind), allocation.saveable};
    const bool is_mapped = allocation.kind == AllocationKind::mapped_by_application;
    if (const auto found = mappings_.find(is_mapped ? address : allocation.block); found != mappings_.end() && found->second.physical->sent) {
      event.handle = found->second.physical->number;
      event.handle_offset = is_mapped ? found->second.offset : address - allocation.block;
    }
    events.emplace(allocation.number, std::pair(event, allocation.family));
  }
  for (const auto &[array, number] : arrays_) {
    const AllocEvent event{number, 0, 0, 0, 0, static_cast<std::uint32_t>(AllocationKind::array), 0};
    events.emplace(number, std::pair(event, std::uint16_t{0}));
  }
  for (const auto &[number, told] : events) emitter_.allocation(told.first, told.second);
}

std::uint32_t Memory::detach() {
  const std::lock_guard lock(mutex_);
  if (emitter_.is_shared()) return result::not_permitted;
  // The agent's thread has no context of its own, and mapping memory may take one.
  const Current current(driver_, contexts_.empty() ? nullptr : *contexts_.begin());
  // Only memory of which the supervisor has a descriptor may go; whatever else is mapped stays.
  for (auto &[address, mapping] : mappings_) {
    if (!mapping.physical->sent || !mapping.mapped) continue;
    if (const Result outcome = driver_.cuMemUnmap(address, mapping.size)) return static_cast<std::uint32_t>(outcome);
    mapping.mapped = false;
  }
  for (auto &[number, physical] : physicals_) {
    if (!physical->sent || !physical->current) continue;
    for (; physical->held; --physical->held) driver_.cuMemRelease(physical->current);
    physical->current = 0;
    physical->exported.reset();
  }
  return 0;
}

std::uint32_t Memory::attach(const std::vector<std::uint64_t> &numbers, std::vector<Descriptor> &handles) {
  const std::lock_guard lock(mutex_);
  if (numbers.size() != handles.size()) return status_errno + EINVAL;
  const Current current(driver_, contexts_.empty() ? nullptr : *contexts_.begin());
  // Looked for once: a program has thousands of each.
  std::unordered_map<const Physical *, std::vector<DevicePointer>> places;
  for (const std::uint64_t number : numbers)
    if (const auto found = physicals_.find(number); found != physicals_.end()) places[found->second.get()];
  for (const auto &[address, mapping] : mappings_)
    if (const auto found = places.find(mapping.physical); found != places.end() && !mapping.mapped) found->second.push_back(address);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto found = physicals_.find(numbers[i]);
    if (found == physicals_.end()) return status_errno + ENOENT;
    Physical &physical = *found->second;
    if (!physical.current) {
      void *descriptor = reinterpret_cast<void *>(static_cast<std::intptr_t>(handles[i].get()));
      if (const Result outcome = driver_.cuMemImportFromShareableHandle(&physical.current, descriptor, handle_file_descriptor))
        return static_cast<std::uint32_t>(outcome);
      physical.held = 1;
      if (handles[i].get() < largest_kept_descriptor()) physical.exported = std::move(handles[i]);
    }
    for (const DevicePointer address : places[&physical]) {
      Mapping &mapping = mappings_[address];
      if (mapping.mapped) continue;
      if (const Result outcome = driver_.cuMemMap(address, mapping.size, mapping.offset, physical.current, 0))
        return static_cast<std::uint32_t>(outcome);
      mapping.mapped = true;
      if (!mapping.allocation && !allow(address, mapping.size, physical.device)) return result::unknown;
      const std::vector<AccessDescriptor> &access = mapping.access;
      if (!access.empty())
        if (const Result outcome = driver_.cuMemSetAccess(address, mapping.size, access.data(), access.size()))
          return static_cast<std::uint32_t>(outcome);
    }
    // The program may have released the handle of a mapping that is still there.
    if (physical.references == 0) {
      driver_.cuMemRelease(physical.current);
      physical.held = 0;
    }
  }
  return 0;
}

Context Memory::context_of(DevicePointer address, std::size_t size) const {
  const std::lock_guard lock(mutex_);
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return nullptr;
  --found;
  if (address - found->first > found->second.size || size > found->second.size - (address - found->first)) return nullptr;
  if (found->second.context) return found->second.context;
  return contexts_.empty() ? nullptr : *contexts_.begin();
}

}  // namespace gcr
