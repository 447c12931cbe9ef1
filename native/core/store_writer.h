// Stores chunks: names them, leaves out what the store has, writes the rest to packs, and makes all of it durable in finish() in the order
// of docs/formats/store.md (packs, then an index file). The caller holds the store's lock shared from before the first write() until after the
// commit of the manifest.
//
// Memory: the claims of at most most_claims chunks (then an index file is written in between) and one staging buffer an open pack.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "core/index.h"
#include "core/pack.h"
#include "core/thread_pool.h"

namespace gcr {

struct WriterOptions {
  unsigned threads = default_threads();
  uint64_t pack_bytes = kPackBytes;
  /// 2^21 claims take 128 MiB and stand for 128 GiB of full chunks.
  size_t most_claims = size_t{1} << 21;
};

struct WriterStatistics {
  uint64_t chunks = 0;
  uint64_t stored_chunks = 0;
  uint64_t stored_bytes = 0;
  uint64_t packs = 0;
};

/// The chunks that this writer has stored or is storing since its last index file, by name.
class ClaimSet {
 public:
  /// False when the name is there already.
  bool claim(const ChunkName& name, uint32_t length);
  /// Sets the place of a claimed chunk.
  void place(const ChunkName& name, uint32_t pack, uint32_t block);
  size_t size() const { return size_; }
  /// All claims in ascending order; the set is empty afterwards.
  std::vector<IndexEntry> take_sorted();

 private:
  IndexEntry& slot(const ChunkName& name);
  std::vector<IndexEntry> slots_;  // length 0 marks a free one
  size_t size_ = 0;
};

class StoreWriter {
 public:
  /// Told once, from a worker thread, with the error or null.
  using Done = std::function<void(std::exception_ptr)>;

  StoreWriter(std::shared_ptr<Backend> backend, WriterOptions options);
  /// Aborts when finish() was not called.
  ~StoreWriter();

  /// Stores `size` bytes cut into chunks and puts their names to `names`; both must stay until `done` is called.
  void write(const uint8_t* bytes, size_t size, uint8_t* names, Done done);

  /// Stores chunks whose names the caller has from elsewhere (the kernels on a device), so that nothing is hashed here; a wrong name is found
  /// when the chunk is read. Their bytes must stay until `done` is called.
  void write_named(std::vector<NewChunk> chunks, Done done);

  /// Waits for all writes; packs and index are durable afterwards. Throws the first error of any write.
  WriterStatistics finish();

  /// Waits for writes under way and removes what no index names. No error: what cannot be removed is garbage for prune.
  void abort();

 private:
  struct OpenPack {
    PackWriter writer;
    uint32_t position;
  };
  struct Call;

  void submit(size_t units, Done done, std::function<void(size_t)> store_unit);
  void check_no_error();
  void name_and_store(const uint8_t* bytes, size_t size, uint8_t* names);
  void store(std::vector<NewChunk> chunks);
  std::unique_ptr<OpenPack> take_pack();
  void wait_for_writes();
  void fail(std::exception_ptr error);
  void write_index_file();
  void merge_index_files();

  const std::shared_ptr<Backend> backend_;
  const WriterOptions options_;

  std::once_flag index_opened_;
  std::optional<IndexSet> index_;
  std::shared_mutex flush_;  // shared: storing a unit; unique: closing all packs and writing an index file

  std::mutex mutex_;  // of everything below
  std::condition_variable idle_;
  ClaimSet claims_;
  std::vector<uint64_t> packs_;  // since the last index file
  std::vector<std::unique_ptr<OpenPack>> free_packs_;
  WriterStatistics statistics_;
  size_t under_way_ = 0;
  bool ended_ = false;
  std::exception_ptr error_;

  ThreadPool pool_;  // last: its threads use the rest
};

}  // namespace gcr
