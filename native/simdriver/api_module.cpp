// Entry points: modules, libraries, kernels and their attributes; occupancy.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

#include "driver.h"
#include "limits.h"

namespace gcr::sim {
namespace {

// CUjit_option: where messages go.
constexpr int jit_error_log = 5;
constexpr int jit_error_log_size = 6;

// CUfunction_attribute.
enum FunctionAttribute {
  attribute_max_threads = 0,
  attribute_shared = 1,
  attribute_constant = 2,
  attribute_local = 3,
  attribute_registers = 4,
  attribute_ptx_version = 5,
  attribute_binary_version = 6,
  attribute_cache_mode = 7,
  attribute_max_dynamic_shared = 8,
  attribute_shared_carveout = 9,
};

void tell_log(const std::string &log, unsigned count, const int *options, void **values) {
  char *buffer = nullptr;
  std::size_t size = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == jit_error_log) buffer = static_cast<char *>(values[i]);
    if (options[i] == jit_error_log_size) size = static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(values[i]));
  }
  if (!buffer || size == 0) return;
  const std::size_t length = std::min(size - 1, log.size());
  std::memcpy(buffer, log.data(), length);
  buffer[length] = 0;
}

std::shared_ptr<Module> load(Driver &driver, std::string_view ptx, std::string &log) {
  driver.forbid_in_capture();
  auto module = std::make_shared<Module>(driver.link, driver.heap, driver.space, driver.current(), ptx, log);
  driver.add_functions(module);
  return module;
}

std::shared_ptr<Module> load(Driver &driver, const void *image, unsigned count, const int *options, void **values) {
  std::string log;
  try {
    return load(driver, ptx_of(image), log);
  } catch (const Failure &) {
    tell_log(log, count, options, values);
    throw;
  }
}

std::string content_of(const char *path) {
  require(path, invalid_value);
  std::ifstream file(path, std::ios::binary);
  require(file.good(), file_not_found);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Unloading waits for launches: what runs keeps neither code nor variables.
void unload(Driver &driver, Registry<Module> &registry, const void *handle) {
  const auto module = registry.find(handle, invalid_handle);
  driver.synchronize(module->context());
  registry.remove(handle, invalid_handle);
  // The module that a library was asked for goes with it.
  driver.modules.remove_if([&](const Module &other) { return &other == module.get(); });
  driver.remove_functions(*module);
}

Function *function_named(const Module &module, const char *name) {
  require(name, invalid_value);
  Function *const function = module.function(name);
  require(function, not_found);
  return function;
}

void variable_named(const Module &module, const char *name, DevicePointer *address, std::size_t *size) {
  require(name, invalid_value);
  const Variable *variable = module.variable(name);
  require(variable, not_found);
  if (address) *address = variable->address;
  if (size) *size = variable->size;
}

void list(const Module &module, Function **functions, unsigned count) {
  require(functions, invalid_value);
  const auto &all = module.functions();
  for (unsigned i = 0; i < count && i < all.size(); ++i) functions[i] = all[i].get();
}

int attribute_of(const Function &function, int attribute) {
  switch (attribute) {
    case attribute_max_threads:
      return max_block_threads;
    case attribute_shared:
      return static_cast<int>(function.static_shared);
    case attribute_registers:
      return registers_per_thread;
    case attribute_ptx_version:
    case attribute_binary_version:
      return 10 * capability_major + capability_minor;
    case attribute_max_dynamic_shared:
      return function.max_dynamic_shared;
    case attribute_shared_carveout:
      return -1;
    case gcr::required_cluster_width:
    case gcr::required_cluster_width + 1:
    case gcr::required_cluster_depth:
      return static_cast<int>(function.cluster[attribute - gcr::required_cluster_width]);
    default:
      require(attribute >= 0 && attribute < 16, invalid_value);
      return 0;
  }
}

void set_attribute(Function &function, int attribute, int value) {
  if (attribute >= gcr::required_cluster_width && attribute <= gcr::required_cluster_depth) {
    require(!function.compiled_for_cluster, not_permitted);
    require(value >= 0 && value <= static_cast<int>(max_cluster), invalid_value);
    function.cluster[attribute - gcr::required_cluster_width] = static_cast<unsigned>(value);
    return;
  }
  if (attribute != attribute_max_dynamic_shared) return;
  const int most = shared_per_block_optin - static_cast<int>(function.static_shared);
  require(value >= 0 && value <= most, invalid_value);
  function.max_dynamic_shared = value;
}

void parameter_of(const Function &function, std::size_t index, std::size_t *offset, std::size_t *size) {
  require(offset && index < function.parameters.size(), invalid_value);
  *offset = function.parameters[index].offset;
  if (size) *size = function.parameters[index].size;
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

GCR_SIM_API cuModuleLoadDataEx(Module **module, const void *image, unsigned count, const int *options, void **values) {
  return call([&](Driver &driver) {
    require(module, invalid_value);
    *module = driver.modules.add(load(driver, image, count, options, values));
  });
}

GCR_SIM_API cuModuleLoadData(Module **module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

GCR_SIM_API cuModuleLoadFatBinary(Module **module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

GCR_SIM_API cuModuleLoad(Module **module, const char *path) {
  return call([&](Driver &driver) {
    require(module, invalid_value);
    const std::string image = content_of(path);
    require(!image.empty(), invalid_image);
    *module = driver.modules.add(load(driver, image.c_str(), 0, nullptr, nullptr));
  });
}

GCR_SIM_API cuModuleUnload(Module *module) {
  return call([&](Driver &driver) { unload(driver, driver.modules, module); });
}

GCR_SIM_API cuModuleGetLoadingMode(int *mode) {
  return call<Need::initialized>([&](Driver &) {
    require(mode, invalid_value);
    *mode = 1;  // eager
  });
}

GCR_SIM_API cuModuleGetFunction(Function **function, Module *module, const char *name) {
  return call([&](Driver &driver) {
    require(function, invalid_value);
    *function = function_named(*driver.modules.find(module, invalid_handle), name);
  });
}

GCR_SIM_API cuModuleGetFunctionCount(unsigned *count, Module *module) {
  return call([&](Driver &driver) {
    require(count, invalid_value);
    *count = static_cast<unsigned>(driver.modules.find(module, invalid_handle)->functions().size());
  });
}

GCR_SIM_API cuModuleEnumerateFunctions(Function **functions, unsigned count, Module *module) {
  return call([&](Driver &driver) { list(*driver.modules.find(module, invalid_handle), functions, count); });
}

GCR_SIM_API cuModuleGetGlobal_v2(DevicePointer *address, std::size_t *size, Module *module, const char *name) {
  return call([&](Driver &driver) {
    variable_named(*driver.modules.find(module, invalid_handle), name, address, size);
  });
}

GCR_SIM_API cuLibraryLoadData(Module **library, const void *image, const int *options, void **values, unsigned count,
                              int *, void **, unsigned) {
  return call([&](Driver &driver) {
    require(library, invalid_value);
    *library = driver.libraries.add(load(driver, image, count, options, values));
  });
}

GCR_SIM_API cuLibraryLoadFromFile(Module **library, const char *path, const int *options, void **values, unsigned count,
                                  int *, void **, unsigned) {
  return call([&](Driver &driver) {
    require(library, invalid_value);
    const std::string image = content_of(path);
    require(!image.empty(), invalid_image);
    *library = driver.libraries.add(load(driver, image.c_str(), count, options, values));
  });
}

GCR_SIM_API cuLibraryUnload(Module *library) {
  return call([&](Driver &driver) { unload(driver, driver.libraries, library); });
}

GCR_SIM_API cuLibraryGetKernel(Function **kernel, Module *library, const char *name) {
  return call([&](Driver &driver) {
    require(kernel, invalid_value);
    *kernel = function_named(*driver.libraries.find(library, invalid_handle), name);
  });
}

GCR_SIM_API cuLibraryGetKernelCount(unsigned *count, Module *library) {
  return call([&](Driver &driver) {
    require(count, invalid_value);
    *count = static_cast<unsigned>(driver.libraries.find(library, invalid_handle)->functions().size());
  });
}

GCR_SIM_API cuLibraryEnumerateKernels(Function **kernels, unsigned count, Module *library) {
  return call([&](Driver &driver) { list(*driver.libraries.find(library, invalid_handle), kernels, count); });
}

GCR_SIM_API cuLibraryGetModule(Module **module, Module *library) {
  return call([&](Driver &driver) {
    require(module, invalid_value);
    *module = driver.modules.add(driver.libraries.find(library, invalid_handle));
  });
}

GCR_SIM_API cuLibraryGetGlobal(DevicePointer *address, std::size_t *size, Module *library, const char *name) {
  return call([&](Driver &driver) {
    variable_named(*driver.libraries.find(library, invalid_handle), name, address, size);
  });
}

GCR_SIM_API cuKernelGetFunction(Function **function, Function *kernel) {
  return call([&](Driver &driver) {
    require(function, invalid_value);
    driver.module_of(kernel);
    *function = kernel;
  });
}

GCR_SIM_API cuKernelGetLibrary(Module **library, Function *kernel) {
  return call([&](Driver &driver) {
    require(library, invalid_value);
    *library = driver.libraries.find(driver.module_of(kernel).get(), invalid_handle).get();
  });
}

GCR_SIM_API cuKernelGetName(const char **name, Function *kernel) {
  return call([&](Driver &driver) {
    require(name, invalid_value);
    driver.module_of(kernel);
    *name = kernel->name.c_str();
  });
}

GCR_SIM_API cuKernelGetAttribute(int *value, int attribute, Function *kernel, Device) {
  return call([&](Driver &driver) {
    require(value, invalid_value);
    driver.module_of(kernel);
    *value = attribute_of(*kernel, attribute);
  });
}

GCR_SIM_API cuKernelSetAttribute(int attribute, int value, Function *kernel, Device) {
  return call([&](Driver &driver) {
    driver.module_of(kernel);
    set_attribute(*kernel, attribute, value);
  });
}

GCR_SIM_API cuKernelGetParamInfo(Function *kernel, std::size_t index, std::size_t *offset, std::size_t *size) {
  return call([&](Driver &driver) {
    driver.module_of(kernel);
    parameter_of(*kernel, index, offset, size);
  });
}

GCR_SIM_API cuFuncGetName(const char **name, Function *function) { return cuKernelGetName(name, function); }

GCR_SIM_API cuFuncGetModule(Module **module, Function *function) {
  return call([&](Driver &driver) {
    require(module, invalid_value);
    *module = driver.module_of(function).get();
  });
}

GCR_SIM_API cuFuncGetAttribute(int *value, int attribute, Function *function) {
  return cuKernelGetAttribute(value, attribute, function, 0);
}

GCR_SIM_API cuFuncSetAttribute(Function *function, int attribute, int value) {
  return cuKernelSetAttribute(attribute, value, function, 0);
}

GCR_SIM_API cuFuncGetParamInfo(Function *function, std::size_t index, std::size_t *offset, std::size_t *size) {
  return cuKernelGetParamInfo(function, index, offset, size);
}

GCR_SIM_API cuFuncSetCacheConfig(Function *function, int) {
  return call([&](Driver &driver) { driver.module_of(function); });
}

GCR_SIM_API cuFuncIsLoaded(int *state, Function *function) {
  return call([&](Driver &driver) {
    require(state, invalid_value);
    driver.module_of(function);
    *state = 1;
  });
}

GCR_SIM_API cuFuncLoad(Function *function) {
  return call([&](Driver &driver) { driver.module_of(function); });
}

GCR_SIM_API cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, Function *function, int block,
                                                                 std::size_t shared, unsigned) {
  return call([&](Driver &driver) {
    require(blocks && block > 0, invalid_value);
    driver.module_of(function);
    const bool fits = block <= static_cast<int>(max_block_threads);
    *blocks = fits ? resident_blocks(block, static_cast<int>(function->static_shared + shared)) : 0;
  });
}

GCR_SIM_API cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *function, int block, std::size_t shared) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block, shared, 0);
}

GCR_SIM_API cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *block, Function *function,
                                                      std::size_t (*shared_for)(int), std::size_t shared, int limit,
                                                      unsigned) {
  return call([&](Driver &driver) {
    require(grid && block, invalid_value);
    driver.module_of(function);
    int best = 0;
    const int most = limit > 0 ? std::min<int>(limit, max_block_threads) : static_cast<int>(max_block_threads);
    for (int size = (most + warp_size - 1) / warp_size * warp_size; size > 0; size -= warp_size) {
      const int threads = std::min(size, most);
      const auto bytes = static_cast<int>(function->static_shared + (shared_for ? shared_for(threads) : shared));
      const int blocks = resident_blocks(threads, bytes);
      if (blocks * threads <= best) continue;
      best = blocks * threads;
      *block = threads;
      *grid = blocks * multiprocessors;
    }
    require(best > 0, launch_out_of_resources);
  });
}

GCR_SIM_API cuOccupancyMaxPotentialBlockSize(int *grid, int *block, Function *function, std::size_t (*shared_for)(int),
                                             std::size_t shared, int limit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, block, function, shared_for, shared, limit, 0);
}

GCR_SIM_API cuOccupancyAvailableDynamicSMemPerBlock(std::size_t *bytes, Function *function, int blocks, int) {
  return call([&](Driver &driver) {
    require(bytes && blocks > 0, invalid_value);
    driver.module_of(function);
    const int each = shared_per_multiprocessor / blocks - shared_reserved - static_cast<int>(function->static_shared);
    *bytes = static_cast<std::size_t>(std::clamp(each, 0, shared_per_block_optin));
  });
}

GCR_SIM_API cuOccupancyMaxPotentialClusterSize(int *size, Function *function, const LaunchConfiguration *) {
  return call([&](Driver &driver) {
    require(size, invalid_value);
    driver.module_of(function);
    *size = static_cast<int>(max_cluster);
  });
}

GCR_SIM_API cuOccupancyMaxActiveClusters(int *clusters, Function *function, const LaunchConfiguration *configuration) {
  return call([&](Driver &driver) {
    require(clusters && configuration, invalid_value);
    driver.module_of(function);
    unsigned blocks = 1;
    for (unsigned i = 0; i < configuration->attribute_count; ++i) {
      const LaunchAttribute &attribute = configuration->attributes[i];
      if (attribute.id != 4) continue;
      blocks = attribute.value.cluster[0] * attribute.value.cluster[1] * attribute.value.cluster[2];
    }
    require(blocks > 0, invalid_value);
    const unsigned threads = configuration->block[0] * configuration->block[1] * configuration->block[2];
    const auto shared = function->static_shared + configuration->shared_memory;
    *clusters = resident_blocks(static_cast<int>(threads), static_cast<int>(shared)) * multiprocessors /
                static_cast<int>(blocks);
  });
}
