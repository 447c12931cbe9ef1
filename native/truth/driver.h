// The part of the CUDA driver's interface that the recorder uses, declared here and found with dlopen: the recorder builds
// without a toolkit and runs wherever a driver is. Layouts and numbers follow cuda.h of CUDA 12 and 13.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace gcr {

using DevicePointer = unsigned long long;
using Result = int;
using Device = int;
using Context = struct ContextOpaque *;
using Module = struct ModuleOpaque *;
using Function = struct FunctionOpaque *;
using Handle = unsigned long long;

struct MemoryLocation {
  int type;  // 1: device
  int id;
};

struct AllocationProperties {
  int type;  // 1: pinned
  int handle_types;
  MemoryLocation location;
  void *windows_metadata;
  unsigned char flags[8];
};

struct AccessDescriptor {
  MemoryLocation location;
  int flags;  // 3: read and write
};

struct LaunchAttribute {
  int id;  // 2: cooperative, 4: cluster dimension
  char padding[4];
  union {
    char bytes[64];
    unsigned cluster[3];
    int cooperative;
  } value;
};

struct LaunchConfiguration {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_memory;
  void *stream;
  LaunchAttribute *attributes;
  unsigned attribute_count;
};

static_assert(sizeof(AllocationProperties) == 32 && sizeof(AccessDescriptor) == 12);
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfiguration) == 56);

struct alignas(64) TensorMap {
  unsigned char bytes[128];
};

// A driver call that failed; `sticky` errors end the context.
struct DriverError : std::runtime_error {
  DriverError(const std::string &what, Result result) : std::runtime_error(what), result(result) {}
  Result result;
};

// Every function: its name in the library (where it differs by a suffix, the suffix), and its parameters.
#define GCR_DRIVER_FUNCTIONS(X)                                                                                         \
  X(cuInit, , (unsigned))                                                                                               \
  X(cuDriverGetVersion, , (int *))                                                                                      \
  X(cuDeviceGet, , (Device *, int))                                                                                     \
  X(cuDeviceGetName, , (char *, int, Device))                                                                           \
  X(cuDevicePrimaryCtxRetain, , (Context *, Device))                                                                    \
  X(cuCtxSetCurrent, , (Context))                                                                                       \
  X(cuCtxSetLimit, , (int, std::size_t))                                                                                \
  X(cuCtxSynchronize, , (void))                                                                                         \
  X(cuGetErrorName, , (Result, const char **))                                                                          \
  X(cuMemAlloc, _v2, (DevicePointer *, std::size_t))                                                                    \
  X(cuMemcpyHtoD, _v2, (DevicePointer, const void *, std::size_t))                                                      \
  X(cuMemcpyDtoH, _v2, (void *, DevicePointer, std::size_t))                                                            \
  X(cuMemAddressReserve, , (DevicePointer *, std::size_t, std::size_t, DevicePointer, unsigned long long))              \
  X(cuMemAddressFree, , (DevicePointer, std::size_t))                                                                   \
  X(cuMemCreate, , (Handle *, std::size_t, const AllocationProperties *, unsigned long long))                           \
  X(cuMemMap, , (DevicePointer, std::size_t, std::size_t, Handle, unsigned long long))                                  \
  X(cuMemSetAccess, , (DevicePointer, std::size_t, const AccessDescriptor *, std::size_t))                              \
  X(cuModuleLoadDataEx, , (Module *, const void *, unsigned, int *, void **))                                           \
  X(cuModuleUnload, , (Module))                                                                                         \
  X(cuModuleGetFunction, , (Function *, Module, const char *))                                                          \
  X(cuModuleGetGlobal, _v2, (DevicePointer *, std::size_t *, Module, const char *))                                     \
  X(cuFuncSetAttribute, , (Function, int, int))                                                                         \
  X(cuLaunchKernelEx, , (const LaunchConfiguration *, Function, void **, void **))                                      \
  X(cuTensorMapEncodeTiled, , (TensorMap *, int, std::uint32_t, void *, const std::uint64_t *, const std::uint64_t *,   \
                               const std::uint32_t *, const std::uint32_t *, int, int, int, int))                       \
  X(cuTensorMapEncodeIm2col, , (TensorMap *, int, std::uint32_t, void *, const std::uint64_t *, const std::uint64_t *,  \
                                const int *, const int *, std::uint32_t, std::uint32_t, const std::uint32_t *, int, int, \
                                int, int))

class Driver {
 public:
  // Opens the library. Throws std::runtime_error when it or a function of it is missing.
  explicit Driver(const std::string &path);

#define GCR_MEMBER(name, suffix, parameters) Result(*name) parameters = nullptr;
  GCR_DRIVER_FUNCTIONS(GCR_MEMBER)
#undef GCR_MEMBER

  // Throws DriverError unless the call succeeded.
  void check(Result result, const char *what) const;
  std::string error_name(Result result) const;
};

}  // namespace gcr
