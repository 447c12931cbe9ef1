// The entry points that the test programs use, declared like cuda.h declares them.
#pragma once

#include <cstdint>

#include "simdriver/cuda_types.h"

extern "C" {
#define DECLARE(name, ...) gcr::sim::Result name(__VA_ARGS__)
using gcr::sim::DevicePointer;
using size_type = std::size_t;

DECLARE(cuInit, unsigned);
DECLARE(cuDriverGetVersion, int *);
DECLARE(cuGetErrorName, int, const char **);
DECLARE(cuDeviceGet, int *, int);
DECLARE(cuDeviceGetName, char *, int, int);
DECLARE(cuDeviceGetAttribute, int *, int, int);
DECLARE(cuDeviceTotalMem_v2, size_type *, int);
DECLARE(cuDevicePrimaryCtxRetain, void **, int);
DECLARE(cuDevicePrimaryCtxRelease_v2, int);
DECLARE(cuCtxCreate_v2, void **, unsigned, int);
DECLARE(cuCtxDestroy_v2, void *);
DECLARE(cuCtxSetCurrent, void *);
DECLARE(cuCtxGetCurrent, void **);
DECLARE(cuCtxSynchronize);
DECLARE(cuModuleLoadData, void **, const void *);
DECLARE(cuModuleLoadDataEx, void **, const void *, unsigned, int *, void **);
DECLARE(cuModuleUnload, void *);
DECLARE(cuModuleGetFunction, void **, void *, const char *);
DECLARE(cuModuleGetGlobal_v2, DevicePointer *, size_type *, void *, const char *);
DECLARE(cuLibraryLoadData, void **, const void *, int *, void **, unsigned, int *, void **, unsigned);
DECLARE(cuLibraryGetKernel, void **, void *, const char *);
DECLARE(cuLibraryUnload, void *);
DECLARE(cuKernelGetFunction, void **, void *);
DECLARE(cuFuncGetParamInfo, void *, size_type, size_type *, size_type *);
DECLARE(cuFuncSetAttribute, void *, int, int);
DECLARE(cuOccupancyMaxActiveBlocksPerMultiprocessor, int *, void *, int, size_type);
DECLARE(cuMemAlloc_v2, DevicePointer *, size_type);
DECLARE(cuMemAllocPitch_v2, DevicePointer *, size_type *, size_type, size_type, unsigned);
DECLARE(cuMemFree_v2, DevicePointer);
DECLARE(cuMemGetInfo_v2, size_type *, size_type *);
DECLARE(cuMemGetAddressRange_v2, DevicePointer *, size_type *, DevicePointer);
DECLARE(cuMemAllocManaged, DevicePointer *, size_type, unsigned);
DECLARE(cuMemHostAlloc, void **, size_type, unsigned);
DECLARE(cuMemFreeHost, void *);
DECLARE(cuMemAllocAsync, DevicePointer *, size_type, void *);
DECLARE(cuMemFreeAsync, DevicePointer, void *);
DECLARE(cuMemAddressReserve, DevicePointer *, size_type, size_type, DevicePointer, unsigned long long);
DECLARE(cuMemAddressFree, DevicePointer, size_type);
DECLARE(cuMemCreate, std::uint64_t *, size_type, const gcr::sim::AllocationProperties *, unsigned long long);
DECLARE(cuMemRelease, std::uint64_t);
DECLARE(cuMemMap, DevicePointer, size_type, size_type, std::uint64_t, unsigned long long);
DECLARE(cuMemUnmap, DevicePointer, size_type);
DECLARE(cuMemSetAccess, DevicePointer, size_type, const gcr::sim::AccessDescriptor *, size_type);
DECLARE(cuMemExportToShareableHandle, void *, std::uint64_t, int, unsigned long long);
DECLARE(cuMemImportFromShareableHandle, std::uint64_t *, void *, int);
DECLARE(cuIpcGetMemHandle, gcr::IpcHandle *, DevicePointer);
DECLARE(cuIpcOpenMemHandle_v2, DevicePointer *, gcr::IpcHandle, unsigned);
DECLARE(cuIpcCloseMemHandle, DevicePointer);
DECLARE(cuMemRetainAllocationHandle, std::uint64_t *, void *);
DECLARE(cuMemcpyHtoD_v2, DevicePointer, const void *, size_type);
DECLARE(cuMemcpyDtoH_v2, void *, DevicePointer, size_type);
DECLARE(cuMemcpyDtoD_v2, DevicePointer, DevicePointer, size_type);
DECLARE(cuMemcpyHtoDAsync_v2, DevicePointer, const void *, size_type, void *);
DECLARE(cuMemcpyDtoHAsync_v2, void *, DevicePointer, size_type, void *);
DECLARE(cuMemcpyDtoDAsync_v2, DevicePointer, DevicePointer, size_type, void *);
DECLARE(cuMemcpy2D_v2, const gcr::sim::Copy2D *);
DECLARE(cuMemcpy3D_v2, const gcr::sim::Copy3D *);
DECLARE(cuMemsetD8_v2, DevicePointer, unsigned char, size_type);
DECLARE(cuMemsetD32_v2, DevicePointer, unsigned, size_type);
DECLARE(cuMemsetD32Async, DevicePointer, unsigned, size_type, void *);
DECLARE(cuMemsetD2D8_v2, DevicePointer, size_type, unsigned char, size_type, size_type);
DECLARE(cuPointerGetAttribute, void *, int, DevicePointer);
DECLARE(cuStreamCreate, void **, unsigned);
DECLARE(cuStreamDestroy_v2, void *);
DECLARE(cuStreamSynchronize, void *);
DECLARE(cuStreamQuery, void *);
DECLARE(cuStreamWaitEvent, void *, void *, unsigned);
DECLARE(cuStreamWaitValue32_v2, void *, DevicePointer, std::uint32_t, unsigned);
DECLARE(cuStreamWriteValue32_v2, void *, DevicePointer, std::uint32_t, unsigned);
DECLARE(cuStreamBeginCapture_v2, void *, int);
DECLARE(cuStreamEndCapture, void *, void **);
DECLARE(cuStreamIsCapturing, void *, int *);
DECLARE(cuLaunchHostFunc, void *, gcr::sim::HostFunction, void *);
DECLARE(cuEventCreate, void **, unsigned);
DECLARE(cuEventDestroy_v2, void *);
DECLARE(cuEventRecord, void *, void *);
DECLARE(cuEventQuery, void *);
DECLARE(cuEventSynchronize, void *);
DECLARE(cuEventElapsedTime, float *, void *, void *);
DECLARE(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
        void **);
DECLARE(cuLaunchKernel_ptsz, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
        void **);
DECLARE(cuLaunchKernelEx, const gcr::sim::LaunchConfiguration *, void *, void **, void **);
DECLARE(cuLaunchCooperativeKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
        void **);
DECLARE(cuGraphCreate, void **, unsigned);
DECLARE(cuGraphDestroy, void *);
DECLARE(cuGraphClone, void **, void *);
DECLARE(cuGraphAddKernelNode_v2, void **, void *, void *const *, size_type, const gcr::sim::KernelNodeParameters *);
DECLARE(cuGraphAddMemcpyNode, void **, void *, void *const *, size_type, const gcr::sim::Copy3D *, void *);
DECLARE(cuGraphAddMemsetNode, void **, void *, void *const *, size_type, const gcr::sim::MemsetNodeParameters *, void *);
DECLARE(cuGraphAddEmptyNode, void **, void *, void *const *, size_type);
DECLARE(cuGraphAddChildGraphNode, void **, void *, void *const *, size_type, void *);
DECLARE(cuGraphGetNodes, void *, void **, size_type *);
DECLARE(cuGraphGetEdges, void *, void **, void **, size_type *);
DECLARE(cuGraphNodeGetType, void *, int *);
DECLARE(cuGraphKernelNodeGetParams_v2, void *, gcr::sim::KernelNodeParameters *);
DECLARE(cuGraphInstantiateWithFlags, void **, void *, unsigned long long);
DECLARE(cuGraphExecKernelNodeSetParams_v2, void *, void *, const gcr::sim::KernelNodeParameters *);
DECLARE(cuGraphExecUpdate_v2, void *, void *, gcr::sim::GraphExecUpdateInfo *);
DECLARE(cuGraphExecDestroy, void *);
DECLARE(cuGraphLaunch, void *, void *);
DECLARE(cuGetProcAddress_v2, const char *, void **, int, std::uint64_t, int *);
DECLARE(cuCheckpointProcessGetState, int, int *);
DECLARE(cuCheckpointProcessLock, int, gcr::sim::CheckpointLockArguments *);
DECLARE(cuCheckpointProcessCheckpoint, int, void *);
DECLARE(cuCheckpointProcessRestore, int, void *);
DECLARE(cuCheckpointProcessUnlock, int, void *);
#undef DECLARE
}
