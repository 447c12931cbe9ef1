// What the recorder adds to a launch: launch_overhead RECORDER DRIVER [LAUNCHES]. Without arguments of its own process it plays the supervisor
// (which reads the ring as fast as it can) and runs itself three times: the driver alone, the recorder without a supervisor, and
// recording. Times are medians of rounds, on one thread and on four; memory is the growth of the resident set over the driver alone.
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/channel.h"
#include "core/events.h"
#include "core/ring.h"
#include "core/test/plain_check.h"
#include "driver/types.h"

using namespace gcr;

namespace {

long resident_kib() {
  char line[256] = {};
  const int file = open("/proc/self/statm", O_RDONLY);
  CHECK(read(file, line, sizeof(line) - 1) > 0);
  close(file);
  long total = 0, resident = 0;
  CHECK(std::sscanf(line, "%ld %ld", &total, &resident) == 2);
  return resident * 4;
}

template <class Type>
Type *find(void *library, const char *name) {
  auto *found = reinterpret_cast<Type *>(dlsym(library, name));
  CHECK(found);
  return found;
}

using Launch = Result(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **);

double launch_ns(Launch *launch, Function function, long launches) {
  DevicePointer memory = 0;
  std::uint32_t count = 0;
  void *parameters[] = {&memory, &count};
  std::vector<double> rounds;
  for (int round = 0; round < 15; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (long i = 0; i < launches; ++i) launch(function, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr);
    rounds.push_back(std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(launches));
  }
  std::nth_element(rounds.begin(), rounds.begin() + 7, rounds.end());
  return rounds[7];
}

int application(const char *driver, long launches) {
  void *library = dlopen(driver, RTLD_NOW);
  CHECK(library && find<Result(unsigned)>(library, "cuInit")(0) == 0);
  Context context;
  CHECK(find<Result(Context *, Device)>(library, "cuDevicePrimaryCtxRetain")(&context, 0) == 0);
  find<Result(Context)>(library, "cuCtxSetCurrent")(context);
  Module module;
  Function function;
  CHECK(find<Result(Module *, const void *)>(library, "cuModuleLoadData")(&module, ".version 8.0\n") == 0);
  CHECK(find<Result(Function *, Module, const char *)>(library, "cuModuleGetFunction")(&function, module, "nothing") == 0);
  auto *launch = find<Launch>(library, "cuLaunchKernel");
  launch_ns(launch, function, 1000);
  const double one = launch_ns(launch, function, launches);
  std::vector<double> times(4);
  std::vector<std::thread> threads;
  for (double &time : times) threads.emplace_back([&] { time = launch_ns(launch, function, launches / 4); });
  for (std::thread &thread : threads) thread.join();
  std::printf("%7.1f ns on one thread, %7.1f ns on each of four, resident %ld KiB\n", one, *std::max_element(times.begin(), times.end()),
              resident_kib());
  return 0;
}

void run(const char *self, const char *name, const char *recorder, const char *driver, const char *launches, bool supervised) {
  char folder[] = "/tmp/gcr-bench-XXXXXX";
  CHECK(mkdtemp(folder));
  const std::string path = std::string(folder) + "/socket";
  Listener listener;
  CHECK(listener.listen(path) == 0);
  std::printf("%-28s", name);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (recorder) setenv("LD_PRELOAD", recorder, 1);
    if (supervised) setenv("GCR_SOCKET", path.c_str(), 1);
    setenv("GCR_DRIVER", driver, 1);
    execl(self, self, "application", driver, launches, nullptr);
    _exit(127);
  }
  if (supervised) {
    Channel channel;
    PeerCredentials peer;
    Message message;
    CHECK(listener.accept(channel, peer, 20000) && channel.receive(message, 20000));
    RingMemory memory;
    CHECK(memory.open(message.descriptors[0].get()).empty());
    RingReader reader(memory, message.descriptors[1].get());
    CHECK(channel.send(static_cast<std::uint16_t>(MessageType::welcome), 0, encode_message(WelcomeMessage{})));
    std::vector<std::uint8_t> buffer(1 << 20);
    for (bool ended = false; !ended;) {
      if (reader.drain(buffer)) continue;
      if (!reader.prepare_sleep()) continue;
      pollfd waiting[2] = {{message.descriptors[1].get(), POLLIN, 0}, {channel.descriptor(), POLLIN, 0}};
      poll(waiting, 2, -1);
      reader.cancel_sleep();
      Message other;
      if (waiting[1].revents) ended = channel.receive(other, 0).status == ChannelStatus::closed;
    }
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  rmdir(folder);
}

}  // namespace

int main(int count, char **arguments) {
  if (count == 4 && !std::strcmp(arguments[1], "application")) return application(arguments[2], std::atol(arguments[3]));
  if (count < 3) {
    std::fprintf(stderr, "launch_overhead RECORDER DRIVER [LAUNCHES]\n");
    return 64;
  }
  const char *launches = count > 3 ? arguments[3] : "200000";
  run(arguments[0], "the driver alone", nullptr, arguments[2], launches, false);
  run(arguments[0], "recorder, no supervisor", arguments[1], arguments[2], launches, false);
  run(arguments[0], "recording", arguments[1], arguments[2], launches, true);
}
