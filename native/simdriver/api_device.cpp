// Entry points: initialisation, errors, the device.
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "driver.h"
#include "limits.h"

namespace gcr::sim {
namespace {

struct Attribute {
  int number;
  int value;
};

// CUdevice_attribute in cuda.h. Whatever is not listed is 0: a feature that is not there.
constexpr Attribute attributes[] = {
    {1, max_block_threads},
    {2, max_block[0]},
    {3, max_block[1]},
    {4, max_block[2]},
    {5, max_grid[0]},
    {6, max_grid[1]},
    {7, max_grid[2]},
    {8, shared_per_block},
    {9, 64 << 10},  // constant memory
    {10, warp_size},
    {11, 0x7fffffff},  // pitch
    {12, registers_per_block},
    {13, 1000000},  // clock, kHz
    {14, 512},      // alignment of textures
    {15, 1},        // copies overlap kernels
    {16, multiprocessors},
    {18, 0},  // integrated
    {19, 1},  // can map host memory
    {20, 0},  // compute mode: default
    {31, 1},  // concurrent kernels: of different streams, in an order of their own
    {33, 0},  // PCI bus
    {34, 0},  // PCI device
    {36, 1000000},
    {37, 64},  // bus width
    {38, 4 << 20},
    {39, threads_per_multiprocessor},
    {40, 2},  // copy engines
    {41, 1},  // unified addressing
    {50, 0},  // PCI domain
    {75, capability_major},
    {76, capability_minor},
    {78, 1},  // stream priorities
    {81, shared_per_multiprocessor},
    {82, registers_per_block},
    {92, 1},  // stream memory operations, 64 bit
    {93, 1},
    {94, 1},
    {95, 1},  // cooperative launch
    {97, shared_per_block_optin},
    {102, 1},  // virtual memory management
    {103, 1},  // handles are POSIX file descriptors
    {106, blocks_per_multiprocessor},
    {111, shared_reserved},
    {115, 1},  // memory pools
    {120, 1},  // cluster launch
    {122, 1},  // stream memory operations
    {123, 1},
};

void check_device(Device device) { require(device == 0, invalid_device); }

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

GCR_SIM_API cuInit(unsigned flags) {
  return call<Need::nothing>([&](Driver &driver) {
    require(flags == 0, invalid_value);
    const Result result = driver.initialize();
    require(result == success, result);
  });
}

GCR_SIM_API cuDriverGetVersion(int *version) {
  return call<Need::nothing>([&](Driver &) {
    require(version, invalid_value);
    *version = driver_version;
  });
}

GCR_SIM_API cuGetErrorName(int error, const char **name) {
  if (!name) return invalid_value;
  *name = result_name(error);
  return *name ? success : invalid_value;
}

GCR_SIM_API cuGetErrorString(int error, const char **text) {
  if (!text) return invalid_value;
  *text = result_text(error);
  return *text ? success : invalid_value;
}

GCR_SIM_API cuDeviceGet(Device *device, int ordinal) {
  return call<Need::initialized>([&](Driver &) {
    require(device, invalid_value);
    check_device(ordinal);
    *device = 0;
  });
}

GCR_SIM_API cuDeviceGetCount(int *count) {
  return call<Need::initialized>([&](Driver &) {
    require(count, invalid_value);
    *count = 1;
  });
}

GCR_SIM_API cuDeviceGetName(char *name, int length, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(name && length > 0, invalid_value);
    check_device(device);
    std::snprintf(name, static_cast<std::size_t>(length), "%s", device_name);
  });
}

GCR_SIM_API cuDeviceGetUuid_v2(Uuid *uuid, Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    require(uuid, invalid_value);
    check_device(device);
    *uuid = driver.link.uuid();
  });
}

GCR_SIM_API cuDeviceGetUuid(Uuid *uuid, Device device) { return cuDeviceGetUuid_v2(uuid, device); }

GCR_SIM_API cuDeviceTotalMem_v2(std::size_t *bytes, Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    require(bytes, invalid_value);
    check_device(device);
    *bytes = driver.link.memory_bytes();
  });
}

GCR_SIM_API cuDeviceGetAttribute(int *value, int attribute, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(value && attribute > 0, invalid_value);
    check_device(device);
    const auto found = std::find_if(std::begin(attributes), std::end(attributes),
                                    [&](const Attribute &entry) { return entry.number == attribute; });
    *value = found == std::end(attributes) ? 0 : found->value;
  });
}

GCR_SIM_API cuDeviceComputeCapability(int *major, int *minor, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(major && minor, invalid_value);
    check_device(device);
    *major = capability_major;
    *minor = capability_minor;
  });
}

GCR_SIM_API cuDeviceGetByPCIBusId(Device *device, const char *id) {
  return call<Need::initialized>([&](Driver &) {
    require(device && id, invalid_value);
    require(std::strcmp(id, pci_bus_id) == 0, invalid_device);
    *device = 0;
  });
}

GCR_SIM_API cuDeviceGetPCIBusId(char *id, int length, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(id && length > 0, invalid_value);
    check_device(device);
    std::snprintf(id, static_cast<std::size_t>(length), "%s", pci_bus_id);
  });
}

GCR_SIM_API cuDeviceCanAccessPeer(int *can, Device device, Device peer) {
  return call<Need::initialized>([&](Driver &) {
    require(can, invalid_value);
    check_device(device);
    check_device(peer);
    *can = 0;
  });
}

GCR_SIM_API cuDevicePrimaryCtxRetain(Context **context, Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    require(context, invalid_value);
    check_device(device);
    *context = driver.retain_primary();
  });
}

GCR_SIM_API cuDevicePrimaryCtxRelease_v2(Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    check_device(device);
    driver.release_primary();
  });
}

GCR_SIM_API cuDevicePrimaryCtxReset_v2(Device device) {
  return call<Need::initialized>([&](Driver &driver) {
    check_device(device);
    while (driver.primary_active()) driver.release_primary();
  });
}

GCR_SIM_API cuDevicePrimaryCtxSetFlags_v2(Device device, unsigned) {
  return call<Need::initialized>([&](Driver &) { check_device(device); });
}

GCR_SIM_API cuDevicePrimaryCtxGetState(Device device, unsigned *flags, int *active) {
  return call<Need::initialized>([&](Driver &driver) {
    require(flags && active, invalid_value);
    check_device(device);
    *flags = 0;
    *active = driver.primary_active();
  });
}
