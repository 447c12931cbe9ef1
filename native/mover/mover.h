// What is done with a device's memory: chunks named, copied to slots of host memory and back. Each kind of work has a lane of its own, so that names
// do not wait for copies, nor one direction for the other. Nothing here checks bounds: spans and slots must be valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/chunk_hash.h"
#include "mover/host_arena.h"
#include "mover/kernels.h"
#include "mover/lane.h"
#include "mover/plan.h"

namespace gcr {

struct Spans {
  std::vector<Span> list;
  std::vector<std::shared_ptr<const MappedMemory>> memories;  // what the spans are in
};

class Mover {
 public:
  // `kernels`: whether ours run on the device; names are computed by the processor otherwise, and scattered chunks copied one by one. Takes its time:
  // kernels are compiled, and what calls need is made.
  Mover(std::shared_ptr<const OpenDevice> device, bool kernels);

  const std::shared_ptr<const OpenDevice> &device() const { return device_; }
  bool has_kernels() const { return kernels_ != nullptr; }

  // `done` is called on another thread. Pointers must stay valid until then.
  void names(Spans spans, ChunkName *names, Lane::Done done);
  void save(Spans spans, std::shared_ptr<HostArena> arena, std::vector<std::uint32_t> slots, Lane::Done done);
  void load(Spans spans, std::shared_ptr<HostArena> arena, std::vector<std::uint32_t> slots, Lane::Done done);
  // Any bytes, to and from any memory.
  void read(Spans span, std::uint8_t *target, Lane::Done done);
  void write(Spans span, const std::uint8_t *source, Lane::Done done);

  // All that is not done, and whatever comes later, fails as soon as nothing of it is under way.
  void stop();

 private:
  std::shared_ptr<const OpenDevice> device_;
  std::unique_ptr<DeviceKernels> kernels_;
  std::vector<PinnedBuffer> name_places_, save_places_, load_places_;
  // They end first.
  Lane names_, saves_, loads_;
};

}  // namespace gcr
