// A device opened by its UUID, and physical memory mapped for it. What holds a mapping keeps the device; a mapping goes when the last holder
// has let go, so copies under way hold what they copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "driver/driver.h"

namespace gcr {

class OpenDevice {
 public:
  // Opens the driver (once a path) and retains the device's primary context. Throws std::runtime_error and DriverError.
  static std::shared_ptr<const OpenDevice> open(const std::string &driver_path, const std::uint8_t *uuid, std::size_t uuid_bytes);
  OpenDevice(const Driver &driver, Device number);

  const Driver &driver() const { return driver_; }
  Device number() const { return number_; }
  // Whether it is our simulated device: its kernels run at the speed of JavaScript.
  bool is_simulated() const { return simulated_; }
  // Makes its context the calling thread's.
  void make_current() const { driver_.check(driver_.cuCtxSetCurrent(context_), "cuCtxSetCurrent"); }

 private:
  const Driver &driver_;
  Device number_;
  Context context_ = nullptr;
  bool simulated_ = false;
};

// Physical memory, mapped for reading and writing.
class MappedMemory {
 public:
  // Memory that came as a descriptor, which stays the caller's.
  static std::shared_ptr<const MappedMemory> import(std::shared_ptr<const OpenDevice> device, int descriptor, std::size_t size);
  // New memory that can be exported.
  static std::shared_ptr<const MappedMemory> create(std::shared_ptr<const OpenDevice> device, std::size_t size);
  // Takes over the handle, also when it throws.
  MappedMemory(std::shared_ptr<const OpenDevice> device, Handle handle, std::size_t size);
  MappedMemory(const MappedMemory &) = delete;
  ~MappedMemory() { end(); }

  const std::shared_ptr<const OpenDevice> &device() const { return device_; }
  DevicePointer address() const { return address_; }
  std::size_t size() const { return size_; }
  // A descriptor of it, which is the caller's.
  int exported() const;

 private:
  void end();

  std::shared_ptr<const OpenDevice> device_;
  Handle handle_;
  std::size_t size_;
  DevicePointer address_ = 0;
  bool mapped_ = false;
};

// Host memory of the driver's, which kernels reach, too.
class PinnedBuffer {
 public:
  PinnedBuffer(std::shared_ptr<const OpenDevice> device, std::size_t size);
  PinnedBuffer(PinnedBuffer &&other) noexcept
      : device_(std::move(other.device_)), data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  ~PinnedBuffer();

  std::uint8_t *data() const { return data_; }
  std::size_t size() const { return size_; }
  // Unified addressing, which every 64-bit system has: the device's address is ours.
  DevicePointer address() const { return reinterpret_cast<DevicePointer>(data_); }

 private:
  std::shared_ptr<const OpenDevice> device_;
  std::uint8_t *data_ = nullptr;
  std::size_t size_;
};

}  // namespace gcr
