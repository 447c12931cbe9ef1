// See graph.h.
#include "graph.h"

#include <algorithm>

#include "result.h"

namespace gcr::sim {

std::shared_ptr<const Plan> GraphExec::plan() const {
  auto plan = std::make_shared<Plan>();
  for (const Step &step : steps) plan->steps.push_back(step.child ? Work(PlanWork{step.child->plan()}) : step.work);
  return plan;
}

std::shared_ptr<GraphExec> make_exec(const Graph &graph) {
  auto exec = std::make_shared<GraphExec>();
  std::vector<const Node *> left;
  for (const auto &node : graph.nodes) left.push_back(node.get());
  while (!left.empty()) {
    const std::size_t before = left.size();
    std::erase_if(left, [&](const Node *node) {
      GraphExec::Step step{node, node->type, node->work, {}, nullptr};
      for (const Node *earlier : node->after) {
        const auto place = exec->places.find(earlier);
        if (place == exec->places.end()) return false;
        step.after.push_back(place->second);
      }
      std::sort(step.after.begin(), step.after.end());
      if (node->child) step.child = make_exec(*node->child);
      exec->places.emplace(node, exec->steps.size());
      exec->steps.push_back(std::move(step));
      return true;
    });
    require(left.size() < before, invalid_value);
  }
  return exec;
}

bool update_exec(GraphExec &exec, const Graph &graph, const Node *&node) {
  const auto next = make_exec(graph);
  const auto fits = [](const GraphExec::Step &a, const GraphExec::Step &b) {
    if (a.type != b.type || a.after != b.after) return false;
    if (!a.child) return true;
    return a.child->steps.size() == b.child->steps.size();
  };
  for (std::size_t i = 0; i < next->steps.size(); ++i) {
    node = next->steps[i].node;
    if (i >= exec.steps.size() || !fits(exec.steps[i], next->steps[i])) return false;
  }
  node = nullptr;
  if (exec.steps.size() != next->steps.size()) return false;
  for (std::size_t i = 0; i < next->steps.size(); ++i) {
    exec.steps[i].work = next->steps[i].work;
    exec.steps[i].child = next->steps[i].child;
  }
  return true;
}

Graph *Graphs::create() { return add(std::make_shared<Graph>()); }

Graph *Graphs::add(std::shared_ptr<Graph> graph) {
  for (const auto &node : graph->nodes) nodes_.insert(node.get());
  Graph *const handle = graph.get();
  graphs_.emplace(handle, std::move(graph));
  return handle;
}

std::shared_ptr<Graph> Graphs::graph(void *handle) const {
  const auto found = graphs_.find(handle);
  require(found != graphs_.end(), invalid_value);
  return found->second;
}

Node *Graphs::node(void *handle) const {
  require(nodes_.contains(handle), invalid_value);
  return static_cast<Node *>(handle);
}

std::shared_ptr<GraphExec> Graphs::exec(void *handle) const {
  const auto found = execs_.find(handle);
  require(found != execs_.end(), invalid_value);
  return found->second;
}

void Graphs::forget(const Graph &graph) {
  for (const auto &node : graph.nodes) {
    nodes_.erase(node.get());
    if (!node->child) continue;
    forget(*node->child);
    graphs_.erase(node->child.get());
  }
}

void Graphs::destroy(void *handle) {
  const auto found = graphs_.find(handle);
  require(found != graphs_.end(), invalid_value);
  forget(*found->second);
  graphs_.erase(found);
}

void Graphs::destroy_node(void *handle) {
  Node *const gone = node(handle);
  auto &nodes = gone->graph->nodes;
  for (const auto &other : nodes) std::erase(other->after, gone);
  nodes_.erase(gone);
  std::erase_if(nodes, [&](const auto &other) { return other.get() == gone; });
}

GraphExec *Graphs::instantiate(const Graph &graph, unsigned long long flags) {
  auto exec = make_exec(graph);
  exec->flags = flags;
  GraphExec *const handle = exec.get();
  execs_.emplace(handle, std::move(exec));
  return handle;
}

void Graphs::destroy_exec(void *handle) { require(execs_.erase(handle) == 1, invalid_value); }

Node *Graphs::add_node(Graph &graph, NodeType type, Work work, const std::vector<Node *> &after) {
  for (const Node *earlier : after) require(earlier->graph == &graph, invalid_value);
  auto node = std::make_unique<Node>();
  node->graph = &graph;
  node->type = type;
  node->work = std::move(work);
  node->after = after;
  Node *const handle = node.get();
  nodes_.insert(handle);
  graph.nodes.push_back(std::move(node));
  return handle;
}

std::shared_ptr<Graph> Graphs::clone(const Graph &graph) {
  auto copy = std::make_shared<Graph>();
  for (const auto &node : graph.nodes) {
    auto made = std::make_unique<Node>();
    made->graph = copy.get();
    made->type = node->type;
    made->work = node->work;
    if (node->child) {
      made->child = clone(*node->child);
      add(made->child);
    }
    copy->clones.emplace(node.get(), made.get());
    copy->nodes.push_back(std::move(made));
  }
  for (const auto &node : graph.nodes) {
    for (const Node *earlier : node->after) copy->clones.at(node.get())->after.push_back(copy->clones.at(earlier));
  }
  return copy;
}

CaptureStatus Graphs::status(const Stream &stream) const {
  if (!stream.capture) return CaptureStatus::none;
  return stream.capture->invalid ? CaptureStatus::invalidated : CaptureStatus::active;
}

void Graphs::begin(const std::shared_ptr<Stream> &stream, CaptureMode mode) {
  require(stream->kind != StreamKind::legacy, stream_capture_unsupported);
  require(!stream->capture, illegal_state);
  auto capture = std::make_shared<Capture>();
  capture->number = next_capture_++;
  capture->graph = std::make_shared<Graph>();
  capture->origin = stream;
  capture->streams = {stream};
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  stream->capture = capture;
  stream->capture_after.clear();
  captures_.push_back(std::move(capture));
}

Graph *Graphs::end(const std::shared_ptr<Stream> &stream) {
  const std::shared_ptr<Capture> capture = stream->capture;
  require(capture != nullptr, illegal_state);
  require(capture->origin == stream, stream_capture_unmatched);
  const bool other_thread = capture->mode != CaptureMode::relaxed && capture->thread != std::this_thread::get_id();
  require(!other_thread, stream_capture_wrong_thread);
  std::set<const void *> ends;
  for (const auto &node : capture->graph->nodes) ends.insert(node.get());
  for (const auto &node : capture->graph->nodes) {
    for (const Node *earlier : node->after) ends.erase(earlier);
  }
  for (const void *node : stream->capture_after) ends.erase(node);
  for (const auto &member : capture->streams) {
    member->capture = nullptr;
    member->capture_after.clear();
  }
  std::erase(captures_, capture);
  const Result result = capture->invalid ? stream_capture_invalidated : ends.empty() ? success : stream_capture_unjoined;
  if (result != success) {
    forget(*capture->graph);
    fail(result);
  }
  return add(capture->graph);
}

void Graphs::capture(Stream &stream, NodeType type, Work work) {
  require(!stream.capture->invalid, stream_capture_invalidated);
  std::vector<Node *> after;
  for (void *node : stream.capture_after) after.push_back(static_cast<Node *>(node));
  stream.capture_after = {add_node(*stream.capture->graph, type, std::move(work), after)};
}

void Graphs::record(Event &event, const Stream &stream) {
  require(!stream.capture->invalid, stream_capture_invalidated);
  event.capture = stream.capture;
  event.captured_after = stream.capture_after;
}

void Graphs::join(const std::shared_ptr<Stream> &stream, const Event &event) {
  require(stream->kind != StreamKind::legacy, stream_capture_implicit);
  if (!stream->capture) {
    require(std::find(captures_.begin(), captures_.end(), event.capture) != captures_.end(), captured_event);
    stream->capture = event.capture;
    stream->capture_after.clear();
    event.capture->streams.push_back(stream);
  }
  if (stream->capture != event.capture) {
    stream->capture->invalid = event.capture->invalid = true;
    fail(stream_capture_merge);
  }
  for (void *node : event.captured_after) {
    auto &after = stream->capture_after;
    if (std::find(after.begin(), after.end(), node) == after.end()) after.push_back(node);
  }
}

void Graphs::prohibit(CaptureMode thread_mode) {
  if (thread_mode == CaptureMode::relaxed) return;
  bool found = false;
  for (const auto &capture : captures_) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool global = capture->mode == CaptureMode::global && thread_mode == CaptureMode::global;
    if (capture->mode == CaptureMode::relaxed || !(own || global)) continue;
    capture->invalid = true;
    found = true;
  }
  require(!found, stream_capture_unsupported);
}

void Graphs::prohibit_implicit(const void *context) {
  bool found = false;
  for (const auto &capture : captures_) {
    const bool blocking = std::any_of(capture->streams.begin(), capture->streams.end(), [&](const auto &stream) {
      return stream->context == context && !(stream->flags & 1);
    });
    if (!blocking) continue;
    capture->invalid = true;
    found = true;
  }
  require(!found, stream_capture_implicit);
}

}  // namespace gcr::sim
