// Pack and index files byte for byte as docs/formats/store.md says, and damage in any byte noticed.
#include <set>

#include "core/index.h"
#include "core/pack.h"
#include "core/test/check.h"

namespace gcr::test {
namespace {

template <class T>
T at(const Bytes& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

std::string text_at(const Bytes& bytes, size_t offset, size_t length) {
  return std::string(reinterpret_cast<const char*>(bytes.data()) + offset, length);
}

NewChunk chunk_of(const Bytes& bytes) {
  return {chunk_hash(bytes.data(), bytes.size()), bytes.data(), static_cast<uint32_t>(bytes.size())};
}

TEST(a_pack_is_as_documented) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    Random random(5);
    const Bytes full = random.bytes(kChunkBytes);
    const Bytes little = random.bytes(5000);
    PackWriter writer(*backend);
    const NewChunk chunks[] = {chunk_of(full), chunk_of(little), chunk_of(full)};
    CHECK(writer.append(std::span(chunks, 2)) == 1);
    CHECK(writer.append(std::span(chunks + 2, 1)) == 19);
    writer.close();
    const Bytes file = backend->get(pack_name(writer.number()), 1 << 20);
    const size_t table = 4096 + 65536 + 8192 + 65536;
    CHECK(file.size() == table + 4096 + 4096);
    CHECK(text_at(file, 0, 8) == std::string("GCRPACK\0", 8));
    CHECK(at<uint32_t>(file, 8) == 1 && at<uint32_t>(file, 12) == 65536 && at<uint64_t>(file, 16) == writer.number());
    CHECK(std::equal(full.begin(), full.end(), file.begin() + 4096));
    CHECK(std::equal(little.begin(), little.end(), file.begin() + 4096 + 65536));
    CHECK(is_all_zero(file.data() + 4096 + 65536 + 5000, 8192 - 5000));
    CHECK(at<ChunkName>(file, table + 32) == chunks[1].name && at<uint32_t>(file, table + 48) == 17 && at<uint32_t>(file, table + 52) == 5000);
    CHECK(is_all_zero(file.data() + table + 96, 4096 - 96));
    const size_t trailer = file.size() - 4096;
    CHECK(text_at(file, trailer, 8) == "GCRPKEND");
    CHECK(at<uint64_t>(file, trailer + 8) == 3 && at<uint64_t>(file, trailer + 16) == table);
    CHECK(at<ChunkName>(file, trailer + 24) == tree_hash(file.data() + table, 96));
    CHECK(at<uint64_t>(file, trailer + 40) == writer.number());
    CHECK(at<ChunkName>(file, trailer + 4080) == chunk_hash(file.data() + trailer, 4080));
    CHECK(read_pack_table(*backend, writer.number()).size() == 3);

    // A file under another pack's name, a cut one, an empty one.
    backend->put(pack_name(1), file, PutMode::create);
    CHECK_FAILS(damaged, read_pack_table(*backend, 1));
    for (const size_t size : {size_t{0}, size_t{100}, size_t{4096}, size_t{8192}, file.size() - 4096, file.size() - 1}) {
      backend->put(pack_name(writer.number()), std::span(file).first(size), PutMode::replace);
      CHECK_FAILS(damaged, read_pack_table(*backend, writer.number()));
    }
    // Any bit of table or trailer.
    for (size_t byte = table; byte < file.size(); byte += byte < table + 96 || byte > file.size() - 20 ? 1 : 37) {
      if (byte >= table + 96 && byte < trailer) continue;
      Bytes changed = file;
      changed[byte] ^= 4;
      backend->put(pack_name(writer.number()), changed, PutMode::replace);
      CHECK_FAILS(damaged, read_pack_table(*backend, writer.number()));
    }
  });
}

TEST(a_pack_table_whose_hash_is_right_may_still_not_lie) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    Random random(9);
    const Bytes one = random.bytes(8000);
    const Bytes two = random.bytes(8000);
    PackWriter writer(*backend);
    const NewChunk chunks[] = {chunk_of(one), chunk_of(two)};
    writer.append(chunks);
    writer.close();
    const std::string name = pack_name(writer.number());
    const Bytes file = backend->get(name, 1 << 20);
    const size_t table = 4096 + 2 * 8192;
    const auto refused_with = [&](size_t entry, auto change) {
      Bytes changed = file;
      auto* const place = reinterpret_cast<PackEntry*>(changed.data() + table) + entry;
      change(*place);
      encode_pack_trailer(writer.number(), {2, table, tree_hash(changed.data() + table, 64)}, changed.data() + changed.size() - 4096);
      backend->put(name, changed, PutMode::replace);
      CHECK_FAILS(damaged, read_pack_table(*backend, writer.number()));
    };
    refused_with(1, [](PackEntry& entry) { entry.block = 2; });          // inside the one before
    refused_with(0, [](PackEntry& entry) { entry.block = 0; });          // in the header
    refused_with(1, [](PackEntry& entry) { entry.block = 5; });          // behind the contents
    refused_with(1, [](PackEntry& entry) { entry.block = UINT32_MAX; });
    refused_with(1, [](PackEntry& entry) { entry.length = 0; });
    refused_with(1, [](PackEntry& entry) { entry.length = 65537; });
    refused_with(1, [](PackEntry& entry) { entry.name = {}; });
    refused_with(1, [](PackEntry& entry) { entry.zero = 1; });
  });
}

struct Entries {
  std::vector<uint64_t> packs;
  std::vector<IndexEntry> sorted;
};

Entries make_entries(uint64_t seed, size_t count, size_t packs) {
  Random random(seed);
  Entries entries;
  for (size_t i = 0; i < packs; ++i) entries.packs.push_back(random.next());
  std::set<ChunkName> names;
  while (names.size() < count) {
    ChunkName name;
    const uint64_t halves[2] = {random.next(), random.next()};
    std::memcpy(&name, halves, sizeof name);
    names.insert(name);
  }
  for (const ChunkName& name : names) {
    entries.sorted.push_back({name, static_cast<uint32_t>(random.below(packs)), static_cast<uint32_t>(1 + random.below(100)), 65536, 0});
  }
  return entries;
}

IndexRun run_of(const Entries& entries, uint32_t first_position = 0) {
  IndexRun run{entries.sorted, nullptr, {}};
  for (uint32_t i = 0; i < entries.packs.size(); ++i) run.pack_positions.push_back(first_position + i);
  return run;
}

TEST(an_index_is_as_documented) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Entries entries = make_entries(6, 5000, 3);
    const IndexRun run = run_of(entries);
    const uint64_t number = write_index(*backend, entries.packs, std::span(&run, 1));
    const Bytes file = backend->get(index_name(number), 1 << 20);
    CHECK(text_at(file, 0, 8) == "GCRINDEX");
    CHECK(at<uint32_t>(file, 8) == 1 && at<uint32_t>(file, 12) == 3 && at<uint64_t>(file, 16) == 5000 && at<uint64_t>(file, 24) == number);
    CHECK(at<ChunkName>(file, 32) == tree_hash(file.data() + 4096, 24));
    CHECK(at<ChunkName>(file, 48) == tree_hash(file.data() + 8192, 48));
    CHECK(at<ChunkName>(file, 4080) == chunk_hash(file.data(), 4080));
    CHECK(at<uint64_t>(file, 4096) == entries.packs[0]);
    CHECK(file.size() == 12288 + 5000 * 32);
    CHECK(at<ChunkName>(file, 8192 + 32) == chunk_hash(file.data() + 12288 + 131072, 5000 * 32 - 131072));
    CHECK(std::memcmp(file.data() + 12288, entries.sorted.data(), 5000 * 32) == 0);

    const IndexFile index(*backend, number);
    for (const IndexEntry& entry : entries.sorted) {
      const IndexEntry* const found = index.find(entry.name);
      CHECK(found != nullptr && found->block == entry.block && found->pack == entry.pack);
      ChunkName other = entry.name;
      other.bytes[15] ^= 1;
      CHECK(index.find(other) == nullptr);
    }
    // Any bit of the head, then of a page: the page is noticed when it is touched.
    for (size_t byte = 0; byte < 12288; byte += byte < 64 || (byte >= 4080 && byte < 4120) || (byte >= 8192 && byte < 8240) ? 1 : 53) {
      if ((byte >= 4096 + 24 && byte < 8192) || byte >= 8192 + 48) continue;
      Bytes changed = file;
      changed[byte] ^= 1;
      backend->put(index_name(number), changed, PutMode::replace);
      CHECK_FAILS(damaged, IndexFile(*backend, number));
    }
    for (const size_t size : {size_t{0}, size_t{4095}, size_t{4096}, file.size() - 1}) {
      backend->put(index_name(number), std::span(file).first(size), PutMode::replace);
      CHECK_FAILS(damaged, IndexFile(*backend, number));
    }
    Bytes changed = file;
    changed[12288 + 65536 + 100] ^= 1;
    backend->put(index_name(number), changed, PutMode::replace);
    const IndexFile damaged(*backend, number);
    CHECK(damaged.find(entries.sorted[5].name) != nullptr);
    CHECK_FAILS(damaged, damaged.find(entries.sorted[2050].name));
  });
}

TEST(merged_index_files_have_every_entry_once) {
  const auto backend = open_memory_backend("merge-" + hex_number(random_number()), true);
  Entries one = make_entries(7, 3000, 2);
  Entries two = make_entries(8, 4000, 2);
  // Some chunks are in both.
  std::vector<IndexEntry> shared(one.sorted.begin(), one.sorted.begin() + 500);
  for (IndexEntry& entry : shared) entry.block = 77777;
  two.sorted.insert(two.sorted.end(), shared.begin(), shared.end());
  std::sort(two.sorted.begin(), two.sorted.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const IndexRun second = run_of(two);
  const uint64_t written = write_index(*backend, two.packs, std::span(&second, 1));
  const IndexFile file(*backend, written);
  std::vector<uint64_t> packs = one.packs;
  packs.insert(packs.end(), two.packs.begin(), two.packs.end());
  IndexRun of_file{{}, &file, {2, 3}};
  const IndexRun runs[] = {run_of(one), of_file};
  const IndexFile merged(*backend, write_index(*backend, packs, runs));
  CHECK(merged.entries() == 7000);
  for (const IndexEntry& entry : one.sorted) CHECK(merged.find(entry.name)->block == entry.block);
  for (const IndexEntry& entry : two.sorted) {
    const IndexEntry* const found = merged.find(entry.name);
    CHECK(found != nullptr && (entry.block == 77777 || packs[found->pack] == two.packs[entry.pack]));
  }
}

TEST(an_empty_index_finds_nothing) {
  const auto backend = open_memory_backend("empty-" + hex_number(random_number()), true);
  const IndexFile index(*backend, write_index(*backend, {}, {}));
  CHECK(index.find(ChunkName{}) == nullptr);
}

}  // namespace
}  // namespace gcr::test
