// See graphs.h.
#include "recorder/graphs.h"

#include <algorithm>

namespace gcr {
namespace {

// A launch of a graph has its call directly before it, so one number is enough.
constexpr std::uint32_t call_in_graph = 1;
constexpr std::size_t most_captured = 1 << 16;

unsigned blocks_of(const LaunchAttribute &cluster) {
  const unsigned *size = cluster.value.cluster;
  return std::max(1u, size[0]) * std::max(1u, size[1]) * std::max(1u, size[2]);
}

}  // namespace

bool gather_parameters(const FunctionRecord &record, void **parameters, void **extra, std::vector<std::uint8_t> &buffer) {
  buffer.clear();
  if (extra) {
    const void *place = nullptr;
    std::size_t size = 0;
    bool has_size = false;
    for (; *extra != extra_end; extra += 2) {
      if (*extra == extra_pointer) place = extra[1];
      else if (*extra == extra_size) {
        size = *static_cast<const std::size_t *>(extra[1]);
        has_size = true;
      } else {
        return false;
      }
    }
    if (!place || !has_size) return size == 0 && !place && has_size;
    buffer.assign(static_cast<const std::uint8_t *>(place), static_cast<const std::uint8_t *>(place) + size);
    return record.parameter_bytes == unknown_parameter_bytes || size >= record.parameter_bytes;
  }
  if (record.parameter_bytes == unknown_parameter_bytes) return false;
  if (record.count == 0) return true;
  if (!parameters) return false;
  buffer.resize(record.parameter_bytes);
  ParametersInPlace{&record, parameters}.copy_to(buffer.data());
  return true;
}

Copy3D widened(const Copy2D &copy) {
  const auto side = [](const CopySide2D &from) {
    return CopySide3D{from.x_bytes, from.y, 0, 0, from.memory_type, from.host, from.device, from.array, nullptr, from.pitch, 0};
  };
  return {side(copy.source), side(copy.target), copy.width_bytes, copy.height, 1};
}

bool describe_copy(const Copy3D &copy, CopyEvent &event, bool *scattered, bool *from_device) {
  const auto &to = copy.target, &from = copy.source;
  *from_device = from.memory_type == memory_device || from.memory_type == memory_unified;
  if (to.memory_type != memory_device && to.memory_type != memory_unified) return false;
  const std::uint64_t pitch = to.pitch ? to.pitch : copy.width_bytes;
  const std::uint64_t slice = pitch * (to.height ? to.height : copy.height);
  event.target = {to.device + to.x_bytes + to.y * pitch + to.z * slice, pitch, copy.width_bytes, copy.height, copy.depth, slice};
  const std::uint64_t source_pitch = from.pitch ? from.pitch : copy.width_bytes;
  const std::uint64_t source_slice = source_pitch * (from.height ? from.height : copy.height);
  event.source = *from_device ? from.device + from.x_bytes + from.y * source_pitch + from.z * source_slice : 0;
  *scattered = copy.height > 1 || copy.depth > 1;
  return copy.width_bytes && copy.height && copy.depth;
}

void Graphs::describe_kernel(ThreadState &thread, const KernelNodeParameters &parameters, bool with_kernel, Encoded &events,
                             const unsigned *cluster, bool cooperative) {
  const Function handle =
      parameters.function || !with_kernel ? parameters.function : reinterpret_cast<Function>(parameters.kernel);
  const FunctionRecord &record = modules_.function(thread, handle);
  std::vector<std::uint8_t> buffer;
  std::uint16_t flags = cooperative ? launch_cooperative : 0;
  if (!gather_parameters(record, parameters.parameters, parameters.extra, buffer)) flags |= launch_incomplete;
  append(events, LaunchEvent{launch_head(record, parameters.grid, parameters.block, cluster, parameters.shared_memory), buffer}, flags);
}

void Graphs::describe_memset(const MemsetNodeParameters &parameters, Encoded &events) {
  MemsetEvent event;
  event.address = parameters.target;
  event.width = parameters.width * parameters.element;
  event.pitch = parameters.pitch ? parameters.pitch : event.width;
  event.height = parameters.height;
  event.value = parameters.value;
  event.element = parameters.element;
  append(events, event);
}

void Graphs::describe_copy_node(const Copy3D &copy, Encoded &events) {
  CopyEvent event;
  bool scattered = false, from_device = false;
  if (!describe_copy(copy, event, &scattered, &from_device)) return;
  // The host's content may change between launches of the graph.
  if (from_device) append(events, event, scattered ? copy_scattered : 0);
  else append(events, CopyInEvent{event.target, {}});
}

void Graphs::describe_node(ThreadState &thread, GraphNode node, Content &content, Encoded &events) {
  int type = -1;
  if (driver_.cuGraphNodeGetType(node, &type) != result::success) {
    content.unknown = "the type of a graph's node is not known";
    return;
  }
  if (type == node_event_record) content.records_events = true;
  if (type == node_host || type == node_empty || type == node_wait_event || type == node_event_record) return;
  if (type == node_kernel && driver_.cuGraphKernelNodeGetParams) {
    KernelNodeParameters parameters{};
    LaunchAttribute cluster{}, preferred{}, cooperative{}, updatable{};
    if (driver_.cuGraphKernelNodeGetParams(node, &parameters) == result::success) {
      if (driver_.cuGraphKernelNodeGetAttribute) {
        if (driver_.cuGraphKernelNodeGetAttribute(node, attribute_cluster, &cluster.value) != result::success) cluster = {};
        if (driver_.cuGraphKernelNodeGetAttribute(node, attribute_preferred_cluster, &preferred.value) == result::success &&
            blocks_of(preferred) > blocks_of(cluster))
          content.unknown = "clusters of a kernel have one of two sizes";
        if (driver_.cuGraphKernelNodeGetAttribute(node, attribute_cooperative, &cooperative.value) != result::success) cooperative = {};
        if (driver_.cuGraphKernelNodeGetAttribute(node, attribute_updatable_node, &updatable.value) == result::success &&
            updatable.value.cooperative)
          content.unknown = "a kernel may change a graph's node";
      }
      return describe_kernel(thread, parameters, true, events, cluster.value.cluster, cooperative.value.cooperative != 0);
    }
  } else if (type == node_memcpy && driver_.cuGraphMemcpyNodeGetParams) {
    Copy3D copy{};
    if (driver_.cuGraphMemcpyNodeGetParams(node, &copy) == result::success) return describe_copy_node(copy, events);
  } else if (type == node_memset && driver_.cuGraphMemsetNodeGetParams) {
    MemsetNodeParameters parameters{};
    if (driver_.cuGraphMemsetNodeGetParams(node, &parameters) == result::success) return describe_memset(parameters, events);
  } else if (type == node_graph && driver_.cuGraphChildGraphNodeGetGraph) {
    Graph child = nullptr;
    if (driver_.cuGraphChildGraphNodeGetGraph(node, &child) == result::success) {
      Content inner;
      describe(thread, child, inner);
      if (!inner.unknown.empty()) content.unknown = inner.unknown;
      content.records_events |= inner.records_events;
      for (const auto &[key, encoded] : inner.nodes) events.insert(events.end(), encoded.begin(), encoded.end());
      return;
    }
  }
  content.unknown = "a graph has a node of type " + std::to_string(type);
}

void Graphs::describe(ThreadState &thread, Graph graph, Content &content) {
  std::size_t count = 0;
  if (!driver_.cuGraphGetNodes || !driver_.cuGraphNodeGetType ||
      driver_.cuGraphGetNodes(graph, nullptr, &count) != result::success) {
    content.unknown = "the nodes of a graph cannot be listed";
    return;
  }
  std::vector<GraphNode> nodes(count);
  if (count && driver_.cuGraphGetNodes(graph, nodes.data(), &count) != result::success) {
    content.unknown = "the nodes of a graph cannot be listed";
    return;
  }
  for (GraphNode node : nodes) {
    Encoded events;
    describe_node(thread, node, content, events);
    attribute(node, events);
    if (!events.empty()) content.nodes[node] = std::move(events);
  }
}

void Graphs::attribute(GraphNode node, Encoded &events) const {
  const auto found = captured_.find(node);
  if (found == captured_.end() || found->second.launch != events) return;
  const auto view = event_at(events);
  auto launch = view ? decode_event<LaunchEvent>(*view) : std::nullopt;
  if (!launch) return;
  launch->call = call_in_graph;
  Encoded both = found->second.call;
  append(both, *launch, view->flags);
  events = std::move(both);
}

void Graphs::captured(ThreadState &thread, Stream stream, const LibraryCall &call) {
  int status = 0;
  std::uint64_t id = 0;
  Graph graph = nullptr;
  const GraphNode *last = nullptr;
  const void *edges = nullptr;
  std::size_t count = 0;
  if (!driver_.cuStreamGetCaptureInfo || !driver_.cuGraphNodeGetType ||
      driver_.cuStreamGetCaptureInfo(stream, &status, &id, &graph, &last, &edges, &count) != result::success || count != 1)
    return;
  const std::lock_guard lock(mutex_);
  Content content;
  Captured captured;
  describe_node(thread, *last, content, captured.launch);
  append(captured.call, call.event(call_in_graph));
  if (captured_.size() >= most_captured) captured_.clear();
  captured_[*last] = std::move(captured);
}

void Graphs::send(const Content &content) {
  Encoded events;
  if (content.unknown.empty())
    for (const auto &[node, encoded] : content.nodes) events.insert(events.end(), encoded.begin(), encoded.end());
  else
    append(events, WroteEvent{0, 0, content.unknown});
  std::uint32_t count = 0;
  for (Bytes rest(events); !rest.empty(); ++count) {
    const auto view = event_at(rest);
    rest = view ? rest.subspan(view->size) : Bytes();
  }
  if (emitter_.write(GraphEvent{content.number, count, events})) return;
  events.clear();
  append(events, WroteEvent{0, 0, "a graph is larger than an event may be"});
  emitter_.write(GraphEvent{content.number, 1, events});
}

void Graphs::instantiated(ThreadState &thread, GraphExec exec, Graph graph) {
  const std::lock_guard lock(mutex_);
  Content &content = execs_[exec];
  content = {};
  content.number = next_++;
  describe(thread, graph, content);
  send(content);
}

void Graphs::updated(ThreadState &thread, GraphExec exec, Graph graph) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  // The executable keeps the nodes of the graph that it was made from, in another order than the new graph's: later changes of single
  // nodes can no longer be placed, so they make it unknown (the nodes are not found).
  Content content;
  content.number = found->second.number;
  describe(thread, graph, content);
  found->second = std::move(content);
  send(found->second);
}

void Graphs::set_kernel(ThreadState &thread, GraphExec exec, GraphNode node, const KernelNodeParameters &parameters, bool with_kernel) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  const auto place = found->second.nodes.find(node);
  if (place == found->second.nodes.end()) {
    found->second.unknown = "a node was changed that the graph is not known to have";
  } else {
    LaunchEvent before;
    auto view = event_at(place->second);
    if (view && view->type == EventType::call) view = event_at(Bytes(place->second).subspan(view->size));
    if (view)
      if (const auto launch = decode_event<LaunchEvent>(*view)) before = *launch;
    const unsigned cluster[3] = {before.cluster[0], before.cluster[1], before.cluster[2]};
    Encoded events;
    describe_kernel(thread, parameters, with_kernel, events, cluster, false);
    place->second = std::move(events);
  }
  send(found->second);
}

void Graphs::set_copy(GraphExec exec, GraphNode node, const Copy3D &copy) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  Encoded events;
  describe_copy_node(copy, events);
  found->second.nodes[node] = std::move(events);
  send(found->second);
}

void Graphs::set_memset(GraphExec exec, GraphNode node, const MemsetNodeParameters &parameters) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  Encoded events;
  describe_memset(parameters, events);
  found->second.nodes[node] = std::move(events);
  send(found->second);
}

void Graphs::set_child(ThreadState &thread, GraphExec exec, GraphNode node, Graph child) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  Content inner;
  describe(thread, child, inner);
  Encoded events;
  for (const auto &[key, encoded] : inner.nodes) events.insert(events.end(), encoded.begin(), encoded.end());
  if (!inner.unknown.empty()) found->second.unknown = inner.unknown;
  found->second.records_events |= inner.records_events;
  found->second.nodes[node] = std::move(events);
  send(found->second);
}

void Graphs::set_unknown(GraphExec exec) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  found->second.unknown = "a node was changed in a way that is not followed";
  send(found->second);
}

void Graphs::destroyed(GraphExec exec) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  if (found == execs_.end()) return;
  emitter_.write(GraphGoneEvent{found->second.number});
  execs_.erase(found);
}

void Graphs::retell() {
  const std::lock_guard lock(mutex_);
  for (const auto &[exec, content] : execs_) send(content);
}

std::uint64_t Graphs::number(GraphExec exec, bool *records_events) {
  const std::lock_guard lock(mutex_);
  const auto found = execs_.find(exec);
  *records_events = found == execs_.end() || found->second.records_events;
  return found == execs_.end() ? 0 : found->second.number;
}

}  // namespace gcr
