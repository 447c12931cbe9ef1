// Modules, libraries, functions and the images they came from. A function is told at its first launch, with the driver's own layout of
// its parameters; an image when the driver has taken it.
#pragma once

#include <atomic>
#include <memory_resource>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "driver/driver.h"
#include "recorder/emitter.h"
#include "recorder/memory.h"
#include "recorder/thread.h"

namespace gcr {

// What a launch needs of its function, in one line of the processor's cache with the places of up to eight parameters, which lie behind it. Records
// stay for as long as the process lives: a thread may still be looking at one.
struct FunctionRecord {
  struct Place {
    std::uint16_t offset, size;
  };
  std::uint64_t number = 0;
  std::uint32_t parameter_bytes = unknown_parameter_bytes;
  std::uint32_t count = 0;   // of parameters
  unsigned cluster[3] = {};  // of launches that name none; zeros: none

  std::span<const Place> places() const { return {reinterpret_cast<const Place *>(this + 1), count}; }
};
static_assert(sizeof(FunctionRecord) + 8 * sizeof(FunctionRecord::Place) == 64);

// The parameters of a launch, as an event takes them: copied from where the program has them straight to where they are read.
struct ParametersInPlace {
  const FunctionRecord *record = nullptr;
  void **parameters = nullptr;

  std::size_t size() const { return record->parameter_bytes; }
  [[gnu::hot]] void copy_to(std::uint8_t *to) const;
};

class Modules {
 public:
  Modules(const Driver &driver, Emitter &emitter, Memory &memory) : driver_(driver), emitter_(emitter), memory_(memory) {}

  // `handle` is a Module or a Library; `image` what the program gave the driver, in any of the forms that it takes.
  void loaded(void *handle, const void *image);
  void loaded_file(void *handle, const char *path);
  void unloaded(void *handle);
  // The module is a view of the library.
  void module_of(Module module, Library library);
  void function_of(Function function, Module module, const char *name);
  void kernel_of(Kernel kernel, Library library, const char *name);
  // The CUDA runtime asks for a kernel's function again and again, at launches too.
  void function_of_kernel(ThreadState &thread, Function function, Kernel kernel) {
    refresh(thread);
    ThreadState::CachedKernel &cached = thread.kernels[cache_place<ThreadState::cached_functions>(kernel)];
    if (cached.handle != kernel || cached.function != function) [[unlikely]] learn_function(cached, function, kernel);
  }
  void is_library(Library library);
  // Tells variables that the program need not have asked for; nothing of those that the module does not have. A library's are in every context.
  void locate(std::uint64_t module, const std::vector<std::string_view> &names);
  // The same in a context that is new, of all that are known or were asked for before.
  void context_created(Context context);
  void variable(void *handle, const char *name, DevicePointer address, std::size_t size);

  // The supervisor's name of an image that it was told.
  void image_named(std::uint64_t module, const ImageName &name);
  // Tells a new supervisor all modules and functions, then (when the memory is told) the variables; while nobody submits.
  void retell();
  void retell_variables();

  // What the linker was given and made: where one PTX text went in, it stands for what came out.
  void link_input(LinkState state, int type, const void *data, std::size_t size);
  void link_file(LinkState state, int type, const char *path);
  void linked(LinkState state, const void *image);
  void link_ended(LinkState state);

  [[gnu::hot]] const FunctionRecord &function(ThreadState &thread, Function handle);
  // What the driver said of a function, or of a kernel and its functions, holds no more.
  void changed(Function handle);

 private:
  struct Known {
    std::uint64_t module = 0;
    std::string name;
    bool is_kernel = false;
  };
  struct Variable {
    DevicePointer address;
    std::size_t size;
    std::uint64_t allocation;
    std::string name;
  };
  struct Linked {
    std::vector<std::string> texts;
    bool other = false;
    const void *image = nullptr;
  };

  void send_image(std::uint64_t number, std::span<const std::uint8_t> bytes, std::uint32_t kind);
  std::uint64_t number_of(void *handle);
  // The same of a module that holds a kernel of that name, and may be a library's.
  std::uint64_t number_of(Module module, const std::string &kernel);
  bool locate_here(void *handle, std::uint64_t module, const std::string &name);
  // Whether launches of a module's kernels may mean any of several places of a variable.
  bool has_several_places(std::uint64_t module) const;
  void tell_variable(std::uint64_t module, const char *name, DevicePointer address, std::size_t size);
  const FunctionRecord &make_function(Function handle);
  void tell_function(const FunctionRecord &record, const Known &known);
  void learn_function(ThreadState::CachedKernel &cached, Function function, Kernel kernel);
  // Empties the thread's caches when what is in them may hold no more.
  static void refresh(ThreadState &thread) {
    const std::uint64_t epoch = hot.functions.load(std::memory_order_acquire);
    if (thread.function_epoch != epoch) [[unlikely]] empty(thread, epoch);
  }
  static void empty(ThreadState &thread, std::uint64_t epoch);

  const Driver &driver_;
  Emitter &emitter_;
  Memory &memory_;
  std::mutex mutex_;
  std::uint64_t next_module_ = 1, next_function_ = 1;
  std::unordered_map<void *, std::uint64_t> numbers_;             // by Module or Library
  std::unordered_set<void *> libraries_;                          // which of them are libraries
  std::unordered_map<void *, std::set<std::string>> located_;     // variables of libraries that the supervisor asked for
  std::unordered_map<Function, Known> known_;                     // also kernels, as they are launched
  std::unordered_map<Function, const FunctionRecord *> functions_;
  std::pmr::monotonic_buffer_resource records_{1 << 16};
  std::unordered_map<std::uint64_t, std::vector<Variable>> variables_;
  std::unordered_map<std::uint64_t, ImageName> images_;           // by module, once they were named
  std::unordered_map<LinkState, Linked> links_;
};

}  // namespace gcr
