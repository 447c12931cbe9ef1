// What every call of the driver asks, side by side in two lines of the processor's cache: a program that calls the driver now and then has put most of
// the recorder out of there by the next call. Each field belongs to the part of the recorder that is named; together with Recorder::current() they
// are the process's one recorder, so they have a fixed place.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "core/ring.h"

namespace gcr {

struct Recorder;

// What is still told: everything; no writes any more, but allocations and handles; nothing.
enum class Telling : int { all, allocations, nothing };

struct alignas(128) Hot {
  std::atomic<Recorder *> recorder{nullptr};          // Recorder::current
  std::atomic<std::uint32_t> closed{0};               // Gate
  std::atomic<bool> fenced{true};                     // Gate
  std::atomic<bool> interrupted{false};               // a signal handler called the driver out of our own code
  std::atomic<Telling> telling{Telling::nothing};     // Emitter
  std::atomic<bool> quiet{false};                     // launches of kernels are counted instead of told (MessageType::quiet)
  std::atomic<int> captures{0};                       // how many streams are being captured
  std::atomic<std::uint64_t> functions{1};            // Modules: what threads remember of functions holds while it is the same
  std::atomic<std::uint64_t> streams{1};              // Streams: the same of streams
  alignas(64) std::optional<RingWriter> writer;       // Emitter

  // Whether launches need not be looked at. Those that are captured are: their graph is told.
  bool passes_launches() const { return quiet.load(std::memory_order_relaxed) && captures.load(std::memory_order_relaxed) == 0; }
  // … and are counted: no longer when writes are not told at all.
  bool counts_launches() const { return passes_launches() && telling.load(std::memory_order_relaxed) == Telling::all; }

  // For a recorder that is made, in a child of fork after the parent's.
  void begin() {
    closed = 0;
    interrupted = false;
    telling = Telling::nothing;
    quiet = false;
    captures = 0;
    functions.fetch_add(1);
    streams.fetch_add(1);
    writer.reset();
  }
};
static_assert(sizeof(Hot) == 128);

extern constinit Hot hot;

}  // namespace gcr
