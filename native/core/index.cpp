#include "core/index.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "core/aligned_buffer.h"
#include "core/block.h"
#include "core/error.h"
#include "core/names.h"

namespace gcr {
namespace {

constexpr char kMagic[8] = {'G', 'C', 'R', 'I', 'N', 'D', 'E', 'X'};
constexpr uint32_t kVersion = 1;
constexpr size_t kCheckedHeaderBytes = 4080;
constexpr uint64_t kMostEntries = uint64_t{1} << 32;

/// Where the fields of the header are.
enum Field : size_t { kVersionAt = 8, kPacksAt = 12, kEntriesAt = 16, kNumberAt = 24, kPackListHashAt = 32, kPageHashesHashAt = 48 };

/// Reads the runs as one ascending sequence without repetitions.
class Merge {
 public:
  explicit Merge(std::span<const IndexRun> runs) {
    for (const IndexRun& run : runs) {
      cursors_.push_back({&run, run.sorted, 0});
      fill(cursors_.back());
    }
  }

  /// The next entry with its position in the new pack list, or false at the end.
  bool next(IndexEntry& entry) {
    Cursor* first = nullptr;
    for (Cursor& cursor : cursors_) {
      if (!cursor.rest.empty() && (first == nullptr || cursor.rest.front().name < first->rest.front().name)) {
        first = &cursor;
      }
    }
    if (first == nullptr) return false;
    entry = first->rest.front();
    const ChunkName name = entry.name;
    if (entry.pack >= first->run->pack_positions.size()) {
      damaged(first->run->file != nullptr ? first->run->file->name() : "index", "an entry's pack is not in the list");
    }
    entry.pack = first->run->pack_positions[entry.pack];
    for (Cursor& cursor : cursors_) {
      while (!cursor.rest.empty() && cursor.rest.front().name == name) {
        cursor.rest = cursor.rest.subspan(1);
        fill(cursor);
      }
    }
    return true;
  }

 private:
  struct Cursor {
    const IndexRun* run;
    std::span<const IndexEntry> rest;
    uint64_t next_page;
  };
  static void fill(Cursor& cursor) {
    const IndexFile* const file = cursor.run->file;
    while (file != nullptr && cursor.rest.empty() && cursor.next_page < file->pages()) {
      cursor.rest = file->page(cursor.next_page++);
    }
  }
  std::vector<Cursor> cursors_;
};

}  // namespace

uint64_t IndexLayout::page_hashes_place() const { return kBlockBytes + round_up(uint64_t{packs} * 8, kBlockBytes); }
uint64_t IndexLayout::entries_place() const {
  return page_hashes_place() + round_up(pages() * sizeof(ChunkName), kBlockBytes);
}
uint64_t IndexLayout::file_bytes() const { return entries_place() + entries * sizeof(IndexEntry); }

IndexLayout parse_index_header(const uint8_t* block, uint64_t number, uint64_t file_bytes, const std::string& file) {
  if (std::memcmp(block, kMagic, 8) != 0) damaged(file, "is not an index");
  if (load<uint32_t>(block, kVersionAt) != kVersion) damaged(file, "is an index of an unknown version");
  if (load<ChunkName>(block, kCheckedHeaderBytes) != chunk_hash(block, kCheckedHeaderBytes)) {
    damaged(file, "the header's hash is wrong");
  }
  if (load<uint64_t>(block, kNumberAt) != number) damaged(file, "has another index's number");
  const IndexLayout layout{load<uint32_t>(block, kPacksAt), load<uint64_t>(block, kEntriesAt)};
  if (layout.packs > kMostIndexPacks || layout.entries > kMostEntries) damaged(file, "has too many entries");
  if (layout.file_bytes() != file_bytes) damaged(file, "the file's size does not fit its header");
  return layout;
}

IndexFile::IndexFile(Backend& backend, uint64_t number)
    : number_(number), name_(index_name(number)), file_(backend.open(name_, Access::small)) {
  if (file_->size() < kBlockBytes) damaged(name_, "is too short for an index");
  alignas(8) std::array<uint8_t, kBlockBytes> header;
  file_->read(0, header.data(), header.size());
  layout_ = parse_index_header(header.data(), number, file_->size(), name_);

  packs_.resize(layout_.packs);
  const auto* list = reinterpret_cast<const uint8_t*>(packs_.data());
  if (!packs_.empty()) file_->read(kBlockBytes, packs_.data(), packs_.size() * 8);
  if (tree_hash(list, packs_.size() * 8) != load<ChunkName>(header.data(), kPackListHashAt)) {
    damaged(name_, "the pack list's hash is wrong");
  }
  page_hashes_.resize(layout_.pages());
  const auto* hashes = reinterpret_cast<const uint8_t*>(page_hashes_.data());
  const size_t hash_bytes = page_hashes_.size() * sizeof(ChunkName);
  if (hash_bytes > 0) file_->read(layout_.page_hashes_place(), page_hashes_.data(), hash_bytes);
  if (tree_hash(hashes, hash_bytes) != load<ChunkName>(header.data(), kPageHashesHashAt)) {
    damaged(name_, "the page hashes' hash is wrong");
  }
  checked_ = std::vector<std::atomic<uint8_t>>(layout_.pages());
  if (layout_.entries > 0) {
    entries_ = reinterpret_cast<const IndexEntry*>(file_->map() + layout_.entries_place());
  }
}

std::span<const IndexEntry> IndexFile::page(uint64_t page) const {
  const uint64_t first = page * kPageEntries;
  const size_t count = std::min<uint64_t>(kPageEntries, layout_.entries - first);
  if (!checked_[page].load(std::memory_order_acquire)) {
    // Read, not looked at in the mapping: a disk that fails gives an error here, in the mapping a signal.
    std::vector<uint8_t> bytes(count * sizeof(IndexEntry));
    file_->read(layout_.entries_place() + page * kChunkBytes, bytes.data(), bytes.size());
    if (chunk_hash(bytes.data(), bytes.size()) != page_hashes_[page]) damaged(name_, "a page's hash is wrong");
    checked_[page].store(1, std::memory_order_release);
  }
  return {entries_ + first, count};
}

const IndexEntry* IndexFile::find(const ChunkName& name) const {
  // Hashes are spread evenly, so the first guesses are by proportion; halving after that bounds the steps for any content.
  uint64_t low = 0;
  uint64_t high = layout_.pages();
  for (int step = 0; low < high; ++step) {
    uint64_t middle = (low + high) / 2;
    if (step < 2) {
      const auto guess = static_cast<uint64_t>(static_cast<unsigned __int128>(name.prefix()) * layout_.entries >> 64) / kPageEntries;
      middle = std::clamp(guess, low, high - 1);
    }
    const std::span<const IndexEntry> entries = page(middle);
    if (name < entries.front().name) {
      high = middle;
    } else if (entries.back().name < name) {
      low = middle + 1;
    } else {
      const auto found = std::lower_bound(entries.begin(), entries.end(), name,
                                          [](const IndexEntry& entry, const ChunkName& n) { return entry.name < n; });
      return found != entries.end() && found->name == name ? &*found : nullptr;
    }
  }
  return nullptr;
}

IndexSet::IndexSet(Backend& backend) {
  // Index files before packs: every pack that a listed index file names is then listed, too.
  for (const std::string& name : backend.list("index")) {
    if (name_form(name) != NameForm::index) continue;
    try {
      files_.push_back(std::make_shared<IndexFile>(backend, number_of(name)));
    } catch (const StoreError& error) {
      if (error.kind() != ErrorKind::damaged && error.kind() != ErrorKind::io) throw;
      damage_->message = error.what();
    }
  }
  for (const std::string& name : backend.list("packs")) {
    if (name_form(name) != NameForm::pack) continue;
    if (const auto stat = backend.stat(name)) pack_bytes_.emplace(number_of(name), stat->bytes);
  }
  keep_covering();
}

void IndexSet::keep_covering() {
  std::stable_sort(files_.begin(), files_.end(),
                   [](const auto& a, const auto& b) { return a->packs().size() > b->packs().size(); });
  std::unordered_set<uint64_t> covered;
  std::erase_if(files_, [&](const auto& file) {
    bool adds = false;
    for (const uint64_t pack : file->packs()) {
      if (pack_bytes_.contains(pack) && covered.insert(pack).second) adds = true;
    }
    return !adds;
  });
}

bool IndexSet::serves(const IndexEntry& entry, uint64_t pack) const {
  const auto found = pack_bytes_.find(pack);
  const uint64_t end = uint64_t{entry.block} * kBlockBytes + round_up(entry.length, kBlockBytes);
  return found != pack_bytes_.end() && entry.block > 0 && entry.length > 0 && entry.length <= kChunkBytes &&
         end + kBlockBytes <= found->second;
}

std::optional<Place> IndexSet::find(const ChunkName& name) const {
  for (const auto& file : files_) {
    try {
      const IndexEntry* const entry = file->find(name);
      if (entry == nullptr || entry->pack >= file->packs().size()) continue;
      const uint64_t pack = file->packs()[entry->pack];
      if (serves(*entry, pack)) return Place{pack, entry->block, entry->length};
    } catch (const StoreError& error) {
      const std::lock_guard guard(damage_->mutex);
      damage_->message = error.what();
    }
  }
  return {};
}

std::optional<std::string> IndexSet::damage() const {
  const std::lock_guard guard(damage_->mutex);
  return damage_->message;
}

void IndexSet::add(Backend& backend, uint64_t number) {
  auto file = std::make_shared<IndexFile>(backend, number);
  for (const uint64_t pack : file->packs()) {
    if (pack_bytes_.contains(pack)) continue;
    if (const auto stat = backend.stat(pack_name(pack))) pack_bytes_.emplace(pack, stat->bytes);
  }
  files_.push_back(std::move(file));
  keep_covering();
}

uint64_t write_index(Backend& backend, std::span<const uint64_t> packs, std::span<const IndexRun> runs) {
  // The places of everything depend on the number of entries, which is known only after the merge: merge twice.
  IndexLayout layout{static_cast<uint32_t>(packs.size()), 0};
  IndexEntry entry;
  for (Merge merge(runs); merge.next(entry);) ++layout.entries;

  const uint64_t number = random_number();
  const auto file = backend.create(index_name(number), Access::small);
  std::vector<ChunkName> page_hashes;
  std::vector<IndexEntry> page;
  page.reserve(kPageEntries);
  const auto flush = [&] {
    const auto* bytes = reinterpret_cast<const uint8_t*>(page.data());
    const size_t length = page.size() * sizeof(IndexEntry);
    file->write(layout.entries_place() + page_hashes.size() * kChunkBytes, bytes, length);
    page_hashes.push_back(chunk_hash(bytes, length));
    page.clear();
  };
  for (Merge merge(runs); merge.next(entry);) {
    page.push_back(entry);
    if (page.size() == kPageEntries) flush();
  }
  if (!page.empty()) flush();

  std::vector<uint8_t> head(layout.entries_place());
  const auto* list = reinterpret_cast<const uint8_t*>(packs.data());
  const auto* hashes = reinterpret_cast<const uint8_t*>(page_hashes.data());
  std::memcpy(head.data(), kMagic, 8);
  store(head.data(), kVersionAt, kVersion);
  store(head.data(), kPacksAt, layout.packs);
  store(head.data(), kEntriesAt, layout.entries);
  store(head.data(), kNumberAt, number);
  store(head.data(), kPackListHashAt, tree_hash(list, packs.size_bytes()));
  store(head.data(), kPageHashesHashAt, tree_hash(hashes, page_hashes.size() * sizeof(ChunkName)));
  store(head.data(), kCheckedHeaderBytes, chunk_hash(head.data(), kCheckedHeaderBytes));
  if (!packs.empty()) std::memcpy(head.data() + kBlockBytes, list, packs.size_bytes());
  if (!page_hashes.empty()) {
    std::memcpy(head.data() + layout.page_hashes_place(), hashes, page_hashes.size() * sizeof(ChunkName));
  }
  file->write(0, head.data(), head.size());
  file->commit(PutMode::create);
  return number;
}

}  // namespace gcr
