// Library calls under way: which device memory the call of a documented library (contracts.def) may write, so that launches inside of it that
// nothing else is known of are answered with it. A call is told to the supervisor before its first launch, and only then; a call
// without launches costs no event.
//
// Guarantees: a launch is attributed to a call only on the thread of that call, between its beginning and its end; whatever the table does
// not describe leaves launches as they were; the library's function is called exactly once, with what the program gave, whatever happens here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/events.h"
#include "recorder/thread.h"

namespace gcr {

class Emitter;

// Whose memory an allocation is, as `alloc` events flag it.
enum class LibraryFamily : std::uint16_t { none = 0, cublas = alloc_of_cublas, nccl = alloc_of_nccl };

// What one call may write. Few calls write more than result, workspace and a number; those need no memory of their own.
class OutputList {
 public:
  void push_back(const CopyTarget &target) {
    if (count_ < near_.size()) near_[count_++] = target;
    else more_.push_back(target);
  }
  void append_to(std::vector<CopyTarget> &all) const {
    all.insert(all.end(), near_.begin(), near_.begin() + count_);
    all.insert(all.end(), more_.begin(), more_.end());
  }
  // All of them, where they lie together; else nothing.
  std::optional<std::span<CopyTarget>> together() {
    if (!more_.empty()) return std::nullopt;
    return std::span(near_).first(count_);
  }

 private:
  std::array<CopyTarget, 4> near_;
  std::uint32_t count_ = 0;
  std::vector<CopyTarget> more_;
};

// A call of a library by this thread. Calls nest: what an inner one writes comes on top of what the outer one does.
class LibraryCall {
 public:
  [[gnu::hot]] LibraryCall(std::string_view name, LibraryFamily family);
  [[gnu::hot]] ~LibraryCall();
  LibraryCall(const LibraryCall &) = delete;
  LibraryCall &operator=(const LibraryCall &) = delete;

  // The innermost call of the thread that is described; null outside of one, and where one of them was not looked at.
  [[gnu::hot]] static LibraryCall *described(const ThreadState &thread);

  // Tells the call if it has not been; its number for `launch` events, 0 when it cannot be told.
  [[gnu::hot]] std::uint32_t tell(Emitter &emitter, const ThreadState &thread);
  // The event, for a graph that keeps it.
  CallEvent event(std::uint32_t number) const;

  LibraryFamily family() const { return family_; }

 private:
  friend class Outputs;
  std::string_view name_;
  LibraryFamily family_;
  LibraryCall *outer_;
  bool described_ = true, told_ = false;
  // Begun while launches were not told: what it writes was not looked at, so launches of it that are told after all have no call.
  bool unseen_;
  OutputList outputs_;
};

// What rows of contracts.def say of one call. Never throws: what cannot be kept makes the call one that is not described.
class Outputs {
 public:
  Outputs(LibraryCall &call, void *library) : call_(call), library_(library) {}

  void unknown() { call_.described_ = false; }
  void bytes(const void *place, std::size_t count);
  void vector(const void *place, std::int64_t element, std::int64_t n, std::int64_t step, std::int64_t stride = 0, std::int64_t batch = 1);
  [[gnu::hot]] void matrix(const void *place, std::int64_t element, std::int64_t rows, std::int64_t columns, std::int64_t leading, std::int64_t stride = 0,
              std::int64_t batch = 1);
  // The packed half of a square matrix.
  void triangle(const void *place, std::int64_t element, std::int64_t n);
  // Bytes of an element of a cudaDataType; unknown types make the call unknown.
  [[gnu::hot]] std::int64_t element(int type);

  // cuBLAS handles: the workspace that the program gave one, and where it wants to be told how many bits an emulated product took.
  [[gnu::hot]] void workspace(void *handle);
  [[gnu::hot]] void give(void *handle, void *place, std::size_t size);
  void give_count(void *handle, void *place);
  [[gnu::hot]] void forget(void *handle);
  void destroy(void *handle);

  // cuBLASLt.
  void lt_matrix(const void *place, void *layout);
  void lt_epilogue(void *description, void *layout);

  // NCCL. `communicator` where the count is each rank's.
  void received(void *to, std::size_t count, int type, void *communicator = nullptr);
  void group_start();
  void group_end();

 private:
  struct Layout;
  bool layout_of(void *layout, Layout &into);
  [[gnu::hot]] void add(const CopyTarget &target);

  LibraryCall &call_;
  void *library_;  // handle of dlopen, for the library's own functions that answer questions
};

// The library at a code address, where its allocations are told apart by who asked for them.
LibraryFamily family_at(const void *code);

// What the program gets for a library's function that it looked up; null when nothing is to be done about it.
void *library_wrapper_for(void *found, const char *name);

}  // namespace gcr
