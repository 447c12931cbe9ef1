// Our declarations against the toolkit's: sizes, and places of the fields that are read. Compiled, never run.
#include <cuda.h>

#include <cstddef>

#include "../cuda_types.h"

namespace sim = gcr::sim;

#define SAME(ours, theirs) static_assert(sizeof(sim::ours) == sizeof(theirs))
#define PLACE(ours, field, theirs, their_field) \
  static_assert(offsetof(sim::ours, field) == offsetof(theirs, their_field))

SAME(AllocationProperties, CUmemAllocationProp);
PLACE(AllocationProperties, flags, CUmemAllocationProp, allocFlags);
SAME(AccessDescriptor, CUmemAccessDesc);
SAME(Copy2D, CUDA_MEMCPY2D);
PLACE(Copy2D, target_pitch, CUDA_MEMCPY2D, dstPitch);
SAME(Copy3D, CUDA_MEMCPY3D);
SAME(Copy3D, CUDA_MEMCPY3D_PEER);
PLACE(Copy3D, target_device, CUDA_MEMCPY3D, dstDevice);
PLACE(Copy3D, source_height, CUDA_MEMCPY3D, srcHeight);
SAME(LaunchAttribute, CUlaunchAttribute);
PLACE(LaunchAttribute, value, CUlaunchAttribute, value);
static_assert(CU_LAUNCH_ATTRIBUTE_COOPERATIVE == 2 && CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION == 4);
SAME(LaunchConfiguration, CUlaunchConfig);
PLACE(LaunchConfiguration, attributes, CUlaunchConfig, attrs);
SAME(KernelNodeParams, CUDA_KERNEL_NODE_PARAMS_v2);
static_assert(offsetof(sim::KernelNodeParams, kernel) == sizeof(CUDA_KERNEL_NODE_PARAMS_v1));
SAME(MemsetNodeParams, CUDA_MEMSET_NODE_PARAMS_v1);
SAME(HostNodeParams, CUDA_HOST_NODE_PARAMS_v1);
SAME(GraphInstantiateParams, CUDA_GRAPH_INSTANTIATE_PARAMS);
SAME(GraphExecUpdateInfo, CUgraphExecUpdateResultInfo);
SAME(EdgeData, CUgraphEdgeData);
SAME(PoolProperties, CUmemPoolProps);
SAME(CheckpointLockArguments, CUcheckpointLockArgs);
static_assert(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE == 910 && CUDA_ERROR_DEVICE_UNAVAILABLE == 46);
static_assert(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD == 908 && CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE == 720);
