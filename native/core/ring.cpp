// See ring.h. The order of memory accesses: a producer's stores to an event happen before its release of the event's first four
// bytes, which the consumer acquires; the consumer's clearing of the event happens before its release of `consumed`, which a
// producer acquires before it writes there again (directly, or by way of `known_consumed_`). A producer that waits for room and the
// consumer both store before they load, all sequentially consistent, so one of the two sees the other. A consumer that goes to sleep may miss an event whose
// producer did not see it do so; it looks a second time, after longer than any processor keeps a store to itself.
#include "ring.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <new>

namespace gcr {
namespace {

constexpr char magic[8] = "GCRRING";
constexpr std::uint32_t ring_version = 1;
constexpr long poll_interval_ns = 50'000'000;  // how often a waiting producer looks whether the consumer lives

using Word = std::atomic<std::uint32_t>;

Word &first_word(std::uint8_t *event) { return *reinterpret_cast<Word *>(event); }

void futex_wait(Word &word, std::uint32_t value) {
  const timespec interval{0, poll_interval_ns};
  ::syscall(SYS_futex, &word, FUTEX_WAIT, value, &interval, nullptr, 0);
}

void futex_wake_all(Word &word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

bool is_power_of_two(std::uint64_t value) { return value && (value & (value - 1)) == 0; }

}  // namespace

RingMemory::RingMemory(RingMemory &&other) noexcept
    : head_(std::exchange(other.head_, nullptr)), data_bytes_(other.data_bytes_) {}

RingMemory &RingMemory::operator=(RingMemory &&other) noexcept {
  if (this != &other) {
    reset();
    head_ = std::exchange(other.head_, nullptr);
    data_bytes_ = other.data_bytes_;
  }
  return *this;
}

RingMemory::~RingMemory() { reset(); }

void RingMemory::reset() {
  if (head_) ::munmap(head_, ring_head_bytes + data_bytes_);
  head_ = nullptr;
}

int RingMemory::create(std::size_t data_bytes, Descriptor &memory) {
  Descriptor file(::memfd_create("gcr-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return errno;
  const std::size_t size = ring_head_bytes + data_bytes;
  if (::ftruncate(file.get(), static_cast<off_t>(size)) != 0) return errno;
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) return errno;
  // All pages now: on the first round through the ring they would cost producers more than the events.
  void *place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
  if (place == MAP_FAILED) return errno;
  reset();
  head_ = new (place) RingHead{};
  data_bytes_ = data_bytes;
  std::memcpy(head_->magic, magic, sizeof(magic));
  head_->version = ring_version;
  head_->data_bytes = data_bytes;
  memory = std::move(file);
  return 0;
}

std::string RingMemory::open(int memory) {
  struct stat status {};
  if (::fstat(memory, &status) != 0 || !S_ISREG(status.st_mode)) return "it is no memory file";
  const int seals = ::fcntl(memory, F_GET_SEALS);
  if (seals < 0 || (seals & (F_SEAL_GROW | F_SEAL_SHRINK)) != (F_SEAL_GROW | F_SEAL_SHRINK)) return "it is not sealed";
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size < ring_head_bytes + ring_least_bytes || size > ring_head_bytes + ring_most_bytes) return "its size is out of range";
  void *place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (place == MAP_FAILED) return std::string("it cannot be mapped: ") + std::strerror(errno);
  auto *head = static_cast<RingHead *>(place);
  const std::uint64_t data_bytes = size - ring_head_bytes;
  const char *wrong = nullptr;
  if (std::memcmp(head->magic, magic, sizeof(magic)) != 0) wrong = "it does not begin with GCRRING";
  else if (head->version != ring_version) wrong = "its version is another";
  else if (head->data_bytes != data_bytes || !is_power_of_two(data_bytes)) wrong = "its size does not fit its head";
  if (wrong) {
    ::munmap(place, size);
    return wrong;
  }
  reset();
  head_ = head;
  data_bytes_ = data_bytes;
  return "";
}

std::uint8_t *RingWriter::reserve(std::size_t size) {
  RingHead &head = *head_;
  const std::uint64_t mask = data_bytes_ - 1;
  for (;;) {
    if (closed()) return nullptr;
    // An addition, because a compare-and-swap fails and repeats when many threads are at it.
    const std::uint64_t begin = head.reserved.fetch_add(size);
    const std::uint64_t end = begin + size;
    if (end - known_consumed_.load(std::memory_order_acquire) > data_bytes_ && !wait_for_room(end)) return nullptr;
    std::uint8_t *event = data_ + (begin & mask);
    const std::uint64_t to_end = data_bytes_ - (begin & mask);
    if (size <= to_end) {
      // What the consumer cleared is in its processor's caches: it is fetched while the driver works, as much as this event takes, for one of the next.
      const std::uint64_t enough = 448 + std::min<std::uint64_t>(size, 512);
      for (std::uint64_t ahead = 384; ahead < enough; ahead += 64) fetch_for_writing(data_ + ((end + ahead) & mask));
      return event;
    }
    // What crosses the data's end becomes two fillers. They wake the consumer, because we may have to wait for room next.
    fill(event, to_end);
    fill(data_, size - to_end);
  }
}

void RingWriter::fill(std::uint8_t *event, std::size_t size) {
  std::memset(event + 4, 0, ring_unit - 4);
  commit(event, size);
}

bool RingWriter::wait_for_room(std::uint64_t end) {
  RingHead &head = *head_;
  auto has_room = [&] {
    const std::uint64_t consumed = head.consumed.load();
    if (end - consumed > data_bytes_) return false;
    known_consumed_.store(consumed, std::memory_order_release);
    return true;
  };
  if (has_room()) return true;
  for (;;) {
    head.waiting.fetch_add(1);
    if (head.asleep.load()) wake();
    const std::uint32_t seen = head.room_futex.load();
    const bool room = has_room();
    if (!room && !closed()) futex_wait(head.room_futex, seen);
    head.waiting.fetch_sub(1);
    if (room || has_room()) return true;
    if (closed()) return false;
    pollfd life{consumer_, 0, 0};
    if (consumer_ >= 0 && ::poll(&life, 1, 0) > 0 && (life.revents & (POLLHUP | POLLERR | POLLNVAL))) {
      close();
      return false;
    }
  }
}

void RingWriter::commit(std::uint8_t *event, std::size_t size) {
  // That the consumer sleeps may be seen too late here, which spares each event a wait for all that the processor has still to write: it looks again later.
  first_word(event).store(static_cast<std::uint32_t>(size), std::memory_order_release);
  if (head_->asleep.load(std::memory_order_relaxed)) [[unlikely]] wake();
}

void RingWriter::wake() {
  if (!head_->asleep.exchange(0)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof(one));
}

void RingWriter::close() {
  RingHead &head = *head_;
  head.closed.store(1);
  head.room_futex.fetch_add(1);
  futex_wake_all(head.room_futex);
}

std::uint32_t RingReader::next_size() {
  if (!broken_.empty() || !memory_) return 0;
  const std::uint64_t at = consumed_ & (memory_.data_bytes() - 1);
  const std::uint32_t size = first_word(memory_.data() + at).load();
  if (size == 0) return 0;
  // The producers' counter is looked at only when it must have moved on, because looking takes it away from them.
  if (size > known_reserved_ - consumed_) known_reserved_ = memory_.head()->reserved.load();
  if (size % ring_unit) broken_ = "an event's size is no multiple of 16";
  else if (size > memory_.data_bytes() - at) broken_ = "an event goes beyond the end";
  else if (size > known_reserved_ - consumed_) broken_ = "an event is larger than what is reserved";
  return broken_.empty() ? size : 0;
}

void RingReader::give_back(std::size_t size) {
  RingHead &head = *memory_.head();
  std::uint8_t *event = memory_.data() + (consumed_ & (memory_.data_bytes() - 1));
  // All of it is cleared: whatever event comes to lie here next may begin anywhere in it.
  std::memset(event + 4, 0, size - 4);
  first_word(event).store(0, std::memory_order_relaxed);
  consumed_ += size;
  head.consumed.store(consumed_);
}

std::size_t RingReader::drain(std::span<std::uint8_t> to) {
  std::size_t copied = 0;
  bool gave_back = false;
  while (const std::size_t size = next_size()) {
    const std::uint8_t *event = memory_.data() + (consumed_ & (memory_.data_bytes() - 1));
    std::uint16_t type = 0;
    std::memcpy(&type, event + 4, 2);
    if (type != 0) {
      if (size > memory_.data_bytes() / 4) {
        broken_ = "an event is larger than a quarter of the ring";
        break;
      }
      if (size > to.size() - copied) break;
      std::memcpy(to.data() + copied, event, size);
      // The copy's head says what was checked, whatever the memory says by now.
      const auto checked = static_cast<std::uint32_t>(size);
      std::memcpy(to.data() + copied, &checked, 4);
      std::memcpy(to.data() + copied + 4, &type, 2);
      copied += size;
    }
    give_back(size);
    gave_back = true;
  }
  RingHead *head = memory_.head();
  if (gave_back && head->waiting.load()) {
    head->room_futex.fetch_add(1);
    futex_wake_all(head->room_futex);
  }
  return copied;
}

std::size_t RingReader::needs() {
  while (const std::size_t size = next_size()) {
    std::uint16_t type = 0;
    std::memcpy(&type, memory_.data() + (consumed_ & (memory_.data_bytes() - 1)) + 4, 2);
    if (type != 0) return size;
    give_back(size);
  }
  return 0;
}

bool RingReader::prepare_sleep() {
  if (!memory_) return true;
  memory_.head()->asleep.store(1);
  if (next_size() == 0) return true;
  cancel_sleep();
  return false;
}

RingReader::RingReader(RingMemory &memory, int wake) : memory_(memory), wake_(wake) {
  // The descriptor is another process's: reading it must not block, whatever it is.
  const int flags = ::fcntl(wake_, F_GETFL);
  if (flags >= 0) ::fcntl(wake_, F_SETFL, flags | O_NONBLOCK);
}

void RingReader::cancel_sleep() {
  if (memory_) memory_.head()->asleep.store(0);
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = ::read(wake_, &count, sizeof(count));
}

void RingReader::close() {
  if (!memory_) return;
  RingHead &head = *memory_.head();
  head.closed.store(1);
  head.room_futex.fetch_add(1);
  futex_wake_all(head.room_futex);
}

}  // namespace gcr
