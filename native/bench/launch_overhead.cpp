// What the recorder adds to a launch: launch_overhead RECORDER DRIVER [ROUNDS]. It plays the supervisor, which takes events as fast as it
// can, and runs itself as the application three times: with the driver alone, with the recorder but without a supervisor, and
// recording. Each runs on 1, 2, 4 and 8 threads that launch an empty kernel at the same time, each into a stream of its own.
//
// A figure is nanoseconds a call on each thread, the median of all threads and rounds. A round is a burst of launches into empty queues, so
// that neither a full ring nor a busy device is measured; memory is the resident set at the end.
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/supervised.h"
#include "driver/types.h"

using namespace gcr;

namespace {

constexpr unsigned thread_counts[] = {1, 2, 4, 8};
constexpr int burst = 500;                 // fits a real driver's queue
constexpr int round_pause_us = 500;        // the ring becomes empty, and the consumer does not fall asleep

constexpr const char *kernel_text =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".visible .entry nothing(.param .u64 data, .param .u32 count) { ret; }\n";

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

struct Api {
  explicit Api(void *library)
      : init(find<Result(unsigned)>(library, "cuInit")),
        retain(find<Result(Context *, Device)>(library, "cuDevicePrimaryCtxRetain")),
        set_current(find<Result(Context)>(library, "cuCtxSetCurrent")),
        load(find<Result(Module *, const void *)>(library, "cuModuleLoadData")),
        function(find<Result(Function *, Module, const char *)>(library, "cuModuleGetFunction")),
        create_stream(find<Result(Stream *, unsigned)>(library, "cuStreamCreate")),
        synchronize(find<Result(Stream)>(library, "cuStreamSynchronize")),
        launch(find<Result(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **)>(library, "cuLaunchKernel")) {}
  Result (*init)(unsigned);
  Result (*retain)(Context *, Device);
  Result (*set_current)(Context);
  Result (*load)(Module *, const void *);
  Result (*function)(Function *, Module, const char *);
  Result (*create_stream)(Stream *, unsigned);
  Result (*synchronize)(Stream);
  Result (*launch)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **);
};

double median(std::vector<double> &values) {
  std::nth_element(values.begin(), values.begin() + static_cast<long>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

// Nanoseconds a launch, the median over rounds and threads. All threads begin a round together.
double launch_ns(const Api &api, Context context, Function function, unsigned count, int rounds) {
  std::barrier together(count);
  std::vector<std::vector<double>> times(count);
  std::vector<std::thread> threads;
  for (auto &own : times)
    threads.emplace_back([&] {
      Stream stream = nullptr;
      constexpr unsigned non_blocking = 1;
      CHECK(api.set_current(context) == 0 && api.create_stream(&stream, non_blocking) == 0);
      DevicePointer memory = 0;
      std::uint32_t length = 0;
      void *parameters[] = {&memory, &length};
      for (int round = -2; round < rounds; ++round) {  // the first ones fill caches
        together.arrive_and_wait();
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < burst; ++i) api.launch(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr);
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
        if (round >= 0) own.push_back(took.count() / burst);
        CHECK(api.synchronize(stream) == 0);
        usleep(round_pause_us);
      }
    });
  for (std::thread &thread : threads) thread.join();
  std::vector<double> all;
  for (const auto &own : times) all.insert(all.end(), own.begin(), own.end());
  return median(all);
}

int application(const char *driver, int rounds) {
  void *library = dlopen(driver, RTLD_NOW);
  CHECK(library);
  const Api api(library);
  Context context;
  Module module;
  Function function;
  CHECK(api.init(0) == 0 && api.retain(&context, 0) == 0 && api.set_current(context) == 0);
  CHECK(api.load(&module, kernel_text) == 0 && api.function(&function, module, "nothing") == 0);
  for (const unsigned count : thread_counts) std::printf("%9.1f", launch_ns(api, context, function, count, rounds));
  std::printf("%12ld\n", resident_kib());
  return 0;
}

void run(const char *self, const char *name, const char *recorder, const char *driver, const char *rounds, bool supervised) {
  std::printf("%-24s", name);
  const char *const command[] = {self, "application", driver, rounds, nullptr};
  run_application(command, recorder, driver, supervised);
}

}  // namespace

int main(int count, char **arguments) {
  if (count == 4 && !std::strcmp(arguments[1], "application")) return application(arguments[2], std::atoi(arguments[3]));
  if (count < 3) {
    std::fprintf(stderr, "launch_overhead RECORDER DRIVER [ROUNDS]\n");
    return 64;
  }
  const char *rounds = count > 3 ? arguments[3] : "200";
  std::printf("%-24s", "ns a launch; threads:");
  for (const unsigned threads : thread_counts) std::printf("%9u", threads);
  std::printf("%12s\n", "KiB");
  run(arguments[0], "the driver alone", nullptr, arguments[2], rounds, false);
  run(arguments[0], "recorder, no supervisor", arguments[1], arguments[2], rounds, false);
  run(arguments[0], "recording", arguments[1], arguments[2], rounds, true);
}
