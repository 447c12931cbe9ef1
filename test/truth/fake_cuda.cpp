// A stand-in for libcuda.so.1 for the recorder's tests: device memory is host memory, a module is its text, and a launch does
// what the kernel's name says. Parameters: a pointer, a count, and what the name needs beyond.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct Variable {
  std::vector<std::uint8_t> bytes;
};
struct Module {
  std::string text;
  std::map<std::string, Variable> variables;
};
struct Function {
  std::string name;
  Module *module;
};
struct Configuration {
  unsigned grid[3], block[3], shared_memory;
  void *stream;
  const char *attributes;
  unsigned attribute_count;
};

int sticky = 0;

std::uint64_t word_at(const std::uint8_t *parameters, std::size_t offset) {
  std::uint64_t word;
  std::memcpy(&word, parameters + offset, 8);
  return word;
}

}  // namespace

extern "C" {

int cuInit(unsigned) { return 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGet(int *device, int) { return *device = 0, 0; }
int cuDeviceGetName(char *name, int size, int) { return std::strncpy(name, "Fake \"GPU\"", size), 0; }
int cuDevicePrimaryCtxRetain(void **context, int) { return *context = &sticky, 0; }
int cuCtxSetCurrent(void *) { return 0; }
int cuCtxSetLimit(int, std::size_t) { return 0; }
int cuCtxSynchronize() { return sticky; }
int cuGetErrorName(int error, const char **name) {
  *name = error == 700 ? "CUDA_ERROR_ILLEGAL_ADDRESS" : error == 218 ? "CUDA_ERROR_INVALID_PTX" : "CUDA_ERROR_OTHER";
  return 0;
}
int cuMemAlloc_v2(std::uint64_t *, std::size_t) { return 2; }
int cuMemcpyHtoD_v2(std::uint64_t to, const void *from, std::size_t size) {
  return std::memcpy(reinterpret_cast<void *>(to), from, size), 0;
}
int cuMemcpyDtoH_v2(void *to, std::uint64_t from, std::size_t size) {
  return std::memcpy(to, reinterpret_cast<void *>(from), size), 0;
}
int cuMemAddressReserve(std::uint64_t *address, std::size_t size, std::size_t, std::uint64_t wish, unsigned long long) {
  void *wanted = reinterpret_cast<void *>(wish);
  void *got = mmap(wanted, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  *address = reinterpret_cast<std::uint64_t>(got);
  return got == MAP_FAILED ? 2 : 0;
}
int cuMemAddressFree(std::uint64_t address, std::size_t size) { return munmap(reinterpret_cast<void *>(address), size); }
int cuMemCreate(std::uint64_t *handle, std::size_t, const void *, unsigned long long) { return *handle = 1, 0; }
int cuMemMap(std::uint64_t, std::size_t, std::size_t, std::uint64_t, unsigned long long) { return 0; }
int cuMemSetAccess(std::uint64_t address, std::size_t size, const void *, std::size_t) {
  return mprotect(reinterpret_cast<void *>(address), size, PROT_READ | PROT_WRITE);
}
int cuModuleLoadDataEx(Module **module, const char *text, unsigned count, int *options, void **values) {
  if (std::strstr(text, "crash")) std::abort();
  if (std::strstr(text, "refuse")) {
    for (unsigned i = 0; i < count; ++i)
      if (options[i] == 5) std::strcpy(static_cast<char *>(values[i]), "ptxas fatal: not today\nmore");
    return 218;
  }
  *module = new Module{text, {}};
  (*module)->variables["counter"].bytes = {1, 2, 3, 4};
  (*module)->variables["table"].bytes = std::vector<std::uint8_t>(16, 7);
  return 0;
}
int cuModuleUnload(Module *module) { return delete module, 0; }
int cuModuleGetFunction(Function **function, Module *module, const char *name) {
  if (module->text.find(name) == std::string::npos) return 500;
  return *function = new Function{name, module}, 0;
}
int cuModuleGetGlobal_v2(std::uint64_t *address, std::size_t *size, Module *module, const char *name) {
  auto found = module->variables.find(name);
  if (found == module->variables.end()) return 500;
  *address = reinterpret_cast<std::uint64_t>(found->second.bytes.data());
  *size = found->second.bytes.size();
  return 0;
}
int cuFuncSetAttribute(Function *, int, int value) { return value > 200000 ? 1 : 0; }
int cuTensorMapEncodeTiled(void *map, int, std::uint32_t, void *address, const void *, const void *, const void *,
                           const void *, int, int, int, int) {
  std::memset(map, 0xee, 128);
  return std::memcpy(map, &address, 8), 0;
}
int cuTensorMapEncodeIm2col(void *map, int, std::uint32_t, void *address, const void *, const void *, const int *,
                            const int *, std::uint32_t, std::uint32_t, const void *, int, int, int, int) {
  std::memset(map, 0xdd, 128);
  return std::memcpy(map, &address, 8), 0;
}

int cuLaunchKernelEx(const Configuration *configuration, Function *function, void **one_by_one, void **extra) {
  if (configuration->block[0] > 1024) return 1;
  const auto *parameters = extra ? static_cast<const std::uint8_t *>(extra[1]) : nullptr;
  std::uint8_t gathered[16];
  if (one_by_one) {
    for (int i = 0; i < 2; ++i) std::memcpy(gathered + 8 * i, one_by_one[i], 8);
    parameters = gathered;
  }
  const std::string &name = function->name;
  if (name == "hang")
    for (;;) usleep(1000);
  if (name == "fault") sticky = 700;
  if (name == "die") _exit(9);
  if (name == "bump") function->module->variables["counter"].bytes[1]++;
  if (name == "print") return write(1, "printed by a kernel\n", 20) == 20 ? 0 : 1;
  if (name != "store" && name != "stride" && name != "chase" && name != "same") return 0;
  auto *to = reinterpret_cast<std::uint8_t *>(word_at(parameters, 0));
  const std::uint64_t count = word_at(parameters, 8);
  if (name == "chase") to = reinterpret_cast<std::uint8_t *>(word_at(to, 0));
  for (std::uint64_t i = 0; i < count; ++i) to[i * (name == "stride" ? 24 : 1)] = static_cast<std::uint8_t>(configuration->grid[0]);
  return 0;
}
}
