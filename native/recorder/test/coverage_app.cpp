// Checks, inside of an application under the recorder, that every row of hooks.def is reached on each way to it: the linked symbol, dlsym,
// cuGetProcAddress; and that the wrapper goes on to the driver's function of the same row.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "core/test/plain_check.h"
#include "driver/types.h"

using namespace gcr;

#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_DECLARE(symbol, parameters, arguments) extern "C" Result symbol parameters;
#define GCR_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_DECLARE, base##suffix, GCR_##handler)
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK
extern "C" int gcr_fake_calls(const char *symbol);

namespace {

constexpr bool legacy = false, per_thread = true;
int rows = 0;

bool is_recorder(const void *function) {
  Dl_info where{};
  return dladdr(function, &where) && std::strstr(where.dli_fname, "libgcr_recorder");
}

template <class... Arguments>
void check_row(Result (*linked)(Arguments...), void *library, const char *symbol, const char *base, int version, bool own_stream) {
  ++rows;
  std::fprintf(stderr, "%s\n", symbol);
  CHECK(is_recorder(reinterpret_cast<void *>(linked)));
  CHECK(dlsym(library, symbol) == reinterpret_cast<void *>(linked));
  CHECK(dlsym(RTLD_DEFAULT, symbol) == reinterpret_cast<void *>(linked));
  void *given = nullptr;
  int status = 0;
  CHECK(cuGetProcAddress_v2(base, &given, version, own_stream ? 2 : 1, &status) == 0);
  CHECK(given == reinterpret_cast<void *>(linked));
  CHECK(cuGetProcAddress(base, &given, version, own_stream ? 2 : 1) == 0 && given == reinterpret_cast<void *>(linked));
  const int before = gcr_fake_calls(symbol);
  linked(Arguments{}...);
  CHECK(gcr_fake_calls(symbol) > before);
}

}  // namespace

int main() {
  CHECK(cuInit(0) == 0);
  void *library = dlopen(std::getenv("GCR_DRIVER"), RTLD_NOW);
  CHECK(library);
#define GCR_HOOK(handler, base, suffix, version, stream) check_row(base##suffix, library, #base #suffix, #base, version, stream);
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
  // Other symbols of the driver are its own, and other libraries' are theirs.
  CHECK(!is_recorder(dlsym(library, "cuDeviceGet")));
  CHECK(!is_recorder(dlsym(library, "gcr_fake_calls")));
  CHECK(dlsym(library, "cuNowhere") == nullptr && dlerror() != nullptr);
  CHECK(dlsym(RTLD_NEXT, "strlen") != nullptr);
  // What the recorder knows nothing about is called all the same, with its arguments as they were.
  using New = Result (*)(int, long, int, int, int, int, int);
  const auto brand_new = reinterpret_cast<New>(dlsym(library, "cuBrandNew"));
  CHECK(brand_new && is_recorder(reinterpret_cast<void *>(brand_new)));
  CHECK(brand_new(1, 2, 3, 4, 5, 6, 7) == 28);
  std::printf("%d rows\n", rows);
}
