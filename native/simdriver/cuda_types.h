// The part of the CUDA driver's interface that the simulated driver exports, declared here: it builds without a toolkit. Layouts
// and numbers follow cuda.h of CUDA 12 and 13; test/layout_test.cpp holds them against a toolkit's header where one is installed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gcr::sim {

using DevicePointer = unsigned long long;
using Device = int;

// Results. The table result.cpp gives each its name and text.
enum Result : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  no_binary_for_gpu = 209,
  invalid_ptx = 218,
  file_not_found = 301,
  operating_system = 304,
  invalid_handle = 400,
  illegal_state = 401,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_timeout = 702,
  launch_out_of_resources = 701,
  primary_context_active = 708,
  assert_failed = 710,
  host_memory_already_registered = 712,
  host_memory_not_registered = 713,
  illegal_instruction = 715,
  launch_failed = 719,
  cooperative_launch_too_large = 720,
  not_permitted = 800,
  not_supported = 801,
  stream_capture_unsupported = 900,
  stream_capture_invalidated = 901,
  stream_capture_merge = 902,
  stream_capture_unmatched = 903,
  stream_capture_unjoined = 904,
  stream_capture_isolation = 905,
  stream_capture_implicit = 906,
  captured_event = 907,
  stream_capture_wrong_thread = 908,
  graph_exec_update_failure = 910,
  device_unavailable = 46,
  unknown = 999,
};

struct Uuid {
  unsigned char bytes[16];
};

struct MemoryLocation {
  int type;  // 1: device
  int id;
};

struct AllocationProperties {
  int type;          // 1: pinned
  int handle_types;  // 1: POSIX file descriptor
  MemoryLocation location;
  void *windows_metadata;
  struct {
    unsigned char compression, rdma;
    unsigned short usage;
    unsigned char reserved[4];
  } flags;
};

struct AccessDescriptor {
  MemoryLocation location;
  int flags;  // 0: none, 1: read, 3: read and write
};

enum MemoryType : int { memory_host = 1, memory_device = 2, memory_array = 3, memory_unified = 4 };

struct Copy2D {
  std::size_t source_x, source_y;
  int source_type;
  const void *source_host;
  DevicePointer source_device;
  void *source_array;
  std::size_t source_pitch;
  std::size_t target_x, target_y;
  int target_type;
  void *target_host;
  DevicePointer target_device;
  void *target_array;
  std::size_t target_pitch;
  std::size_t width, height;
};

struct Copy3D {
  std::size_t source_x, source_y, source_z, source_lod;
  int source_type;
  const void *source_host;
  DevicePointer source_device;
  void *source_array;
  void *source_context;  // of a copy between contexts; else reserved
  std::size_t source_pitch, source_height;
  std::size_t target_x, target_y, target_z, target_lod;
  int target_type;
  void *target_host;
  DevicePointer target_device;
  void *target_array;
  void *target_context;
  std::size_t target_pitch, target_height;
  std::size_t width, height, depth;
};

using HostFunction = void (*)(void *);
using StreamCallback = void (*)(void *stream, Result status, void *data);

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

// The first version ends before `kernel`.
struct KernelNodeParams {
  void *function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_memory;
  void **parameters;
  void **extra;
  void *kernel;
  void *context;
};

struct MemsetNodeParams {
  DevicePointer target;
  std::size_t pitch;
  unsigned value;
  unsigned element;
  std::size_t width;  // in elements
  std::size_t height;
};

struct HostNodeParams {
  HostFunction function;
  void *data;
};

struct GraphInstantiateParams {
  unsigned long long flags;
  void *upload_stream;
  void *error_node;
  int result;
};

struct GraphExecUpdateInfo {
  int result;
  void *error_node;
  void *error_from_node;
};

struct EdgeData {
  unsigned char from_port, to_port, type, reserved[5];
};

struct PoolProperties {
  int type;
  int handle_types;
  MemoryLocation location;
  void *windows_metadata;
  std::size_t limit;
  unsigned short usage;
  unsigned char reserved[54];
};

struct CheckpointLockArguments {
  unsigned timeout_ms;
  unsigned reserved0;
  std::uint64_t reserved1[7];
};

enum NodeType : int {
  node_kernel = 0,
  node_copy = 1,
  node_set = 2,
  node_host = 3,
  node_graph = 4,
  node_empty = 5,
  node_wait_event = 6,
  node_record_event = 7,
};

}  // namespace gcr::sim
