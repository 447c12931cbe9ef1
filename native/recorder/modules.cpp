// See modules.h.
#include "recorder/modules.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "recorder/current.h"

namespace gcr {
namespace {

constexpr std::uint32_t kind_unknown = 0, kind_ptx = 1, kind_cubin = 2, kind_fatbin = 3;
constexpr std::uint32_t fatbin_magic = 0xba55ed50, wrapper_magic = 0x466243b1;
constexpr int link_ptx = 1;
// CUDA's limit is 32,764.
constexpr std::size_t most_parameter_bytes = 32768, cache_line = 64;

struct Image {
  std::span<const std::uint8_t> bytes;
  std::uint32_t kind = kind_unknown;
};

template <class Number>
Number number_at(const std::uint8_t *bytes, std::size_t offset) {
  Number number;
  std::memcpy(&number, bytes + offset, sizeof(number));
  return number;
}

// The image as the driver reads it: its length stands in its own head. What has no known head has no known length.
Image image_at(const void *place) {
  const auto *bytes = static_cast<const std::uint8_t *>(place);
  if (!bytes || !bytes[0]) return {};
  const bool has_word = ::strnlen(reinterpret_cast<const char *>(bytes), 4) == 4;
  if (has_word && std::memcmp(bytes, ELFMAG, SELFMAG) == 0) {
    const auto head = number_at<Elf64_Ehdr>(bytes, 0);
    std::uint64_t size = std::max<std::uint64_t>(head.e_shoff + std::uint64_t{head.e_shnum} * head.e_shentsize,
                                                 head.e_phoff + std::uint64_t{head.e_phnum} * head.e_phentsize);
    for (unsigned i = 0; i < head.e_shnum; ++i) {
      const auto section = number_at<Elf64_Shdr>(bytes, head.e_shoff + std::size_t{i} * head.e_shentsize);
      if (section.sh_type != SHT_NOBITS) size = std::max<std::uint64_t>(size, section.sh_offset + section.sh_size);
    }
    return {{bytes, size}, kind_cubin};
  }
  const std::uint32_t word = has_word ? number_at<std::uint32_t>(bytes, 0) : 0;
  if (word == wrapper_magic) return image_at(number_at<const void *>(bytes, 8));
  if (word == fatbin_magic) return {{bytes, number_at<std::uint16_t>(bytes, 6) + number_at<std::uint64_t>(bytes, 8)}, kind_fatbin};
  // PTX text ends with a zero byte, and nothing else is text.
  const std::size_t length = std::strlen(reinterpret_cast<const char *>(bytes));
  const bool text = std::all_of(bytes, bytes + std::min<std::size_t>(length, 64), [](std::uint8_t c) { return c >= 9 && c < 127; });
  return text ? Image{{bytes, length}, kind_ptx} : Image{};
}

bool read_file(const char *path, std::string &content) {
  Descriptor file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  char buffer[65536];
  for (ssize_t count; (count = ::read(file.get(), buffer, sizeof(buffer))) > 0;) content.append(buffer, static_cast<std::size_t>(count));
  return true;
}

}  // namespace

void Modules::send_image(std::uint64_t number, std::span<const std::uint8_t> bytes, std::uint32_t kind) {
  Descriptor file(::memfd_create("gcr-image", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  std::size_t written = 0;
  while (file && written < bytes.size()) {
    const ssize_t count = ::write(file.get(), bytes.data() + written, bytes.size() - written);
    if (count <= 0 && errno != EINTR) break;
    if (count > 0) written += static_cast<std::size_t>(count);
  }
  if (!file || written < bytes.size() || ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL) != 0)
    return emitter_.stop_writes("no memory for a module's image");
  const int descriptor = file.get();
  ImageMessage message;
  message.module = number;
  message.size = bytes.size();
  message.kind = kind;
  emitter_.message(message, {&descriptor, 1});
}

void Modules::loaded(void *handle, const void *place) {
  Image image = image_at(place);
  const std::lock_guard lock(mutex_);
  for (const auto &[state, link] : links_)
    if (link.image == place && !link.other && link.texts.size() == 1)
      image = {{reinterpret_cast<const std::uint8_t *>(link.texts[0].data()), link.texts[0].size()}, kind_ptx};
  const std::uint64_t number = numbers_[handle] = next_module_++;
  emitter_.allocation(ModuleEvent{number});
  send_image(number, image.bytes, image.kind);
}

void Modules::loaded_file(void *handle, const char *path) {
  std::string content;
  if (path) read_file(path, content);
  content.resize(content.size() + sizeof(Elf64_Ehdr));  // heads are looked at whole
  loaded(handle, content.data());
}

void Modules::unloaded(void *handle) {
  std::vector<DevicePointer> places;
  {
    const std::lock_guard lock(mutex_);
    const auto found = numbers_.find(handle);
    if (found == numbers_.end()) return;
    const std::uint64_t number = found->second;
    std::erase_if(located_, [&](const auto &one) { return numbers_[one.first] == number; });
    std::erase_if(libraries_, [&](void *one) { return numbers_[one] == number; });
    std::erase_if(numbers_, [&](const auto &one) { return one.second == number; });
    std::erase_if(known_, [&](const auto &one) {
      if (one.second.module != number) return false;
      functions_.erase(one.first);
      return true;
    });
    hot.functions.fetch_add(1);
    for (const Variable &variable : variables_[number]) places.push_back(variable.address);
    variables_.erase(number);
    images_.erase(number);
    emitter_.allocation(ModuleGoneEvent{number});
  }
  memory_.forget_variables(places);
}

std::uint64_t Modules::number_of(void *handle) {
  const auto found = numbers_.find(handle);
  return found == numbers_.end() ? 0 : found->second;
}

std::uint64_t Modules::number_of(Module module, const std::string &kernel) {
  if (const std::uint64_t number = number_of(module)) return number;
  if (!driver_.cuLibraryGetModule) return 0;
  // A library's module, which the program has never asked for. A library that has no kernel of that name is not asked, because
  // asking loads it.
  for (void *library : libraries_) {
    const std::uint64_t number = number_of(library);
    const bool has = std::any_of(known_.begin(), known_.end(), [&](const auto &one) {
      return one.second.is_kernel && one.second.module == number && one.second.name == kernel;
    });
    Module own = nullptr;
    if (!has || driver_.cuLibraryGetModule(&own, static_cast<Library>(library)) != result::success || own != module) continue;
    return numbers_[module] = number;
  }
  return 0;
}

void Modules::module_of(Module module, Library library) {
  const std::lock_guard lock(mutex_);
  if (const std::uint64_t number = number_of(library)) numbers_[module] = number;
}

void Modules::function_of(Function function, Module module, const char *name) {
  const std::lock_guard lock(mutex_);
  known_[function] = {number_of(module), name, false};
}

void Modules::kernel_of(Kernel kernel, Library library, const char *name) {
  const std::lock_guard lock(mutex_);
  known_[reinterpret_cast<Function>(kernel)] = {number_of(library), name, true};
}

void Modules::learn_function(ThreadState::CachedKernel &cached, Function function, Kernel kernel) {
  const std::lock_guard lock(mutex_);
  if (const auto found = known_.find(reinterpret_cast<Function>(kernel)); found != known_.end()) {
    Known known = found->second;
    known.is_kernel = false;
    known_[function] = std::move(known);
    cached = {kernel, function};
  }
}

void Modules::variable(void *handle, const char *name, DevicePointer address, std::size_t size) {
  if (!address || !size) return;
  const std::lock_guard lock(mutex_);
  tell_variable(number_of(handle), name, address, size);
}

void Modules::is_library(Library library) {
  const std::lock_guard lock(mutex_);
  libraries_.insert(library);
}

void Modules::locate(std::uint64_t module, const std::vector<std::string_view> &names) {
  // Under the lock: whoever unloads the module takes it first, and a context that comes meanwhile finds the names.
  const std::lock_guard lock(mutex_);
  for (const auto &[handle, number] : numbers_) {
    if (number != module) continue;
    const bool everywhere = libraries_.contains(handle);
    for (const std::string_view name : names)
      if (everywhere) located_[handle].emplace(name);
    for (const Context context : memory_.contexts()) {
      const Current current(driver_, context);
      bool found = false;
      for (const std::string_view name : names) found |= current && locate_here(handle, module, std::string(name));
      if (found && !everywhere) break;
    }
  }
}

bool Modules::locate_here(void *handle, std::uint64_t module, const std::string &name) {
  DevicePointer address = 0;
  std::size_t size = 0;
  Result outcome = result::invalid_value;
  if (!libraries_.contains(handle)) outcome = driver_.cuModuleGetGlobal(&address, &size, static_cast<Module>(handle), name.c_str());
  else if (driver_.cuLibraryGetGlobal) outcome = driver_.cuLibraryGetGlobal(&address, &size, static_cast<Library>(handle), name.c_str());
  if (outcome != result::success || !address || !size) return false;
  tell_variable(module, name.c_str(), address, size);
  return true;
}

void Modules::context_created(Context context) {
  const InDriver inside(this_thread);
  const std::lock_guard lock(mutex_);
  for (void *library : libraries_) {
    const std::uint64_t module = number_of(library);
    std::set<std::string> names;
    if (const auto asked = located_.find(library); asked != located_.end()) names = asked->second;
    if (const auto known = variables_.find(module); known != variables_.end())
      for (const Variable &one : known->second) names.insert(one.name);
    if (names.empty()) continue;
    const Current current(driver_, context);
    // Whatever is there: launches in the new context do not mean the place that was told.
    for (const std::string &name : names)
      if (!current || !locate_here(library, module, name)) emitter_.allocation(VariableEvent{module, 0, 0, 0, name}, variable_of_several);
  }
}

bool Modules::has_several_places(std::uint64_t module) const {
  const bool is_library =
      std::any_of(libraries_.begin(), libraries_.end(), [&](void *library) { return numbers_.at(library) == module; });
  return is_library && memory_.contexts().size() > 1;
}

void Modules::tell_variable(std::uint64_t module, const char *name, DevicePointer address, std::size_t size) {
  auto &known = variables_[module];
  const std::uint64_t allocation = memory_.variable(address, size);
  const auto there = std::find_if(known.begin(), known.end(), [&](const Variable &one) { return one.address == address; });
  if (there != known.end() && there->allocation == allocation) return;
  if (there != known.end()) known.erase(there);  // it went with its context
  known.push_back({address, size, allocation, name});
  emitter_.allocation(VariableEvent{module, address, size, allocation, name}, has_several_places(module) ? variable_of_several : 0);
}

void Modules::image_named(std::uint64_t module, const ImageName &name) {
  const std::lock_guard lock(mutex_);
  images_[module] = name;
}

void Modules::retell() {
  const std::lock_guard lock(mutex_);
  // A module that is a view of a library has its number.
  std::set<std::uint64_t> modules;
  for (const auto &[handle, number] : numbers_) modules.insert(number);
  for (const std::uint64_t module : modules) {
    const auto image = images_.find(module);
    emitter_.message(KnownImageMessage{module, image == images_.end() ? ImageName{} : image->second});
    emitter_.allocation(ModuleEvent{module});
  }
  for (const auto &[handle, record] : functions_) tell_function(*record, known_[handle]);
}

void Modules::retell_variables() {
  const std::lock_guard lock(mutex_);
  for (const auto &[module, variables] : variables_)
    for (const Variable &one : variables)
      emitter_.allocation(VariableEvent{module, one.address, one.size, one.allocation, one.name}, has_several_places(module) ? variable_of_several : 0);
}

void Modules::link_input(LinkState state, int type, const void *data, std::size_t size) {
  const std::lock_guard lock(mutex_);
  Linked &link = links_[state];
  if (type == link_ptx) link.texts.emplace_back(static_cast<const char *>(data), ::strnlen(static_cast<const char *>(data), size));
  else link.other = true;
}

void Modules::link_file(LinkState state, int type, const char *path) {
  std::string content;
  const bool read = type == link_ptx && path && read_file(path, content);
  const std::lock_guard lock(mutex_);
  Linked &link = links_[state];
  if (read) link.texts.push_back(std::move(content));
  else link.other = true;
}

void Modules::linked(LinkState state, const void *image) {
  const std::lock_guard lock(mutex_);
  links_[state].image = image;
}

void Modules::link_ended(LinkState state) {
  const std::lock_guard lock(mutex_);
  links_.erase(state);
}

void Modules::empty(ThreadState &thread, std::uint64_t epoch) {
  for (auto &one : thread.functions) one = {};
  for (auto &one : thread.kernels) one = {};
  thread.function_epoch = epoch;
}

void ParametersInPlace::copy_to(std::uint8_t *to) const {
  // Gaps between parameters are nobody's; zeros make equal launches equal.
  std::size_t end = 0;
  void *const *from = parameters;
  for (const auto [offset, size] : record->places()) {
    for (; end < offset; ++end) to[end] = 0;
    copy_inline(to + offset, *from++, size);
    end = offset + size;
  }
}

const FunctionRecord &Modules::function(ThreadState &thread, Function handle) {
  refresh(thread);
  ThreadState::CachedFunction &cached = thread.functions[cache_place<ThreadState::cached_functions>(handle)];
  if (cached.handle == handle && cached.record) return *cached.record;
  const std::lock_guard lock(mutex_);
  const FunctionRecord &record = make_function(handle);
  cached = {handle, &record};
  return record;
}

void Modules::changed(Function handle) {
  const std::lock_guard lock(mutex_);
  const auto changed = known_.find(handle);
  for (auto at = functions_.begin(); at != functions_.end();) {
    const auto found = known_.find(at->first);
    const bool same = at->first == handle || (changed != known_.end() && found != known_.end() &&
                                              found->second.module == changed->second.module && found->second.name == changed->second.name);
    at = same ? functions_.erase(at) : std::next(at);
  }
  hot.functions.fetch_add(1);
}

const FunctionRecord &Modules::make_function(Function handle) {
  auto &place = functions_[handle];
  if (place) return *place;
  auto [found, is_new] = known_.try_emplace(handle);
  Known &known = found->second;
  if (is_new) {
    // Given out by an entry point that we do not see: an enumeration, or a graph that was captured from launches of kernels.
    Module module = nullptr;
    const char *name = nullptr;
    if (driver_.cuFuncGetName && driver_.cuFuncGetName(&name, handle) == result::success && name) known.name = name;
    if (driver_.cuFuncGetModule && driver_.cuFuncGetModule(&module, handle) == result::success) known.module = number_of(module, known.name);
  }
  FunctionRecord record;
  record.number = next_function_++;
  std::vector<FunctionRecord::Place> places;
  const bool can_ask = known.is_kernel ? driver_.cuKernelGetParamInfo != nullptr : driver_.cuFuncGetParamInfo != nullptr;
  if (can_ask) {
    std::size_t offset = 0, size = 0, end = 0;
    for (;;) {
      const Result outcome = known.is_kernel
                                 ? driver_.cuKernelGetParamInfo(reinterpret_cast<Kernel>(handle), places.size(), &offset, &size)
                                 : driver_.cuFuncGetParamInfo(handle, places.size(), &offset, &size);
      // Beyond the last parameter the index is invalid; any other answer says nothing about the layout.
      if (outcome == result::invalid_value) record.parameter_bytes = static_cast<std::uint32_t>(end);
      if (outcome != result::success || offset + size > most_parameter_bytes) break;
      places.push_back({static_cast<std::uint16_t>(offset), static_cast<std::uint16_t>(size)});
      end = std::max(end, offset + size);
    }
    if (record.parameter_bytes == unknown_parameter_bytes) places.clear();
  }
  record.count = static_cast<std::uint32_t>(places.size());
  Device device = 0;
  if (driver_.cuCtxGetDevice) driver_.cuCtxGetDevice(&device);
  for (int attribute = required_cluster_width; attribute <= required_cluster_depth; ++attribute) {
    int size = 0;
    Result outcome = result::not_supported;
    if (known.is_kernel && driver_.cuKernelGetAttribute)
      outcome = driver_.cuKernelGetAttribute(&size, attribute, reinterpret_cast<Kernel>(handle), device);
    else if (!known.is_kernel && driver_.cuFuncGetAttribute) outcome = driver_.cuFuncGetAttribute(&size, attribute, handle);
    if (outcome == result::success && size > 0) record.cluster[attribute - required_cluster_width] = static_cast<unsigned>(size);
  }
  const std::size_t bytes = places.size() * sizeof(FunctionRecord::Place);
  auto *kept = new (records_.allocate(sizeof(record) + bytes, cache_line)) FunctionRecord(record);
  if (bytes) std::memcpy(static_cast<void *>(kept + 1), places.data(), bytes);
  place = kept;
  tell_function(*kept, known);
  return *kept;
}

void Modules::tell_function(const FunctionRecord &record, const Known &known) {
  FunctionEvent event{record.number, known.module, record.parameter_bytes, {}, known.name};
  for (const auto [offset, size] : record.places()) event.parameters.push_back({offset, size});
  emitter_.allocation(event);
}

}  // namespace gcr
