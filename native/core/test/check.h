// What the tests are written with: CHECK and a list of test functions. A failed check prints its place and the program ends with 1.
#pragma once

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/error.h"
#include "core/names.h"
#include "core/store_reader.h"
#include "core/store_writer.h"

namespace gcr::test {

inline int failures = 0;

struct Test {
  const char* name;
  void (*run)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline bool add(const char* name, void (*run)()) {
  tests().push_back({name, run});
  return true;
}

inline void fail(const char* file, int line, const std::string& what) {
  ++failures;
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

#define TEST(NAME)                                           \
  static void NAME();                                        \
  static const bool NAME##_added = ::gcr::test::add(#NAME, NAME); \
  static void NAME()

#define CHECK(...) \
  if (!(__VA_ARGS__)) ::gcr::test::fail(__FILE__, __LINE__, "CHECK failed: " #__VA_ARGS__)

/// The statement must throw a StoreError of that kind.
#define CHECK_FAILS(KIND, ...)                                                                        \
  try {                                                                                               \
    __VA_ARGS__;                                                                                      \
    ::gcr::test::fail(__FILE__, __LINE__, "no error: " #__VA_ARGS__);                                 \
  } catch (const ::gcr::StoreError& error) {                                                          \
    if (error.kind() != ::gcr::ErrorKind::KIND) ::gcr::test::fail(__FILE__, __LINE__, std::string("other kind: ") + error.what()); \
  }

/// A folder that goes with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / ("gcr-test-" + hex_number(random_number()))) {}
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

/// Runs a test over every kind of place.
inline void on_every_backend(const std::function<void(const std::shared_ptr<Backend>&)>& run) {
  const TemporaryFolder folder;
  run(open_directory_backend(folder.path(), true));
  run(open_memory_backend("test-" + hex_number(random_number()), true));
}

/// A pseudo-random sequence, the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    state_ += 0x9e3779b97f4a7c15;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t bound) { return next() % bound; }
  std::vector<uint8_t> bytes(size_t size) {
    std::vector<uint8_t> all(size);
    for (uint8_t& byte : all) byte = static_cast<uint8_t>(next());
    return all;
  }

 private:
  uint64_t state_;
};

using Bytes = std::vector<uint8_t>;

using Done = std::function<void(std::exception_ptr)>;

/// A call of the store under way.
class Ended {
 public:
  /// How a call failed, as bytes of its own. The exception itself stays in the call's thread: threads count who holds an exception inside of the
  /// C++ library, where ThreadSanitizer does not see it, and takes the end of one that two threads looked at for a race.
  struct Failure {
    ErrorKind kind;
    std::string file, text;
  };
  using Outcome = std::optional<Failure>;

  explicit Ended(std::future<Outcome> outcome) : outcome_(std::move(outcome)) {}
  /// Waits for its end, and throws its StoreError.
  void get() {
    if (const Outcome failure = outcome_.get()) throw StoreError(failure->kind, failure->file, failure->text);
  }
  bool is_over() const { return outcome_.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }

 private:
  std::future<Outcome> outcome_;
};

/// Makes a call of the store. The promise is the call's, too: whoever makes it ready is still at work in it when the waiting thread goes on. Ended
/// twice, or with another error than the store's, would end the program here.
template <class Call>
Ended started(const Call& call) {
  const auto promise = std::make_shared<std::promise<Ended::Outcome>>();
  Ended ended(promise->get_future());
  call(Done([promise](std::exception_ptr error) noexcept {
    try {
      if (error) std::rethrow_exception(error);
      promise->set_value(std::nullopt);
    } catch (const StoreError& failure) {
      promise->set_value(Ended::Failure{failure.kind(), failure.file(), failure.what()});
    }
  }));
  return ended;
}

/// Calls of the store that are waited for.
inline Bytes write(StoreWriter& writer, const uint8_t* bytes, size_t size) {
  Bytes names((size + kChunkBytes - 1) / kChunkBytes * sizeof(ChunkName));
  started([&](Done done) { writer.write(bytes, size, names.data(), std::move(done)); }).get();
  return names;
}
inline Bytes write(StoreWriter& writer, const Bytes& bytes) { return write(writer, bytes.data(), bytes.size()); }

inline void read(StoreReader& reader, const Bytes& names, uint8_t* target, size_t size) {
  started([&](Done done) { reader.read(names.data(), names.size() / sizeof(ChunkName), target, size, std::move(done)); }).get();
}
inline Bytes read(StoreReader& reader, const Bytes& names, size_t size) {
  Bytes target(size, 0xee);
  read(reader, names, target.data(), size);
  return target;
}
inline Bytes read(const std::shared_ptr<Backend>& backend, const Bytes& names, size_t size) {
  StoreReader reader(backend, 4);
  return read(reader, names, size);
}

inline int run_all() {
  for (const Test& test : tests()) {
    const int before = failures;
    try {
      test.run();
    } catch (const std::exception& error) {
      fail(test.name, 0, std::string("unexpected: ") + error.what());
    }
    std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", test.name);
  }
  return failures == 0 && !tests().empty() ? 0 : 1;
}

}  // namespace gcr::test
