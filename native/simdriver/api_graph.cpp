// Entry points: capturing streams, graphs built by hand, executable graphs.
#include <algorithm>
#include <cstring>

#include "driver.h"

namespace gcr::sim {
namespace {

std::vector<Node *> nodes_of(Graphs &graphs, void *const *handles, std::size_t count) {
  std::vector<Node *> nodes;
  for (std::size_t i = 0; i < count; ++i) nodes.push_back(graphs.node(handles[i]));
  return nodes;
}

KernelWork kernel_work(Driver &driver, const KernelNodeParameters &given, bool with_kernel) {
  auto *function = reinterpret_cast<Function *>(given.function);
  if (!function && with_kernel) function = reinterpret_cast<Function *>(given.kernel);
  return make_launch(driver.module_of(function), function, given.grid, given.block, given.shared_memory, given.parameters,
                     given.extra);
}

void describe_kernel(Node &node, KernelNodeParameters &to, bool with_kernel) {
  require(node.type == node_kernel, invalid_value);
  auto &work = std::get<KernelWork>(node.work);
  node.parameter_pointers.clear();
  for (const Parameter &parameter : work.function->parameters) {
    node.parameter_pointers.push_back(work.parameters.data() + parameter.offset);
  }
  to.function = reinterpret_cast<gcr::Function>(work.function);
  std::copy(work.grid, work.grid + 3, to.grid);
  std::copy(work.block, work.block + 3, to.block);
  to.shared_memory = work.shared_memory;
  to.parameters = node.parameter_pointers.data();
  to.extra = nullptr;
  if (!with_kernel) return;
  to.kernel = nullptr;
  to.context = static_cast<gcr::Context>(work.module->context());
}

// Replaces a kernel's launch; what attributes said of it stays.
void set_kernel(Driver &driver, Work &work, const KernelNodeParameters &given, bool with_kernel) {
  KernelWork next = kernel_work(driver, given, with_kernel);
  const auto &before = std::get<KernelWork>(work);
  std::copy(before.cluster, before.cluster + 3, next.cluster);
  next.cooperative = before.cooperative;
  check_launch(next);
  work = std::move(next);
}

SetWork set_work(const Driver &driver, const MemsetNodeParameters *given) {
  require(given, invalid_value);
  const SetWork work{given->target, given->pitch, given->value, given->element, given->width, given->height};
  check_set(driver, work);
  return work;
}

void describe_set(const SetWork &work, MemsetNodeParameters &to) {
  to = {work.target, work.pitch, work.value, work.element, work.width, work.height};
}

void describe_copy(const CopyWork &work, Copy3D &to) {
  to = {};
  const auto height = [&](const Side &side) { return side.pitch ? side.slice / side.pitch : work.height; };
  to.source.memory_type = work.source.device ? memory_device : memory_host;
  if (work.source.device) to.source.device = work.source.address;
  else to.source.host = reinterpret_cast<void *>(work.source.address);
  to.source.pitch = work.source.pitch;
  to.source.height = height(work.source);
  to.target.memory_type = work.target.device ? memory_device : memory_host;
  if (work.target.device) to.target.device = work.target.address;
  else to.target.host = reinterpret_cast<void *>(work.target.address);
  to.target.pitch = work.target.pitch;
  to.target.height = height(work.target);
  to.width_bytes = work.width;
  to.height = work.height;
  to.depth = work.depth;
}

Result add(void **node, void *graph, void *const *after, std::size_t count, NodeType type, auto make) {
  return call([&](Driver &driver) {
    require(node && (after || count == 0), invalid_value);
    Work work = make(driver);
    const std::lock_guard lock(driver.graphs.mutex);
    const auto found = driver.graphs.graph(graph);
    *node = driver.graphs.add_node(*found, type, std::move(work), nodes_of(driver.graphs, after, count));
  });
}

// Reads or changes a node under the lock.
Result with_node(void *handle, NodeType type, auto body) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    Node *const node = driver.graphs.node(handle);
    require(node->type == type, invalid_value);
    body(driver, *node);
  });
}

Result with_step(void *exec, void *node, NodeType type, auto body) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    const auto found = driver.graphs.exec(exec);
    const auto place = found->places.find(static_cast<Node *>(node));
    require(place != found->places.end() && found->steps[place->second].type == type, invalid_value);
    body(driver, found->steps[place->second]);
  });
}

// Tells a list: all of it, or only its length where there is no room given.
void tell(const std::vector<Node *> &found, void **to, std::size_t *count) {
  require(count, invalid_value);
  if (!to) {
    *count = found.size();
    return;
  }
  for (std::size_t i = 0; i < *count; ++i) to[i] = i < found.size() ? found[i] : nullptr;
  *count = std::min(*count, found.size());
}

void tell_edges(const Graph &graph, void **from, void **to, EdgeData *data, std::size_t *count) {
  std::vector<Node *> sources, targets;
  for (const auto &node : graph.nodes) {
    for (Node *earlier : node->after) {
      sources.push_back(earlier);
      targets.push_back(node.get());
    }
  }
  if (data && count) std::fill(data, data + std::min(*count, sources.size()), EdgeData{});
  std::size_t room = count ? *count : 0;
  tell(sources, from, count);
  if (from && to) tell(targets, to, &room);
}

Result instantiate(void **exec, void *graph, unsigned long long flags) {
  return call([&](Driver &driver) {
    require(exec, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    *exec = driver.graphs.instantiate(*driver.graphs.graph(graph), flags);
  });
}

struct CaptureInfo {
  int *status;
  unsigned long long *number = nullptr;
  void **graph = nullptr;
  void ***after = nullptr;
  EdgeData **edges = nullptr;
  std::size_t *count = nullptr;
};

Result capture_info(void *handle, const CaptureInfo &to) {
  return call([&](Driver &driver) {
    require(to.status, invalid_value);
    const auto stream = driver.stream(handle);
    const std::lock_guard lock(driver.graphs.mutex);
    *to.status = static_cast<int>(driver.graphs.status(*stream));
    if (driver.graphs.status(*stream) != CaptureStatus::active) return;
    if (to.number) *to.number = stream->capture->number;
    if (to.graph) *to.graph = stream->capture->graph.get();
    if (to.after) *to.after = stream->capture_after.data();
    if (to.edges) *to.edges = nullptr;
    if (to.count) *to.count = stream->capture_after.size();
  });
}

void change_edges(Graphs &graphs, void *graph, void *const *from, void *const *to, std::size_t count, bool adding) {
  const auto found = graphs.graph(graph);
  for (std::size_t i = 0; i < count; ++i) {
    Node *const earlier = graphs.node(from[i]);
    Node *const later = graphs.node(to[i]);
    require(earlier->graph == found.get() && later->graph == found.get() && earlier != later, invalid_value);
    const bool there = std::find(later->after.begin(), later->after.end(), earlier) != later->after.end();
    require(there != adding, invalid_value);
    if (adding) later->after.push_back(earlier);
    else std::erase(later->after, earlier);
  }
}

std::vector<Node *> dependents(const Node &node) {
  std::vector<Node *> found;
  for (const auto &other : node.graph->nodes) {
    if (std::find(other->after.begin(), other->after.end(), &node) != other->after.end()) found.push_back(other.get());
  }
  return found;
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

// --- capturing ---

GCR_SIM_API cuStreamBeginCapture_v2(void *handle, int mode) {
  return call([&](Driver &driver) {
    require(mode >= 0 && mode <= 2, invalid_value);
    const auto stream = driver.stream(handle);
    const std::lock_guard lock(driver.graphs.mutex);
    driver.graphs.begin(stream, static_cast<CaptureMode>(mode));
  });
}

GCR_SIM_API cuStreamEndCapture(void *handle, void **graph) {
  return call([&](Driver &driver) {
    require(graph, invalid_value);
    *graph = nullptr;
    const auto stream = driver.stream(handle);
    const std::lock_guard lock(driver.graphs.mutex);
    *graph = driver.graphs.end(stream);
  });
}

GCR_SIM_API cuStreamIsCapturing(void *handle, int *status) { return capture_info(handle, {.status = status}); }

GCR_SIM_API cuStreamGetCaptureInfo(void *handle, int *status, unsigned long long *number) {
  return capture_info(handle, {.status = status, .number = number});
}

GCR_SIM_API cuStreamGetCaptureInfo_v2(void *handle, int *status, unsigned long long *number, void **graph, void ***after,
                                      std::size_t *count) {
  return capture_info(handle, {.status = status, .number = number, .graph = graph, .after = after, .count = count});
}

GCR_SIM_API cuStreamGetCaptureInfo_v3(void *handle, int *status, unsigned long long *number, void **graph, void ***after,
                                      EdgeData **edges, std::size_t *count) {
  return capture_info(handle, {status, number, graph, after, edges, count});
}

GCR_SIM_API cuThreadExchangeStreamCaptureMode(int *mode) {
  return call([&](Driver &) {
    require(mode && *mode >= 0 && *mode <= 2, invalid_value);
    const auto before = static_cast<int>(thread_state().capture_mode);
    thread_state().capture_mode = static_cast<CaptureMode>(*mode);
    *mode = before;
  });
}

// --- graphs ---

GCR_SIM_API cuGraphCreate(void **graph, unsigned flags) {
  return call([&](Driver &driver) {
    require(graph && flags == 0, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    *graph = driver.graphs.create();
  });
}

GCR_SIM_API cuGraphDestroy(void *graph) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    driver.graphs.destroy(graph);
  });
}

GCR_SIM_API cuGraphDestroyNode(void *node) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    driver.graphs.destroy_node(node);
  });
}

GCR_SIM_API cuGraphClone(void **clone, void *graph) {
  return call([&](Driver &driver) {
    require(clone, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    *clone = driver.graphs.add(driver.graphs.clone(*driver.graphs.graph(graph)));
  });
}

GCR_SIM_API cuGraphNodeFindInClone(void **node, void *original, void *clone) {
  return call([&](Driver &driver) {
    require(node, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    const auto &clones = driver.graphs.graph(clone)->clones;
    const auto found = clones.find(static_cast<Node *>(original));
    require(found != clones.end(), invalid_value);
    *node = found->second;
  });
}

GCR_SIM_API cuGraphAddKernelNode_v2(void **node, void *graph, void *const *after, std::size_t count,
                                    const KernelNodeParameters *given) {
  return add(node, graph, after, count, node_kernel, [&](Driver &driver) {
    require(given, invalid_value);
    return kernel_work(driver, *given, true);
  });
}

GCR_SIM_API cuGraphAddKernelNode(void **node, void *graph, void *const *after, std::size_t count,
                                 const KernelNodeParameters *given) {
  return add(node, graph, after, count, node_kernel, [&](Driver &driver) {
    require(given, invalid_value);
    return kernel_work(driver, *given, false);
  });
}

GCR_SIM_API cuGraphAddMemcpyNode(void **node, void *graph, void *const *after, std::size_t count, const Copy3D *given,
                                 void *) {
  return add(node, graph, after, count, node_memcpy, [&](Driver &driver) {
    CopyWork work = volume(driver, given);
    check_copy(driver, work);
    return work;
  });
}

GCR_SIM_API cuGraphAddMemsetNode(void **node, void *graph, void *const *after, std::size_t count,
                                 const MemsetNodeParameters *given, void *context) {
  return add(node, graph, after, count, node_memset, [&](Driver &driver) {
    // Without a context it is that of the memory, and mapped memory belongs to none.
    require(context || (given && driver.heap.find(given->target)), invalid_value);
    return set_work(driver, given);
  });
}

GCR_SIM_API cuGraphAddHostNode(void **node, void *graph, void *const *after, std::size_t count,
                               const HostNodeParameters *given) {
  return add(node, graph, after, count, node_host, [&](Driver &) {
    require(given && given->function, invalid_value);
    return HostWork{given->function, given->data};
  });
}

GCR_SIM_API cuGraphAddEmptyNode(void **node, void *graph, void *const *after, std::size_t count) {
  return add(node, graph, after, count, node_empty, [](Driver &) { return EmptyWork{}; });
}

GCR_SIM_API cuGraphAddChildGraphNode(void **node, void *graph, void *const *after, std::size_t count, void *child) {
  return call([&](Driver &driver) {
    require(node && (after || count == 0), invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    auto copy = driver.graphs.clone(*driver.graphs.graph(child));
    const auto found = driver.graphs.graph(graph);
    Node *made = driver.graphs.add_node(*found, node_graph, EmptyWork{}, nodes_of(driver.graphs, after, count));
    made->child = copy;
    driver.graphs.add(std::move(copy));
    *node = made;
  });
}

GCR_SIM_API cuGraphChildGraphNodeGetGraph(void *node, void **graph) {
  return with_node(node, node_graph, [&](Driver &, Node &found) {
    require(graph, invalid_value);
    *graph = found.child.get();
  });
}

GCR_SIM_API cuGraphKernelNodeGetParams_v2(void *node, KernelNodeParameters *to) {
  return with_node(node, node_kernel, [&](Driver &, Node &found) {
    require(to, invalid_value);
    describe_kernel(found, *to, true);
  });
}

GCR_SIM_API cuGraphKernelNodeGetParams(void *node, KernelNodeParameters *to) {
  return with_node(node, node_kernel, [&](Driver &, Node &found) {
    require(to, invalid_value);
    describe_kernel(found, *to, false);
  });
}

GCR_SIM_API cuGraphKernelNodeSetParams_v2(void *node, const KernelNodeParameters *given) {
  return with_node(node, node_kernel, [&](Driver &driver, Node &found) {
    require(given, invalid_value);
    set_kernel(driver, found.work, *given, true);
  });
}

GCR_SIM_API cuGraphKernelNodeSetParams(void *node, const KernelNodeParameters *given) {
  return with_node(node, node_kernel, [&](Driver &driver, Node &found) {
    require(given, invalid_value);
    set_kernel(driver, found.work, *given, false);
  });
}

GCR_SIM_API cuGraphMemsetNodeGetParams(void *node, MemsetNodeParameters *to) {
  return with_node(node, node_memset, [&](Driver &, Node &found) {
    require(to, invalid_value);
    describe_set(std::get<SetWork>(found.work), *to);
  });
}

GCR_SIM_API cuGraphMemsetNodeSetParams(void *node, const MemsetNodeParameters *given) {
  return with_node(node, node_memset, [&](Driver &driver, Node &found) { found.work = set_work(driver, given); });
}

GCR_SIM_API cuGraphMemcpyNodeGetParams(void *node, Copy3D *to) {
  return with_node(node, node_memcpy, [&](Driver &, Node &found) {
    require(to, invalid_value);
    describe_copy(std::get<CopyWork>(found.work), *to);
  });
}

GCR_SIM_API cuGraphMemcpyNodeSetParams(void *node, const Copy3D *given) {
  return with_node(node, node_memcpy, [&](Driver &driver, Node &found) {
    CopyWork work = volume(driver, given);
    check_copy(driver, work);
    found.work = std::move(work);
  });
}

GCR_SIM_API cuGraphHostNodeGetParams(void *node, HostNodeParameters *to) {
  return with_node(node, node_host, [&](Driver &, Node &found) {
    require(to, invalid_value);
    const auto &work = std::get<HostWork>(found.work);
    *to = {work.function, work.data};
  });
}

GCR_SIM_API cuGraphNodeGetType(void *node, int *type) {
  return call([&](Driver &driver) {
    require(type, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    *type = driver.graphs.node(node)->type;
  });
}

GCR_SIM_API cuGraphGetNodes(void *graph, void **nodes, std::size_t *count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    std::vector<Node *> found;
    for (const auto &node : driver.graphs.graph(graph)->nodes) found.push_back(node.get());
    tell(found, nodes, count);
  });
}

GCR_SIM_API cuGraphGetRootNodes(void *graph, void **nodes, std::size_t *count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    std::vector<Node *> found;
    for (const auto &node : driver.graphs.graph(graph)->nodes) {
      if (node->after.empty()) found.push_back(node.get());
    }
    tell(found, nodes, count);
  });
}

GCR_SIM_API cuGraphGetEdges_v2(void *graph, void **from, void **to, EdgeData *data, std::size_t *count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    tell_edges(*driver.graphs.graph(graph), from, to, data, count);
  });
}

GCR_SIM_API cuGraphGetEdges(void *graph, void **from, void **to, std::size_t *count) {
  return cuGraphGetEdges_v2(graph, from, to, nullptr, count);
}

GCR_SIM_API cuGraphNodeGetDependencies_v2(void *node, void **after, EdgeData *data, std::size_t *count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    const auto &found = driver.graphs.node(node)->after;
    if (data && count) std::fill(data, data + std::min(*count, found.size()), EdgeData{});
    tell(found, after, count);
  });
}

GCR_SIM_API cuGraphNodeGetDependencies(void *node, void **after, std::size_t *count) {
  return cuGraphNodeGetDependencies_v2(node, after, nullptr, count);
}

GCR_SIM_API cuGraphNodeGetDependentNodes_v2(void *node, void **before, EdgeData *data, std::size_t *count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    const auto found = dependents(*driver.graphs.node(node));
    if (data && count) std::fill(data, data + std::min(*count, found.size()), EdgeData{});
    tell(found, before, count);
  });
}

GCR_SIM_API cuGraphNodeGetDependentNodes(void *node, void **before, std::size_t *count) {
  return cuGraphNodeGetDependentNodes_v2(node, before, nullptr, count);
}

GCR_SIM_API cuGraphAddDependencies_v2(void *graph, void *const *from, void *const *to, const EdgeData *, std::size_t count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    change_edges(driver.graphs, graph, from, to, count, true);
  });
}

GCR_SIM_API cuGraphAddDependencies(void *graph, void *const *from, void *const *to, std::size_t count) {
  return cuGraphAddDependencies_v2(graph, from, to, nullptr, count);
}

GCR_SIM_API cuGraphRemoveDependencies_v2(void *graph, void *const *from, void *const *to, const EdgeData *,
                                         std::size_t count) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    change_edges(driver.graphs, graph, from, to, count, false);
  });
}

GCR_SIM_API cuGraphRemoveDependencies(void *graph, void *const *from, void *const *to, std::size_t count) {
  return cuGraphRemoveDependencies_v2(graph, from, to, nullptr, count);
}

// --- executable graphs ---

GCR_SIM_API cuGraphInstantiateWithFlags(void **exec, void *graph, unsigned long long flags) {
  return instantiate(exec, graph, flags);
}

GCR_SIM_API cuGraphInstantiate_v2(void **exec, void *graph, void **error_node, char *log, std::size_t size) {
  if (error_node) *error_node = nullptr;
  if (log && size) *log = 0;
  return instantiate(exec, graph, 0);
}

GCR_SIM_API cuGraphInstantiate(void **exec, void *graph, void **error_node, char *log, std::size_t size) {
  return cuGraphInstantiate_v2(exec, graph, error_node, log, size);
}

GCR_SIM_API cuGraphInstantiateWithParams(void **exec, void *graph, GraphInstantiateParameters *given) {
  if (!given) return invalid_value;
  const Result result = instantiate(exec, graph, given->flags);
  given->error_node = nullptr;
  given->result = result == success ? 0 : 1;
  return result;
}

GCR_SIM_API cuGraphExecGetFlags(void *exec, unsigned long long *flags) {
  return call([&](Driver &driver) {
    require(flags, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    *flags = driver.graphs.exec(exec)->flags;
  });
}

GCR_SIM_API cuGraphExecDestroy(void *exec) {
  return call([&](Driver &driver) {
    const std::lock_guard lock(driver.graphs.mutex);
    driver.graphs.destroy_exec(exec);
  });
}

GCR_SIM_API cuGraphExecUpdate_v2(void *exec, void *graph, GraphExecUpdateInfo *info) {
  return call([&](Driver &driver) {
    require(info, invalid_value);
    const std::lock_guard lock(driver.graphs.mutex);
    const Node *node = nullptr;
    const bool updated = update_exec(*driver.graphs.exec(exec), *driver.graphs.graph(graph), node);
    *info = {updated ? 0 : 2, const_cast<Node *>(node), nullptr};  // 2: the topology has changed
    require(updated, graph_exec_update_failure);
  });
}

GCR_SIM_API cuGraphExecUpdate(void *exec, void *graph, void **error_node, int *result) {
  GraphExecUpdateInfo info{};
  const Result outcome = cuGraphExecUpdate_v2(exec, graph, &info);
  if (error_node) *error_node = info.error_node;
  if (result) *result = info.result;
  return outcome;
}

GCR_SIM_API cuGraphExecKernelNodeSetParams_v2(void *exec, void *node, const KernelNodeParameters *given) {
  return with_step(exec, node, node_kernel, [&](Driver &driver, GraphExec::Step &step) {
    require(given, invalid_value);
    set_kernel(driver, step.work, *given, true);
  });
}

GCR_SIM_API cuGraphExecKernelNodeSetParams(void *exec, void *node, const KernelNodeParameters *given) {
  return with_step(exec, node, node_kernel, [&](Driver &driver, GraphExec::Step &step) {
    require(given, invalid_value);
    set_kernel(driver, step.work, *given, false);
  });
}

GCR_SIM_API cuGraphExecMemsetNodeSetParams(void *exec, void *node, const MemsetNodeParameters *given, void *) {
  return with_step(exec, node, node_memset,
                   [&](Driver &driver, GraphExec::Step &step) { step.work = set_work(driver, given); });
}

GCR_SIM_API cuGraphExecMemcpyNodeSetParams(void *exec, void *node, const Copy3D *given, void *) {
  return with_step(exec, node, node_memcpy, [&](Driver &driver, GraphExec::Step &step) {
    CopyWork work = volume(driver, given);
    check_copy(driver, work);
    step.work = std::move(work);
  });
}

GCR_SIM_API cuGraphUpload(void *exec, void *stream) {
  return call([&](Driver &driver) {
    driver.stream(stream);
    const std::lock_guard lock(driver.graphs.mutex);
    driver.graphs.exec(exec);
  });
}

GCR_SIM_API cuGraphLaunch(void *exec, void *handle) {
  return call([&](Driver &driver) {
    const auto stream = driver.stream(handle);
    PlanWork work;
    {
      const std::lock_guard lock(driver.graphs.mutex);
      // A launch inside a capture would become a child node of a graph that is not there any more.
      require(!stream->capture, stream_capture_unsupported);
      work.plan = driver.graphs.exec(exec)->plan();
    }
    driver.dispatch(stream, node_graph, std::move(work));
  });
}
