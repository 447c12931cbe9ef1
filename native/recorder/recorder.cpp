// See recorder.h.
#include "recorder/recorder.h"

#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace gcr {
namespace {

constexpr int attribute_capability_major = 75, attribute_capability_minor = 76;

std::uint64_t start_time() {
  std::uint64_t ticks = 0;
  if (std::FILE *file = std::fopen("/proc/self/stat", "re")) {
    char line[1024] = {};
    const std::size_t size = std::fread(line, 1, sizeof(line) - 1, file);
    std::fclose(file);
    // The second field is a name in parentheses that may hold anything; the 22nd is the 20th behind it.
    if (const char *at = size ? std::strrchr(line, ')') : nullptr) {
      for (int field = 2; field < 22 && at; ++field) at = std::strchr(at + 1, ' ');
      if (at) ticks = std::strtoull(at, nullptr, 10);
    }
  }
  return ticks;
}

}  // namespace

constinit Hot hot;
// What the fork of this thread has locked.
static thread_local constinit Recorder *forking __attribute__((tls_model("initial-exec"))) = nullptr;

void PinnedRanges::add(const void *place, std::size_t size) {
  const std::unique_lock lock(mutex_);
  ranges_[reinterpret_cast<std::uintptr_t>(place)] = size;
}

void PinnedRanges::remove(const void *place) {
  const std::unique_lock lock(mutex_);
  ranges_.erase(reinterpret_cast<std::uintptr_t>(place));
}

bool PinnedRanges::touches(const void *place, std::size_t size) const {
  const auto begin = reinterpret_cast<std::uintptr_t>(place);
  const std::shared_lock lock(mutex_);
  auto found = ranges_.lower_bound(begin + size);
  if (found == ranges_.begin()) return false;
  --found;
  return found->first + found->second > begin;
}

bool Recorder::wanted() {
  static const bool wanted = [] {
    const char *path = std::getenv("GCR_SOCKET");
    return path && *path;
  }();
  return wanted;
}

HelloMessage Recorder::hello(Greeting greeting) const {
  HelloMessage hello = description_;
  hello.pid = static_cast<std::uint32_t>(::getpid());
  hello.start_time = start_time();
  hello.greeting = greeting;
  return hello;
}

void Recorder::ask_driver() {
  HelloMessage &hello = description_;
  int version = 0, count = 0;
  if (driver.cuDriverGetVersion) driver.cuDriverGetVersion(&version);
  hello.driver_version = static_cast<std::uint32_t>(version);
  if (driver.cuDeviceGetCount) driver.cuDeviceGetCount(&count);
  for (int i = 0; i < count; ++i) {
    DeviceDescription &device = hello.devices.emplace_back();
    Device number = i;
    std::size_t bytes = 0;
    char name[256] = {};
    driver.cuDeviceGet(&number, i);
    if (driver.cuDeviceGetUuid) driver.cuDeviceGetUuid(reinterpret_cast<Uuid *>(device.uuid), number);
    if (driver.cuDeviceTotalMem) driver.cuDeviceTotalMem(&bytes, number);
    driver.cuDeviceGetName(name, sizeof(name) - 1, number);
    device.memory_bytes = bytes;
    device.name = name;
    int major = 0, minor = 0;
    if (driver.cuDeviceGetAttribute && driver.cuDeviceGetAttribute(&major, attribute_capability_major, number) == result::success &&
        driver.cuDeviceGetAttribute(&minor, attribute_capability_minor, number) == result::success)
      device.architecture = static_cast<std::uint32_t>(10 * major + minor);
  }
}

void Recorder::start(const Driver &driver) {
  static std::mutex mutex;
  static bool tried = false;
  const std::lock_guard lock(mutex);
  if (tried) return;
  tried = true;
  // The child has the memory of these objects but neither the thread nor the right to the channel: it begins anew.
  static const int forks = ::pthread_atfork(
      [] {
        if ((forking = Recorder::current())) forking->sharing.before_fork();
      },
      [] {
        if (forking) forking->sharing.after_fork();
      },
      [] {
        if (Recorder *parents = hot.recorder.exchange(nullptr)) {
          parents->emitter.abandon();
          parents->sharing.abandon();
        }
        new (&mutex) std::mutex;
        tried = false;
        this_thread = {};
      });
  hot.begin();
  auto recorder = std::make_unique<Recorder>(driver);
  recorder->ask_driver();
  const std::string problem = forks ? "fork cannot be followed" : recorder->emitter.connect(std::getenv("GCR_SOCKET"), recorder->hello(Greeting::begins));
  if (!problem.empty()) return Emitter::trace("not recording: " + problem);
  if (!recorder->agent.start(std::getenv("GCR_SOCKET"))) {
    recorder->emitter.stop_all("no thread for the agent");
    return;
  }
  hot.recorder = recorder.release();
}

bool Recorder::captured(Stream stream, bool per_thread) const {
  if (hot.captures.load(std::memory_order_relaxed) == 0 || !driver.cuStreamIsCapturing) return false;
  if (!stream && per_thread) stream = stream_per_thread;
  int status = 0;
  // An error (the legacy stream while another is captured) is answered by the submission itself, too.
  return driver.cuStreamIsCapturing(stream, &status) == result::success && status != 0;
}

}  // namespace gcr
