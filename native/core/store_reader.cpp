#include "core/store_reader.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <tuple>

#include "core/aligned_buffer.h"
#include "core/error.h"
#include "core/names.h"
#include "core/pack.h"

namespace gcr {
namespace {

constexpr size_t kUnitChunks = 64;
constexpr size_t kCachedBatch = 4;
constexpr size_t kMostOpenPacks = 128;

ChunkName name_at(const uint8_t* names, size_t position) {
  ChunkName name;
  std::memcpy(&name, names + position * sizeof name, sizeof name);
  return name;
}

}  // namespace

std::shared_ptr<InputFile> PackFiles::open(uint64_t pack) {
  {
    const std::lock_guard guard(mutex_);
    const auto found = files_.find(pack);
    if (found != files_.end()) return found->second;
  }
  std::shared_ptr<InputFile> file = backend_->open(pack_name(pack), Access::large);
  const std::lock_guard guard(mutex_);
  if (files_.size() >= kMostOpenPacks) files_.clear();
  return files_.emplace(pack, std::move(file)).first->second;
}

struct StoreReader::Call {
  const uint8_t* names;
  size_t count;
  uint8_t* target;
  size_t size;
  Done done;

  std::atomic<size_t> units = 1;  // planning counts as one
  std::atomic<bool> failed = false;
  std::mutex mutex;
  std::exception_ptr error;

  void fail(std::exception_ptr first) {
    const std::lock_guard guard(mutex);
    if (!error) error = first;
    failed = true;
  }
  void end_unit() {
    if (units.fetch_sub(1) == 1) done(error);
  }
  uint32_t length(size_t position) const {
    return static_cast<uint32_t>(std::min(kChunkBytes, size - position * kChunkBytes));
  }
};

/// A chunk of the target and where its content is; pack 0 is the zero chunk.
struct StoreReader::Item {
  uint64_t pack;
  uint32_t block;
  size_t position;
};

StoreReader::StoreReader(std::shared_ptr<Backend> backend, unsigned threads)
    : backend_(backend), packs_(backend), pool_(threads) {}

const IndexSet& StoreReader::index() {
  std::call_once(index_opened_, [this] { index_.emplace(*backend_); });
  return *index_;
}

void StoreReader::read(const uint8_t* names, size_t count, uint8_t* target, size_t size, Done done) {
  if (count != (size + kChunkBytes - 1) / kChunkBytes) {
    throw StoreError(ErrorKind::invalid, backend_->place(), "the number of names does not fit the target's size");
  }
  const auto call = std::make_shared<Call>();
  call->names = names;
  call->count = count;
  call->target = target;
  call->size = size;
  call->done = std::move(done);
  pool_.submit([this, call] {
    try {
      plan(call);
    } catch (...) {
      call->fail(std::current_exception());
    }
    call->end_unit();
  });
}

void StoreReader::plan(const std::shared_ptr<Call>& call) {
  std::vector<Item> items;
  items.reserve(call->count);
  for (size_t i = 0; i < call->count; ++i) {
    const ChunkName name = name_at(call->names, i);
    if (name.is_zero()) {
      items.push_back({0, 0, i});
      continue;
    }
    const auto place = index().find(name);
    if (!place) {
      const auto damage = index().damage();
      if (damage) {
        throw StoreError(ErrorKind::damaged, "index", "does not tell where chunk " + name.hex() + " is (" + *damage + ")");
      }
      throw StoreError(ErrorKind::not_found, backend_->place(), "has no chunk " + name.hex());
    }
    if (place->length != call->length(i)) {
      throw StoreError(ErrorKind::damaged, pack_name(place->pack),
                       "chunk " + name.hex() + " has " + std::to_string(place->length) + " bytes instead of " +
                           std::to_string(call->length(i)));
    }
    items.push_back({place->pack, place->block, i});
  }
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return std::tie(a.pack, a.block, a.position) < std::tie(b.pack, b.block, b.position);
  });
  std::vector<Item> unit;
  size_t chunks = 0;  // different ones in this unit
  for (const Item& item : items) {
    // Copies of one chunk stay in one unit; zero chunks all have the same place and are cut anywhere.
    const bool same = !unit.empty() && item.pack == unit.back().pack && item.block == unit.back().block;
    const bool cut = !unit.empty() && (item.pack != unit.back().pack || (chunks >= kUnitChunks && (!same || item.pack == 0)));
    if (cut) {
      submit_unit(call, std::move(unit));
      unit.clear();
      chunks = 0;
    }
    if (!same || item.pack == 0) ++chunks;
    unit.push_back(item);
  }
  if (!unit.empty()) submit_unit(call, std::move(unit));
}

void StoreReader::submit_unit(const std::shared_ptr<Call>& call, std::vector<Item> items) {
  ++call->units;
  pool_.submit([this, call, items = std::move(items)] {
    try {
      if (stopped_) throw StoreError(ErrorKind::invalid, backend_->place(), "the reader was closed");
      if (!call->failed) read_unit(*call, items);
    } catch (...) {
      call->fail(std::current_exception());
    }
    call->end_unit();
  });
}

void StoreReader::read_unit(const Call& call, const std::vector<Item>& items) {
  const auto target_of = [&](const Item& item) { return call.target + item.position * kChunkBytes; };
  if (items.front().pack == 0) {
    for (const Item& item : items) std::memset(target_of(item), 0, call.length(item.position));
    return;
  }
  const std::shared_ptr<InputFile> file = packs_.open(items.front().pack);
  // The chunk goes where it belongs, unless its memory or its length does not suit; then by way of the staging buffer.
  thread_local AlignedBuffer staging;
  struct Read {
    const Item* item;
    uint8_t* bytes;
    uint32_t length;
  };
  std::vector<Read> reads;
  size_t staged = 0;
  for (const Item& item : items) {
    if (!reads.empty() && reads.back().item->block == item.block) continue;
    const uint32_t length = call.length(item.position);
    const bool straight = length % kBlockBytes == 0 && (!file->wants_alignment() || is_aligned(target_of(item)));
    reads.push_back({&item, straight ? target_of(item) : nullptr, length});
    if (!straight) staged += padded(length);
  }
  if (staging.size() < staged) staging = AlignedBuffer(staged);
  size_t used = 0;
  for (Read& read : reads) {
    if (read.bytes != nullptr) continue;
    read.bytes = staging.data() + used;
    used += padded(read.length);
  }
  // From the page cache a little at a time, so that content is hashed while it is still in the processor's cache.
  const size_t batch = file->wants_alignment() ? reads.size() : kCachedBatch;
  auto copy = items.begin();
  std::vector<iovec> pieces;
  for (size_t first = 0; first < reads.size();) {
    // One transfer for each run without a gap.
    pieces.clear();
    const uint64_t start = uint64_t{reads[first].item->block} * kBlockBytes;
    uint64_t end = start;
    size_t next = first;
    for (; next < std::min(reads.size(), first + batch) && uint64_t{reads[next].item->block} * kBlockBytes == end; ++next) {
      const size_t length = padded(reads[next].length);
      if (!pieces.empty() && static_cast<uint8_t*>(pieces.back().iov_base) + pieces.back().iov_len == reads[next].bytes) {
        pieces.back().iov_len += length;
      } else {
        pieces.push_back({reads[next].bytes, length});
      }
      end += length;
    }
    file->read(start, pieces);
    for (; first < next; ++first) {
      const Read& read = reads[first];
      const ChunkName name = name_at(call.names, read.item->position);
      if (chunk_hash(read.bytes, read.length) != name) {
        throw StoreError(ErrorKind::damaged, pack_name(read.item->pack),
                         "the content of chunk " + name.hex() + " at byte " +
                             std::to_string(uint64_t{read.item->block} * kBlockBytes) + " does not have its hash");
      }
      for (; copy != items.end() && copy->block == read.item->block; ++copy) {
        if (target_of(*copy) != read.bytes) std::memcpy(target_of(*copy), read.bytes, read.length);
      }
    }
  }
}

void StoreReader::has(const uint8_t* names, size_t count, uint32_t last_length, uint8_t* present, Done done) {
  pool_.submit([this, names, count, last_length, present, done = std::move(done)] {
    std::exception_ptr error;
    try {
      for (size_t i = 0; i < count; ++i) {
        const ChunkName name = name_at(names, i);
        const auto place = name.is_zero() ? std::nullopt : index().find(name);
        const uint32_t expected = i + 1 < count ? kChunkBytes : last_length;
        present[i] = name.is_zero() || (place && place->length == expected);
      }
    } catch (...) {
      error = std::current_exception();
    }
    done(error);
  });
}

}  // namespace gcr
