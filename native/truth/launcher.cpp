// See launcher.h.
#include "launcher.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

namespace gcr {

namespace {

constexpr int attribute_dynamic_shared_memory = 8;
constexpr int attribute_large_clusters = 14;
constexpr int option_error_log = 5, option_error_log_size = 6;
constexpr int portable_cluster = 8;

// Errors after which the context still works: bad values, no such thing, launches that do not fit the device.
bool leaves_context_alive(Result result) {
  for (Result harmless : {1, 2, 98, 101, 200, 201, 209, 218, 221, 222, 223, 300, 500, 701, 720, 801, 802, 912, 914})
    if (result == harmless) return true;
  return false;
}

std::string first_line(const std::string &text) {
  std::size_t start = text.find_first_not_of("\r\n");
  return start == std::string::npos ? "" : text.substr(start, text.find_first_of("\r\n", start) - start);
}

std::string dimensions_json(const Dimensions &d) {
  return '[' + std::to_string(d[0]) + ',' + std::to_string(d[1]) + ',' + std::to_string(d[2]) + ']';
}

}  // namespace

std::string Launcher::load(const LaunchPlan &plan, const std::function<void()> &about_to_load) {
  std::string key = plan.file + '@' + std::to_string(plan.slice_from);
  if (key == loaded_) return refusal_;
  about_to_load();
  if (module_) driver_.check(driver_.cuModuleUnload(module_), "unload");
  module_ = nullptr;
  places_.clear();
  loaded_ = key;
  std::ifstream file(root_ + '/' + plan.file, std::ios::binary);
  if (!file) return refusal_ = "cannot read the file";
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (plan.slice_to) {
    if (plan.slice_to > text.size() || plan.slice_from > plan.slice_to) return refusal_ = "slice outside of the file";
    text = text.substr(plan.slice_from, plan.slice_to - plan.slice_from);
  }
  std::string log(16384, '\0');
  int options[] = {option_error_log, option_error_log_size};
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  Result result = driver_.cuModuleLoadDataEx(&module_, text.c_str(), 2, options, values);
  if (result == 0) return refusal_ = "";
  module_ = nullptr;
  std::string why = first_line(log.c_str());
  return refusal_ = driver_.error_name(result) + (why.empty() ? "" : ": " + why);
}

void Launcher::find_variables(const LaunchPlan &plan) {
  for (const VariablePlan &variable : plan.variables) {
    if (places_.count(variable.name)) continue;
    Place place;
    DevicePointer address = 0;
    std::size_t size = 0;
    place.found = driver_.cuModuleGetGlobal(&address, &size, module_, variable.name.c_str()) == 0 && size > 0;
    if (place.found) {
      place.address = address;
      place.size = size;
      place.initial.resize(size);
      driver_.check(driver_.cuMemcpyDtoH(place.initial.data(), address, size), "read variable");
    }
    places_[variable.name] = std::move(place);
  }
}

std::uint64_t Launcher::address_of(const LaunchPlan &plan, const Target &target) const {
  if (target.kind == Target::Kind::buffer) return arena_.base() + plan.buffers[target.index].offset;
  const std::string &name = plan.variables[target.index].name;
  const Place &place = places_.at(name);
  if (!place.found) throw JsonError("the module has no variable " + name);
  return place.address;
}

// Where `size` bytes at a place are kept until they are put there; they must be among the plan's contents.
std::uint8_t *Launcher::bytes_at(const LaunchPlan &plan, const Target &target, std::uint64_t offset, std::size_t size) {
  if (target.kind == Target::Kind::parameters) return &parameters_[offset];
  std::uint64_t address = address_of(plan, target) + offset;
  for (FixedBytes &fixed : fixed_)
    if (address >= fixed.address && address + size <= fixed.address + fixed.bytes.size())
      return &fixed.bytes[address - fixed.address];
  throw JsonError("an address or a tensor map lies outside of fixed contents");
}

void Launcher::encode_map(const LaunchPlan &plan, const TensorMapPlan &map) {
  TensorMap encoded{};
  void *address = reinterpret_cast<void *>(arena_.base() + plan.buffers[map.buffer].offset + map.buffer_offset);
  auto rank = static_cast<std::uint32_t>(map.dimensions.size());
  // A map of one dimension has no strides, but the driver wants a list all the same.
  std::vector<std::uint64_t> strides = map.strides;
  strides.resize(rank);
  Result result =
      map.lower.empty()
          ? driver_.cuTensorMapEncodeTiled(&encoded, map.data_type, rank, address, map.dimensions.data(),
                                           strides.data(), map.box.data(), map.element_strides.data(),
                                           map.interleave, map.swizzle, 0, 0)
          : driver_.cuTensorMapEncodeIm2col(&encoded, map.data_type, rank, address, map.dimensions.data(),
                                            strides.data(), map.lower.data(), map.upper.data(), map.box[0],
                                            map.box[1], map.element_strides.data(), map.interleave, map.swizzle, 0, 0);
  if (result != 0) throw JsonError("tensor map: " + driver_.error_name(result));
  std::memcpy(bytes_at(plan, map.place, map.offset, sizeof encoded.bytes), encoded.bytes, sizeof encoded.bytes);
}

void Launcher::prepare(const LaunchPlan &plan) {
  parameters_ = plan.parameters;
  fixed_.clear();
  for (const Content &content : plan.contents) {
    if (content.target.kind == Target::Kind::parameters) throw JsonError("fixed content in the parameters");
    std::uint64_t address = address_of(plan, content.target) + content.offset;
    if (content.target.kind == Target::Kind::variable) {
      const Place &place = places_.at(plan.variables[content.target.index].name);
      if (content.offset + content.bytes.size() > place.size) throw JsonError("content outside of its variable");
    }
    fixed_.push_back({address, content.bytes});
  }
  for (const Relocation &relocation : plan.relocations) {
    std::uint64_t value = address_of(plan, relocation.to) + static_cast<std::uint64_t>(relocation.addend);
    std::memcpy(bytes_at(plan, relocation.place, relocation.offset, 8), &value, 8);
  }
  for (const TensorMapPlan &map : plan.maps) encode_map(plan, map);
  std::sort(fixed_.begin(), fixed_.end(), [](const FixedBytes &a, const FixedBytes &b) { return a.address < b.address; });
}

void Launcher::fill(const LaunchPlan &plan, bool complement) {
  std::vector<FixedBytes> in_arena;
  variable_contents_.clear();
  for (const VariablePlan &variable : plan.variables) {
    const Place &place = places_.at(variable.name);
    if (!place.found) continue;
    FixedBytes content{place.address, place.initial};
    if (!variable.keep)
      for (std::size_t i = 0; i < content.bytes.size(); ++i)
        content.bytes[i] = static_cast<std::uint8_t>((noise_word(i / 8) >> (i % 8 * 8)) ^ (complement ? 0xff : 0));
    variable_contents_.push_back(std::move(content));
  }
  for (const FixedBytes &fixed : fixed_) {
    auto variable = std::find_if(variable_contents_.begin(), variable_contents_.end(), [&](const FixedBytes &content) {
      return fixed.address >= content.address && fixed.address < content.address + content.bytes.size();
    });
    if (variable == variable_contents_.end())
      in_arena.push_back(fixed);
    else
      std::copy(fixed.bytes.begin(), fixed.bytes.end(), variable->bytes.begin() + (fixed.address - variable->address));
  }
  arena_.fill(complement, in_arena);
  for (const FixedBytes &content : variable_contents_)
    driver_.check(driver_.cuMemcpyHtoD(content.address, content.bytes.data(), content.bytes.size()), "fill variable");
  std::sort(variable_contents_.begin(), variable_contents_.end(),
            [](const FixedBytes &a, const FixedBytes &b) { return a.address < b.address; });
}

// Launches and waits. A reason when the driver does not take the launch.
std::string Launcher::launch(const LaunchPlan &plan, Function function) {
  LaunchAttribute attributes[2] = {};
  LaunchConfiguration configuration{};
  std::copy(plan.grid.begin(), plan.grid.end(), configuration.grid);
  std::copy(plan.block.begin(), plan.block.end(), configuration.block);
  configuration.shared_memory = plan.shared_memory;
  configuration.attributes = attributes;
  if (plan.cluster[0]) {
    LaunchAttribute &attribute = attributes[configuration.attribute_count++];
    attribute.id = 4;
    std::copy(plan.cluster.begin(), plan.cluster.end(), attribute.value.cluster);
  }
  if (plan.cooperative) {
    LaunchAttribute &attribute = attributes[configuration.attribute_count++];
    attribute.id = 2;
    attribute.value.cooperative = 1;
  }
  std::size_t size = parameters_.size();
  void *extra[] = {reinterpret_cast<void *>(1), parameters_.data(), reinterpret_cast<void *>(2), &size, nullptr};
  // A block must be laid out as the driver lays it out, which differs from PTX for parameters of large alignment.
  std::vector<void *> one_by_one;
  for (const BufferPlan &parameter : plan.layout) one_by_one.push_back(parameters_.data() + parameter.offset);
  Result result = one_by_one.empty()
                      ? driver_.cuLaunchKernelEx(&configuration, function, nullptr, size ? extra : nullptr)
                      : driver_.cuLaunchKernelEx(&configuration, function, one_by_one.data(), nullptr);
  if (result != 0 && leaves_context_alive(result)) return "launch: " + driver_.error_name(result);
  driver_.check(result, "launch");
  driver_.check(driver_.cuCtxSynchronize(), "run");
  return "";
}

std::string Launcher::describe(const LaunchPlan &plan) const {
  std::string text = "\"file\":" + json_quote(plan.file) + ",\"kernel\":" + json_quote(plan.kernel) +
                     ",\"case\":" + json_quote(plan.name) + ",\"grid\":" + dimensions_json(plan.grid) +
                     ",\"block\":" + dimensions_json(plan.block);
  if (plan.cluster[0]) text += ",\"cluster\":" + dimensions_json(plan.cluster);
  if (plan.cooperative) text += ",\"cooperative\":true";
  text += ",\"sharedMemory\":" + std::to_string(plan.shared_memory) + ",\"parameters\":\"" + to_hex(parameters_) +
          "\",\"allocations\":[";
  for (std::size_t i = 0; i < plan.buffers.size(); ++i)
    text += (i ? ",[" : "[") + hex_address(arena_.base() + plan.buffers[i].offset) + ',' +
            std::to_string(plan.buffers[i].size) + ']';
  text += "],\"variables\":[";
  bool first = true;
  for (const VariablePlan &variable : plan.variables) {
    const Place &place = places_.at(variable.name);
    if (!place.found) continue;
    text += (first ? "[" : ",[") + json_quote(variable.name) + ',' + hex_address(place.address) + ',' +
            std::to_string(place.size) + (variable.keep ? ",true]" : ",false]");
    first = false;
  }
  text += "],\"fixed\":[";
  first = true;
  for (const FixedBytes &fixed : fixed_) {
    text += (first ? "[" : ",[") + hex_address(fixed.address) + ",\"" + to_hex(fixed.bytes) + "\"]";
    first = false;
  }
  text += ']';
  if (plan.maps.empty()) return text;
  text += ",\"maps\":[";
  for (const TensorMapPlan &map : plan.maps) {
    text += &map == &plan.maps[0] ? "{" : ",{";
    text += map.place.kind == Target::Kind::parameters
                ? "\"parameter\":" + std::to_string(map.offset)
                : "\"place\":" + hex_address(address_of(plan, map.place) + map.offset);
    text += ",\"address\":" + hex_address(arena_.base() + plan.buffers[map.buffer].offset + map.buffer_offset) + ',' +
            map.text + '}';
  }
  return text + ']';
}

LaunchResult Launcher::run(const LaunchPlan &plan, const std::function<void()> &about_to_load,
                           const std::function<void(const std::string &)> &about_to_start) {
  std::string refusal = load(plan, about_to_load);
  if (!refusal.empty()) return {"refused", refusal, ""};
  Function function = nullptr;
  Result result = driver_.cuModuleGetFunction(&function, module_, plan.kernel.c_str());
  if (result != 0) return {"refused", "kernel: " + driver_.error_name(result), ""};
  find_variables(plan);
  try {
    prepare(plan);
  } catch (const JsonError &error) {
    return {"refused", error.what(), ""};
  }
  if (plan.shared_memory &&
      (result = driver_.cuFuncSetAttribute(function, attribute_dynamic_shared_memory, static_cast<int>(plan.shared_memory))))
    return {"refused", "shared memory: " + driver_.error_name(result), ""};
  if (plan.cluster[0] && plan.cluster[0] * plan.cluster[1] * plan.cluster[2] > portable_cluster &&
      (result = driver_.cuFuncSetAttribute(function, attribute_large_clusters, 1)))
    return {"refused", "cluster: " + driver_.error_name(result), ""};
  about_to_start(describe(plan));
  Runs all;
  for (bool complement : {false, true}) {
    fill(plan, complement);
    refusal = launch(plan, function);
    if (!refusal.empty()) return {"refused", refusal, ""};
    Runs now = arena_.changed(), in_variables;
    for (const FixedBytes &content : variable_contents_) {
      Bytes after(content.bytes.size());
      driver_.check(driver_.cuMemcpyDtoH(after.data(), content.address, after.size()), "read variable");
      append_differences(in_variables, content.address, content.bytes.data(), after.data(), after.size());
    }
    all = unite(all, unite(now, in_variables));
  }
  return {"ok", "", runs_to_json(all)};
}

}  // namespace gcr
