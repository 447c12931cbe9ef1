// Graphs: nodes with work and what they come after, captured from streams or built by hand, and their executable form.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <vector>

#include "queue.h"
#include "work.h"

namespace gcr::sim {

struct Graph;

struct Node {
  Graph *graph = nullptr;
  NodeType type = node_empty;
  Work work;
  std::vector<Node *> after;
  std::shared_ptr<Graph> child;
  // Of a kernel: pointers into its parameters, for those who ask for them.
  std::vector<void *> parameter_pointers;
};

struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;  // a node stands behind all that were there when it was made
  std::unordered_map<const Node *, Node *> clones;  // of a clone: by node of the original
};

struct GraphExec {
  struct Step {
    const Node *node;
    NodeType type;
    Work work;
    std::vector<std::size_t> after;  // positions of steps
    std::shared_ptr<GraphExec> child;
  };
  std::vector<Step> steps;
  std::unordered_map<const Node *, std::size_t> places;
  unsigned long long flags = 0;

  std::shared_ptr<const Plan> plan() const;
};

enum class CaptureMode { global = 0, thread_local_ = 1, relaxed = 2 };
enum class CaptureStatus { none = 0, active = 1, invalidated = 2 };

struct Capture {
  std::uint64_t number = 0;
  std::shared_ptr<Graph> graph;
  std::shared_ptr<Stream> origin;
  std::vector<std::shared_ptr<Stream>> streams;
  CaptureMode mode = CaptureMode::global;
  std::thread::id thread;
  bool invalid = false;
};

class Graphs {
 public:
  // Guards every graph, executable graph and capture; the functions below are called with it held.
  std::mutex mutex;

  Graph *create();
  Graph *add(std::shared_ptr<Graph> graph);
  std::shared_ptr<Graph> graph(void *handle) const;  // these throw Failure (invalid_value)
  Node *node(void *handle) const;
  std::shared_ptr<GraphExec> exec(void *handle) const;
  void destroy(void *handle);
  void destroy_node(void *handle);
  GraphExec *instantiate(const Graph &graph, unsigned long long flags);
  void destroy_exec(void *handle);

  Node *add_node(Graph &graph, NodeType type, Work work, const std::vector<Node *> &after);
  std::shared_ptr<Graph> clone(const Graph &graph);

  // Capturing. `status` of a stream that does not capture is none.
  void begin(const std::shared_ptr<Stream> &stream, CaptureMode mode);
  Graph *end(const std::shared_ptr<Stream> &stream);
  CaptureStatus status(const Stream &stream) const;
  void capture(Stream &stream, NodeType type, Work work);
  void record(Event &event, const Stream &stream);
  void join(const std::shared_ptr<Stream> &stream, const Event &event);
  // What may not be done while such a capture is under way: it fails (stream_capture_unsupported), and so does the capture.
  void prohibit(CaptureMode thread_mode);
  // The same for work of the legacy default stream (stream_capture_implicit).
  void prohibit_implicit(const void *context);
  bool capturing() const { return !captures_.empty(); }

 private:
  std::unordered_map<void *, std::shared_ptr<Graph>> graphs_;
  std::unordered_map<void *, std::shared_ptr<GraphExec>> execs_;
  std::set<const void *> nodes_;
  std::vector<std::shared_ptr<Capture>> captures_;
  std::uint64_t next_capture_ = 1;

  void forget(const Graph &graph);
};

// The executable form of a graph: its nodes in an order that respects all dependencies. Throws Failure on a cycle.
std::shared_ptr<GraphExec> make_exec(const Graph &graph);

// Replaces the work of an executable graph by another graph's of the same shape. False when the shapes differ; `node` is then the
// first of `graph` that does not fit.
bool update_exec(GraphExec &exec, const Graph &graph, const Node *&node);

}  // namespace gcr::sim
