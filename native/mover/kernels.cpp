// See kernels.h.
#include "mover/kernels.h"

#include <algorithm>

// The text, with a zero at its end. GCR_KERNELS is the file's path.
asm(R"(
  .pushsection .rodata
  .balign 16
gcr_kernels_text:
  .incbin ")" GCR_KERNELS R"("
  .byte 0
  .popsection
)");
extern "C" __attribute__((visibility("hidden"))) const char gcr_kernels_text[];

namespace gcr {
namespace {

constexpr int attribute_multiprocessors = 16;
constexpr unsigned threads = 256;
constexpr unsigned blocks_a_multiprocessor = 64;  // many more than run at once, so that all end together

}  // namespace

DeviceKernels::DeviceKernels(std::shared_ptr<const OpenDevice> device) : device_(std::move(device)) {
  const Driver &driver = device_->driver();
  device_->make_current();
  int multiprocessors = 0;
  driver.check(driver.cuDeviceGetAttribute(&multiprocessors, attribute_multiprocessors, device_->number()), "cuDeviceGetAttribute");
  most_blocks_ = blocks_a_multiprocessor * static_cast<unsigned>(std::max(multiprocessors, 1));
  driver.check(driver.cuModuleLoadDataEx(&module_, gcr_kernels_text, 0, nullptr, nullptr), "cuModuleLoadDataEx");
  driver.check(driver.cuModuleGetFunction(&name_, module_, "gcr_name_chunks"), "cuModuleGetFunction");
  driver.check(driver.cuModuleGetFunction(&gather_, module_, "gcr_gather"), "cuModuleGetFunction");
  driver.check(driver.cuModuleGetFunction(&scatter_, module_, "gcr_scatter"), "cuModuleGetFunction");
}

DeviceKernels::~DeviceKernels() {
  try {
    device_->make_current();
    device_->driver().cuModuleUnload(module_);
  } catch (const DriverError &) {
    // The context is dead, and its modules with it.
  }
}

void DeviceKernels::name(DevicePointer list, std::uint32_t count, DevicePointer names, Stream stream) const {
  launch(name_, list, count, names, most_blocks_, stream);
}

void DeviceKernels::gather(DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks, Stream stream) const {
  launch(gather_, list, count, base, blocks, stream);
}

void DeviceKernels::scatter(DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks, Stream stream) const {
  launch(scatter_, list, count, base, blocks, stream);
}

void DeviceKernels::launch(Function function, DevicePointer list, std::uint32_t count, DevicePointer base, unsigned blocks,
                           Stream stream) const {
  const Driver &driver = device_->driver();
  void *parameters[] = {&list, &count, &base};
  const LaunchConfiguration configuration{{std::min({blocks, count, most_blocks_}), 1, 1}, {threads, 1, 1}, 0, stream, nullptr, 0};
  driver.check(driver.cuLaunchKernelEx(&configuration, function, parameters, nullptr), "cuLaunchKernelEx");
}

}  // namespace gcr
