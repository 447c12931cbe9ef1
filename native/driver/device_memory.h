// The supervisor's way to an application's device memory: a context on the device, memory imported from a descriptor and mapped, copies in
// both directions. Every function may be called from any thread; it makes the context current on it. Throws DriverError.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "driver/driver.h"

namespace gcr {

/// A context on the device with that uuid. Ends when nobody uses it or memory of it any more.
class DeviceContext : public std::enable_shared_from_this<DeviceContext> {
 public:
  DeviceContext(const std::string& driver, const std::array<unsigned char, 16>& uuid);
  ~DeviceContext();
  DeviceContext(const DeviceContext&) = delete;
  DeviceContext& operator=(const DeviceContext&) = delete;

  void make_current() const;
  const Driver& driver() const { return driver_; }
  Device device() const { return device_; }

 private:
  Driver driver_;
  Device device_ = 0;
  Context context_ = nullptr;
};

/// New physical memory, exported: a descriptor, which is the caller's, and all that keeps it.
int create_memory(const DeviceContext& context, std::size_t size);

/// Memory that another process has exported, mapped for reading and writing.
class ImportedMemory {
 public:
  /// The descriptor stays the caller's.
  ImportedMemory(std::shared_ptr<const DeviceContext> context, int descriptor, std::size_t size);
  ~ImportedMemory();
  ImportedMemory(const ImportedMemory&) = delete;
  ImportedMemory& operator=(const ImportedMemory&) = delete;

  /// Throws std::out_of_range beyond the memory's end. Returns when the copy is done.
  void read(std::size_t offset, void* to, std::size_t size) const;
  void write(std::size_t offset, const void* from, std::size_t size) const;

  /// The place of the mapping in the context's address space.
  DevicePointer address() const { return address_; }
  std::size_t size() const { return size_; }

 private:
  void check_range(std::size_t offset, std::size_t size) const;
  std::shared_ptr<const DeviceContext> context_;
  std::size_t size_;
  Handle handle_ = 0;
  DevicePointer address_ = 0;
};

/// The driver's own checkpoint of another process, step by step (CUDA 12.8). Throws DriverError; std::runtime_error without the calls.
enum class CheckpointAction { lock, checkpoint, restore, unlock };
void process_checkpoint(const Driver& driver, int pid, CheckpointAction action, unsigned timeout_ms);
/// 0 running, 1 locked, 2 checkpointed, 3 failed.
int process_state(const Driver& driver, int pid);

}  // namespace gcr
