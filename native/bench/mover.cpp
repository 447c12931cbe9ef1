// What the data path reaches beside plain pinned copies: mover [GIB [DRIVER]]. Saves and loads of all of GIB (24) GiB of device memory, also of
// memory just made, and of scattered chunks, names, and the making of host memory. Prints one JSON object; rates are in 10^9 bytes a second of
// memory moved, medians of five runs after one that does not count; shares are of the pinned rate of the same run. Content is checked on the
// way; a difference ends it with 1.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "mover/mover.h"

using namespace gcr;

namespace {

constexpr std::size_t gib = std::size_t{1} << 30;
constexpr int runs = 5;

double seconds_of(const std::function<void()> &run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median_seconds(const std::function<void()> &run) {
  run();
  std::vector<double> times;
  for (int i = 0; i < runs; ++i) times.push_back(seconds_of(run));
  std::sort(times.begin(), times.end());
  return times[runs / 2];
}

void wait_for(const std::function<void(Lane::Done)> &start) {
  std::promise<void> ended;
  start([&](std::exception_ptr error) {
    if (error) ended.set_exception(error);
    else ended.set_value();
  });
  ended.get_future().get();
}

void on_all_cores(std::size_t count, const std::function<void(std::size_t)> &each) {
  const std::size_t cores = std::thread::hardware_concurrency();
  std::vector<std::thread> threads;
  for (std::size_t core = 0; core < cores; ++core)
    threads.emplace_back([&, core] {
      for (std::size_t i = core; i < count; i += cores) each(i);
    });
  for (std::thread &thread : threads) thread.join();
}

class Bench {
 public:
  Bench(const char *driver, std::size_t size) : size_(size), chunks_(size / kChunkBytes) {
    Driver found(driver);
    found.check(found.cuInit(0), "cuInit");
    Uuid uuid{};
    found.check(found.cuDeviceGetUuid(&uuid, 0), "cuDeviceGetUuid");
    device_ = OpenDevice::open(driver, uuid.bytes, sizeof uuid.bytes);
    char name[128] = {};
    found.cuDeviceGetName(name, sizeof name - 1, 0);
    std::printf("{\"device\": \"%s\", \"bytes\": %zu", name, size);
    figure("kernels_compiled_s", seconds_of([&] { mover_ = std::make_unique<Mover>(device_, true); }));
  }

  void make_memory() {
    for (std::size_t at = 0; at < size_; at += memory_bytes) memories_.push_back(MappedMemory::create(device_, memory_bytes));
    figure("arena_first_s", seconds_of([&] { make_arena(); }));
    arena_.reset();
    // The machine's own memory is there now.
    figure("arena_again_s", seconds_of([&] { make_arena(); }));
    std::printf(", \"arena_pinned\": %s", arena_->is_pinned() ? "true" : "false");
  }

  void pinned() {
    const Driver &driver = device_->driver();
    device_->make_current();
    const PinnedBuffer host(device_, gib);
    const DevicePointer memory = memories_.front()->address();
    const std::size_t piece = std::min(gib, memory_bytes);
    Stream stream;
    driver.check(driver.cuStreamCreate(&stream, 1), "cuStreamCreate");
    to_host_ = gib / median_seconds([&] {
      for (std::size_t at = 0; at < gib; at += piece)
        driver.check(driver.cuMemcpyDtoHAsync(host.data() + at, memory, piece, stream), "cuMemcpyDtoHAsync");
      driver.check(driver.cuStreamSynchronize(stream), "cuStreamSynchronize");
    });
    to_device_ = gib / median_seconds([&] {
      for (std::size_t at = 0; at < gib; at += piece)
        driver.check(driver.cuMemcpyHtoDAsync(memory, host.data() + at, piece, stream), "cuMemcpyHtoDAsync");
      driver.check(driver.cuStreamSynchronize(stream), "cuStreamSynchronize");
    });
    driver.cuStreamDestroy(stream);
    figure("pinned_to_host", to_host_ / 1e9);
    figure("pinned_to_device", to_device_ / 1e9);
  }

  // Every slot gets its own content, which names then stand for.
  void fill() {
    on_all_cores(chunks_, [&](std::size_t slot) { write_slot(slot, slot); });
    std::vector<std::size_t> all(chunks_);
    std::vector<std::uint32_t> slots(chunks_);
    for (std::size_t i = 0; i < chunks_; ++i) all[i] = i, slots[i] = static_cast<std::uint32_t>(i);
    wait_for([&](Lane::Done done) { mover_->load(spans_of(all), arena_, slots, std::move(done)); });
    content_.resize(chunks_);
    on_all_cores(chunks_, [&](std::size_t slot) { content_[slot] = chunk_name(arena_->slot(slot), kChunkBytes); });
    check_names();
  }

  // Chunks to and from slots. Loads bring back what the save before took, so that the memory's content stays.
  void moved(const char *what, const std::vector<std::size_t> &chunks, const std::vector<std::uint32_t> &slots) {
    const double bytes = static_cast<double>(chunks.size() * kChunkBytes);
    const Spans spans = spans_of(chunks);
    const double save = bytes / median_seconds([&] { wait_for([&](Lane::Done done) { mover_->save(spans, arena_, slots, std::move(done)); }); });
    on_all_cores(chunks.size(), [&](std::size_t i) {
      if (i % 37 == 0 && chunk_name(arena_->slot(slots[i]), kChunkBytes) != content_[chunks[i]]) differs(what);
    });
    const double load = bytes / median_seconds([&] { wait_for([&](Lane::Done done) { mover_->load(spans, arena_, slots, std::move(done)); }); });
    check_names();
    std::printf(", \"%s\": {\"bytes\": %.0f, \"save\": %.2f, \"save_share\": %.3f, \"load\": %.2f, \"load_share\": %.3f}", what, bytes, save / 1e9,
                save / to_host_, load / 1e9, load / to_device_);
    std::fflush(stdout);
  }

  // Into memory that was just made, as after a suspension: what was let go a moment before is cleared by the driver while we copy already.
  void fresh() {
    std::vector<std::size_t> all(chunks_);
    std::vector<std::uint32_t> slots(chunks_);
    for (std::size_t i = 0; i < chunks_; ++i) all[i] = i, slots[i] = static_cast<std::uint32_t>(i);
    std::vector<double> makes, loads;
    for (int run = 0; run < runs; ++run) {
      memories_.clear();
      makes.push_back(seconds_of([&] {
        for (std::size_t at = 0; at < size_; at += memory_bytes) memories_.push_back(MappedMemory::create(device_, memory_bytes));
      }));
      const Spans spans = spans_of(all);
      loads.push_back(seconds_of([&] { wait_for([&](Lane::Done done) { mover_->load(spans, arena_, slots, std::move(done)); }); }));
    }
    check_names();
    std::sort(makes.begin(), makes.end());
    std::sort(loads.begin(), loads.end());
    const double load = static_cast<double>(size_) / loads[runs / 2];
    std::printf(", \"new_memory\": {\"made_ms\": %.1f, \"load\": %.2f, \"load_share\": %.3f}", makes[runs / 2] * 1e3, load / 1e9, load / to_device_);
    std::fflush(stdout);
  }

  // `span` bytes each.
  void named(const char *what, std::size_t bytes, std::size_t span) {
    Spans spans{{}, {memories_.begin(), memories_.end()}};
    for (std::size_t at = 0; at < bytes; at += span)
      spans.list.push_back({memories_[at / memory_bytes]->address() + at % memory_bytes, std::min(span, bytes - at)});
    std::vector<ChunkName> names(chunks_of(spans.list));
    const double time = median_seconds([&] { wait_for([&](Lane::Done done) { mover_->names(spans, names.data(), std::move(done)); }); });
    std::printf(", \"%s\": {\"bytes\": %zu, \"spans\": %zu, \"ms\": %.3f, \"rate\": %.1f}", what, bytes, spans.list.size(), time * 1e3,
                static_cast<double>(bytes) / time / 1e9);
    std::fflush(stdout);
  }

  // What scattered copies take from others: names of everything, alone and meanwhile.
  void beside(const std::vector<std::size_t> &chunks, const std::vector<std::uint32_t> &slots) {
    std::vector<ChunkName> names(chunks_);
    Spans whole{{}, {memories_.begin(), memories_.end()}};
    for (const auto &memory : memories_) whole.list.push_back({memory->address(), memory_bytes});
    const Spans scattered = spans_of(chunks);
    const auto name = [&] { wait_for([&](Lane::Done done) { mover_->names(whole, names.data(), std::move(done)); }); };
    for (const bool saving : {true, false}) {
      std::promise<void> ended;
      const auto done = [&](std::exception_ptr) { ended.set_value(); };
      if (saving) mover_->save(scattered, arena_, slots, done);
      else mover_->load(scattered, arena_, slots, done);
      figure(saving ? "names_beside_a_scattered_save_ms" : "names_beside_a_scattered_load_ms", 1e3 * median_seconds(name));
      ended.get_future().get();
    }
  }

  std::size_t chunks() const { return chunks_; }

 private:
  static constexpr std::size_t memory_bytes = gib / 2;

  static void figure(const char *what, double value) {
    std::printf(", \"%s\": %.3f", what, value);
    std::fflush(stdout);
  }

  [[noreturn]] static void differs(const char *what) {
    std::printf("\n%s: other bytes than before\n", what);
    std::fflush(stdout);
    std::_Exit(1);
  }

  void write_slot(std::size_t slot, std::uint64_t content) const {
    auto *words = reinterpret_cast<std::uint64_t *>(arena_->slot(slot));
    std::uint64_t state = content * 0x9e3779b97f4a7c15 + 1;
    for (std::size_t i = 0; i < kChunkBytes / 8; ++i) words[i] = state = state * 6364136223846793005 + 1442695040888963407;
  }

  void make_arena() {
    const std::atomic<bool> stop = false;
    arena_ = std::make_shared<HostArena>();
    arena_->grow(size_ / HostArena::segment_bytes, device_, [](std::uint64_t, std::uint64_t) {}, stop);
  }

  Spans spans_of(const std::vector<std::size_t> &chunks) const {
    Spans spans{{}, {memories_.begin(), memories_.end()}};
    constexpr std::size_t in_one = memory_bytes / kChunkBytes;
    for (std::size_t i = 0; i < chunks.size();) {
      std::size_t count = 1;
      while (i + count < chunks.size() && chunks[i + count] == chunks[i] + count && chunks[i + count] % in_one != 0) ++count;
      spans.list.push_back({memories_[chunks[i] / in_one]->address() + chunks[i] % in_one * kChunkBytes, count * kChunkBytes});
      i += count;
    }
    return spans;
  }

  void check_names() {
    std::vector<std::size_t> all(chunks_);
    for (std::size_t i = 0; i < chunks_; ++i) all[i] = i;
    std::vector<ChunkName> names(chunks_);
    wait_for([&](Lane::Done done) { mover_->names(spans_of(all), names.data(), std::move(done)); });
    if (names != content_) differs("names");
  }

  std::size_t size_, chunks_;
  std::shared_ptr<const OpenDevice> device_;
  std::unique_ptr<Mover> mover_;
  std::vector<std::shared_ptr<const MappedMemory>> memories_;
  std::shared_ptr<HostArena> arena_;
  std::vector<ChunkName> content_;
  double to_host_ = 1, to_device_ = 1;
};

}  // namespace

int main(int count, char **arguments) {
  const std::size_t size = (count > 1 ? std::strtoul(arguments[1], nullptr, 10) : 24) * gib;
  try {
    Bench bench(count > 2 ? arguments[2] : "libcuda.so.1", size);
    bench.make_memory();
    bench.pinned();
    bench.fill();
    bench.fresh();
    const auto every = [&](std::size_t step) {
      std::vector<std::size_t> chunks;
      for (std::size_t chunk = 0; chunk < bench.chunks(); chunk += step) chunks.push_back(chunk);
      return chunks;
    };
    const auto in_order = [](std::size_t slots) {
      std::vector<std::uint32_t> all(slots);
      for (std::size_t i = 0; i < slots; ++i) all[i] = static_cast<std::uint32_t>(i);
      return all;
    };
    for (const auto &[name, step] : {std::pair{"all", 1}, {"every_100th", 100}, {"every_20th", 20}, {"every_second", 2}}) {
      const std::vector<std::size_t> chunks = every(static_cast<std::size_t>(step));
      bench.moved(name, chunks, in_order(chunks.size()));
    }
    // Chunks and slots at random, and runs of 32 chunks among single ones.
    std::mt19937 random(1);
    std::vector<std::size_t> chunks = every(1);
    std::shuffle(chunks.begin(), chunks.end(), random);
    chunks.resize(bench.chunks() / 20);
    std::vector<std::uint32_t> slots = in_order(bench.chunks());
    std::shuffle(slots.begin(), slots.end(), random);
    slots.resize(chunks.size());
    bench.moved("random_20th_to_random_slots", chunks, slots);
    chunks.clear();
    for (std::size_t chunk = 0; chunk + 200 < bench.chunks(); chunk += 200) {
      for (std::size_t i = 0; i < 32; ++i) chunks.push_back(chunk + i);
      for (std::size_t i = 0; i < 8; ++i) chunks.push_back(chunk + 50 + 10 * i);
    }
    bench.moved("runs_of_2_mib_and_single_ones", chunks, in_order(chunks.size()));
    bench.beside(every(2), in_order(bench.chunks() / 2));
    bench.named("names", size, std::size_t{1} << 29);
    bench.named("names_of_spans_of_4_mib", size, std::size_t{4} << 20);
    bench.named("names_of_spans_of_128_kib", size, std::size_t{128} << 10);
    bench.named("names_of_3_gib", std::min(size, 3 * gib), std::size_t{4} << 20);
    bench.named("names_of_one_chunk", kChunkBytes, kChunkBytes);
  } catch (const std::exception &error) {
    std::printf("\n%s\n", error.what());
    return 1;
  }
  std::printf("}\n");
  return 0;
}
