// Holds our declarations against cuda.h where a toolkit is installed: sizes and numbers of what we lay out ourselves, and for each row of
// hooks.def how many parameters its entry point takes and how large each is. Compiling is the test.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>

#include <tuple>
#include <type_traits>

#include "driver/types.h"

namespace theirs {
template <class>
struct Shape;
template <class Result, class... Parameters>
struct Shape<Result(Parameters...)> {
  static constexpr std::size_t count = sizeof...(Parameters);
  template <std::size_t I>
  using At = std::tuple_element_t<I, std::tuple<Parameters...>>;
};

template <class A, class B, std::size_t... I>
constexpr bool alike(std::index_sequence<I...>) {
  return ((sizeof(typename A::template At<I>) == sizeof(typename B::template At<I>)) && ... && true) &&
         ((std::is_pointer_v<typename A::template At<I>> == std::is_pointer_v<typename B::template At<I>>) && ... && true);
}
template <class A, class B>
constexpr bool same_shape() {
  if constexpr (A::count != B::count) return false;
  else return alike<A, B>(std::make_index_sequence<A::count>());
}
}  // namespace theirs

namespace ours {
using namespace gcr;
#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_SHAPE(symbol, parameters, arguments) \
  static_assert(theirs::same_shape<theirs::Shape<std::remove_pointer_t<decltype(&::symbol)>>, theirs::Shape<Result parameters>>(), #symbol);
#define GCR_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_SHAPE, base##suffix, GCR_##handler)
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
}  // namespace ours

static_assert(sizeof(gcr::Copy2D) == sizeof(CUDA_MEMCPY2D) && offsetof(gcr::Copy2D, target) == offsetof(CUDA_MEMCPY2D, dstXInBytes));
static_assert(offsetof(gcr::Copy2D, width_bytes) == offsetof(CUDA_MEMCPY2D, WidthInBytes));
static_assert(offsetof(gcr::Copy2D, target.device) == offsetof(CUDA_MEMCPY2D, dstDevice));
static_assert(sizeof(gcr::Copy3D) == sizeof(CUDA_MEMCPY3D) && offsetof(gcr::Copy3D, target) == offsetof(CUDA_MEMCPY3D, dstXInBytes));
static_assert(sizeof(gcr::Copy3D) == sizeof(CUDA_MEMCPY3D_PEER) && offsetof(gcr::Copy3D, target.pitch) == offsetof(CUDA_MEMCPY3D_PEER, dstPitch));
static_assert(offsetof(gcr::Copy3D, target.device) == offsetof(CUDA_MEMCPY3D, dstDevice) && offsetof(gcr::Copy3D, depth) == offsetof(CUDA_MEMCPY3D, Depth));
static_assert(sizeof(gcr::KernelNodeParameters) == sizeof(CUDA_KERNEL_NODE_PARAMS_v2));
static_assert(offsetof(gcr::KernelNodeParameters, parameters) == offsetof(CUDA_KERNEL_NODE_PARAMS_v2, kernelParams));
static_assert(offsetof(gcr::KernelNodeParameters, kernel) == offsetof(CUDA_KERNEL_NODE_PARAMS_v2, kern));
static_assert(sizeof(gcr::MemsetNodeParameters) == sizeof(CUDA_MEMSET_NODE_PARAMS));
static_assert(offsetof(gcr::MemsetNodeParameters, value) == offsetof(CUDA_MEMSET_NODE_PARAMS, value));
static_assert(offsetof(gcr::MemsetNodeParameters, width) == offsetof(CUDA_MEMSET_NODE_PARAMS, width));
static_assert(sizeof(gcr::GraphNodeParameters) == sizeof(CUgraphNodeParams) && CU_GRAPH_NODE_TYPE_MEMSET == gcr::node_memset);
static_assert(offsetof(gcr::GraphNodeParameters, set) == offsetof(CUgraphNodeParams, memset));
static_assert(offsetof(gcr::GraphNodeParameters, set.context) == offsetof(CUgraphNodeParams, memset.ctx));
static_assert(offsetof(CUDA_MEMSET_NODE_PARAMS_v2, width) == offsetof(gcr::MemsetNodeParameters, width));
static_assert(gcr::attribute_programmatic_event == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_EVENT && gcr::attribute_completion_event == CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT);
static_assert(gcr::attribute_preferred_cluster == CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION);
static_assert(offsetof(CUlaunchAttributeValue, programmaticEvent.event) == 0 && offsetof(CUlaunchAttributeValue, launchCompletionEvent.event) == 0);
static_assert(gcr::required_cluster_width == CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH && gcr::required_cluster_depth == CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH);
static_assert(sizeof(gcr::LaunchConfiguration) == sizeof(CUlaunchConfig) && offsetof(gcr::LaunchConfiguration, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(sizeof(gcr::LaunchAttribute) == sizeof(CUlaunchAttribute) && offsetof(gcr::LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(sizeof(gcr::CooperativeLaunch) == sizeof(CUDA_LAUNCH_PARAMS) && offsetof(gcr::CooperativeLaunch, parameters) == offsetof(CUDA_LAUNCH_PARAMS, kernelParams));
static_assert(sizeof(gcr::AllocationProperties) == sizeof(CUmemAllocationProp) && sizeof(gcr::AccessDescriptor) == sizeof(CUmemAccessDesc));
static_assert(offsetof(gcr::AllocationProperties, flags) == offsetof(CUmemAllocationProp, allocFlags));
static_assert(offsetof(CUmemAllocationProp, allocFlags.gpuDirectRDMACapable) - offsetof(CUmemAllocationProp, allocFlags) == gcr::gpu_direct_flag);
static_assert(sizeof(gcr::StreamOperation) == sizeof(CUstreamBatchMemOpParams) && offsetof(gcr::StreamOperation, one.address) == offsetof(CUstreamBatchMemOpParams, writeValue.address));
static_assert(sizeof(gcr::IpcHandle) == sizeof(CUipcMemHandle) && offsetof(gcr::ExternalBuffer, size) == offsetof(CUDA_EXTERNAL_MEMORY_BUFFER_DESC, size));
static_assert(sizeof(gcr::GraphInstantiateParameters) == sizeof(CUDA_GRAPH_INSTANTIATE_PARAMS) && sizeof(gcr::TensorMap) == sizeof(CUtensorMap));
static_assert(sizeof(gcr::Uuid) == sizeof(CUuuid));
static_assert(gcr::result::not_found == CUDA_ERROR_NOT_FOUND && gcr::result::not_supported == CUDA_ERROR_NOT_SUPPORTED);
static_assert(gcr::result::graph_exec_update_failure == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE && gcr::result::device_unavailable == CUDA_ERROR_DEVICE_UNAVAILABLE);
static_assert(gcr::result::stream_capture_wrong_thread == CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD && gcr::result::launch_timeout == CUDA_ERROR_LAUNCH_TIMEOUT);
static_assert(gcr::result::cooperative_launch_too_large == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE && gcr::result::not_permitted == CUDA_ERROR_NOT_PERMITTED);
static_assert(gcr::result::invalid_cluster_size == CUDA_ERROR_INVALID_CLUSTER_SIZE);
static_assert(sizeof(gcr::CheckpointLockArguments) == sizeof(CUcheckpointLockArgs));
static_assert(gcr::attribute_cooperative == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && gcr::attribute_cluster == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(gcr::attribute_updatable_node == CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE);
static_assert(gcr::node_kernel == CU_GRAPH_NODE_TYPE_KERNEL && gcr::node_graph == CU_GRAPH_NODE_TYPE_GRAPH && gcr::node_event_record == CU_GRAPH_NODE_TYPE_EVENT_RECORD);
static_assert(gcr::node_memcpy == CU_GRAPH_NODE_TYPE_MEMCPY && gcr::node_memset == CU_GRAPH_NODE_TYPE_MEMSET && gcr::node_empty == CU_GRAPH_NODE_TYPE_EMPTY);
static_assert(gcr::node_host == CU_GRAPH_NODE_TYPE_HOST && gcr::node_wait_event == CU_GRAPH_NODE_TYPE_WAIT_EVENT);
static_assert(gcr::memory_unified == CU_MEMORYTYPE_UNIFIED && gcr::memory_device == CU_MEMORYTYPE_DEVICE && gcr::memory_array == CU_MEMORYTYPE_ARRAY);
static_assert(gcr::operation_write_64 == CU_STREAM_MEM_OP_WRITE_VALUE_64 && gcr::operation_wait_64 == CU_STREAM_MEM_OP_WAIT_VALUE_64);
static_assert(gcr::operation_wait_32 == CU_STREAM_MEM_OP_WAIT_VALUE_32 && gcr::operation_write_32 == CU_STREAM_MEM_OP_WRITE_VALUE_32);
static_assert(gcr::instantiate_device_launch == CUDA_GRAPH_INSTANTIATE_FLAG_DEVICE_LAUNCH);
static_assert(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR == 11 && CU_POINTER_ATTRIBUTE_RANGE_SIZE == 12);
static_assert(CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES == 3 && CU_STREAM_MEM_OP_BARRIER == 6);
static_assert(CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED == 110 && CU_JIT_INPUT_PTX == 1);
static_assert(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED == 900 && CUDA_ERROR_STREAM_CAPTURE_INVALIDATED == 901 && CUDA_ERROR_STREAM_CAPTURE_IMPLICIT == 906);

int main() {}
