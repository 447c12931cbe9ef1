// What is done about each intercepted call; one function a handler of hooks.def. `call(...)` is the driver's own function. The order is the
// protocol's: what may write is told before the call, what appears after it and before it returns.
#pragma once

#include <algorithm>
#include <type_traits>

#include "recorder/contracts.h"
#include "recorder/recorder.h"

namespace gcr {

// One intercepted call under way.
template <class Real>
struct Call {
  Real *real;
  bool per_thread;
  Recorder &recorder;
  ThreadState &thread;
  bool called = false;
  Result outcome = result::success;

  template <class... Arguments>
  Result operator()(Arguments... arguments) {
    called = true;
    thread.in_driver = true;
    outcome = real(arguments...);
    thread.in_driver = false;
    return outcome;
  }
  std::uint64_t stream(Stream handle) { return recorder.streams.number(thread, handle, per_thread); }
  // Whether what is submitted to the stream is to be told now.
  bool tells(Stream handle) { return recorder.emitter.tells_writes() && !recorder.captured(handle, per_thread); }
};

namespace handlers {

using Pointer = DevicePointer;
using Size = std::size_t;

inline bool good(Result outcome) { return outcome == result::success; }

// ---- contexts

Result context_create(auto &call, Context *context, unsigned flags, Device device) {
  const Result outcome = call(context, flags, device);
  if (good(outcome)) call.recorder.context_created(*context);
  return outcome;
}
Result context_create_v3(auto &call, Context *context, void *affinity, int count, unsigned flags, Device device) {
  const Result outcome = call(context, affinity, count, flags, device);
  if (good(outcome)) call.recorder.context_created(*context);
  return outcome;
}
Result context_create_v4(auto &call, Context *context, void *parameters, unsigned flags, Device device) {
  const Result outcome = call(context, parameters, flags, device);
  if (good(outcome)) call.recorder.context_created(*context);
  return outcome;
}
Result context_from_green(auto &call, Context *context, GreenContext green) {
  const Result outcome = call(context, green);
  if (good(outcome)) call.recorder.context_created(*context);
  return outcome;
}
Result context_destroy(auto &call, Context context) {
  const Result outcome = call(context);
  if (good(outcome)) call.recorder.memory.context_destroyed(context);
  return outcome;
}
Result primary_retain(auto &call, Context *context, Device device) {
  const Result outcome = call(context, device);
  if (good(outcome)) call.recorder.context_created(*context);
  return outcome;
}
// Releasing the last reference, or resetting, ends the context.
Result primary_end(auto &call, Device device) {
  const Driver &driver = call.recorder.driver;
  Context context = nullptr;
  unsigned flags = 0;
  int active = 0;
  const bool known = driver.cuDevicePrimaryCtxGetState && driver.cuDevicePrimaryCtxRelease &&
                     good(driver.cuDevicePrimaryCtxGetState(device, &flags, &active)) && active &&
                     good(driver.cuDevicePrimaryCtxRetain(&context, device));
  if (known) driver.cuDevicePrimaryCtxRelease(device);
  const Result outcome = call(device);
  if (good(outcome) && known && good(driver.cuDevicePrimaryCtxGetState(device, &flags, &active)) && !active)
    call.recorder.memory.context_destroyed(context);
  return outcome;
}
Result enable_peer(auto &call, Context peer, unsigned flags) {
  const Result outcome = call(peer, flags);
  if (good(outcome)) call.recorder.memory.peer_enabled(peer);
  return outcome;
}

// ---- modules

Result module_load(auto &call, Module *module, const char *path) {
  const Result outcome = call(module, path);
  if (good(outcome)) call.recorder.modules.loaded_file(*module, path);
  return outcome;
}
Result module_load_data(auto &call, Module *module, const void *image) {
  const Result outcome = call(module, image);
  if (good(outcome)) call.recorder.modules.loaded(*module, image);
  return outcome;
}
Result module_load_data_ex(auto &call, Module *module, const void *image, unsigned count, int *options, void **values) {
  const Result outcome = call(module, image, count, options, values);
  if (good(outcome)) call.recorder.modules.loaded(*module, image);
  return outcome;
}
Result module_unload(auto &call, Module module) {
  call.recorder.modules.unloaded(module);
  return call(module);
}
Result library_load_data(auto &call, Library *library, const void *image, int *jit_options, void **jit_values, unsigned jit_count,
                         int *options, void **values, unsigned count) {
  const Result outcome = call(library, image, jit_options, jit_values, jit_count, options, values, count);
  if (good(outcome)) {
    call.recorder.modules.is_library(*library);
    call.recorder.modules.loaded(*library, image);
  }
  return outcome;
}
Result library_load_file(auto &call, Library *library, const char *path, int *jit_options, void **jit_values, unsigned jit_count,
                         int *options, void **values, unsigned count) {
  const Result outcome = call(library, path, jit_options, jit_values, jit_count, options, values, count);
  if (good(outcome)) {
    call.recorder.modules.is_library(*library);
    call.recorder.modules.loaded_file(*library, path);
  }
  return outcome;
}
Result library_unload(auto &call, Library library) {
  call.recorder.modules.unloaded(library);
  return call(library);
}
Result library_get_module(auto &call, Module *module, Library library) {
  const Result outcome = call(module, library);
  if (good(outcome)) call.recorder.modules.module_of(*module, library);
  return outcome;
}
Result module_get_function(auto &call, Function *function, Module module, const char *name) {
  const Result outcome = call(function, module, name);
  if (good(outcome)) call.recorder.modules.function_of(*function, module, name);
  return outcome;
}
Result library_get_kernel(auto &call, Kernel *kernel, Library library, const char *name) {
  const Result outcome = call(kernel, library, name);
  if (good(outcome)) call.recorder.modules.kernel_of(*kernel, library, name);
  return outcome;
}
Result library_enumerate(auto &call, Kernel *kernels, unsigned count, Library library) {
  const Result outcome = call(kernels, count, library);
  for (unsigned i = 0; good(outcome) && i < count && kernels[i]; ++i) {
    const char *name = nullptr;
    if (call.recorder.driver.cuKernelGetName && good(call.recorder.driver.cuKernelGetName(&name, kernels[i])) && name)
      call.recorder.modules.kernel_of(kernels[i], library, name);
  }
  return outcome;
}
[[gnu::hot]] Result kernel_get_function(auto &call, Function *function, Kernel kernel) {
  // A launch comes next, as a rule.
  call.recorder.emitter.prepare();
  const Result outcome = call(function, kernel);
  if (good(outcome)) call.recorder.modules.function_of_kernel(call.thread, *function, kernel);
  return outcome;
}
// The place is asked for whatever of it the program wants to know. `holder`: a module or a library.
Result get_global(auto &call, Pointer *address, Size *size, auto holder, const char *name) {
  Pointer place = 0;
  Size bytes = 0;
  const Result outcome = call(&place, &bytes, holder, name);
  if (address) *address = place;
  if (size) *size = bytes;
  if (good(outcome)) call.recorder.modules.variable(holder, name, place, bytes);
  return outcome;
}
Result module_get_global(auto &call, Pointer *address, Size *size, Module module, const char *name) {
  return get_global(call, address, size, module, name);
}
Result library_get_global(auto &call, Pointer *address, Size *size, Library library, const char *name) {
  return get_global(call, address, size, library, name);
}
Result link_add_data(auto &call, LinkState state, int type, void *data, Size size, const char *name, unsigned count, int *options,
                     void **values) {
  const Result outcome = call(state, type, data, size, name, count, options, values);
  if (good(outcome)) call.recorder.modules.link_input(state, type, data, size);
  return outcome;
}
Result link_add_file(auto &call, LinkState state, int type, const char *path, unsigned count, int *options, void **values) {
  const Result outcome = call(state, type, path, count, options, values);
  if (good(outcome)) call.recorder.modules.link_file(state, type, path);
  return outcome;
}
Result link_complete(auto &call, LinkState state, void **image, Size *size) {
  const Result outcome = call(state, image, size);
  if (good(outcome)) call.recorder.modules.linked(state, *image);
  return outcome;
}
Result link_destroy(auto &call, LinkState state) {
  call.recorder.modules.link_ended(state);
  return call(state);
}

// ---- launches

// Of a launch whose parameters lie in one piece, or are not all known.
[[gnu::noinline]] void tell_gathered_launch(auto &call, const LaunchShape &shape, const FunctionRecord &record, const LaunchHead &head, std::uint16_t flags) {
  std::vector<std::uint8_t> parameters;
  if (!gather_parameters(record, shape.parameters, shape.extra, parameters)) flags |= launch_incomplete;
  const std::uint64_t stream = call.stream(shape.stream);
  if (call.recorder.emitter.write(LaunchEvent{head, parameters}, stream, flags)) return;
  call.recorder.emitter.write(LaunchEvent{head, {}}, stream, flags | launch_incomplete);  // larger than an event may be
}
// Tells a launch: straight into the ring, without memory of its own.
[[gnu::hot]] void tell_launch(auto &call, const LaunchShape &shape) {
  if (!call.tells(shape.stream)) return;
  if (hot.quiet.load(std::memory_order_relaxed)) {
    call.thread.slot->count();
    return;
  }
  call.recorder.emitter.prepare();
  const FunctionRecord &record = call.recorder.modules.function(call.thread, shape.function);
  LaunchHead head = launch_head(record, shape.grid, shape.block, shape.cluster, shape.shared_memory);
  if (LibraryCall *in = LibraryCall::described(call.thread)) head.call = in->tell(call.recorder.emitter, call.thread);
  const std::uint16_t flags = (shape.cooperative ? launch_cooperative : 0) | (shape.unclear ? launch_incomplete : 0);
  if (shape.extra || !shape.parameters || record.parameter_bytes == unknown_parameter_bytes)
    return tell_gathered_launch(call, shape, record, head, flags);
  call.recorder.emitter.write(BasicLaunchEvent<ParametersInPlace>{head, {&record, shape.parameters}}, call.stream(shape.stream), flags);
}
// Whether a call of these handlers is nothing but one launch of a kernel, with which nothing is to be done while launches are only counted.
constexpr bool is_launch(std::string_view handler) { return handler == "launch_kernel" || handler == "launch_kernel_ex"; }
inline bool only_launches(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **) { return true; }
inline bool only_launches(const LaunchConfiguration *configuration, Function, void **, void **) {
  return configuration && configuration->attribute_count == 0;
}
// After a launch: inside of a library's call it may have become a node of a graph.
[[gnu::hot]] Result launched(auto &call, Stream stream, Result outcome) {
  LibraryCall *in = LibraryCall::described(call.thread);
  if (in && good(outcome) && call.recorder.captured(stream, call.per_thread))
    call.recorder.graphs.captured(call.thread, !stream && call.per_thread ? stream_per_thread : stream, *in);
  return outcome;
}
[[gnu::hot]] Result launch_kernel(auto &call, Function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                     unsigned shared, Stream stream, void **parameters, void **extra) {
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  tell_launch(call, {function, grid, block, shared, stream, {}, false, parameters, extra});
  return launched(call, stream, call(function, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra));
}
[[gnu::hot]] Result launch_kernel_ex(auto &call, const LaunchConfiguration *configuration, Function function, void **parameters, void **extra) {
  if (!configuration) return call(configuration, function, parameters, extra);
  LaunchShape shape{function,   configuration->grid, configuration->block, configuration->shared_memory, configuration->stream, {},
                    false,      parameters,          extra};
  for (unsigned i = 0; configuration->attributes && i < configuration->attribute_count; ++i) {
    const LaunchAttribute &attribute = configuration->attributes[i];
    if (attribute.id == attribute_cluster) std::memcpy(shape.cluster, attribute.value.cluster, sizeof(shape.cluster));
    if (attribute.id == attribute_cooperative) shape.cooperative = attribute.value.cooperative != 0;
    // Each cluster then has one of two sizes.
    if (attribute.id == attribute_preferred_cluster) shape.unclear = true;
    if (attribute.id == attribute_programmatic_event || attribute.id == attribute_completion_event)
      call.recorder.streams.destroyed(attribute.value.event);
  }
  tell_launch(call, shape);
  return launched(call, configuration->stream, call(configuration, function, parameters, extra));
}
Result function_set_attribute(auto &call, Function function, int attribute, int value) {
  const Result outcome = call(function, attribute, value);
  if (good(outcome) && attribute >= required_cluster_width && attribute <= required_cluster_depth) call.recorder.modules.changed(function);
  return outcome;
}
Result kernel_set_attribute(auto &call, int attribute, int value, Kernel kernel, Device device) {
  const Result outcome = call(attribute, value, kernel, device);
  if (good(outcome) && attribute >= required_cluster_width && attribute <= required_cluster_depth)
    call.recorder.modules.changed(reinterpret_cast<Function>(kernel));
  return outcome;
}
Result launch_cooperative(auto &call, Function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                          unsigned shared, Stream stream, void **parameters) {
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  tell_launch(call, {function, grid, block, shared, stream, {}, true, parameters, nullptr});
  return launched(call, stream, call(function, gx, gy, gz, bx, by, bz, shared, stream, parameters));
}
Result launch_multi_device(auto &call, CooperativeLaunch *launches, unsigned count, unsigned flags) {
  for (unsigned i = 0; launches && i < count; ++i) {
    const CooperativeLaunch &one = launches[i];
    tell_launch(call, {one.function, one.grid, one.block, one.shared_memory, one.stream, {}, true, one.parameters, nullptr});
  }
  return call(launches, count, flags);
}
// Their parameters were set by calls of their own.
Result launch_old(auto &call, Function function) {
  call.recorder.emitter.write(WroteEvent{0, 0, "a launch by cuLaunch"});
  return call(function);
}
Result launch_old_grid(auto &call, Function function, int width, int height) {
  call.recorder.emitter.write(WroteEvent{0, 0, "a launch by cuLaunchGrid"});
  return call(function, width, height);
}
Result launch_old_grid_async(auto &call, Function function, int width, int height, Stream stream) {
  call.recorder.emitter.write(WroteEvent{0, 0, "a launch by cuLaunchGridAsync"}, call.stream(stream));
  return call(function, width, height, stream);
}

// ---- memory

Result mem_alloc(auto &call, Pointer *address, Size size) {
  if (address && call.recorder.memory.allocate(address, size)) return result::success;
  return call.recorder.memory.tell_new([&] { return call(address, size); }, address, size, AllocationKind::device, true);
}
Result mem_alloc_pitch(auto &call, Pointer *address, Size *pitch, Size width, Size height, unsigned element) {
  const bool legal = element == 4 || element == 8 || element == 16;
  if (address && pitch && legal && call.recorder.memory.allocate_pitch(address, pitch, width, height)) return result::success;
  Size wide = 0;
  const Result outcome = call(address, &wide, width, height, element);
  if (pitch) *pitch = wide;
  if (!good(outcome)) return outcome;
  return call.recorder.memory.tell_new([] { return result::success; }, address, wide * height, AllocationKind::device, true);
}
Result mem_free(auto &call, Pointer address) {
  Result outcome = result::success;
  if (call.recorder.memory.release(address, &outcome)) return outcome;
  return call.recorder.memory.tell_end([&] { return call(address); }, address);
}
Result mem_get_address_range(auto &call, Pointer *base, Size *size, Pointer address) {
  if (call.recorder.memory.range_of(address, base, size)) return result::success;
  return call(base, size, address);
}
constexpr int attribute_context = 1, attribute_ipc_capable = 10, attribute_range_start = 11, attribute_range_size = 12;
inline void correct_attribute(Recorder &recorder, int attribute, void *value, Pointer address) {
  Pointer base = 0;
  Size size = 0;
  if (value && attribute == attribute_context)
    if (const Context owner = recorder.memory.owner_of(address)) std::memcpy(value, &owner, sizeof(owner));
  // A truth, of as many bytes as the driver has written.
  if (value && attribute == attribute_ipc_capable && recorder.memory.is_shareable(address)) *static_cast<std::uint8_t *>(value) = 1;
  if (!value || (attribute != attribute_range_start && attribute != attribute_range_size)) return;
  if (!recorder.memory.range_of(address, &base, &size)) return;
  if (attribute == attribute_range_start) std::memcpy(value, &base, sizeof(base));
  else std::memcpy(value, &size, sizeof(size));
}
Result pointer_get_attribute(auto &call, void *value, int attribute, Pointer address) {
  const Result outcome = call(value, attribute, address);
  if (good(outcome)) correct_attribute(call.recorder, attribute, value, address);
  return outcome;
}
Result pointer_get_attributes(auto &call, unsigned count, int *attributes, void **values, Pointer address) {
  const Result outcome = call(count, attributes, values, address);
  for (unsigned i = 0; good(outcome) && i < count; ++i) correct_attribute(call.recorder, attributes[i], values[i], address);
  return outcome;
}
Result mem_alloc_managed(auto &call, Pointer *address, Size size, unsigned flags) {
  const Result outcome = call.recorder.memory.tell_new([&] { return call(address, size, flags); }, address, size, AllocationKind::managed, true);
  if (good(outcome)) call.recorder.pinned.add(reinterpret_cast<void *>(*address), size);
  return outcome;
}
Result mem_alloc_async(auto &call, Pointer *address, Size size, Stream stream) {
  const bool saveable = !call.recorder.captured(stream, call.per_thread);  // a graph's memory is there only while the graph runs
  return call.recorder.memory.tell_new([&] { return call(address, size, stream); }, address, size, AllocationKind::pool, saveable);
}
Result mem_alloc_from_pool(auto &call, Pointer *address, Size size, Pool pool, Stream stream) {
  const bool saveable = !call.recorder.captured(stream, call.per_thread);
  return call.recorder.memory.tell_new([&] { return call(address, size, pool, stream); }, address, size, AllocationKind::pool, saveable);
}
Result mem_free_async(auto &call, Pointer address, Stream stream) {
  Result outcome = result::success;
  // Memory of ours, which the driver does not know by this name: freed now, which is later than asked for and so always right. Not while a
  // capture waits for the answer as a node.
  if (!call.recorder.captured(stream, call.per_thread) && call.recorder.memory.release(address, &outcome)) return outcome;
  return call.recorder.memory.tell_end([&] { return call(address, stream); }, address);
}
Result pool_import_pointer(auto &call, Pointer *address, Pool pool, void *data) {
  return call.recorder.memory.tell_new([&] { return call(address, pool, data); }, address, 1, AllocationKind::imported, false);
}
// What another process may write from now on; when the driver refused, it cannot.
Result shares(auto &call, Result outcome, const char *reason) {
  if (good(outcome)) call.recorder.emitter.share(reason);
  return outcome;
}
Result pool_export_pointer(auto &call, void *data, Pointer address) {
  return shares(call, call(data, address), "memory is shared with another process (cuMemPoolExportPointer)");
}
constexpr unsigned ipc_peer_access = 1;
Result ipc_open(auto &call, Pointer *address, IpcHandle handle, unsigned flags) {
  if (const auto name = Sharing::name_in(handle)) {
    if (!address || flags > ipc_peer_access) return result::invalid_value;
    return call.outcome = call.recorder.memory.open_shared(*name, address);
  }
  return call.recorder.memory.tell_new([&] { return call(address, handle, flags); }, address, 1, AllocationKind::imported, false);
}
Result ipc_close(auto &call, Pointer address) {
  Result outcome = result::success;
  if (call.recorder.memory.close_shared(address, &outcome)) return outcome;
  return call.recorder.memory.tell_end([&] { return call(address); }, address);
}
Result ipc_get(auto &call, void *handle, Pointer address) {
  Result outcome = result::success;
  const bool ours = handle && call.recorder.memory.share(address, *static_cast<IpcHandle *>(handle), &outcome);
  return shares(call, ours ? outcome : call(handle, address), "memory is shared with another process (cuIpcGetMemHandle)");
}
Result external_buffer(auto &call, Pointer *address, ExternalMemory memory, const ExternalBuffer *buffer) {
  const Size size = buffer ? buffer->size : 0;
  return call.recorder.memory.tell_new([&] { return call(address, memory, buffer); }, address, size, AllocationKind::imported, false);
}
Result graphics_pointer(auto &call, Pointer *address, Size *size, void *resource) {
  Size bytes = 0;
  const Result outcome = call(address, &bytes, resource);
  if (size) *size = bytes;
  if (!good(outcome)) return outcome;
  return call.recorder.memory.tell_new([] { return result::success; }, address, bytes, AllocationKind::imported, false);
}
Result array_create(auto &call, Array *array, const void *description) {
  const Result outcome = call(array, description);
  if (good(outcome)) call.recorder.memory.array_created(*array);
  return outcome;
}
Result array_destroy(auto &call, Array array) {
  const Result outcome = call(array);
  if (good(outcome)) call.recorder.memory.array_destroyed(array);
  return outcome;
}
Result mipmap_create(auto &call, MipmappedArray *array, const void *description, unsigned levels) {
  const Result outcome = call(array, description, levels);
  if (good(outcome)) call.recorder.memory.array_created(*array);
  return outcome;
}
Result mipmap_destroy(auto &call, MipmappedArray array) {
  const Result outcome = call(array);
  if (good(outcome)) call.recorder.memory.array_destroyed(array);
  return outcome;
}
Result host_alloc(auto &call, void **place, Size size, unsigned flags) {
  const Result outcome = call(place, size, flags);
  if (good(outcome)) call.recorder.pinned.add(*place, size);
  return outcome;
}
Result host_alloc_plain(auto &call, void **place, Size size) {
  const Result outcome = call(place, size);
  if (good(outcome)) call.recorder.pinned.add(*place, size);
  return outcome;
}
Result host_register(auto &call, void *place, Size size, unsigned flags) {
  const Result outcome = call(place, size, flags);
  if (good(outcome)) call.recorder.pinned.add(place, size);
  return outcome;
}
Result host_end(auto &call, void *place) {
  const Result outcome = call(place);
  if (good(outcome)) call.recorder.pinned.remove(place);
  return outcome;
}

Result mem_create(auto &call, Handle *handle, Size size, const AllocationProperties *properties, unsigned long long flags) {
  if (!handle || !properties) return call(handle, size, properties, flags);
  return call.recorder.memory.create(handle, size, properties,
                                     [&](Handle *to, const AllocationProperties *wanted) { return call(to, size, wanted, flags); });
}
Result mem_release(auto &call, Handle handle) { return call.outcome = call.recorder.memory.release_handle(handle); }
Result mem_map(auto &call, Pointer address, Size size, Size offset, Handle handle, unsigned long long flags) {
  return call.outcome = call.recorder.memory.map(address, size, offset, handle, flags);
}
Result mem_unmap(auto &call, Pointer address, Size size) { return call.outcome = call.recorder.memory.unmap(address, size); }
Result mem_set_access(auto &call, Pointer address, Size size, const AccessDescriptor *access, Size count) {
  const Result outcome = call(address, size, access, count);
  if (good(outcome)) call.recorder.memory.access_set(address, size, access, count);
  return outcome;
}
// What the program made without asking for it is exportable for us alone.
Result mem_export(auto &call, void *exported, Handle handle, int type, unsigned long long flags) {
  if (type == handle_file_descriptor && !(call.recorder.memory.handle_types(handle, type) & type)) return result::invalid_value;
  const Result outcome = call(exported, call.recorder.memory.actual(handle), type, flags);
  const char *reason = "memory is shared with another process (cuMemExportToShareableHandle)";
  if (call.recorder.memory.is_on_device(handle)) return shares(call, outcome, reason);
  if (good(outcome)) call.recorder.emitter.stop_writes(reason);
  return outcome;
}
Result mem_import(auto &call, Handle *handle, void *exported, int type) {
  const Result outcome = call(handle, exported, type);
  if (good(outcome)) call.recorder.memory.imported(handle);
  return outcome;
}
Result mem_properties(auto &call, AllocationProperties *properties, Handle handle) {
  const Result outcome = call(properties, call.recorder.memory.actual(handle));
  if (good(outcome)) properties->handle_types = call.recorder.memory.handle_types(handle, properties->handle_types);
  return outcome;
}
Result mem_retain(auto &call, Handle *handle, void *address) {
  const Result outcome = call(handle, address);
  if (good(outcome)) call.recorder.memory.retained(handle);
  return outcome;
}
Result mem_map_array(auto &call, void *list, unsigned count, Stream stream) {
  call.recorder.emitter.stop_writes("sparse arrays are mapped (cuMemMapArrayAsync)");
  return call(list, count, stream);
}
Result multicast_create(auto &call, Handle *handle, const void *properties) {
  call.recorder.emitter.stop_writes("memory is written by multicast (cuMulticastCreate)");
  return call(handle, properties);
}
Result multicast_bind(auto &call, Handle multicast, Size multicast_offset, Handle handle, Size offset, Size size, unsigned long long flags) {
  return call(multicast, multicast_offset, call.recorder.memory.actual(handle), offset, size, flags);
}

// ---- copies

inline CopyTarget row(Pointer address, Size size) { return {address, size, size, 1, 1, size}; }

void tell_copy(auto &call, Pointer target, Pointer source, Size size, Stream stream) {
  if (size && call.tells(stream)) call.recorder.emitter.write(CopyEvent{row(target, size), source}, call.stream(stream));
}
// What comes from the host is told when it cannot change before it arrives: small, and not in memory that a device reads later.
void tell_copy_in(auto &call, Pointer target, const void *source, Size size, Stream stream, bool asynchronous) {
  if (!size || !call.tells(stream)) return;
  CopyInEvent event{row(target, size), {}};
  if (size <= copy_in_most_bytes && source && !(asynchronous && call.recorder.pinned.touches(source, size)) &&
      !call.recorder.memory.is_followed(reinterpret_cast<Pointer>(source)))
    event.content = {static_cast<const std::uint8_t *>(source), size};
  call.recorder.emitter.write(event, call.stream(stream));
}
// To the host: of interest only where the host's address is memory that we follow.
void tell_copy_out(auto &call, void *target, Pointer source, Size size, Stream stream) {
  if (call.recorder.memory.is_followed(reinterpret_cast<Pointer>(target)))
    tell_copy(call, reinterpret_cast<Pointer>(target), source, size, stream);
}
void tell_shape(auto &call, const Copy3D &copy, Stream stream) {
  CopyEvent event;
  bool scattered = false, from_device = false;
  const bool to_device = describe_copy(copy, event, &scattered, &from_device);
  if (!call.tells(stream)) return;
  if (!to_device) {
    // To the host, but that may be managed memory: its rows lie between the first and the last.
    const auto &to = copy.target;
    const auto address = reinterpret_cast<Pointer>(to.host);
    if (to.memory_type == memory_host && call.recorder.memory.is_followed(address))
      call.recorder.emitter.write(WroteEvent{0, 0, "a copy of several rows to managed memory"}, call.stream(stream));
  } else if (from_device) {
    call.recorder.emitter.write(event, call.stream(stream), scattered ? copy_scattered : 0);
  } else {
    call.recorder.emitter.write(CopyInEvent{event.target, {}}, call.stream(stream));
  }
}

Result copy_any(auto &call, Pointer target, Pointer source, Size size) {
  tell_copy(call, target, source, size, nullptr);
  return call(target, source, size);
}
Result copy_any_async(auto &call, Pointer target, Pointer source, Size size, Stream stream) {
  tell_copy(call, target, source, size, stream);
  return call(target, source, size, stream);
}
Result copy_peer(auto &call, Pointer target, Context target_context, Pointer source, Context source_context, Size size) {
  tell_copy(call, target, source, size, nullptr);
  return call(target, target_context, source, source_context, size);
}
Result copy_peer_async(auto &call, Pointer target, Context target_context, Pointer source, Context source_context, Size size, Stream stream) {
  tell_copy(call, target, source, size, stream);
  return call(target, target_context, source, source_context, size, stream);
}
Result copy_htod(auto &call, Pointer target, const void *source, Size size) {
  tell_copy_in(call, target, source, size, nullptr, false);
  return call(target, source, size);
}
Result copy_htod_async(auto &call, Pointer target, const void *source, Size size, Stream stream) {
  tell_copy_in(call, target, source, size, stream, true);
  return call(target, source, size, stream);
}
Result copy_dtoh(auto &call, void *target, Pointer source, Size size) {
  tell_copy_out(call, target, source, size, nullptr);
  return call(target, source, size);
}
Result copy_dtoh_async(auto &call, void *target, Pointer source, Size size, Stream stream) {
  tell_copy_out(call, target, source, size, stream);
  return call(target, source, size, stream);
}
Result copy_dtod(auto &call, Pointer target, Pointer source, Size size) {
  tell_copy(call, target, source, size, nullptr);
  return call(target, source, size);
}
Result copy_dtod_async(auto &call, Pointer target, Pointer source, Size size, Stream stream) {
  tell_copy(call, target, source, size, stream);
  return call(target, source, size, stream);
}
Result copy_atod(auto &call, Pointer target, Array source, Size offset, Size size) {
  if (size && call.tells(nullptr)) call.recorder.emitter.write(CopyInEvent{row(target, size), {}}, call.stream(nullptr));
  return call(target, source, offset, size);
}
// Arrays have no address and cannot be saved: only the gate matters.
Result copy_dtoa(auto &call, Array target, Size offset, Pointer source, Size size) { return call(target, offset, source, size); }
Result copy_htoa(auto &call, Array target, Size offset, const void *source, Size size) { return call(target, offset, source, size); }
Result copy_atoh(auto &call, void *target, Array source, Size offset, Size size) { return call(target, source, offset, size); }
Result copy_atoa(auto &call, Array target, Size to, Array source, Size offset, Size size) { return call(target, to, source, offset, size); }
Result copy_htoa_async(auto &call, Array target, Size offset, const void *source, Size size, Stream stream) {
  return call(target, offset, source, size, stream);
}
Result copy_atoh_async(auto &call, void *target, Array source, Size offset, Size size, Stream stream) {
  return call(target, source, offset, size, stream);
}
Result copy_2d(auto &call, const Copy2D *copy) {
  if (copy) tell_shape(call, widened(*copy), nullptr);
  return call(copy);
}
Result copy_2d_async(auto &call, const Copy2D *copy, Stream stream) {
  if (copy) tell_shape(call, widened(*copy), stream);
  return call(copy, stream);
}
Result copy_3d(auto &call, const Copy3D *copy) {
  if (copy) tell_shape(call, *copy, nullptr);
  return call(copy);
}
Result copy_3d_async(auto &call, const Copy3D *copy, Stream stream) {
  if (copy) tell_shape(call, *copy, stream);
  return call(copy, stream);
}
void tell_batch(auto &call, const Pointer *targets, const Pointer *sources, const Size *sizes, Size count, Stream stream) {
  for (Size i = 0; targets && sources && sizes && i < count; ++i) tell_copy(call, targets[i], sources[i], sizes[i], stream);
}
Result copy_batch_v1(auto &call, Pointer *targets, Pointer *sources, Size *sizes, Size count, void *attributes, Size *indices,
                     Size attribute_count, Size *failed, Stream stream) {
  tell_batch(call, targets, sources, sizes, count, stream);
  return call(targets, sources, sizes, count, attributes, indices, attribute_count, failed, stream);
}
Result copy_batch_v2(auto &call, Pointer *targets, Pointer *sources, Size *sizes, Size count, void *attributes, Size *indices,
                     Size attribute_count, Stream stream) {
  tell_batch(call, targets, sources, sizes, count, stream);
  return call(targets, sources, sizes, count, attributes, indices, attribute_count, stream);
}
void tell_anything(auto &call, Stream stream, const char *reason) {
  if (call.tells(stream)) call.recorder.emitter.write(WroteEvent{0, 0, reason}, call.stream(stream));
}
Result copy_3d_batch_v1(auto &call, Size count, void *operations, Size *failed, unsigned long long flags, Stream stream) {
  tell_anything(call, stream, "cuMemcpy3DBatchAsync");
  return call(count, operations, failed, flags, stream);
}
Result copy_3d_batch_v2(auto &call, Size count, void *operations, unsigned long long flags, Stream stream) {
  tell_anything(call, stream, "cuMemcpy3DBatchAsync");
  return call(count, operations, flags, stream);
}
Result decompress(auto &call, void *operations, Size count, unsigned flags, Size *failed, Stream stream) {
  tell_anything(call, stream, "cuMemBatchDecompressAsync");
  return call(operations, count, flags, failed, stream);
}
void tell_discard(auto &call, const Pointer *addresses, const Size *sizes, Size count, Stream stream) {
  for (Size i = 0; addresses && sizes && i < count; ++i)
    if (sizes[i] && call.tells(stream)) call.recorder.emitter.write(WroteEvent{addresses[i], sizes[i], "discarded"}, call.stream(stream));
}
Result discard(auto &call, Pointer *addresses, Size *sizes, Size count, unsigned long long flags, Stream stream) {
  tell_discard(call, addresses, sizes, count, stream);
  return call(addresses, sizes, count, flags, stream);
}
Result discard_prefetch(auto &call, Pointer *addresses, Size *sizes, Size count, void *locations, Size *indices, Size location_count,
                        unsigned long long flags, Stream stream) {
  tell_discard(call, addresses, sizes, count, stream);
  return call(addresses, sizes, count, locations, indices, location_count, flags, stream);
}

// ---- memsets; `count` and `width` are elements

void tell_memset(auto &call, Pointer target, Size pitch, unsigned value, unsigned element, Size width, Size height, Stream stream) {
  if (!width || !height || !call.tells(stream)) return;
  const Size bytes = width * element;
  call.recorder.emitter.write(MemsetEvent{target, height > 1 ? pitch : bytes, bytes, height, value, element}, call.stream(stream));
}
Result set_8(auto &call, Pointer target, unsigned char value, Size count) {
  tell_memset(call, target, 0, value, 1, count, 1, nullptr);
  return call(target, value, count);
}
Result set_16(auto &call, Pointer target, unsigned short value, Size count) {
  tell_memset(call, target, 0, value, 2, count, 1, nullptr);
  return call(target, value, count);
}
Result set_32(auto &call, Pointer target, unsigned value, Size count) {
  tell_memset(call, target, 0, value, 4, count, 1, nullptr);
  return call(target, value, count);
}
Result set_2d_8(auto &call, Pointer target, Size pitch, unsigned char value, Size width, Size height) {
  tell_memset(call, target, pitch, value, 1, width, height, nullptr);
  return call(target, pitch, value, width, height);
}
Result set_2d_16(auto &call, Pointer target, Size pitch, unsigned short value, Size width, Size height) {
  tell_memset(call, target, pitch, value, 2, width, height, nullptr);
  return call(target, pitch, value, width, height);
}
Result set_2d_32(auto &call, Pointer target, Size pitch, unsigned value, Size width, Size height) {
  tell_memset(call, target, pitch, value, 4, width, height, nullptr);
  return call(target, pitch, value, width, height);
}
Result set_8_async(auto &call, Pointer target, unsigned char value, Size count, Stream stream) {
  tell_memset(call, target, 0, value, 1, count, 1, stream);
  return call(target, value, count, stream);
}
Result set_16_async(auto &call, Pointer target, unsigned short value, Size count, Stream stream) {
  tell_memset(call, target, 0, value, 2, count, 1, stream);
  return call(target, value, count, stream);
}
Result set_32_async(auto &call, Pointer target, unsigned value, Size count, Stream stream) {
  tell_memset(call, target, 0, value, 4, count, 1, stream);
  return call(target, value, count, stream);
}
Result set_2d_8_async(auto &call, Pointer target, Size pitch, unsigned char value, Size width, Size height, Stream stream) {
  tell_memset(call, target, pitch, value, 1, width, height, stream);
  return call(target, pitch, value, width, height, stream);
}
Result set_2d_16_async(auto &call, Pointer target, Size pitch, unsigned short value, Size width, Size height, Stream stream) {
  tell_memset(call, target, pitch, value, 2, width, height, stream);
  return call(target, pitch, value, width, height, stream);
}
Result set_2d_32_async(auto &call, Pointer target, Size pitch, unsigned value, Size width, Size height, Stream stream) {
  tell_memset(call, target, pitch, value, 4, width, height, stream);
  return call(target, pitch, value, width, height, stream);
}

// ---- streams and events

Result stream_create(auto &call, Stream *stream, unsigned flags) {
  const Result outcome = call(stream, flags);
  if (good(outcome)) call.recorder.streams.created(*stream, flags);
  return outcome;
}
Result stream_create_priority(auto &call, Stream *stream, unsigned flags, int priority) {
  const Result outcome = call(stream, flags, priority);
  if (good(outcome)) call.recorder.streams.created(*stream, flags);
  return outcome;
}
Result stream_create_green(auto &call, Stream *stream, GreenContext green, unsigned flags, int priority) {
  const Result outcome = call(stream, green, flags, priority);
  if (good(outcome)) call.recorder.streams.created(*stream, flags);
  return outcome;
}
Result stream_destroy(auto &call, Stream stream) {
  call.recorder.streams.destroyed(stream);
  return call(stream);
}
// Also cuStreamQuery, which succeeds when the stream is empty.
Result stream_synchronize(auto &call, Stream stream) {
  const Result outcome = call(stream);
  if (good(outcome)) call.recorder.emitter.write(OrderedEvent{}, call.stream(stream), ordered_one_stream);
  return outcome;
}
Result stream_wait_event(auto &call, Stream stream, Event event, unsigned flags) {
  const Result outcome = call(stream, event, flags);
  const std::uint64_t captured = call.recorder.streams.captured_by(event);
  if (good(outcome) && captured && call.tells(stream)) call.recorder.emitter.write(WaitEvent{captured}, call.stream(stream));
  return outcome;
}
void tell_record(auto &call, Event event, Stream stream) {
  if (call.tells(stream)) call.recorder.emitter.write(WaitEvent{call.stream(stream)}, call.recorder.streams.recorded(event));
}
Result event_record(auto &call, Event event, Stream stream) {
  tell_record(call, event, stream);
  return call(event, stream);
}
Result event_record_flags(auto &call, Event event, Stream stream, unsigned flags) {
  tell_record(call, event, stream);
  return call(event, stream, flags);
}
// Whose streams the event captures is not followed.
Result event_record_elsewhere(auto &call, void *recorded, Event event) {
  call.recorder.streams.destroyed(event);
  return call(recorded, event);
}
Result event_synchronize(auto &call, Event event) {
  const std::uint64_t captured = call.recorder.streams.captured_by(event);
  const Result outcome = call(event);
  if (good(outcome) && captured) call.recorder.emitter.write(OrderedEvent{}, captured, ordered_one_stream);
  return outcome;
}
Result event_destroy(auto &call, Event event) {
  call.recorder.streams.destroyed(event);
  return call(event);
}
// A context is not all there is: another context's work may still run.
Result context_synchronize(auto &call) {
  const Result outcome = call();
  if (good(outcome) && call.recorder.memory.contexts().size() <= 1) call.recorder.emitter.write(OrderedEvent{});
  return outcome;
}
Result context_synchronize_v2(auto &call, Context context) {
  const Result outcome = call(context);
  if (good(outcome) && call.recorder.memory.contexts().size() <= 1) call.recorder.emitter.write(OrderedEvent{});
  return outcome;
}
// What waits for a value runs after work that is submitted later: nothing that was known when it was submitted may be relied on.
Result wait_value_32(auto &call, Stream stream, Pointer address, std::uint32_t value, unsigned flags) {
  tell_anything(call, stream, "a stream waits for a value in memory");
  return call(stream, address, value, flags);
}
Result wait_value_64(auto &call, Stream stream, Pointer address, std::uint64_t value, unsigned flags) {
  tell_anything(call, stream, "a stream waits for a value in memory");
  return call(stream, address, value, flags);
}
Result write_value_32(auto &call, Stream stream, Pointer address, std::uint32_t value, unsigned flags) {
  if (call.tells(stream)) call.recorder.emitter.write(MemsetEvent{address, 4, 4, 1, value, 4}, call.stream(stream));
  return call(stream, address, value, flags);
}
Result write_value_64(auto &call, Stream stream, Pointer address, std::uint64_t value, unsigned flags) {
  if (call.tells(stream)) call.recorder.emitter.write(WroteEvent{address, 8, "cuStreamWriteValue64"}, call.stream(stream));
  return call(stream, address, value, flags);
}
Result batch_mem_op(auto &call, Stream stream, unsigned count, StreamOperation *operations, unsigned flags) {
  for (unsigned i = 0; operations && i < count; ++i) {
    const auto &one = operations[i].one;
    if (one.operation == operation_wait_32 || one.operation == operation_wait_64)
      tell_anything(call, stream, "a stream waits for a value in memory");
    else if ((one.operation == operation_write_32 || one.operation == operation_write_64) && call.tells(stream))
      call.recorder.emitter.write(WroteEvent{one.address, one.operation == operation_write_64 ? 8u : 4u, "cuStreamBatchMemOp"}, call.stream(stream));
    else if (one.operation != operation_write_32 && one.operation != operation_write_64 && one.operation != 3 && one.operation != 6)
      tell_anything(call, stream, "an operation of cuStreamBatchMemOp that is not known");
  }
  return call(stream, count, operations, flags);
}
Result semaphores(auto &call, const void *semaphores, const void *parameters, unsigned count, Stream stream) {
  return call(semaphores, parameters, count, stream);
}
Result host_function(auto &call, Stream stream, void *function, void *data) { return call(stream, function, data); }
Result stream_callback(auto &call, Stream stream, void *callback, void *data, unsigned flags) { return call(stream, callback, data, flags); }

// ---- graphs

Result counted_capture(auto &call, auto... arguments) {
  // Counted before, so that the agent never closes the gate between the driver's answer and ours.
  hot.captures.fetch_add(1);
  const Result outcome = call(arguments...);
  if (!good(outcome)) hot.captures.fetch_sub(1);
  return outcome;
}
Result begin_capture(auto &call, Stream stream) { return counted_capture(call, stream); }
Result begin_capture_v2(auto &call, Stream stream, int mode) { return counted_capture(call, stream, mode); }
Result begin_capture_to_graph(auto &call, Stream stream, Graph graph, const GraphNode *dependencies, const void *edges, Size count, int mode) {
  return counted_capture(call, stream, graph, dependencies, edges, count, mode);
}
Result end_capture(auto &call, Stream stream, Graph *graph) {
  const bool was = call.recorder.captured(stream, call.per_thread);
  const Result outcome = call(stream, graph);
  // Also an invalidated capture ends here, with an error; a call for a stream that is not captured changes nothing.
  if (was && !call.recorder.captured(stream, call.per_thread)) hot.captures.fetch_sub(1);
  return outcome;
}
// Without a context the driver takes the memory's, and mapped memory has none.
Result graph_add_memset(auto &call, GraphNode *node, Graph graph, const GraphNode *dependencies, Size count,
                        const MemsetNodeParameters *parameters, Context context) {
  if (!context && parameters) context = call.recorder.memory.owner_of(parameters->target);
  return call(node, graph, dependencies, count, parameters, context);
}
// The node's parameters are the program's: they are afterwards as they were.
Result graph_add_any(auto &call, GraphNodeParameters *parameters, auto... arguments) {
  const bool lacks = parameters && parameters->type == node_memset && !parameters->set.context;
  if (lacks) parameters->set.context = call.recorder.memory.owner_of(parameters->set.parameters.target);
  const Result outcome = call(arguments..., parameters);
  if (lacks) parameters->set.context = nullptr;
  return outcome;
}
Result graph_add_node(auto &call, GraphNode *node, Graph graph, const GraphNode *dependencies, Size count, GraphNodeParameters *parameters) {
  return graph_add_any(call, parameters, node, graph, dependencies, count);
}
Result graph_add_node_v2(auto &call, GraphNode *node, Graph graph, const GraphNode *dependencies, const void *edges, Size count,
                         GraphNodeParameters *parameters) {
  return graph_add_any(call, parameters, node, graph, dependencies, edges, count);
}
Result graph_instantiate(auto &call, GraphExec *exec, Graph graph, GraphNode *error_node, char *log, Size log_size) {
  const Result outcome = call(exec, graph, error_node, log, log_size);
  if (good(outcome)) call.recorder.graphs.instantiated(call.thread, *exec, graph);
  return outcome;
}
inline void watch_device_launch(Recorder &recorder, std::uint64_t flags) {
  if (flags & instantiate_device_launch) recorder.emitter.stop_writes("a graph may be launched by a kernel");
}
Result graph_instantiate_flags(auto &call, GraphExec *exec, Graph graph, unsigned long long flags) {
  watch_device_launch(call.recorder, flags);
  const Result outcome = call(exec, graph, flags);
  if (good(outcome)) call.recorder.graphs.instantiated(call.thread, *exec, graph);
  return outcome;
}
Result graph_instantiate_parameters(auto &call, GraphExec *exec, Graph graph, GraphInstantiateParameters *parameters) {
  if (parameters) watch_device_launch(call.recorder, parameters->flags);
  const Result outcome = call(exec, graph, parameters);
  if (good(outcome)) call.recorder.graphs.instantiated(call.thread, *exec, graph);
  return outcome;
}
Result exec_update(auto &call, GraphExec exec, Graph graph, GraphNode *error_node, int *what) {
  const Result outcome = call(exec, graph, error_node, what);
  if (good(outcome)) call.recorder.graphs.updated(call.thread, exec, graph);
  return outcome;
}
Result exec_update_v2(auto &call, GraphExec exec, Graph graph, void *what) {
  const Result outcome = call(exec, graph, what);
  if (good(outcome)) call.recorder.graphs.updated(call.thread, exec, graph);
  return outcome;
}
Result exec_set_kernel_v1(auto &call, GraphExec exec, GraphNode node, const KernelNodeParameters *parameters) {
  const Result outcome = call(exec, node, parameters);
  if (good(outcome)) call.recorder.graphs.set_kernel(call.thread, exec, node, *parameters, false);
  return outcome;
}
Result exec_set_kernel(auto &call, GraphExec exec, GraphNode node, const KernelNodeParameters *parameters) {
  const Result outcome = call(exec, node, parameters);
  if (good(outcome)) call.recorder.graphs.set_kernel(call.thread, exec, node, *parameters, true);
  return outcome;
}
Result exec_set_copy(auto &call, GraphExec exec, GraphNode node, const Copy3D *copy, Context context) {
  const Result outcome = call(exec, node, copy, context);
  if (good(outcome)) call.recorder.graphs.set_copy(exec, node, *copy);
  return outcome;
}
Result exec_set_memset(auto &call, GraphExec exec, GraphNode node, const MemsetNodeParameters *parameters, Context context) {
  if (!context && parameters) context = call.recorder.memory.owner_of(parameters->target);
  const Result outcome = call(exec, node, parameters, context);
  if (good(outcome)) call.recorder.graphs.set_memset(exec, node, *parameters);
  return outcome;
}
Result exec_set_child(auto &call, GraphExec exec, GraphNode node, Graph child) {
  const Result outcome = call(exec, node, child);
  if (good(outcome)) call.recorder.graphs.set_child(call.thread, exec, node, child);
  return outcome;
}
Result exec_set_other(auto &call, GraphExec exec, GraphNode node, const void *parameters) {
  const Result outcome = call(exec, node, parameters);
  if (good(outcome)) call.recorder.graphs.set_unknown(exec);
  return outcome;
}
Result graph_launch(auto &call, GraphExec exec, Stream stream) {
  if (call.tells(stream)) {
    bool records_events = false;
    const std::uint64_t number = call.recorder.graphs.number(exec, &records_events);
    if (records_events) call.recorder.streams.forget_events();
    if (number) call.recorder.emitter.write(GraphLaunchEvent{number}, call.stream(stream));
    else tell_anything(call, stream, "a graph that was not seen when it was instantiated");
  }
  return call(exec, stream);
}
Result exec_destroy(auto &call, GraphExec exec) {
  call.recorder.graphs.destroyed(exec);
  return call(exec);
}

// ---- tensor maps

// The program's numbers are read once the driver has taken them, so there are as many as the rank says.
inline void tell_map(Recorder &recorder, const TensorMap *map, TensorMapEvent event, const void *address, const std::uint64_t *sizes,
                     const std::uint64_t *strides, const std::uint32_t *box, const std::uint32_t *steps) {
  if (event.rank == 0 || event.rank > TensorMapEvent::max_rank || !sizes || !steps || (event.rank > 1 && !strides)) return;
  event.address = reinterpret_cast<Pointer>(address);
  std::copy_n(sizes, event.rank, event.sizes);
  if (event.rank > 1) std::copy_n(strides, event.rank - 1, event.strides);
  if (box) std::copy_n(box, event.rank, event.box);
  std::copy_n(steps, event.rank, event.steps);
  const std::uint8_t none[TensorMapEvent::map_bytes] = {};
  event.map = Bytes(map->bytes);
  event.from = Bytes(none);
  recorder.emitter.write(event);
}
inline TensorMapEvent map_event(TensorMapKind kind, int type, std::uint32_t rank, int interleave, int swizzle) {
  TensorMapEvent event;
  event.kind = kind;
  event.data_type = static_cast<std::uint32_t>(type);
  event.rank = rank;
  event.interleave = static_cast<std::uint32_t>(interleave);
  event.swizzle = static_cast<std::uint32_t>(swizzle);
  return event;
}
Result tensor_map_tiled(auto &call, TensorMap *map, int type, std::uint32_t rank, void *address, const std::uint64_t *sizes,
                        const std::uint64_t *strides, const std::uint32_t *box, const std::uint32_t *steps, int interleave, int swizzle,
                        int promotion, int fill) {
  const Result outcome = call(map, type, rank, address, sizes, strides, box, steps, interleave, swizzle, promotion, fill);
  if (good(outcome))
    tell_map(call.recorder, map, map_event(TensorMapKind::tiled, type, rank, interleave, swizzle), address, sizes, strides, box, steps);
  return outcome;
}
Result tensor_map_im2col(auto &call, TensorMap *map, int type, std::uint32_t rank, void *address, const std::uint64_t *sizes,
                         const std::uint64_t *strides, const int *lower, const int *upper, std::uint32_t channels, std::uint32_t pixels,
                         const std::uint32_t *steps, int interleave, int swizzle, int promotion, int fill) {
  const Result outcome =
      call(map, type, rank, address, sizes, strides, lower, upper, channels, pixels, steps, interleave, swizzle, promotion, fill);
  if (good(outcome))
    tell_map(call.recorder, map, map_event(TensorMapKind::im2col, type, rank, interleave, swizzle), address, sizes, strides, nullptr, steps);
  return outcome;
}
Result tensor_map_im2col_wide(auto &call, TensorMap *map, int type, std::uint32_t rank, void *address, const std::uint64_t *sizes,
                              const std::uint64_t *strides, int lower, int upper, std::uint32_t channels, std::uint32_t pixels,
                              const std::uint32_t *steps, int interleave, int mode, int swizzle, int promotion, int fill) {
  const Result outcome =
      call(map, type, rank, address, sizes, strides, lower, upper, channels, pixels, steps, interleave, mode, swizzle, promotion, fill);
  if (good(outcome))
    tell_map(call.recorder, map, map_event(TensorMapKind::im2col_wide, type, rank, interleave, swizzle), address, sizes, strides, nullptr, steps);
  return outcome;
}
Result tensor_map_replace(auto &call, TensorMap *map, void *address) {
  TensorMap before{};
  if (map) before = *map;
  const Result outcome = call(map, address);
  if (good(outcome)) {
    TensorMapEvent event;
    event.kind = TensorMapKind::moved;
    event.address = reinterpret_cast<Pointer>(address);
    event.map = Bytes(map->bytes);
    event.from = Bytes(before.bytes);
    call.recorder.emitter.write(event);
  }
  return outcome;
}

}  // namespace handlers
}  // namespace gcr
