// Two versions of a library whose functions are intercepted: every call goes to the version that its caller was linked with or looked it up in,
// before and after the other one is there.
#include <dlfcn.h>

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
  const Function by_user = look_up(dlopen("libversions_user.so", RTLD_NOW | RTLD_LOCAL), "by_user");
  CHECK(by_user() == 1102 && early() == 101 && ncclGroupStart() == 101);
  CHECK(look_up(dlopen("libnccl.so.1", RTLD_NOW), "ncclGroupStart")() == 101);
  CHECK(look_up(dlopen("libnccl.so.2", RTLD_NOW), "ncclGroupStart")() == 102);
  CHECK(by_user() == 1102 && early() == 101 && ncclGroupStart() == 101);
}
