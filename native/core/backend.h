// Where the files of a store are: a folder, or named memory of this process. Everything above works on this interface and nothing
// else, so what holds for one place holds for the other (one conformance test runs over both).
//
// Guarantees: a file appears under its name only whole and durable (OutputFile::commit, put); what is given up leaves no file; names
// are checked, symbolic links are never followed; every failure is a StoreError that names the file. All functions may be called
// from any thread; one OutputFile is one thread's at a time.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gcr {

enum class PutMode { replace, create };
enum class LockMode { shared, exclusive };

struct FileStat {
  uint64_t bytes;
  double modified;  // milliseconds since 1970
};

class InputFile {
 public:
  virtual ~InputFile() = default;
  virtual uint64_t size() const = 0;
  /// Fills all pieces from `offset` on; a file that ends before is `damaged`. With wants_alignment(), place, pieces and their
  /// lengths must be multiples of 4,096. The pieces are used up.
  virtual void read(uint64_t offset, std::span<iovec> pieces) = 0;
  void read(uint64_t offset, void* target, size_t length);
  virtual bool wants_alignment() const = 0;
  /// The whole file in memory, valid while this object lives. Content that was never read by read() may fault.
  virtual const uint8_t* map() = 0;
};

/// A file under construction. Destroyed without commit, it is gone.
class OutputFile {
 public:
  virtual ~OutputFile() = default;
  /// Writes all pieces at `offset`, under the same alignment rule as InputFile::read. The pieces are used up.
  virtual void write(uint64_t offset, std::span<iovec> pieces) = 0;
  void write(uint64_t offset, const void* bytes, size_t length);
  virtual bool wants_alignment() const = 0;
  /// Content to disk, then the final name; the caller syncs the folder.
  virtual void commit(PutMode mode) = 0;
};

class Lock {
 public:
  virtual ~Lock() = default;
};

/// How a file is going to be used: large and once (around the page cache where that works), or in small pieces.
enum class Access { large, small };

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const std::string& place() const = 0;
  virtual std::unique_ptr<OutputFile> create(const std::string& name, Access access) = 0;
  virtual std::unique_ptr<InputFile> open(const std::string& name, Access access) = 0;
  /// Regular files of a folder of the store ("" is the store's own) as names that the other functions take, sorted. Also names
  /// that are not of a store's form, which those functions refuse.
  virtual std::vector<std::string> list(const std::string& folder) = 0;
  virtual std::optional<FileStat> stat(const std::string& name) = 0;
  /// Removes a file; one that is not there is as good as removed.
  virtual void remove(const std::string& name) = 0;
  virtual void sync_folder(const std::string& folder) = 0;
  /// Waits until the store's lock is held, at most `timeout_ms`, or until `cancelled`; then throws `locked` naming who holds it.
  virtual std::unique_ptr<Lock> lock(LockMode mode, uint64_t timeout_ms, const std::atomic<bool>* cancelled) = 0;

  /// The whole file; `invalid` when it has more than `limit` bytes.
  std::vector<uint8_t> get(const std::string& name, uint64_t limit);
  /// Durable and atomic; with PutMode::create, `exists` when there is a file of that name.
  void put(const std::string& name, std::span<const uint8_t> bytes, PutMode mode);
};

/// A store in a folder. With `create`, makes the folders and the lock file that are missing.
std::shared_ptr<Backend> open_directory_backend(const std::string& path, bool create);

/// A store in this process's memory; everybody who names it has the same one. Without `create` it must exist.
std::shared_ptr<Backend> open_memory_backend(const std::string& name, bool create);

}  // namespace gcr
