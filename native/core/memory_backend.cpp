// A store in this process's memory, for tests and dry runs. The registry of names is the one piece of global state: a store must be
// found again by whoever opens it by name.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>

#include "core/backend.h"
#include "core/error.h"
#include "core/names.h"

namespace gcr {
namespace {

struct MemoryFile {
  std::vector<uint8_t> bytes;
  double modified = 0;
};

struct MemoryStore {
  std::mutex mutex;
  std::condition_variable released;
  std::map<std::string, std::shared_ptr<const MemoryFile>> files;
  unsigned readers = 0;
  bool exclusive = false;
};

class MemoryInput final : public InputFile {
 public:
  MemoryInput(std::string name, std::shared_ptr<const MemoryFile> file)
      : name_(std::move(name)), file_(std::move(file)) {}
  uint64_t size() const override { return file_->bytes.size(); }
  bool wants_alignment() const override { return false; }
  const uint8_t* map() override { return file_->bytes.data(); }
  void read(uint64_t offset, std::span<iovec> pieces) override {
    for (const iovec& piece : pieces) {
      if (offset > size() || piece.iov_len > size() - offset) {
        throw StoreError(ErrorKind::damaged, name_, "ends before its content");
      }
      std::memcpy(piece.iov_base, file_->bytes.data() + offset, piece.iov_len);
      offset += piece.iov_len;
    }
  }

 private:
  std::string name_;
  std::shared_ptr<const MemoryFile> file_;
};

class MemoryOutput final : public OutputFile {
 public:
  MemoryOutput(std::shared_ptr<MemoryStore> store, std::string name) : store_(std::move(store)), name_(std::move(name)) {}
  bool wants_alignment() const override { return false; }
  void write(uint64_t offset, std::span<iovec> pieces) override {
    for (const iovec& piece : pieces) {
      if (file_->bytes.size() < offset + piece.iov_len) {
        if (file_->bytes.capacity() < offset + piece.iov_len) {
          file_->bytes.reserve(std::max<size_t>(offset + piece.iov_len, 2 * file_->bytes.capacity()));
        }
        file_->bytes.resize(offset + piece.iov_len);
      }
      std::memcpy(file_->bytes.data() + offset, piece.iov_base, piece.iov_len);
      offset += piece.iov_len;
    }
  }
  void commit(PutMode mode) override {
    using namespace std::chrono;
    file_->modified = static_cast<double>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
    const std::lock_guard guard(store_->mutex);
    if (mode == PutMode::create && store_->files.contains(name_)) throw_errno(EEXIST, "rename", name_);
    store_->files[name_] = file_;
  }

 private:
  std::shared_ptr<MemoryStore> store_;
  std::string name_;
  std::shared_ptr<MemoryFile> file_ = std::make_shared<MemoryFile>();
};

class MemoryLock final : public Lock {
 public:
  MemoryLock(std::shared_ptr<MemoryStore> store, LockMode mode) : store_(std::move(store)), mode_(mode) {}
  ~MemoryLock() override {
    {
      const std::lock_guard guard(store_->mutex);
      if (mode_ == LockMode::shared) {
        --store_->readers;
      } else {
        store_->exclusive = false;
      }
    }
    store_->released.notify_all();
  }

 private:
  std::shared_ptr<MemoryStore> store_;
  LockMode mode_;
};

class MemoryBackend final : public Backend {
 public:
  MemoryBackend(const std::string& name, std::shared_ptr<MemoryStore> store)
      : place_("mem:" + name), store_(std::move(store)) {}

  const std::string& place() const override { return place_; }

  std::unique_ptr<OutputFile> create(const std::string& name, Access) override {
    checked(name);
    return std::make_unique<MemoryOutput>(store_, name);
  }

  std::unique_ptr<InputFile> open(const std::string& name, Access) override {
    checked(name);
    const std::lock_guard guard(store_->mutex);
    const auto found = store_->files.find(name);
    if (found == store_->files.end()) throw_errno(ENOENT, "open", name);
    return std::make_unique<MemoryInput>(name, found->second);
  }

  std::vector<std::string> list(const std::string& folder) override {
    if (!folder.empty() && std::find(std::begin(kFolders), std::end(kFolders), folder) == std::end(kFolders)) {
      throw StoreError(ErrorKind::invalid, folder.substr(0, 100), "this is not a folder of a store");
    }
    const std::lock_guard guard(store_->mutex);
    std::vector<std::string> names;
    for (const auto& [name, file] : store_->files) {
      if (split_name(name).folder == folder) names.push_back(name);
    }
    return names;
  }

  std::optional<FileStat> stat(const std::string& name) override {
    checked_name(name);
    const std::lock_guard guard(store_->mutex);
    const auto found = store_->files.find(name);
    if (found == store_->files.end()) return {};
    return FileStat{found->second->bytes.size(), found->second->modified};
  }

  void remove(const std::string& name) override {
    if (checked_name(name) == NameForm::lock) throw StoreError(ErrorKind::invalid, name, "the lock is never removed");
    const std::lock_guard guard(store_->mutex);
    store_->files.erase(name);
  }

  void sync_folder(const std::string&) override {}

  std::unique_ptr<Lock> lock(LockMode mode, uint64_t timeout_ms, const std::atomic<bool>* cancelled) override {
    std::unique_lock guard(store_->mutex);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    while (store_->exclusive || (mode == LockMode::exclusive && store_->readers > 0)) {
      if (std::chrono::steady_clock::now() >= deadline || (cancelled != nullptr && *cancelled)) {
        throw StoreError(ErrorKind::locked, kLockName, "the store is in use by this process");
      }
      store_->released.wait_for(guard, std::chrono::milliseconds(20));
    }
    if (mode == LockMode::shared) {
      ++store_->readers;
    } else {
      store_->exclusive = true;
    }
    return std::make_unique<MemoryLock>(store_, mode);
  }

 private:
  static void checked(const std::string& name) {
    const NameForm form = checked_name(name);
    if (form == NameForm::temporary || form == NameForm::lock) {
      throw StoreError(ErrorKind::invalid, name, "this name is for the store's own use");
    }
  }

  std::string place_;
  std::shared_ptr<MemoryStore> store_;
};

}  // namespace

std::shared_ptr<Backend> open_memory_backend(const std::string& name, bool create) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<MemoryStore>> registry;
  const std::lock_guard guard(mutex);
  auto found = registry.find(name);
  if (found == registry.end()) {
    if (!create) throw StoreError(ErrorKind::not_found, "mem:" + name, "is not a store");
    found = registry.emplace(name, std::make_shared<MemoryStore>()).first;
  }
  return std::make_shared<MemoryBackend>(name, found->second);
}

}  // namespace gcr
