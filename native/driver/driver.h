// The driver's entry points that we call ourselves, found by name at run time: everything here builds without a toolkit and runs
// wherever a driver is. One table; native/truth, native/addon and native/recorder use it.
#pragma once

#include <stdexcept>
#include <string>

#include "driver/types.h"

namespace gcr {

// A driver call that failed.
struct DriverError : std::runtime_error {
  DriverError(const std::string &what, Result result) : std::runtime_error(what), result(result) {}
  Result result;
};

// need(name, suffix in the library, parameters): every driver that we can work with has it. may: newer ones have it, else it is null.
#define GCR_DRIVER_FUNCTIONS(need, may)                                                                                    \
  need(cuInit, , (unsigned))                                                                                               \
  need(cuDriverGetVersion, , (int *))                                                                                      \
  need(cuDeviceGet, , (Device *, int))                                                                                     \
  may(cuDeviceGetCount, , (int *))                                                                                         \
  need(cuDeviceGetName, , (char *, int, Device))                                                                           \
  may(cuDeviceGetUuid, _v2, (Uuid *, Device))                                                                              \
  may(cuDeviceTotalMem, _v2, (std::size_t *, Device))                                                                      \
  may(cuDeviceGetAttribute, , (int *, int, Device))                                                                        \
  may(cuDeviceCanAccessPeer, , (int *, Device, Device))                                                                    \
  need(cuDevicePrimaryCtxRetain, , (Context *, Device))                                                                    \
  may(cuDevicePrimaryCtxRelease, _v2, (Device))                                                                            \
  may(cuDevicePrimaryCtxGetState, , (Device, unsigned *, int *))                                                           \
  need(cuCtxSetCurrent, , (Context))                                                                                       \
  may(cuCtxGetCurrent, , (Context *))                                                                                      \
  may(cuCtxGetDevice, , (Device *))                                                                                        \
  need(cuCtxSetLimit, , (int, std::size_t))                                                                                \
  need(cuCtxSynchronize, , (void))                                                                                         \
  need(cuGetErrorName, , (Result, const char **))                                                                          \
  need(cuMemAlloc, _v2, (DevicePointer *, std::size_t))                                                                    \
  may(cuMemHostAlloc, , (void **, std::size_t, unsigned))                                                                  \
  may(cuMemFreeHost, , (void *))                                                                                           \
  may(cuMemHostRegister, _v2, (void *, std::size_t, unsigned))                                                             \
  may(cuMemHostUnregister, , (void *))                                                                                     \
  may(cuMemHostGetDevicePointer, _v2, (DevicePointer *, void *, unsigned))                                                 \
  may(cuMemFree, _v2, (DevicePointer))                                                                                     \
  may(cuMemGetInfo, _v2, (std::size_t *, std::size_t *))                                                                   \
  need(cuMemcpyHtoD, _v2, (DevicePointer, const void *, std::size_t))                                                      \
  need(cuMemcpyDtoH, _v2, (void *, DevicePointer, std::size_t))                                                            \
  may(cuMemcpyHtoDAsync, _v2, (DevicePointer, const void *, std::size_t, Stream))                                          \
  may(cuMemcpyDtoHAsync, _v2, (void *, DevicePointer, std::size_t, Stream))                                                \
  may(cuStreamCreate, , (Stream *, unsigned))                                                                              \
  may(cuStreamCreateWithPriority, , (Stream *, unsigned, int))                                                             \
  may(cuStreamDestroy, _v2, (Stream))                                                                                      \
  may(cuStreamSynchronize, , (Stream))                                                                                     \
  may(cuStreamIsCapturing, , (Stream, int *))                                                                              \
  may(cuStreamGetCaptureInfo, _v3, (Stream, int *, std::uint64_t *, Graph *, const GraphNode **, const void **, std::size_t *)) \
  may(cuCtxGetStreamPriorityRange, , (int *, int *))                                                                       \
  may(cuEventCreate, , (Event *, unsigned))                                                                                \
  may(cuEventDestroy, _v2, (Event))                                                                                        \
  may(cuEventRecord, , (Event, Stream))                                                                                    \
  may(cuEventSynchronize, , (Event))                                                                                       \
  need(cuMemAddressReserve, , (DevicePointer *, std::size_t, std::size_t, DevicePointer, unsigned long long))              \
  need(cuMemAddressFree, , (DevicePointer, std::size_t))                                                                   \
  need(cuMemCreate, , (Handle *, std::size_t, const AllocationProperties *, unsigned long long))                           \
  may(cuMemRelease, , (Handle))                                                                                            \
  need(cuMemMap, , (DevicePointer, std::size_t, std::size_t, Handle, unsigned long long))                                  \
  may(cuMemUnmap, , (DevicePointer, std::size_t))                                                                          \
  need(cuMemSetAccess, , (DevicePointer, std::size_t, const AccessDescriptor *, std::size_t))                              \
  may(cuMemGetAllocationGranularity, , (std::size_t *, const AllocationProperties *, int))                                 \
  may(cuMemExportToShareableHandle, , (void *, Handle, int, unsigned long long))                                           \
  may(cuMemImportFromShareableHandle, , (Handle *, void *, int))                                                           \
  may(cuMemGetAddressRange, _v2, (DevicePointer *, std::size_t *, DevicePointer))                                          \
  need(cuModuleLoadDataEx, , (Module *, const void *, unsigned, int *, void **))                                           \
  need(cuModuleUnload, , (Module))                                                                                         \
  need(cuModuleGetFunction, , (Function *, Module, const char *))                                                          \
  need(cuModuleGetGlobal, _v2, (DevicePointer *, std::size_t *, Module, const char *))                                     \
  may(cuLibraryGetGlobal, , (DevicePointer *, std::size_t *, Library, const char *))                                       \
  need(cuFuncSetAttribute, , (Function, int, int))                                                                         \
  may(cuLibraryGetModule, , (Module *, Library))                                                                           \
  may(cuFuncGetModule, , (Module *, Function))                                                                             \
  may(cuFuncGetName, , (const char **, Function))                                                                          \
  may(cuFuncGetParamInfo, , (Function, std::size_t, std::size_t *, std::size_t *))                                         \
  may(cuFuncGetAttribute, , (int *, int, Function))                                                                        \
  may(cuKernelGetAttribute, , (int *, int, Kernel, Device))                                                                \
  may(cuKernelGetParamInfo, , (Kernel, std::size_t, std::size_t *, std::size_t *))                                         \
  may(cuKernelGetFunction, , (Function *, Kernel))                                                                         \
  may(cuKernelGetName, , (const char **, Kernel))                                                                          \
  may(cuKernelGetLibrary, , (Library *, Kernel))                                                                           \
  need(cuLaunchKernelEx, , (const LaunchConfiguration *, Function, void **, void **))                                      \
  may(cuGraphGetNodes, , (Graph, GraphNode *, std::size_t *))                                                              \
  may(cuGraphNodeGetType, , (GraphNode, int *))                                                                            \
  may(cuGraphKernelNodeGetParams, _v2, (GraphNode, KernelNodeParameters *))                                                \
  may(cuGraphKernelNodeGetAttribute, , (GraphNode, int, void *))                                                           \
  may(cuGraphMemcpyNodeGetParams, , (GraphNode, Copy3D *))                                                                 \
  may(cuGraphMemsetNodeGetParams, , (GraphNode, MemsetNodeParameters *))                                                   \
  may(cuGraphChildGraphNodeGetGraph, , (GraphNode, Graph *))                                                               \
  may(cuGetProcAddress, _v2, (const char *, void **, int, std::uint64_t, int *))                                           \
  may(cuCheckpointProcessLock, , (int, void *))                                                                            \
  may(cuCheckpointProcessCheckpoint, , (int, void *))                                                                      \
  may(cuCheckpointProcessRestore, , (int, void *))                                                                         \
  may(cuCheckpointProcessUnlock, , (int, void *))                                                                          \
  may(cuCheckpointProcessGetState, , (int, int *))                                                                         \
  need(cuTensorMapEncodeTiled, , (TensorMap *, int, std::uint32_t, void *, const std::uint64_t *, const std::uint64_t *,   \
                                  const std::uint32_t *, const std::uint32_t *, int, int, int, int))                       \
  need(cuTensorMapEncodeIm2col, , (TensorMap *, int, std::uint32_t, void *, const std::uint64_t *, const std::uint64_t *,  \
                                   const int *, const int *, std::uint32_t, std::uint32_t, const std::uint32_t *, int, int, \
                                   int, int))

class Driver {
 public:
  // Nothing found yet.
  Driver() = default;

  // Opens the library. Throws std::runtime_error when it or a function that every driver has is missing.
  explicit Driver(const std::string &path);

  // Finds the functions in an open library by a lookup of dlsym's form; what is missing stays null.
  void find(void *library, void *(*lookup)(void *, const char *));

#define GCR_MEMBER(name, suffix, parameters) Result(*name) parameters = nullptr;
  GCR_DRIVER_FUNCTIONS(GCR_MEMBER, GCR_MEMBER)
#undef GCR_MEMBER

  // What memory on a device is asked for with that is to be exported. Other devices of the bus may use it, where they can, as they may use what
  // cuMemAlloc gives.
  AllocationProperties exportable_on(Device device) const;

  // Throws DriverError unless the call succeeded.
  void check(Result result, const char *what) const;
  std::string error_name(Result result) const;
};

}  // namespace gcr
