#include "core/store_writer.h"

#include <algorithm>

#include "core/error.h"
#include "core/names.h"

namespace gcr {
namespace {

/// What one worker hashes, looks up and writes at a time.
constexpr size_t kUnitChunks = 64;
constexpr size_t kUnitBytes = kUnitChunks * kChunkBytes;
/// Beyond so many index files to be searched, small ones are merged.
constexpr size_t kMostIndexFiles = 8;

std::vector<uint32_t> positions_in(std::vector<uint64_t>& packs, const std::vector<uint64_t>& added) {
  std::vector<uint32_t> positions;
  for (const uint64_t pack : added) {
    const auto found = std::find(packs.begin(), packs.end(), pack);
    positions.push_back(static_cast<uint32_t>(found - packs.begin()));
    if (found == packs.end()) packs.push_back(pack);
  }
  return positions;
}

}  // namespace

IndexEntry& ClaimSet::slot(const ChunkName& name) {
  const size_t mask = slots_.size() - 1;
  for (size_t at = name.prefix() & mask;; at = (at + 1) & mask) {
    if (slots_[at].length == 0 || slots_[at].name == name) return slots_[at];
  }
}

bool ClaimSet::claim(const ChunkName& name, uint32_t length) {
  if (2 * (size_ + 1) > slots_.size()) {
    std::vector<IndexEntry> old(std::max<size_t>(1024, 2 * slots_.size()));
    old.swap(slots_);
    for (const IndexEntry& entry : old) {
      if (entry.length != 0) slot(entry.name) = entry;
    }
  }
  IndexEntry& entry = slot(name);
  if (entry.length != 0) return false;
  entry = {name, 0, 0, length, 0};
  ++size_;
  return true;
}

void ClaimSet::place(const ChunkName& name, uint32_t pack, uint32_t block) {
  IndexEntry& entry = slot(name);
  entry.pack = pack;
  entry.block = block;
}

std::vector<IndexEntry> ClaimSet::take_sorted() {
  std::vector<IndexEntry> all = std::move(slots_);
  slots_ = {};
  size_ = 0;
  std::erase_if(all, [](const IndexEntry& entry) { return entry.length == 0; });
  std::sort(all.begin(), all.end(), [](const IndexEntry& a, const IndexEntry& b) { return a.name < b.name; });
  return all;
}

struct StoreWriter::Call {
  std::atomic<size_t> units;
  Done done;
  std::function<void(size_t)> store_unit;
  std::mutex mutex;
  std::exception_ptr error;
};

StoreWriter::StoreWriter(std::shared_ptr<Backend> backend, WriterOptions options)
    : backend_(std::move(backend)), options_(options), pool_(options.threads) {}

StoreWriter::~StoreWriter() { abort(); }

void StoreWriter::write(const uint8_t* bytes, size_t size, uint8_t* names, Done done) {
  submit(std::max<size_t>(1, (size + kUnitBytes - 1) / kUnitBytes), std::move(done), [this, bytes, size, names](size_t unit) {
    const size_t offset = unit * kUnitBytes;
    name_and_store(bytes + offset, std::min(kUnitBytes, size - offset), names + offset / kChunkBytes * sizeof(ChunkName));
  });
}

void StoreWriter::write_named(std::vector<NewChunk> chunks, Done done) {
  const size_t units = std::max<size_t>(1, (chunks.size() + kUnitChunks - 1) / kUnitChunks);
  submit(units, std::move(done), [this, chunks = std::move(chunks)](size_t unit) {
    check_no_error();
    const auto first = chunks.begin() + static_cast<ptrdiff_t>(unit * kUnitChunks);
    store({first, first + static_cast<ptrdiff_t>(std::min(kUnitChunks, chunks.size() - unit * kUnitChunks))});
  });
}

void StoreWriter::submit(size_t units, Done done, std::function<void(size_t)> store_unit) {
  const auto call = std::make_shared<Call>();
  call->units = units;
  call->done = std::move(done);
  call->store_unit = std::move(store_unit);
  {
    const std::lock_guard guard(mutex_);
    if (ended_) throw StoreError(ErrorKind::invalid, backend_->place(), "the writer has ended");
    under_way_ += units;
  }
  for (size_t unit = 0; unit < units; ++unit) {
    pool_.submit([this, call, unit] {
      try {
        call->store_unit(unit);
      } catch (...) {
        fail(std::current_exception());
        const std::lock_guard guard(call->mutex);
        if (!call->error) call->error = std::current_exception();
      }
      if (call->units.fetch_sub(1) == 1) call->done(call->error);
      const std::lock_guard guard(mutex_);
      if (--under_way_ == 0) idle_.notify_all();
    });
  }
}

void StoreWriter::check_no_error() {
  const std::lock_guard guard(mutex_);
  if (error_) std::rethrow_exception(error_);
}

void StoreWriter::name_and_store(const uint8_t* bytes, size_t size, uint8_t* names) {
  check_no_error();
  std::vector<NewChunk> chunks;
  for (size_t offset = 0; offset < size; offset += kChunkBytes) {
    const auto length = static_cast<uint32_t>(std::min(kChunkBytes, size - offset));
    const ChunkName name = chunk_name(bytes + offset, length);
    std::memcpy(names + offset / kChunkBytes * sizeof name, &name, sizeof name);
    chunks.push_back({name, bytes + offset, length});
  }
  store(std::move(chunks));
}

void StoreWriter::store(std::vector<NewChunk> chunks) {
  std::call_once(index_opened_, [this] { index_.emplace(*backend_); });
  const size_t count = chunks.size();
  std::erase_if(chunks, [](const NewChunk& chunk) { return chunk.name.is_zero(); });
  bool many_claims = false;
  {
    const std::shared_lock storing(flush_);
    std::erase_if(chunks, [this](const NewChunk& chunk) { return index_->find(chunk.name).has_value(); });
    {
      const std::lock_guard guard(mutex_);
      statistics_.chunks += count;
      std::erase_if(chunks, [this](const NewChunk& chunk) { return !claims_.claim(chunk.name, chunk.length); });
    }
    if (!chunks.empty()) {
      std::unique_ptr<OpenPack> pack = take_pack();
      uint32_t block = pack->writer.append(chunks);
      const uint32_t position = pack->position;
      if (pack->writer.full(options_.pack_bytes)) {
        pack->writer.close();
        pack.reset();
      }
      const std::lock_guard guard(mutex_);
      for (const NewChunk& chunk : chunks) {
        claims_.place(chunk.name, position, block);
        block += static_cast<uint32_t>(padded(chunk.length) / kBlockBytes);
        ++statistics_.stored_chunks;
        statistics_.stored_bytes += chunk.length;
      }
      if (pack) free_packs_.push_back(std::move(pack));
      many_claims = claims_.size() >= options_.most_claims;
    }
  }
  if (many_claims) {
    const std::unique_lock alone(flush_);
    if (claims_.size() >= options_.most_claims) write_index_file();
  }
}

std::unique_ptr<StoreWriter::OpenPack> StoreWriter::take_pack() {
  {
    const std::lock_guard guard(mutex_);
    if (!free_packs_.empty()) {
      // The one used last: a single stream fills a single pack.
      std::unique_ptr<OpenPack> pack = std::move(free_packs_.back());
      free_packs_.pop_back();
      return pack;
    }
  }
  auto pack = std::make_unique<OpenPack>(PackWriter(*backend_), 0);
  const std::lock_guard guard(mutex_);
  pack->position = static_cast<uint32_t>(packs_.size());
  packs_.push_back(pack->writer.number());
  ++statistics_.packs;
  return pack;
}

void StoreWriter::fail(std::exception_ptr error) {
  const std::lock_guard guard(mutex_);
  if (!error_) error_ = error;
}

void StoreWriter::wait_for_writes() {
  std::unique_lock guard(mutex_);
  ended_ = true;
  idle_.wait(guard, [this] { return under_way_ == 0; });
}

WriterStatistics StoreWriter::finish() {
  {
    const std::lock_guard guard(mutex_);
    if (ended_) throw StoreError(ErrorKind::invalid, backend_->place(), "the writer has ended");
  }
  wait_for_writes();
  try {
    if (error_) std::rethrow_exception(error_);
    if (claims_.size() > 0) {
      write_index_file();
      merge_index_files();
    }
  } catch (...) {
    abort();
    throw;
  }
  return statistics_;
}

void StoreWriter::abort() {
  // What is still queued ends at once.
  fail(std::make_exception_ptr(StoreError(ErrorKind::invalid, backend_->place(), "the writer was aborted")));
  wait_for_writes();
  free_packs_.clear();
  // No index names these, so nobody else can have come to rely on them.
  for (const uint64_t pack : packs_) {
    try {
      backend_->remove(pack_name(pack));
    } catch (const StoreError&) {
    }
  }
  packs_.clear();
}

void StoreWriter::write_index_file() {
  for (const auto& pack : free_packs_) pack->writer.close();
  free_packs_.clear();
  backend_->sync_folder("packs");
  const std::vector<IndexEntry> entries = claims_.take_sorted();
  std::vector<uint32_t> positions(packs_.size());
  for (uint32_t i = 0; i < positions.size(); ++i) positions[i] = i;
  const IndexRun run{entries, nullptr, std::move(positions)};
  const uint64_t number = write_index(*backend_, packs_, std::span(&run, 1));
  // From here on others may rely on the packs, even if making the name durable fails.
  packs_.clear();
  backend_->sync_folder("index");
  index_->add(*backend_, number);
}

void StoreWriter::merge_index_files() {
  std::vector<std::shared_ptr<IndexFile>> files = index_->files();
  if (files.size() <= kMostIndexFiles) return;
  // Smallest first, going on while the next one is not much larger than what is merged so far: every entry is
  // rewritten a logarithmic number of times, and each file that stays is more than twice the sum of the smaller ones.
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a->entries() < b->entries(); });
  std::vector<uint64_t> packs;
  std::vector<IndexRun> runs;
  uint64_t entries = 0;
  for (const auto& file : files) {
    if (runs.size() >= 2 && file->entries() > 2 * entries) break;
    runs.push_back({{}, file.get(), positions_in(packs, file->packs())});
    entries += file->entries();
  }
  try {
    write_index(*backend_, packs, runs);
    backend_->sync_folder("index");
  } catch (const StoreError&) {
    // Everything is durable already; without the merged file look-ups are slower, nothing else.
  }
}

}  // namespace gcr
