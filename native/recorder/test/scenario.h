// What the applications of the recorder's tests share: the driver's functions, linked, and steps that wait for the test.
#pragma once

#include <unistd.h>

#include <cstring>

#include "core/test/plain_check.h"
#include "driver/types.h"

#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_DECLARE(symbol, parameters, arguments) extern "C" Result symbol parameters;
#define GCR_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_DECLARE, base##suffix, GCR_##handler)
#define GCR_EARLY_HOOK GCR_HOOK
namespace gcr {
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK
extern "C" Result cuCtxSetCurrent(Context);
extern "C" Result cuMemAddressReserve(DevicePointer *, std::size_t, std::size_t, DevicePointer, unsigned long long);

// Tells the test where we are and waits for its word.
inline void step(const char *name) {
  CHECK(write(STDOUT_FILENO, name, std::strlen(name)) > 0);
  char word;
  if (read(STDIN_FILENO, &word, 1) != 1) _exit(7);
}

inline void begin() {
  CHECK(cuInit(0) == 0);
  Context context;
  CHECK(cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0);
}

inline Function load(const char *name) {
  Module module;
  CHECK(cuModuleLoadData(&module, ".version 8.0\n.target sm_90\n") == 0);
  Function function;
  CHECK(cuModuleGetFunction(&function, module, name) == 0);
  return function;
}

inline void fill(Function function, DevicePointer to, std::uint32_t count, unsigned value, Stream stream = nullptr) {
  void *parameters[] = {&to, &count};
  CHECK(cuLaunchKernel(function, value, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr) == 0);
}

inline std::uint8_t *bytes(DevicePointer address) { return reinterpret_cast<std::uint8_t *>(address); }

}  // namespace gcr
