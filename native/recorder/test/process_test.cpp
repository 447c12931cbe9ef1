// What programs do besides calling the driver, under the recorder: process_test RECORDER DRIVER APPLICATION LOADER. Signals, fork, a driver that is
// closed and opened again, several devices, memory shared with other processes; and the supervisor's `locate` and `guard`.
#include <sys/mman.h>

#include <cstdio>
#include <random>
#include <set>
#include <string>

#include "driver/types.h"
#include "recorder/test/session.h"

using namespace gcr;

namespace {

std::string application, loader;

long number_after(const std::string &said, const std::string &word) {
  CHECK(said.starts_with(word + " "));
  return std::stol(said.substr(word.size() + 1));
}

// A whole exchange of memory, as suspend and resume make it.
void exchange(Session &session) {
  CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
  CHECK(session.ask(MessageType::detach).status == 0);
  std::vector<std::uint64_t> numbers;
  std::vector<int> files;
  for (auto &[number, sent] : session.handles) {
    numbers.push_back(number);
    files.push_back(sent.descriptor.get());
  }
  CHECK(session.ask(MessageType::attach, encode_message(AttachMessage{0, numbers}), files).status == 0);
  CHECK(session.ask(MessageType::release).status == 0);
}

void variables_are_located() {
  Session session(application, "locate");
  session.meet();
  CHECK(session.said() == "loaded");
  const auto names = [&] {
    std::vector<std::string> all;
    for (const Told &one : session.of(EventType::variable)) {
      const auto variable = one.as<VariableEvent>();
      all.push_back(std::to_string(variable.module) + " " + std::string(variable.name));
      // Each stands for an allocation told before it, of its place.
      const auto allocs = session.of(EventType::alloc);
      CHECK(std::any_of(allocs.begin(), allocs.end(), [&](const Told &alloc) {
        const auto as = alloc.as<AllocEvent>();
        return as.number == variable.allocation && as.address == variable.address && as.size == variable.size && as.kind == 1;
      }));
    }
    return all;
  };
  CHECK(names() == std::vector<std::string>({"1 known"}));
  session.tell(MessageType::locate, encode_message(LocateMessage{1, {"hidden", "known", "nowhere", ""}}));
  session.tell(MessageType::locate, encode_message(LocateMessage{2, {"in_library"}}));
  session.tell(MessageType::locate, encode_message(LocateMessage{77, {"hidden"}}));
  CHECK(session.ask(MessageType::ping).status == 0);  // answered after them
  session.pump();
  // Not the one that is known already, not what is in no module.
  CHECK(names() == std::vector<std::string>({"1 known", "1 hidden", "1 ", "2 in_library"}));
  session.go_on();
  CHECK(session.said() == "unloaded");
  CHECK(session.of(EventType::free).size() == 3);
  session.tell(MessageType::locate, encode_message(LocateMessage{1, {"another"}}));
  CHECK(session.ask(MessageType::ping).status == 0);
  session.pump();
  CHECK(names().size() == 4);
  session.go_on();
  CHECK(session.ended() == 0);
}

// A library's variables have a place in every context: all are told, those of a new context before it can be used, and that there are several.
void variables_lie_in_every_context() {
  Session session(application, "contexts");
  session.meet();
  CHECK(session.said() == "loaded");
  const auto told = [&] {
    std::vector<std::string> all;
    for (const Told &one : session.of(EventType::variable)) {
      const auto variable = one.as<VariableEvent>();
      all.push_back(std::string(variable.name) + (one.flags & variable_of_several ? " of several" : "") + (variable.address ? "" : " nowhere"));
    }
    return all;
  };
  session.tell(MessageType::locate, encode_message(LocateMessage{1, {"hidden", "nowhere"}}));
  CHECK(session.ask(MessageType::ping).status == 0);
  session.pump();
  CHECK(told() == std::vector<std::string>({"asked", "hidden"}));
  session.go_on();
  CHECK(session.said() == "second");
  session.pump();
  const std::vector<std::string> both{"asked", "hidden", "asked of several", "hidden of several", "nowhere of several nowhere"};
  CHECK(told() == both);
  std::set<std::uint64_t> places;
  for (const Told &one : session.of(EventType::variable)) places.insert(one.as<VariableEvent>().address);
  CHECK(places.size() == 5);
  // What is asked for later is told of both.
  session.tell(MessageType::locate, encode_message(LocateMessage{1, {"later"}}));
  CHECK(session.ask(MessageType::ping).status == 0);
  session.pump();
  CHECK(told().size() == 7 && told()[5] == "later of several" && told()[6] == "later of several");
  session.go_on();
  CHECK(session.said() == "again");
  session.pump();
  CHECK(told().size() == 7);
  session.go_on();
  CHECK(session.ended() == 0);
}

// While the supervisor writes memory its end is the program's, with a word; before and after it is not.
void guard_ends_the_program() {
  const auto held = [](Session &session) {
    session.meet();
    CHECK(session.said() == "running");
    CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
  };
  const auto on = encode_message(GuardMessage{1}), off = encode_message(GuardMessage{0});
  {
    Session session(application, "guard");
    held(session);
    CHECK(session.ask(MessageType::guard, on).status == 0);
    session.abandon();
    CHECK(session.ended(false) == SIGKILL);
    CHECK(session.errors().find("neither old nor new") != std::string::npos);
  }
  {
    Session session(application, "guard");
    held(session);
    CHECK(session.ask(MessageType::guard, on).status == 0 && session.ask(MessageType::guard, off).status == 0);
    session.abandon();
    session.go_on();
    CHECK(session.ended(false) == 0 && session.errors().empty());
  }
  {
    // A release while memory changes is a mistake, and so is a detach: nobody knows then what memory is.
    Session session(application, "guard");
    held(session);
    CHECK(session.ask(MessageType::guard, on).status == 0);
    session.ask_only(MessageType::release, {});
    CHECK(session.ended() == SIGKILL);
  }
  {
    Session session(application, "guard");
    session.meet();
    CHECK(session.said() == "running");
    session.ask_only(MessageType::guard, on);  // not held
    while (!session.hung_up()) session.pump();
    session.go_on();
    CHECK(session.ended() == 0);
  }
}

// The program has handlers and a timer; no thread of ours takes its signals, and nothing is lost.
void signals_are_the_programs() {
  Session session(application, "signals");
  session.meet();
  CHECK(session.said() == "running");
  for (int round = 0; round < 3; ++round) {
    kill(session.application(), SIGUSR1);
    exchange(session);
  }
  session.go_on();
  const long count = number_after(session.said(), "done");
  CHECK(static_cast<long>(session.of(EventType::launch).size()) == count + 1);
  CHECK(session.of(EventType::stopped).empty());
  session.go_on();
  CHECK(session.ended() == 0);
}

// A handler that calls the driver out of the middle of our own code, which here waits for room in the ring: what it did is not in order, so the
// recording of writes ends.
void handler_that_calls_is_noticed() {
  Session session(application, "calls_from_handler");
  session.meet();
  session.keep = false;
  // Nothing is read from here on: whoever waits for room goes on waiting.
  CHECK(session.said(false) == "running");
  while (!session.somebody_waits_for_room()) usleep(1000);
  CHECK(kill(session.application(), SIGUSR1) == 0);
  CHECK(session.said(false) == "handled");
  while (session.of(EventType::stopped).empty()) {
    session.pump();
    CHECK(session.of(EventType::memset).empty());
  }
  const Told stopped = session.of(EventType::stopped)[0];
  CHECK(stopped.flags == 0 && stopped.as<StoppedEvent>().reason == "a signal handler called the driver");
  CHECK(session.said() == "done");
  session.go_on();
  CHECK(session.ended() == 0);
}

// From the answer to a hold until the release no thread is inside of a call, however the two meet: nothing comes into the ring.
void held_threads_are_outside() {
  Session session(application, "launches");
  session.meet();
  session.keep = false;
  CHECK(session.said() == "running");
  for (int round = 0; round < 300; ++round) {
    CHECK(session.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
    for (int look = 0; look < 20; ++look) CHECK(session.reserved() == session.position);
    CHECK(session.ask(MessageType::release).status == 0);
    session.pump();
  }
  session.go_on();
  CHECK(session.ended() == 0);
}

void forks_leave_the_parent_alone() {
  Session session(application, "forks_while_launching");
  session.meet();
  const long count = number_after(session.said(), "done");
  CHECK(static_cast<long>(session.of(EventType::launch).size()) == count && session.of(EventType::stopped).empty());
  exchange(session);
  session.go_on();
  CHECK(session.ended() == 0);
}

// What the program checks before an exchange of its memory it finds after it, too.
void expect_kept(const char *what, const char *ready) {
  Session session(application, what);
  session.meet();
  CHECK(session.said() == ready);
  exchange(session);
  session.go_on();
  CHECK(session.said() == "done");
  session.go_on();
  CHECK(session.ended() == 0 && session.errors().empty());
}

void peers_keep_their_access() { expect_kept("peers", "enabled"); }
void mappings_keep_their_access() { expect_kept("own_access", "mapped"); }

void devices_reach_each_other() {
  Session session(application, "reach");
  session.meet();
  CHECK(session.said() == "reached");
  session.pump();
  CHECK(session.in_use == std::set<std::uint32_t>({0, 1}));
  exchange(session);
  session.go_on();
  CHECK(session.said() == "done");
  session.go_on();
  CHECK(session.ended() == 0 && session.errors().empty());
}

void sharing_stops_the_recording_of_writes() {
  Session session(application, "shares");
  session.meet();
  CHECK(session.said() == "refused");
  // What the driver refused is not shared.
  CHECK(session.of(EventType::stopped).empty() && session.of(EventType::memset).size() == 1);
  session.go_on();
  CHECK(session.said() == "opened");
  const auto opened = session.of(EventType::alloc).back().as<AllocEvent>();
  CHECK(opened.kind == 3 && opened.saveable == 0 && opened.handle == 0);
  session.go_on();
  CHECK(session.said() == "shared");
  const auto stopped = session.of(EventType::stopped);
  CHECK(stopped.size() == 1 && stopped[0].flags == 0);
  CHECK(stopped[0].as<StoppedEvent>().reason == "memory is shared with another process (cuIpcGetMemHandle)");
  CHECK(session.of(EventType::free).size() == 2 && session.of(EventType::free)[1].as<FreeEvent>().number == opened.number);
  // Writes are not told any more, allocations are.
  CHECK(session.of(EventType::memset).size() == 1);
  CHECK(session.of(EventType::alloc).back().as<AllocEvent>().size == 8192);
  session.go_on();
  CHECK(session.ended() == 0);
}

// One application shares memory of ours, another opens it; the first one is held by its supervisor, ends, or does not answer meanwhile.
void memory_goes_to_other_processes(bool stopped) {
  char path[] = "/tmp/gcr-handles-XXXXXX";
  close(mkstemp(path));
  const std::string handles = std::string("GCR_TEST_HANDLES=") + path;
  Session exporter(application, "exports", {handles});
  exporter.meet();
  CHECK(exporter.said() == "offered");
  const auto reasons = [&] {
    exporter.pump();
    const auto shared = exporter.of(EventType::shared), ended = exporter.of(EventType::stopped);
    CHECK(shared.size() == 1 && ended.size() == 1);
    return std::pair(std::string(shared[0].as<SharedEvent>().reason), std::string(ended[0].as<StoppedEvent>().reason));
  };
  const std::string reason = "memory is shared with another process (cuIpcGetMemHandle)";
  CHECK(reasons() == std::pair(reason, reason));
  // Other memory in its place would not be the other process's: nothing is taken away.
  CHECK(exporter.ask(MessageType::hold, encode_message(HoldMessage{5000})).status == 0);
  const ReplyMessage refused = exporter.ask(MessageType::detach);
  CHECK(refused.status == result::not_permitted && refused.text.find("shared with another process") != std::string::npos);
  std::vector<std::uint64_t> numbers;
  std::vector<int> files;
  for (auto &[number, sent] : exporter.handles) {
    numbers.push_back(number);
    files.push_back(sent.descriptor.get());
  }
  CHECK(exporter.ask(MessageType::attach, encode_message(AttachMessage{0, numbers}), files).status == 0);
  // It is still held: others open what it has all the same.
  Session importer(application, "opens", stopped ? std::vector<std::string>{handles, "GCR_TEST_STOPPED=1"} : std::vector<std::string>{handles});
  importer.meet();
  CHECK(importer.said() == "opened");
  CHECK(exporter.ask(MessageType::release).status == 0);
  const auto allocs = importer.of(EventType::alloc);
  CHECK(allocs.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto alloc = allocs[i].as<AllocEvent>();
    CHECK(alloc.kind == 3 && alloc.saveable == 0 && alloc.handle == 0 && alloc.size == (i < 2 ? 1000 : 3 << 20));
  }
  for (const char *peers : {"FAKE_PEERS=1", "FAKE_NO_PEERS=1"}) {
    Session elsewhere(application, "opens_elsewhere", {handles, peers});
    elsewhere.meet();
    CHECK(elsewhere.said() == "opened");
    elsewhere.go_on();
    CHECK(elsewhere.ended() == 0);
  }
  importer.go_on();
  CHECK(importer.said() == "written");
  CHECK(importer.of(EventType::alloc).size() == 5 && importer.of(EventType::free).size() == 2);
  exporter.go_on();
  CHECK(exporter.said() == "freed");
  importer.go_on();
  CHECK(importer.said() == "closed");
  exporter.go_on();
  CHECK(exporter.said() == "again");
  importer.go_on();
  CHECK(importer.said() == "reopened");
  // Of one place there is one allocation at a time.
  std::map<std::uint64_t, std::uint64_t> live;
  for (const Told &one : importer.told) {
    if (one.type == EventType::free) live.erase(one.as<FreeEvent>().number);
    if (one.type != EventType::alloc) continue;
    const auto alloc = one.as<AllocEvent>();
    for (const auto &[number, address] : live) CHECK(address != alloc.address);
    live[alloc.number] = alloc.address;
  }
  CHECK(live.size() == 1 && importer.of(EventType::stopped).empty() && importer.of(EventType::shared).empty());
  // Another supervisor is told, too.
  exporter.abandon();
  exporter.meet_again();
  CHECK(reasons() == std::pair(reason, reason));
  exporter.go_on();
  CHECK(exporter.said() == "forked");
  // What is forked off serves nobody, and does not keep others waiting.
  int status = 0;
  if (stopped) CHECK(kill(exporter.application(), SIGSTOP) == 0 && waitpid(exporter.application(), &status, WUNTRACED) > 0 && WIFSTOPPED(status));
  else CHECK(kill(exporter.application(), SIGKILL) == 0 && exporter.ended(false) == SIGKILL);
  const std::int64_t since = time(nullptr);
  importer.go_on();
  CHECK(importer.said() == "alone");
  const std::int64_t took = time(nullptr) - since;
  CHECK(stopped ? took >= 9 && took < 30 : took < 4);
  importer.go_on();
  CHECK(importer.ended() == 0 && importer.errors().empty());
  unlink(path);
}
void memory_is_shared() { memory_goes_to_other_processes(false); }
void who_does_not_answer_is_not_waited_for() { memory_goes_to_other_processes(true); }

void processes_open_each_others() {
  char folder[] = "/tmp/gcr-handles-XXXXXX";
  CHECK(mkdtemp(folder));
  const std::string one = std::string("=") + folder + "/one", other = std::string("=") + folder + "/other";
  Session first(application, "exchanges", {"GCR_TEST_OWN" + one, "GCR_TEST_OTHER" + other});
  Session second(application, "exchanges", {"GCR_TEST_OWN" + other, "GCR_TEST_OTHER" + one});
  first.meet();
  second.meet();
  CHECK(first.said() == "offered" && second.said() == "offered");
  first.go_on();
  second.go_on();
  CHECK(first.said() == "exchanged" && second.said() == "exchanged");
  first.go_on();
  CHECK(first.ended() == 0 && first.errors().empty());
  second.go_on();
  CHECK(second.ended() == 0 && second.errors().empty());
  CHECK(std::system((std::string("rm -r ") + folder).c_str()) == 0);
}

void driver_is_closed_and_opened() {
  Session session(loader, "");
  session.meet();
  CHECK(session.said() == "done");
  CHECK(session.of(EventType::alloc).size() == 3 && session.of(EventType::free).size() == 2);
  CHECK(session.of(EventType::copy_in).size() == 3 && session.of(EventType::stopped).empty());
  session.go_on();
  CHECK(session.ended() == 0);
}

// Whatever a supervisor sends, in whatever order, the program goes on: with it, or without it. Only memory that was given away or is being
// changed is its end.
void hostile_supervisor() {
  const char *text = std::getenv("GCR_FUZZ_SESSIONS");
  const int sessions = text ? std::atoi(text) : 60;
  for (int seed = 1; seed <= sessions; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    const auto draw = [&](unsigned limit) { return static_cast<std::uint32_t>(random() % limit); };
    Session session(application, "guard");
    session.meet();
    CHECK(session.said() == "running");
    const int file = memfd_create("content", MFD_CLOEXEC);
    CHECK(ftruncate(file, 4096) == 0);
    const AllocEvent alloc = session.of(EventType::alloc)[0].as<AllocEvent>();
    const auto number = [&]() -> std::uint64_t {
      const std::uint64_t numbers[] = {0, 1, 2, alloc.address, alloc.size, alloc.address + 16, ~std::uint64_t{0}, random()};
      return numbers[draw(8)];
    };
    const bool may_end = seed % 2 == 0;
    for (int left = 12; left > 0 && !session.hung_up(); --left) {
      std::vector<std::uint8_t> body;
      // Valid ones most of the time, because what a mistake does depends on the state that it meets.
      const auto type = static_cast<MessageType>(draw(4) ? 17 + draw(9) : draw(40));
      if (!may_end && (type == MessageType::detach || type == MessageType::guard)) continue;
      switch (type) {
        case MessageType::hold: body = encode_message(HoldMessage{2000}); break;
        case MessageType::attach: body = encode_message(AttachMessage{draw(2), {number()}}); break;
        case MessageType::read:
        case MessageType::write: body = encode_message(TransferMessage{number(), number()}); break;
        case MessageType::locate: body = encode_message(LocateMessage{number(), {"hidden", std::string(draw(300), 'x')}}); break;
        case MessageType::guard: body = encode_message(GuardMessage{draw(3)}); break;
        default: break;
      }
      if (draw(5) == 0)
        for (unsigned changes = 1 + draw(3); changes && !body.empty(); --changes) body[draw(static_cast<unsigned>(body.size()))] = static_cast<std::uint8_t>(random());
      if (draw(12) == 0) body.resize(draw(2000));
      const bool transfers = type == MessageType::read || type == MessageType::write || type == MessageType::attach;
      const unsigned files = transfers == (draw(10) != 0) ? 1 : 0;
      session.send_raw(static_cast<std::uint16_t>(type), draw(8) ? static_cast<std::uint64_t>(left + 1) : 0, body, {&file, files});
      session.pump_anything();
    }
    close(file);
    session.abandon();
    session.go_on();
    if (!may_end) {
      CHECK(session.ended(false) == 0);
      continue;
    }
    // It may also be waiting for its memory, or have been ended by the recorder.
    usleep(20000);
    siginfo_t end{};
    CHECK(waitid(P_PID, static_cast<id_t>(session.application()), &end, WEXITED | WNOHANG | WNOWAIT) == 0);
    CHECK(end.si_pid == 0 || end.si_status == 0 || (end.si_code == CLD_KILLED && end.si_status == SIGKILL));
  }
}

}  // namespace

int main(int count, char **arguments) {
  CHECK(count >= 5);
  Session::recorder = arguments[1];
  Session::driver = arguments[2];
  application = arguments[3];
  loader = arguments[4];
  const char *const only = count > 5 ? arguments[5] : nullptr;
  run_tests(
      {GCR_TEST(variables_are_located),
       GCR_TEST(variables_lie_in_every_context),
       GCR_TEST(guard_ends_the_program),
       GCR_TEST(signals_are_the_programs),
       GCR_TEST(handler_that_calls_is_noticed),
       GCR_TEST(held_threads_are_outside),
       GCR_TEST(forks_leave_the_parent_alone),
       GCR_TEST(peers_keep_their_access),
       GCR_TEST(mappings_keep_their_access),
       GCR_TEST(devices_reach_each_other),
       GCR_TEST(sharing_stops_the_recording_of_writes),
       GCR_TEST(memory_is_shared),
       GCR_TEST(who_does_not_answer_is_not_waited_for),
       GCR_TEST(processes_open_each_others),
       GCR_TEST(driver_is_closed_and_opened),
       GCR_TEST(hostile_supervisor)},
      only);
}
