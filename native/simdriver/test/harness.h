// What the test programs share: expectations that end the program with their place, and a context with the test kernels.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "driver_api.h"

inline const char *name_of(int result) {
  const char *name = nullptr;
  return cuGetErrorName(result, &name) == 0 ? name : "?";
}

#define EXPECT(condition)                                                       \
  do {                                                                          \
    if (!(condition)) {                                                         \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::_Exit(1);                                                            \
    }                                                                           \
  } while (false)

#define RESULT(wanted, expression)                                                                              \
  do {                                                                                                          \
    const int got_ = (expression);                                                                              \
    if (got_ != (wanted)) {                                                                                     \
      std::fprintf(stderr, "%s:%d: %s gave %s (%d), not %s\n", __FILE__, __LINE__, #expression, name_of(got_), got_, \
                   name_of(wanted));                                                                            \
      std::_Exit(1);                                                                                            \
    }                                                                                                           \
  } while (false)

#define OK(expression) RESULT(0, expression)
#define REFUSED(expression) EXPECT((expression) != 0)

inline std::string file_content(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

// A current context and the module of a file in the folder that GCR_TEST_KERNELS names.
struct Session {
  void *context = nullptr;
  void *module = nullptr;

  explicit Session(const char *file = "simulated.ptx") {
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    const char *folder = std::getenv("GCR_TEST_KERNELS");
    EXPECT(folder);
    OK(cuModuleLoadData(&module, file_content(std::string(folder) + "/" + file).c_str()));
  }

  void *function(const char *name) const {
    void *found = nullptr;
    OK(cuModuleGetFunction(&found, module, name));
    return found;
  }
};

template <class T>
DevicePointer upload(const std::vector<T> &values) {
  DevicePointer address = 0;
  OK(cuMemAlloc_v2(&address, values.size() * sizeof(T)));
  OK(cuMemcpyHtoD_v2(address, values.data(), values.size() * sizeof(T)));
  return address;
}

template <class T>
std::vector<T> download(DevicePointer address, std::size_t count) {
  std::vector<T> values(count);
  OK(cuMemcpyDtoH_v2(values.data(), address, count * sizeof(T)));
  return values;
}

template <class... Parameters>
gcr::sim::Result launch(void *function, unsigned blocks, unsigned threads, unsigned shared, void *stream,
                        Parameters... parameters) {
  void *list[] = {&parameters..., nullptr};
  return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, list, nullptr);
}

constexpr gcr::sim::AllocationProperties exportable{1, 1, {1, 0}, nullptr, {}};
constexpr gcr::sim::AccessDescriptor read_write{{1, 0}, 3};
constexpr std::size_t mib = std::size_t{1} << 20;

// Memory of its own at an address of its own, with the handle still held.
struct Mapped {
  DevicePointer address = 0;
  std::uint64_t handle = 0;
  std::size_t size;

  explicit Mapped(std::size_t bytes) : size(bytes) {
    OK(cuMemCreate(&handle, size, &exportable, 0));
    OK(cuMemAddressReserve(&address, size, 0, 0, 0));
    map();
  }
  void map() const {
    OK(cuMemMap(address, size, 0, handle, 0));
    OK(cuMemSetAccess(address, size, &read_write, 1));
  }
};
