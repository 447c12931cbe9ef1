// gcr-truth: records which bytes the launches of a plan change on a GPU.
//
//   gcr-truth PLAN ROOT OUTPUT [--driver PATH] [--compare device|host] [--timeout SECONDS] [--load-timeout SECONDS]
//
// ROOT is the folder that the plan's file names start from. A child process owns the context and reports line by line; when
// a kernel faults or hangs, the child ends, the launch is recorded so, and a new child goes on behind it. The parent never
// touches the driver. Formats: docs/formats/truth.md.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <set>

#include "launcher.h"

namespace gcr {
namespace {

struct Options {
  std::string plan, root, output;
  std::string driver = "libcuda.so.1";
  bool on_host = false;
  int timeout = 5;
  int load_timeout = 180;
};

// Messages of the child, one a line: a letter, a number, text.
constexpr char message_head = 'H';     // text: members of the record's head
constexpr char message_load = 'L';     // a module is being compiled
constexpr char message_start = 'S';    // text: members of the launch's record
constexpr char message_written = 'W';  // text: the written runs
constexpr char message_refused = 'R';  // text: why
constexpr char message_fault = 'F';    // text: the error; the child ends
constexpr char message_broken = 'B';   // text: why nothing can be recorded at all

constexpr int limit_stack_size = 0;
constexpr std::size_t stack_size = 8 << 10;

class Reporter {
 public:
  explicit Reporter(int descriptor) : descriptor_(descriptor) {}

  void send(char kind, std::size_t index, const std::string &text) const {
    std::string line = kind + std::to_string(index) + ' ' + text + '\n';
    for (std::size_t at = 0; at < line.size();) {
      ssize_t count = ::write(descriptor_, line.data() + at, line.size() - at);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) _exit(3);
      at += static_cast<std::size_t>(count);
    }
  }

 private:
  int descriptor_;
};

// The child's life. Ends the process without the driver's clean-up, which may hang after a fault.
[[noreturn]] void record_from(const Plan &plan, const Options &options, std::size_t first, const std::set<std::string> &bad,
                              const Reporter &report) {
  int nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDOUT_FILENO);  // what kernels print
  std::size_t index = first;
  try {
    Driver driver(options.driver);
    driver.check(driver.cuInit(0), "init");
    Device device = 0;
    driver.check(driver.cuDeviceGet(&device, 0), "device");
    Context context = nullptr;
    driver.check(driver.cuDevicePrimaryCtxRetain(&context, device), "context");
    driver.check(driver.cuCtxSetCurrent(context), "context");
    // Recursive kernels compiled without optimisation need more stack than there is by default.
    driver.check(driver.cuCtxSetLimit(limit_stack_size, stack_size), "stack size");
    Arena arena(driver, device, plan.arena, options.on_host);
    char name[256] = {};
    int version = 0;
    driver.check(driver.cuDeviceGetName(name, sizeof name - 1, device), "name");
    driver.check(driver.cuDriverGetVersion(&version), "version");
    report.send(message_head, 0,
                "\"device\":" + json_quote(name) + ",\"driver\":" + std::to_string(version) +
                    ",\"arena\":" + hex_address(arena.base()));
    Launcher launcher(driver, arena, options.root);
    for (; index < plan.launches.size(); ++index) {
      const LaunchPlan &launch = plan.launches[index];
      if (bad.count(launch.file)) {
        report.send(message_refused, index, "the driver ended while it loaded the module");
        continue;
      }
      LaunchResult result = launcher.run(
          launch, [&] { report.send(message_load, index, ""); },
          [&](const std::string &members) { report.send(message_start, index, members); });
      if (result.status == "ok")
        report.send(message_written, index, result.written);
      else
        report.send(message_refused, index, result.reason);
    }
  } catch (const DriverError &error) {
    report.send(message_fault, index, error.what());
  } catch (const std::exception &error) {
    report.send(message_broken, index, error.what());
  }
  _exit(0);
}

// A child and the pipe it reports through; kills and reaps it in the end.
class Child {
 public:
  Child(const Plan &plan, const Options &options, std::size_t first, const std::set<std::string> &bad) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("no pipe");
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("cannot fork");
    if (process_ == 0) {
      ::close(ends[0]);
      record_from(plan, options, first, bad, Reporter(ends[1]));
    }
    ::close(ends[1]);
    descriptor_ = ends[0];
  }
  Child(const Child &) = delete;
  Child &operator=(const Child &) = delete;

  ~Child() {
    ::kill(process_, SIGKILL);
    ::close(descriptor_);
    // A process with a hung kernel may take its time; one that never ends must not stop the recording.
    for (int i = 0; i < 600 && ::waitpid(process_, nullptr, WNOHANG) == 0; ++i) ::usleep(100'000);
  }

  enum class Event { line, ended, timeout };

  // The next line, waiting at most that long.
  Event next(std::string &line, int seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    for (;;) {
      std::size_t end = buffer_.find('\n');
      if (end != std::string::npos) {
        line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return Event::line;
      }
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
      pollfd waiting{descriptor_, POLLIN, 0};
      int ready = ::poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) return Event::timeout;
      char chunk[65536];
      ssize_t count = ::read(descriptor_, chunk, sizeof chunk);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) return Event::ended;
      buffer_.append(chunk, static_cast<std::size_t>(count));
    }
  }

 private:
  pid_t process_ = -1;
  int descriptor_ = -1;
  std::string buffer_;
};

// Writes the record as results arrive and keeps the figures for the summary.
class Record {
 public:
  Record(const Plan &plan, const std::string &path) : plan_(plan), path_(path), file_(path) {
    if (!file_) throw std::runtime_error("cannot write " + path);
  }

  void head(const std::string &members) {
    if (has_head_) return;
    has_head_ = true;
    file_ << "{\"format\":\"gcr-truth\",\"version\":2," << members << ",\"launches\":[";
    std::cerr << members << '\n';
  }

  void add(std::size_t index, const std::string &status, const std::string &members, const std::string &reason,
           const std::string &written) {
    const LaunchPlan &launch = plan_.launches[index];
    file_ << (index ? ",\n{" : "\n{");
    if (members.empty())
      file_ << "\"file\":" << json_quote(launch.file) << ",\"kernel\":" << json_quote(launch.kernel)
            << ",\"case\":" << json_quote(launch.name);
    else
      file_ << members;
    file_ << ",\"status\":\"" << status << '"';
    if (status == "ok") file_ << ",\"written\":" << written;
    if (!reason.empty()) file_ << ",\"reason\":" << json_quote(reason);
    file_ << '}' << std::flush;
    ++counts_[status];
    if (status != "ok") ++reasons_[launch.file + ' ' + launch.kernel + ": " + status + ", " + reason];
  }

  void finish() {
    file_ << "\n]}\n" << std::flush;
    if (!file_) throw std::runtime_error("cannot write " + path_);
    for (const auto &[reason, count] : reasons_) std::cerr << "  " << count << " × " << reason << '\n';
    std::cerr << "gcr-truth: " << plan_.launches.size() << " launches: ";
    for (const char *status : {"ok", "faulted", "hung", "refused"}) std::cerr << counts_[status] << ' ' << status << ' ';
    std::cerr << '\n';
  }

 private:
  const Plan &plan_;
  std::string path_;
  std::ofstream file_;
  bool has_head_ = false;
  std::map<std::string, std::size_t> counts_, reasons_;
};

// One child until it has done everything or must be given up. The index of the launch to go on with.
std::size_t follow(const Plan &plan, const Options &options, std::size_t first, std::set<std::string> &bad, Record &record) {
  Child child(plan, options, first, bad);
  std::size_t next = first;
  char phase = message_head;
  std::string members, line;
  while (next < plan.launches.size()) {
    const int timeout = std::max(options.timeout, plan.launches[next].timeout);
    const int limit = phase == message_start ? timeout : options.load_timeout;
    const Child::Event event = child.next(line, limit);
    if (event != Child::Event::line) {
      if (phase == message_head) throw std::runtime_error("the recording process did not start");
      const bool is_timeout = event == Child::Event::timeout;
      if (phase == message_load) {
        bad.insert(plan.launches[next].file);
        record.add(next, "refused", "", is_timeout ? "the module takes too long to load" : "the driver ended while it loaded the module", "");
      } else {
        record.add(next, is_timeout ? "hung" : "faulted", members,
                   is_timeout ? "no end after " + std::to_string(timeout) + " s" : "the process ended", "");
      }
      return next + 1;
    }
    const std::size_t space = line.find(' ');
    const std::string text = line.substr(space + 1);
    switch (line[0]) {
      case message_head:
        record.head(text);
        phase = message_written;
        break;
      case message_load:
        phase = message_load;
        break;
      case message_start:
        phase = message_start;
        members = text;
        break;
      case message_written:
      case message_refused:
        record.add(next++, line[0] == message_written ? "ok" : "refused", members,
                   line[0] == message_refused ? text : "", text);
        phase = message_written;
        members.clear();
        break;
      case message_fault:
        if (phase == message_head) throw std::runtime_error(text);
        record.add(next, "faulted", members, text, "");
        return next + 1;
      default:
        throw std::runtime_error(text);
    }
  }
  return next;
}

Options options_of(int count, char **arguments) {
  Options options;
  std::vector<std::string> positional;
  for (int i = 1; i < count; ++i) {
    std::string argument = arguments[i];
    if (argument.rfind("--", 0) != 0) {
      positional.push_back(argument);
      continue;
    }
    if (++i == count) throw std::invalid_argument(argument + " needs a value");
    std::string value = arguments[i];
    if (argument == "--driver")
      options.driver = value;
    else if (argument == "--compare" && (value == "host" || value == "device"))
      options.on_host = value == "host";
    else if (argument == "--timeout" && std::atoi(value.c_str()) > 0)
      options.timeout = std::atoi(value.c_str());
    else if (argument == "--load-timeout" && std::atoi(value.c_str()) > 0)
      options.load_timeout = std::atoi(value.c_str());
    else
      throw std::invalid_argument("bad option " + argument + ' ' + value);
  }
  if (positional.size() != 3) throw std::invalid_argument("PLAN, ROOT and OUTPUT are needed");
  options.plan = positional[0];
  options.root = positional[1];
  options.output = positional[2];
  return options;
}

}  // namespace
}  // namespace gcr

int main(int count, char **arguments) {
  using namespace gcr;
  try {
    const Options options = options_of(count, arguments);
    const Plan plan = read_plan(options.plan);
    Record record(plan, options.output);
    std::set<std::string> bad;
    for (std::size_t next = 0; next < plan.launches.size();) next = follow(plan, options, next, bad, record);
    record.finish();
    return 0;
  } catch (const std::invalid_argument &error) {
    std::cerr << "gcr-truth: " << error.what()
              << "\nusage: gcr-truth PLAN ROOT OUTPUT [--driver PATH] [--compare device|host] [--timeout SECONDS] "
                 "[--load-timeout SECONDS]\n";
    return 64;
  } catch (const std::exception &error) {
    std::cerr << "gcr-truth: " << error.what() << '\n';
    return 1;
  }
}
