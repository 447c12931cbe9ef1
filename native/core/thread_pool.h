// Worker threads with one queue. Tasks must not throw.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace gcr {

class ThreadPool {
 public:
  explicit ThreadPool(unsigned threads);
  /// Runs what is queued, then ends the threads.
  ~ThreadPool();
  void submit(std::function<void()> task);
  unsigned threads() const { return static_cast<unsigned>(threads_.size()); }

 private:
  void work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

/// As many as keep both processor and disk busy: workers wait for the disk, so at least four.
unsigned default_threads();

}  // namespace gcr
