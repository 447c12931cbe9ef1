// Any bytes as events, and as each message of either side: what is decoded can be encoded again, in no more room.
#include <cstdlib>

#include "core/events.h"
#include "core/fuzz/fuzz.h"

using namespace gcr;

namespace {

template <class Event>
void decode(const EventView &view) {
  const auto event = decode_event<Event>(view);
  if (!event) return;
  const std::size_t size = event_bytes(*event);
  if (size > view.size) std::abort();
  std::vector<std::uint8_t> bytes(size);
  encode_event(*event, view.stream, view.flags, bytes.data(), size);
}

void decode_all(Bytes bytes, int depth) {
  while (const auto view = event_at(bytes)) {
    decode<ModuleEvent>(*view);
    decode<ModuleGoneEvent>(*view);
    decode<FunctionEvent>(*view);
    decode<VariableEvent>(*view);
    decode<AllocEvent>(*view);
    decode<FreeEvent>(*view);
    decode<LaunchEvent>(*view);
    decode<MemsetEvent>(*view);
    decode<CopyInEvent>(*view);
    decode<CopyEvent>(*view);
    decode<WroteEvent>(*view);
    decode<GraphLaunchEvent>(*view);
    decode<GraphGoneEvent>(*view);
    decode<StoppedEvent>(*view);
    decode<SharedEvent>(*view);
    decode<OrderedEvent>(*view);
    decode<WaitEvent>(*view);
    decode<TensorMapEvent>(*view);
    if (const auto graph = decode_event<GraphEvent>(*view); graph && depth < 4) decode_all(graph->events, depth + 1);
    bytes = bytes.subspan(view->size);
  }
}

template <class Body>
void round_trip(Bytes bytes) {
  if (const auto message = decode_message<Body>(bytes))
    if (encode_message(*message).size() != bytes.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
  const Bytes bytes(data, size);
  decode_all(bytes, 0);
  round_trip<HelloMessage>(bytes);
  round_trip<ImageMessage>(bytes);
  round_trip<HandleMessage>(bytes);
  round_trip<HandleGoneMessage>(bytes);
  round_trip<StoppedMessage>(bytes);
  round_trip<ReplyMessage>(bytes);
  round_trip<HeldMessage>(bytes);
  round_trip<WelcomeMessage>(bytes);
  round_trip<HoldMessage>(bytes);
  round_trip<AttachMessage>(bytes);
  round_trip<TransferMessage>(bytes);
  round_trip<LocateMessage>(bytes);
  round_trip<GuardMessage>(bytes);
  return 0;
}

template <class Event>
static void append(std::vector<std::uint8_t> &bytes, const Event &event) {
  const std::size_t at = bytes.size();
  const auto size = static_cast<std::uint32_t>(event_bytes(event));
  bytes.resize(at + size);
  encode_event(event, 3, 1, bytes.data() + at, size);
  std::memcpy(bytes.data() + at, &size, 4);
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  static const std::uint8_t content[128] = {1, 2, 3};
  std::vector<std::vector<std::uint8_t>> seeds(3);
  append(seeds[0], FunctionEvent{1, 2, 24, {{0, 8}, {8, 16}}, "kernel"});
  append(seeds[0], VariableEvent{1, 2, 3, 4, "variable"});
  append(seeds[0], WroteEvent{1, 2, "reason"});
  append(seeds[0], StoppedEvent{"why"});
  append(seeds[0], SharedEvent{"why"});
  LaunchEvent launch;
  launch.parameters = {content, 40};
  append(seeds[1], launch);
  append(seeds[1], CopyInEvent{{}, {content, 40}});
  const std::vector<std::uint8_t> inner = seeds[1];
  append(seeds[1], GraphEvent{1, 2, inner});
  append(seeds[2], AllocEvent{});
  append(seeds[2], FreeEvent{1});
  append(seeds[2], OrderedEvent{});
  append(seeds[2], WaitEvent{4});
  TensorMapEvent map;
  map.rank = 2;
  map.map = map.from = {content, TensorMapEvent::map_bytes};
  append(seeds[2], map);
  HelloMessage hello;
  hello.devices.resize(3);
  hello.devices[0].name = "device";
  seeds.push_back(encode_message(hello));
  seeds.push_back(encode_message(ImageMessage{}));
  seeds.push_back(encode_message(HandleMessage{}));
  seeds.push_back(encode_message(AttachMessage{0, {1, 2, 3}}));
  seeds.push_back(encode_message(HeldMessage{{0, "text"}, 9}));
  seeds.push_back(encode_message(LocateMessage{1, {"one", "another"}}));
  seeds.push_back(encode_message(GuardMessage{1}));
  seeds.push_back(encode_message(TransferMessage{4096, 16}));
  return seeds;
}
