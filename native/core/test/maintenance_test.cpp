// Compaction keeps what is live and removes the rest, or removes nothing; check finds planted damage and lists all of it; a lost index comes
// back from the packs.
#include "core/maintenance.h"

#include <algorithm>
#include <fstream>

#include "core/test/check.h"

namespace gcr::test {
namespace {

Bytes random_chunks(uint64_t seed, size_t chunks) {
  Random random(seed);
  Bytes bytes(chunks * kChunkBytes - 1000);
  for (size_t at = 0; at + 8 <= bytes.size(); at += 64) {
    const uint64_t value = random.next();
    std::memcpy(bytes.data() + at, &value, 8);
  }
  return bytes;
}

Bytes stored(const std::shared_ptr<Backend>& backend, const Bytes& bytes, uint64_t pack_bytes = 2 << 20) {
  StoreWriter writer(backend, {.threads = 2, .pack_bytes = pack_bytes});
  const Bytes names = write(writer, bytes);
  writer.finish();
  return names;
}

std::vector<ChunkName> names_in(const Bytes& names, size_t first = 0, size_t count = SIZE_MAX) {
  std::vector<ChunkName> all;
  for (size_t i = first; i < names.size() / 16 && i - first < count; ++i) {
    std::memcpy(&all.emplace_back(), names.data() + 16 * i, 16);
  }
  return all;
}

uint64_t bytes_of(Backend& backend, const std::string& folder) {
  uint64_t bytes = 0;
  for (const std::string& name : backend.list(folder)) bytes += backend.stat(name)->bytes;
  return bytes;
}

size_t real(const std::vector<Problem>& problems) {
  return static_cast<size_t>(std::count_if(problems.begin(), problems.end(), [](const Problem& p) { return !p.harmless; }));
}

TEST(compaction_keeps_what_is_live) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes kept = random_chunks(1, 200);
    const Bytes dropped = random_chunks(2, 300);
    const Bytes kept_names = stored(backend, kept);
    const Bytes dropped_names = stored(backend, dropped);
    std::vector<ChunkName> live = names_in(kept_names);
    // A few chunks out of every dropped pack, so that packs have to be written anew.
    std::vector<ChunkName> few;
    for (size_t i = 0; i < 299; i += 10) few.push_back(names_in(dropped_names, i, 1).front());
    live.insert(live.end(), few.begin(), few.end());
    live.push_back(ChunkName{});
    live.push_back(live.front());
    std::reverse(live.begin(), live.end());

    const uint64_t before = bytes_of(*backend, "packs");
    const std::vector<std::string> files = backend->list("packs");
    CompactOptions dry;
    dry.dry_run = true;
    const CompactStatistics planned = compact(*backend, live, dry);
    CHECK(backend->list("packs") == files && bytes_of(*backend, "packs") == before);
    CHECK(planned.packs_removed > 0 && planned.bytes_moved >= 30 * kChunkBytes / 2);

    uint64_t last = 0;
    CompactOptions options;
    options.progress = [&](uint64_t done, uint64_t total) {
      CHECK(done > last && done <= total);
      last = done;
    };
    const CompactStatistics statistics = compact(*backend, live, options);
    CHECK(statistics.chunks_live == 200 + few.size());
    CHECK(statistics.packs_removed == planned.packs_removed && statistics.bytes_moved == planned.bytes_moved);
    CHECK(last == statistics.bytes_moved);
    CHECK(bytes_of(*backend, "packs") < before - 250 * kChunkBytes);
    CHECK(backend->list("index").size() == 1);
    CHECK(read(backend, kept_names, kept.size()) == kept);
    for (size_t i = 0; i < 299; i += 10) {
      const Bytes one(dropped_names.begin() + static_cast<long>(16 * i), dropped_names.begin() + static_cast<long>(16 * i + 16));
      const Bytes content = read(backend, one, kChunkBytes);
      CHECK(std::equal(content.begin(), content.end(), dropped.begin() + static_cast<long>(i * kChunkBytes)));
    }
    CHECK(check(*backend, {.read_data = true}).empty());
    CHECK(compact(*backend, live, {}).packs_removed == 0);
    compact(*backend, {}, {});
    CHECK(backend->list("packs").empty() && backend->list("index").empty());
  });
}

TEST(compaction_removes_duplicates_and_leftovers) {
  const TemporaryFolder folder;
  const auto backend = open_directory_backend(folder.path(), true);
  const Bytes bytes = random_chunks(3, 40);
  Bytes names;
  {
    // Two writers at once do not know of each other.
    StoreWriter one(backend, {});
    StoreWriter two(backend, {});
    names = write(one, bytes);
    write(two, bytes);
    one.finish();
    two.finish();
  }
  std::ofstream(folder / (pack_name(5) + ".1.tmp")) << "its writer died";
  const uint64_t before = bytes_of(*backend, "packs");
  CHECK(check(*backend, {}).size() == 1);
  compact(*backend, names_in(names), {});
  CHECK(bytes_of(*backend, "packs") * 2 <= before + 65536);
  CHECK(read(backend, names, bytes.size()) == bytes);
  CHECK(check(*backend, {.read_data = true}).empty());
}

TEST(compaction_removes_nothing_when_a_live_chunk_is_lost_or_damaged) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = random_chunks(4, 100);
    const Bytes names = stored(backend, bytes, 64 << 20);
    std::vector<ChunkName> live = names_in(names, 10, 1);
    const std::vector<std::string> files = backend->list("packs");
    live.push_back(chunk_hash(bytes.data(), 5));
    CHECK_FAILS(damaged, compact(*backend, live, {}));
    CHECK(backend->list("packs") == files);
    live.pop_back();
    Bytes pack;
    for (const std::string& name : files) {
      pack = backend->get(name, 1 << 30);
      for (size_t at = 4096; at + 65536 < pack.size(); at += 65536) pack[at + 8000] ^= 1;
      backend->put(name, pack, PutMode::replace);
    }
    const std::vector<std::string> index = backend->list("index");
    CHECK_FAILS(damaged, compact(*backend, live, {}));
    CHECK(backend->list("packs") == files && backend->list("index") == index);
  });
}

TEST(compaction_keeps_a_pack_whose_table_is_damaged) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = random_chunks(5, 30);
    const Bytes names = stored(backend, bytes, 64 << 20);
    const std::string name = backend->list("packs").front();
    Bytes pack = backend->get(name, 1 << 30);
    pack[pack.size() - 1] ^= 1;
    backend->put(name, pack, PutMode::replace);
    compact(*backend, names_in(names, 3, 2), {});
    CHECK(read(backend, names, bytes.size()) == bytes);
    CHECK(rebuild_index(*backend).chunks == 30);
    CHECK(read(backend, names, bytes.size()) == bytes);
  });
}

TEST(check_lists_all_damage) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = random_chunks(6, 400);
    stored(backend, bytes);
    uint64_t last = 0;
    uint64_t all = 0;
    CheckOptions options;
    options.read_data = true;
    options.progress = [&](uint64_t done, uint64_t total) {
      CHECK(done >= last && done <= total);
      last = done;
      all = total;
    };
    CHECK(check(*backend, options).empty());
    CHECK(last == all && all == bytes_of(*backend, "packs"));

    const std::vector<std::string> packs = backend->list("packs");
    CHECK(packs.size() >= 5);
    const auto change = [&](const std::string& name, auto edit) {
      Bytes content = backend->get(name, 1 << 30);
      edit(content);
      backend->put(name, content, PutMode::replace);
    };
    change(packs[0], [](Bytes& b) { b[4096 + 5] ^= 1, b[4096 + 65536 * 3] ^= 1; });
    change(packs[1], [](Bytes& b) { b[b.size() - 4096 + 8] ^= 1; });
    change(packs[2], [](Bytes& b) { b.resize(8192); });
    backend->remove(packs[3]);
    change(packs[4], [](Bytes& b) { b[0] ^= 1; });
    const auto named = [&](const std::vector<Problem>& problems, const std::string& file) {
      return std::count_if(problems.begin(), problems.end(), [&](const Problem& p) { return p.file == file && !p.harmless; });
    };
    const std::vector<Problem> quick = check(*backend, {});
    CHECK(named(quick, packs[0]) == 0);
    for (size_t i = 1; i < 5; ++i) CHECK(named(quick, packs[i]) >= 1);
    CHECK(named(check(*backend, {.read_data = true}), packs[0]) == 2);
    change(backend->list("index").front(), [](Bytes& b) { b[b.size() - 1] ^= 1; });
    CHECK(named(check(*backend, {}), backend->list("index").front()) == 1);
    const std::atomic<bool> cancelled = true;
    CHECK_FAILS(invalid, check(*backend, {.cancelled = &cancelled}));
  });
}

TEST(a_lost_index_comes_back_from_the_packs) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = random_chunks(7, 150);
    const Bytes names = stored(backend, bytes);
    for (const std::string& name : backend->list("index")) backend->remove(name);
    CHECK(real(check(*backend, {})) == 0 && !check(*backend, {}).empty());
    const RebuildStatistics statistics = rebuild_index(*backend);
    CHECK(statistics.chunks == 150 && statistics.packs == backend->list("packs").size());
    CHECK(read(backend, names, bytes.size()) == bytes);
    CHECK(check(*backend, {.read_data = true}).empty());
    rebuild_index(*backend);
    CHECK(backend->list("index").size() == 1);
  });
}

}  // namespace
}  // namespace gcr::test
