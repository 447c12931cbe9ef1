// The kernels of native/kernels, compiled by the driver for a device. Their text is part of the library.
#pragma once

#include <cstdint>
#include <memory>

#include "mover/device.h"
#include "mover/plan.h"

namespace gcr {

class DeviceKernels {
 public:
  // Takes a good part of a second where the driver has them not in its cache. Throws DriverError.
  explicit DeviceKernels(std::shared_ptr<const OpenDevice> device);
  DeviceKernels(const DeviceKernels &) = delete;
  ~DeviceKernels();

  // Each is given to the stream and comes back at once. Lists and names are addresses that the device reaches; an index counts names or slots
  // of 64 KiB from the base.
  void name(DevicePointer list, std::uint32_t count, DevicePointer names, Stream stream) const;
  void gather(DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks, Stream stream) const;
  void scatter(DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks, Stream stream) const;

 private:
  void launch(Function function, DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks, Stream stream) const;

  std::shared_ptr<const OpenDevice> device_;
  Module module_ = nullptr;
  Function name_ = nullptr, gather_ = nullptr, scatter_ = nullptr;
  unsigned most_blocks_ = 0;
};

}  // namespace gcr
