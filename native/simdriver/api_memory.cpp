// Entry points: allocations, pinned memory, pools, virtual memory management, what a pointer is.
#include <unistd.h>

#include "driver.h"

namespace gcr::sim {
namespace {

constexpr std::size_t pitch_alignment = 512;
constexpr int handle_posix = 1;

void allocate(Driver &driver, DevicePointer *address, std::size_t size) {
  require(address, invalid_value);
  driver.forbid_in_capture();
  *address = driver.heap.allocate(size, AllocationKind::plain, driver.current());
}

void check_properties(const AllocationProperties *properties) {
  require(properties && properties->type == 1, invalid_value);
  require(properties->location.type == 1, not_supported);
  require(properties->location.id == 0, invalid_device);
  require((properties->handle_types & ~handle_posix) == 0, not_supported);
}

std::shared_ptr<Pool> pool_of(Driver &driver, Pool *pool) { return driver.pools.find(pool, invalid_value); }

void allocate_ordered(Driver &driver, DevicePointer *address, std::size_t size, void *stream_handle) {
  require(address, invalid_value);
  const auto stream = driver.stream(stream_handle);
  {
    const std::lock_guard lock(driver.graphs.mutex);
    // Allocation nodes of graphs are not there.
    require(!stream->capture, not_supported);
  }
  *address = driver.heap.allocate(size, AllocationKind::pooled, driver.current());
}

// CUmemPool_attribute.
enum PoolAttribute { reuse_first = 1, reuse_last = 3, release_threshold = 4, pool_first_counter = 5, pool_last = 8 };

// CUpointer_attribute.
enum PointerAttribute {
  pointer_context = 1,
  pointer_memory_type = 2,
  pointer_device = 3,
  pointer_host = 4,
  pointer_sync = 6,
  pointer_buffer_id = 7,
  pointer_managed = 8,
  pointer_ordinal = 9,
  pointer_ipc_capable = 10,
  pointer_range_start = 11,
  pointer_range_size = 12,
  pointer_mapped = 13,
  pointer_handle_types = 14,
  pointer_access_flags = 16,
};

template <class T>
void store(void *to, T value) {
  *static_cast<T *>(to) = value;
}

void pointer_attribute(Driver &driver, void *to, int attribute, DevicePointer address) {
  const auto allocation = driver.heap.find(address);
  const auto mapped = driver.space.find(address);
  const auto pinned = driver.pinned.find(reinterpret_cast<const void *>(address));
  require(mapped || pinned || (attribute == pointer_mapped && driver.space.reserved(address)), invalid_value);
  const DevicePointer start = allocation ? allocation->address : mapped ? mapped->address : pinned ? pinned->address : 0;
  const std::size_t size = allocation ? allocation->size : mapped ? mapped->size : pinned ? pinned->size : 0;
  switch (attribute) {
    case pointer_context:
      return store<const void *>(to, allocation ? allocation->context : nullptr);
    case pointer_memory_type:
      return store<unsigned>(to, mapped ? memory_device : memory_host);
    case pointer_device:
      return store<DevicePointer>(to, address);
    case pointer_host:
      require(pinned.has_value(), invalid_value);
      return store<DevicePointer>(to, address);
    case pointer_sync:
      return store<unsigned>(to, 0);
    case pointer_buffer_id:
      return store<unsigned long long>(to, start);
    case pointer_managed:
    case pointer_ipc_capable:
      return store<unsigned>(to, 0);
    case pointer_ordinal:
      return store<int>(to, 0);
    case pointer_range_start:
      return store<DevicePointer>(to, start);
    case pointer_range_size:
      return store<std::size_t>(to, size);
    case pointer_mapped:
      return store<unsigned>(to, mapped || pinned ? 1 : 0);
    case pointer_handle_types:
      return store<unsigned>(to, mapped ? static_cast<unsigned>(mapped->physical->properties().handle_types) : 0);
    case pointer_access_flags:
      return store<unsigned>(to, mapped ? static_cast<unsigned>(driver.space.access(address)) : 3);
    default:
      fail(not_supported);
  }
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;
using gcr::Descriptor, gcr::Reader, gcr::round_up_to;

GCR_SIM_API cuMemGetInfo_v2(std::size_t *free, std::size_t *total) {
  return call([&](Driver &driver) {
    require(free && total, invalid_value);
    const Reply reply = driver.link.ask(ToDevice::memory_info, Body());
    require(reply.status == success, reply.status);
    Reader read(reply.body);
    std::uint64_t values[2];
    read(values[0]);
    read(values[1]);
    *free = values[0];
    *total = values[1];
  });
}

GCR_SIM_API cuMemAlloc_v2(DevicePointer *address, std::size_t size) {
  return call([&](Driver &driver) { allocate(driver, address, size); });
}

GCR_SIM_API cuMemAllocPitch_v2(DevicePointer *address, std::size_t *pitch, std::size_t width, std::size_t height,
                               unsigned element) {
  return call([&](Driver &driver) {
    require(pitch && width && height && (element == 4 || element == 8 || element == 16), invalid_value);
    *pitch = round_up_to(width, pitch_alignment);
    allocate(driver, address, *pitch * height);
  });
}

GCR_SIM_API cuMemFree_v2(DevicePointer address) {
  return call([&](Driver &driver) {
    driver.forbid_in_capture();
    if (!address) return;
    const auto allocation = driver.heap.find(address);
    require(allocation && allocation->address == address, invalid_value);
    driver.synchronize(driver.current());
    driver.heap.free(address);
  });
}

GCR_SIM_API cuMemGetAddressRange_v2(DevicePointer *base, std::size_t *size, DevicePointer address) {
  return call([&](Driver &driver) {
    if (const auto allocation = driver.heap.find(address)) {
      if (base) *base = allocation->address;
      if (size) *size = allocation->size;
      return;
    }
    const auto mapped = driver.space.find(address);
    require(mapped && !driver.heap.owns(address), not_found);
    if (base) *base = mapped->address;
    if (size) *size = mapped->size;
  });
}

GCR_SIM_API cuMemHostAlloc(void **address, std::size_t size, unsigned flags) {
  return call([&](Driver &driver) {
    require(address, invalid_value);
    *address = driver.pinned.allocate(size, flags);
  });
}

GCR_SIM_API cuMemAllocHost_v2(void **address, std::size_t size) { return cuMemHostAlloc(address, size, 0); }

GCR_SIM_API cuMemFreeHost(void *address) {
  return call([&](Driver &driver) {
    if (!address) return;
    driver.synchronize(driver.current());
    driver.pinned.free(address);
  });
}

GCR_SIM_API cuMemHostGetDevicePointer_v2(DevicePointer *device, void *address, unsigned flags) {
  return call([&](Driver &driver) {
    require(device && flags == 0, invalid_value);
    const auto range = driver.pinned.find(address);
    require(range.has_value(), invalid_value);
    require(!range->registered, not_supported);
    *device = reinterpret_cast<DevicePointer>(address);
  });
}

GCR_SIM_API cuMemHostGetFlags(unsigned *flags, void *address) {
  return call([&](Driver &driver) {
    const auto range = driver.pinned.find(address);
    require(flags && range, invalid_value);
    *flags = range->flags;
  });
}

GCR_SIM_API cuMemHostRegister_v2(void *address, std::size_t size, unsigned flags) {
  return call([&](Driver &driver) { driver.pinned.add(address, size, flags); });
}

GCR_SIM_API cuMemHostUnregister(void *address) {
  return call([&](Driver &driver) {
    driver.synchronize(driver.current());
    driver.pinned.remove(address);
  });
}

// --- stream-ordered ---

GCR_SIM_API cuMemAllocAsync(DevicePointer *address, std::size_t size, void *stream) {
  return call([&](Driver &driver) { allocate_ordered(driver, address, size, stream); });
}

GCR_SIM_API cuMemAllocFromPoolAsync(DevicePointer *address, std::size_t size, Pool *pool, void *stream) {
  return call([&](Driver &driver) {
    pool_of(driver, pool);
    allocate_ordered(driver, address, size, stream);
  });
}

GCR_SIM_API cuMemFreeAsync(DevicePointer address, void *stream_handle) {
  return call([&](Driver &driver) {
    const auto allocation = driver.heap.find(address);
    require(allocation && allocation->address == address && allocation->kind != AllocationKind::variable, invalid_value);
    const auto stream = driver.stream(stream_handle);
    {
      const std::lock_guard lock(driver.graphs.mutex);
      require(!stream->capture, not_supported);
    }
    driver.submit(stream, [&driver, address] { driver.heap.free(address); });
  });
}

GCR_SIM_API cuMemPoolCreate(Pool **pool, const PoolProperties *properties) {
  return call([&](Driver &driver) {
    require(pool && properties, invalid_value);
    require(properties->type == 1 && properties->location.type == 1 && properties->location.id == 0, invalid_value);
    require(properties->handle_types == 0, not_supported);
    *pool = driver.pools.add(std::make_shared<Pool>());
  });
}

GCR_SIM_API cuMemPoolDestroy(Pool *pool) {
  return call([&](Driver &driver) {
    require(!pool_of(driver, pool)->standard, invalid_value);
    driver.pools.remove(pool, invalid_value);
  });
}

GCR_SIM_API cuMemPoolTrimTo(Pool *pool, std::size_t) {
  // Nothing is kept back.
  return call([&](Driver &driver) { pool_of(driver, pool); });
}

GCR_SIM_API cuMemPoolSetAttribute(Pool *pool, int attribute, void *value) {
  return call([&](Driver &driver) {
    const auto found = pool_of(driver, pool);
    require(value && attribute >= reuse_first && attribute <= pool_last, invalid_value);
    if (attribute <= reuse_last) found->reuse[attribute - reuse_first] = *static_cast<int *>(value);
    else if (attribute == release_threshold) found->release_threshold = *static_cast<std::uint64_t *>(value);
  });
}

GCR_SIM_API cuMemPoolGetAttribute(Pool *pool, int attribute, void *value) {
  return call([&](Driver &driver) {
    const auto found = pool_of(driver, pool);
    require(value && attribute >= reuse_first && attribute <= pool_last, invalid_value);
    if (attribute <= reuse_last) store(value, found->reuse[attribute - reuse_first]);
    else if (attribute == release_threshold) store(value, found->release_threshold);
    else fail(not_supported);  // counters
  });
}

GCR_SIM_API cuDeviceGetDefaultMemPool(Pool **pool, Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    require(pool, invalid_value);
    require(device == 0, invalid_device);
    *pool = driver.default_pool.get();
  });
}

GCR_SIM_API cuDeviceGetMemPool(Pool **pool, Device device) { return cuDeviceGetDefaultMemPool(pool, device); }

// --- virtual memory management ---

GCR_SIM_API cuMemGetAllocationGranularity(std::size_t *size, const AllocationProperties *properties, int) {
  return call<Need::initialized>([&](Driver &) {
    require(size, invalid_value);
    check_properties(properties);
    *size = granularity;
  });
}

GCR_SIM_API cuMemAddressReserve(DevicePointer *address, std::size_t size, std::size_t alignment, DevicePointer wanted,
                                unsigned long long flags) {
  return call([&](Driver &driver) {
    require(address && flags == 0, invalid_value);
    *address = driver.space.reserve(size, alignment, wanted);
  });
}

GCR_SIM_API cuMemAddressFree(DevicePointer address, std::size_t size) {
  return call([&](Driver &driver) {
    require(!driver.heap.owns(address), invalid_value);
    driver.space.free(address, size);
  });
}

GCR_SIM_API cuMemCreate(std::uint64_t *handle, std::size_t size, const AllocationProperties *properties,
                        unsigned long long flags) {
  return call([&](Driver &driver) {
    require(handle && flags == 0 && size > 0 && size % granularity == 0, invalid_value);
    check_properties(properties);
    *handle = driver.handles.add(Physical::create(driver.link, size, *properties));
  });
}

GCR_SIM_API cuMemRelease(std::uint64_t handle) {
  return call([&](Driver &driver) { driver.handles.release(handle); });
}

GCR_SIM_API cuMemMap(DevicePointer address, std::size_t size, std::size_t offset, std::uint64_t handle,
                     unsigned long long flags) {
  return call([&](Driver &driver) {
    require(flags == 0 && !driver.heap.owns(address), invalid_value);
    driver.space.map(address, size, offset, driver.handles.find(handle));
  });
}

GCR_SIM_API cuMemUnmap(DevicePointer address, std::size_t size) {
  return call([&](Driver &driver) {
    require(!driver.heap.owns(address), invalid_value);
    driver.space.unmap(address, size);
  });
}

GCR_SIM_API cuMemSetAccess(DevicePointer address, std::size_t size, const AccessDescriptor *descriptors,
                           std::size_t count) {
  return call([&](Driver &driver) {
    require(descriptors && count > 0 && !driver.heap.owns(address), invalid_value);
    for (std::size_t i = 0; i < count; ++i) {
      const auto &[location, flags] = descriptors[i];
      require(location.type == 1, not_supported);
      require(location.id == 0, invalid_device);
      require(flags == 0 || flags == 1 || flags == 3, invalid_value);
      driver.space.set_access(address, size, static_cast<Access>(flags));
    }
  });
}

GCR_SIM_API cuMemGetAccess(unsigned long long *flags, const MemoryLocation *location, DevicePointer address) {
  return call([&](Driver &driver) {
    require(flags && location && location->type == 1 && location->id == 0, invalid_value);
    *flags = static_cast<unsigned long long>(driver.space.access(address));
  });
}

GCR_SIM_API cuMemExportToShareableHandle(void *shareable, std::uint64_t handle, int type, unsigned long long flags) {
  return call([&](Driver &driver) {
    require(shareable && flags == 0 && type == handle_posix, invalid_value);
    const auto physical = driver.handles.find(handle);
    // Neither what was not made for it, nor what came from elsewhere, can be exported.
    require(physical->properties().handle_types & handle_posix, invalid_value);
    store(shareable, physical->share().release());
  });
}

GCR_SIM_API cuMemImportFromShareableHandle(std::uint64_t *handle, void *shareable, int type) {
  return call([&](Driver &driver) {
    require(handle && type == handle_posix, invalid_value);
    Descriptor copy(::dup(static_cast<int>(reinterpret_cast<std::intptr_t>(shareable))));
    require(static_cast<bool>(copy), invalid_value);
    constexpr AllocationProperties imported{1, 0, {1, 0}, nullptr, {}};
    *handle = driver.handles.add(Physical::import(std::move(copy), imported));
  });
}

GCR_SIM_API cuMemGetAllocationPropertiesFromHandle(AllocationProperties *properties, std::uint64_t handle) {
  return call([&](Driver &driver) {
    require(properties, invalid_value);
    *properties = driver.handles.find(handle)->properties();
  });
}

GCR_SIM_API cuMemRetainAllocationHandle(std::uint64_t *handle, void *address) {
  return call([&](Driver &driver) {
    const auto number = reinterpret_cast<DevicePointer>(address);
    require(handle && !driver.heap.owns(number), invalid_value);
    const auto mapped = driver.space.find(number);
    require(mapped.has_value(), invalid_value);
    *handle = driver.handles.retain(mapped->physical);
  });
}

// --- pointers ---

GCR_SIM_API cuPointerGetAttribute(void *value, int attribute, DevicePointer address) {
  return call([&](Driver &driver) {
    require(value, invalid_value);
    pointer_attribute(driver, value, attribute, address);
  });
}

GCR_SIM_API cuPointerGetAttributes(unsigned count, int *attributes, void **values, DevicePointer address) {
  return call([&](Driver &driver) {
    require(attributes && values, invalid_value);
    for (unsigned i = 0; i < count; ++i) {
      try {
        pointer_attribute(driver, values[i], attributes[i], address);
      } catch (const Failure &) {
        // What is not known of a pointer is zero here.
        if (attributes[i] == pointer_memory_type || attributes[i] == pointer_managed || attributes[i] == pointer_ordinal ||
            attributes[i] == pointer_sync) {
          store<unsigned>(values[i], attributes[i] == pointer_ordinal ? 0xfffffffe : 0);
        } else {
          store<void *>(values[i], nullptr);
        }
      }
    }
  });
}

GCR_SIM_API cuPointerSetAttribute(const void *, int attribute, DevicePointer address) {
  return call([&](Driver &driver) {
    require(attribute == pointer_sync, invalid_value);
    require(driver.space.find(address).has_value(), invalid_value);
  });
}
