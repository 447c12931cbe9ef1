// See plan.h. One JSON object a line; the first is the head, each other one a launch.
#include "plan.h"

#include <fstream>

namespace gcr {

namespace {

std::uint64_t unsigned_of(const Json &value) {
  if (value.number() < 0) throw JsonError("number below zero");
  return static_cast<std::uint64_t>(value.number());
}

template <typename T>
std::vector<T> numbers(const Json &value) {
  std::vector<T> result;
  for (const Json &item : value.items()) result.push_back(static_cast<T>(item.number()));
  return result;
}

Dimensions dimensions_of(const Json &value) {
  Dimensions result;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::uint64_t size = unsigned_of(value.at(axis));
    if (size == 0 || size > 0x7fffffff) throw JsonError("a launch size is not positive");
    result[axis] = static_cast<std::uint32_t>(size);
  }
  return result;
}

// Names of places: "p" the parameters, "b3" buffer 3, "v1" variable 1.
Target target_of(const Json &value, const LaunchPlan &launch) {
  const std::string &name = value.string();
  if (name == "p") return {Target::Kind::parameters, 0};
  std::size_t index = 0;
  if (name.size() < 2 || name.size() > 6) throw JsonError("unknown place '" + name + "'");
  for (std::size_t i = 1; i < name.size(); ++i) {
    if (name[i] < '0' || name[i] > '9') throw JsonError("unknown place '" + name + "'");
    index = index * 10 + static_cast<std::size_t>(name[i] - '0');
  }
  if (name[0] == 'b' && index < launch.buffers.size()) return {Target::Kind::buffer, index};
  if (name[0] == 'v' && index < launch.variables.size()) return {Target::Kind::variable, index};
  throw JsonError("no place '" + name + "'");
}

// Variables have their size from the module, so only the recorder can check them.
void check_inside(const LaunchPlan &launch, const Target &target, std::uint64_t offset, std::uint64_t size) {
  std::uint64_t limit = target.kind == Target::Kind::parameters ? launch.parameters.size()
                        : target.kind == Target::Kind::buffer   ? launch.buffers[target.index].size
                                                                : UINT64_MAX;
  if (offset > limit || size > limit - offset) throw JsonError("content outside of its place");
}

TensorMapPlan map_of(const Json &value, const LaunchPlan &launch) {
  TensorMapPlan map{};
  map.place = target_of(value.at("place"), launch);
  map.offset = unsigned_of(value.at("offset"));
  check_inside(launch, map.place, map.offset, 128);
  Target buffer = target_of(value.at("buffer"), launch);
  if (buffer.kind != Target::Kind::buffer) throw JsonError("a tensor map needs a buffer");
  map.buffer = buffer.index;
  map.buffer_offset = unsigned_of(value.at("bufferOffset"));
  map.data_type = static_cast<int>(value.at("dataType").number());
  map.dimensions = numbers<std::uint64_t>(value.at("dimensions"));
  map.strides = numbers<std::uint64_t>(value.at("strides"));
  map.box = numbers<std::uint32_t>(value.at("box"));
  map.element_strides = numbers<std::uint32_t>(value.at("elementStrides"));
  map.interleave = static_cast<int>(value.at("interleave").number());
  map.swizzle = static_cast<int>(value.at("swizzle").number());
  if (const Json *lower = value.find("lower")) {
    map.lower = numbers<std::int32_t>(*lower);
    map.upper = numbers<std::int32_t>(value.at("upper"));
  }
  std::size_t rank = map.dimensions.size();
  bool is_im2col = !map.lower.empty();
  if (rank < 1 || rank > 5 || map.strides.size() + 1 != rank || map.element_strides.size() != rank ||
      map.box.size() != (is_im2col ? 2 : rank) || map.lower.size() != map.upper.size() ||
      (is_im2col && map.lower.size() + 2 != rank))
    throw JsonError("a tensor map's lists do not fit its rank");
  return map;
}

std::string list(const Json &value) {
  std::string text = "[";
  for (const Json &item : value.items()) text += (text.size() > 1 ? "," : "") + std::to_string(item.number());
  return text + "]";
}

// The description of a map that the record repeats, without its braces and its places.
std::string map_text(const Json &value) {
  std::string text = "\"dataType\":" + std::to_string(value.at("dataType").number());
  for (const char *name : {"dimensions", "strides", "box", "elementStrides", "lower", "upper"})
    if (const Json *numbers = value.find(name)) text += ",\"" + std::string(name) + "\":" + list(*numbers);
  for (const char *name : {"interleave", "swizzle"})
    text += ",\"" + std::string(name) + "\":" + std::to_string(value.at(name).number());
  return text;
}

void check_buffer(const ArenaPlan &arena, const BufferPlan &buffer) {
  for (const Segment &segment : arena.segments)
    if (buffer.offset >= segment.offset && buffer.offset - segment.offset <= segment.size &&
        buffer.size <= segment.size - (buffer.offset - segment.offset))
      return;
  throw JsonError("a buffer is not inside one segment of the arena");
}

LaunchPlan launch_of(const Json &value, const ArenaPlan &arena) {
  LaunchPlan launch;
  launch.file = value.at("file").string();
  launch.kernel = value.at("kernel").string();
  launch.name = value.at("case").string();
  if (const Json *slice = value.find("slice")) {
    launch.slice_from = unsigned_of(slice->at(0));
    launch.slice_to = unsigned_of(slice->at(1));
  }
  launch.grid = dimensions_of(value.at("grid"));
  launch.block = dimensions_of(value.at("block"));
  if (const Json *cluster = value.find("cluster")) launch.cluster = dimensions_of(*cluster);
  if (const Json *cooperative = value.find("cooperative")) launch.cooperative = cooperative->boolean();
  launch.shared_memory = static_cast<std::uint32_t>(unsigned_of(value.at("sharedMemory")));
  if (const Json *timeout = value.find("timeout")) launch.timeout = static_cast<int>(unsigned_of(*timeout));
  launch.parameters = from_hex(value.at("parameters").string());
  if (const Json *layout = value.find("layout"))
    for (const Json &parameter : layout->items()) {
      launch.layout.push_back({unsigned_of(parameter.at(0)), unsigned_of(parameter.at(1))});
      check_inside(launch, {Target::Kind::parameters, 0}, launch.layout.back().offset, launch.layout.back().size);
    }
  for (const Json &buffer : value.at("buffers").items()) {
    launch.buffers.push_back({unsigned_of(buffer.at(0)), unsigned_of(buffer.at(1))});
    check_buffer(arena, launch.buffers.back());
  }
  for (const Json &variable : value.at("variables").items())
    launch.variables.push_back({variable.at(0).string(), variable.at(1).boolean()});
  for (const Json &content : value.at("contents").items()) {
    Content result{target_of(content.at(0), launch), unsigned_of(content.at(1)), from_hex(content.at(2).string())};
    check_inside(launch, result.target, result.offset, result.bytes.size());
    launch.contents.push_back(std::move(result));
  }
  for (const Json &relocation : value.at("relocations").items()) {
    Relocation result{target_of(relocation.at(0), launch), unsigned_of(relocation.at(1)),
                      target_of(relocation.at(2), launch), relocation.at(3).number()};
    if (result.to.kind == Target::Kind::parameters) throw JsonError("the parameters have no address");
    check_inside(launch, result.place, result.offset, 8);
    launch.relocations.push_back(result);
  }
  if (const Json *maps = value.find("maps"))
    for (const Json &map : maps->items()) {
      launch.maps.push_back(map_of(map, launch));
      launch.maps.back().text = map_text(map);
    }
  return launch;
}

ArenaPlan arena_of(const Json &head) {
  if (head.at("format").string() != "gcr-truth-plan" || head.at("version").number() != 1)
    throw JsonError("not a launch plan of version 1");
  const Json &value = head.at("arena");
  ArenaPlan arena{unsigned_of(value.at("base")), unsigned_of(value.at("size")), {}};
  for (const Json &segment : value.at("segments").items())
    arena.segments.push_back({unsigned_of(segment.at(0)), unsigned_of(segment.at(1))});
  std::uint64_t end = 0;
  for (const Segment &segment : arena.segments) {
    if (segment.offset < end || segment.offset % (2 << 20) || segment.size % (2 << 20) || segment.size == 0)
      throw JsonError("segments must ascend and be whole pages of 2 MiB");
    end = segment.offset + segment.size;
  }
  if (arena.segments.empty() || end > arena.size) throw JsonError("segments do not fit the arena");
  return arena;
}

}  // namespace

std::string to_hex(const Bytes &bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (std::uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

Bytes from_hex(const std::string &text) {
  auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    throw JsonError("not a hexadecimal digit");
  };
  if (text.size() % 2) throw JsonError("half a byte");
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  return bytes;
}

Plan read_plan(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  Plan plan;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.empty()) continue;
    try {
      Json value = Json::parse(line);
      if (number == 1)
        plan.arena = arena_of(value);
      else
        plan.launches.push_back(launch_of(value, plan.arena));
    } catch (const JsonError &error) {
      throw std::runtime_error(path + " line " + std::to_string(number) + ": " + error.what());
    }
  }
  if (plan.arena.segments.empty()) throw std::runtime_error(path + ": no head");
  return plan;
}

}  // namespace gcr
