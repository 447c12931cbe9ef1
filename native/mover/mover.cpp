// See mover.h.
#include "mover/mover.h"

#include <algorithm>
#include <cstring>
#include <optional>

namespace gcr {
namespace {

constexpr std::size_t piece_bytes = std::size_t{32} << 20;        // of copies: what a small operation waits for a large one
constexpr std::size_t hashed_bytes = std::size_t{4} << 20;        // what the processor hashes at once
constexpr std::uint32_t first_named = 4096, most_named = 65536;   // chunks of a piece: a small one first, so that the device begins soon
constexpr std::size_t direct_bytes = std::size_t{1} << 20;        // from here on a copy of its own is as fast as any
constexpr std::uint32_t most_moved = 1024;                        // chunks of a piece
constexpr unsigned moving_blocks = 32;                            // fill the bus, and leave the rest of the device to others

enum class Direction { to_host, to_device };

void copy(const Driver &driver, Direction direction, DevicePointer device, std::uint8_t *host, std::size_t bytes, Stream stream) {
  if (direction == Direction::to_host) driver.check(driver.cuMemcpyDtoHAsync(host, device, bytes, stream), "cuMemcpyDtoHAsync");
  else driver.check(driver.cuMemcpyHtoDAsync(device, host, bytes, stream), "cuMemcpyHtoDAsync");
}

// Goes through the chunks of spans.
class ChunkCursor {
 public:
  explicit ChunkCursor(const std::vector<Span> &spans) : spans_(spans) {}
  bool at_end() const { return span_ == spans_.size(); }
  DevicePointer address() const { return spans_[span_].address + at_; }
  // Of what lies together from here on.
  std::size_t bytes() const { return spans_[span_].bytes - at_; }
  void advance(std::size_t bytes) {
    at_ += bytes;
    if (at_ < spans_[span_].bytes) return;
    at_ = 0;
    ++span_;
  }

 private:
  const std::vector<Span> &spans_;
  std::size_t span_ = 0;
  std::uint64_t at_ = 0;
};

// Names by our kernel, which reads its list from pinned memory and writes names there.
class NamesOnDevice : public Operation {
 public:
  NamesOnDevice(const Lane &lane, const DeviceKernels &kernels, const std::vector<PinnedBuffer> &places, Spans spans, ChunkName *names)
      : lane_(lane), kernels_(kernels), places_(places), spans_(std::move(spans)), cursor_(spans_.list), names_(names) {}

  static std::size_t place_bytes() { return most_named * (sizeof(ListedChunk) + sizeof(ChunkName)); }

  std::optional<Stream> issue(unsigned place) override {
    if (cursor_.at_end()) return std::nullopt;
    auto *list = reinterpret_cast<ListedChunk *>(places_[place].data());
    const std::uint32_t most = issued_ == 0 ? first_named : most_named;
    std::uint32_t count = 0;
    for (; count < most && !cursor_.at_end(); ++count) {
      const std::size_t length = std::min(kChunkBytes, cursor_.bytes());
      list[count] = {cursor_.address(), static_cast<std::uint32_t>(length), count};
      cursor_.advance(length);
    }
    kernels_.name(places_[place].address(), count, places_[place].address() + names_at, lane_.kernels());
    pieces_[place] = {issued_, count};
    issued_ += count;
    return lane_.kernels();
  }

  void ended(unsigned place) override {
    const auto [first, count] = pieces_[place];
    std::memcpy(names_ + first, places_[place].data() + names_at, count * sizeof(ChunkName));
  }

 private:
  static constexpr std::size_t names_at = most_named * sizeof(ListedChunk);
  struct Piece {
    std::uint64_t first;
    std::uint32_t count;
  };
  const Lane &lane_;
  const DeviceKernels &kernels_;
  const std::vector<PinnedBuffer> &places_;
  const Spans spans_;
  ChunkCursor cursor_;
  ChunkName *const names_;
  std::uint64_t issued_ = 0;
  Piece pieces_[Lane::places] = {};
};

// Names by the processor, from copies.
class NamesByProcessor : public Operation {
 public:
  NamesByProcessor(const Lane &lane, const std::vector<PinnedBuffer> &places, Spans spans, ChunkName *names)
      : lane_(lane), places_(places), spans_(std::move(spans)), cursor_(spans_.list), names_(names) {}

  std::optional<Stream> issue(unsigned place) override {
    if (cursor_.at_end()) return std::nullopt;
    const std::size_t bytes = std::min(cursor_.bytes(), places_[place].size());
    copy(lane_.device()->driver(), Direction::to_host, cursor_.address(), places_[place].data(), bytes, lane_.copies());
    pieces_[place] = {issued_, bytes};
    issued_ += (bytes + kChunkBytes - 1) / kChunkBytes;
    cursor_.advance(bytes);
    return lane_.copies();
  }

  void ended(unsigned place) override {
    const auto [first, bytes] = pieces_[place];
    ChunkName *name = names_ + first;
    for (std::size_t at = 0; at < bytes; at += kChunkBytes)
      *name++ = chunk_name(places_[place].data() + at, std::min(kChunkBytes, bytes - at));
  }

 private:
  struct Piece {
    std::uint64_t first;
    std::size_t bytes;
  };
  const Lane &lane_;
  const std::vector<PinnedBuffer> &places_;
  const Spans spans_;
  ChunkCursor cursor_;
  ChunkName *const names_;
  std::uint64_t issued_ = 0;
  Piece pieces_[Lane::places] = {};
};

// Chunks and slots. What lies together on both sides is copied by the device's copy engines. The rest is moved by our kernels, which reach pinned
// memory by its address: single copies of a chunk are a third as fast.
class Move : public Operation {
 public:
  Move(const Lane &lane, const DeviceKernels *kernels, const std::vector<PinnedBuffer> &places, Direction direction, Spans spans,
       std::shared_ptr<HostArena> arena, std::vector<std::uint32_t> slots)
      : lane_(lane), kernels_(kernels), places_(places), direction_(direction), spans_(std::move(spans)), arena_(std::move(arena)),
        slots_(std::move(slots)) {}

  static std::size_t place_bytes() { return most_moved * sizeof(ListedChunk); }

  std::optional<Stream> issue(unsigned place) override {
    if (!planned_) plan();
    if (listed_ < plan_.scattered.size()) return issue_scattered(place);
    if (copied_ < plan_.direct.size()) return issue_direct();
    return std::nullopt;
  }

 private:
  void plan() {
    arena_->pin(lane_.device());
    const bool by_kernels = kernels_ && arena_->is_reached_by(*lane_.device());
    plan_ = plan_move(spans_.list, *arena_, slots_, by_kernels ? direct_bytes : 0, piece_bytes);
    slots_ = {};
    planned_ = true;
  }

  Stream issue_scattered(unsigned place) {
    const std::size_t count = std::min<std::size_t>(most_moved, plan_.scattered.size() - listed_);
    std::memcpy(places_[place].data(), plan_.scattered.data() + listed_, count * sizeof(ListedChunk));
    listed_ += count;
    const auto base = reinterpret_cast<DevicePointer>(arena_->data());
    const auto move = direction_ == Direction::to_host ? &DeviceKernels::gather : &DeviceKernels::scatter;
    (kernels_->*move)(places_[place].address(), static_cast<std::uint32_t>(count), base, moving_blocks, lane_.kernels());
    return lane_.kernels();
  }

  Stream issue_direct() {
    for (std::size_t bytes = 0; bytes < piece_bytes && copied_ < plan_.direct.size(); ++copied_) {
      const DirectCopy &each = plan_.direct[copied_];
      copy(lane_.device()->driver(), direction_, each.device, each.host, each.bytes, lane_.copies());
      bytes += each.bytes;
    }
    return lane_.copies();
  }

  const Lane &lane_;
  const DeviceKernels *const kernels_;
  const std::vector<PinnedBuffer> &places_;
  const Direction direction_;
  const Spans spans_;
  const std::shared_ptr<HostArena> arena_;
  std::vector<std::uint32_t> slots_;
  bool planned_ = false;
  MovePlan plan_;
  std::size_t listed_ = 0;  // scattered chunks given
  std::size_t copied_ = 0;  // direct copies given
};

// Bytes, to and from memory that need not be pinned: the driver waits for each piece then.
class PlainCopy : public Operation {
 public:
  PlainCopy(const Lane &lane, Direction direction, Spans span, std::uint8_t *host)
      : lane_(lane), direction_(direction), span_(std::move(span)), host_(host) {}

  std::optional<Stream> issue(unsigned) override {
    const Span &span = span_.list.front();
    if (done_ == span.bytes) return std::nullopt;
    const std::size_t bytes = std::min<std::uint64_t>(piece_bytes, span.bytes - done_);
    copy(lane_.device()->driver(), direction_, span.address + done_, host_ + done_, bytes, lane_.copies());
    done_ += bytes;
    return lane_.copies();
  }

 private:
  const Lane &lane_;
  const Direction direction_;
  const Spans span_;
  std::uint8_t *const host_;
  std::uint64_t done_ = 0;
};

}  // namespace

Mover::Mover(std::shared_ptr<const OpenDevice> device, bool kernels)
    : device_(std::move(device)), kernels_(kernels ? std::make_unique<DeviceKernels>(device_) : nullptr), names_(device_), saves_(device_),
      loads_(device_) {
  for (unsigned place = 0; place < Lane::places; ++place) {
    name_places_.emplace_back(device_, kernels ? NamesOnDevice::place_bytes() : hashed_bytes);
    save_places_.emplace_back(device_, Move::place_bytes());
    load_places_.emplace_back(device_, Move::place_bytes());
  }
}

void Mover::names(Spans spans, ChunkName *names, Lane::Done done) {
  if (kernels_) names_.run(std::make_unique<NamesOnDevice>(names_, *kernels_, name_places_, std::move(spans), names), std::move(done));
  else names_.run(std::make_unique<NamesByProcessor>(names_, name_places_, std::move(spans), names), std::move(done));
}

void Mover::save(Spans spans, std::shared_ptr<HostArena> arena, std::vector<std::uint32_t> slots, Lane::Done done) {
  saves_.run(std::make_unique<Move>(saves_, kernels_.get(), save_places_, Direction::to_host, std::move(spans), std::move(arena), std::move(slots)),
             std::move(done));
}

void Mover::load(Spans spans, std::shared_ptr<HostArena> arena, std::vector<std::uint32_t> slots, Lane::Done done) {
  loads_.run(std::make_unique<Move>(loads_, kernels_.get(), load_places_, Direction::to_device, std::move(spans), std::move(arena), std::move(slots)),
             std::move(done));
}

void Mover::read(Spans span, std::uint8_t *target, Lane::Done done) {
  saves_.run(std::make_unique<PlainCopy>(saves_, Direction::to_host, std::move(span), target), std::move(done));
}

void Mover::write(Spans span, const std::uint8_t *source, Lane::Done done) {
  loads_.run(std::make_unique<PlainCopy>(loads_, Direction::to_device, std::move(span), const_cast<std::uint8_t *>(source)), std::move(done));
}

void Mover::stop() {
  names_.stop();
  saves_.stop();
  loads_.stop();
}

}  // namespace gcr
