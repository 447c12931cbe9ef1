// See libraries.h.
#include "recorder/libraries.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace gcr {
namespace {

constexpr const char *stems[] = {"libcublas", "libcublasLt", "libnccl"};

bool is_named(const std::string &file, const char *stem) {
  const std::size_t size = std::strlen(stem);
  return file.compare(0, size, stem) == 0 && file.compare(size, 3, ".so") == 0;
}

std::string file_of(const char *path) {
  const char *slash = path ? std::strrchr(path, '/') : nullptr;
  return slash ? slash + 1 : path ? path : "";
}

// Whether a loaded object names a library among those that it needs.
template <class Matches>
bool needs(const link_map *map, Matches &&matches) {
  const char *strings = nullptr;
  if (!map || !map->l_ld) return false;
  for (const ElfW(Dyn) *one = map->l_ld; one->d_tag != DT_NULL; ++one)
    if (one->d_tag == DT_STRTAB) strings = reinterpret_cast<const char *>(one->d_un.d_ptr);
  if (!strings) return false;
  for (const ElfW(Dyn) *one = map->l_ld; one->d_tag != DT_NULL; ++one)
    if (one->d_tag == DT_NEEDED && matches(strings + one->d_un.d_val)) return true;
  return false;
}

struct Search {
  unsigned long long loads = 0;
  std::vector<LoadedLibrary *> found;
};

int look_at(dl_phdr_info *info, std::size_t, void *data) {
  auto &search = *static_cast<Search *>(data);
  search.loads = info->dlpi_adds;
  const std::string file = file_of(info->dlpi_name);
  if (std::none_of(std::begin(stems), std::end(stems), [&](const char *stem) { return is_named(file, stem); })) return 0;
  auto *one = new LoadedLibrary;
  one->path = info->dlpi_name;
  one->file = file;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto &part = info->dlpi_phdr[i];
    if (part.p_type == PT_LOAD && (part.p_flags & PF_X))
      one->code.emplace_back(info->dlpi_addr + part.p_vaddr, info->dlpi_addr + part.p_vaddr + part.p_memsz);
  }
  search.found.push_back(one);
  return 0;
}

int count_loads(dl_phdr_info *info, std::size_t, void *data) {
  *static_cast<unsigned long long *>(data) = info->dlpi_adds;
  return 1;
}

}  // namespace

LoadedLibraries &LoadedLibraries::all() {
  static LoadedLibraries *const one = new LoadedLibraries;  // lives as long as the process
  return *one;
}

std::atomic<std::uint64_t> LoadedLibraries::unloads_{0};

// What was found before stays, by path and place; what was unloaded before anybody used it does no harm.
void LoadedLibraries::refresh() {
  unsigned long long loads = 0;
  dl_iterate_phdr(count_loads, &loads);
  if (loads == loads_) return;
  Search search;
  dl_iterate_phdr(look_at, &search);
  for (LoadedLibrary *one : search.found) {
    const auto same = [&](const LoadedLibrary *known) { return known->path == one->path && known->code == one->code; };
    if (std::any_of(libraries_.begin(), libraries_.end(), same)) delete one;
    else libraries_.push_back(one);
  }
  loads_ = search.loads;
}

bool LoadedLibraries::open(LoadedLibrary &library) {
  if (library.handle.load(std::memory_order_acquire)) return true;
  void *handle = dlopen(library.path.c_str(), RTLD_NOLOAD | RTLD_LAZY);
  if (!handle) return false;
  library.own_runtime =
      !needs(static_cast<const link_map *>(handle), [](const char *name) { return std::strncmp(name, "libcudart.so", 12) == 0; });
  library.handle.store(handle, std::memory_order_release);
  return true;
}

const LoadedLibrary *LoadedLibraries::find(const char *stem, const void *caller) {
  std::array<LoadedLibrary *, 8> named{};
  std::size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    refresh();
    for (LoadedLibrary *one : libraries_)
      if (is_named(one->file, stem) && count < named.size()) named[count++] = one;
  }
  if (count == 1) return open(*named[0]) ? named[0] : nullptr;
  Dl_info info;
  link_map *map = nullptr;
  if (caller && dladdr1(caller, &info, reinterpret_cast<void **>(&map), RTLD_DL_LINKMAP)) {
    for (std::size_t i = 0; i < count; ++i)
      if (needs(map, [&](const char *name) { return named[i]->file == name; }) && open(*named[i])) return named[i];
  }
  // Who looked a function up got ours for the first of them alone.
  for (std::size_t i = 0; i < count; ++i)
    if (open(*named[i])) return named[i];
  return nullptr;
}

const LoadedLibrary *LoadedLibraries::at(const void *code) {
  const auto place = reinterpret_cast<std::uintptr_t>(code);
  const std::lock_guard lock(mutex_);
  refresh();
  for (const LoadedLibrary *one : libraries_)
    for (const auto &[from, to] : one->code)
      if (place >= from && place < to) return one;
  return nullptr;
}

}  // namespace gcr

// Counted before it is done: from then on nobody's call comes from what goes.
extern "C" __attribute__((visibility("default"))) int dlclose(void *handle) {
  static const auto real = reinterpret_cast<int (*)(void *)>(dlsym(RTLD_NEXT, "dlclose"));
  gcr::LoadedLibraries::unload();
  return real(handle);
}
