// See lane.h.
#include "mover/lane.h"

#include <algorithm>

namespace gcr {
namespace {

constexpr unsigned event_blocking_sync = 1, event_disable_timing = 2, stream_non_blocking = 1;

std::exception_ptr failure(const std::string &what, Result result) { return std::make_exception_ptr(DriverError(what, result)); }

}  // namespace

Lane::Lane(std::shared_ptr<const OpenDevice> device) : device_(std::move(device)) {}

Lane::~Lane() {
  stop();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Lane::run(std::unique_ptr<Operation> operation, Done done) {
  auto entry = std::make_unique<Entry>();
  entry->operation = std::move(operation);
  entry->done = std::move(done);
  const std::lock_guard lock(mutex_);
  arrived_.push_back(std::move(entry));
  if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
  wake_.notify_one();
}

void Lane::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  wake_.notify_one();
}

void Lane::order(unsigned place, Stream first, Stream second) const {
  const Driver &driver = device_->driver();
  driver.check(driver.cuEventRecord(orders_[place], first), "cuEventRecord");
  driver.check(driver.cuStreamWaitEvent(second, orders_[place], 0), "cuStreamWaitEvent");
}

void Lane::serve() {
  while (admit()) {
    while (under_way_.size() < places && issue_next()) {
    }
    if (!under_way_.empty()) await_oldest();
    settle();
  }
  close();
}

// Takes what has arrived; waits for something when there is nothing to do. False when the lane ends.
bool Lane::admit() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return !entries_.empty() || !arrived_.empty() || ending_; });
  if (entries_.empty() && arrived_.empty()) return false;
  const bool stopped = stopped_;
  for (auto &entry : arrived_) entries_.push_back(std::move(entry));
  arrived_.clear();
  lock.unlock();
  if (!open_ && broken_.empty()) {
    try {
      open();
    } catch (const DriverError &error) {
      broken_ = error.what();
    }
  }
  for (auto &entry : entries_) {
    if (entry->issued) continue;
    entry->issued = stopped || !broken_.empty();
    if (!broken_.empty()) entry->error = failure("the device cannot be used by this process any more: " + broken_, result::unknown);
    else if (stopped) entry->error = failure("the device was closed", result::not_ready);
  }
  return true;
}

void Lane::open() {
  const Driver &driver = device_->driver();
  device_->make_current();
  int lowest = 0, highest = 0;
  driver.check(driver.cuCtxGetStreamPriorityRange(&lowest, &highest), "cuCtxGetStreamPriorityRange");
  for (Stream &stream : streams_)
    driver.check(driver.cuStreamCreateWithPriority(&stream, stream_non_blocking, lowest), "cuStreamCreateWithPriority");
  for (Event &event : ends_) driver.check(driver.cuEventCreate(&event, event_blocking_sync | event_disable_timing), "cuEventCreate");
  for (Event &event : orders_) driver.check(driver.cuEventCreate(&event, event_disable_timing), "cuEventCreate");
  open_ = true;
}

void Lane::close() {
  const Driver &driver = device_->driver();
  for (Event event : ends_)
    if (event) driver.cuEventDestroy(event);
  for (Event event : orders_)
    if (event) driver.cuEventDestroy(event);
  for (Stream stream : streams_)
    if (stream) driver.cuStreamDestroy(stream);
}

// One piece of the operation whose turn it is. False when none has any left.
bool Lane::issue_next() {
  const Driver &driver = device_->driver();
  for (std::size_t tried = 0; tried < entries_.size(); ++tried) {
    std::unique_ptr<Entry> taken = std::move(entries_.front());
    entries_.pop_front();
    Entry &entry = *taken;
    entries_.push_back(std::move(taken));
    if (entry.issued) continue;
    const unsigned place = (oldest_place_ + static_cast<unsigned>(under_way_.size())) % places;
    try {
      const std::optional<Stream> stream = entry.operation->issue(place);
      entry.issued = !stream;
      if (!stream) continue;
      driver.check(driver.cuEventRecord(ends_[place], *stream), "cuEventRecord");
      ++entry.under_way;
      under_way_.push_back(&entry);
      return true;
    } catch (const std::exception &) {
      fail(entry, std::current_exception());
    }
  }
  return false;
}

void Lane::await_oldest() {
  const Driver &driver = device_->driver();
  Entry &entry = *under_way_.front();
  const unsigned place = oldest_place_;
  under_way_.pop_front();
  oldest_place_ = (oldest_place_ + 1) % places;
  --entry.under_way;
  try {
    driver.check(driver.cuEventSynchronize(ends_[place]), "cuEventSynchronize");
    if (!entry.error) entry.operation->ended(place);
  } catch (const std::exception &) {
    fail(entry, std::current_exception());
  }
}

// A piece may have been given in part, so everything is waited for: what it uses is given back next.
void Lane::fail(Entry &entry, std::exception_ptr error) {
  const Driver &driver = device_->driver();
  entry.issued = true;
  if (!entry.error) entry.error = std::move(error);
  for (Stream stream : streams_) {
    const Result outcome = driver.cuStreamSynchronize(stream);
    if (outcome != 0 && broken_.empty()) broken_ = driver.error_name(outcome);
  }
}

void Lane::settle() {
  for (std::size_t i = 0; i < entries_.size();) {
    if (!entries_[i]->issued || entries_[i]->under_way > 0) {
      ++i;
      continue;
    }
    const std::unique_ptr<Entry> entry = std::move(entries_[i]);
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(i));
    entry->operation.reset();
    entry->done(entry->error);
  }
}

}  // namespace gcr
