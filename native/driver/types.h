// The types of the CUDA driver's interface that we use, declared here so that nothing needs a toolkit. Layouts and numbers follow
// cuda.h of CUDA 12 and 13; recorder/test/cuda_header_test.cpp holds them against it where a toolkit is installed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gcr {

using DevicePointer = unsigned long long;
using Result = int;
using Device = int;
using Handle = unsigned long long;
using Context = struct ContextOpaque *;
using Module = struct ModuleOpaque *;
using Function = struct FunctionOpaque *;
using Library = struct LibraryOpaque *;
using Kernel = struct KernelOpaque *;
using Stream = struct StreamOpaque *;
using Event = struct EventOpaque *;
using Graph = struct GraphOpaque *;
using GraphNode = struct GraphNodeOpaque *;
using GraphExec = struct GraphExecOpaque *;
using Array = struct ArrayOpaque *;
using MipmappedArray = struct MipmappedArrayOpaque *;
using Pool = struct PoolOpaque *;
using ExternalMemory = struct ExternalMemoryOpaque *;
using GreenContext = struct GreenContextOpaque *;
using LinkState = struct LinkStateOpaque *;

// Results. The simulated driver's table of names and texts is simdriver/result.cpp.
namespace result {
constexpr Result success = 0;
constexpr Result invalid_value = 1;
constexpr Result out_of_memory = 2;
constexpr Result not_initialized = 3;
constexpr Result device_unavailable = 46;
constexpr Result no_device = 100;
constexpr Result invalid_device = 101;
constexpr Result invalid_image = 200;
constexpr Result invalid_context = 201;
constexpr Result map_failed = 205;
constexpr Result no_binary_for_gpu = 209;
constexpr Result peer_access_unsupported = 217;
constexpr Result invalid_ptx = 218;
constexpr Result file_not_found = 301;
constexpr Result operating_system = 304;
constexpr Result invalid_handle = 400;
constexpr Result illegal_state = 401;
constexpr Result not_found = 500;
constexpr Result not_ready = 600;
constexpr Result illegal_address = 700;
constexpr Result launch_out_of_resources = 701;
constexpr Result launch_timeout = 702;
constexpr Result primary_context_active = 708;
constexpr Result assert_failed = 710;
constexpr Result host_memory_already_registered = 712;
constexpr Result host_memory_not_registered = 713;
constexpr Result illegal_instruction = 715;
constexpr Result launch_failed = 719;
constexpr Result cooperative_launch_too_large = 720;
constexpr Result not_permitted = 800;
constexpr Result not_supported = 801;
constexpr Result stream_capture_unsupported = 900;
constexpr Result stream_capture_invalidated = 901;
constexpr Result stream_capture_merge = 902;
constexpr Result stream_capture_unmatched = 903;
constexpr Result stream_capture_unjoined = 904;
constexpr Result stream_capture_isolation = 905;
constexpr Result stream_capture_implicit = 906;
constexpr Result captured_event = 907;
constexpr Result stream_capture_wrong_thread = 908;
constexpr Result graph_exec_update_failure = 910;
constexpr Result invalid_cluster_size = 912;
constexpr Result unknown = 999;
}  // namespace result

struct Uuid {
  unsigned char bytes[16];
};

struct MemoryLocation {
  int type;  // 1: device
  int id;
};
constexpr int location_device = 1;

struct AllocationProperties {
  int type;  // 1: pinned
  int handle_types;
  MemoryLocation location;
  void *windows_metadata;
  unsigned char flags[8];  // the second: may be used by other devices of the bus (gpuDirectRDMACapable)
};
constexpr int allocation_pinned = 1;
constexpr int handle_file_descriptor = 1;
constexpr int gpu_direct_flag = 1;  // position in `flags`

struct AccessDescriptor {
  MemoryLocation location;
  int flags;  // 3: read and write
};
constexpr int access_read_write = 3;

struct LaunchAttribute {
  int id;
  char padding[4];
  union {
    char bytes[64];
    unsigned cluster[3];
    int cooperative;
    Event event;
  } value;
};
constexpr int attribute_cooperative = 2;
constexpr int attribute_cluster = 4;
constexpr int attribute_programmatic_event = 7;
constexpr int attribute_preferred_cluster = 11;
constexpr int attribute_completion_event = 12;
constexpr int attribute_updatable_node = 13;

// Attributes of a function: the cluster that it is launched in when the launch names none.
constexpr int required_cluster_width = 11, required_cluster_depth = 13;

struct LaunchConfiguration {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_memory;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attribute_count;
};

// Ends of a list of launch extras.
inline void *const extra_end = nullptr;
inline void *const extra_pointer = reinterpret_cast<void *>(1);
inline void *const extra_size = reinterpret_cast<void *>(2);

struct CooperativeLaunch {
  Function function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_memory;
  Stream stream;
  void **parameters;
};

constexpr unsigned memory_host = 1, memory_device = 2, memory_array = 3, memory_unified = 4;

struct CopySide2D {
  std::size_t x_bytes, y;
  unsigned memory_type;
  void *host;
  DevicePointer device;
  Array array;
  std::size_t pitch;
};

struct Copy2D {
  CopySide2D source, target;
  std::size_t width_bytes, height;
};

struct CopySide3D {
  std::size_t x_bytes, y, z, lod;
  unsigned memory_type;
  void *host;
  DevicePointer device;
  Array array;
  void *context;  // of the peer copy; reserved otherwise
  std::size_t pitch, height;
};

struct Copy3D {
  CopySide3D source, target;
  std::size_t width_bytes, height, depth;
};

struct KernelNodeParameters {
  Function function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_memory;
  void **parameters;
  void **extra;
  Kernel kernel;
  Context context;
};

struct MemsetNodeParameters {
  DevicePointer target;
  std::size_t pitch;
  unsigned value, element;
  std::size_t width, height;
};

// Of a node of any type, as far as we look at it.
struct GraphNodeParameters {
  int type;
  int unused[3];
  union {
    std::uint64_t padding[29];
    struct {
      MemsetNodeParameters parameters;
      Context context;
    } set;
  };
  std::uint64_t unused2;
};

constexpr int node_kernel = 0, node_memcpy = 1, node_memset = 2, node_host = 3, node_graph = 4, node_empty = 5,
              node_wait_event = 6, node_event_record = 7;

struct GraphInstantiateParameters {
  std::uint64_t flags;
  Stream upload_stream;
  GraphNode error_node;
  int result;
};
constexpr std::uint64_t instantiate_device_launch = 4;

// An operation of cuStreamBatchMemOp: waits, writes, a barrier or a flush.
union StreamOperation {
  int operation;  // 1: wait 32, 2: write 32, 4: wait 64, 5: write 64
  struct {
    int operation;
    DevicePointer address;
    union {
      std::uint32_t value32;
      std::uint64_t value64;
    };
    unsigned flags;
    DevicePointer alias;
  } one;
  std::uint64_t padding[6];
};
constexpr int operation_wait_32 = 1, operation_write_32 = 2, operation_wait_64 = 4, operation_write_64 = 5;

struct IpcHandle {
  char bytes[64];
};

// The beginning of the description of a buffer in external memory.
struct ExternalBuffer {
  unsigned long long offset, size;
};

struct CheckpointLockArguments {
  unsigned timeout_ms;
  unsigned reserved0;
  std::uint64_t reserved1[7];
};

struct alignas(64) TensorMap {
  unsigned char bytes[128];
};

static_assert(sizeof(AllocationProperties) == 32 && sizeof(AccessDescriptor) == 12);
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfiguration) == 56);
static_assert(sizeof(Copy2D) == 128 && sizeof(Copy3D) == 200 && sizeof(StreamOperation) == 48);
static_assert(sizeof(KernelNodeParameters) == 72 && sizeof(MemsetNodeParameters) == 40);
static_assert(sizeof(GraphNodeParameters) == 256);
static_assert(sizeof(CheckpointLockArguments) == 64);

}  // namespace gcr
