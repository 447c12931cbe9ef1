// Loaded libraries that contracts.def has rows for: where their code is and where their functions are. Programs bring them in any way (linked,
// by dlopen for themselves alone, several versions at once), so they are looked for among everything that is loaded, anew whenever something was
// loaded. A library that was found stays loaded.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace gcr {

struct LoadedLibrary {
  std::string path, file;      // with and without the folder
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> code;
  std::atomic<void *> handle{nullptr};  // once somebody asked for its functions
  bool own_runtime = false;    // it brings the CUDA runtime along: its allocations come from its own code
};

// Locks: memory's may be held when `at` is called, so nothing here calls into the dynamic linker with a lock of its own held, except for walking
// the list of what is loaded, during which the linker runs nobody's code.
class LoadedLibraries {
 public:
  static LoadedLibraries &all();

  // How often the program has asked for anything to be unloaded: while it is the same, an address of code means the code that it meant. What is
  // unloaded behind `dlclose`'s back (by the C library, for itself) calls none of these libraries.
  static std::uint64_t unloads() { return unloads_.load(std::memory_order_acquire); }
  static void unload() { unloads_.fetch_add(1, std::memory_order_acq_rel); }
  // The library named `stem`.so… that a call from `caller` means: the one that the caller was linked with, else the first that was loaded; null when
  // there is none. The result stays.
  const LoadedLibrary *find(const char *stem, const void *caller);
  // The library that has this address; null for any other.
  const LoadedLibrary *at(const void *code);

 private:
  void refresh();
  static bool open(LoadedLibrary &library);

  static std::atomic<std::uint64_t> unloads_;

  std::mutex mutex_;
  unsigned long long loads_ = ~0ULL;  // how often anything had been loaded at the last look
  std::vector<LoadedLibrary *> libraries_;
};

}  // namespace gcr
