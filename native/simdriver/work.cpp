// See work.h.
#include "work.h"

#include <cstring>

#include "driver.h"
#include "limits.h"
#include "link.h"
#include "result.h"

namespace gcr::sim {
namespace {

// Entries of the list that launches may be given instead of pointers to parameters.
void *const extra_end = nullptr;
void *const extra_pointer = reinterpret_cast<void *>(1);
void *const extra_size = reinterpret_cast<void *>(2);

void gather_extra(KernelWork &work, void **extra) {
  const void *from = nullptr;
  const std::size_t *size = nullptr;
  for (; *extra != extra_end; extra += 2) {
    if (*extra == extra_pointer) from = extra[1];
    else if (*extra == extra_size) size = static_cast<const std::size_t *>(extra[1]);
    else fail(invalid_value);
  }
  require(from && size && *size >= work.function->parameter_bytes, invalid_value);
  std::memcpy(work.parameters.data(), from, work.parameters.size());
}

// Calls `row(offset in target, offset in source)` for each row.
template <class Row>
void each_row(const CopyWork &work, Row row) {
  for (std::size_t z = 0; z < work.depth; ++z) {
    for (std::size_t y = 0; y < work.height; ++y) {
      row(z * work.target.slice + y * work.target.pitch, z * work.source.slice + y * work.source.pitch);
    }
  }
}

// Copies whole rows at once where nothing lies between them.
CopyWork flattened(CopyWork work) {
  const bool rows = work.height == 1 || (work.source.pitch == work.width && work.target.pitch == work.width);
  if (!rows) return work;
  const std::size_t slice = work.width * work.height;
  if (work.depth > 1 && (work.source.slice != slice || work.target.slice != slice)) return work;
  work.width = slice * work.depth;
  work.height = work.depth = 1;
  return work;
}

// A range of either side; the space is held.
std::vector<std::span<std::uint8_t>> pieces_of(const Driver &driver, bool device, DevicePointer address, std::size_t size,
                                               Access access) {
  if (device) return driver.space.pieces(address, size, access);
  return {std::span(reinterpret_cast<std::uint8_t *>(address), size)};
}

void run_copy(const Driver &driver, const CopyWork &given) {
  const CopyWork work = flattened(given);
  const auto held = driver.space.hold();
  each_row(work, [&](std::size_t to, std::size_t from) {
    auto source = pieces_of(driver, work.source.device && !work.staged,
                            work.staged ? reinterpret_cast<DevicePointer>(work.staged->data() + from)
                                        : work.source.address + from,
                            work.width, Access::read);
    auto input = source.begin();
    for (std::span<std::uint8_t> output :
         pieces_of(driver, work.target.device, work.target.address + to, work.width, Access::read_write)) {
      while (!output.empty()) {
        if (input->empty()) ++input;
        const std::size_t size = std::min(input->size(), output.size());
        std::memmove(output.data(), input->data(), size);
        output = output.subspan(size);
        *input = input->subspan(size);
      }
    }
  });
}

void run_set(const Driver &driver, const SetWork &work) {
  const auto held = driver.space.hold();
  for (std::size_t y = 0; y < work.height; ++y) {
    for (const std::span<std::uint8_t> piece :
         driver.space.pieces(work.target + y * work.pitch, work.width * work.element, Access::read_write)) {
      if (work.element == 1) {
        std::memset(piece.data(), static_cast<int>(work.value), piece.size());
        continue;
      }
      for (std::size_t at = 0; at < piece.size(); at += work.element) {
        std::memcpy(piece.data() + at, &work.value, work.element);
      }
    }
  }
}

void run_kernel(Driver &driver, const KernelWork &work) {
  Body body;
  body.u64(work.module->number()).u32(work.function->number);
  for (const auto &extents : {work.grid, work.block, work.cluster}) {
    for (int axis = 0; axis < 3; ++axis) body.u32(extents[axis]);
  }
  body.u32(work.shared_memory).u32(static_cast<std::uint32_t>(work.parameters.size())).bytes(work.parameters);
  const Reply reply = driver.link.ask(ToDevice::launch, body);
  if (reply.status == success) return;
  trace("kernel '" + work.function->name + "': " + reply.text);
  fail(reply.status);
}

}  // namespace

int resident_blocks(int block_threads, int shared_bytes) {
  const int threads = (block_threads + warp_size - 1) / warp_size * warp_size;
  int blocks = std::min(blocks_per_multiprocessor, threads_per_multiprocessor / std::max(threads, 1));
  return std::min(blocks, shared_per_multiprocessor / (shared_bytes + shared_reserved));
}

KernelWork make_launch(std::shared_ptr<Module> module, Function *function, const unsigned grid[3], const unsigned block[3],
                       unsigned shared_memory, void **parameters, void **extra) {
  KernelWork work;
  work.module = std::move(module);
  work.function = function;
  std::copy(grid, grid + 3, work.grid);
  std::copy(block, block + 3, work.block);
  std::copy(function->cluster, function->cluster + 3, work.cluster);
  work.shared_memory = shared_memory;
  work.parameters.resize(function->parameter_bytes);
  require(!(parameters && extra), invalid_value);
  if (extra) {
    gather_extra(work, extra);
  } else if (!function->parameters.empty()) {
    require(parameters != nullptr, invalid_value);
    for (std::size_t i = 0; i < function->parameters.size(); ++i) {
      const auto [offset, size] = function->parameters[i];
      require(parameters[i] != nullptr, invalid_value);
      std::memcpy(work.parameters.data() + offset, parameters[i], size);
    }
  }
  check_launch(work);
  return work;
}

void check_launch(const KernelWork &work) {
  std::uint64_t threads = 1, blocks = 1, cluster = 1;
  for (int axis = 0; axis < 3; ++axis) {
    require(work.grid[axis] >= 1 && work.grid[axis] <= max_grid[axis], invalid_value);
    require(work.block[axis] >= 1 && work.block[axis] <= max_block[axis], invalid_value);
    threads *= work.block[axis];
    blocks *= work.grid[axis];
    if (!work.cluster[0]) continue;
    require(work.cluster[axis] >= 1 && work.grid[axis] % work.cluster[axis] == 0, invalid_cluster_size);
    cluster *= work.cluster[axis];
  }
  require(threads <= max_block_threads, invalid_value);
  require(cluster <= max_cluster, invalid_cluster_size);
  require(work.shared_memory <= static_cast<unsigned>(work.function->max_dynamic_shared), invalid_value);
  const auto shared = work.shared_memory + work.function->static_shared;
  require(shared <= shared_per_block_optin, invalid_value);
  const int resident = resident_blocks(static_cast<int>(threads), static_cast<int>(shared));
  if (work.cooperative) require(blocks <= std::uint64_t(resident) * multiprocessors, cooperative_launch_too_large);
}

void check_copy(const Driver &driver, const CopyWork &given) {
  const CopyWork work = flattened(given);
  require(work.width == 0 || ((work.target.device || work.target.address) &&
                              (work.source.device || work.source.address || work.staged)), invalid_value);
  each_row(work, [&](std::size_t to, std::size_t from) {
    if (work.target.device) {
      require(driver.space.accessible(work.target.address + to, work.width, Access::read_write), invalid_value);
    }
    if (work.source.device) {
      require(driver.space.accessible(work.source.address + from, work.width, Access::read), invalid_value);
    }
  });
}

void check_set(const Driver &driver, const SetWork &work) {
  require(work.element == 1 || work.element == 2 || work.element == 4, invalid_value);
  require(work.target % work.element == 0 && (work.height <= 1 || work.pitch % work.element == 0), invalid_value);
  for (std::size_t y = 0; y < work.height; ++y) {
    const bool good =
        driver.space.accessible(work.target + y * work.pitch, work.width * work.element, Access::read_write);
    require(good, invalid_value);
  }
}

void run(Driver &driver, const Work &work) {
  struct Runner {
    Driver &driver;
    void operator()(const EmptyWork &) const {}
    void operator()(const KernelWork &kernel) const { run_kernel(driver, kernel); }
    void operator()(const CopyWork &copy) const { run_copy(driver, copy); }
    void operator()(const SetWork &set) const { run_set(driver, set); }
    void operator()(const HostWork &host) const { driver.call_host(host); }
    void operator()(const PlanWork &graph) const {
      for (const Work &step : graph.plan->steps) run(driver, step);
    }
  };
  std::visit(Runner{driver}, work);
}

}  // namespace gcr::sim
