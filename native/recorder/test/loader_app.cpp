// An application that is not linked to the driver: loads it, closes it, and loads it again.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "core/test/plain_check.h"
#include "driver/types.h"

using namespace gcr;

namespace {

template <class Type>
Type *find(void *library, const char *name) {
  auto *found = reinterpret_cast<Type *>(dlsym(library, name));
  CHECK(found);
  return found;
}

}  // namespace

int main() {
  CHECK(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD) == nullptr);
  DevicePointer kept = 0;
  for (int round = 0; round < 3; ++round) {
    void *driver = dlopen(std::getenv("GCR_DRIVER"), RTLD_NOW | (round % 2 ? RTLD_GLOBAL : RTLD_LOCAL));
    CHECK(driver);
    CHECK(find<Result(unsigned)>(driver, "cuInit")(0) == 0);
    Context context;
    CHECK(find<Result(Context *, Device)>(driver, "cuDevicePrimaryCtxRetain")(&context, 0) == 0);
    CHECK(find<Result(Context)>(driver, "cuCtxSetCurrent")(context) == 0);
    // By either way of looking up.
    void *given = nullptr;
    CHECK(find<Result(const char *, void **, int, std::uint64_t)>(driver, "cuGetProcAddress")("cuMemAlloc", &given, 12000, 0) == 0);
    auto *allocate = reinterpret_cast<Result (*)(DevicePointer *, std::size_t)>(given);
    CHECK(allocate == find<Result(DevicePointer *, std::size_t)>(driver, "cuMemAlloc_v2"));
    DevicePointer memory = 0;
    CHECK(allocate(&memory, 1000) == 0);
    // What was allocated before the driver was closed is there.
    if (kept) {
      CHECK(reinterpret_cast<char *>(kept)[5] == 7);
      CHECK(find<Result(DevicePointer)>(driver, "cuMemFree_v2")(kept) == 0);
    }
    kept = memory;
    CHECK(find<Result(DevicePointer, const void *, std::size_t)>(driver, "cuMemcpyHtoD_v2")(memory, "\7\7\7\7\7\7\7\7", 8) == 0);
    CHECK(dlclose(driver) == 0);
  }
  CHECK(write(STDOUT_FILENO, "done", 4) == 4);
  char word;
  return read(STDIN_FILENO, &word, 1) == 1 ? 0 : 7;
}
