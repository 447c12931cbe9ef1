// The door through which every call of the application goes. Closed while the process is locked for a checkpoint: calls then wait
// at it. A call that waits for the device stands outside meanwhile, so that the door can be closed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

namespace gcr::sim {

class ProcessGate {
 public:
  void enter() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !closed_; });
    ++inside_;
  }

  void leave() {
    const std::lock_guard lock(mutex_);
    if (--inside_ == 0) changed_.notify_all();
  }

  // Waits until nobody is inside, at most so long (zero: for ever). False, and open again, when that was not enough.
  bool close(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    closed_ = true;
    const auto empty = [&] { return inside_ == 0; };
    if (timeout.count() == 0) changed_.wait(lock, empty);
    else if (!changed_.wait_for(lock, timeout, empty)) {
      closed_ = false;
      changed_.notify_all();
      return false;
    }
    return true;
  }

  void open() {
    const std::lock_guard lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  bool closed_ = false;
};

}  // namespace gcr::sim
