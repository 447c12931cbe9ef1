// Entry points: streams, events, launches.
#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "driver.h"

namespace gcr::sim {
namespace {

constexpr unsigned event_external = 1;

// What a stream's memory operation compares (CUstreamWaitValue_flags).
bool reached(std::uint64_t found, std::uint64_t wanted, unsigned how, bool wide) {
  switch (how & 3) {
    case 0:  // at least, in circular order
      return wide ? static_cast<std::int64_t>(found - wanted) >= 0 : static_cast<std::int32_t>(found - wanted) >= 0;
    case 1:
      return found == wanted;
    case 2:
      return (found & wanted) != 0;
    default:
      return (~(found | wanted) & (wide ? ~0ull : 0xffffffffull)) != 0;
  }
}

template <class T>
T load(const Driver &driver, DevicePointer address) {
  if (driver.pinned.find(reinterpret_cast<const void *>(address))) {
    return __atomic_load_n(reinterpret_cast<T *>(address), __ATOMIC_ACQUIRE);
  }
  const auto held = driver.space.hold();
  const auto bytes = driver.space.pieces(address, sizeof(T), Access::read).front();
  return __atomic_load_n(reinterpret_cast<T *>(bytes.data()), __ATOMIC_ACQUIRE);
}

template <class T>
void save(const Driver &driver, DevicePointer address, T value) {
  if (driver.pinned.find(reinterpret_cast<const void *>(address))) {
    return __atomic_store_n(reinterpret_cast<T *>(address), value, __ATOMIC_RELEASE);
  }
  const auto held = driver.space.hold();
  const auto bytes = driver.space.pieces(address, sizeof(T), Access::read_write).front();
  __atomic_store_n(reinterpret_cast<T *>(bytes.data()), value, __ATOMIC_RELEASE);
}

void check_word(const Driver &driver, DevicePointer address, std::size_t size, Access access) {
  const bool pinned = driver.pinned.find(reinterpret_cast<const void *>(address)).has_value();
  require(address % size == 0 && (pinned || driver.space.accessible(address, size, access)), invalid_value);
}

void submit_uncaptured(Driver &driver, void *handle, std::function<void()> body) {
  const auto stream = driver.stream(handle);
  {
    const std::lock_guard lock(driver.graphs.mutex);
    require(!stream->capture, not_supported);
  }
  driver.submit(stream, std::move(body));
}

template <class T>
Result wait_value(void *stream, DevicePointer address, T value, unsigned flags) {
  return call([&](Driver &driver) {
    check_word(driver, address, sizeof(T), Access::read);
    submit_uncaptured(driver, stream, [&driver, address, value, flags] {
      while (!reached(load<T>(driver, address), value, flags, sizeof(T) == 8)) {
        if (driver.sticky() || driver.link.lost()) return;
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
  });
}

template <class T>
Result write_value(void *stream, DevicePointer address, T value) {
  return call([&](Driver &driver) {
    check_word(driver, address, sizeof(T), Access::read_write);
    submit_uncaptured(driver, stream, [&driver, address, value] { save(driver, address, value); });
  });
}

void create_stream(Driver &driver, Stream **stream, unsigned flags, int priority) {
  require(stream && flags <= 1, invalid_value);
  auto made = driver.queues.add(StreamKind::created, flags, priority, driver.current());
  *stream = driver.streams.add(std::move(made));
}

// Asking a capturing stream, or an event of one, breaks the capture.
void refuse_captured(Driver &driver, const std::shared_ptr<Stream> &stream) {
  const std::lock_guard lock(driver.graphs.mutex);
  if (stream->kind == StreamKind::legacy) driver.graphs.prohibit_implicit(stream->context);
  if (!stream->capture) return;
  stream->capture->invalid = true;
  fail(stream_capture_unsupported);
}

void refuse_captured(Driver &driver, const Event &event) {
  const std::lock_guard lock(driver.graphs.mutex);
  if (!event.capture) return;
  event.capture->invalid = true;
  fail(captured_event);
}

void record(Driver &driver, Event *handle, void *stream_handle, unsigned flags) {
  require(!(flags & event_external), not_supported);
  const auto event = driver.events.find(handle, invalid_handle);
  const auto stream = driver.stream(stream_handle);
  {
    const std::lock_guard lock(driver.graphs.mutex);
    if (stream->capture) return driver.graphs.record(*event, *stream);
    if (stream->kind == StreamKind::legacy) driver.graphs.prohibit_implicit(stream->context);
    event->capture = nullptr;
  }
  driver.queues.record(event, stream);
}

void wait_event(Driver &driver, void *stream_handle, Event *handle) {
  const auto event = driver.events.find(handle, invalid_handle);
  const auto stream = driver.stream(stream_handle);
  {
    const std::lock_guard lock(driver.graphs.mutex);
    if (event->capture) return driver.graphs.join(stream, *event);
    if (stream->capture) {
      stream->capture->invalid = true;
      fail(stream_capture_isolation);
    }
  }
  driver.queues.wait_for(stream, event);
}

void elapsed(Driver &driver, float *milliseconds, Event *first, Event *last) {
  require(milliseconds, invalid_value);
  const auto start = driver.events.find(first, invalid_handle);
  const auto end = driver.events.find(last, invalid_handle);
  require(start->timed() && end->timed(), invalid_handle);
  for (const auto &event : {start, end}) {
    const Ticket ticket = driver.queues.recorded(*event);
    require(ticket.stream != nullptr, invalid_handle);
    require(driver.queues.done(ticket), not_ready);
  }
  const std::chrono::duration<float, std::milli> between = driver.queues.time(*end) - driver.queues.time(*start);
  *milliseconds = between.count();
}

void launch(Driver &driver, const LaunchConfiguration &configuration, Function *function, void **parameters, void **extra) {
  KernelWork work = make_launch(driver.module_of(function), function, configuration.grid, configuration.block,
                                configuration.shared_memory, parameters, extra);
  for (unsigned i = 0; i < configuration.attribute_count; ++i) {
    const LaunchAttribute &attribute = configuration.attributes[i];
    if (attribute.id == 2) work.cooperative = attribute.value.cooperative != 0;
    if (attribute.id == 4) std::memcpy(work.cluster, attribute.value.cluster, sizeof(work.cluster));
  }
  check_launch(work);
  driver.dispatch(driver.stream(configuration.stream), node_kernel, std::move(work));
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

GCR_SIM_API cuStreamCreate(Stream **stream, unsigned flags) {
  return call([&](Driver &driver) { create_stream(driver, stream, flags, 0); });
}

GCR_SIM_API cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
  return call([&](Driver &driver) { create_stream(driver, stream, flags, std::min(0, std::max(-5, priority))); });
}

GCR_SIM_API cuStreamDestroy_v2(void *handle) {
  return call([&](Driver &driver) { driver.queues.remove(driver.streams.remove(handle, invalid_handle)); });
}

GCR_SIM_API cuStreamSynchronize(void *handle) {
  return call([&](Driver &driver) {
    const auto stream = driver.stream(handle);
    refuse_captured(driver, stream);
    // Waiting for the legacy default stream is waiting for what it would wait for.
    driver.wait(stream->kind == StreamKind::legacy ? driver.submit(stream, [] {}) : driver.queues.last(stream));
  });
}

GCR_SIM_API cuStreamQuery(void *handle) {
  return call([&](Driver &driver) {
    const auto stream = driver.stream(handle);
    refuse_captured(driver, stream);
    require(driver.queues.done(driver.queues.last(stream)), not_ready);
  });
}

GCR_SIM_API cuStreamWaitEvent(void *stream, Event *event, unsigned flags) {
  return call([&](Driver &driver) {
    require(!(flags & event_external), not_supported);
    wait_event(driver, stream, event);
  });
}

GCR_SIM_API cuStreamGetPriority(void *stream, int *priority) {
  return call([&](Driver &driver) {
    require(priority, invalid_value);
    *priority = driver.stream(stream)->priority;
  });
}

GCR_SIM_API cuStreamGetFlags(void *stream, unsigned *flags) {
  return call([&](Driver &driver) {
    require(flags, invalid_value);
    *flags = driver.stream(stream)->flags;
  });
}

GCR_SIM_API cuStreamGetId(void *stream, unsigned long long *number) {
  return call([&](Driver &driver) {
    require(number, invalid_value);
    *number = driver.queues.number(*driver.stream(stream));
  });
}

GCR_SIM_API cuStreamGetCtx(void *stream, void **context) {
  return call([&](Driver &driver) {
    require(context, invalid_value);
    *context = driver.stream(stream)->context;
  });
}

GCR_SIM_API cuStreamGetDevice(void *stream, Device *device) {
  return call([&](Driver &driver) {
    require(device, invalid_value);
    driver.stream(stream);
    *device = 0;
  });
}

GCR_SIM_API cuLaunchHostFunc(void *stream, HostFunction function, void *data) {
  return call([&](Driver &driver) {
    require(function, invalid_value);
    driver.dispatch(driver.stream(stream), node_host, HostWork{function, data});
  });
}

GCR_SIM_API cuStreamAddCallback(void *stream, StreamCallback callback, void *data, unsigned flags) {
  return call([&](Driver &driver) {
    require(callback && flags == 0, invalid_value);
    submit_uncaptured(driver, stream, [&driver, callback, stream, data] {
      thread_state().in_host_function = true;
      callback(stream, static_cast<Result>(driver.sticky()), data);
      thread_state().in_host_function = false;
    });
  });
}

GCR_SIM_API cuStreamWaitValue32_v2(void *stream, DevicePointer address, std::uint32_t value, unsigned flags) {
  return wait_value(stream, address, value, flags);
}
GCR_SIM_API cuStreamWaitValue64_v2(void *stream, DevicePointer address, std::uint64_t value, unsigned flags) {
  return wait_value(stream, address, value, flags);
}
GCR_SIM_API cuStreamWriteValue32_v2(void *stream, DevicePointer address, std::uint32_t value, unsigned) {
  return write_value(stream, address, value);
}
GCR_SIM_API cuStreamWriteValue64_v2(void *stream, DevicePointer address, std::uint64_t value, unsigned) {
  return write_value(stream, address, value);
}

GCR_SIM_API cuEventCreate(Event **event, unsigned flags) {
  return call([&](Driver &driver) {
    require(event, invalid_value);
    auto made = std::make_shared<Event>();
    made->flags = flags;
    *event = driver.events.add(std::move(made));
  });
}

GCR_SIM_API cuEventDestroy_v2(Event *event) {
  return call([&](Driver &driver) { driver.events.remove(event, invalid_handle); });
}

GCR_SIM_API cuEventRecord(Event *event, void *stream) {
  return call([&](Driver &driver) { record(driver, event, stream, 0); });
}

GCR_SIM_API cuEventRecordWithFlags(Event *event, void *stream, unsigned flags) {
  return call([&](Driver &driver) { record(driver, event, stream, flags); });
}

GCR_SIM_API cuEventQuery(Event *handle) {
  return call([&](Driver &driver) {
    const auto event = driver.events.find(handle, invalid_handle);
    refuse_captured(driver, *event);
    require(driver.queues.done(driver.queues.recorded(*event)), not_ready);
  });
}

GCR_SIM_API cuEventSynchronize(Event *handle) {
  return call([&](Driver &driver) {
    const auto event = driver.events.find(handle, invalid_handle);
    refuse_captured(driver, *event);
    driver.wait(driver.queues.recorded(*event));
  });
}

GCR_SIM_API cuEventElapsedTime(float *milliseconds, Event *first, Event *last) {
  return call([&](Driver &driver) { elapsed(driver, milliseconds, first, last); });
}

GCR_SIM_API cuEventElapsedTime_v2(float *milliseconds, Event *first, Event *last) {
  return cuEventElapsedTime(milliseconds, first, last);
}

GCR_SIM_API cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                           unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters,
                           void **extra) {
  return call([&](Driver &driver) {
    const LaunchConfiguration configuration{
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, static_cast<gcr::Stream>(stream), nullptr, 0};
    launch(driver, configuration, function, parameters, extra);
  });
}

GCR_SIM_API cuLaunchKernelEx(const LaunchConfiguration *configuration, Function *function, void **parameters,
                             void **extra) {
  return call([&](Driver &driver) {
    require(configuration, invalid_value);
    launch(driver, *configuration, function, parameters, extra);
  });
}

GCR_SIM_API cuLaunchCooperativeKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                                      unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                                      void *stream, void **parameters) {
  return call([&](Driver &driver) {
    LaunchAttribute cooperative{};
    cooperative.id = attribute_cooperative;
    cooperative.value.cooperative = 1;
    const LaunchConfiguration configuration{
        {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, static_cast<gcr::Stream>(stream), &cooperative, 1};
    launch(driver, configuration, function, parameters, nullptr);
  });
}
