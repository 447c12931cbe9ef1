// What a stream or a graph does: kernels, copies, fills, functions of the host, and whole graphs. Work is checked when it is made
// and changes no more, so that it can be run later, many times, on any thread.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "module.h"

namespace gcr::sim {

class Driver;
struct Plan;

struct KernelWork {
  std::shared_ptr<Module> module;
  Function *function = nullptr;
  unsigned grid[3] = {};
  unsigned block[3] = {};
  unsigned cluster[3] = {};
  unsigned shared_memory = 0;
  bool cooperative = false;
  std::vector<std::uint8_t> parameters;
};

// One side of a copy: rows of `pitch` bytes, slices of `slice` bytes.
struct Side {
  bool device = false;
  DevicePointer address = 0;
  std::size_t pitch = 0;
  std::size_t slice = 0;
};

struct CopyWork {
  Side target;
  Side source;
  std::size_t width = 0;
  std::size_t height = 1;
  std::size_t depth = 1;
  // What the source held when the work was made, for sources that the application may change meanwhile.
  std::shared_ptr<const std::vector<std::uint8_t>> staged;
};

struct SetWork {
  DevicePointer target = 0;
  std::size_t pitch = 0;
  unsigned value = 0;
  unsigned element = 1;
  std::size_t width = 0;  // in elements
  std::size_t height = 1;
};

struct HostWork {
  HostFunction function = nullptr;
  void *data = nullptr;
};

struct EmptyWork {};

// A graph inside a graph, or a graph that is launched.
struct PlanWork {
  std::shared_ptr<const Plan> plan;
};

using Work = std::variant<EmptyWork, KernelWork, CopyWork, SetWork, HostWork, PlanWork>;

struct Plan {
  std::vector<Work> steps;  // in an order that respects all dependencies
};

// Makes work of a launch, checked against the kernel and the device. Throws Failure.
KernelWork make_launch(std::shared_ptr<Module> module, Function *function, const unsigned grid[3], const unsigned block[3],
                       unsigned shared_memory, void **parameters, void **extra);
// Checks extents that were set after `make_launch`, too. Throws Failure.
void check_launch(const KernelWork &work);

// Work of a three-dimensional copy as the application describes it. Throws Failure.
CopyWork volume(const Driver &driver, const Copy3D *given);

// Throws Failure (invalid_value) unless both sides may be touched as the copy will.
void check_copy(const Driver &driver, const CopyWork &work);
void check_set(const Driver &driver, const SetWork &work);

// Runs work to its end. Throws Failure, which ends the context.
void run(Driver &driver, const Work &work);

}  // namespace gcr::sim
