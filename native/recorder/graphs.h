// What launches of an instantiated graph may write: the graph is walked when it is instantiated, so it does not matter how it was made
// (captured, built, cloned, with child graphs). Whatever is not understood makes the graph one that may write anything.
#pragma once

#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "driver/driver.h"
#include "recorder/contracts.h"
#include "recorder/emitter.h"
#include "recorder/modules.h"

namespace gcr {

struct LaunchShape {
  Function function;
  const unsigned *grid, *block;
  unsigned shared_memory;
  Stream stream;
  unsigned cluster[3] = {};
  bool cooperative = false;
  void **parameters, **extra;
  bool unclear = false;  // not all of it can be told
};

// What an event says of a launch beside its parameters. `cluster`: the launch's own; zeros: none.
inline LaunchHead launch_head(const FunctionRecord &record, const unsigned *grid, const unsigned *block, const unsigned *cluster, unsigned shared_memory) {
  LaunchHead head;
  head.function = record.number;
  std::memcpy(head.grid, grid, sizeof(head.grid));
  std::memcpy(head.block, block, sizeof(head.block));
  std::memcpy(head.cluster, cluster[0] ? cluster : record.cluster, sizeof(head.cluster));
  head.shared_memory = shared_memory;
  return head;
}

// The bytes of a launch's parameters in the driver's layout, in `buffer`; false when not all of them are known.
bool gather_parameters(const FunctionRecord &record, void **parameters, void **extra, std::vector<std::uint8_t> &buffer);

// What a copy of any shape says to the supervisor; false for a copy that does not write device memory.
bool describe_copy(const Copy3D &copy, CopyEvent &event, bool *scattered, bool *from_device);
Copy3D widened(const Copy2D &copy);

class Graphs {
 public:
  Graphs(const Driver &driver, Emitter &emitter, Modules &modules) : driver_(driver), emitter_(emitter), modules_(modules) {}

  void instantiated(ThreadState &thread, GraphExec exec, Graph graph);
  // Before the driver's update: what the updated one may write. The old contents stay until the update has succeeded.
  void updated(ThreadState &thread, GraphExec exec, Graph graph);
  void set_kernel(ThreadState &thread, GraphExec exec, GraphNode node, const KernelNodeParameters &parameters, bool with_kernel);
  void set_copy(GraphExec exec, GraphNode node, const Copy3D &copy);
  void set_memset(GraphExec exec, GraphNode node, const MemsetNodeParameters &parameters);
  void set_child(ThreadState &thread, GraphExec exec, GraphNode node, Graph child);
  void set_unknown(GraphExec exec);
  void destroyed(GraphExec exec);
  // A launch inside of `call` has just become a node of the graph that the stream is captured into.
  void captured(ThreadState &thread, Stream stream, const LibraryCall &call);
  // Tells a new supervisor all of them.
  void retell();
  // The number, 0 for one that was not seen. `records_events`: whether CUDA events mean something else after a launch.
  std::uint64_t number(GraphExec exec, bool *records_events);

 private:
  using Encoded = std::vector<std::uint8_t>;
  struct Content {
    std::uint64_t number = 0;
    // By node; nodes that write nothing have no entry. A child graph is one entry with all of its events.
    std::map<GraphNode, Encoded> nodes;
    std::string unknown;  // why it may write anything; empty when it is known
    bool records_events = false;
  };

  // A node that a library's launch was captured as: how it was, and the call. A handle may be another node's later, and a node may be changed:
  // the call counts only while the node is what it was.
  struct Captured {
    Encoded launch, call;
  };

  void describe(ThreadState &thread, Graph graph, Content &content);
  // Puts the call in front of a launch that was captured inside of one.
  void attribute(GraphNode node, Encoded &events) const;
  void describe_node(ThreadState &thread, GraphNode node, Content &content, Encoded &events);
  void describe_kernel(ThreadState &thread, const KernelNodeParameters &parameters, bool with_kernel, Encoded &events,
                       const unsigned *cluster, bool cooperative);
  void describe_memset(const MemsetNodeParameters &parameters, Encoded &events);
  void describe_copy_node(const Copy3D &copy, Encoded &events);
  void send(const Content &content);

  template <class Event>
  static void append(Encoded &to, const Event &event, std::uint16_t flags = 0) {
    const auto size = static_cast<std::uint32_t>(event_bytes(event));
    const std::size_t at = to.size();
    to.resize(at + size);
    encode_event(event, 0, flags, to.data() + at, size);
    std::memcpy(to.data() + at, &size, 4);
  }

  const Driver &driver_;
  Emitter &emitter_;
  Modules &modules_;
  std::mutex mutex_;
  std::uint64_t next_ = 1;
  std::unordered_map<GraphExec, Content> execs_;
  std::unordered_map<GraphNode, Captured> captured_;
};

}  // namespace gcr
