// Chunks whose names the caller has from elsewhere: out of slots in any order, each stored once, whoever named it; and what happens when the disk
// fails under it or somebody aborts.
#include <algorithm>
#include <cerrno>
#include <numeric>
#include <random>

#include "core/aligned_buffer.h"
#include "core/test/check.h"

namespace gcr::test {
namespace {

/// Slots of 64 KiB as host memory has them, each with other content, its name and length.
struct Slots {
  explicit Slots(uint64_t seed, size_t count, size_t offset = 0) : offset(offset), bytes(count * kChunkBytes + 64), lengths(count, kChunkBytes) {
    Random random(seed);
    for (size_t slot = 0; slot < count; ++slot) {
      if (slot % 9 == 4) lengths[slot] = static_cast<uint32_t>(1 + random.below(kChunkBytes));
      for (size_t at = 0; at + 8 <= kChunkBytes; at += 8) {
        const uint64_t word = random.next();
        std::memcpy(at_slot(slot) + at, &word, 8);
      }
      at_slot(slot)[0] |= 1;
      names.push_back(chunk_name(at_slot(slot), lengths[slot]));
    }
  }
  uint8_t* at_slot(size_t slot) { return bytes.data() + offset + slot * kChunkBytes; }
  NewChunk chunk(size_t slot) { return {names[slot], at_slot(slot), lengths[slot]}; }
  std::vector<NewChunk> in_order(const std::vector<size_t>& order) {
    std::vector<NewChunk> chunks;
    for (const size_t slot : order) chunks.push_back(chunk(slot));
    return chunks;
  }
  std::vector<NewChunk> all() {
    std::vector<size_t> order(lengths.size());
    std::iota(order.begin(), order.end(), size_t{0});
    return in_order(order);
  }

  const size_t offset;
  AlignedBuffer bytes;
  std::vector<uint32_t> lengths;
  std::vector<ChunkName> names;
};

Ended start(StoreWriter& writer, std::vector<NewChunk> chunks) {
  return started([&](Done done) { writer.write_named(std::move(chunks), std::move(done)); });
}

bool is_there(const std::shared_ptr<Backend>& backend, const NewChunk& chunk) {
  const Bytes name(chunk.name.bytes.begin(), chunk.name.bytes.end());
  const Bytes found = read(backend, name, chunk.length);
  return std::equal(found.begin(), found.end(), chunk.bytes);
}

bool are_there(const std::shared_ptr<Backend>& backend, const std::vector<NewChunk>& chunks) {
  return std::all_of(chunks.begin(), chunks.end(), [&](const NewChunk& chunk) { return is_there(backend, chunk); });
}

/// A store whose disk fails: at the write of that number, or when a file is made.
class FailingBackend final : public Backend {
 public:
  explicit FailingBackend(std::shared_ptr<Backend> inner) : inner_(std::move(inner)) {}
  /// Writes and files that still succeed.
  std::atomic<int> writes = 1 << 30, files = 1 << 30;

  const std::string& place() const override { return inner_->place(); }
  std::unique_ptr<OutputFile> create(const std::string& name, Access access) override {
    if (files-- <= 0) throw_errno(EDQUOT, "create", name);
    return std::make_unique<Output>(*this, inner_->create(name, access), name);
  }
  std::unique_ptr<InputFile> open(const std::string& name, Access access) override { return inner_->open(name, access); }
  std::vector<std::string> list(const std::string& folder) override { return inner_->list(folder); }
  std::optional<FileStat> stat(const std::string& name) override { return inner_->stat(name); }
  void remove(const std::string& name) override { inner_->remove(name); }
  void sync_folder(const std::string& folder) override { inner_->sync_folder(folder); }
  std::unique_ptr<Lock> lock(LockMode mode, uint64_t timeout_ms, const std::atomic<bool>* cancelled) override {
    return inner_->lock(mode, timeout_ms, cancelled);
  }

 private:
  class Output final : public OutputFile {
   public:
    Output(FailingBackend& owner, std::unique_ptr<OutputFile> inner, std::string name)
        : owner_(owner), inner_(std::move(inner)), name_(std::move(name)) {}
    void write(uint64_t offset, std::span<iovec> pieces) override {
      if (owner_.writes-- <= 0) throw_errno(ENOSPC, "write", name_);
      inner_->write(offset, pieces);
    }
    bool wants_alignment() const override { return inner_->wants_alignment(); }
    void commit(PutMode mode) override { inner_->commit(mode); }

   private:
    FailingBackend& owner_;
    const std::unique_ptr<OutputFile> inner_;
    const std::string name_;
  };

  const std::shared_ptr<Backend> inner_;
};

bool is_empty(Backend& backend) { return backend.list("packs").empty() && backend.list("index").empty(); }

TEST(named_chunks_are_read_by_their_names) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    // The names below are other chunks' for each place in memory, so nothing is there already.
    for (const size_t offset : {size_t{0}, size_t{16}}) {
      Slots slots(200 + offset, 300, offset);
      std::vector<size_t> order(300);
      std::iota(order.begin(), order.end(), size_t{0});
      std::shuffle(order.begin(), order.end(), std::mt19937(7));
      StoreWriter writer(backend, {.threads = 4, .pack_bytes = 4 << 20});
      start(writer, slots.in_order(order)).get();
      const WriterStatistics statistics = writer.finish();
      CHECK(statistics.chunks == 300 && statistics.stored_chunks == 300 && statistics.packs > 1);
      CHECK(statistics.stored_bytes == std::accumulate(slots.lengths.begin(), slots.lengths.end(), uint64_t{0}));
      CHECK(are_there(backend, slots.all()));
    }
  });
}

TEST(named_chunks_are_stored_once_whoever_names_them) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    Slots slots(210, 200);
    StoreWriter writer(backend, {.threads = 8});
    const std::vector<NewChunk> all = slots.all();
    std::vector<Ended> calls;
    for (int i = 0; i < 6; ++i) calls.push_back(start(writer, all));
    // The same chunk many times in one call, and one of zeros, which needs no place.
    std::vector<NewChunk> same(300, slots.chunk(3));
    same.push_back({ChunkName{}, slots.at_slot(5), kChunkBytes});
    calls.push_back(start(writer, same));
    calls.push_back(start(writer, {}));
    // By the processor's names, too.
    write(writer, slots.at_slot(0), kChunkBytes);
    for (Ended& call : calls) call.get();
    const WriterStatistics statistics = writer.finish();
    CHECK(statistics.chunks == 6 * 200 + 301 + 1);
    CHECK(statistics.stored_chunks == 200);
    StoreWriter second(backend, {});
    start(second, all).get();
    CHECK(second.finish().stored_chunks == 0);
    CHECK(are_there(backend, all));
  });
}

TEST(a_wrong_name_is_found_when_it_is_read) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    Slots slots(220, 40);
    std::vector<NewChunk> chunks = slots.all();
    chunks[7].name.bytes[3] ^= 1;
    StoreWriter writer(backend, {});
    start(writer, chunks).get();
    writer.finish();
    CHECK_FAILS(damaged, is_there(backend, chunks[7]));
    chunks.erase(chunks.begin() + 7);
    CHECK(are_there(backend, chunks));
  });
}

TEST(a_disk_that_fails_under_named_chunks_leaves_the_store_as_it_was) {
  on_every_backend([](const std::shared_ptr<Backend>& place) {
    Slots before(230, 50), slots(231, 300);
    {
      StoreWriter writer(place, {});
      start(writer, before.all()).get();
      writer.finish();
    }
    const std::vector<std::string> packs = place->list("packs"), index = place->list("index");
    const auto is_as_before = [&] { return place->list("packs") == packs && place->list("index") == index; };
    // Whichever write it is: a pack's header or content, its table, the index.
    int tried = 0;
    for (int after = 0;; ++after) {
      const auto failing = std::make_shared<FailingBackend>(place);
      failing->writes = after;
      StoreWriter writer(failing, {.threads = 3, .pack_bytes = 8 << 20});
      std::vector<Ended> calls;
      for (size_t from = 0; from < 300; from += 100) {
        const std::vector<NewChunk> all = slots.all();
        calls.push_back(start(writer, {all.begin() + static_cast<ptrdiff_t>(from), all.begin() + static_cast<ptrdiff_t>(from + 100)}));
      }
      bool failed = false;
      for (Ended& call : calls) {
        try {
          call.get();
        } catch (const StoreError& error) {
          failed = true;
          CHECK(error.kind() == ErrorKind::no_space);
        }
      }
      // What comes after a failure fails with the same, and is not written.
      if (failed) CHECK_FAILS(no_space, start(writer, {slots.chunk(0)}).get());
      bool finished = false;
      try {
        writer.finish();
        finished = true;
      } catch (const StoreError& error) {
        CHECK(error.kind() == ErrorKind::no_space);
      }
      if (finished) {
        CHECK(!failed && are_there(place, slots.all()));
        break;
      }
      ++tried;
      CHECK(is_as_before());
      CHECK_FAILS(not_found, is_there(place, slots.chunk(0)));
      CHECK_FAILS(invalid, start(writer, {slots.chunk(0)}).get());
    }
    CHECK(tried > 10);
    CHECK(are_there(place, before.all()));
  });
}

TEST(a_pack_that_cannot_be_made_fails_its_call) {
  const auto failing = std::make_shared<FailingBackend>(open_memory_backend("test-" + hex_number(random_number()), true));
  Slots slots(240, 200);
  failing->files = 1;
  StoreWriter writer(failing, {.threads = 1, .pack_bytes = 4 << 20});
  CHECK_FAILS(no_space, start(writer, slots.all()).get());
  CHECK_FAILS(no_space, writer.finish());
  CHECK(is_empty(*failing));
}

TEST(abort_waits_for_named_chunks_and_leaves_nothing) {
  on_every_backend([](const std::shared_ptr<Backend>& backend) {
    for (int round = 0; round < 10; ++round) {
      auto slots = std::make_unique<Slots>(250 + static_cast<uint64_t>(round), 400);
      StoreWriter writer(backend, {.threads = 2, .pack_bytes = 4 << 20});
      std::vector<Ended> calls;
      for (int i = 0; i < 4; ++i) calls.push_back(start(writer, slots->all()));
      writer.abort();
      // Nothing looks at the bytes any more, so they may go.
      slots.reset();
      for (Ended& call : calls) {
        CHECK(call.is_over());
        try {
          call.get();
        } catch (const StoreError& error) {
          CHECK(error.kind() == ErrorKind::invalid);
        }
      }
      CHECK(is_empty(*backend));
    }
  });
}

}  // namespace
}  // namespace gcr::test
