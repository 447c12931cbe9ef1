// The data path over a driver that does everything as late as it may: contents, turns, failures, and that nothing is left behind.
#include <cerrno>
#include <cstring>
#include <future>
#include <numeric>
#include <random>
#include <thread>

#include <unistd.h>

#include "core/test/check.h"
#include "fake_driver.h"
#include "mover/mover.h"

namespace gcr::test {
namespace {

using Slots = std::vector<std::uint32_t>;
const std::atomic<bool> never = false;

// A device with some memory, and an arena.
struct Place {
  static constexpr std::size_t memory_bytes = std::size_t{48} << 20;

  explicit Place(bool kernels = true, std::size_t segments = 4) : mover(std::make_unique<Mover>(device, kernels)) {
    for (int i = 0; i < 2; ++i) {
      memories.push_back(MappedMemory::create(device, memory_bytes));
      fill(at(i), i);
    }
    arena->grow(segments, device, [](std::uint64_t, std::uint64_t) {}, never);
  }

  std::uint8_t *at(std::size_t memory) const { return reinterpret_cast<std::uint8_t *>(memories[memory]->address()); }
  static void fill(std::uint8_t *bytes, std::uint64_t seed) {
    Random random(seed + 1);
    for (std::size_t at = 0; at < memory_bytes; at += 8) {
      const std::uint64_t word = random.next();
      std::memcpy(bytes + at, &word, 8);
    }
  }
  Spans all(std::vector<Span> list) const { return {std::move(list), {memories.begin(), memories.end()}}; }
  Spans whole() const { return all({{memories[0]->address(), memory_bytes}, {memories[1]->address(), memory_bytes}}); }

  std::shared_ptr<const OpenDevice> device = std::make_shared<OpenDevice>(FakeDriver::driver(), 0);
  std::unique_ptr<Mover> mover;
  std::vector<std::shared_ptr<const MappedMemory>> memories;
  std::shared_ptr<HostArena> arena = std::make_shared<HostArena>();
};

Slots from(std::uint32_t first, std::size_t count) {
  Slots slots(count);
  std::iota(slots.begin(), slots.end(), first);
  return slots;
}

// Its error's text; empty when there is none.
std::future<std::string> started(const std::function<void(Lane::Done)> &start) {
  auto promise = std::make_shared<std::promise<std::string>>();
  std::future<std::string> future = promise->get_future();
  start([promise](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
      promise->set_value("");
    } catch (const std::exception &failure) {
      promise->set_value(failure.what());
    }
  });
  return future;
}

std::future<std::string> save(Place &place, const Spans &spans, const Slots &slots) {
  return started([&](Lane::Done done) { place.mover->save(spans, place.arena, slots, std::move(done)); });
}
std::future<std::string> load(Place &place, const Spans &spans, const Slots &slots) {
  return started([&](Lane::Done done) { place.mover->load(spans, place.arena, slots, std::move(done)); });
}

// Chunk by chunk.
template <class Each>
void each_chunk(const Spans &spans, Each each) {
  std::size_t i = 0;
  for (const Span &span : spans.list)
    for (std::uint64_t at = 0; at < span.bytes; at += kChunkBytes)
      each(reinterpret_cast<std::uint8_t *>(span.address + at), std::min<std::size_t>(kChunkBytes, span.bytes - at), i++);
}

// Spans of all kinds and slots in runs, singly, in any order.
std::pair<Spans, Slots> random_move(const Place &place, Random &random) {
  Spans spans = place.all({});
  Slots slots, free = from(0, place.arena->slots());
  std::shuffle(free.begin(), free.end(), std::mt19937(static_cast<unsigned>(random.next())));
  for (std::size_t memory = 0; memory < 2; ++memory) {
    std::size_t at = 16 * random.below(10000);
    while (at < Place::memory_bytes) {
      const std::size_t wanted = random.below(3) ? (1 + random.below(3)) * kChunkBytes : 1 + random.below(40 * kChunkBytes);
      const std::size_t bytes = std::min(wanted, Place::memory_bytes - at);
      spans.list.push_back({place.memories[memory]->address() + at, bytes});
      at = round_up(at + bytes + random.below(30) * kChunkBytes, 16);
    }
  }
  const bool runs = random.below(2);
  const std::uint64_t chunks = chunks_of(spans.list);
  const auto first = static_cast<std::uint32_t>(random.below(place.arena->slots() - chunks + 1));
  for (std::uint32_t i = 0; i < chunks; ++i) slots.push_back(runs ? first + i : free[i]);
  return {spans, slots};
}

void check_there_and_back(Place &place, Random &random) {
  const auto [spans, slots] = random_move(place, random);
  CHECK(save(place, spans, slots).get().empty());
  std::size_t wrong = 0;
  each_chunk(spans, [&](std::uint8_t *bytes, std::size_t length, std::size_t i) {
    wrong += std::memcmp(place.arena->slot(slots[i]), bytes, length) != 0;
    place.arena->slot(slots[i])[0] ^= 0xff;
    place.arena->slot(slots[i])[length - 1] ^= 0x55;
  });
  CHECK(wrong == 0);
  Bytes expected[2];
  for (std::size_t memory = 0; memory < 2; ++memory) expected[memory].assign(place.at(memory), place.at(memory) + Place::memory_bytes);
  each_chunk(spans, [&](std::uint8_t *bytes, std::size_t length, std::size_t i) {
    const std::size_t memory = bytes >= place.at(1) && bytes < place.at(1) + Place::memory_bytes;
    std::memcpy(expected[memory].data() + (bytes - place.at(memory)), place.arena->slot(slots[i]), length);
  });
  CHECK(load(place, spans, slots).get().empty());
  for (std::size_t memory = 0; memory < 2; ++memory) CHECK(std::memcmp(place.at(memory), expected[memory].data(), Place::memory_bytes) == 0);
  std::vector<ChunkName> names(slots.size());
  CHECK(started([&](Lane::Done done) { place.mover->names(spans, names.data(), std::move(done)); }).get().empty());
  each_chunk(spans, [&](std::uint8_t *bytes, std::size_t length, std::size_t i) { wrong += names[i] != chunk_name(bytes, length); });
  CHECK(wrong == 0);
}

TEST(chunks_go_to_their_slots_and_back) {
  Place place;
  Random random(7);
  for (int i = 0; i < 8; ++i) check_there_and_back(place, random);
  CHECK(FakeDriver::calls("cuLaunchKernelEx") > 0);
}

TEST(chunks_move_without_kernels_and_without_pinned_memory) {
  Random random(8);
  Place plain(false);
  check_there_and_back(plain, random);
  FakeDriver::fail("cuMemHostRegister", 1, result::out_of_memory);
  Place refused;
  CHECK(!refused.arena->is_pinned() && refused.arena->refusal() == "cuMemHostRegister: CUDA_ERROR_SOMETHING");
  check_there_and_back(refused, random);
  FakeDriver::fail("cuMemHostGetDevicePointer", 0, result::not_supported);
  Place unreached;
  check_there_and_back(unreached, random);
}

TEST(names_of_very_many_spans_are_in_order) {
  for (const bool kernels : {true, false}) {
    Place place(kernels);
    Random random(5);
    Spans spans = place.all({});
    for (int i = 0; i < 20000; ++i) {
      const std::size_t bytes = 1 + random.below(100), at = 16 * random.below(Place::memory_bytes / 16 - 100);
      spans.list.push_back({place.memories[i % 2]->address() + at, bytes});
    }
    std::vector<ChunkName> names(spans.list.size());
    CHECK(started([&](Lane::Done done) { place.mover->names(spans, names.data(), std::move(done)); }).get().empty());
    std::size_t wrong = 0;
    each_chunk(spans, [&](std::uint8_t *bytes, std::size_t length, std::size_t i) { wrong += names[i] != chunk_name(bytes, length); });
    CHECK(wrong == 0);
  }
}

TEST(a_plan_keeps_runs_together) {
  Place place;
  const DevicePointer base = place.memories[0]->address();
  const std::size_t mib = std::size_t{1} << 20;
  // Two runs of 16 chunks with a single one between them, then a short chunk that ends a run, then one across two segments.
  const std::vector<Span> spans = {{base, 33 * kChunkBytes}, {base + 4 * mib, 17 * kChunkBytes - 5}, {base + 8 * mib, 40 * kChunkBytes}};
  Slots slots = from(100, 16);
  slots.push_back(7);
  for (const auto &[first, count] : {std::pair{200u, 16u}, {300u, 17u}, {1004u, 40u}})
    for (const std::uint32_t slot : from(first, count)) slots.push_back(slot);
  const MovePlan plan = plan_move(spans, *place.arena, slots, mib, 2 * mib);
  const auto is = [&](std::size_t i, DevicePointer device, std::uint32_t slot, std::size_t bytes) {
    return plan.direct[i].device == device && plan.direct[i].host == place.arena->slot(slot) && plan.direct[i].bytes == bytes;
  };
  CHECK(plan.direct.size() == 5 && plan.scattered.size() == 1);
  CHECK(is(0, base, 100, mib) && is(1, base + 17 * kChunkBytes, 200, mib) && is(2, base + 4 * mib, 300, 17 * kChunkBytes - 5));
  CHECK(is(3, base + 8 * mib, 1004, 20 * kChunkBytes) && is(4, base + 8 * mib + 20 * kChunkBytes, 1024, 20 * kChunkBytes));
  CHECK(plan.scattered[0].address == base + 16 * kChunkBytes && plan.scattered[0].index == 7 && plan.scattered[0].length == kChunkBytes);
}

TEST(a_small_operation_does_not_wait_for_a_large_one) {
  Place place;
  // Many pieces, of which one is as good as another, and one.
  Spans large = place.all({});
  Slots slots;
  for (std::uint32_t i = 0; i < 30; ++i) {
    large.list.push_back(place.whole().list[0]);
    for (const std::uint32_t slot : from(i % 2 * 768, 768)) slots.push_back(slot);
  }
  std::atomic<int> ended = 0;
  int large_was = 0, small_was = 0;
  const auto both = std::make_shared<std::promise<void>>();
  const auto told = [&, both](int &was) {
    return [&, both](std::exception_ptr error) {
      CHECK(!error);
      was = ++ended;
      if (was == 2) both->set_value();
    };
  };
  place.mover->save(large, place.arena, slots, told(large_was));
  place.mover->save(place.all({{place.memories[1]->address(), kChunkBytes}}), place.arena, {4000}, told(small_was));
  both->get_future().get();
  CHECK(small_was == 1 && large_was == 2);
}

TEST(a_failed_call_is_told_and_harms_nothing_else) {
  for (const char *call : {"cuMemcpyDtoHAsync", "cuEventRecord", "cuEventSynchronize", "cuLaunchKernelEx"}) {
    Place place;
    Spans spans = place.whole();
    spans.list.push_back({place.memories[0]->address(), kChunkBytes});  // goes singly
    Slots slots = from(0, 2 * Place::memory_bytes / kChunkBytes);
    slots.push_back(3000);
    CHECK(save(place, spans, slots).get().empty());
    FakeDriver::fail(call, call == std::string("cuLaunchKernelEx") ? 0 : 1, result::out_of_memory);
    const auto failing = save(place, spans, slots).get();
    CHECK(failing == std::string(call) + ": CUDA_ERROR_SOMETHING");
    CHECK(save(place, spans, slots).get().empty());
    CHECK(std::memcmp(place.arena->slot(0), place.at(0), Place::memory_bytes) == 0);
  }
}

TEST(a_device_that_has_no_room_for_now_is_tried_again) {
  Place place;
  FakeDriver::fail("cuEventCreate", 2, result::out_of_memory);
  const Spans one = place.all({{place.memories[0]->address(), kChunkBytes}});
  CHECK(save(place, one, {0}).get() == "cuEventCreate: CUDA_ERROR_SOMETHING");
  CHECK(save(place, one, {0}).get().empty());
}

TEST(a_dead_context_is_told_of_to_all) {
  {
    Place place;
    std::vector<ChunkName> names(Place::memory_bytes / kChunkBytes * 2);
    CHECK(save(place, place.whole(), from(0, names.size())).get().empty());
    FakeDriver::set_sticky(700);
    auto first = save(place, place.whole(), from(0, names.size())), second = save(place, place.whole(), from(0, names.size()));
    auto name = started([&](Lane::Done done) { place.mover->names(place.whole(), names.data(), std::move(done)); });
    CHECK(first.get().find("CUDA_ERROR_ILLEGAL_ADDRESS") != std::string::npos);
    CHECK(second.get().find("CUDA_ERROR_ILLEGAL_ADDRESS") != std::string::npos);
    CHECK(name.get().find("CUDA_ERROR_ILLEGAL_ADDRESS") != std::string::npos);
    CHECK(save(place, place.whole(), from(0, names.size())).get() ==
          "the device cannot be used by this process any more: CUDA_ERROR_ILLEGAL_ADDRESS");
    FakeDriver::set_sticky(0);
  }
}

TEST(stopping_ends_what_is_under_way) {
  Place place;
  std::vector<std::future<std::string>> all;
  for (int i = 0; i < 20; ++i) all.push_back(save(place, place.whole(), from(0, 2 * Place::memory_bytes / kChunkBytes)));
  place.mover->stop();
  all.push_back(save(place, place.whole(), from(0, 2 * Place::memory_bytes / kChunkBytes)));
  place.mover.reset();
  std::size_t stopped = 0;
  for (auto &each : all) stopped += each.get() == "the device was closed";
  CHECK(stopped >= 1 && all.size() == 21);
}

TEST(an_arena_goes_when_the_last_copy_has_ended) {
  const long before = FakeDriver::pinned();
  Place place;
  CHECK(FakeDriver::pinned() == before + 4);
  auto saved = save(place, place.whole(), from(0, 2 * Place::memory_bytes / kChunkBytes));
  place.arena.reset();
  CHECK(saved.get().empty());
  CHECK(FakeDriver::pinned() == before);
}

TEST(an_arena_that_cannot_grow_stays_as_it_is) {
  Place place(true, 1);
  const auto grow = [&](std::size_t segments, const std::atomic<bool> &stop) {
    try {
      place.arena->grow(segments, place.device, [](std::uint64_t, std::uint64_t) {}, stop);
      return std::string();
    } catch (const DriverError &error) {
      return std::string(error.what());
    }
  };
  CHECK(grow(1 << 15, never).find("host memory: the machine has less") != std::string::npos);
  const std::atomic<bool> at_once = true;
  CHECK(grow(2, at_once) == "making host memory was stopped");
  CHECK(place.arena->slots() == HostArena::segment_slots && place.arena->is_pinned());
  // What was made of it is not there any more.
  int ends[2];
  CHECK(pipe(ends) == 0 && ::write(ends[1], place.arena->data(), 1) == 1);
  CHECK(::write(ends[1], place.arena->slot(HostArena::segment_slots), 1) == -1 && errno == EFAULT);
  close(ends[0]);
  close(ends[1]);
  CHECK(grow(2, never).empty() && place.arena->slots() == 3 * HostArena::segment_slots);
  std::memset(place.arena->slot(0), 1, 3 * HostArena::segment_bytes);
}

TEST(kernels_that_cannot_be_compiled_are_done_without) {
  FakeDriver::fail("cuModuleLoadDataEx", 0, 221);
  Place place;
  CHECK(!place.mover->has_kernels());
  Random random(9);
  check_there_and_back(place, random);
  FakeDriver::fail("cuModuleLoadDataEx", 0, result::out_of_memory);
  try {
    Mover other(place.device, true);
    CHECK(false);
  } catch (const DriverError &error) {
    CHECK(std::string(error.what()) == "cuModuleLoadDataEx: CUDA_ERROR_SOMETHING");
  }
}

TEST(memory_travels_by_descriptor) {
  Place place;
  // What is made in place of memory that was given up is as good as that.
  CHECK(FakeDriver::calls("cuMemCreate") > 0 && FakeDriver::calls("cuMemCreate for the bus") == FakeDriver::calls("cuMemCreate"));
  const int descriptor = place.memories[0]->exported();
  auto other = MappedMemory::import(place.device, descriptor, Place::memory_bytes);
  close(descriptor);
  CHECK(std::memcmp(reinterpret_cast<void *>(other->address()), place.at(0), Place::memory_bytes) == 0);
  // The last to let go may be a thread that never had to do with the device.
  std::thread([last = std::move(other)]() mutable { last.reset(); }).join();
  FakeDriver::fail("cuMemMap", 0, result::out_of_memory);
  try {
    MappedMemory::create(place.device, Place::memory_bytes);
    CHECK(false);
  } catch (const DriverError &error) {
    CHECK(std::string(error.what()) == "cuMemMap: CUDA_ERROR_SOMETHING");
  }
}

TEST(nothing_is_left_behind) { CHECK(FakeDriver::objects() == 0 && FakeDriver::pinned() == 0); }

}  // namespace
}  // namespace gcr::test

int main() { return gcr::test::run_all(); }
