// Index files (docs/formats/store.md): where chunks are. An IndexFile checks its header when it is opened and a page of entries when it is
// first touched; an IndexSet is the look-up over all index files of a store; write_index() builds one out of sorted runs.
//
// An index file lists packs whole, so an index file whose packs are all listed by others says nothing new. IndexSet therefore searches only
// as many files, the largest first, as cover all packs: a long chain of small increments whose index files have been merged is searched
// in few of them, though nobody may remove the merged ones while others read.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/backend.h"
#include "core/chunk_hash.h"

namespace gcr {

/// An entry of an index file, as it is in the file; `pack` is a position in a pack list.
struct IndexEntry {
  ChunkName name;
  uint32_t pack;
  uint32_t block;
  uint32_t length;
  uint32_t zero;
};
static_assert(sizeof(IndexEntry) == 32);

constexpr size_t kPageEntries = kChunkBytes / sizeof(IndexEntry);
constexpr uint32_t kMostIndexPacks = 1 << 22;

/// The parts of an index file that can be read without its entries.
struct IndexLayout {
  uint32_t packs;
  uint64_t entries;
  uint64_t pages() const { return (entries + kPageEntries - 1) / kPageEntries; }
  uint64_t page_hashes_place() const;
  uint64_t entries_place() const;
  uint64_t file_bytes() const;
};

/// Checks a header against the file's size; throws `damaged`.
IndexLayout parse_index_header(const uint8_t* block, uint64_t number, uint64_t file_bytes, const std::string& file);

class IndexFile {
 public:
  /// Throws `damaged` when header, pack list or page hashes are not as they should be.
  IndexFile(Backend& backend, uint64_t number);

  uint64_t number() const { return number_; }
  const std::string& name() const { return name_; }
  const std::vector<uint64_t>& packs() const { return packs_; }
  uint64_t entries() const { return layout_.entries; }
  uint64_t pages() const { return layout_.pages(); }
  /// The entry of that name. Throws `damaged` when a page on the way is.
  const IndexEntry* find(const ChunkName& name) const;
  /// A page, checked; throws `damaged`.
  std::span<const IndexEntry> page(uint64_t page) const;

 private:
  uint64_t number_;
  std::string name_;
  std::unique_ptr<InputFile> file_;
  IndexLayout layout_{};
  std::vector<uint64_t> packs_;
  std::vector<ChunkName> page_hashes_;
  mutable std::vector<std::atomic<uint8_t>> checked_;
  const IndexEntry* entries_ = nullptr;
};

struct Place {
  uint64_t pack;
  uint32_t block;
  uint32_t length;
};

class IndexSet {
 public:
  /// Opens what is there now. Damaged index files are left out and remembered.
  explicit IndexSet(Backend& backend);

  /// Where a chunk is, in a pack that is there and large enough. Damage in a page is remembered like that of a file.
  std::optional<Place> find(const ChunkName& name) const;
  /// What was left out, for the message when a chunk is not found; nothing when nothing was.
  std::optional<std::string> damage() const;

  /// Takes in an index file that was just written, and its packs.
  void add(Backend& backend, uint64_t number);
  /// The files that find() searches, the largest first.
  const std::vector<std::shared_ptr<IndexFile>>& files() const { return files_; }

 private:
  struct Damage {
    std::mutex mutex;
    std::optional<std::string> message;
  };
  bool serves(const IndexEntry& entry, uint64_t pack) const;
  void keep_covering();

  std::vector<std::shared_ptr<IndexFile>> files_;
  std::unordered_map<uint64_t, uint64_t> pack_bytes_;
  std::shared_ptr<Damage> damage_ = std::make_shared<Damage>();
};

/// Entries in ascending order, each with a position in `packs`.
struct IndexRun {
  std::span<const IndexEntry> sorted;       // either these
  const IndexFile* file = nullptr;          // or all of this file
  std::vector<uint32_t> pack_positions;     // position in the new pack list for each of the run's packs
};

/// Writes an index file over the runs; an entry that several have is taken from the first. The caller syncs the folder.
uint64_t write_index(Backend& backend, std::span<const uint64_t> packs, std::span<const IndexRun> runs);

}  // namespace gcr
