// The application of process_test.cpp: programs that do more than call the driver. Does what its argument names.
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
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
  // As the driver answers for memory that the program has mapped itself.
  AllocationProperties properties{allocation_pinned, 0, {location_device, 0}, nullptr, {}};
  Handle mapped = 0;
  DevicePointer range = 0;
  CHECK(cuMemCreate(&mapped, granule, &properties, 0) == 0 && cuMemAddressReserve(&range, granule, 0, 0, 0) == 0);
  CHECK(cuMemMap(range, granule, 0, mapped, 0) == 0 && cuIpcGetMemHandle(&handle, range) != 0);
  CHECK(cuMemUnmap(range, granule) == 0 && cuMemRelease(mapped) == 0);
  CHECK(cuMemsetD8_v2(memory, 1, 16) == 0);
  step("refused");
  CHECK(cuIpcOpenMemHandle_v2(&opened, handle, 0) == 0);
  step("opened");
  CHECK(cuIpcCloseMemHandle(opened) == 0);
  CHECK(cuIpcGetMemHandle(&handle, own) == 0);
  CHECK(cuMemsetD8_v2(memory, 2, 16) == 0 && cuMemAlloc_v2(&memory, 8192) == 0);
  step("shared");
}

// Handles go from one application to the other by files.
void write_handles(const char *name, const std::vector<IpcHandle> &handles) {
  std::ofstream file(getenv(name), std::ios::binary);
  file.write(reinterpret_cast<const char *>(handles.data()), static_cast<std::streamsize>(handles.size() * sizeof(IpcHandle)));
  CHECK(file.flush());
}
std::vector<IpcHandle> read_handles(const char *name, std::size_t count) {
  std::vector<IpcHandle> handles(count);
  std::ifstream file(getenv(name), std::ios::binary);
  file.read(reinterpret_cast<char *>(handles.data()), static_cast<std::streamsize>(count * sizeof(IpcHandle)));
  CHECK(file.good());
  return handles;
}
IpcHandle handle_of(DevicePointer address) {
  IpcHandle handle{};
  CHECK(cuIpcGetMemHandle(&handle, address) == 0);
  return handle;
}
bool equal(const IpcHandle &a, const IpcHandle &b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }
bool holds(DevicePointer address, std::size_t size, int value) {
  return std::all_of(bytes(address), bytes(address) + size, [&](std::uint8_t one) { return one == value; });
}
Result open_handle(DevicePointer *address, const IpcHandle &handle) { return cuIpcOpenMemHandle_v2(address, handle, 1); }

// Two allocations of one slab, and a large one.
void exports() {
  begin();
  const Function function = load("fill");
  DevicePointer first = 0, second = 0, large = 0, opened = 0;
  CHECK(cuMemAlloc_v2(&first, 1000) == 0 && cuMemAlloc_v2(&second, 1000) == 0 && cuMemAlloc_v2(&large, 3 << 20) == 0);
  fill(function, first, 1000, 1);
  fill(function, second, 1000, 2);
  fill(function, large, 3 << 20, 3);
  const std::vector<IpcHandle> handles{handle_of(first), handle_of(second), handle_of(large)};
  // The same one again, whichever of its addresses is asked for; each allocation its own.
  CHECK(equal(handle_of(second + 5), handles[1]) && !equal(handles[0], handles[1]));
  unsigned capable = 0;
  CHECK(cuPointerGetAttribute(&capable, 10, second) == 0 && capable == 1);
  CHECK(open_handle(&opened, handles[0]) == result::invalid_context);
  write_handles("GCR_TEST_HANDLES", handles);
  step("offered");
  CHECK(holds(first, 1000, 11) && holds(second, 1000, 2) && holds(large, 3 << 20, 13));
  CHECK(cuMemFree_v2(large) == 0);
  step("freed");
  // The place of the freed one is another allocation.
  CHECK(cuMemFree_v2(second) == 0 && cuMemAlloc_v2(&opened, 1000) == 0 && opened == second);
  CHECK(!equal(handle_of(opened), handles[1]));
  write_handles("GCR_TEST_HANDLES", {handles[0], handle_of(opened), handles[2]});
  step("again");
  if (fork() == 0) {
    sleep(15);
    _exit(0);
  }
  step("forked");
}

void opens() {
  begin();
  const Function function = load("fill");
  std::vector<IpcHandle> handles = read_handles("GCR_TEST_HANDLES", 3);
  DevicePointer first = 0, second = 0, large = 0, again = 0;
  CHECK(open_handle(&first, handles[0]) == 0 && open_handle(&second, handles[1]) == 0 && open_handle(&large, handles[2]) == 0);
  step("opened");
  CHECK(second == first + 1024 && holds(first, 1000, 1) && holds(second, 1000, 2) && holds(large, 3 << 20, 3));
  CHECK(gcr_fake_access(first) == 1 && gcr_fake_access(large) == 1);
  DevicePointer base = 0;
  std::size_t size = 0;
  CHECK(cuMemGetAddressRange_v2(&base, &size, second + 7) == 0 && base == second && size == 1000);
  unsigned capable = 0;
  CHECK(cuPointerGetAttribute(&capable, 10, second) == 0 && capable == 0);
  // Counted.
  CHECK(open_handle(&again, handles[0]) == 0 && again == first);
  CHECK(cuIpcCloseMemHandle(first) == 0 && holds(first, 1000, 1));
  CHECK(cuIpcCloseMemHandle(first) == 0 && cuIpcCloseMemHandle(first) != 0 && gcr_fake_access(first) == 1);
  CHECK(open_handle(&again, handles[0]) == 0 && again == first);
  // Closed, not freed; opened, not given out.
  CHECK(cuMemFree_v2(large) != 0 && cuIpcCloseMemHandle(large + 1) != 0);
  IpcHandle own{};
  CHECK(cuIpcGetMemHandle(&own, large) != 0 && open_handle(nullptr, handles[0]) == result::invalid_value);
  CHECK(cuIpcOpenMemHandle_v2(&again, handles[0], 8) == result::invalid_value);
  // In a context of another device, which may use it, too.
  Context here, there;
  CHECK(cuCtxGetCurrent(&here) == 0 && cuDevicePrimaryCtxRetain(&there, 1) == 0 && cuCtxSetCurrent(there) == 0);
  CHECK(gcr_fake_access(first) == 3 && open_handle(&again, handles[0]) == 0 && again != first && gcr_fake_access(again) == 3);
  CHECK(holds(again, 1000, 1) && cuIpcCloseMemHandle(again) == 0 && gcr_fake_access(again) == 0 && cuCtxSetCurrent(here) == 0);
  fill(function, first, 1000, 11);
  fill(function, large, 3 << 20, 13);
  step("written");
  // Freed by the other one: what is open stays, and cannot be opened any more once it was closed.
  CHECK(holds(large, 3 << 20, 13) && cuIpcCloseMemHandle(large) == 0 && gcr_fake_access(large) == 0);
  CHECK(open_handle(&large, handles[2]) == result::invalid_handle);
  step("closed");
  const IpcHandle freed = handles[1];
  handles = read_handles("GCR_TEST_HANDLES", 3);
  CHECK(open_handle(&again, handles[1]) == 0 && again == second);
  CHECK(cuIpcCloseMemHandle(second) == 0 && holds(second, 1000, 2) && cuIpcCloseMemHandle(second) == 0);
  CHECK(open_handle(&again, freed) == result::invalid_handle);
  step("reopened");
  // Nobody is there any more, or nobody answers.
  CHECK(open_handle(&again, handles[1]) == (getenv("GCR_TEST_STOPPED") ? result::operating_system : result::invalid_handle));
  CHECK(holds(first, 1000, 11) && cuIpcCloseMemHandle(first) == 0 && gcr_fake_access(first) == 0);
  step("alone");
}

// With a context on another device than the memory's alone.
void opens_elsewhere() {
  CHECK(cuInit(0) == 0);
  Context context;
  DevicePointer opened = 0;
  const IpcHandle handle = read_handles("GCR_TEST_HANDLES", 3)[0];
  CHECK(open_handle(&opened, handle) == result::invalid_context);
  CHECK(cuDevicePrimaryCtxRetain(&context, 1) == 0 && cuCtxSetCurrent(context) == 0);
  if (getenv("FAKE_NO_PEERS")) CHECK(open_handle(&opened, handle) == result::peer_access_unsupported);
  else CHECK(open_handle(&opened, handle) == 0 && gcr_fake_access(opened) == 3 && holds(opened, 1000, 1));
  step("opened");
}

// Opens the other one's and closes it, again and again, while the other does the same.
void exchanges() {
  begin();
  DevicePointer memory = 0, opened = 0;
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  fill(load("fill"), memory, 4096, 7);
  write_handles("GCR_TEST_OWN", {handle_of(memory)});
  step("offered");
  const IpcHandle other = read_handles("GCR_TEST_OTHER", 1)[0];
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      Context context;
      CHECK(cuDevicePrimaryCtxRetain(&context, 0) == 0 && cuCtxSetCurrent(context) == 0);
      for (int round = 0; round < 200; ++round) {
        DevicePointer place = 0;
        CHECK(open_handle(&place, other) == 0 && holds(place, 4096, 7) && cuIpcCloseMemHandle(place) == 0);
      }
    });
  for (std::thread &thread : threads) thread.join();
  CHECK(open_handle(&opened, other) == 0 && holds(opened, 4096, 7));
  step("exchanged");
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
  if (what == "exports") exports();
  if (what == "opens") opens();
  if (what == "opens_elsewhere") opens_elsewhere();
  if (what == "exchanges") exchanges();
}
