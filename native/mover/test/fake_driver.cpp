// See fake_driver.h.
#include "fake_driver.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "core/aligned_buffer.h"
#include "core/chunk_hash.h"
#include "mover/plan.h"

namespace gcr::test {
namespace {

constexpr Result no_context = 201;

struct FakeStream {
  std::deque<std::function<void()>> work;
  std::uint64_t given = 0, done = 0;
};

struct FakeEvent {
  FakeStream *stream = nullptr;
  std::uint64_t position = 0;
};

struct State {
  std::recursive_mutex mutex;
  std::map<Handle, std::pair<int, std::size_t>> handles;
  Handle next_handle = 1;
  std::map<std::uintptr_t, std::size_t> registered;
  std::map<std::string, int> calls;
  std::map<std::string, std::pair<int, Result>> failures;
  Result sticky = 0;
  long objects = 0;
  char functions[3];  // name, gather, scatter
};

State &state() {
  static auto *made = new State;
  return *made;
}

// Whether the thread has a context: without one the driver does nothing.
thread_local bool current = false;

// Counts the call, and says how it ends before it has done anything.
Result begin(const char *call) {
  State &s = state();
  if (!current) return no_context;
  ++s.calls[call];
  if (s.sticky) return s.sticky;
  const auto found = s.failures.find(call);
  if (found == s.failures.end() || found->second.first-- > 0) return 0;
  const Result result = found->second.second;
  s.failures.erase(found);
  return result;
}

void advance(FakeStream &stream, std::uint64_t to) {
  while (stream.done < to) {
    const std::function<void()> next = std::move(stream.work.front());
    stream.work.pop_front();
    ++stream.done;
    next();
  }
}

Result give(Stream stream, std::function<void()> work) {
  auto *fake = reinterpret_cast<FakeStream *>(stream);
  fake->work.push_back(std::move(work));
  ++fake->given;
  return 0;
}

std::uint8_t *bytes_at(DevicePointer address) { return reinterpret_cast<std::uint8_t *>(address); }

// What the kernels of native/kernels do.
void execute(int which, std::vector<ListedChunk> list, const ListedChunk *source, std::uint8_t *base) {
  // The list is read when the kernel runs.
  std::memcpy(list.data(), source, list.size() * sizeof(ListedChunk));
  for (const ListedChunk &chunk : list) {
    std::uint8_t *memory = bytes_at(chunk.address), *slot = base + chunk.index * kChunkBytes;
    if (which == 0) reinterpret_cast<ChunkName *>(base)[chunk.index] = chunk_name(memory, chunk.length);
    if (which == 1) std::memcpy(slot, memory, round_up(chunk.length, 16));
    if (which == 2) std::memcpy(memory, slot, chunk.length);
  }
}

#define LOCKED const std::lock_guard lock(state().mutex)
#define RELEASE \
  LOCKED;       \
  if (!current) return no_context
#define BEGIN(name)                            \
  LOCKED;                                      \
  if (const Result failed = begin(name)) return failed

Driver make() {
  Driver d;
  d.cuGetErrorName = [](Result result, const char **name) -> Result {
    *name = result == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : "CUDA_ERROR_SOMETHING";
    return 0;
  };
  d.cuDeviceGetName = [](char *name, int, Device) -> Result { return std::strcpy(name, "fake"), 0; };
  d.cuDeviceGetAttribute = [](int *value, int, Device) -> Result { return *value = 4, 0; };
  d.cuDevicePrimaryCtxRetain = [](Context *context, Device) -> Result {
    *context = reinterpret_cast<Context>(&state());
    return 0;
  };
  d.cuCtxSetCurrent = [](Context) -> Result {
    current = true;
    BEGIN("cuCtxSetCurrent");
    return 0;
  };
  d.cuCtxGetStreamPriorityRange = [](int *lowest, int *highest) -> Result { return *lowest = 0, *highest = -5, 0; };

  d.cuMemCreate = [](Handle *handle, std::size_t size, const AllocationProperties *wanted, unsigned long long) -> Result {
    BEGIN("cuMemCreate");
    if (wanted->flags[gpu_direct_flag] && wanted->handle_types == handle_file_descriptor) ++state().calls["cuMemCreate for the bus"];
    const int file = memfd_create("fake", MFD_CLOEXEC);
    if (ftruncate(file, static_cast<off_t>(size)) != 0) return result::out_of_memory;
    state().handles[*handle = state().next_handle++] = {file, size};
    return 0;
  };
  d.cuMemImportFromShareableHandle = [](Handle *handle, void *descriptor, int) -> Result {
    BEGIN("cuMemImportFromShareableHandle");
    const int file = dup(static_cast<int>(reinterpret_cast<std::intptr_t>(descriptor)));
    if (file < 0) return result::invalid_value;
    state().handles[*handle = state().next_handle++] = {file, 0};
    return 0;
  };
  d.cuMemExportToShareableHandle = [](void *descriptor, Handle handle, int, unsigned long long) -> Result {
    BEGIN("cuMemExportToShareableHandle");
    *static_cast<int *>(descriptor) = dup(state().handles.at(handle).first);
    return 0;
  };
  d.cuMemRelease = [](Handle handle) -> Result {
    RELEASE;
    close(state().handles.at(handle).first);
    state().handles.erase(handle);
    return 0;
  };
  d.cuMemAddressReserve = [](DevicePointer *address, std::size_t size, std::size_t, DevicePointer, unsigned long long) -> Result {
    BEGIN("cuMemAddressReserve");
    *address = reinterpret_cast<DevicePointer>(mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    ++state().objects;
    return 0;
  };
  d.cuMemAddressFree = [](DevicePointer address, std::size_t size) -> Result {
    RELEASE;
    --state().objects;
    return munmap(bytes_at(address), size);
  };
  d.cuMemMap = [](DevicePointer address, std::size_t size, std::size_t, Handle handle, unsigned long long) -> Result {
    BEGIN("cuMemMap");
    mmap(bytes_at(address), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, state().handles.at(handle).first, 0);
    return 0;
  };
  d.cuMemUnmap = [](DevicePointer address, std::size_t size) -> Result {
    RELEASE;
    mmap(bytes_at(address), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return 0;
  };
  d.cuMemSetAccess = [](DevicePointer, std::size_t, const AccessDescriptor *, std::size_t) -> Result {
    BEGIN("cuMemSetAccess");
    return 0;
  };

  d.cuMemHostAlloc = [](void **data, std::size_t size, unsigned) -> Result {
    BEGIN("cuMemHostAlloc");
    *data = ::operator new(size, std::align_val_t{kBlockBytes});
    ++state().objects;
    return 0;
  };
  d.cuMemFreeHost = [](void *data) -> Result {
    RELEASE;
    --state().objects;
    ::operator delete(data, std::align_val_t{kBlockBytes});
    return 0;
  };
  d.cuMemHostRegister = [](void *data, std::size_t size, unsigned) -> Result {
    BEGIN("cuMemHostRegister");
    state().registered[reinterpret_cast<std::uintptr_t>(data)] = size;
    return 0;
  };
  d.cuMemHostUnregister = [](void *data) -> Result {
    RELEASE;
    return state().registered.erase(reinterpret_cast<std::uintptr_t>(data)) ? 0 : result::invalid_value;
  };
  d.cuMemHostGetDevicePointer = [](DevicePointer *address, void *data, unsigned) -> Result {
    BEGIN("cuMemHostGetDevicePointer");
    *address = reinterpret_cast<DevicePointer>(data);
    return 0;
  };

  d.cuStreamCreateWithPriority = [](Stream *stream, unsigned, int) -> Result {
    BEGIN("cuStreamCreateWithPriority");
    *stream = reinterpret_cast<Stream>(new FakeStream);
    ++state().objects;
    return 0;
  };
  d.cuStreamDestroy = [](Stream stream) -> Result {
    RELEASE;
    --state().objects;
    delete reinterpret_cast<FakeStream *>(stream);
    return 0;
  };
  d.cuStreamSynchronize = [](Stream stream) -> Result {
    BEGIN("cuStreamSynchronize");
    auto *fake = reinterpret_cast<FakeStream *>(stream);
    advance(*fake, fake->given);
    return state().sticky;
  };
  d.cuEventCreate = [](Event *event, unsigned) -> Result {
    BEGIN("cuEventCreate");
    *event = reinterpret_cast<Event>(new FakeEvent);
    ++state().objects;
    return 0;
  };
  d.cuEventDestroy = [](Event event) -> Result {
    RELEASE;
    --state().objects;
    delete reinterpret_cast<FakeEvent *>(event);
    return 0;
  };
  d.cuEventRecord = [](Event event, Stream stream) -> Result {
    BEGIN("cuEventRecord");
    auto *fake = reinterpret_cast<FakeStream *>(stream);
    *reinterpret_cast<FakeEvent *>(event) = {fake, fake->given};
    return 0;
  };
  d.cuEventSynchronize = [](Event event) -> Result {
    BEGIN("cuEventSynchronize");
    const auto *at = reinterpret_cast<FakeEvent *>(event);
    advance(*at->stream, at->position);
    return state().sticky;
  };
  d.cuMemcpyDtoHAsync = [](void *host, DevicePointer device, std::size_t size, Stream stream) -> Result {
    BEGIN("cuMemcpyDtoHAsync");
    return give(stream, [=] { std::memcpy(host, bytes_at(device), size); });
  };
  d.cuMemcpyHtoDAsync = [](DevicePointer device, const void *host, std::size_t size, Stream stream) -> Result {
    BEGIN("cuMemcpyHtoDAsync");
    return give(stream, [=] { std::memcpy(bytes_at(device), host, size); });
  };

  d.cuModuleLoadDataEx = [](Module *module, const void *text, unsigned, int *, void **) -> Result {
    BEGIN("cuModuleLoadDataEx");
    if (!std::strstr(static_cast<const char *>(text), "gcr_gather")) return result::invalid_value;
    *module = reinterpret_cast<Module>(&state());
    ++state().objects;
    return 0;
  };
  d.cuModuleUnload = [](Module) -> Result {
    RELEASE;
    --state().objects;
    return 0;
  };
  d.cuModuleGetFunction = [](Function *function, Module, const char *name) -> Result {
    BEGIN("cuModuleGetFunction");
    const char *const names[] = {"gcr_name_chunks", "gcr_gather", "gcr_scatter"};
    for (int i = 0; i < 3; ++i)
      if (std::strcmp(name, names[i]) == 0) *function = reinterpret_cast<Function>(&state().functions[i]);
    return 0;
  };
  d.cuLaunchKernelEx = [](const LaunchConfiguration *how, Function function, void **parameters, void **) -> Result {
    BEGIN("cuLaunchKernelEx");
    if (how->grid[0] == 0 || how->block[0] != 256) return result::invalid_value;
    const int which = static_cast<int>(reinterpret_cast<char *>(function) - state().functions);
    const auto *list = reinterpret_cast<const ListedChunk *>(*static_cast<DevicePointer *>(parameters[0]));
    std::vector<ListedChunk> room(*static_cast<std::uint32_t *>(parameters[1]));
    std::uint8_t *base = bytes_at(*static_cast<DevicePointer *>(parameters[2]));
    return give(how->stream, [=] { execute(which, room, list, base); });
  };
  return d;
}

}  // namespace

const Driver &FakeDriver::driver() {
  static const Driver made = make();
  return made;
}

void FakeDriver::fail(const std::string &call, int after, Result result) {
  LOCKED;
  state().failures[call] = {after, result};
}

void FakeDriver::set_sticky(Result result) {
  LOCKED;
  state().sticky = result;
}

int FakeDriver::calls(const std::string &call) {
  LOCKED;
  return state().calls[call];
}

long FakeDriver::pinned() {
  LOCKED;
  return static_cast<long>(state().registered.size());
}

long FakeDriver::objects() {
  LOCKED;
  return state().objects + static_cast<long>(state().handles.size());
}

}  // namespace gcr::test
