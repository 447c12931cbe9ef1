#include "core/maintenance.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "core/aligned_buffer.h"
#include "core/error.h"
#include "core/index.h"
#include "core/names.h"
#include "core/pack.h"

namespace gcr {
namespace {

/// 2^22 entries take 128 MiB.
constexpr size_t kMostRunEntries = size_t{1} << 22;
constexpr size_t kReadBytes = size_t{4} << 20;

std::vector<uint64_t> numbers_of(Backend& backend, const std::string& folder, NameForm form) {
  std::vector<uint64_t> numbers;
  for (const std::string& name : backend.list(folder)) {
    if (name_form(name) == form) numbers.push_back(number_of(name));
  }
  return numbers;
}

void stop_if(const std::atomic<bool>* cancelled, Backend& backend) {
  if (cancelled != nullptr && *cancelled) throw StoreError(ErrorKind::invalid, backend.place(), "cancelled");
}

/// Collects entries of whole packs and writes an index file whenever a run is full.
class IndexBuilder {
 public:
  explicit IndexBuilder(Backend& backend) : backend_(backend) {}

  void add_pack(uint64_t pack, std::span<const PackEntry> table) {
    const auto position = static_cast<uint32_t>(packs_.size());
    packs_.push_back(pack);
    for (const PackEntry& entry : table) entries_.push_back({entry.name, position, entry.block, entry.length, 0});
    if (entries_.size() >= kMostRunEntries) flush();
  }

  void flush() {
    if (packs_.empty()) return;
    std::sort(entries_.begin(), entries_.end(), [](const IndexEntry& a, const IndexEntry& b) { return a.name < b.name; });
    std::vector<uint32_t> positions(packs_.size());
    for (uint32_t i = 0; i < positions.size(); ++i) positions[i] = i;
    const IndexRun run{entries_, nullptr, std::move(positions)};
    write_index(backend_, packs_, std::span(&run, 1));
    packs_.clear();
    entries_.clear();
  }

 private:
  Backend& backend_;
  std::vector<uint64_t> packs_;
  std::vector<IndexEntry> entries_;
};

/// What the present index files say about one pack. For a pack whose own table is damaged.
std::vector<PackEntry> entries_from_index(Backend& backend, uint64_t pack) {
  std::vector<PackEntry> entries;
  const auto stat = backend.stat(pack_name(pack));
  for (const uint64_t number : numbers_of(backend, "index", NameForm::index)) {
    try {
      const IndexFile file(backend, number);
      const auto at = std::find(file.packs().begin(), file.packs().end(), pack);
      if (at == file.packs().end()) continue;
      for (uint64_t page = 0; page < file.pages(); ++page) {
        for (const IndexEntry& entry : file.page(page)) {
          const uint64_t end = uint64_t{entry.block} * kBlockBytes + round_up(entry.length, kBlockBytes);
          if (entry.pack == at - file.packs().begin() && entry.length <= kChunkBytes && end <= stat->bytes &&
              entries.size() < kMostPackEntries) {
            entries.push_back({entry.name, entry.block, entry.length, 0});
          }
        }
      }
    } catch (const StoreError& error) {
      if (error.kind() != ErrorKind::damaged) throw;
    }
  }
  std::sort(entries.begin(), entries.end(), [](const PackEntry& a, const PackEntry& b) { return a.block < b.block; });
  entries.erase(std::unique(entries.begin(), entries.end(), [](const PackEntry& a, const PackEntry& b) { return a.block == b.block; }),
                entries.end());
  return entries;
}

struct PackState {
  uint64_t number;
  uint64_t bytes = 0;
  uint64_t live_bytes = 0;
  bool damaged = false;  // the table is; entries come from the index and the pack stays as it is
  bool kept = false;
};

class Compaction {
 public:
  Compaction(Backend& backend, std::span<const ChunkName> live, const CompactOptions& options)
      : backend_(backend), options_(options), live_(live.begin(), live.end()) {
    std::sort(live_.begin(), live_.end());
    live_.erase(std::unique(live_.begin(), live_.end()), live_.end());
    if (!live_.empty() && live_.front().is_zero()) live_.erase(live_.begin());
    statistics_.chunks_live = live_.size();
  }

  CompactStatistics run() {
    const std::vector<uint64_t> old_index = numbers_of(backend_, "index", NameForm::index);
    look_at_packs();
    assign_places();
    decide();
    if (options_.dry_run) return statistics_;
    move_chunks();
    write_new_index();
    for (const uint64_t number : old_index) backend_.remove(index_name(number));
    remove_temporary("index");
    backend_.sync_folder("index");
    for (const PackState& pack : packs_) {
      if (!pack.kept) backend_.remove(pack_name(pack.number));
    }
    remove_temporary("packs");
    backend_.sync_folder("packs");
    return statistics_;
  }

 private:
  static constexpr uint32_t kNowhere = UINT32_MAX;

  size_t live_position(const ChunkName& name) const {
    const auto found = std::lower_bound(live_.begin(), live_.end(), name);
    return found != live_.end() && *found == name ? static_cast<size_t>(found - live_.begin()) : live_.size();
  }

  std::vector<PackEntry> table_of(const PackState& pack) const {
    return pack.damaged ? entries_from_index(backend_, pack.number) : read_pack_table(backend_, pack.number);
  }

  void look_at_packs() {
    for (const uint64_t number : numbers_of(backend_, "packs", NameForm::pack)) {
      stop_if(options_.cancelled, backend_);
      PackState pack{number};
      pack.bytes = backend_.stat(pack_name(number)).value_or(FileStat{}).bytes;
      std::vector<PackEntry> table;
      try {
        table = read_pack_table(backend_, number);
      } catch (const StoreError& error) {
        if (error.kind() != ErrorKind::damaged && error.kind() != ErrorKind::io) throw;
        pack.damaged = true;
        table = table_of(pack);
      }
      for (const PackEntry& entry : table) {
        if (live_position(entry.name) < live_.size()) pack.live_bytes += padded(entry.length);
      }
      packs_.push_back(pack);
    }
  }

  /// One place for each live chunk: in the pack that is fullest of live ones, so that duplicates empty the others.
  void assign_places() {
    std::stable_sort(packs_.begin(), packs_.end(), [](const PackState& a, const PackState& b) {
      return a.damaged != b.damaged ? b.damaged : share(a) > share(b);
    });
    place_.assign(live_.size(), kNowhere);
    for (uint32_t i = 0; i < packs_.size(); ++i) {
      packs_[i].live_bytes = 0;
      for (const PackEntry& entry : table_of(packs_[i])) {
        const size_t position = live_position(entry.name);
        if (position == live_.size() || place_[position] != kNowhere) continue;
        place_[position] = i;
        packs_[i].live_bytes += padded(entry.length);
      }
    }
    const auto lost = std::find(place_.begin(), place_.end(), kNowhere);
    if (lost != place_.end()) {
      throw StoreError(ErrorKind::damaged, backend_.place(),
                       "chunk " + live_[static_cast<size_t>(lost - place_.begin())].hex() +
                           " that a checkpoint needs is in no pack; nothing was removed");
    }
  }

  static double share(const PackState& pack) {
    return pack.bytes == 0 ? 0 : static_cast<double>(pack.live_bytes) / static_cast<double>(pack.bytes);
  }

  void decide() {
    for (PackState& pack : packs_) {
      pack.kept = pack.live_bytes > 0 && (pack.damaged || share(pack) >= options_.minimum_live_share);
      if (pack.kept) continue;
      ++statistics_.packs_removed;
      statistics_.bytes_freed += pack.bytes - std::min(pack.bytes, pack.live_bytes);
      statistics_.bytes_moved += pack.live_bytes;
    }
  }

  void move_chunks() {
    std::unique_ptr<PackWriter> writer;
    const auto close = [&] {
      if (!writer) return;
      const uint64_t number = writer->number();
      writer->close();
      writer.reset();
      new_packs_.push_back(number);
      ++statistics_.packs_written;
    };
    AlignedBuffer buffer(kChunkBytes);
    uint64_t moved = 0;
    for (uint32_t i = 0; i < packs_.size(); ++i) {
      if (packs_[i].kept || packs_[i].live_bytes == 0) continue;
      const std::string name = pack_name(packs_[i].number);
      const auto file = backend_.open(name, Access::large);
      for (const PackEntry& entry : read_pack_table(backend_, packs_[i].number)) {
        const size_t position = live_position(entry.name);
        if (position == live_.size() || place_[position] != i) continue;
        place_[position] = kNowhere;  // moved; a pack may hold a chunk twice
        stop_if(options_.cancelled, backend_);
        file->read(uint64_t{entry.block} * kBlockBytes, buffer.data(), padded(entry.length));
        if (chunk_hash(buffer.data(), entry.length) != entry.name) {
          throw StoreError(ErrorKind::damaged, name,
                           "the content of chunk " + entry.name.hex() + " does not have its hash; nothing was removed");
        }
        if (!writer) writer = std::make_unique<PackWriter>(backend_);
        const NewChunk chunk{entry.name, buffer.data(), entry.length};
        writer->append(std::span(&chunk, 1));
        if (writer->full(kPackBytes)) close();
        moved += padded(entry.length);
        if (options_.progress) options_.progress(moved, statistics_.bytes_moved);
      }
    }
    close();
    backend_.sync_folder("packs");
  }

  void write_new_index() {
    IndexBuilder builder(backend_);
    for (const PackState& pack : packs_) {
      if (pack.kept) builder.add_pack(pack.number, table_of(pack));
    }
    for (const uint64_t pack : new_packs_) builder.add_pack(pack, read_pack_table(backend_, pack));
    builder.flush();
    backend_.sync_folder("index");
  }

  void remove_temporary(const std::string& folder) {
    for (const std::string& name : backend_.list(folder)) {
      if (name_form(name) == NameForm::temporary) backend_.remove(name);
    }
  }

  Backend& backend_;
  const CompactOptions& options_;
  std::vector<ChunkName> live_;
  std::vector<uint32_t> place_;  // position in packs_ for each live chunk
  std::vector<PackState> packs_;
  std::vector<uint64_t> new_packs_;
  CompactStatistics statistics_;
};

class Check {
 public:
  Check(Backend& backend, const CheckOptions& options) : backend_(backend), options_(options) {}

  std::vector<Problem> run() {
    // Index files first: a pack that they name was there before them.
    const std::vector<uint64_t> index = list("index", NameForm::index);
    const std::vector<uint64_t> packs = list("packs", NameForm::pack);
    for (const uint64_t pack : packs) {
      if (const auto stat = backend_.stat(pack_name(pack))) pack_bytes_.emplace(pack, stat->bytes);
      total_ += options_.read_data ? pack_bytes_[pack] : 2 * kBlockBytes;
    }
    for (const uint64_t number : index) check_index(number);
    for (const uint64_t pack : packs) check_pack(pack);
    return std::move(problems_);
  }

 private:
  void add(const std::string& file, const std::string& message, const std::string& remedy, bool harmless = false) {
    problems_.push_back({file, message, remedy, harmless});
  }

  /// The message of an error without the file's name in front.
  static std::string message_of(const StoreError& error) {
    const std::string text = error.what();
    return text.starts_with(error.file() + ": ") ? text.substr(error.file().size() + 2) : text;
  }

  std::vector<uint64_t> list(const std::string& folder, NameForm form) {
    std::vector<uint64_t> numbers;
    for (const std::string& name : backend_.list(folder)) {
      const auto found = name_form(name);
      if (found == NameForm::temporary) {
        add(name, "is left over from a writer that ended early, or belongs to one at work", "prune removes it", true);
        continue;
      }
      if (found != form) {
        add(name, "does not belong here", "move it elsewhere", true);
        continue;
      }
      try {
        if (backend_.stat(name)) numbers.push_back(number_of(name));
      } catch (const StoreError& error) {
        add(name, message_of(error), "put the regular file back");
      }
    }
    return numbers;
  }

  void check_index(uint64_t number) {
    const std::string name = index_name(number);
    const char* const remedy = "rebuild the index";
    try {
      const IndexFile file(backend_, number);
      std::vector<bool> reported(file.packs().size());
      const auto report = [&](size_t pack, const std::string& message) {
        if (reported[pack]) return;
        reported[pack] = true;
        add(pack_name(file.packs()[pack]), message + " (" + name + " names it)",
            "put it back from a copy; checkpoints that need it are lost without it");
      };
      for (size_t i = 0; i < file.packs().size(); ++i) {
        named_.insert(file.packs()[i]);
        if (!pack_bytes_.contains(file.packs()[i])) report(i, "is missing");
      }
      ChunkName last;
      for (uint64_t page = 0; page < file.pages(); ++page) {
        stop_if(options_.cancelled, backend_);
        try {
          check_entries(file, page, last, report);
        } catch (const StoreError& error) {
          add(name, "page " + std::to_string(page) + ": " + message_of(error), remedy);
        }
      }
    } catch (const StoreError& error) {
      if (error.kind() != ErrorKind::damaged && error.kind() != ErrorKind::io) throw;
      add(name, message_of(error), remedy);
    }
  }

  template <class Report>
  void check_entries(const IndexFile& file, uint64_t page, ChunkName& last, const Report& report) {
    for (const IndexEntry& entry : file.page(page)) {
      if (entry.name <= last) throw StoreError(ErrorKind::damaged, file.name(), "entries are not in order");
      last = entry.name;
      if (entry.pack >= file.packs().size() || entry.length == 0 || entry.length > kChunkBytes || entry.block == 0) {
        throw StoreError(ErrorKind::damaged, file.name(), "has an entry that cannot be");
      }
      const auto pack = pack_bytes_.find(file.packs()[entry.pack]);
      const uint64_t end = uint64_t{entry.block} * kBlockBytes + round_up(entry.length, kBlockBytes) + kBlockBytes;
      if (pack != pack_bytes_.end() && end > pack->second) report(entry.pack, "is too short");
    }
  }

  void check_pack(uint64_t number) {
    const std::string name = pack_name(number);
    stop_if(options_.cancelled, backend_);
    std::vector<PackEntry> table;
    try {
      table = read_pack_table(backend_, number);
      if (!named_.contains(number)) {
        add(name, "is named by no index file", "rebuild the index if one was lost; otherwise prune removes it", true);
      }
    } catch (const StoreError& error) {
      if (error.kind() == ErrorKind::not_found) return;  // removed since it was listed
      if (error.kind() != ErrorKind::damaged && error.kind() != ErrorKind::io) throw;
      add(name, message_of(error), "put it back from a copy; `verify` tells which checkpoints are whole");
      if (options_.read_data && named_.contains(number)) table = entries_from_index(backend_, number);
    }
    if (options_.read_data) {
      try {
        read_chunks(name, table);
      } catch (const StoreError& error) {
        if (error.kind() == ErrorKind::invalid) throw;
        add(name, message_of(error), "put it back from a copy");
      }
    }
    report_progress(options_.read_data ? pack_bytes_[number] - std::min(pack_bytes_[number], read_) : 2 * kBlockBytes);
    read_ = 0;
  }

  void read_chunks(const std::string& name, const std::vector<PackEntry>& table) {
    if (buffer_.size() == 0) buffer_ = AlignedBuffer(kReadBytes);
    const auto file = backend_.open(name, Access::large);
    for (size_t first = 0; first < table.size();) {
      stop_if(options_.cancelled, backend_);
      const uint64_t start = uint64_t{table[first].block} * kBlockBytes;
      size_t next = first;
      uint64_t end = start;
      for (; next < table.size(); ++next) {
        const uint64_t entry_end = uint64_t{table[next].block} * kBlockBytes + padded(table[next].length);
        if (entry_end - start > kReadBytes) break;
        end = entry_end;
      }
      try {
        file->read(start, buffer_.data(), end - start);
        for (size_t i = first; i < next; ++i) {
          const uint8_t* const bytes = buffer_.data() + (uint64_t{table[i].block} * kBlockBytes - start);
          if (chunk_hash(bytes, table[i].length) == table[i].name) continue;
          add(name, "the content of chunk " + table[i].name.hex() + " does not have its hash",
              "put the file back from a copy; `verify` tells which checkpoints are whole");
        }
      } catch (const StoreError& error) {
        add(name, "bytes " + std::to_string(start) + " to " + std::to_string(end) + ": " + message_of(error),
            "put it back from a copy");
      }
      read_ += end - start;
      report_progress(end - start);
      first = next;
    }
  }

  void report_progress(uint64_t bytes) {
    done_ += bytes;
    if (options_.progress) options_.progress(done_, total_);
  }

  Backend& backend_;
  const CheckOptions& options_;
  std::vector<Problem> problems_;
  std::unordered_map<uint64_t, uint64_t> pack_bytes_;
  std::unordered_set<uint64_t> named_;
  AlignedBuffer buffer_;
  uint64_t total_ = 0;
  uint64_t done_ = 0;
  uint64_t read_ = 0;  // of the present pack
};

}  // namespace

CompactStatistics compact(Backend& backend, std::span<const ChunkName> live, const CompactOptions& options) {
  return Compaction(backend, live, options).run();
}

std::vector<Problem> check(Backend& backend, const CheckOptions& options) { return Check(backend, options).run(); }

RebuildStatistics rebuild_index(Backend& backend) {
  const std::vector<uint64_t> old_index = numbers_of(backend, "index", NameForm::index);
  RebuildStatistics statistics;
  IndexBuilder builder(backend);
  for (const uint64_t pack : numbers_of(backend, "packs", NameForm::pack)) {
    std::vector<PackEntry> table;
    try {
      table = read_pack_table(backend, pack);
    } catch (const StoreError& error) {
      if (error.kind() != ErrorKind::damaged) throw;
      // What the old index says about it is all that is known.
      table = entries_from_index(backend, pack);
      if (table.empty()) continue;
    }
    builder.add_pack(pack, table);
    ++statistics.packs;
    statistics.chunks += table.size();
  }
  builder.flush();
  backend.sync_folder("index");
  for (const uint64_t number : old_index) backend.remove(index_name(number));
  backend.sync_folder("index");
  return statistics;
}

}  // namespace gcr
