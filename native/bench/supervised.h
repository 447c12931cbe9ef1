// Plays the supervisor for benchmarks: starts this program again as the application, with the recorder or without, and takes events as
// src/native/ring.ts does, on the other side of the ring.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/channel.h"
#include "core/events.h"
#include "core/ring.h"
#include "core/test/plain_check.h"

namespace gcr {

constexpr int supervisor_pause_us = 1000;  // as src/native/ring.ts looks away after it took something

// `command`: the program and its arguments, ended by a null. Without `recorder` it is not recorded, without `supervised` it finds no supervisor. `quiet`: launches
// need not be told (MessageType::quiet).
inline void run_application(const char *const *command, const char *recorder, const char *driver, bool supervised, bool quiet = false) {
  char folder[] = "/tmp/gcr-bench-XXXXXX";
  CHECK(mkdtemp(folder));
  const std::string path = std::string(folder) + "/socket";
  Listener listener;
  CHECK(listener.listen(path) == 0);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (recorder) setenv("LD_PRELOAD", recorder, 1);
    if (supervised) setenv("GCR_SOCKET", path.c_str(), 1);
    setenv("GCR_DRIVER", driver, 1);
    execv(command[0], const_cast<char **>(command));
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
    if (quiet) CHECK(channel.send(static_cast<std::uint16_t>(MessageType::quiet), 0, {}));
    std::vector<std::uint8_t> buffer(1 << 20);
    for (bool ended = false; !ended;) {
      while (reader.drain(buffer)) {
      }
      usleep(supervisor_pause_us);
      if (!reader.prepare_sleep()) continue;
      pollfd waiting[2] = {{message.descriptors[1].get(), POLLIN, 0}, {channel.descriptor(), POLLIN, 0}};
      poll(waiting, 2, 100);
      reader.cancel_sleep();
      Message other;
      if (waiting[1].revents) ended = channel.receive(other, 0).status == ChannelStatus::closed;
    }
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  unlink(path.c_str());
  rmdir(folder);
}

}  // namespace gcr
