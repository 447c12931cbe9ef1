// The ring: order and content with many producers over many wraps, a full ring, a consumer that dies, a hostile producer.
#include "../ring.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <poll.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "../events.h"
#include "plain_check.h"

using namespace gcr;

namespace {

constexpr std::size_t small_ring = 4096;

Descriptor event_descriptor() { return Descriptor(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void put(RingWriter &writer, std::uint64_t stream, std::uint64_t number, std::size_t content) {
  std::vector<std::uint8_t> bytes(content, static_cast<std::uint8_t>(number));
  LaunchEvent launch;
  launch.function = number;
  launch.parameters = bytes;
  const std::size_t size = event_bytes(launch);
  std::uint8_t *event = writer.reserve(size);
  CHECK(event);
  encode_event(launch, stream, 0, event, size);
  writer.commit(event, size);
}

// Every producer's events come whole and in its order; the consumer sleeps whenever nothing is there.
void many_producers() {
  RingMemory memory;
  Descriptor file;
  CHECK(memory.create(small_ring, file) == 0);
  Descriptor wake = event_descriptor();
  RingWriter writer(memory, wake.get(), -1);
  constexpr unsigned producers = 6, events = 3000;
  std::vector<std::thread> threads;
  for (unsigned p = 0; p < producers; ++p)
    threads.emplace_back([&writer, p] {
      std::mt19937 random(p);
      for (unsigned i = 0; i < events; ++i) put(writer, p, i, random() % 900);
    });
  RingReader reader(memory, wake.get());
  std::vector<std::uint8_t> buffer(small_ring);
  std::uint64_t next[producers] = {};
  unsigned seen = 0;
  while (seen < producers * events) {
    const std::size_t size = reader.drain(buffer);
    CHECK(reader.broken().empty());
    if (size == 0) {
      if (!reader.prepare_sleep()) continue;
      pollfd waking{wake.get(), POLLIN, 0};
      // An event may come without a wake just now; some milliseconds later it is there to be seen, and from then on all wake.
      if (::poll(&waking, 1, 10) == 0 && reader.needs() == 0) CHECK(::poll(&waking, 1, 60000) == 1);
      reader.cancel_sleep();
      continue;
    }
    for (std::size_t at = 0; at < size;) {
      const auto event = event_at(Bytes(buffer).subspan(at, size - at));
      CHECK(event);
      const auto launch = decode_event<LaunchEvent>(*event);
      CHECK(launch && event->stream < producers && launch->function == next[event->stream]++);
      for (std::uint8_t byte : launch->parameters) CHECK(byte == static_cast<std::uint8_t>(launch->function));
      at += event->size;
      ++seen;
    }
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(reader.drain(buffer) == 0 && reader.position() == writer.position());
}

// Producers that wait for room go on when the consumer closes, and get nothing afterwards.
void consumer_closes() {
  RingMemory memory;
  Descriptor file;
  CHECK(memory.create(small_ring, file) == 0);
  Descriptor wake = event_descriptor();
  RingWriter writer(memory, wake.get(), -1);
  std::vector<std::thread> threads;
  for (int p = 0; p < 4; ++p)
    threads.emplace_back([&writer] {
      while (std::uint8_t *event = writer.reserve(64)) {
        std::memset(event + 4, 1, 60);
        writer.commit(event, 64);
      }
    });
  while (memory.head()->waiting.load() < 4) std::this_thread::yield();
  RingReader(memory, wake.get()).close();
  for (std::thread &thread : threads) thread.join();
  CHECK(writer.reserve(16) == nullptr);
}

// A consumer that is killed closes nothing; its end of the socket hangs up, and that is enough.
void consumer_dies() {
  RingMemory memory;
  Descriptor file;
  CHECK(memory.create(small_ring, file) == 0);
  Descriptor wake = event_descriptor();
  int ends[2];
  CHECK(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Descriptor ours(ends[0]), theirs(ends[1]);
  const pid_t consumer = ::fork();
  CHECK(consumer >= 0);
  if (consumer == 0) {
    ours.reset();
    for (;;) ::pause();
  }
  theirs.reset();
  RingWriter writer(memory, wake.get(), ours.get());
  std::thread producer([&writer] {
    while (std::uint8_t *event = writer.reserve(128)) writer.commit(event, 128);
  });
  while (memory.head()->waiting.load() == 0) std::this_thread::yield();
  CHECK(!writer.closed());
  ::kill(consumer, SIGKILL);
  producer.join();
  CHECK(writer.closed());
  ::waitpid(consumer, nullptr, 0);
}

// A producer that is killed in the middle of an event leaves everything before it to be read, and the reader sound.
void producer_dies() {
  RingMemory memory;
  Descriptor file;
  CHECK(memory.create(small_ring, file) == 0);
  Descriptor wake = event_descriptor();
  const pid_t producer = ::fork();
  CHECK(producer >= 0);
  if (producer == 0) {
    RingWriter writer(memory, wake.get(), -1);
    put(writer, 0, 1, 10);
    put(writer, 0, 2, 10);
    std::memset(writer.reserve(64) + 4, 7, 60);
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(producer, nullptr, 0);
  RingReader reader(memory, wake.get());
  std::vector<std::uint8_t> buffer(small_ring);
  const std::size_t size = reader.drain(buffer);
  const auto first = event_at(Bytes(buffer).first(size));
  CHECK(first && decode_event<LaunchEvent>(*first)->function == 1 && size == 2 * first->size);
  CHECK(reader.drain(buffer) == 0 && reader.broken().empty() && reader.position() < memory.head()->reserved.load());
}

// Whatever stands in the memory, the reader ends and stays inside; most of it is called broken.
void hostile_producer() {
  std::mt19937 random(1);
  unsigned broken = 0;
  for (int round = 0; round < 3000; ++round) {
    RingMemory memory;
    Descriptor file;
    CHECK(memory.create(small_ring, file) == 0);
    Descriptor wake = event_descriptor();
    for (std::size_t i = 0; i < small_ring; i += 16) {
      const std::uint32_t sizes[] = {16, 32, 48, 1024, 0, 15, 0xfffffff0, 4096, 2048, static_cast<std::uint32_t>(random())};
      const std::uint32_t size = sizes[random() % 10];
      std::memcpy(memory.data() + i, &size, 4);
      memory.data()[i + 4] = static_cast<std::uint8_t>(random() % 3);
    }
    memory.head()->reserved.store(random() % 2 ? random() % 10000 : ~std::uint64_t{0} - random());
    memory.head()->consumed.store(random());
    RingReader reader(memory, wake.get());
    std::vector<std::uint8_t> buffer(random() % 2 ? 1024 : 3000);
    std::size_t total = 0;
    while (const std::size_t size = reader.drain(buffer)) {
      CHECK(size <= buffer.size());
      for (std::size_t at = 0; at < size;) {
        std::uint32_t event = 0;
        std::memcpy(&event, buffer.data() + at, 4);
        CHECK(event >= 16 && event % 16 == 0 && event <= size - at);
        at += event;
      }
      total += size;
    }
    CHECK(total <= small_ring);
    broken += !reader.broken().empty();
  }
  CHECK(broken > 1000);
}

void hostile_file() {
  RingMemory good, memory;
  Descriptor file;
  CHECK(good.create(small_ring, file) == 0);
  CHECK(memory.open(file.get()).empty() && memory.data_bytes() == small_ring);
  good.head()->data_bytes = 1 << 30;
  CHECK(!RingMemory().open(file.get()).empty());
  good.head()->data_bytes = small_ring;
  good.head()->version = 2;
  CHECK(!RingMemory().open(file.get()).empty());
  Descriptor unsealed(::memfd_create("x", MFD_CLOEXEC));
  CHECK(::ftruncate(unsealed.get(), 4096 + small_ring) == 0);
  CHECK(!RingMemory().open(unsealed.get()).empty());
  Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  CHECK(!RingMemory().open(null.get()).empty() && !RingMemory().open(-1).empty());
}

}  // namespace

int main() {
  many_producers();
  consumer_closes();
  consumer_dies();
  producer_dies();
  hostile_producer();
  hostile_file();
}
