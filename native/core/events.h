// Events of the ring and messages of the recorder's channel as structures (docs/formats/runtime-protocol.md). Every structure
// lists its fields once; size, encoder and decoder follow from the list. Strings and contents of a decoded structure are views
// into the bytes it was decoded from. Relied on by the recorder (encodes) and by tests and tools (decode).
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "wire.h"

namespace gcr {

constexpr std::uint32_t protocol_version = 5;

// number, name
#define GCR_EVENT_TYPES(X)                                                                                                    \
  X(0, filler) X(1, module) X(2, module_gone) X(3, function) X(4, variable) X(5, alloc) X(6, free) X(7, launch) X(8, memset)  \
  X(9, copy_in) X(10, copy) X(11, wrote) X(12, graph) X(13, graph_launch) X(14, graph_gone) X(15, ordered) X(16, stopped)     \
  X(17, wait) X(18, tensor_map) X(19, call) X(20, shared)

enum class EventType : std::uint16_t {
#define GCR_ENUMERATOR(number, name) name = number,
  GCR_EVENT_TYPES(GCR_ENUMERATOR)
#undef GCR_ENUMERATOR
};

// The name of an event's type, null for a number that is none.
const char *event_name(EventType type);

constexpr std::size_t event_head_bytes = 16;
constexpr std::uint32_t unknown_parameter_bytes = 0xffffffff;
constexpr std::size_t copy_in_most_bytes = 4096;

constexpr std::uint64_t legacy_stream = 0;
constexpr std::uint64_t per_thread_stream = 1;

using Bytes = std::span<const std::uint8_t>;

struct ModuleEvent {
  static constexpr EventType type = EventType::module;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

struct ModuleGoneEvent {
  static constexpr EventType type = EventType::module_gone;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

struct ParameterPlace {
  std::uint32_t offset = 0, size = 0;
};

struct FunctionEvent {
  static constexpr EventType type = EventType::function;
  std::uint64_t number = 0, module = 0;
  std::uint32_t parameter_bytes = unknown_parameter_bytes;
  std::vector<ParameterPlace> parameters;
  std::string_view name;
  void fields(auto &f) {
    f(number);
    f(module);
    f(parameter_bytes);
    auto count = static_cast<std::uint32_t>(parameters.size());
    f(count);
    resize_for(f, parameters, count, 8);
    for (ParameterPlace &place : parameters) {
      f(place.offset);
      f(place.size);
    }
    f(name);
  }

 private:
  template <class Visitor, class List>
  static void resize_for(Visitor &f, List &list, std::uint32_t count, std::size_t bytes) {
    // A count that the bytes do not bear out must not reserve memory; reading on then finds that something is missing.
    if constexpr (requires { f.left(); }) list.resize(count <= f.left() / bytes ? count : (f.take_view(SIZE_MAX), 0));
  }
};

struct VariableEvent {
  static constexpr EventType type = EventType::variable;
  std::uint64_t module = 0, address = 0, size = 0, allocation = 0;
  std::string_view name;
  void fields(auto &f) {
    f(module);
    f(address);
    f(size);
    f(allocation);
    f(name);
  }
};
// It has another place in every context: which one a launch means is not told.
constexpr std::uint16_t variable_of_several = 1;

enum class AllocationKind : std::uint32_t {
  device = 0,
  module_variable = 1,
  managed = 2,
  imported = 3,
  pool = 4,
  mapped_by_application = 5,
  array = 6,
};

struct AllocEvent {
  static constexpr EventType type = EventType::alloc;
  std::uint64_t number = 0, address = 0, size = 0, handle = 0, handle_offset = 0;
  std::uint32_t kind = 0, saveable = 0;
  void fields(auto &f) {
    f(number);
    f(address);
    f(size);
    f(handle);
    f(handle_offset);
    f(kind);
    f(saveable);
  }
};

// Flags of an `alloc`: which family of documented libraries made it for itself.
constexpr std::uint16_t alloc_of_cublas = 1, alloc_of_nccl = 2;

struct FreeEvent {
  static constexpr EventType type = EventType::free;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

constexpr std::uint16_t launch_cooperative = 1;
constexpr std::uint16_t launch_incomplete = 2;

struct LaunchHead {
  std::uint64_t function = 0;
  std::uint32_t grid[3] = {}, block[3] = {}, cluster[3] = {};
  std::uint32_t shared_memory = 0;
  std::uint32_t call = 0;  // number of the call that it is made in, 0: none
};
// `Parameters`: bytes, or what puts them where the event has them.
template <class Parameters>
struct BasicLaunchEvent : LaunchHead {
  static constexpr EventType type = EventType::launch;
  Parameters parameters;
  void fields(auto &f) {
    f(function);
    for (auto *triple : {grid, block, cluster})
      for (int axis = 0; axis < 3; ++axis) f(triple[axis]);
    f(shared_memory);
    auto count = static_cast<std::uint32_t>(parameters.size());
    f(count);
    f(call);
    if constexpr (requires { f.take_view(0); }) parameters = f.take_view(count);
    else f.bytes(parameters);
  }
};
using LaunchEvent = BasicLaunchEvent<Bytes>;

struct MemsetEvent {
  static constexpr EventType type = EventType::memset;
  std::uint64_t address = 0, pitch = 0, width = 0, height = 0;
  std::uint32_t value = 0, element = 0;
  void fields(auto &f) {
    f(address);
    f(pitch);
    f(width);
    f(height);
    f(value);
    f(element);
  }
};

// Where a copy writes: `depth` slices of `height` rows of `width` bytes.
struct CopyTarget {
  std::uint64_t address = 0, pitch = 0, width = 0, height = 1, depth = 1, slice_pitch = 0;
  void fields(auto &f) {
    f(address);
    f(pitch);
    f(width);
    f(height);
    f(depth);
    f(slice_pitch);
  }
};

struct CopyInEvent {
  static constexpr EventType type = EventType::copy_in;
  CopyTarget target;
  Bytes content;
  void fields(auto &f) {
    target.fields(f);
    auto count = static_cast<std::uint32_t>(content.size());
    f(count);
    f.zeros(4);
    if constexpr (requires { f.take_view(0); }) content = f.take_view(count);
    else f.bytes(content);
  }
};

constexpr std::uint16_t copy_scattered = 1;

struct CopyEvent {
  static constexpr EventType type = EventType::copy;
  CopyTarget target;
  std::uint64_t source = 0;
  void fields(auto &f) {
    target.fields(f);
    f(source);
  }
};

struct WroteEvent {
  static constexpr EventType type = EventType::wrote;
  std::uint64_t address = 0, size = 0;
  std::string_view reason;
  void fields(auto &f) {
    f(address);
    f(size);
    f(reason);
  }
};

struct GraphEvent {
  static constexpr EventType type = EventType::graph;
  std::uint64_t number = 0;
  std::uint32_t count = 0;
  Bytes events;  // encoded, heads included
  void fields(auto &f) {
    f(number);
    f(count);
    f.zeros(4);
    if constexpr (requires { f.take_view(0); }) events = f.take_view(f.left());
    else f.bytes(events);
  }
};

struct GraphLaunchEvent {
  static constexpr EventType type = EventType::graph_launch;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

struct GraphGoneEvent {
  static constexpr EventType type = EventType::graph_gone;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

constexpr std::uint16_t ordered_one_stream = 1;

struct OrderedEvent {
  static constexpr EventType type = EventType::ordered;
  void fields(auto &) {}
};

constexpr std::uint16_t stopped_all = 1;  // allocations are not told any more either

struct StoppedEvent {
  static constexpr EventType type = EventType::stopped;
  std::string_view reason;
  void fields(auto &f) { f(reason); }
};

// Device memory may be another process's, too, from here on: no other memory may take its place.
struct SharedEvent {
  static constexpr EventType type = EventType::shared;
  std::string_view reason;
  void fields(auto &f) { f(reason); }
};

struct WaitEvent {
  static constexpr EventType type = EventType::wait;
  std::uint64_t other = 0;
  void fields(auto &f) { f(other); }
};

enum class TensorMapKind : std::uint32_t { tiled = 0, im2col = 1, im2col_wide = 2, moved = 3 };

// A tensor map as it was encoded, with what it was encoded from. One that was `moved` is another (`from`) with a new address, and says nothing else.
struct TensorMapEvent {
  static constexpr EventType type = EventType::tensor_map;
  static constexpr std::size_t map_bytes = 128, max_rank = 5;
  std::uint64_t address = 0;
  TensorMapKind kind = TensorMapKind::tiled;
  std::uint32_t data_type = 0, rank = 0, interleave = 0, swizzle = 0;
  std::uint64_t sizes[max_rank] = {}, strides[max_rank - 1] = {};
  std::uint32_t box[max_rank] = {}, steps[max_rank] = {};
  Bytes map, from;  // of 128 bytes each
  void fields(auto &f) {
    f(address);
    auto number = static_cast<std::uint32_t>(kind);
    f(number);
    kind = static_cast<TensorMapKind>(number);
    f(data_type);
    f(rank);
    f(interleave);
    f(swizzle);
    f.zeros(4);
    for (std::uint64_t &size : sizes) f(size);
    for (std::uint64_t &stride : strides) f(stride);
    for (std::uint32_t &length : box) f(length);
    for (std::uint32_t &step : steps) f(step);
    for (Bytes *content : {&map, &from}) {
      if constexpr (requires { f.take_view(0); }) *content = f.take_view(map_bytes);
      else f.bytes(*content);
    }
  }
};

// A call of a documented library: what launches that name its number may write if nothing else is known of them. A later one of the same number
// takes its place.
// `Outputs`: a list of CopyTarget.
template <class Outputs>
struct BasicCallEvent {
  static constexpr EventType type = EventType::call;
  std::uint32_t number = 0;
  std::uint32_t family = 0;  // of libraries: its own allocations may be written, too
  Outputs outputs;
  std::string_view name;
  void fields(auto &f) {
    f(number);
    f(family);
    auto count = static_cast<std::uint32_t>(outputs.size());
    f(count);
    f.zeros(4);
    if constexpr (requires { f.left(); }) outputs.resize(count <= f.left() / 48 ? count : (f.take_view(SIZE_MAX), 0));
    for (CopyTarget &output : outputs) output.fields(f);
    f(name);
  }
};
using CallEvent = BasicCallEvent<std::vector<CopyTarget>>;

// Size of the encoded event: head and body, filled with zeros to a multiple of 16.
template <class Event>
std::size_t event_bytes(const Event &event) {
  Sizer sizer;
  const_cast<Event &>(event).fields(sizer);
  return round_up_to(event_head_bytes + sizer.size(), 16);
}

// Writes all of the event but its first four bytes, which the ring stores last.
template <class Event>
void encode_event(const Event &event, std::uint64_t stream, std::uint16_t flags, std::uint8_t *to, std::size_t size) {
  const auto type = static_cast<std::uint16_t>(Event::type);
  std::memcpy(to + 4, &type, 2);
  std::memcpy(to + 6, &flags, 2);
  std::memcpy(to + 8, &stream, 8);
  // What fills it up to a multiple of 16.
  if (size > event_head_bytes) std::memset(to + size - 16, 0, 16);
  Writer writer(to + event_head_bytes);
  const_cast<Event &>(event).fields(writer);
}

// An event as it lies in a drained run of events.
struct EventView {
  EventType type = EventType::filler;
  std::uint16_t flags = 0;
  std::uint64_t stream = 0;
  Bytes body;
  std::size_t size = 0;
};

// The event at the beginning of `bytes`; nothing when its head does not fit them.
std::optional<EventView> event_at(Bytes bytes);

// The body of an event; nothing when it is of another type or its body is too short.
template <class Event>
std::optional<Event> decode_event(const EventView &view) {
  if (view.type != Event::type) return std::nullopt;
  Event event;
  Reader reader(view.body);
  event.fields(reader);
  if (!reader.good()) return std::nullopt;
  return event;
}

// number, name; below 16 sent by the recorder, else by the supervisor
#define GCR_MESSAGE_TYPES(X)                                                                                              \
  X(1, hello) X(2, image) X(3, handle) X(4, handle_gone) X(5, stopped) X(6, reply) X(7, vacant) X(8, known_image) X(9, kept)  \
  X(10, in_use)                                                                                                           \
  X(16, welcome) X(17, hold) X(18, release) X(19, detach) X(20, attach) X(21, ping) X(22, read) X(23, write) X(24, locate)   \
  X(25, guard) X(26, keep) X(27, image_name) X(28, park) X(29, quiet)

enum class MessageType : std::uint16_t {
#define GCR_ENUMERATOR(number, name) name = number,
  GCR_MESSAGE_TYPES(GCR_ENUMERATOR)
#undef GCR_ENUMERATOR
};

struct DeviceDescription {
  std::uint8_t uuid[16] = {};
  std::uint64_t memory_bytes = 0;
  std::string name;
  std::uint32_t architecture = 0;  // compute capability, 90 for 9.0; 0 not known
};

// What a process is to the supervisor that it says hello to.
enum class Greeting : std::uint32_t {
  begins = 0,    // nothing was told of it before
  runs = 1,      // its supervisor has gone, and it went on
  detached = 2,  // its supervisor has gone, or let it go, and it has no device memory
};

struct HelloMessage {
  static constexpr MessageType type = MessageType::hello;
  std::uint32_t version = protocol_version, pid = 0;
  std::uint64_t start_time = 0, ring_bytes = 0;
  std::uint32_t driver_version = 0;
  Greeting greeting = Greeting::begins;
  std::vector<DeviceDescription> devices;
  void fields(auto &f) {
    f(version);
    f(pid);
    f(start_time);
    f(ring_bytes);
    f(driver_version);
    auto state = static_cast<std::uint32_t>(greeting);
    f(state);
    greeting = static_cast<Greeting>(state);
    auto count = static_cast<std::uint32_t>(devices.size());
    f(count);
    if constexpr (requires { f.left(); }) devices.resize(count <= f.left() / 32 ? count : (f.take_view(SIZE_MAX), 0));
    for (DeviceDescription &device : devices) {
      if constexpr (requires { f.left(); }) {
        if (const Bytes uuid = f.take_view(16); uuid.size() == 16) std::memcpy(device.uuid, uuid.data(), 16);
      } else {
        f.bytes(Bytes(device.uuid));
      }
      f(device.memory_bytes);
      std::string_view name = device.name;
      f(name);
      if constexpr (requires { f.left(); }) device.name = name;
      f(device.architecture);
    }
  }
};

struct ImageMessage {
  static constexpr MessageType type = MessageType::image;
  std::uint64_t module = 0, size = 0;
  std::uint32_t kind = 0;  // 0 unknown, 1 PTX text, 2 cubin, 3 fatbin
  void fields(auto &f) {
    f(module);
    f(size);
    f(kind);
    f.zeros(4);
  }
};

struct HandleMessage {
  static constexpr MessageType type = MessageType::handle;
  std::uint64_t number = 0, size = 0;
  std::uint32_t device = 0;
  void fields(auto &f) {
    f(number);
    f(size);
    f(device);
    f.zeros(4);
  }
};

struct HandleGoneMessage {
  static constexpr MessageType type = MessageType::handle_gone;
  std::uint64_t number = 0;
  void fields(auto &f) { f(number); }
};

// A handle whose memory was given up; the new supervisor makes other memory of that size.
struct VacantMessage {
  static constexpr MessageType type = MessageType::vacant;
  std::uint64_t number = 0, size = 0;
  std::uint32_t device = 0;
  void fields(auto &f) {
    f(number);
    f(size);
    f(device);
    f.zeros(4);
  }
};

// The process has a context on a device, which takes room there even without memory of the program's.
struct InUseMessage {
  static constexpr MessageType type = MessageType::in_use;
  std::uint32_t device = 0;
  void fields(auto &f) {
    f(device);
    f.zeros(4);
  }
};

// `known_image` and `image_name`: a module's image by its SHA-256; zeros when it was never named.
using ImageName = std::array<std::uint8_t, 32>;
template <MessageType message_type>
struct NamedImage {
  static constexpr MessageType type = message_type;
  std::uint64_t module = 0;
  ImageName name{};
  void fields(auto &f) {
    f(module);
    if constexpr (requires { f.left(); }) {
      if (const Bytes bytes = f.take_view(name.size()); bytes.size() == name.size()) std::copy(bytes.begin(), bytes.end(), name.begin());
    } else {
      f.bytes(Bytes(name));
    }
  }
};
using KnownImageMessage = NamedImage<MessageType::known_image>;
using ImageNameMessage = NamedImage<MessageType::image_name>;

// What the last `keep` said.
struct KeptMessage {
  static constexpr MessageType type = MessageType::kept;
  std::string_view text;
  void fields(auto &f) { f(text); }
};

struct StoppedMessage {
  static constexpr MessageType type = MessageType::stopped;
  std::string_view reason;
  void fields(auto &f) { f(reason); }
};

struct ReplyMessage {
  static constexpr MessageType type = MessageType::reply;
  std::uint32_t status = 0;
  std::string_view text;
  void fields(auto &f) {
    f(status);
    f(text);
  }
};

// The reply to `hold`.
struct HeldMessage {
  static constexpr MessageType type = MessageType::reply;
  ReplyMessage reply;
  std::uint64_t position = 0;
  std::uint64_t untold = 0;  // launches that were not told, since the hello
  void fields(auto &f) {
    reply.fields(f);
    f(position);
    f(untold);
  }
};

constexpr std::uint32_t welcome_known = 1;  // this supervisor knows the process: nothing is to be told again

struct WelcomeMessage {
  static constexpr MessageType type = MessageType::welcome;
  std::uint32_t version = protocol_version, flags = 0;
  void fields(auto &f) {
    f(version);
    f(flags);
  }
};

struct HoldMessage {
  static constexpr MessageType type = MessageType::hold;
  std::uint32_t deadline_ms = 0;
  void fields(auto &f) { f(deadline_ms); }
};

struct AttachMessage {
  static constexpr MessageType type = MessageType::attach;
  std::uint32_t more = 0;
  std::vector<std::uint64_t> handles;
  void fields(auto &f) {
    auto count = static_cast<std::uint32_t>(handles.size());
    f(count);
    f(more);
    if constexpr (requires { f.left(); }) handles.resize(count <= f.left() / 8 ? count : (f.take_view(SIZE_MAX), 0));
    for (std::uint64_t &handle : handles) f(handle);
  }
};

// `read` and `write`.
struct TransferMessage {
  std::uint64_t address = 0, size = 0;
  void fields(auto &f) {
    f(address);
    f(size);
  }
};

struct GuardMessage {
  static constexpr MessageType type = MessageType::guard;
  std::uint32_t on = 0;
  void fields(auto &f) { f(on); }
};

constexpr std::uint32_t keep_saved = 1;  // what the memory held is in a store: a detached process waits for as long as it takes

struct KeepMessage {
  static constexpr MessageType type = MessageType::keep;
  std::uint32_t flags = 0;
  std::string_view text;
  void fields(auto &f) {
    f(flags);
    f(text);
  }
};

struct LocateMessage {
  static constexpr MessageType type = MessageType::locate;
  std::uint64_t module = 0;
  std::vector<std::string_view> names;
  void fields(auto &f) {
    auto count = static_cast<std::uint32_t>(names.size());
    f(module);
    f(count);
    if constexpr (requires { f.left(); }) names.resize(count <= f.left() / 4 ? count : (f.take_view(SIZE_MAX), 0));
    for (std::string_view &name : names) f(name);
  }
};

template <class Body>
std::vector<std::uint8_t> encode_message(const Body &message) {
  Sizer sizer;
  const_cast<Body &>(message).fields(sizer);
  std::vector<std::uint8_t> bytes(sizer.size());
  Writer writer(bytes.data());
  const_cast<Body &>(message).fields(writer);
  return bytes;
}

// Nothing when the body is longer or shorter than its fields.
template <class Body>
std::optional<Body> decode_message(Bytes body) {
  Body message;
  Reader reader(body);
  message.fields(reader);
  if (!reader.good() || reader.left()) return std::nullopt;
  return message;
}

}  // namespace gcr
