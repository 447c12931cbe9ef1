// Work on a whole store: removing what nothing needs (steps 3 and 4 of "Order of writing" in docs/formats/store.md), looking for damage,
// and building the index anew. compact() and rebuild_index() need the store's lock exclusively, check() shared; the caller holds it.
// Memory is bounded by one pack table, one run of index entries, and in compact() twenty bytes a live chunk.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/chunk_hash.h"

namespace gcr {

/// Bytes done and bytes in all.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

struct CompactOptions {
  /// A pack of whose contents less than this share is live is written anew.
  double minimum_live_share = 0.5;
  bool dry_run = false;
  Progress progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

struct CompactStatistics {
  uint64_t packs_removed = 0;
  uint64_t packs_written = 0;
  uint64_t bytes_freed = 0;  // of removed packs less written ones
  uint64_t bytes_moved = 0;
  uint64_t chunks_live = 0;
};

/// Removes what is not named in `live`. Throws `damaged` before anything is removed when a live chunk is nowhere or cannot be read.
CompactStatistics compact(Backend& backend, std::span<const ChunkName> live, const CompactOptions& options);

struct CheckOptions {
  /// Also read every chunk and compare its hash.
  bool read_data = false;
  Progress progress = {};
  const std::atomic<bool>* cancelled = nullptr;
};

struct Problem {
  std::string file;
  std::string message;
  std::string remedy;
  bool harmless = false;  // garbage, no damage
};

/// Everything that is wrong with packs and index files, not only the first.
std::vector<Problem> check(Backend& backend, const CheckOptions& options);

struct RebuildStatistics {
  uint64_t packs = 0;
  uint64_t chunks = 0;
};

/// Index files anew from the tables of all packs that have one, then removal of the old index files.
RebuildStatistics rebuild_index(Backend& backend);

}  // namespace gcr
