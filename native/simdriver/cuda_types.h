// The driver's types as the simulated driver uses them: those that the recorder uses, too (driver/types.h), and those that only a driver needs.
// Handles are the simulated driver's own objects. test/layout_test.cpp holds layouts against a toolkit's header where one is installed.
#pragma once

#include "driver/types.h"

namespace gcr::sim {

using namespace gcr::result;

using gcr::AccessDescriptor;
using gcr::AllocationProperties;
using gcr::CheckpointLockArguments;
using gcr::Copy2D;
using gcr::Copy3D;
using gcr::Device;
using gcr::DevicePointer;
using gcr::GraphInstantiateParameters;
using gcr::KernelNodeParameters;
using gcr::LaunchAttribute;
using gcr::LaunchConfiguration;
using gcr::MemoryLocation;
using gcr::MemsetNodeParameters;
using gcr::Result;
using gcr::Uuid;
using gcr::access_read_write;
using gcr::allocation_pinned;
using gcr::attribute_cluster;
using gcr::attribute_cooperative;
using gcr::handle_file_descriptor;
using gcr::location_device;
using gcr::memory_array;
using gcr::memory_device;
using gcr::memory_host;
using gcr::memory_unified;
using gcr::node_empty;
using gcr::node_event_record;
using gcr::node_graph;
using gcr::node_host;
using gcr::node_kernel;
using gcr::node_memcpy;
using gcr::node_memset;
using gcr::node_wait_event;

using NodeType = int;

using HostFunction = void (*)(void *);
using StreamCallback = void (*)(void *stream, Result status, void *data);

struct HostNodeParameters {
  HostFunction function;
  void *data;
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

}  // namespace gcr::sim
