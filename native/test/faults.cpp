// A library to be preloaded (LD_PRELOAD=build/native/test/faults.so) that counts the calls by which a process changes files under a
// folder, and lets one of them fail. A test first runs without an action to learn the count, then once for each call.
//
//   GCR_FAULT_ROOT    folder; calls on paths or descriptors below it count (it need not exist yet)
//   GCR_FAULT_AT      number of the call that is to fail, from 1
//   GCR_FAULT_ACTION  kill        end the process by SIGKILL before the call
//                     kill-after  end it after the call
//                     enospc, eio, erofs  the call fails with that error
//                     short       a write takes only half of its bytes (at least one); other calls are as always
//   GCR_FAULT_STICKY  when set, the calls after it that write, make or extend fail likewise (a disk that stays full)
//   GCR_FAULT_COUNT   file to which the number of counted calls is written at exit
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

enum class Action { none, kill, kill_after, enospc, eio, erofs, short_write };

struct Settings {
  std::string root;
  std::string count_file;
  long at = 0;
  bool sticky = false;
  Action action = Action::none;

  Settings() {
    const auto value = [](const char* name) {
      const char* const text = std::getenv(name);
      return std::string(text == nullptr ? "" : text);
    };
    root = value("GCR_FAULT_ROOT");
    while (root.size() > 1 && root.back() == '/') root.pop_back();
    count_file = value("GCR_FAULT_COUNT");
    at = std::atol(value("GCR_FAULT_AT").c_str());
    sticky = std::getenv("GCR_FAULT_STICKY") != nullptr;
    const std::string name = value("GCR_FAULT_ACTION");
    if (name == "kill") action = Action::kill;
    if (name == "kill-after") action = Action::kill_after;
    if (name == "enospc") action = Action::enospc;
    if (name == "eio") action = Action::eio;
    if (name == "erofs") action = Action::erofs;
    if (name == "short") action = Action::short_write;
  }
};

std::atomic<long> counted{0};

const Settings& settings() {
  static const Settings* const all = new Settings;  // outlives every destructor
  return *all;
}

__attribute__((destructor)) void write_count() {
  if (settings().count_file.empty()) return;
  if (std::FILE* const file = std::fopen(settings().count_file.c_str(), "w")) {
    std::fprintf(file, "%ld\n", counted.load());
    std::fclose(file);
  }
}

bool under_root(const std::string& path) {
  const std::string& root = settings().root;
  return !root.empty() && path.compare(0, root.size(), root) == 0 && (path.size() == root.size() || path[root.size()] == '/');
}

std::string path_of(int fd) {
  char link[64];
  char path[PATH_MAX];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : "";
}

std::string path_at(int folder, const char* path) {
  if (path == nullptr) return "";
  if (path[0] == '/') return path;
  if (folder != AT_FDCWD) return path_of(folder) + "/" + path;
  char cwd[PATH_MAX];
  return (getcwd(cwd, sizeof cwd) == nullptr ? "" : std::string(cwd)) + "/" + path;
}

[[noreturn]] void end_process() {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/// What to do with this call; a call that is not to be counted has Action::none.
Action next_action(const std::string& path, bool takes_space) {
  const int saved = errno;
  const bool counts = under_root(path);
  errno = saved;
  if (!counts) return Action::none;
  const long number = ++counted;
  const Settings& all = settings();
  const bool now = number == all.at || (all.sticky && takes_space && all.at > 0 && number > all.at);
  return now ? all.action : Action::none;
}

bool is_error(Action action) { return action == Action::enospc || action == Action::eio || action == Action::erofs; }

int error_of(Action action) {
  return action == Action::enospc ? ENOSPC : action == Action::eio ? EIO : EROFS;
}

template <class Call>
auto with_action(Action action, Call call) {
  if (action == Action::kill) end_process();
  if (is_error(action)) {
    errno = error_of(action);
    return static_cast<decltype(call())>(-1);
  }
  const auto result = call();
  if (action == Action::kill_after) end_process();
  return result;
}

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool makes(int flags) { return (flags & (O_CREAT | O_TRUNC)) != 0; }

mode_t mode_argument(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

/// Half of the pieces' bytes, as pieces.
int halve(const iovec* pieces, int count, iovec* halved) {
  size_t total = 0;
  for (int i = 0; i < count; ++i) total += pieces[i].iov_len;
  size_t left = total > 1 ? total / 2 : total;
  int used = 0;
  for (; used < count && used < 16 && left > 0; ++used) {
    halved[used] = pieces[used];
    if (halved[used].iov_len > left) halved[used].iov_len = left;
    left -= halved[used].iov_len;
  }
  return used;
}

}  // namespace

extern "C" {

#define GCR_OPEN(NAME)                                                                            \
  int NAME(const char* path, int flags, ...) {                                                    \
    va_list arguments;                                                                            \
    va_start(arguments, flags);                                                                   \
    const mode_t mode = mode_argument(flags, arguments);                                          \
    va_end(arguments);                                                                            \
    static auto* const real = next<int(const char*, int, ...)>(#NAME);                            \
    return with_action(next_action(path_at(AT_FDCWD, path), makes(flags)), [&] { return real(path, flags, mode); }); \
  }
GCR_OPEN(open)
GCR_OPEN(open64)

#define GCR_OPENAT(NAME)                                                                          \
  int NAME(int folder, const char* path, int flags, ...) {                                        \
    va_list arguments;                                                                            \
    va_start(arguments, flags);                                                                   \
    const mode_t mode = mode_argument(flags, arguments);                                          \
    va_end(arguments);                                                                            \
    static auto* const real = next<int(int, const char*, int, ...)>(#NAME);                       \
    return with_action(next_action(path_at(folder, path), makes(flags)), [&] { return real(folder, path, flags, mode); }); \
  }
GCR_OPENAT(openat)
GCR_OPENAT(openat64)

ssize_t write(int fd, const void* bytes, size_t size) {
  static auto* const real = next<ssize_t(int, const void*, size_t)>("write");
  if (settings().root.empty()) return real(fd, bytes, size);
  const Action action = next_action(path_of(fd), true);
  if (action == Action::short_write && size > 1) size /= 2;
  return with_action(action, [&] { return real(fd, bytes, size); });
}

#define GCR_PWRITE(NAME, OFFSET)                                                                  \
  ssize_t NAME(int fd, const void* bytes, size_t size, OFFSET offset) {                           \
    static auto* const real = next<ssize_t(int, const void*, size_t, OFFSET)>(#NAME);             \
    const Action action = next_action(path_of(fd), true);                                         \
    if (action == Action::short_write && size > 1) size /= 2;                                     \
    return with_action(action, [&] { return real(fd, bytes, size, offset); });                    \
  }
GCR_PWRITE(pwrite, off_t)
GCR_PWRITE(pwrite64, off64_t)

#define GCR_PWRITEV(NAME, OFFSET)                                                                 \
  ssize_t NAME(int fd, const iovec* pieces, int count, OFFSET offset) {                           \
    static auto* const real = next<ssize_t(int, const iovec*, int, OFFSET)>(#NAME);               \
    const Action action = next_action(path_of(fd), true);                                         \
    iovec halved[16];                                                                             \
    if (action == Action::short_write) {                                                          \
      count = halve(pieces, count, halved);                                                       \
      pieces = halved;                                                                            \
    }                                                                                             \
    return with_action(action, [&] { return real(fd, pieces, count, offset); });                  \
  }
GCR_PWRITEV(pwritev, off_t)
GCR_PWRITEV(pwritev64, off64_t)

#define GCR_ON_DESCRIPTOR(NAME, TAKES_SPACE, PARAMETERS, TYPES, ...)                              \
  int NAME PARAMETERS {                                                                           \
    static auto* const real = next<int TYPES>(#NAME);                                             \
    return with_action(next_action(path_of(fd), TAKES_SPACE), [&] { return real(__VA_ARGS__); }); \
  }
GCR_ON_DESCRIPTOR(fsync, true, (int fd), (int), fd)
GCR_ON_DESCRIPTOR(fdatasync, true, (int fd), (int), fd)
GCR_ON_DESCRIPTOR(ftruncate, true, (int fd, off_t size), (int, off_t), fd, size)
GCR_ON_DESCRIPTOR(ftruncate64, true, (int fd, off64_t size), (int, off64_t), fd, size)
GCR_ON_DESCRIPTOR(fallocate, true, (int fd, int mode, off_t at, off_t size), (int, int, off_t, off_t), fd, mode, at, size)
GCR_ON_DESCRIPTOR(fallocate64, true, (int fd, int mode, off64_t at, off64_t size), (int, int, off64_t, off64_t), fd, mode, at, size)
GCR_ON_DESCRIPTOR(flock, false, (int fd, int operation), (int, int), fd, operation)

#define GCR_ON_PATH(NAME, TAKES_SPACE, FOLDER, PATH, PARAMETERS, TYPES, ...)                      \
  int NAME PARAMETERS {                                                                           \
    static auto* const real = next<int TYPES>(#NAME);                                             \
    return with_action(next_action(path_at(FOLDER, PATH), TAKES_SPACE), [&] { return real(__VA_ARGS__); }); \
  }
GCR_ON_PATH(mkdir, true, AT_FDCWD, path, (const char* path, mode_t mode), (const char*, mode_t), path, mode)
GCR_ON_PATH(mkdirat, true, folder, path, (int folder, const char* path, mode_t mode), (int, const char*, mode_t), folder, path, mode)
GCR_ON_PATH(unlink, false, AT_FDCWD, path, (const char* path), (const char*), path)
GCR_ON_PATH(unlinkat, false, folder, path, (int folder, const char* path, int flags), (int, const char*, int), folder, path, flags)
GCR_ON_PATH(rename, true, AT_FDCWD, to, (const char* from, const char* to), (const char*, const char*), from, to)
GCR_ON_PATH(renameat, true, to_folder, to, (int from_folder, const char* from, int to_folder, const char* to),
            (int, const char*, int, const char*), from_folder, from, to_folder, to)
GCR_ON_PATH(renameat2, true, to_folder, to,
            (int from_folder, const char* from, int to_folder, const char* to, unsigned flags),
            (int, const char*, int, const char*, unsigned), from_folder, from, to_folder, to, flags)
GCR_ON_PATH(linkat, true, to_folder, to, (int from_folder, const char* from, int to_folder, const char* to, int flags),
            (int, const char*, int, const char*, int), from_folder, from, to_folder, to, flags)

}  // extern "C"
