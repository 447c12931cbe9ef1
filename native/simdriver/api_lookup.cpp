// Entry points by name, and those that are not there.
#include <cstring>

#include "driver.h"

namespace gcr::sim {
namespace {

Result unsupported(const char *name) {
  trace(std::string(name) + " is not there");
  return not_supported;
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

#define UNSUPPORTED(name, symbol) \
  GCR_SIM_API symbol() { return unsupported(#symbol); }
#include "unsupported.def"
#undef UNSUPPORTED

GCR_SIM_API cuGetProcAddress_v2(const char *name, void **function, int version, std::uint64_t flags, int *status);
GCR_SIM_API cuGetProcAddress(const char *name, void **function, int version, std::uint64_t flags);

// Declared without parameters: only their addresses are taken.
#define EXPORT(name, since, symbol) extern "C" void gcr_sim_##name##_##since() __asm__(#symbol);
#define PER_THREAD(name, since, symbol, variant)                       \
  extern "C" void gcr_sim_##name##_##since() __asm__(#symbol);         \
  extern "C" void gcr_sim_##name##_##since##_thread() __asm__(#variant);
#include "exports.def"
#undef EXPORT
#undef PER_THREAD

namespace {

using Address = void (*)();

struct Export {
  const char *name;
  int since;
  Address legacy;
  Address per_thread;
};

constexpr Export exports[] = {
#define EXPORT(name, since, symbol) {#name, since, &gcr_sim_##name##_##since, &gcr_sim_##name##_##since},
#define PER_THREAD(name, since, symbol, variant) \
  {#name, since, &gcr_sim_##name##_##since, &gcr_sim_##name##_##since##_thread},
#include "exports.def"
#undef EXPORT
#undef PER_THREAD
};

struct Missing {
  const char *name;
  Result (*function)();
};

constexpr Missing missing[] = {
#define UNSUPPORTED(name, symbol) {#name, &symbol},
#include "unsupported.def"
#undef UNSUPPORTED
};

// CUdriverProcAddressQueryResult, and a flag of the query.
constexpr int lookup_found = 0;
constexpr int lookup_missing = 1;
constexpr int lookup_too_new = 2;
constexpr std::uint64_t flag_per_thread = 2;

}  // namespace

GCR_SIM_API cuGetProcAddress_v2(const char *name, void **function, int version, std::uint64_t flags, int *status) {
  return call<Need::nothing>([&](Driver &) {
    require(name && function, invalid_value);
    *function = nullptr;
    bool known = false;
    for (const Export &entry : exports) {
      if (std::strcmp(entry.name, name) != 0) continue;
      known = true;
      const Address found = flags & flag_per_thread ? entry.per_thread : entry.legacy;
      if (entry.since <= version) *function = reinterpret_cast<void *>(found);
    }
    for (const Missing &entry : missing) {
      if (!known && std::strcmp(entry.name, name) == 0) *function = reinterpret_cast<void *>(entry.function);
    }
    if (status) *status = *function ? lookup_found : known ? lookup_too_new : lookup_missing;
    if (*function) return;
    trace(std::string(name) + " is not known");
    // The second version of this function tells by its status; the first by its result.
    if (!status) fail(not_found);
  });
}

GCR_SIM_API cuGetProcAddress(const char *name, void **function, int version, std::uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, nullptr);
}
