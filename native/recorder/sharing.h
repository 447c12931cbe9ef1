// Memory that the recorder gave out, for other recorded processes (docs/formats/runtime-protocol.md, Between recorders): handles as cuIpcGetMemHandle
// gives them, and the way of descriptors from the process whose memory it is to the one that opens a handle.
//
// Guarantees: descriptors go to processes of the same user (or root) alone; the thread that serves them calls no driver, passes no gate and waits for
// no lock that is held in a call of the driver; who asks waits ten seconds at most; a child of fork keeps nothing of what is here.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "core/channel.h"
#include "driver/types.h"

namespace gcr {

// An allocation as a handle names it.
struct SharedName {
  std::uint8_t process[16] = {};  // random
  std::uint64_t allocation = 0;
  bool operator==(const SharedName &) const = default;
};

// Where a shared allocation lies.
struct SharedPlace {
  std::uint8_t device[16] = {};  // its UUID
  std::uint64_t block = 0;       // number of the memory behind the descriptor, one in its process
  std::uint64_t block_bytes = 0, offset = 0, size = 0;
};

class Sharing {
 public:
  // Offers an allocation; `memory` is taken where its block has not been offered. 0, or an errno.
  int offer(std::uint64_t allocation, const SharedPlace &place, Descriptor memory, IpcHandle &handle);
  bool offers_block(std::uint64_t block) const;
  // No longer there for others; what they have opened stays theirs.
  void withdraw(std::uint64_t allocation);
  void withdraw_block(std::uint64_t block);

  // What a handle of ours names; nothing of a driver's.
  static std::optional<SharedName> name_in(const IpcHandle &handle);
  bool is_own(const SharedName &name) const;

  // Asks the process that a name is of. CUDA_ERROR_INVALID_HANDLE when it has ended or freed the memory, CUDA_ERROR_OPERATING_SYSTEM when it does not
  // answer within ten seconds.
  static Result ask(const SharedName &name, SharedPlace &place, Descriptor &memory);

  // Around fork. The child, in which nobody serves, lets its copies of descriptors go.
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }
  void abandon();

 private:
  static void *run(void *sharing);
  void serve();
  void answer(Channel &channel, const Message &asked);
  int start();

  mutable std::mutex mutex_;
  std::atomic<bool> started_{false};
  std::uint8_t process_[16] = {};
  Listener listener_;
  std::map<std::uint64_t, SharedPlace> places_;  // by allocation
  std::map<std::uint64_t, Descriptor> blocks_;
};

}  // namespace gcr
