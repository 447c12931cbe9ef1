// See module.h.
#include "module.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "link.h"
#include "result.h"

namespace gcr::sim {
namespace {

constexpr int default_dynamic_shared = 48 << 10;
constexpr std::size_t placed_per_message = 4096;
constexpr unsigned char elf_magic[4] = {0x7f, 'E', 'L', 'F'};
constexpr std::uint32_t fatbin_magic = 0xba55ed50;
constexpr std::uint32_t fatbin_wrapper_magic = 0x466243b1;

std::atomic<std::uint64_t> next_module{1};

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    require(written > 0, operating_system);
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::vector<std::uint8_t> read_all(int descriptor) {
  struct stat status {};
  require(::fstat(descriptor, &status) == 0, operating_system);
  std::vector<std::uint8_t> content(static_cast<std::size_t>(status.st_size));
  for (std::size_t at = 0; at < content.size();) {
    const ssize_t got = ::pread(descriptor, content.data() + at, content.size() - at, static_cast<off_t>(at));
    require(got > 0, operating_system);
    at += static_cast<std::size_t>(got);
  }
  return content;
}

}  // namespace

std::string_view ptx_of(const void *image) {
  require(image != nullptr, invalid_value);
  std::uint32_t magic;
  std::memcpy(&magic, image, sizeof(magic));
  if (magic == fatbin_magic || magic == fatbin_wrapper_magic || std::memcmp(image, elf_magic, 4) == 0) {
    trace("a module of machine code cannot be executed; the simulated device takes PTX text only");
    fail(no_binary_for_gpu);
  }
  return static_cast<const char *>(image);
}

struct Module::Content {
  struct Relocation {
    std::uint32_t offset, bytes, shift, target;
    std::uint64_t addend;
  };
  std::uint32_t alignment;
  std::vector<std::uint8_t> initial;
  std::vector<Relocation> relocations;
};

Module::Module(DeviceLink &link, Heap &heap, AddressSpace &space, void *context, std::string_view ptx, std::string &log)
    : link_(link), heap_(heap), context_(context), number_(next_module++), text_(ptx) {
  const Descriptor description = tell(&log);
  std::vector<Content> contents;
  try {
    describe(description.get(), contents);
    place(heap, space, contents);
  } catch (const Failure &) {
    for (const Variable &variable : variables_) {
      if (variable.address) heap_.free(variable.address, true);
    }
    link_.tell(ToDevice::module_gone, Body().u64(number_));
    throw;
  }
}

Descriptor Module::tell(std::string *log) const {
  const Descriptor text(make_memory("gcr-ptx", 0));
  write_all(text.get(), text_);
  Descriptor description(make_memory("gcr-module", 0));
  const int passed[] = {text.get(), description.get()};
  const Reply reply = link_.ask(ToDevice::module, Body().u64(number_).u64(text_.size()), passed);
  if (reply.status != success) {
    if (log) *log = reply.text;
    trace("module refused: " + reply.text);
    fail(reply.status);
  }
  return description;
}

void Module::tell_again() const {
  tell(nullptr);
  tell_places();
}

Module::~Module() {
  link_.tell(ToDevice::module_gone, Body().u64(number_));
  for (const Variable &variable : variables_) {
    try {
      heap_.free(variable.address, true);
    } catch (const Failure &) {
      // Its context has been destroyed, and all memory with it.
    }
  }
}

void Module::describe(int description, std::vector<Content> &contents) {
  const std::vector<std::uint8_t> bytes = read_all(description);
  Reader read(bytes);
  const auto u32 = [&] {
    std::uint32_t value = 0;
    read(value);
    require(read.good(), unknown);
    return value;
  };
  const auto u64 = [&] {
    std::uint64_t value = 0;
    read(value);
    require(read.good(), unknown);
    return value;
  };
  const auto text = [&] {
    std::string_view value;
    read(value);
    require(read.good(), unknown);
    return std::string(value);
  };
  const std::uint32_t functions = u32();
  for (std::uint32_t number = 0; number < functions; ++number) {
    auto function = std::make_unique<Function>();
    function->module = this;
    function->number = number;
    function->parameter_bytes = u32();
    function->static_shared = u32();
    for (auto &size : function->cluster) size = u32();
    function->compiled_for_cluster = function->cluster[0] != 0;
    const std::uint32_t parameters = u32();
    for (std::uint32_t i = 0; i < parameters; ++i) {
      const std::uint32_t offset = u32();
      function->parameters.push_back({offset, u32()});
    }
    function->name = text();
    function->max_dynamic_shared = default_dynamic_shared;
    functions_.push_back(std::move(function));
  }
  const std::uint32_t variables = u32();
  for (std::uint32_t i = 0; i < variables; ++i) {
    u32();  // the space: both are memory of the device
    Content content;
    content.alignment = u32();
    const std::uint64_t size = u64();
    const std::uint32_t initial = u32();
    variables_.push_back({text(), size, 0});
    const auto view = read.take_view(initial);
    read.zeros(round_up_to(initial, 4) - initial);
    require(read.good() && initial <= size, unknown);
    content.initial.assign(view.begin(), view.end());
    contents.push_back(std::move(content));
  }
  const std::uint32_t relocations = u32();
  for (std::uint32_t i = 0; i < relocations; ++i) {
    const std::uint32_t variable = u32();
    Content::Relocation relocation{};
    relocation.offset = u32();
    relocation.bytes = u32();
    relocation.shift = u32();
    relocation.target = u32();
    relocation.addend = u64();
    require(variable < variables_.size() && relocation.target < variables_.size() && relocation.bytes <= 8 &&
                relocation.shift < 64 && relocation.offset + std::uint64_t{relocation.bytes} <= variables_[variable].size,
            unknown);
    contents[variable].relocations.push_back(relocation);
  }
}

void Module::place(Heap &heap, AddressSpace &space, std::vector<Content> &contents) {
  for (std::size_t i = 0; i < variables_.size(); ++i) {
    // Allocations are aligned to more than any variable asks for.
    require(contents[i].alignment <= 512, not_supported);
    variables_[i].address = heap.allocate(std::max<std::size_t>(variables_[i].size, 1), AllocationKind::variable, context_);
  }
  for (std::size_t i = 0; i < variables_.size(); ++i) {
    std::vector<std::uint8_t> &content = contents[i].initial;
    content.resize(variables_[i].size);
    for (const Content::Relocation &relocation : contents[i].relocations) {
      const std::uint64_t value = (variables_[relocation.target].address + relocation.addend) >> relocation.shift;
      std::memcpy(content.data() + relocation.offset, &value, relocation.bytes);
    }
    if (content.empty()) continue;
    const std::uint8_t *from = content.data();
    const auto held = space.hold();
    for (const auto piece : space.pieces(variables_[i].address, content.size(), Access::read_write)) {
      std::memcpy(piece.data(), from, piece.size());
      from += piece.size();
    }
  }
  tell_places();
}

void Module::tell_places() const {
  for (std::size_t first = 0; first < variables_.size(); first += placed_per_message) {
    const std::size_t count = std::min(placed_per_message, variables_.size() - first);
    Body body;
    body.u64(number_).u32(static_cast<std::uint32_t>(first)).u32(static_cast<std::uint32_t>(count));
    for (std::size_t i = 0; i < count; ++i) body.u64(variables_[first + i].address);
    require(link_.tell(ToDevice::place, body), device_unavailable);
  }
}

Function *Module::function(std::string_view name) const {
  for (const auto &function : functions_) {
    if (function->name == name) return function.get();
  }
  return nullptr;
}

const Variable *Module::variable(std::string_view name) const {
  for (const Variable &variable : variables_) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

}  // namespace gcr::sim
