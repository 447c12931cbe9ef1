// Every row of exports.def and unsupported.def is in the library, and cuGetProcAddress finds what it says.
#include <dlfcn.h>

#include <cstring>

#include "harness.h"

namespace {

struct Row {
  const char *name;
  int since;
  const char *symbol;
  const char *variant;
};

constexpr Row rows[] = {
#define EXPORT(name, since, symbol) {#name, since, #symbol, #symbol},
#define PER_THREAD(name, since, symbol, variant) {#name, since, #symbol, #variant},
#include "../exports.def"
#undef EXPORT
#undef PER_THREAD
};

constexpr Row missing[] = {
#define UNSUPPORTED(name, symbol) {#name, 0, #symbol, #symbol},
#include "../unsupported.def"
#undef UNSUPPORTED
};

// What the table says of a name at a version.
const Row *last_of(const char *name, int version) {
  const Row *found = nullptr;
  for (const Row &row : rows) {
    if (std::strcmp(row.name, name) == 0 && row.since <= version) found = &row;
  }
  return found;
}

}  // namespace

int main() {
  for (const Row &row : rows) {
    EXPECT(dlsym(RTLD_DEFAULT, row.symbol) && dlsym(RTLD_DEFAULT, row.variant));
    for (const std::uint64_t flags : {0, 2}) {
      for (const int version : {row.since, 13000}) {
        void *function = nullptr;
        int status = -1;
        OK(cuGetProcAddress_v2(row.name, &function, version, flags, &status));
        const Row *wanted = last_of(row.name, version);
        EXPECT(status == 0 && function == dlsym(RTLD_DEFAULT, flags ? wanted->variant : wanted->symbol));
      }
    }
  }
  for (const Row &row : missing) {
    auto *const function = reinterpret_cast<gcr::sim::Result (*)()>(dlsym(RTLD_DEFAULT, row.symbol));
    EXPECT(function && !last_of(row.symbol, 13000));
    RESULT(gcr::sim::not_supported, function());
  }
  return 0;
}
