// A launch plan as the recorder reads it: docs/formats/truth.md describes every field. Reading checks that everything a
// launch names exists and lies inside the plan's arena and parameter block, so that later stages need not.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "json.h"

namespace gcr {

using Bytes = std::vector<std::uint8_t>;
using Dimensions = std::array<std::uint32_t, 3>;

// A mapped piece of the arena; what lies between segments is not mapped.
struct Segment {
  std::uint64_t offset;
  std::uint64_t size;
};

struct ArenaPlan {
  std::uint64_t base;  // where it is asked for
  std::uint64_t size;  // of the reserved addresses
  std::vector<Segment> segments;
};

struct BufferPlan {
  std::uint64_t offset;  // in the arena (of a parameter: in the block)
  std::uint64_t size;
};

// A place that fixed contents go to, or that an address names: a buffer, a module variable, or the parameter block.
struct Target {
  enum class Kind { parameters, buffer, variable };
  Kind kind;
  std::size_t index;  // of the buffer or the variable
};

struct Content {
  Target target;
  std::uint64_t offset;
  Bytes bytes;
};

// Eight bytes at `offset` of `place` become the address of `to` plus `addend`.
struct Relocation {
  Target place;
  std::uint64_t offset;
  Target to;
  std::int64_t addend;
};

struct TensorMapPlan {
  Target place;
  std::uint64_t offset;
  std::size_t buffer;
  std::uint64_t buffer_offset;
  int data_type;
  std::vector<std::uint64_t> dimensions;
  std::vector<std::uint64_t> strides;
  std::vector<std::uint32_t> box;  // of an im2col map: channels and pixels
  std::vector<std::uint32_t> element_strides;
  std::vector<std::int32_t> lower, upper;  // im2col only
  int interleave, swizzle;
  std::string text;  // as in the plan, for the record
};

struct VariablePlan {
  std::string name;
  bool keep;  // the initial content stays; otherwise it is filled with noise
};

struct LaunchPlan {
  std::string file, kernel, name;
  std::uint64_t slice_from = 0, slice_to = 0;  // of the file's bytes; both 0: the whole
  Dimensions grid, block, cluster{0, 0, 0};
  bool cooperative = false;
  std::uint32_t shared_memory = 0;
  int timeout = 0;  // seconds; 0: as the command line says
  Bytes parameters;
  std::vector<BufferPlan> layout;  // of the parameters, to pass them one by one; empty: as one block
  std::vector<BufferPlan> buffers;
  std::vector<VariablePlan> variables;
  std::vector<Content> contents;
  std::vector<Relocation> relocations;
  std::vector<TensorMapPlan> maps;
};

struct Plan {
  ArenaPlan arena;
  std::vector<LaunchPlan> launches;
};

// Reads a plan file. Throws std::runtime_error that names the line.
Plan read_plan(const std::string &path);

// Hexadecimal digits of bytes, and back. Throws JsonError on anything else.
std::string to_hex(const Bytes &bytes);
Bytes from_hex(const std::string &text);

}  // namespace gcr
