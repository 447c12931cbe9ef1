// The table of hooks at run time: for each row of hooks.def the wrapper that is exported and the place of the driver's own function.
#pragma once

#include <atomic>
#include <span>

#include "driver/driver.h"

namespace gcr {

struct Hook {
  const char *symbol;  // as exported
  const char *base;    // as asked for at cuGetProcAddress
  int version;
  bool per_thread;
  void *wrapper;
  std::atomic<void *> *real;
};

// Sorted by symbol.
std::span<const Hook> hooks();

// Finds the driver's library and its functions, once. False when there is no driver.
bool find_driver();
const Driver &driver_functions();

// The wrapper for a function of the driver's that the program is about to get; the function itself when nothing is to be done about it.
// `name` without suffixes by cuGetProcAddress, with them by dlsym.
void *wrapper_for(void *found, const char *name, bool per_thread, int version);

// dlsym without us.
void *real_symbol(void *library, const char *name);

Result get_proc_address(Result (*real)(const char *, void **, int, std::uint64_t), const char *symbol, void **function, int version,
                        std::uint64_t flags);
Result get_proc_address(Result (*real)(const char *, void **, int, std::uint64_t, int *), const char *symbol, void **function, int version,
                        std::uint64_t flags, int *status);

}  // namespace gcr
