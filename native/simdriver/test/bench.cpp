// Figures of the simulated device, one a line: name, value, unit. Run by bench/simdevice.mjs.
#include <chrono>

#include "harness.h"

namespace {

double seconds_of(auto body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void tell(const char *name, double value, const char *unit) {
  std::printf("%-40s %12.1f %s\n", name, value, unit);
  std::fflush(stdout);
}

}  // namespace

int main() {
  Session session;
  void *const empty = session.function("empty"), *const work = session.function("work");
  void *const add = session.function("vector_add");
  OK(launch(empty, 1, 1, 0, nullptr));
  OK(cuCtxSynchronize());

  constexpr int launches = 20000;
  tell("empty kernel, queued", launches / seconds_of([&] {
         for (int i = 0; i < launches; ++i) OK(launch(empty, 1, 1, 0, nullptr));
         OK(cuCtxSynchronize());
       }), "launches/s");
  tell("empty kernel, each waited for", launches / seconds_of([&] {
         for (int i = 0; i < launches; ++i) {
           OK(launch(empty, 1, 1, 0, nullptr));
           OK(cuCtxSynchronize());
         }
       }), "launches/s");

  constexpr std::uint32_t rounds = 20'000'000;
  const DevicePointer x = upload(std::vector<std::uint32_t>{1});
  tell("one thread, 4 instructions a round", rounds / 1e6 / seconds_of([&] {
         OK(launch(work, 1, 1, 0, nullptr, x, rounds));
         OK(cuCtxSynchronize());
       }), "million rounds/s");
  constexpr int n = 1 << 20;
  const std::vector<float> ones(n, 1.0f);
  const DevicePointer a = upload(ones), b = upload(ones), c = upload(ones);
  OK(launch(add, n / 256, 256, 0, nullptr, a, b, c, n));
  OK(cuCtxSynchronize());
  tell("vector_add, a thread an element", n / 1e6 / seconds_of([&] {
         OK(launch(add, n / 256, 256, 0, nullptr, a, b, c, n));
         OK(cuCtxSynchronize());
       }), "million threads/s");

  constexpr std::size_t size = 256 * mib;
  DevicePointer device = 0, other = 0;
  OK(cuMemAlloc_v2(&device, size));
  OK(cuMemAlloc_v2(&other, size));
  std::vector<char> host(size, 1);
  OK(cuMemcpyHtoD_v2(device, host.data(), size));
  OK(cuMemcpyDtoD_v2(other, device, size));
  const double gigabytes = static_cast<double>(size) / 1e9;
  tell("copy to the device", gigabytes / seconds_of([&] { OK(cuMemcpyHtoD_v2(device, host.data(), size)); }), "GB/s");
  tell("copy to the host", gigabytes / seconds_of([&] { OK(cuMemcpyDtoH_v2(host.data(), device, size)); }), "GB/s");
  tell("copy on the device", gigabytes / seconds_of([&] { OK(cuMemcpyDtoD_v2(other, device, size)); }), "GB/s");
  constexpr int allocations = 2000;
  tell("allocation and free of 4 MiB", allocations / seconds_of([&] {
         for (int i = 0; i < allocations; ++i) {
           DevicePointer address = 0;
           OK(cuMemAlloc_v2(&address, 4 * mib));
           OK(cuMemFree_v2(address));
         }
       }), "/s");
  return 0;
}
