// See queue.h.
#include "queue.h"

#include <algorithm>

#include "link.h"

namespace gcr::sim {

std::shared_ptr<Stream> Queues::add(StreamKind kind, unsigned flags, int priority, void *context) {
  auto stream = std::make_shared<Stream>(kind, flags, priority, context);
  const std::lock_guard lock(mutex_);
  stream->number_ = next_++;
  streams_.emplace(stream->number_, stream);
  return stream;
}

void Queues::remove(const std::shared_ptr<Stream> &stream) {
  const std::lock_guard lock(mutex_);
  stream->closing_ = true;
  // Its thread takes it out once it has run dry.
  if (!stream->started_) streams_.erase(stream->number_);
  changed_.notify_all();
}

bool Queues::complete(const Ticket &ticket) { return !ticket.stream || ticket.stream->completed_ >= ticket.number; }

Ticket Queues::enqueue(const std::shared_ptr<Stream> &stream, std::function<void()> run, std::vector<Ticket> after) {
  const bool blocking = !(stream->flags & 1);
  for (const auto &[number, other] : streams_) {
    if (other == stream || other->context != stream->context || (other->flags & 1) || !blocking) continue;
    const bool ordered = stream->kind == StreamKind::legacy || other->kind == StreamKind::legacy;
    if (ordered && other->completed_ < other->submitted_) after.push_back({other, other->submitted_});
  }
  std::erase_if(after, complete);
  stream->items_.push_back({std::move(after), std::move(run)});
  if (!stream->started_) {
    stream->started_ = true;
    start_thread([this, stream] { serve(stream); });
  }
  changed_.notify_all();
  return {stream, ++stream->submitted_};
}

Ticket Queues::submit(const std::shared_ptr<Stream> &stream, std::function<void()> run, std::vector<Ticket> after) {
  const std::lock_guard lock(mutex_);
  return enqueue(stream, std::move(run), std::move(after));
}

void Queues::record(const std::shared_ptr<Event> &event, const std::shared_ptr<Stream> &stream) {
  const std::lock_guard lock(mutex_);
  event->recorded = enqueue(stream,
                            [this, event] {
                              const auto now = std::chrono::steady_clock::now();
                              const std::lock_guard lock(mutex_);
                              event->time = now;
                            },
                            {});
}

void Queues::wait_for(const std::shared_ptr<Stream> &stream, const std::shared_ptr<Event> &event) {
  const std::lock_guard lock(mutex_);
  if (complete(event->recorded)) return;
  enqueue(stream, [] {}, {event->recorded});
}

void Queues::wait(const Ticket &ticket) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return complete(ticket); });
}

bool Queues::done(const Ticket &ticket) const {
  const std::lock_guard lock(mutex_);
  return complete(ticket);
}

Ticket Queues::last(const std::shared_ptr<Stream> &stream) const {
  const std::lock_guard lock(mutex_);
  return {stream, stream->submitted_};
}

Ticket Queues::recorded(const Event &event) const {
  const std::lock_guard lock(mutex_);
  return event.recorded;
}

std::chrono::steady_clock::time_point Queues::time(const Event &event) const {
  const std::lock_guard lock(mutex_);
  return event.time;
}

bool Queues::drain(const void *context, std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  std::vector<Ticket> pending;
  for (const auto &[number, stream] : streams_) {
    if (!context || stream->context == context) pending.push_back({stream, stream->submitted_});
  }
  const auto empty = [&] { return std::all_of(pending.begin(), pending.end(), complete); };
  if (timeout.count() > 0) return changed_.wait_for(lock, timeout, empty);
  changed_.wait(lock, empty);
  return true;
}

void Queues::serve(const std::shared_ptr<Stream> &stream) {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !stream->items_.empty() || stream->closing_; });
    if (stream->items_.empty()) break;
    Stream::Item item = std::move(stream->items_.front());
    stream->items_.pop_front();
    changed_.wait(lock, [&] { return std::all_of(item.after.begin(), item.after.end(), complete); });
    lock.unlock();
    item.run();
    item = {};
    lock.lock();
    ++stream->completed_;
    changed_.notify_all();
  }
  streams_.erase(stream->number_);
}

}  // namespace gcr::sim
