// The ring of docs/formats/runtime-protocol.md: many producers in the application append events, one consumer in the supervisor
// takes them in the order of their reservation. RingMemory is the mapping, RingWriter the producers' end, RingReader the
// consumer's.
//
// Guarantees. Producers: an event that `reserve` gave room for is seen whole or not at all; nobody waits for a consumer that has
// gone (closed flag, or hang-up of the descriptor that tells its life). Consumer: whatever the other process writes into the
// memory, nothing outside of it is read and nothing loops for ever; a ring that breaks the rules is reported as broken.
// Nothing here throws.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

#include "descriptor.h"

namespace gcr {

constexpr std::size_t ring_head_bytes = 4096;
constexpr std::size_t ring_unit = 16;
constexpr std::size_t ring_default_bytes = 4 << 20;
constexpr std::size_t ring_least_bytes = 4096;
constexpr std::size_t ring_most_bytes = std::size_t{1} << 30;

// The head as it lies in the memory.
struct RingHead {
  char magic[8];
  std::uint32_t version;
  std::uint32_t unused0;
  std::uint64_t data_bytes;
  alignas(64) std::atomic<std::uint64_t> reserved;
  alignas(64) std::atomic<std::uint64_t> consumed;
  std::atomic<std::uint32_t> room_futex;
  std::atomic<std::uint32_t> waiting;
  alignas(64) std::atomic<std::uint32_t> asleep;
  std::atomic<std::uint32_t> closed;
};
static_assert(offsetof(RingHead, data_bytes) == 16 && offsetof(RingHead, reserved) == 64);
static_assert(offsetof(RingHead, consumed) == 128 && offsetof(RingHead, room_futex) == 136);
static_assert(offsetof(RingHead, waiting) == 140 && offsetof(RingHead, asleep) == 192 && offsetof(RingHead, closed) == 196);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

class RingMemory {
 public:
  RingMemory() = default;
  RingMemory(RingMemory &&other) noexcept;
  RingMemory &operator=(RingMemory &&other) noexcept;
  ~RingMemory();

  // Makes a ring of `data_bytes` (a power of two) in a sealed memfd. Returns an errno, 0 for success.
  int create(std::size_t data_bytes, Descriptor &memory);

  // Maps a ring that another process made. Empty text for success, else what is wrong with it.
  std::string open(int memory);

  RingHead *head() const { return head_; }
  std::uint8_t *data() const { return reinterpret_cast<std::uint8_t *>(head_) + ring_head_bytes; }
  std::size_t data_bytes() const { return data_bytes_; }
  explicit operator bool() const { return head_ != nullptr; }

 private:
  void reset();
  RingHead *head_ = nullptr;
  std::size_t data_bytes_ = 0;  // as checked when it was mapped; the head's own number is the other process's to change
};

// The compiler's own would fetch for reading, and a write would ask the other processor once more; those that do not know this form ignore it.
inline void fetch_for_writing(const void *place) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char *>(place)));
#else
  __builtin_prefetch(place, 1);
#endif
}

class RingWriter {
 public:
  // `wake` is the eventfd that wakes the consumer; `consumer` a descriptor that hangs up when the consumer has gone, or -1. The memory outlives it.
  RingWriter(const RingMemory &memory, int wake, int consumer)
      : head_(memory.head()), data_(memory.data()), data_bytes_(memory.data_bytes()), wake_(wake), consumer_(consumer) {}

  // Room for an event of `size` bytes (a multiple of ring_unit, at most `largest`); null when the consumer has gone. Whoever gets
  // room must commit it.
  [[gnu::hot]] std::uint8_t *reserve(std::size_t size);
  [[gnu::hot]] void commit(std::uint8_t *event, std::size_t size);

  // Has the processor fetch what `reserve` is going to need, while something else is done.
  void prepare() const {
    fetch_for_writing(&head_->reserved);
    __builtin_prefetch(&head_->asleep);
  }

  std::size_t largest() const { return data_bytes_ / 4; }
  std::uint64_t position() const { return head_->reserved.load(); }
  bool closed() const { return head_->closed.load(std::memory_order_relaxed) != 0; }

  // The consumer has gone: nobody waits any longer, and nothing is taken any more.
  void close();

 private:
  bool wait_for_room(std::uint64_t end);
  void wake();
  void fill(std::uint8_t *event, std::size_t size);

  RingHead *const head_;
  std::uint8_t *const data_;
  const std::size_t data_bytes_;
  std::atomic<std::uint64_t> known_consumed_{0};
  const int wake_, consumer_;
};

class RingReader {
 public:
  RingReader(RingMemory &memory, int wake);
  ~RingReader() { close(); }
  RingReader(const RingReader &) = delete;
  RingReader &operator=(const RingReader &) = delete;

  // Copies consecutive whole events, fillers left out, into `to`, gives their room back, and returns how many bytes were copied. 0: none
  // there, or none that fits (see `needs`). Sets `broken` when the ring breaks the rules; then and afterwards it returns 0.
  std::size_t drain(std::span<std::uint8_t> to);

  // Size of the event that comes next, 0 when none is there.
  std::size_t needs();

  // Announces that the consumer is going to sleep. False when an event has come meanwhile, then it must not sleep. The eventfd
  // becomes readable with the next event; but for one that comes just now, so who sleeps asks once more whether `needs` says anything, some milliseconds later.
  bool prepare_sleep();
  // Takes the eventfd's count, after it woke the consumer or when sleeping is given up.
  void cancel_sleep();

  std::uint64_t position() const { return consumed_; }
  const std::string &broken() const { return broken_; }

  // Tells the producers that nobody reads any more.
  void close();

 private:
  std::uint32_t next_size();
  void give_back(std::size_t size);

  RingMemory &memory_;
  int wake_;
  std::uint64_t consumed_ = 0;
  std::uint64_t known_reserved_ = 0;
  std::string broken_;
};

}  // namespace gcr
