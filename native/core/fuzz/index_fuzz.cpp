// An index file of any content: opening and searching it either fails as `damaged` or stays within the file. Hashes are set right in
// half of the inputs, or mutations would never get behind them.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "core/aligned_buffer.h"
#include "core/error.h"
#include "core/fuzz/fuzz.h"
#include "core/index.h"
#include "core/names.h"

namespace {

constexpr uint64_t kNumber = 0x1234;

std::shared_ptr<gcr::Backend> backend() {
  static const auto one = gcr::open_memory_backend("fuzz-index", true);
  return one;
}

void put_hash(std::vector<uint8_t>& file, size_t at, gcr::ChunkName hash) { std::memcpy(file.data() + at, &hash, sizeof hash); }

void repair(std::vector<uint8_t>& file) {
  if (file.size() < gcr::kBlockBytes) return;
  gcr::IndexLayout layout{};
  std::memcpy(&layout.packs, file.data() + 12, 4);
  std::memcpy(&layout.entries, file.data() + 16, 8);
  if (layout.packs < 10000 && layout.entries < 100000 && layout.file_bytes() <= file.size()) {
    for (uint64_t page = 0; page < layout.pages(); ++page) {
      const uint64_t start = layout.entries_place() + page * gcr::kChunkBytes;
      const uint64_t end = std::min(start + gcr::kChunkBytes, layout.file_bytes());
      put_hash(file, layout.page_hashes_place() + 16 * page, gcr::chunk_hash(file.data() + start, end - start));
    }
    put_hash(file, 32, gcr::tree_hash(file.data() + gcr::kBlockBytes, uint64_t{layout.packs} * 8));
    put_hash(file, 48, gcr::tree_hash(file.data() + layout.page_hashes_place(), layout.pages() * 16));
  }
  put_hash(file, 4080, gcr::chunk_hash(file.data(), 4080));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> file(data, data + size);
  if (size % 2 == 0) repair(file);
  backend()->put(gcr::index_name(kNumber), file, gcr::PutMode::replace);
  const gcr::IndexSet set(*backend());
  try {
    const gcr::IndexFile index(*backend(), kNumber);
    for (uint64_t i = 0; i < 64; ++i) {
      const gcr::ChunkName name = gcr::chunk_hash(data, std::min<size_t>(size, i));
      set.find(name);
      index.find(name);
    }
    for (uint64_t page = 0; page < index.pages(); ++page) {
      for (const gcr::IndexEntry& entry : index.page(page)) set.find(entry.name);
    }
    // Merging reads it from end to end.
    std::vector<uint32_t> positions(index.packs().size());
    const gcr::IndexRun run{{}, &index, positions};
    const uint64_t merged = gcr::write_index(*backend(), index.packs(), std::span(&run, 1));
    backend()->remove(gcr::index_name(merged));
  } catch (const gcr::StoreError& error) {
    if (error.kind() != gcr::ErrorKind::damaged) std::abort();
  }
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  std::vector<gcr::IndexEntry> entries;
  for (uint32_t i = 0; i < 2500; ++i) {
    entries.push_back({gcr::chunk_hash(reinterpret_cast<const uint8_t*>(&i), 4), i % 3, i + 1, 65536, 0});
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const uint64_t packs[] = {1, 2, 3};
  std::vector<std::vector<uint8_t>> seeds{{}};
  for (const size_t count : {size_t{0}, size_t{10}, size_t{2500}}) {
    const gcr::IndexRun run{std::span(entries).first(count), nullptr, {0, 1, 2}};
    const uint64_t number = gcr::write_index(*backend(), packs, std::span(&run, 1));
    seeds.push_back(backend()->get(gcr::index_name(number), 1 << 20));
    backend()->remove(gcr::index_name(number));
    std::memcpy(seeds.back().data() + 24, &kNumber, 8);
    put_hash(seeds.back(), 4080, gcr::chunk_hash(seeds.back().data(), 4080));
  }
  return seeds;
}
