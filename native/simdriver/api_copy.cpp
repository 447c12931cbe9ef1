// Entry points: copies and fills.
#include "driver.h"

namespace gcr::sim {
namespace {

enum class Wait { yes, no };

Side host(const void *address, std::size_t pitch = 0, std::size_t slice = 0) {
  return {false, reinterpret_cast<DevicePointer>(address), pitch, slice};
}
Side device(DevicePointer address, std::size_t pitch = 0, std::size_t slice = 0) { return {true, address, pitch, slice}; }
// By the address itself: addresses of host and device never overlap.
Side unified(const Driver &driver, DevicePointer address, std::size_t pitch = 0, std::size_t slice = 0) {
  return {driver.space.reserved(address), address, pitch, slice};
}

bool pageable(const Driver &driver, const Side &side) {
  return !side.device && !driver.pinned.find(reinterpret_cast<const void *>(side.address));
}

void stage(CopyWork &work) {
  const std::size_t slice = work.source.slice, pitch = work.source.pitch;
  const std::size_t size = (work.depth - 1) * slice + (work.height - 1) * pitch + work.width;
  const auto *from = reinterpret_cast<const std::uint8_t *>(work.source.address);
  work.staged = std::make_shared<const std::vector<std::uint8_t>>(from, from + size);
}

void copy(Driver &driver, CopyWork work, void *stream_handle, Wait wait) {
  if (work.width == 0 || work.height == 0 || work.depth == 0) return;
  check_copy(driver, work);
  const auto stream = driver.stream(stream_handle);
  bool capturing;
  {
    const std::lock_guard lock(driver.graphs.mutex);
    capturing = stream->capture != nullptr;
  }
  if (wait == Wait::yes) driver.forbid_in_capture();
  // Pageable memory is the application's again when the call returns.
  const bool returns_late = wait == Wait::yes || (!capturing && pageable(driver, work.target));
  if (!capturing && !returns_late && pageable(driver, work.source)) stage(work);
  driver.dispatch(stream, node_memcpy, std::move(work));
  if (returns_late) driver.wait(driver.queues.last(stream));
}

CopyWork row(Side target, Side source, std::size_t size) { return {target, source, size, 1, 1, nullptr}; }

Side side(const Driver &driver, int type, const void *host_address, DevicePointer device_address, std::size_t offset,
          std::size_t pitch, std::size_t slice) {
  switch (type) {
    case memory_host:
      return host(static_cast<const char *>(host_address) + offset, pitch, slice);
    case memory_device:
      return device(device_address + offset, pitch, slice);
    case memory_unified:
      return unified(driver, device_address + offset, pitch, slice);
    default:
      trace("copies of arrays are not there");
      fail(not_supported);
  }
}

CopyWork plane(const Driver &driver, const Copy2D *given) {
  require(given, invalid_value);
  const Copy2D &c = *given;
  const std::size_t target_pitch = c.target.pitch ? c.target.pitch : c.width_bytes;
  const std::size_t source_pitch = c.source.pitch ? c.source.pitch : c.width_bytes;
  if (c.height > 1) require(c.width_bytes <= target_pitch && c.width_bytes <= source_pitch, invalid_value);
  const std::size_t to = c.target.y * target_pitch + c.target.x_bytes;
  const std::size_t from = c.source.y * source_pitch + c.source.x_bytes;
  return {side(driver, c.target.memory_type, c.target.host, c.target.device, to, target_pitch, 0),
          side(driver, c.source.memory_type, c.source.host, c.source.device, from, source_pitch, 0), c.width_bytes, c.height, 1, nullptr};
}

}  // namespace

CopyWork volume(const Driver &driver, const Copy3D *given) {
  require(given, invalid_value);
  const Copy3D &c = *given;
  require(c.source.lod == 0 && c.target.lod == 0, invalid_value);
  const std::size_t target_pitch = c.target.pitch ? c.target.pitch : c.width_bytes;
  const std::size_t source_pitch = c.source.pitch ? c.source.pitch : c.width_bytes;
  const std::size_t target_slice = target_pitch * (c.target.height ? c.target.height : c.height);
  const std::size_t source_slice = source_pitch * (c.source.height ? c.source.height : c.height);
  if (c.height > 1 || c.depth > 1) require(c.width_bytes <= target_pitch && c.width_bytes <= source_pitch, invalid_value);
  const std::size_t to = c.target.z * target_slice + c.target.y * target_pitch + c.target.x_bytes;
  const std::size_t from = c.source.z * source_slice + c.source.y * source_pitch + c.source.x_bytes;
  return {side(driver, c.target.memory_type, c.target.host, c.target.device, to, target_pitch, target_slice),
          side(driver, c.source.memory_type, c.source.host, c.source.device, from, source_pitch, source_slice),
          c.width_bytes, c.height, c.depth, nullptr};
}

namespace {

void set(Driver &driver, SetWork work, void *stream_handle, Wait wait) {
  if (work.width == 0 || work.height == 0) return;
  check_set(driver, work);
  if (wait == Wait::yes) driver.forbid_in_capture();
  const auto stream = driver.stream(stream_handle);
  driver.dispatch(stream, node_memset, work);
  if (wait == Wait::yes) driver.wait(driver.queues.last(stream));
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

GCR_SIM_API cuMemcpy(DevicePointer to, DevicePointer from, std::size_t size) {
  return call([&](Driver &d) { copy(d, row(unified(d, to), unified(d, from), size), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpyAsync(DevicePointer to, DevicePointer from, std::size_t size, void *stream) {
  return call([&](Driver &d) { copy(d, row(unified(d, to), unified(d, from), size), stream, Wait::no); });
}
GCR_SIM_API cuMemcpyPeer(DevicePointer to, void *, DevicePointer from, void *, std::size_t size) {
  return call([&](Driver &d) { copy(d, row(device(to), device(from), size), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpyPeerAsync(DevicePointer to, void *, DevicePointer from, void *, std::size_t size, void *stream) {
  return call([&](Driver &d) { copy(d, row(device(to), device(from), size), stream, Wait::no); });
}
GCR_SIM_API cuMemcpyHtoD_v2(DevicePointer to, const void *from, std::size_t size) {
  return call([&](Driver &d) { copy(d, row(device(to), host(from), size), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpyDtoH_v2(void *to, DevicePointer from, std::size_t size) {
  return call([&](Driver &d) { copy(d, row(host(to), device(from), size), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpyDtoD_v2(DevicePointer to, DevicePointer from, std::size_t size) {
  return call([&](Driver &d) { copy(d, row(device(to), device(from), size), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, std::size_t size, void *stream) {
  return call([&](Driver &d) { copy(d, row(device(to), host(from), size), stream, Wait::no); });
}
GCR_SIM_API cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, std::size_t size, void *stream) {
  return call([&](Driver &d) { copy(d, row(host(to), device(from), size), stream, Wait::no); });
}
GCR_SIM_API cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t size, void *stream) {
  return call([&](Driver &d) { copy(d, row(device(to), device(from), size), stream, Wait::no); });
}
GCR_SIM_API cuMemcpy2D_v2(const Copy2D *given) {
  return call([&](Driver &d) { copy(d, plane(d, given), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpy2DUnaligned_v2(const Copy2D *given) { return cuMemcpy2D_v2(given); }
GCR_SIM_API cuMemcpy2DAsync_v2(const Copy2D *given, void *stream) {
  return call([&](Driver &d) { copy(d, plane(d, given), stream, Wait::no); });
}
GCR_SIM_API cuMemcpy3D_v2(const Copy3D *given) {
  return call([&](Driver &d) { copy(d, volume(d, given), nullptr, Wait::yes); });
}
GCR_SIM_API cuMemcpy3DAsync_v2(const Copy3D *given, void *stream) {
  return call([&](Driver &d) { copy(d, volume(d, given), stream, Wait::no); });
}
GCR_SIM_API cuMemcpy3DPeer(const Copy3D *given) { return cuMemcpy3D_v2(given); }
GCR_SIM_API cuMemcpy3DPeerAsync(const Copy3D *given, void *stream) { return cuMemcpy3DAsync_v2(given, stream); }

GCR_SIM_API cuMemsetD8_v2(DevicePointer to, unsigned char value, std::size_t count) {
  return call([&](Driver &d) { set(d, {to, 0, value, 1, count, 1}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD16_v2(DevicePointer to, unsigned short value, std::size_t count) {
  return call([&](Driver &d) { set(d, {to, 0, value, 2, count, 1}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD32_v2(DevicePointer to, unsigned value, std::size_t count) {
  return call([&](Driver &d) { set(d, {to, 0, value, 4, count, 1}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD2D8_v2(DevicePointer to, std::size_t pitch, unsigned char value, std::size_t width,
                            std::size_t height) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 1, width, height}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD2D16_v2(DevicePointer to, std::size_t pitch, unsigned short value, std::size_t width,
                             std::size_t height) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 2, width, height}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD2D32_v2(DevicePointer to, std::size_t pitch, unsigned value, std::size_t width, std::size_t height) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 4, width, height}, nullptr, Wait::yes); });
}
GCR_SIM_API cuMemsetD8Async(DevicePointer to, unsigned char value, std::size_t count, void *stream) {
  return call([&](Driver &d) { set(d, {to, 0, value, 1, count, 1}, stream, Wait::no); });
}
GCR_SIM_API cuMemsetD16Async(DevicePointer to, unsigned short value, std::size_t count, void *stream) {
  return call([&](Driver &d) { set(d, {to, 0, value, 2, count, 1}, stream, Wait::no); });
}
GCR_SIM_API cuMemsetD32Async(DevicePointer to, unsigned value, std::size_t count, void *stream) {
  return call([&](Driver &d) { set(d, {to, 0, value, 4, count, 1}, stream, Wait::no); });
}
GCR_SIM_API cuMemsetD2D8Async(DevicePointer to, std::size_t pitch, unsigned char value, std::size_t width,
                              std::size_t height, void *stream) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 1, width, height}, stream, Wait::no); });
}
GCR_SIM_API cuMemsetD2D16Async(DevicePointer to, std::size_t pitch, unsigned short value, std::size_t width,
                               std::size_t height, void *stream) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 2, width, height}, stream, Wait::no); });
}
GCR_SIM_API cuMemsetD2D32Async(DevicePointer to, std::size_t pitch, unsigned value, std::size_t width,
                               std::size_t height, void *stream) {
  return call([&](Driver &d) { set(d, {to, pitch, value, 4, width, height}, stream, Wait::no); });
}
