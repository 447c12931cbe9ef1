// Device memory as the recorder gives it out and follows it. What cuMemAlloc asks for is reserved, created and mapped by the recorder, so
// that its addresses outlive its physical memory; requests up to 1 MiB are carved from shared slabs of 2 MiB. Each physical handle is exported
// once and sent to the supervisor. Memory of any other origin is recorded, with what it takes to save it.
//
// Guarantees: an `alloc` is in the ring before the address is known to the application, a `free` before the address can be given out
// again; a place in a slab is used again only after the context that freed it had nothing left to do. Every function is safe to call
// from several threads; driver calls that make or end memory happen under the lock, so the order of events is the driver's.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <vector>

#include "driver/driver.h"
#include "recorder/emitter.h"
#include "recorder/sharing.h"

namespace gcr {

class Memory {
 public:
  Memory(const Driver &driver, Emitter &emitter, Sharing &sharing) : driver_(driver), emitter_(emitter), sharing_(sharing) {}

  // cuMemAlloc. False when the driver must be asked itself.
  bool allocate(DevicePointer *address, std::size_t size);
  bool allocate_pitch(DevicePointer *address, std::size_t *pitch, std::size_t width, std::size_t height);

  // cuMemFree of what `allocate` gave. False when it was not ours; `outcome` is the driver's answer.
  bool release(DevicePointer address, Result *outcome);

  // Runs a call that makes memory and tells what it made; under the lock.
  template <class Call>
  Result tell_new(Call &&call, const DevicePointer *address, std::size_t size, AllocationKind kind, bool saveable) {
    const std::lock_guard lock(mutex_);
    const Result outcome = with_room(call);
    if (outcome == result::success) tell(*address, size, kind, saveable, 0, 0);
    return outcome;
  }
  // Runs a call that ends memory told by tell_new.
  template <class Call>
  Result tell_end(Call &&call, DevicePointer address) {
    const std::lock_guard lock(mutex_);
    const Result outcome = call();
    if (outcome == result::success) forget(address);
    return outcome;
  }
  // The number of an allocation that begins there; made when there is none (a module's variable).
  std::uint64_t variable(DevicePointer address, std::size_t size);
  // Variables in these ranges are gone.
  void forget_variables(const std::vector<DevicePointer> &addresses);

  // cuIpcGetMemHandle of the allocation that holds the address. False when the driver must be asked itself; `outcome` is the answer.
  bool share(DevicePointer address, IpcHandle &handle, Result *outcome);
  // cuIpcOpenMemHandle of what `share` gave in another process: the same address again for the same context, counted.
  Result open_shared(const SharedName &name, DevicePointer *address);
  // cuIpcCloseMemHandle. False when no `open_shared` gave the address.
  bool close_shared(DevicePointer address, Result *outcome);
  // Whether `share` takes the address.
  bool is_shareable(DevicePointer address) const;

  // CUDA arrays, which have no address.
  void array_created(void *array);
  void array_destroyed(void *array);

  // What cuMemGetAddressRange answers for memory of ours, or of another process that was opened here.
  bool range_of(DevicePointer address, DevicePointer *base, std::size_t *size) const;
  // The context that memory of ours was allocated in, null for any other: to the driver mapped memory belongs to none.
  Context owner_of(DevicePointer address) const;
  // Whether managed or imported memory may be at this address: a copy to the host may then write what the supervisor follows.
  bool is_followed(DevicePointer address) const;

  // The program's own mappings. Handles that it sees stay valid when the memory was exchanged.
  template <class Create>
  Result create(Handle *handle, std::size_t size, const AllocationProperties *properties, Create &&call) {
    const std::lock_guard lock(mutex_);
    AllocationProperties wanted = *properties;
    const bool ours = wanted.type == allocation_pinned && wanted.location.type == location_device;
    if (ours) wanted.handle_types |= handle_file_descriptor;
    Result outcome = with_room([&] { return call(handle, &wanted); });
    if (outcome != result::success && ours) outcome = call(handle, properties);
    if (outcome == result::success) {
      Physical &physical = adopt(handle, size, wanted.location.type == location_device ? wanted.location.id : -1, ours);
      physical.handle_types = properties->handle_types;
    }
    return outcome;
  }
  void imported(Handle *handle) {
    const std::lock_guard lock(mutex_);
    adopt(handle, 0, -1, false);
  }
  void retained(Handle *handle);
  Handle actual(Handle handle) const;
  // Whether it is a device's memory; of a handle that is not known it is taken for that.
  bool is_on_device(Handle handle) const;
  // What the program had asked for when it made the memory: how it may be exported. `otherwise` when it did not make it.
  int handle_types(Handle handle, int otherwise) const;
  Result release_handle(Handle handle);
  Result map(DevicePointer address, std::size_t size, std::size_t offset, Handle handle, unsigned long long flags);
  Result unmap(DevicePointer address, std::size_t size);
  void access_set(DevicePointer address, std::size_t size, const AccessDescriptor *access, std::size_t count);

  // Whether it was not known. Of devices that both have a context each may use the other's memory, if it can: copies between them and with the host go
  // by any context then, as they do for memory that the driver allocated itself.
  bool context_created(Context context);
  // The context's memory has ended with it.
  void context_destroyed(Context context);
  std::vector<Context> contexts() const;
  void peer_enabled(Context peer);

  // Tells a new supervisor everything that is there, while nobody submits. Memory whose handle cannot be exported again is told without one.
  void retell();

  // For the agent, while nobody submits. A result of the driver's, or 0x10000 + errno.
  std::uint32_t detach();
  std::uint32_t attach(const std::vector<std::uint64_t> &numbers, std::vector<Descriptor> &handles);
  bool is_attached() const;
  // A context that can reach an address that was told without a handle; null when nothing was told there.
  Context context_of(DevicePointer address, std::size_t size) const;

 private:
  struct Physical {
    std::uint64_t number = 0;
    std::size_t size = 0;
    int device = -1;
    Handle current = 0;      // 0: detached
    Descriptor exported;     // of memory that came with `attach`: the driver does not export it a second time
    bool sent = false;       // the supervisor has a descriptor of it
    int handle_types = -1;   // as the program asked for; -1: it did not make it
    unsigned references = 1; // the program's, or ours
    unsigned held = 1;       // how many of them the driver knows: after an exchange one at most
    unsigned mappings = 0;
  };
  struct Mapping {
    std::size_t size = 0, offset = 0;
    Physical *physical = nullptr;
    std::uint64_t allocation = 0;  // of the program's own mapping
    bool mapped = true;
    std::vector<AccessDescriptor> access{};  // as the program set it, one of each place that has any
  };
  struct Allocation {
    std::uint64_t number = 0;
    std::size_t size = 0;
    AllocationKind kind = AllocationKind::device;
    bool saveable = false;
    Context context = nullptr;
    std::size_t slot = 0;           // bytes of the slab's class, 0: not in a slab
    DevicePointer block = 0;        // the mapping it lies in, 0: the driver's own
    std::uint16_t family = 0;       // of documented libraries, whose own it is: the flags of its `alloc`
    bool opened = false;            // another process's
  };
  struct Slab {
    std::size_t slot_bytes = 0;
    int device = 0;
    Context context = nullptr;
    unsigned used = 0;
    std::vector<unsigned> free;
  };
  // Another process's memory that is mapped here; what of it was opened, by address. What was closed last may stay until it is known to be idle.
  struct Opened {
    struct Place {
      std::uint64_t allocation = 0;
      std::size_t size = 0;
      unsigned references = 0;
      std::uint64_t closed = 0;  // which close was its last
    };
    SharedName name;  // of the first that was opened
    std::uint64_t block = 0;
    std::size_t size = 0;
    int device = 0;
    Context context = nullptr;
    std::map<DevicePointer, Place> places;
  };
  struct Quarantined {
    DevicePointer block;
    unsigned slot;
    Context context;
  };

  const std::pair<const DevicePointer, Allocation> *ours_at(DevicePointer address) const;
  Opened::Place *opened_at(const SharedName &name, Context context, DevicePointer *address);
  DevicePointer count_opened(DevicePointer address, Opened::Place &place);
  Result map_shared(const Opened &opened, Device here, int memory, DevicePointer *block);
  void end_opened(DevicePointer block);
  int device_of(const std::uint8_t (&uuid)[16]) const;
  // Whether captures that are under way forbid this thread to make or end memory: the driver's answer, which breaks them as the driver does.
  Result forbidden_by_capture() const;
  // Makes memory. What was freed is there until the supervisor has let its descriptors go, too, which a program that frees and allocates at once
  // cannot know of: where there is no room it is tried again until that has happened.
  template <class Make>
  Result with_room(Make &&make) {
    Result outcome = make();
    while (outcome == result::out_of_memory && wait_for_supervisor()) outcome = make();
    return outcome;
  }
  // Waits a moment. False when the supervisor has let everything go, or takes too long.
  bool wait_for_supervisor();
  bool make_block(int device, std::size_t size, DevicePointer *address);
  void end_block(DevicePointer address);
  void end_physical(Physical *physical);
  bool take_slot(int device, Context context, std::size_t size, DevicePointer *address, DevicePointer *block, std::size_t *slot);
  void give_slot(DevicePointer block, unsigned slot);
  bool send_handle(Physical &physical);
  bool allow(DevicePointer address, std::size_t size, int device);
  std::uint64_t tell(DevicePointer address, std::size_t size, AllocationKind kind, bool saveable, std::uint64_t handle,
                     std::uint64_t offset);
  void forget(DevicePointer address);
  // `here` may use what is on `there`, now and later.
  void let_reach(int here, int there);
  Physical &adopt(Handle *handle, std::size_t size, int device, bool exportable);
  Physical *physical_of(Handle handle) const;
  std::size_t granularity(int device);

  const Driver &driver_;
  Emitter &emitter_;
  Sharing &sharing_;
  mutable std::mutex mutex_;
  std::uint64_t next_allocation_ = 1, next_handle_ = 1;
  std::int64_t let_go_ = 0;  // when the supervisor was last told to let memory go; 0: it has
  std::int64_t heard_ = 0;   // when it was seen to have been told; 0: not yet
  std::map<DevicePointer, Allocation> allocations_;
  std::map<DevicePointer, Mapping> mappings_;
  std::map<DevicePointer, Slab> slabs_;
  std::map<DevicePointer, Opened> opened_;  // by the beginning of the mapping
  std::uint64_t closes_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Physical>> physicals_;
  std::unordered_map<Handle, Physical *> handles_;  // as the program knows them
  std::vector<Quarantined> quarantine_;
  std::unordered_map<void *, std::uint64_t> arrays_;
  std::set<Context> contexts_;
  std::set<int> devices_;               // that have a context
  std::map<int, std::set<int>> peers_;  // by device whose memory it is: devices that may reach it
  std::map<int, std::size_t> granularity_;
};

}  // namespace gcr
