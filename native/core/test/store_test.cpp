// Writer and reader together: what was written is read, equal chunks are stored once, and no damage or failure passes unnoticed or blocks
// what comes after it.
#include <algorithm>
#include <thread>

#include "core/aligned_buffer.h"
#include "core/index.h"
#include "core/test/check.h"

namespace gcr::test {
namespace {

/// Random chunks, some of them zero, some repeated, the last one short.
Bytes mixed_content(uint64_t seed, size_t chunks, size_t last) {
  Random random(seed);
  Bytes bytes((chunks - 1) * kChunkBytes + last);
  for (size_t i = 0; i < chunks; ++i) {
    const size_t length = std::min(kChunkBytes, bytes.size() - i * kChunkBytes);
    uint8_t* const chunk = bytes.data() + i * kChunkBytes;
    const uint64_t kind = random.below(8);
    if (kind == 0) continue;
    if (kind == 1 && i > 0 && length == kChunkBytes) {
      std::copy_n(bytes.data() + random.below(i) * kChunkBytes, kChunkBytes, chunk);
      continue;
    }
    for (size_t at = 0; at + 8 <= length; at += 8) {
      const uint64_t value = random.next();
      std::memcpy(chunk + at, &value, 8);
    }
    chunk[length - 1] = 1;
  }
  return bytes;
}

Bytes names_of(const Bytes& bytes) {
  Bytes names;
  for (size_t at = 0; at < bytes.size(); at += kChunkBytes) {
    const ChunkName name = chunk_name(bytes.data() + at, std::min(kChunkBytes, bytes.size() - at));
    names.insert(names.end(), name.bytes.begin(), name.bytes.end());
  }
  return names;
}

size_t different_chunks(const Bytes& names) {
  std::vector<ChunkName> all(names.size() / sizeof(ChunkName));
  std::memcpy(all.data(), names.data(), names.size());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all.size() - (all.front().is_zero() ? 1 : 0);
}

Bytes has(StoreReader& reader, const Bytes& names, uint32_t last) {
  Bytes present(names.size() / sizeof(ChunkName), 9);
  started([&](Done done) { reader.has(names.data(), present.size(), last, present.data(), std::move(done)); }).get();
  return present;
}

TEST(what_is_written_is_read) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    for (const size_t last : {size_t{1}, size_t{4095}, size_t{4096}, size_t{5000}, kChunkBytes}) {
      const Bytes bytes = mixed_content(10 + last, 300, last);
      StoreWriter writer(backend, {});
      const Bytes names = write(writer, bytes);
      CHECK(names == names_of(bytes));
      const WriterStatistics statistics = writer.finish();
      CHECK(statistics.chunks == 300);
      CHECK(statistics.stored_chunks == different_chunks(names));
      CHECK(read(backend, names, bytes.size()) == bytes);
      StoreReader reader(backend, 2);
      CHECK(has(reader, names, static_cast<uint32_t>(last)) == Bytes(300, 1));
      if (last != kChunkBytes) CHECK(has(reader, names, kChunkBytes).back() == 0);
    }
  });
}

TEST(aligned_and_unaligned_memory_give_the_same) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(20, 200, 3000);
    AlignedBuffer source(bytes.size() + 64);
    AlignedBuffer target(bytes.size() + 64);
    for (const size_t offset : {size_t{0}, size_t{1}, size_t{16}}) {
      std::memcpy(source.data() + offset, bytes.data(), bytes.size());
      StoreWriter writer(backend, {});
      const Bytes names = write(writer, source.data() + offset, bytes.size());
      writer.finish();
      StoreReader reader(backend, 4);
      for (const size_t to : {size_t{0}, size_t{1}, size_t{16}}) {
        std::memset(target.data(), 0xee, target.size());
        read(reader, names, target.data() + to, bytes.size());
        CHECK(std::memcmp(target.data() + to, bytes.data(), bytes.size()) == 0);
        CHECK(target.data()[to + bytes.size()] == 0xee);
      }
    }
  });
}

TEST(equal_chunks_are_stored_once_over_calls_and_writers) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(30, 500, kChunkBytes);
    StoreWriter first(backend, {.threads = 8});
    std::vector<std::future<Bytes>> calls;
    for (int i = 0; i < 6; ++i) calls.push_back(std::async(std::launch::async, [&] { return write(first, bytes); }));
    for (auto& call : calls) CHECK(call.get() == names_of(bytes));
    const WriterStatistics statistics = first.finish();
    CHECK(statistics.chunks == 3000);
    CHECK(statistics.stored_chunks == different_chunks(names_of(bytes)));
    const size_t files = backend->list("packs").size() + backend->list("index").size();
    StoreWriter second(backend, {});
    write(second, bytes);
    const WriterStatistics nothing = second.finish();
    CHECK(nothing.stored_chunks == 0 && nothing.packs == 0);
    CHECK(backend->list("packs").size() + backend->list("index").size() == files);
  });
}

TEST(packs_are_closed_at_their_target_and_claims_flushed) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(40, 800, 100);
    StoreWriter writer(backend, {.threads = 4, .pack_bytes = 4 << 20, .most_claims = 200});
    const Bytes names = write(writer, bytes);
    const Bytes more = mixed_content(41, 300, 100);
    const Bytes more_names = write(writer, more);
    CHECK(write(writer, bytes) == names);
    const WriterStatistics statistics = writer.finish();
    CHECK(statistics.packs >= 8);
    CHECK(backend->list("packs").size() == statistics.packs);
    CHECK(backend->list("index").size() >= 3);
    // Chunks that both contents have (a repetition of nothing, by chance none) aside, each is stored once.
    CHECK(statistics.stored_chunks == different_chunks(names) + different_chunks(more_names));
    CHECK(read(backend, names, bytes.size()) == bytes);
    CHECK(read(backend, more_names, more.size()) == more);
  });
}

TEST(a_long_chain_is_searched_in_few_index_files) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    std::vector<Bytes> all;
    for (uint64_t i = 0; i < 60; ++i) {
      all.push_back(mixed_content(100 + i, 2 + i % 3, kChunkBytes));
      all.back()[0] = 1;
      StoreWriter writer(backend, {.threads = 1});
      write(writer, all.back());
      writer.finish();
      CHECK(IndexSet(*backend).files().size() <= 8);
    }
    StoreReader reader(backend, 2);
    for (const Bytes& bytes : all) CHECK(read(reader, names_of(bytes), bytes.size()) == bytes);
  });
}

TEST(abort_leaves_nothing_and_blocks_nothing) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(50, 300, kChunkBytes);
    {
      StoreWriter writer(backend, {.pack_bytes = 4 << 20});
      write(writer, bytes);
      writer.abort();
      CHECK_FAILS(invalid, write(writer, bytes));
      CHECK_FAILS(invalid, writer.finish());
    }
    { StoreWriter forgotten(backend, {}); write(forgotten, bytes); }
    CHECK(backend->list("packs").empty() && backend->list("index").empty());
    StoreWriter writer(backend, {});
    const Bytes names = write(writer, bytes);
    writer.finish();
    writer.abort();
    CHECK(read(backend, names, bytes.size()) == bytes);
  });
}

TEST(damage_is_noticed_and_named) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(60, 50, kChunkBytes);
    StoreWriter writer(backend, {.threads = 1});
    const Bytes names = write(writer, bytes);
    writer.finish();
    const std::string pack = backend->list("packs").front();
    const std::string index = backend->list("index").front();
    const Bytes pack_bytes = backend->get(pack, 1 << 30);
    const Bytes index_bytes = backend->get(index, 1 << 30);

    Bytes changed = pack_bytes;
    changed[4096 + 20 * 65536 + 17] ^= 1;
    backend->put(pack, changed, PutMode::replace);
    try {
      read(backend, names, bytes.size());
      CHECK(false);
    } catch (const StoreError& error) {
      CHECK(error.kind() == ErrorKind::damaged && error.file() == pack);
    }
    // Cut behind the first chunks: those can be told, the others are not there.
    backend->put(pack, std::span(pack_bytes).first(4096 * 40), PutMode::replace);
    {
      StoreReader reader(backend, 2);
      CHECK_FAILS(not_found, read(reader, names, bytes.size()));
      const Bytes present = has(reader, names, kChunkBytes);
      CHECK(std::count(present.begin(), present.end(), 1) > 0 && std::count(present.begin(), present.end(), 0) > 0);
    }
    backend->remove(pack);
    CHECK_FAILS(not_found, read(backend, names, bytes.size()));
    // A writer does not rely on what is gone.
    {
      StoreWriter again(backend, {});
      write(again, bytes);
      again.finish();
      CHECK(read(backend, names, bytes.size()) == bytes);
    }
    for (const std::string& file : backend->list("index")) {
      Bytes broken = backend->get(file, 1 << 30);
      broken.back() ^= 1;
      backend->put(file, broken, PutMode::replace);
    }
    CHECK_FAILS(damaged, read(backend, names, bytes.size()));
    for (const std::string& file : backend->list("index")) backend->put(file, Bytes(10, 7), PutMode::replace);
    CHECK_FAILS(damaged, read(backend, names, bytes.size()));
  });
}

TEST(wrong_requests_are_refused) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(70, 3, 100);
    StoreWriter writer(backend, {});
    Bytes names = write(writer, bytes);
    CHECK(write(writer, Bytes{}).empty());
    writer.finish();
    CHECK_FAILS(invalid, read(backend, names, bytes.size() + kChunkBytes));
    CHECK_FAILS(damaged, read(backend, names, bytes.size() + 1));
    CHECK(read(backend, {}, 0).empty());
    names[0] ^= 1;
    CHECK_FAILS(not_found, read(backend, names, bytes.size()));
  });
}

TEST(readers_and_writers_at_once) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    const Bytes bytes = mixed_content(80, 200, kChunkBytes);
    {
      StoreWriter writer(backend, {});
      write(writer, bytes);
      writer.finish();
    }
    const Bytes names = names_of(bytes);
    StoreReader reader(backend, 4);
    std::vector<std::thread> threads;
    std::atomic<int> right = 0;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 3; ++round) right += read(reader, names, bytes.size()) == bytes;
      });
      threads.emplace_back([&, i] {
        StoreWriter writer(backend, {.threads = 2});
        const Bytes other = mixed_content(90 + static_cast<uint64_t>(i), 100, 50);
        write(writer, other);
        writer.finish();
        right += read(backend, names_of(other), other.size()) == other;
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(right == 16);
  });
}

}  // namespace
}  // namespace gcr::test
