// Two versions of a library whose functions are intercepted: every call goes to the version that its caller was linked with or looked it up in,
// before and after the other one is there, and when a caller is unloaded and another one has its place.
#include <dlfcn.h>

#include <cstdio>

#include "core/test/plain_check.h"

extern "C" int ncclGroupStart();

int main() {
  using Function = int (*)();
  const auto look_up = [](void *library, const char *name) {
    CHECK(library);
    const auto found = reinterpret_cast<Function>(dlsym(library, name));
    CHECK(found);
    return found;
  };
  CHECK(ncclGroupStart() == 101);
  const Function early = look_up(dlopen("libnccl.so.1", RTLD_NOW), "ncclGroupStart");
  CHECK(early() == 101);
  void *const second = dlopen("libversions_user_2.so", RTLD_NOW | RTLD_LOCAL);
  const Function by_user = look_up(second, "by_user");
  CHECK(by_user() == 1102 && early() == 101 && ncclGroupStart() == 101);
  CHECK(look_up(dlopen("libnccl.so.1", RTLD_NOW), "ncclGroupStart")() == 101);
  CHECK(look_up(dlopen("libnccl.so.2", RTLD_NOW), "ncclGroupStart")() == 102);
  CHECK(by_user() == 1102 && early() == 101 && ncclGroupStart() == 101);
  CHECK(dlclose(second) == 0);
  // Code of the same size comes to lie at the same place when the other has gone, most of the time.
  Function places[2];
  for (int version = 1; version <= 2; ++version) {
    void *const user = dlopen(version == 1 ? "libversions_user_1.so" : "libversions_user_2.so", RTLD_NOW | RTLD_LOCAL);
    places[version - 1] = look_up(user, "by_user");
    for (int call = 0; call < 3; ++call) CHECK(places[version - 1]() == 1100 + version);
    CHECK(dlclose(user) == 0);
  }
  if (places[0] != places[1]) std::puts("skipped: the second caller lies elsewhere");
}
