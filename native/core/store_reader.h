// Reads chunks by name: looks all of them up, reads each once in the order of their places in large pieces straight into the target, and
// checks every chunk's hash. A reader sees the store as it was when it was first used; the caller holds the store's lock shared.
#pragma once

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "core/index.h"
#include "core/thread_pool.h"

namespace gcr {

/// Packs that are open for reading, a bounded number.
class PackFiles {
 public:
  explicit PackFiles(std::shared_ptr<Backend> backend) : backend_(std::move(backend)) {}
  std::shared_ptr<InputFile> open(uint64_t pack);

 private:
  const std::shared_ptr<Backend> backend_;
  std::mutex mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<InputFile>> files_;
};

class StoreReader {
 public:
  /// Told once, from a worker thread, with the error or null.
  using Done = std::function<void(std::exception_ptr)>;

  StoreReader(std::shared_ptr<Backend> backend, unsigned threads);
  /// Waits for what is under way.
  ~StoreReader() = default;

  /// Fills `size` bytes of target with the chunks named by `count` names; names and target must stay until `done` is called.
  void read(const uint8_t* names, size_t count, uint8_t* target, size_t size, Done done);

  /// Puts 1 to `present` for each name that can be read, else 0. The last chunk must have `last_length` bytes.
  void has(const uint8_t* names, size_t count, uint32_t last_length, uint8_t* present, Done done);

  /// Whatever is still queued ends at once, with an error.
  void stop() { stopped_ = true; }

 private:
  struct Call;
  struct Item;
  const IndexSet& index();
  void plan(const std::shared_ptr<Call>& call);
  void submit_unit(const std::shared_ptr<Call>& call, std::vector<Item> items);
  void read_unit(const Call& call, const std::vector<Item>& items);

  const std::shared_ptr<Backend> backend_;
  PackFiles packs_;
  std::once_flag index_opened_;
  std::optional<IndexSet> index_;
  std::atomic<bool> stopped_ = false;
  ThreadPool pool_;  // last: its threads use the rest
};

}  // namespace gcr
