// See driver.h. The library stays open until the process ends: the driver does not bear being unloaded.
#include "driver/driver.h"

#include <dlfcn.h>

namespace gcr {

Driver::Driver(const std::string &path) {
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (!library) throw std::runtime_error(std::string("no driver: ") + dlerror());
  find(library, dlsym);
#define GCR_NEED(name, suffix, parameters) \
  if (!name) throw std::runtime_error(std::string("the driver has no ") + #name #suffix);
#define GCR_MAY(name, suffix, parameters)
  GCR_DRIVER_FUNCTIONS(GCR_NEED, GCR_MAY)
#undef GCR_NEED
#undef GCR_MAY
}

void Driver::find(void *library, void *(*lookup)(void *, const char *)) {
#define GCR_FIND(name, suffix, parameters) name = reinterpret_cast<decltype(name)>(lookup(library, #name #suffix));
  GCR_DRIVER_FUNCTIONS(GCR_FIND, GCR_FIND)
#undef GCR_FIND
}

AllocationProperties Driver::exportable_on(Device device) const {
  constexpr int gpu_direct_mapped = 110;
  AllocationProperties properties{allocation_pinned, handle_file_descriptor, {location_device, device}, nullptr, {}};
  int can = 0;
  if (cuDeviceGetAttribute && cuDeviceGetAttribute(&can, gpu_direct_mapped, device) == 0 && can) properties.flags[gpu_direct_flag] = 1;
  return properties;
}

std::string Driver::error_name(Result result) const {
  const char *name = nullptr;
  if (!cuGetErrorName || cuGetErrorName(result, &name) != 0 || !name) return "error " + std::to_string(result);
  return name;
}

void Driver::check(Result result, const char *what) const {
  if (result != 0) throw DriverError(std::string(what) + ": " + error_name(result), result);
}

}  // namespace gcr
