// See plan.h.
#include "mover/plan.h"

#include <algorithm>

namespace gcr {

std::uint64_t chunks_of(std::span<const Span> spans) {
  std::uint64_t chunks = 0;
  for (const Span &span : spans) chunks += (span.bytes + kChunkBytes - 1) / kChunkBytes;
  return chunks;
}

MovePlan plan_move(std::span<const Span> spans, const HostArena &arena, std::span<const std::uint32_t> slots, std::size_t direct_bytes,
                   std::size_t piece_bytes) {
  MovePlan plan;
  std::size_t next = 0;  // slot of the chunk that comes
  for (const Span &span : spans) {
    for (std::uint64_t at = 0; at < span.bytes;) {
      // A run ends with the span, where slots do not follow each other, and where a segment does: the driver knows each by itself.
      const std::uint32_t first = slots[next];
      const std::size_t room = HostArena::segment_slots - first % HostArena::segment_slots;
      const std::size_t left = (span.bytes - at + kChunkBytes - 1) / kChunkBytes;
      std::size_t count = 1;
      while (count < std::min(room, left) && slots[next + count] == first + count) ++count;
      const std::size_t bytes = std::min<std::uint64_t>(count * kChunkBytes, span.bytes - at);
      if (bytes >= direct_bytes) {
        for (std::size_t done = 0; done < bytes; done += piece_bytes)
          plan.direct.push_back({span.address + at + done, arena.slot(first) + done, std::min(piece_bytes, bytes - done)});
      } else {
        for (std::size_t i = 0; i < count; ++i) {
          const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(kChunkBytes, span.bytes - at - i * kChunkBytes));
          plan.scattered.push_back({span.address + at + i * kChunkBytes, length, first + static_cast<std::uint32_t>(i)});
        }
      }
      next += count;
      at += bytes;
    }
  }
  return plan;
}

}  // namespace gcr
