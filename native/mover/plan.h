// What a save or load consists of: spans of device memory, cut into chunks, against slots of an arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "driver/types.h"
#include "mover/host_arena.h"

namespace gcr {

// A run of chunks inside of one mapping: chunk i at address + 65,536 i, the last one as long as `bytes` leave it.
struct Span {
  DevicePointer address;
  std::uint64_t bytes;
};

// A chunk as the kernels take it (native/kernels/gcr_kernels.cu).
struct ListedChunk {
  DevicePointer address;
  std::uint32_t length;
  std::uint32_t index;
};
static_assert(sizeof(ListedChunk) == 16);

// Bytes that lie together on both sides.
struct DirectCopy {
  DevicePointer device;
  std::uint8_t *host;
  std::size_t bytes;
};

struct MovePlan {
  std::vector<DirectCopy> direct;
  std::vector<ListedChunk> scattered;  // the index is the slot
};

std::uint64_t chunks_of(std::span<const Span> spans);

// Runs of at least `direct_bytes` are copied by themselves, in pieces of at most `piece_bytes`; chunks of shorter ones are scattered. There must
// be a slot for each chunk.
MovePlan plan_move(std::span<const Span> spans, const HostArena &arena, std::span<const std::uint32_t> slots, std::size_t direct_bytes,
                   std::size_t piece_bytes);

}  // namespace gcr
