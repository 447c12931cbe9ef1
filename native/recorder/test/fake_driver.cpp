// A stand-in for libcuda.so.1 for the recorder's tests. It exports every row of hooks.def; what a handler has no behaviour for here counts the
// call and refuses it. Memory is real (memfds), so that exporting, detaching and attaching can be seen to keep contents; a launch of
// "fill" writes. It remembers what it was asked, for tests that ask `gcr_fake_calls`.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "driver/types.h"

#define FAKE extern "C" __attribute__((visibility("default")))

using namespace gcr;

namespace tags {
#define GCR_HOOK(handler, base, suffix, version, stream) struct handler;
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK
}  // namespace tags

namespace {

template <class>
struct Tag {};

std::mutex mutex;
std::map<std::string, int> &calls() {
  static auto *counts = new std::map<std::string, int>;
  return *counts;
}

struct Node {
  int type;
  KernelNodeParameters kernel{};
  std::vector<std::uint64_t> values;
  std::vector<void *> pointers;
  Copy3D copy{};
  MemsetNodeParameters set{};
};
struct FakeGraph {
  std::vector<Node *> nodes;
  int mode = 0;  // of a capture; 2: relaxed
  bool broken = false;
};
struct FakeFunction {
  std::string name;
  unsigned cluster[3] = {};
};

struct Block {
  int file;
  std::size_t size;
  int references;
};
// These live as long as the process: the recorder's thread may be at work while it ends.
auto &blocks = *new std::map<Handle, Block>;
auto &access_to = *new std::map<DevicePointer, unsigned>;  // by the beginning of a mapping: devices that may use it
auto &plain = *new std::set<DevicePointer>;                // memory that the driver allocated itself
Handle next_handle = 100;
int context_places[8];
thread_local Context current = nullptr;
auto &capturing = *new std::map<Stream, FakeGraph *>;
auto &wide = *new std::set<const void *>;  // kernels with a large parameter
std::atomic<int> captures{0};  // how many of them, so that a launch outside of any takes no lock
std::size_t limit = std::size_t{1} << 34;

Context context_of(int device) { return reinterpret_cast<Context>(&context_places[device]); }

int refuse_export() {
  const char *wish = getenv("FAKE_NO_EXPORT");
  return wish && *wish == '1';
}

// Unless a behaviour is given below: counted and refused.
Result behave(auto, auto...) { return result::invalid_value; }

Result behave(Tag<tags::init>, unsigned) { return 0; }
Result behave(Tag<tags::primary_retain>, Context *context, Device device) {
  if (!context) return result::invalid_value;
  *context = context_of(device);
  return 0;
}
Result behave(Tag<tags::primary_end>, Device) { return 0; }
Result behave(Tag<tags::context_create>, Context *context, unsigned, Device device) {
  if (!context) return result::invalid_value;
  current = *context = context_of(device + 4);
  return 0;
}
Result behave(Tag<tags::context_destroy>, Context context) { return context ? 0 : result::invalid_value; }
Result behave(Tag<tags::context_synchronize>) {
  // As the driver does: not while a stream is captured.
  const std::lock_guard lock(mutex);
  return capturing.empty() ? 0 : 906;
}
Result behave(Tag<tags::mem_create>, Handle *handle, std::size_t size, const AllocationProperties *properties, unsigned long long) {
  if (!handle || !properties) return result::invalid_value;
  if ((properties->handle_types & 1) && refuse_export()) return result::not_supported;
  const std::lock_guard lock(mutex);
  if (size > limit) return result::out_of_memory;
  const int file = memfd_create("fake-memory", MFD_CLOEXEC);
  if (ftruncate(file, static_cast<off_t>(size)) != 0) return result::out_of_memory;
  blocks[*handle = next_handle++] = {file, size, 1};
  return 0;
}
Result behave(Tag<tags::mem_release>, Handle handle) {
  const std::lock_guard lock(mutex);
  const auto found = blocks.find(handle);
  if (found == blocks.end()) return result::invalid_value;
  if (--found->second.references == 0) {
    close(found->second.file);
    blocks.erase(found);
  }
  return 0;
}
Result behave(Tag<tags::mem_map>, DevicePointer address, std::size_t size, std::size_t offset, Handle handle, unsigned long long) {
  const std::lock_guard lock(mutex);
  const auto found = blocks.find(handle);
  if (found == blocks.end() || size == 0) return result::invalid_value;
  void *got = mmap(reinterpret_cast<void *>(address), size, PROT_NONE, MAP_SHARED | MAP_FIXED, found->second.file, static_cast<off_t>(offset));
  access_to[address] = 0;
  return got == MAP_FAILED ? result::invalid_value : 0;
}
Result behave(Tag<tags::mem_unmap>, DevicePointer address, std::size_t size) {
  if (!size) return result::invalid_value;
  {
    const std::lock_guard lock(mutex);
    access_to.erase(access_to.lower_bound(address), access_to.lower_bound(address + size));
  }
  void *got = mmap(reinterpret_cast<void *>(address), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return got == MAP_FAILED ? result::invalid_value : 0;
}
Result behave(Tag<tags::mem_set_access>, DevicePointer address, std::size_t size, const AccessDescriptor *access, std::size_t count) {
  if (!access || !count) return result::invalid_value;
  {
    // Of devices that are not named nothing changes.
    const std::lock_guard lock(mutex);
    for (auto at = access_to.lower_bound(address); at != access_to.end() && at->first - address < size; ++at)
      for (std::size_t i = 0; i < count; ++i) {
        const unsigned device = 1u << access[i].location.id;
        at->second = access[i].flags ? at->second | device : at->second & ~device;
      }
  }
  return mprotect(reinterpret_cast<void *>(address), size, PROT_READ | PROT_WRITE) ? result::invalid_value : 0;
}
Result behave(Tag<tags::mem_export>, void *exported, Handle handle, int, unsigned long long) {
  const std::lock_guard lock(mutex);
  const auto found = blocks.find(handle);
  if (found == blocks.end() || !exported || refuse_export()) return result::invalid_value;
  *static_cast<int *>(exported) = dup(found->second.file);
  return 0;
}
Result behave(Tag<tags::mem_import>, Handle *handle, void *exported, int) {
  if (!handle) return result::invalid_value;
  const std::lock_guard lock(mutex);
  const int file = dup(static_cast<int>(reinterpret_cast<std::intptr_t>(exported)));
  if (file < 0) return result::invalid_value;
  blocks[*handle = next_handle++] = {file, static_cast<std::size_t>(lseek(file, 0, SEEK_END)), 1};
  return 0;
}
// What a capture does not allow breaks it.
bool forbidden_by_capture() {
  const std::lock_guard lock(mutex);
  bool found = false;
  for (auto &[stream, graph] : capturing) {
    if (graph->mode == 2) continue;
    graph->broken = found = true;
  }
  return found;
}
Result allocate(DevicePointer *address, std::size_t size) {
  if (!address || !size) return result::invalid_value;
  void *got = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *address = reinterpret_cast<DevicePointer>(got);
  const std::lock_guard lock(mutex);
  plain.insert(*address);
  return 0;
}
// Like the driver, which exports no mapped memory in this way.
Result behave(Tag<tags::ipc_get>, void *handle, DevicePointer address) {
  const std::lock_guard lock(mutex);
  return handle && plain.contains(address) ? 0 : result::invalid_value;
}
Result behave(Tag<tags::ipc_open>, DevicePointer *address, IpcHandle, unsigned) { return allocate(address, 4096); }
Result behave(Tag<tags::ipc_close>, DevicePointer address) {
  const std::lock_guard lock(mutex);
  return plain.erase(address) ? 0 : result::invalid_value;
}
Result behave(Tag<tags::enable_peer>, Context peer, unsigned) { return peer ? 0 : result::invalid_value; }
Result behave(Tag<tags::mem_alloc>, DevicePointer *address, std::size_t size) { return forbidden_by_capture() ? 900 : allocate(address, size); }
Result behave(Tag<tags::mem_alloc_async>, DevicePointer *address, std::size_t size, Stream) { return allocate(address, size); }
Result behave(Tag<tags::mem_alloc_managed>, DevicePointer *address, std::size_t size, unsigned) { return allocate(address, size); }
Result behave(Tag<tags::mem_free>, DevicePointer address) {
  if (forbidden_by_capture()) return 900;
  if (!address) return 0;
  const std::lock_guard lock(mutex);
  return plain.erase(address) ? 0 : result::invalid_value;
}
Result behave(Tag<tags::mem_free_async>, DevicePointer address, Stream) { return address ? 0 : result::invalid_value; }
Result behave(Tag<tags::host_alloc>, void **place, std::size_t size, unsigned) {
  if (!place) return result::invalid_value;
  *place = calloc(1, size);
  return 0;
}
Result load(void **handle, const void *image) {
  if (!handle || !image) return result::invalid_value;
  *handle = new int;
  return 0;
}
Result behave(Tag<tags::module_load_data>, Module *module, const void *image) { return load(reinterpret_cast<void **>(module), image); }
Result behave(Tag<tags::module_load_data_ex>, Module *module, const void *image, unsigned, int *, void **) {
  return load(reinterpret_cast<void **>(module), image);
}
Result behave(Tag<tags::library_load_data>, Library *library, const void *image, int *, void **, unsigned, int *, void **, unsigned) {
  return load(reinterpret_cast<void **>(library), image);
}
Result behave(Tag<tags::module_unload>, Module module) { return module ? 0 : result::invalid_value; }
Result behave(Tag<tags::module_get_function>, Function *function, Module, const char *name) {
  if (!function || !name) return result::invalid_value;
  *function = reinterpret_cast<Function>(new FakeFunction{name, {}});
  return 0;
}
Result behave(Tag<tags::library_get_kernel>, Kernel *kernel, Library, const char *name) {
  if (!kernel || !name) return result::invalid_value;
  *kernel = reinterpret_cast<Kernel>(new FakeFunction{name, {}});
  if (std::string_view(name).starts_with("wide")) {
    const std::lock_guard lock(mutex);
    wide.insert(*kernel);
  }
  return 0;
}
// A kernel's function is itself.
Result behave(Tag<tags::kernel_get_function>, Function *function, Kernel kernel) {
  if (!function || !kernel) return result::invalid_value;
  *function = reinterpret_cast<Function>(kernel);
  return 0;
}
Result find_variable(DevicePointer *address, std::size_t *size, const char *name) {
  static auto &variables = *new std::map<std::string, std::uint64_t[4]>;
  if (!address || !name || std::string_view(name) == "nowhere") return result::not_found;
  const std::lock_guard lock(mutex);
  *address = reinterpret_cast<DevicePointer>(variables[name]);
  *size = sizeof(variables[name]);
  return 0;
}
Result behave(Tag<tags::module_get_global>, DevicePointer *address, std::size_t *size, Module module, const char *name) {
  return module ? find_variable(address, size, name) : result::invalid_value;
}
// Of a library each context has its own.
Result behave(Tag<tags::library_get_global>, DevicePointer *address, std::size_t *size, Library library, const char *name) {
  if (!library || !name || !current) return result::invalid_value;
  if (std::string_view(name) == "nowhere") return result::not_found;
  const auto context = reinterpret_cast<int *>(current) - context_places;
  std::string own = name;
  if (context) own.append(" ").append(std::to_string(context));
  return find_variable(address, size, own.c_str());
}
Result behave(Tag<tags::library_unload>, Library library) { return library ? 0 : result::invalid_value; }
Node *capture(Stream stream, int type) {
  if (!captures.load(std::memory_order_relaxed)) return nullptr;
  const std::lock_guard lock(mutex);
  const auto found = capturing.find(stream);
  if (found == capturing.end()) return nullptr;
  return found->second->nodes.emplace_back(new Node{type, {}, {}, {}, {}, {}});
}
Result launch(Function function, const unsigned *grid, const unsigned *block, unsigned shared, Stream stream, void **parameters) {
  if (!function || !parameters) return result::invalid_value;
  if (Node *node = capture(stream, node_kernel)) {
    node->kernel.function = function;
    std::memcpy(node->kernel.grid, grid, 12);
    std::memcpy(node->kernel.block, block, 12);
    node->kernel.shared_memory = shared;
    node->values = {*static_cast<std::uint64_t *>(parameters[0]), *static_cast<std::uint32_t *>(parameters[1])};
    node->pointers = {&node->values[0], &node->values[1]};
    node->kernel.parameters = node->pointers.data();
    return 0;
  }
  if (reinterpret_cast<FakeFunction *>(function)->name == "fill") {
    auto *to = *static_cast<std::uint8_t **>(parameters[0]);
    // Threads of a device may write one place at once, and so may launches.
    for (std::uint32_t i = 0, count = *static_cast<std::uint32_t *>(parameters[1]); i < count; ++i)
      __atomic_store_n(to + i, static_cast<std::uint8_t>(grid[0]), __ATOMIC_RELAXED);
  }
  return 0;
}
Result behave(Tag<tags::launch_kernel>, Function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
              unsigned shared, Stream stream, void **parameters, void **extra) {
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  return extra ? 0 : launch(function, grid, block, shared, stream, parameters);
}
Result behave(Tag<tags::launch_kernel_ex>, const LaunchConfiguration *how, Function function, void **parameters, void **) {
  return how ? launch(function, how->grid, how->block, how->shared_memory, how->stream, parameters) : result::invalid_value;
}
Result behave(Tag<tags::launch_cooperative>, Function function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
              Stream, void **) {
  return function ? 0 : result::invalid_value;
}
Result behave(Tag<tags::copy_htod>, DevicePointer target, const void *source, std::size_t size) {
  if (size) std::memcpy(reinterpret_cast<void *>(target), source, size);
  return 0;
}
Result behave(Tag<tags::copy_htod_async>, DevicePointer target, const void *source, std::size_t size, Stream) {
  if (size) std::memcpy(reinterpret_cast<void *>(target), source, size);
  return 0;
}
Result behave(Tag<tags::copy_dtoh>, void *target, DevicePointer source, std::size_t size) {
  if (size) std::memcpy(target, reinterpret_cast<void *>(source), size);
  return 0;
}
Result behave(Tag<tags::stream_create>, Stream *stream, unsigned) {
  if (!stream) return result::invalid_value;
  *stream = reinterpret_cast<Stream>(new int);
  return 0;
}
Result behave(Tag<tags::stream_synchronize>, Stream) { return 0; }
Result behave(Tag<tags::stream_wait_event>, Stream, Event, unsigned) { return 0; }
Result behave(Tag<tags::event_record>, Event event, Stream) { return event ? 0 : result::invalid_value; }
Result behave(Tag<tags::event_synchronize>, Event event) { return event ? 0 : result::invalid_value; }
Result behave(Tag<tags::begin_capture_v2>, Stream stream, int mode) {
  if (!stream) return result::invalid_value;
  const std::lock_guard lock(mutex);
  (capturing[stream] = new FakeGraph)->mode = mode;
  captures = static_cast<int>(capturing.size());
  return 0;
}
Result behave(Tag<tags::end_capture>, Stream stream, Graph *graph) {
  const std::lock_guard lock(mutex);
  const auto found = capturing.find(stream);
  if (found == capturing.end() || !graph) return result::invalid_value;
  const bool broken = found->second->broken;
  *graph = broken ? nullptr : reinterpret_cast<Graph>(found->second);
  capturing.erase(found);
  captures = static_cast<int>(capturing.size());
  return broken ? 901 : 0;
}
Result behave(Tag<tags::graph_instantiate_flags>, GraphExec *exec, Graph graph, unsigned long long) {
  if (!exec || !graph) return result::invalid_value;
  *exec = reinterpret_cast<GraphExec>(new int);
  return 0;
}
Result behave(Tag<tags::exec_set_kernel>, GraphExec exec, GraphNode, const KernelNodeParameters *) { return exec ? 0 : result::invalid_value; }
Result behave(Tag<tags::graph_launch>, GraphExec exec, Stream) { return exec ? 0 : result::invalid_value; }
Result behave(Tag<tags::exec_destroy>, GraphExec exec) { return exec ? 0 : result::invalid_value; }
// A memset needs a context where the memory says nothing of one.
Result set_node(const MemsetNodeParameters *how, Context context) {
  const std::lock_guard lock(mutex);
  return how && (context || plain.contains(how->target)) ? 0 : result::invalid_value;
}
Result add_set_node(GraphNode *node, Graph graph, const MemsetNodeParameters *how, Context context) {
  if (!node || !graph || set_node(how, context)) return result::invalid_value;
  Node *const added = reinterpret_cast<FakeGraph *>(graph)->nodes.emplace_back(new Node{node_memset, {}, {}, {}, {}, *how});
  *node = reinterpret_cast<GraphNode>(added);
  return 0;
}
Result behave(Tag<tags::graph_add_memset>, GraphNode *node, Graph graph, const GraphNode *, std::size_t, const MemsetNodeParameters *how,
              Context context) {
  return add_set_node(node, graph, how, context);
}
Result behave(Tag<tags::graph_add_node>, GraphNode *node, Graph graph, const GraphNode *, std::size_t, GraphNodeParameters *how) {
  return how && how->type == node_memset ? add_set_node(node, graph, &how->set.parameters, how->set.context) : result::invalid_value;
}
Result behave(Tag<tags::exec_set_memset>, GraphExec exec, GraphNode, const MemsetNodeParameters *how, Context context) {
  return exec ? set_node(how, context) : result::invalid_value;
}
Result behave(Tag<tags::function_set_attribute>, Function function, int attribute, int value) {
  if (!function || attribute < required_cluster_width || attribute > required_cluster_depth) return result::invalid_value;
  reinterpret_cast<FakeFunction *>(function)->cluster[attribute - required_cluster_width] = static_cast<unsigned>(value);
  return 0;
}
Result behave(Tag<tags::event_record_elsewhere>, void *, Event event) { return event ? 0 : result::invalid_value; }
Result behave(Tag<tags::pointer_get_attribute>, void *value, int, DevicePointer) { return value ? 0 : result::invalid_value; }
Result behave(Tag<tags::array_create>, Array *array, const void *) {
  if (!array) return result::invalid_value;
  *array = reinterpret_cast<Array>(new int);
  return 0;
}
Result behave(Tag<tags::array_destroy>, Array array) { return array ? 0 : result::invalid_value; }
Result behave(Tag<tags::tensor_map_tiled>, TensorMap *map, int, std::uint32_t, void *address, const std::uint64_t *, const std::uint64_t *,
              const std::uint32_t *, const std::uint32_t *, int, int, int, int) {
  if (!map) return result::invalid_value;
  std::memset(map, 0xee, sizeof(*map));
  std::memcpy(map, &address, 8);
  return 0;
}
Result behave(Tag<tags::tensor_map_replace>, TensorMap *map, void *address) {
  if (!map) return result::invalid_value;
  std::memcpy(map, &address, 8);
  return 0;
}
Result behave(Tag<tags::set_32_async>, DevicePointer, unsigned, std::size_t, Stream stream) {
  capture(stream, node_memset);
  return 0;
}
// Memsets and copies that tests only want to see told.
#define ACCEPT(handler) \
  Result behave(Tag<tags::handler>, auto... arguments) { return sizeof...(arguments) ? 0 : 1; }
ACCEPT(set_8) ACCEPT(set_2d_16) ACCEPT(copy_dtod_async) ACCEPT(copy_2d) ACCEPT(write_value_32) ACCEPT(host_function)

struct Row {
  const char *symbol, *base;
  int version;
  bool per_thread;
};
constexpr bool legacy = false, per_thread = true;
constexpr Row rows[] = {
#define GCR_HOOK(handler, base, suffix, version, stream) {#base #suffix, #base, version, stream},
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK
};

Result find(const char *symbol, void **function, int version, std::uint64_t flags) {
  if (!symbol || !function) return result::invalid_value;
  const Row *best = nullptr;
  // Without a form for the wanted default stream there is one for both.
  for (const bool wanted : {(flags & 2) != 0, false}) {
    for (const Row &row : rows)
      if (!std::strcmp(row.base, symbol) && row.version <= version && row.per_thread == wanted && (!best || row.version > best->version)) best = &row;
    if (best) break;
  }
  Dl_info where{};
  dladdr(reinterpret_cast<void *>(&find), &where);
  void *self = dlopen(where.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  *function = dlsym(self, best ? best->symbol : symbol);
  return *function ? 0 : result::not_found;
}
Result behave(Tag<tags::get_proc_address_v1>, const char *symbol, void **function, int version, std::uint64_t flags) {
  return find(symbol, function, version, flags);
}
Result behave(Tag<tags::get_proc_address_v2>, const char *symbol, void **function, int version, std::uint64_t flags, int *status) {
  if (status) *status = 0;
  return find(symbol, function, version, flags);
}

bool counting() {
  static const bool on = getenv("FAKE_COUNT") != nullptr;
  return on;
}

}  // namespace

#define GCR_ALL(...) __VA_ARGS__
#define GCR_COMMA(...) __VA_OPT__(, ) __VA_ARGS__
#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_FUNCTION(handler, symbol, parameters, arguments) \
  FAKE Result symbol parameters {                            \
    if (counting()) {                                        \
      const std::lock_guard lock(mutex);                     \
      calls()[#symbol]++;                                    \
    }                                                        \
    return behave(Tag<tags::handler>() GCR_COMMA arguments); \
  }
#define GCR_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_FUNCTION, handler, base##suffix, GCR_##handler)
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"

FAKE int gcr_fake_calls(const char *symbol) {
  const std::lock_guard lock(mutex);
  return calls()[symbol];
}
// How much memory of its own the driver has given out.
FAKE int gcr_fake_plain() {
  const std::lock_guard lock(mutex);
  return static_cast<int>(plain.size());
}
FAKE unsigned gcr_fake_access(DevicePointer mapping) {
  const std::lock_guard lock(mutex);
  return access_to.contains(mapping) ? access_to[mapping] : 0;
}
// Not in any table: newer than the recorder.
FAKE Result cuBrandNew(int a, long b, int c, int d, int e, int f, int g) { return a + static_cast<int>(b) + c + d + e + f + g; }

// For benchmarks: what a launch costs without a recorder, in a process that has one.
using LaunchKernel = Result(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **);
FAKE LaunchKernel *gcr_fake_own_launch() {
  return [](auto... arguments) { return behave(Tag<tags::launch_kernel>(), arguments...); };
}
using KernelGetFunction = Result(Function *, Kernel);
FAKE KernelGetFunction *gcr_fake_own_kernel_get_function() {
  return [](auto... arguments) { return behave(Tag<tags::kernel_get_function>(), arguments...); };
}

FAKE Result cuDriverGetVersion(int *version) { return *version = 13000, 0; }
FAKE Result cuDeviceGetCount(int *count) { return *count = 2, 0; }
FAKE Result cuDeviceGet(Device *device, int number) { return *device = number, 0; }
FAKE Result cuDeviceGetName(char *name, int, Device device) { return std::strcpy(name, device ? "Fake 1" : "Fake 0"), 0; }
FAKE Result cuDeviceGetUuid_v2(Uuid *uuid, Device device) { return std::memset(uuid, 0x40 + device, 16), 0; }
FAKE Result cuDeviceTotalMem_v2(std::size_t *size, Device) { return *size = limit, 0; }
FAKE Result cuDeviceGetAttribute(int *value, int attribute, Device device) {
  // Compute capability 9.0 and 9.1.
  return *value = attribute == 75 ? 9 : attribute == 76 ? device : 0, 0;
}
FAKE Result cuDevicePrimaryCtxGetState(Device, unsigned *flags, int *active) { return *flags = 0, *active = 1, 0; }
FAKE Result cuCtxSetCurrent(Context context) { return current = context, 0; }
FAKE Result cuCtxGetCurrent(Context *context) { return *context = current, 0; }
FAKE Result cuCtxGetDevice(Device *device) {
  if (!current) return 201;
  return *device = static_cast<int>(reinterpret_cast<int *>(current) - context_places) % 4, 0;
}
FAKE Result cuDeviceCanAccessPeer(int *can, Device device, Device peer) { return *can = device != peer && !getenv("FAKE_NO_PEERS"), 0; }
FAKE Result cuGetErrorName(Result, const char **name) { return *name = "CUDA_ERROR_FAKE", 0; }
FAKE Result cuMemAddressReserve(DevicePointer *address, std::size_t size, std::size_t, DevicePointer, unsigned long long) {
  constexpr std::size_t unit = 2 << 20;
  auto *got = static_cast<char *>(mmap(nullptr, size + unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  *address = (reinterpret_cast<DevicePointer>(got) + unit - 1) / unit * unit;
  return 0;
}
FAKE Result cuMemAddressFree(DevicePointer, std::size_t) { return 0; }
FAKE Result cuMemGetAllocationGranularity(std::size_t *size, const AllocationProperties *, int) { return *size = 2 << 20, 0; }
FAKE Result cuFuncGetParamInfo(Function function, std::size_t index, std::size_t *offset, std::size_t *size) {
  // Every kernel takes a pointer and a 32-bit count, and one that is wide a structure behind them.
  const std::lock_guard lock(mutex);
  if (index == 2 && wide.contains(function)) return *offset = 16, *size = 240, 0;
  if (index > 1) return result::invalid_value;
  *offset = index * 8;
  *size = index ? 4 : 8;
  return 0;
}
FAKE Result cuFuncGetAttribute(int *value, int attribute, Function function) {
  if (!function) return result::invalid_handle;
  if (attribute < required_cluster_width || attribute > required_cluster_depth) return result::invalid_value;
  return *value = static_cast<int>(reinterpret_cast<FakeFunction *>(function)->cluster[attribute - required_cluster_width]), 0;
}
FAKE Result cuKernelGetParamInfo(Kernel kernel, std::size_t index, std::size_t *offset, std::size_t *size) {
  return cuFuncGetParamInfo(reinterpret_cast<Function>(kernel), index, offset, size);
}
FAKE Result cuStreamIsCapturing(Stream stream, int *status) {
  const std::lock_guard lock(mutex);
  const auto found = capturing.find(stream);
  return *status = found == capturing.end() ? 0 : found->second->broken ? 2 : 1, 0;
}
FAKE Result cuGraphGetNodes(Graph graph, GraphNode *nodes, std::size_t *count) {
  const auto &all = reinterpret_cast<FakeGraph *>(graph)->nodes;
  if (nodes) std::memcpy(nodes, all.data(), *count * sizeof(*nodes));
  return *count = all.size(), 0;
}
FAKE Result cuGraphNodeGetType(GraphNode node, int *type) { return *type = reinterpret_cast<Node *>(node)->type, 0; }
FAKE Result cuGraphKernelNodeGetParams_v2(GraphNode node, KernelNodeParameters *to) { return *to = reinterpret_cast<Node *>(node)->kernel, 0; }
FAKE Result cuGraphMemsetNodeGetParams(GraphNode node, MemsetNodeParameters *to) { return *to = reinterpret_cast<Node *>(node)->set, 0; }
