// The application of process_test.cpp: programs that do more than call the driver. Does what its argument names.
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "recorder/test/scenario.h"

using namespace gcr;

extern "C" unsigned gcr_fake_access(DevicePointer mapping);
extern "C" Result cuCtxGetCurrent(Context *context);

namespace {

constexpr std::size_t granule = 2 << 20;

long thread_number() { return syscall(SYS_gettid); }

void handle(int signal, void (*handler)(int, siginfo_t *, void *)) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  CHECK(sigaction(signal, &action, nullptr) == 0);
}

void every_millisecond() {
  const itimerval interval{{0, 1000}, {0, 1000}};
  CHECK(setitimer(ITIMER_REAL, &interval, nullptr) == 0);
}
void no_more() {
  const itimerval never{};
  CHECK(setitimer(ITIMER_REAL, &never, nullptr) == 0);
}

// Threads that launch until they are stopped, and count.
class Launchers {
 public:
  explicit Launchers(int threads) : function_(load("fill")) {
    CHECK(cuMemAlloc_v2(&memory_, 4096) == 0);
    for (int i = 0; i < threads; ++i)
      threads_.emplace_back([this, i] {
        numbers_[i] = thread_number();
        while (!end_) {
          fill(function_, memory_, 64, 1);
          ++count_;
        }
      });
    for (int i = 0; i < threads; ++i)
      while (!numbers_[i]) std::this_thread::yield();
    while (count_ < 100) std::this_thread::yield();
  }
  long stop() {
    end_ = true;
    for (std::thread &thread : threads_) thread.join();
    return count_;
  }
  bool owns(long number) const {
    for (const auto &own : numbers_)
      if (own == number) return true;
    return false;
  }

 private:
  Function function_;
  DevicePointer memory_ = 0;
  std::vector<std::thread> threads_;
  std::atomic<bool> end_{false};
  std::atomic<long> count_{0};
  std::atomic<long> numbers_[8] = {};
};

void say_and_wait(const char *what, long number) {
  char text[64];
  std::snprintf(text, sizeof(text), "%s %ld", what, number);
  step(text);
}

void locate() {
  begin();
  Module module;
  Library library;
  CHECK(cuModuleLoadData(&module, ".version 8.0\n") == 0);
  CHECK(cuLibraryLoadData(&library, ".version 8.1\n", nullptr, nullptr, 0, nullptr, nullptr, 0) == 0);
  DevicePointer known = 0;
  std::size_t size = 0;
  CHECK(cuModuleGetGlobal_v2(&known, &size, module, "known") == 0);
  step("loaded");
  CHECK(cuModuleUnload(module) == 0);
  step("unloaded");
}

void contexts() {
  begin();
  Library library;
  CHECK(cuLibraryLoadData(&library, ".version 8.1\n", nullptr, nullptr, 0, nullptr, nullptr, 0) == 0);
  DevicePointer first = 0, second = 0;
  std::size_t size = 0;
  CHECK(cuLibraryGetGlobal(&first, &size, library, "asked") == 0);
  step("loaded");
  Context here, there;
  CHECK(cuCtxGetCurrent(&here) == 0 && cuDevicePrimaryCtxRetain(&there, 1) == 0);
  // Told before the program can launch anything there, and no context is current that was not.
  Context current;
  CHECK(cuCtxGetCurrent(&current) == 0 && current == here);
  step("second");
  CHECK(cuCtxSetCurrent(there) == 0 && cuLibraryGetGlobal(&second, &size, library, "asked") == 0 && second != first);
  CHECK(cuCtxSetCurrent(here) == 0 && cuDevicePrimaryCtxRetain(&there, 1) == 0);
  step("again");
}

void guard() {
  begin();
  DevicePointer memory = 0;
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  step("running");
}

std::atomic<long> requests, requests_here, alarms, strangers, faults;
Launchers *launchers;
void *guarded_page;

void signals() {
  sigset_t request;
  sigemptyset(&request);
  sigaddset(&request, SIGUSR1);
  // Who does not block it would take it: no thread of the program does.
  CHECK(pthread_sigmask(SIG_BLOCK, &request, nullptr) == 0);
  static long here;
  here = thread_number();
  handle(SIGUSR1, [](int, siginfo_t *, void *) {
    ++requests;
    if (thread_number() == here) ++requests_here;
  });
  handle(SIGALRM, [](int, siginfo_t *, void *) {
    ++alarms;
    const long number = thread_number();
    if (number != here && !(launchers && launchers->owns(number))) ++strangers;
  });
  handle(SIGSEGV, [](int, siginfo_t *about, void *) {
    if (about->si_addr != guarded_page || mprotect(guarded_page, 4096, PROT_READ | PROT_WRITE) != 0) _exit(9);
    ++faults;
  });
  begin();
  DevicePointer large = 0;
  CHECK(cuMemAlloc_v2(&large, 5 << 20) == 0);
  fill(load("fill"), large, 5 << 20, 12);
  Launchers own(3);
  launchers = &own;
  every_millisecond();
  step("running");  // the read is interrupted, and goes on
  while (alarms < 20) std::this_thread::yield();
  no_more();
  const long count = own.stop();
  CHECK(requests == 0 && strangers == 0);
  CHECK(pthread_sigmask(SIG_UNBLOCK, &request, nullptr) == 0);
  CHECK(requests == 1 && requests_here == 1);
  guarded_page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *static_cast<volatile char *>(guarded_page) = 1;
  CHECK(faults == 1 && bytes(large)[0] == 12 && bytes(large)[(5 << 20) - 1] == 12);
  say_and_wait("done", count);
}

// A handler that calls the driver in the middle of a call of this thread's own.
void calls_from_handler() {
  static DevicePointer memory;
  static std::atomic<bool> came{false};
  begin();
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  handle(SIGUSR1, [](int, siginfo_t *, void *) {
    cuMemsetD8_v2(memory, 1, 16);
    came = true;
    CHECK(write(1, "handled", 7) == 7);
  });
  const Function function = load("fill");
  CHECK(write(1, "running", 7) == 7);
  while (!came) fill(function, memory, 64, 1);
  step("done");
}

// Does nothing else, as fast as it can.
void launches() {
  begin();
  Launchers own(2);
  step("running");
  own.stop();
}

void forks_while_launching() {
  begin();
  Launchers own(3);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      if (i % 2) execl("/bin/true", "true", nullptr);
      _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  }
  const long count = own.stop();
  say_and_wait("done", count);
}

// Of devices that can reach each other's memory both may, once both have a context: the driver's own memory is copied by any context, too.
void reach() {
  begin();
  DevicePointer small = 0, large = 0, later = 0, other = 0;
  CHECK(cuMemAlloc_v2(&small, 100) == 0 && cuMemAlloc_v2(&large, granule) == 0);
  const auto access = [](DevicePointer address) { return gcr_fake_access(address / granule * granule); };
  CHECK(access(small) == 1 && access(large) == 1);
  Context first, second;
  CHECK(cuCtxGetCurrent(&first) == 0 && cuDevicePrimaryCtxRetain(&second, 1) == 0);
  CHECK(access(small) == 3 && access(large) == 3);
  CHECK(cuMemAlloc_v2(&later, granule) == 0 && cuCtxSetCurrent(second) == 0 && cuMemAlloc_v2(&other, granule) == 0);
  const auto check = [&] { CHECK(access(small) == 3 && access(large) == 3 && access(later) == 3 && access(other) == 3); };
  check();
  CHECK(cuCtxEnablePeerAccess(first, 0) == 0);
  step("reached");
  check();
  step("done");
}

// Of those that cannot only what the program says.
void peers() {
  setenv("FAKE_NO_PEERS", "1", 1);
  begin();
  DevicePointer small = 0, large = 0, later = 0, other = 0;
  CHECK(cuMemAlloc_v2(&small, 100) == 0 && cuMemAlloc_v2(&large, granule) == 0);
  const auto access = [](DevicePointer address) { return gcr_fake_access(address / granule * granule); };
  CHECK(access(small) == 1 && access(large) == 1);
  Context first, second;
  CHECK(cuDevicePrimaryCtxRetain(&first, 0) == 0 && cuDevicePrimaryCtxRetain(&second, 1) == 0);
  CHECK(cuCtxSetCurrent(second) == 0 && cuCtxEnablePeerAccess(first, 0) == 0);
  CHECK(cuMemAlloc_v2(&other, granule) == 0);
  CHECK(cuCtxSetCurrent(first) == 0 && cuMemAlloc_v2(&later, granule) == 0);
  // The second device may use what is on the first, whenever it was allocated; not the other way round.
  const auto check = [&] { CHECK(access(small) == 3 && access(large) == 3 && access(later) == 3 && access(other) == 2); };
  check();
  step("enabled");
  check();
  step("done");
}

// The program's own mappings, three side by side, whose devices it names one by one, as PyTorch and NCCL do.
void own_access() {
  begin();
  constexpr int count = 3;
  AllocationProperties properties{allocation_pinned, 0, {location_device, 0}, nullptr, {}};
  DevicePointer base = 0;
  CHECK(cuMemAddressReserve(&base, count * granule, 0, 0, 0) == 0);
  const auto map = [&](int place) {
    Handle handle = 0;
    CHECK(cuMemCreate(&handle, granule, &properties, 0) == 0 && cuMemMap(base + place * granule, granule, 0, handle, 0) == 0);
    CHECK(cuMemRelease(handle) == 0);
  };
  const auto set = [&](int place, int places, int device, int flags) {
    const AccessDescriptor access{{location_device, device}, flags};
    CHECK(cuMemSetAccess(base + place * granule, places * granule, &access, 1) == 0);
  };
  for (int place = 0; place < count; ++place) map(place);
  for (int device = 0; device < 2; ++device) set(0, count, device, access_read_write);
  set(1, 1, 1, 0);
  // What is mapped anew has what is said of it then.
  CHECK(cuMemUnmap(base + 2 * granule, granule) == 0);
  map(2);
  set(2, 1, 1, access_read_write);
  const auto check = [&] {
    CHECK(gcr_fake_access(base) == 3 && gcr_fake_access(base + granule) == 1 && gcr_fake_access(base + 2 * granule) == 2);
  };
  check();
  step("mapped");
  check();
  step("done");
}

void shares() {
  begin();
  DevicePointer memory = 0, own = 0, opened = 0;
  IpcHandle handle{};
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0 && cuMemAllocAsync(&own, 4096, nullptr) == 0);
  CHECK(cuIpcGetMemHandle(&handle, memory) != 0);  // as the driver answers for mapped memory
  CHECK(cuMemsetD8_v2(memory, 1, 16) == 0);
  step("refused");
  CHECK(cuIpcOpenMemHandle_v2(&opened, handle, 0) == 0);
  step("opened");
  CHECK(cuIpcCloseMemHandle(opened) == 0);
  CHECK(cuIpcGetMemHandle(&handle, own) == 0);
  CHECK(cuMemsetD8_v2(memory, 2, 16) == 0 && cuMemAlloc_v2(&memory, 8192) == 0);
  step("shared");
}

}  // namespace

int main(int, char **arguments) {
  const std::string what = arguments[1];
  if (what == "locate") locate();
  if (what == "contexts") contexts();
  if (what == "own_access") own_access();
  if (what == "guard") guard();
  if (what == "signals") signals();
  if (what == "calls_from_handler") calls_from_handler();
  if (what == "launches") launches();
  if (what == "forks_while_launching") forks_while_launching();
  if (what == "peers") peers();
  if (what == "reach") reach();
  if (what == "shares") shares();
}
