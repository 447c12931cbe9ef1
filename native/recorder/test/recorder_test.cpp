// The recorder against a supervisor made here: recorder_test RECORDER DRIVER SCENARIO COVERAGE. Each test starts an application under the
// recorder, reads its ring, and plays the supervisor's part; some kill one side and look at the other.
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <functional>
#include <string>

#include "recorder/test/session.h"

using namespace gcr;

namespace {

std::string scenario, coverage;

void every_row_is_reached() {
  Session session(coverage, "", {"FAKE_COUNT=1"});
  session.meet();
  CHECK(session.said().ends_with(" rows\n"));
  CHECK(session.ended() == 0);
  // The function that nobody knows was seen to be called.
  const auto stopped = session.of(EventType::stopped);
  CHECK(!stopped.empty());
}

void events_are_told() {
  Session session(scenario, "events");
  session.meet();
  CHECK(session.hello().devices.size() == 2 && session.hello().devices[1].name == "Fake 1" && session.hello().devices[1].architecture == 91 && session.hello().driver_version == 13000);
  CHECK(session.said() == "done");
  const auto allocs = session.of(EventType::alloc);
  // Two in one slab, one of its own, a pool's, a managed one, a variable, an array, and one in the freed one's place.
  CHECK(allocs.size() == 8);
  const auto alloc = [&](std::size_t i) { return allocs[i].as<AllocEvent>(); };
  CHECK(alloc(0).size == 1000 && alloc(0).handle == 1 && alloc(0).handle_offset == 0 && alloc(0).saveable == 1);
  CHECK(alloc(1).handle == 1 && alloc(1).handle_offset == 1024 && alloc(1).address == alloc(0).address + 1024);
  CHECK(alloc(2).handle == 2 && alloc(2).size == 3 << 20);
  CHECK(alloc(3).kind == 4 && alloc(3).handle == 0 && alloc(3).saveable == 1 && alloc(4).kind == 2);
  CHECK(alloc(5).kind == 1 && alloc(6).kind == 6 && alloc(6).saveable == 0 && alloc(7).address == alloc(1).address);
  CHECK(session.handles.size() == 1 && session.handles[1].handle.size == 2 << 20);
  struct stat status {};
  CHECK(fstat(session.handles[1].descriptor.get(), &status) == 0 && status.st_size == 2 << 20);
  CHECK(session.images[1] == ".version 8.0\n.target sm_90\n" && session.images[2] == ".version 8.1\n");
  // Told anew when its clusters change.
  const auto function = session.of(EventType::function);
  CHECK(function.size() == 3 && function[0].as<FunctionEvent>().name == "fill" && function[0].as<FunctionEvent>().module == 1);
  CHECK(function[0].as<FunctionEvent>().parameter_bytes == 12 && function[0].as<FunctionEvent>().parameters.size() == 2);
  const auto launches = session.of(EventType::launch);
  CHECK(launches.size() == 5);
  const std::uint64_t stream = launches[0].stream, own = launches[1].stream;
  // One that does not wait for the legacy default stream, the thread's own, which does, and that itself.
  CHECK(stream % 2 == 1 && own >= 2 && own % 2 == 0 && launches[3].stream == 0);
  const auto first = launches[0].as<LaunchEvent>(), clustered = launches[1].as<LaunchEvent>(), extra = launches[3].as<LaunchEvent>();
  const auto required = launches[2].as<LaunchEvent>();
  CHECK(required.cluster[0] == 4 && required.cluster[1] == 3 && required.cluster[2] == 2 && extra.cluster[0] == 0);
  CHECK(first.grid[0] == 3 && first.block[0] == 32 && first.parameters.size() == 12 && launches[0].flags == 0);
  CHECK(std::memcmp(first.parameters.data(), &(const std::uint64_t &)alloc(0).address, 8) == 0 && first.parameters[8] == 100);
  CHECK(clustered.cluster[0] == 2 && clustered.grid[0] == 4 && clustered.shared_memory == 128);
  CHECK(extra.parameters.size() == 12 && std::memcmp(extra.parameters.data(), &(const std::uint64_t &)alloc(1).address, 8) == 0);
  const auto in = session.of(EventType::copy_in);
  CHECK(in.size() == 1 && in[0].as<CopyInEvent>().content.size() == 16 && in[0].as<CopyInEvent>().content[8] == 8);
  const auto sets = session.of(EventType::memset);
  CHECK(sets.size() == 3);  // and the value that a stream writes
  CHECK(sets[1].as<MemsetEvent>().width == 20 && sets[1].as<MemsetEvent>().pitch == 64 && sets[1].as<MemsetEvent>().height == 3);
  CHECK(sets[2].as<MemsetEvent>().value == 9 && sets[2].stream == stream);
  const auto copies = session.of(EventType::copy);
  CHECK(copies.size() == 2 && copies[0].as<CopyEvent>().source == alloc(0).address && copies[0].stream == stream);
  CHECK(copies[1].as<CopyEvent>().target.address == alloc(2).address + 512 + 4 && copies[1].flags == copy_scattered);
  const auto waits = session.of(EventType::wait);
  // Two more recordings, whose events something else recorded before they were waited for.
  CHECK(waits.size() == 4 && waits[0].as<WaitEvent>().other == stream && waits[1].as<WaitEvent>().other == waits[0].stream && waits[1].stream == 0);
  const auto ordered = session.of(EventType::ordered);
  CHECK(ordered.size() == 3 && ordered[0].stream == waits[0].stream && ordered[1].stream == stream && ordered[2].flags == 0);
  const auto variable = session.of(EventType::variable);
  CHECK(variable.size() == 1 && variable[0].as<VariableEvent>().name == "table" && variable[0].as<VariableEvent>().allocation == alloc(5).number);
  const auto maps = session.of(EventType::tensor_map);
  CHECK(maps.size() == 2);
  const TensorMapEvent tiled = maps[0].as<TensorMapEvent>(), moved = maps[1].as<TensorMapEvent>();
  CHECK(tiled.kind == TensorMapKind::tiled && tiled.address == alloc(2).address && tiled.data_type == 7 && tiled.rank == 2 && tiled.swizzle == 3);
  CHECK(tiled.sizes[1] == 18 && tiled.sizes[2] == 0 && tiled.strides[0] == 160 && tiled.box[0] == 16 && tiled.box[1] == 8 && tiled.steps[1] == 2);
  CHECK(moved.kind == TensorMapKind::moved && moved.address == alloc(2).address + 256);
  CHECK(tiled.map.size() == 128 && moved.from.size() == 128 && std::equal(tiled.map.begin(), tiled.map.end(), moved.from.begin()));
  CHECK(!std::equal(moved.map.begin(), moved.map.end(), moved.from.begin()));
  std::vector<std::uint64_t> freed;
  for (const Told &one : session.of(EventType::free)) freed.push_back(one.as<FreeEvent>().number);
  CHECK(freed == std::vector<std::uint64_t>({alloc(5).number, alloc(6).number, alloc(1).number, alloc(2).number, alloc(3).number, alloc(4).number}));
  CHECK(session.of(EventType::module_gone).size() == 1 && session.of(EventType::stopped).empty());
  session.go_on();
  CHECK(session.ended() == 0);
}

void allocations_fall_back() {
  Session session(scenario, "endless", {"FAKE_NO_EXPORT=1"});
  session.meet();
  session.keep = false;
  CHECK(session.said() == "running");
  const auto alloc = session.of(EventType::alloc)[0].as<AllocEvent>();
  CHECK(alloc.handle == 0 && alloc.kind == 0 && alloc.saveable == 1 && session.handles.empty());
  session.go_on();
  CHECK(session.ended() == 0);
}

void graphs_are_told() {
  Session session(scenario, "graphs");
  session.meet();
  CHECK(session.said() == "done");
  // Captured is not launched.
  CHECK(session.of(EventType::launch).empty() && session.of(EventType::memset).empty());
  const auto graphs = session.of(EventType::graph);
  CHECK(graphs.size() == 2 && graphs[0].as<GraphEvent>().count == 4);
  const GraphEvent graph = graphs[0].as<GraphEvent>();
  bool launch = false, set = false;
  for (Bytes rest = graph.events; !rest.empty();) {
    const auto view = event_at(rest);
    CHECK(view);
    rest = rest.subspan(view->size);
    if (const auto one = decode_event<LaunchEvent>(*view)) launch = one->grid[0] == 1 && one->parameters.size() == 12 && one->parameters[8] == 5;
    if (decode_event<MemsetEvent>(*view)) set = true;
  }
  CHECK(launch && set);
  CHECK(session.of(EventType::graph_launch).size() == 1 && session.of(EventType::graph_gone).size() == 1);
  CHECK(session.of(EventType::graph_launch)[0].as<GraphLaunchEvent>().number == graph.number);
}

// The memory goes to the supervisor and comes back, in part exchanged for a copy, while threads launch on.
void memory_changes_hands() {
  Session session(scenario, "custody");
  session.meet();
  session.keep = false;
  CHECK(session.said() == "running");
  CHECK(session.ask(MessageType::ping).status == 0);
  for (int round = 0; round < 3; ++round) {
    CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
    CHECK(session.position == session.reader().position());
    const long before = session.seen;
    usleep(20000);
    session.pump();
    CHECK(session.seen == before);  // nothing is submitted while held
    CHECK(session.ask(MessageType::detach).status == 0);
    std::vector<std::uint64_t> numbers;
    for (auto &[number, sent] : session.handles) {
      if (round == 1) {
        // Another memory with the same content.
        const int copy = memfd_create("copy", MFD_CLOEXEC);
        std::vector<char> content(sent.handle.size);
        CHECK(pread(sent.descriptor.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
        CHECK(pwrite(copy, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
        sent.descriptor = Descriptor(copy);
      }
      numbers.push_back(number);
    }
    CHECK(numbers.size() == 3);
    const int first[] = {session.handles[numbers[0]].descriptor.get()};
    const int rest[] = {session.handles[numbers[1]].descriptor.get(), session.handles[numbers[2]].descriptor.get()};
    CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{1, {numbers[0]}}), first).status == 0);
    CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{0, {numbers[1]}}), {rest, 1}).status != 0);  // one is missing
    CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{0, {numbers[2]}}), {rest + 1, 1}).status == 0);
    CHECK(session.ask(MessageType::release).status == 0);
  }
  session.go_on();
  CHECK(session.said() == "done");
  session.go_on();
  CHECK(session.ended() == 0);
  CHECK(session.handles.size() <= 1);
}

// Memory without a handle goes through the agent.
void memory_is_read_and_written() {
  Session session(scenario, "events");
  session.meet();
  CHECK(session.said() == "done");
  const auto variable = session.of(EventType::alloc)[0].as<AllocEvent>();
  const Descriptor file(memfd_create("content", MFD_CLOEXEC));
  CHECK(ftruncate(file.get(), 4096) == 0);
  const int descriptor = file.get();
  CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
  const auto transfer = [&](MessageType type, std::uint64_t address, std::uint64_t size) {
    return session.ask(type, encode_message(TransferMessage{address, size}), {&descriptor, 1}).status;
  };
  CHECK(pwrite(descriptor, "written", 7, 0) == 7);
  CHECK(transfer(MessageType::write, variable.address, 7) == 0);
  CHECK(pwrite(descriptor, "xxxxxxx", 7, 0) == 7);
  CHECK(transfer(MessageType::read, variable.address, 1000) == 0);
  char back[8] = {};
  CHECK(pread(descriptor, back, 7, 0) == 7 && std::string(back) == "written");
  CHECK(transfer(MessageType::read, variable.address, 1001) != 0 && transfer(MessageType::read, 4096, 16) != 0);
  CHECK(transfer(MessageType::read, variable.address, 0) != 0);
  CHECK(session.ask(MessageType::release).status == 0);
  session.go_on();
  CHECK(session.ended() == 0);
}

// The supervisor ends in each state in which the application has its memory; the application goes on.
void supervisor_dies() {
  for (int state = 0; state < 5; ++state) {
    Session session(scenario, "endless");
    session.meet();
    session.keep = false;
    CHECK(session.said() == "running");
    if (state >= 1 && state <= 3) CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
    if (state == 2) {
      CHECK(session.ask(MessageType::detach).status == 0);
      std::vector<std::uint64_t> numbers;
      std::vector<int> files;
      for (auto &[number, sent] : session.handles) {
        numbers.push_back(number);
        files.push_back(sent.descriptor.get());
      }
      CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{0, numbers}), files).status == 0);
    }
    if (state == 3) {
      CHECK(session.ask(MessageType::detach).status == 0);
      // A new supervisor comes, with the memory. What its predecessor knew it is told again, and what that left for it.
      ImageName name;
      name.fill(7);
      session.tell(MessageType::keep, encode_message(KeepMessage{0, "for you"}));
      session.tell(MessageType::image_name, encode_message(ImageNameMessage{session.images.begin()->first, name}));
      CHECK(session.ask(MessageType::ping).status == 0);
      const auto before = session.of(EventType::alloc);
      const auto functions = session.of(EventType::function);
      auto memory = std::move(session.handles);
      session.abandon();
      session.meet_again();
      CHECK(session.hello().greeting == Greeting::detached && session.kept == "for you");
      CHECK(session.known.at(session.images.begin()->first) == name);
      const auto after = session.of(EventType::alloc);
      CHECK(after.size() >= 1 && after.size() <= before.size() && session.of(EventType::function).size() == functions.size());
      CHECK(after[0].as<AllocEvent>().address == before[0].as<AllocEvent>().address);
      CHECK(after[0].as<AllocEvent>().number == before[0].as<AllocEvent>().number);
      CHECK(!session.vacant.empty() && session.handles.empty());
      for (const auto &[number, size] : session.vacant) CHECK(memory.at(number).handle.size == size);
      session.handles = std::move(memory);
      std::erase_if(session.handles, [&](const auto &one) { return !session.vacant.contains(one.first); });
      std::vector<std::uint64_t> numbers;
      std::vector<int> files;
      for (auto &[number, sent] : session.handles) {
        numbers.push_back(number);
        files.push_back(sent.descriptor.get());
      }
      CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{0, numbers}), files).status == 0);
      CHECK(session.ask(MessageType::release).status == 0);
    }
    if (state == 4) {
      // It goes on unrecorded, and is recorded again by the next one.
      session.abandon();
      session.meet_again();
      CHECK(session.hello().greeting == Greeting::runs && session.of(EventType::stopped).empty());
      CHECK(!session.of(EventType::alloc).empty() && !session.handles.empty() && session.vacant.empty());
      const long seen = session.seen;
      while (session.seen < seen + 100) session.pump();
    }
    session.abandon();  // nothing is read any more, the ring fills
    session.go_on();
    CHECK(session.ended(false) == 0);
  }
}

// While it is quiet every launch of a kernel is counted, once, and none is told; graphs and what orders streams are told as ever.
void every_launch_is_counted() {
  Session session(scenario, "counted");
  session.meet();
  CHECK(session.said() == "ready" && session.of(EventType::launch).size() == 1);
  session.tell(MessageType::quiet, {});
  CHECK(session.ask(MessageType::ping).status == 0);  // answered after it
  session.go_on();
  CHECK(session.said() == "done");
  CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
  CHECK(session.untold == 5 + 2 + 1 + 1 + 1);
  CHECK(session.of(EventType::launch).size() == 1 && session.of(EventType::graph_launch).size() == 1);
  const auto graphs = session.of(EventType::graph);
  CHECK(graphs.size() == 1 && graphs[0].as<GraphEvent>().count == 3);
  CHECK(session.of(EventType::wait).size() == 1);  // the recording alone
  CHECK(session.ask(MessageType::release).status == 0);
  session.go_on();
  CHECK(session.said() == "told" && session.of(EventType::launch).size() == 2);
  session.go_on();
  CHECK(session.ended() == 0);
}

// Once asked to be quiet, launches are counted until the next hold.
void launches_are_counted() {
  constexpr std::size_t threads = 3;
  Session session(scenario, "endless");
  session.meet();
  CHECK(session.said() == "running");
  std::uint64_t untold = 0;
  const auto hold = [&] {
    CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
    untold = session.untold;
  };
  const auto let_go = [&] {
    session.told.clear();
    CHECK(session.ask(MessageType::release).status == 0);
  };
  // Told one by one, as many as there are.
  const auto expect_told = [&] {
    const std::uint64_t before = untold;
    while (session.of(EventType::launch).size() < 50) session.pump();
    hold();
    CHECK(untold == before);
    let_go();
  };
  for (int round = 0; round < 3; ++round) {
    const std::uint64_t before = untold;
    bool held = false;
    do {
      if (held) let_go();
      session.tell(MessageType::quiet, {});
      CHECK(session.ask(MessageType::ping).status == 0);  // answered after it
      for (const std::uint64_t end = session.reserved(); session.reader().position() < end;) session.pump();
      session.told.clear();
      hold();
      held = true;
      // What each thread had begun by then may still be told.
      CHECK(session.of(EventType::launch).size() <= threads);
    } while (untold == before);
    // While held it comes too late.
    if (round == 1) session.tell(MessageType::quiet, {});
    let_go();
    expect_told();
  }
  // The next supervisor is told everything, and counts from its own beginning.
  session.tell(MessageType::quiet, {});
  CHECK(session.ask(MessageType::ping).status == 0);
  session.abandon();
  session.meet_again();
  untold = 0;
  expect_told();
  session.keep = false;
  session.go_on();
  CHECK(session.ended() == 0);
}

// A message that is not allowed ends the connection and nothing else.
void bad_messages() {
  const std::function<void(Session &)> mistakes[] = {
      [](Session &s) { s.ask_only(MessageType::release, {}); },
      [](Session &s) { s.ask_only(MessageType::detach, {}); },
      [](Session &s) { s.ask_only(MessageType::hold, {1, 2}); },
      [](Session &s) { s.ask_only(MessageType::hello, {}); },
      [](Session &s) { s.ask_only(MessageType::quiet, {}); },
      [](Session &s) { s.tell(MessageType::quiet, {1}); },
      [](Session &s) { s.ask_only(MessageType::attach, encode_message(AttachMessage{0, {1}})); },
  };
  for (const auto &mistake : mistakes) {
    Session session(scenario, "endless");
    session.meet();
    session.keep = false;
    CHECK(session.said() == "running");
    mistake(session);
    while (!session.hung_up()) session.pump();
    session.go_on();
    CHECK(session.ended(false) == 0);
  }
}

// The application is killed in the middle of everything; what it had told can be read.
void application_dies() {
  for (int round = 0; round < 20; ++round) {
    Session session(scenario, "endless");
    session.meet();
    session.keep = false;
    CHECK(session.said() == "running");
    for (int i = 0; i < round; ++i) session.pump();
    if (round % 3 == 2) CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
    kill(session.application(), SIGKILL);
    while (!session.hung_up()) session.pump();
    session.pump();
    CHECK(session.ended() == SIGKILL);
  }
}

void forks_are_followed() {
  Session session(scenario, "forks");
  session.meet();  // the child
  const std::uint32_t child = session.hello().pid;
  while (!session.hung_up()) session.pump();
  session.told.clear();
  session.handles.clear();
  session.meet();  // the parent, whose second child has no driver
  CHECK(session.hello().pid != child);
  CHECK(session.said() == "done");
  CHECK(session.of(EventType::alloc).size() == 1 && session.of(EventType::alloc)[0].as<AllocEvent>().size == 8192);
  session.go_on();
  CHECK(session.ended() == 0);
}

// Without a supervisor the application runs as if nothing were there.
void no_supervisor() {
  for (const char *socket : {"GCR_SOCKET=/nowhere/at/all", "GCR_SOCKET="}) {
    Session session(scenario, "endless", {socket});
    session.go_on();
    CHECK(session.ended(false) == 0);
  }
}

}  // namespace

int main(int count, char **arguments) {
  CHECK(count >= 5);
  Session::recorder = arguments[1];
  Session::driver = arguments[2];
  scenario = arguments[3];
  coverage = arguments[4];
  const char *const only = count > 5 ? arguments[5] : nullptr;
  run_tests(
      {GCR_TEST(every_row_is_reached),
       GCR_TEST(events_are_told),
       GCR_TEST(allocations_fall_back),
       GCR_TEST(graphs_are_told),
       GCR_TEST(memory_changes_hands),
       GCR_TEST(memory_is_read_and_written),
       GCR_TEST(supervisor_dies),
       GCR_TEST(every_launch_is_counted),
       GCR_TEST(launches_are_counted),
       GCR_TEST(bad_messages),
       GCR_TEST(application_dies),
       GCR_TEST(forks_are_followed),
       GCR_TEST(no_supervisor)},
      only);
}
