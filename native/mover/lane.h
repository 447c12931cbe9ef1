// A thread with a stream of its own on a device, for operations of one kind. Operations that are there together take turns, piece by piece, so that a
// large one does not hold up a small one; some pieces are always under way, so that the device does not wait for the thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "mover/device.h"

namespace gcr {

// What is asked of a lane. Everything is called on the lane's thread, with the device's context.
class Operation {
 public:
  virtual ~Operation() = default;
  // Gives the next piece to the lane's streams and says on which of them it ends; `place` is its alone until then. None: nothing is left.
  virtual std::optional<Stream> issue(unsigned place) = 0;
  // The piece has been done.
  virtual void ended(unsigned place) { static_cast<void>(place); }
};

class Lane {
 public:
  // Pieces under way at most; each has a place.
  static constexpr unsigned places = 4;

  explicit Lane(std::shared_ptr<const OpenDevice> device);
  // Waits for pieces under way; operations that are not done fail.
  ~Lane();
  Lane(const Lane &) = delete;

  // `done` is called once, from the lane's thread, when nothing of the operation is under way any more and what it held was given back.
  using Done = std::function<void(std::exception_ptr error)>;
  void run(std::unique_ptr<Operation> operation, Done done);
  // Operations that are there, and later ones, fail when their pieces under way have ended.
  void stop();

  // For operations.
  const std::shared_ptr<const OpenDevice> &device() const { return device_; }
  Stream copies() const { return streams_[0]; }
  Stream kernels() const { return streams_[1]; }
  // `second` goes on only when what `first` was given so far is done. One use a piece.
  void order(unsigned place, Stream first, Stream second) const;

 private:
  struct Entry {
    std::unique_ptr<Operation> operation;
    Done done;
    unsigned under_way = 0;
    bool issued = false;  // all of it, or as much as there is going to be
    std::exception_ptr error;
  };

  void serve();
  void open();
  void close();
  bool admit();
  bool issue_next();
  void await_oldest();
  void fail(Entry &entry, std::exception_ptr error);
  void settle();

  std::shared_ptr<const OpenDevice> device_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by the mutex.
  std::deque<std::unique_ptr<Entry>> arrived_;
  bool stopped_ = false;
  bool ending_ = false;
  std::thread thread_;  // from the first operation on

  // The thread's own.
  Stream streams_[2] = {};
  Event ends_[places] = {};
  Event orders_[places] = {};
  std::deque<std::unique_ptr<Entry>> entries_;  // the one whose turn it is first
  std::deque<Entry *> under_way_;               // a piece each, the oldest first
  unsigned oldest_place_ = 0;
  bool open_ = false;
  std::string broken_;  // why nothing can be done any more
};

}  // namespace gcr
