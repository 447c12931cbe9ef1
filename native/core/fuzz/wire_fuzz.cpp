// Decodes arbitrary bytes as events and as each message. With a fuzzer, LLVMFuzzerTestOneInput is the target; without one
// (GCR_FUZZ_STANDALONE) `main` feeds it what changes, truncations and random bytes make of valid inputs: wire_fuzz [ROUNDS [SEED]].
#include <cstdio>
#include <cstdlib>
#include <random>

#include "../events.h"

using namespace gcr;

namespace {

template <class Event>
void decode(const EventView &view) {
  const auto event = decode_event<Event>(view);
  if (!event) return;
  // What was decoded can be encoded again, in no more room.
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
    decode<WaitEvent>(*view);
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
  return 0;
}

#ifdef GCR_FUZZ_STANDALONE
namespace {

template <class Event>
void append(std::vector<std::uint8_t> &bytes, const Event &event) {
  const std::size_t at = bytes.size();
  const auto size = static_cast<std::uint32_t>(event_bytes(event));
  bytes.resize(at + size);
  encode_event(event, 3, 1, bytes.data() + at, size);
  std::memcpy(bytes.data() + at, &size, 4);
}

}  // namespace

int main(int count, char **arguments) {
  const long rounds = count > 1 ? std::atol(arguments[1]) : 100000;
  std::mt19937 random(count > 2 ? static_cast<unsigned>(std::atol(arguments[2])) : 1);
  const std::uint8_t content[40] = {1, 2, 3};
  std::vector<std::vector<std::uint8_t>> seeds(2);
  append(seeds[0], FunctionEvent{1, 2, 24, {{0, 8}, {8, 16}}, "kernel"});
  append(seeds[0], VariableEvent{1, 2, 3, 4, "variable"});
  append(seeds[0], WroteEvent{1, 2, "reason"});
  append(seeds[0], StoppedEvent{"why"});
  LaunchEvent launch;
  launch.parameters = content;
  append(seeds[1], launch);
  append(seeds[1], CopyInEvent{{}, content});
  const std::vector<std::uint8_t> inner = seeds[1];
  append(seeds[1], GraphEvent{1, 2, inner});
  HelloMessage hello;
  hello.devices.resize(3);
  hello.devices[0].name = "device";
  seeds.push_back(encode_message(hello));
  seeds.push_back(encode_message(AttachMessage{0, {1, 2, 3}}));
  seeds.push_back(encode_message(HeldMessage{{0, "text"}, 9}));
  for (long round = 0; round < rounds; ++round) {
    std::vector<std::uint8_t> input = seeds[random() % seeds.size()];
    for (unsigned changes = random() % 6; changes; --changes) {
      const std::uint8_t values[] = {0, 1, 0x10, 0x7f, 0x80, 0xff, static_cast<std::uint8_t>(random())};
      input[random() % input.size()] = values[random() % 7];
    }
    if (random() % 4 == 0) input.resize(random() % (input.size() + 1));
    // Exactly as long as the input, so that a sanitizer sees the first byte beyond.
    const std::vector<std::uint8_t> exact(input.begin(), input.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%ld inputs\n", rounds);
}
#endif
