// Programs that a device must run right: `scenarios NAME`. Each prints what its test looks at; 0 when all was as expected. They hold for a real
// driver, too, where they are run by scripts/gpu/check.sh; what only the simulated one answers in a defined way has scenarios of its own.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <thread>

#include "harness.h"

using namespace gcr::sim;

namespace {

// --- computing ---

void vector_add() {
  Session session;
  constexpr int n = 1000;
  std::vector<float> a(n), b(n);
  for (int i = 0; i < n; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = 0.5f * static_cast<float>(i);
  }
  const DevicePointer da = upload(a), db = upload(b), dc = upload(std::vector<float>(n));
  OK(launch(session.function("vector_add"), 8, 128, 0, nullptr, da, db, dc, n));
  const auto c = download<float>(dc, n);
  for (int i = 0; i < n; ++i) EXPECT(c[i] == 1.5f * static_cast<float>(i));

  const std::vector<std::uint32_t> in(500, 3);
  const DevicePointer din = upload(in), sum = upload(std::vector<std::uint32_t>{0});
  OK(launch(session.function("block_sum"), 4, 128, 128 * 4, nullptr, din, sum, 500));
  EXPECT(download<std::uint32_t>(sum, 1)[0] == 1500);
}

void parameters() {
  Session session;
  struct Mixed {
    char first;
    double second;
    short third;
  };
  void *const function = session.function("mixed_parameters");
  std::size_t offset = 0, size = 0;
  OK(cuFuncGetParamInfo(function, 2, &offset, &size));
  EXPECT(offset == 16 && size == 24);
  RESULT(invalid_value, cuFuncGetParamInfo(function, 5, &offset, &size));
  const DevicePointer out = upload(std::vector<double>(6));
  const std::vector<double> wanted{-1, 2.5, 3, 4.5, 5, 6};
  OK(launch(function, 1, 1, 0, nullptr, char{-1}, 2.5, Mixed{3, 4.5, 5}, short{6}, out));
  EXPECT(download<double>(out, 6) == wanted);

  OK(cuMemsetD8_v2(out, 0, 48));
  struct Block {
    char a;
    double b;
    Mixed m;
    short c;
    DevicePointer out;
  } block{-1, 2.5, {3, 4.5, 5}, 6, out};
  std::size_t bytes = sizeof(block);
  void *extra[] = {reinterpret_cast<void *>(1), &block, reinterpret_cast<void *>(2), &bytes, nullptr};
  OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  EXPECT(download<double>(out, 6) == wanted);

  RESULT(invalid_value, cuLaunchKernel(function, 1, 1, 1, 1025, 1, 1, 0, nullptr, nullptr, extra));
  RESULT(invalid_value, cuLaunchKernel(function, 0, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  RESULT(invalid_value, cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 49 << 10, nullptr, nullptr, extra));
  OK(cuFuncSetAttribute(function, 8, 64 << 10));
  OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 49 << 10, nullptr, nullptr, extra));
  RESULT(invalid_handle, cuLaunchKernel(&block, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra));
  OK(cuCtxSynchronize());
}

void copies() {
  Session session;
  std::vector<std::uint8_t> image(64 * 32);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<std::uint8_t>(i * 7);
  DevicePointer plane = 0;
  std::size_t pitch = 0;
  OK(cuMemAllocPitch_v2(&plane, &pitch, 64, 32, 4));
  EXPECT(pitch >= 64 && pitch % 512 == 0);
  Copy2D copy{};
  copy.source.memory_type = memory_host;
  copy.source.host = image.data();
  copy.source.pitch = 64;
  copy.target.memory_type = memory_device;
  copy.target.device = plane;
  copy.target.pitch = pitch;
  copy.width_bytes = 64;
  copy.height = 32;
  OK(cuMemcpy2D_v2(&copy));
  EXPECT(download<std::uint8_t>(plane + 5 * pitch + 3, 1)[0] == image[5 * 64 + 3]);
  OK(cuMemsetD2D8_v2(plane + 2 * pitch + 8, pitch, 0xee, 16, 3));
  const auto row = download<std::uint8_t>(plane + 4 * pitch, 64);
  EXPECT(row[7] == image[4 * 64 + 7] && row[8] == 0xee && row[23] == 0xee && row[24] == image[4 * 64 + 24]);
  EXPECT(download<std::uint8_t>(plane + 5 * pitch + 8, 1)[0] == image[5 * 64 + 8]);

  // A box of 4 x 3 x 2 out of 16 x 8 x 4 bytes.
  std::vector<std::uint8_t> box(4 * 3 * 2);
  const DevicePointer volume = upload(std::vector<std::uint8_t>(image.begin(), image.begin() + 16 * 8 * 4));
  Copy3D cut{};
  cut.source.x_bytes = 2;
  cut.source.y = 1;
  cut.source.z = 2;
  cut.source.memory_type = memory_device;
  cut.source.device = volume;
  cut.source.pitch = 16;
  cut.source.height = 8;
  cut.target.memory_type = memory_host;
  cut.target.host = box.data();
  cut.target.pitch = 4;
  cut.target.height = 3;
  cut.width_bytes = 4;
  cut.height = 3;
  cut.depth = 2;
  OK(cuMemcpy3D_v2(&cut));
  for (int z = 0; z < 2; ++z) {
    for (int y = 0; y < 3; ++y) {
      for (int x = 0; x < 4; ++x) EXPECT(box[x + 4 * (y + 3 * z)] == image[x + 2 + 16 * (y + 1 + 8 * (z + 2))]);
    }
  }
  RESULT(invalid_value, cuMemcpyHtoD_v2(volume + (std::size_t{1} << 40), box.data(), 4));
  RESULT(invalid_value, cuMemcpyDtoH_v2(box.data(), 0x1000, 4));
}

void variables() {
  Session session;
  const DevicePointer out = upload(std::vector<int>(4));
  OK(launch(session.function("read_variables"), 1, 1, 0, nullptr, out));
  EXPECT((download<int>(out, 4) == std::vector<int>{7, 20, 40, 8}));
  DevicePointer address = 0;
  std::size_t size = 0;
  OK(cuModuleGetGlobal_v2(&address, &size, session.module, "values"));
  EXPECT(size == 16);
  EXPECT((download<int>(address, 4) == std::vector<int>{10, 20, 30, 40}));
  const int changed = 99;
  OK(cuMemcpyHtoD_v2(address + 4, &changed, 4));
  OK(launch(session.function("read_variables"), 1, 1, 0, nullptr, out));
  EXPECT((download<int>(out, 4) == std::vector<int>{8, 99, 40, 8}));
  RESULT(invalid_value, cuMemFree_v2(address));
  RESULT(not_found, cuModuleGetGlobal_v2(&address, &size, session.module, "nothing"));

  // Each load of a module has variables of its own.
  void *second = nullptr;
  OK(cuModuleLoadData(&second, file_content(std::string(std::getenv("GCR_TEST_KERNELS")) + "/simulated.ptx").c_str()));
  DevicePointer other = 0;
  OK(cuModuleGetGlobal_v2(&other, &size, second, "values"));
  EXPECT(other != address);
  EXPECT((download<int>(other, 4) == std::vector<int>{10, 20, 30, 40}));
  OK(cuModuleUnload(second));
  RESULT(invalid_handle, cuModuleGetGlobal_v2(&other, &size, second, "values"));
}

void modules() {
  Session session;
  void *module = nullptr;
  char log[2000] = "";
  int options[] = {5, 6};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  RESULT(invalid_ptx, cuModuleLoadDataEx(&module, ".version 9.0\n.target sm_80\n.entry k() { nonsense }", 2, options, values));
  EXPECT(log[0]);
  void *library = nullptr, *kernel = nullptr, *function = nullptr;
  const std::string text = file_content(std::string(std::getenv("GCR_TEST_KERNELS")) + "/simulated.ptx");
  OK(cuLibraryLoadData(&library, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  OK(cuLibraryGetKernel(&kernel, library, "step"));
  OK(cuKernelGetFunction(&function, kernel));
  const DevicePointer x = upload(std::vector<std::uint32_t>{5});
  OK(launch(function, 1, 1, 0, nullptr, x, std::uint32_t{1}));
  OK(launch(kernel, 1, 1, 0, nullptr, x, std::uint32_t{2}));
  EXPECT(download<std::uint32_t>(x, 1)[0] == 3 * 16 + 2);
  OK(cuLibraryUnload(library));
  int blocks = 0;
  OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, session.function("step"), 256, 0));
  EXPECT(blocks == 8);
}

void cooperative() {
  Session session;
  const DevicePointer counter = upload(std::vector<std::uint32_t>(1)), out = upload(std::vector<std::uint32_t>(64));
  void *const function = session.function("meet");
  void *list[] = {const_cast<DevicePointer *>(&counter), const_cast<DevicePointer *>(&out)};
  OK(cuLaunchCooperativeKernel(function, 64, 1, 1, 32, 1, 1, 0, nullptr, list));
  for (const auto value : download<std::uint32_t>(out, 64)) EXPECT(value == 64);
  RESULT(cooperative_launch_too_large, cuLaunchCooperativeKernel(function, 100000, 1, 1, 32, 1, 1, 0, nullptr, list));

  Session clusters("cluster.ptx");
  LaunchAttribute attribute{};
  attribute.id = 4;
  attribute.value.cluster[0] = 4;
  attribute.value.cluster[1] = attribute.value.cluster[2] = 1;
  LaunchConfiguration configuration{{8, 1, 1}, {32, 1, 1}, 0, nullptr, &attribute, 1};
  void *rank[] = {const_cast<DevicePointer *>(&out)};
  OK(cuLaunchKernelEx(&configuration, clusters.function("cluster_rank"), rank, nullptr));
  const auto ranks = download<std::uint32_t>(out, 8);
  for (std::uint32_t i = 0; i < 8; ++i) EXPECT(ranks[i] == 400 + i % 4);
  configuration.grid[0] = 7;
  RESULT(invalid_cluster_size, cuLaunchKernelEx(&configuration, clusters.function("cluster_rank"), rank, nullptr));
}

// --- streams ---

std::uint32_t after_steps(std::uint32_t x, std::initializer_list<std::uint32_t> steps) {
  for (const auto k : steps) x = 3 * x + k;
  return x;
}

void streams() {
  Session session;
  void *const step = session.function("step"), *const work = session.function("work");
  const auto three = [](std::uint32_t k) { return k; };
  // In order within a stream.
  DevicePointer x = upload(std::vector<std::uint32_t>{1});
  void *a = nullptr, *b = nullptr;
  OK(cuStreamCreate(&a, 1));
  OK(cuStreamCreate(&b, 1));
  std::uint32_t wanted = 1;
  for (std::uint32_t k = 0; k < 50; ++k) {
    OK(launch(step, 1, 1, 0, a, x, three(k)));
    wanted = 3 * wanted + k;
  }
  OK(cuStreamSynchronize(a));
  EXPECT(download<std::uint32_t>(x, 1)[0] == wanted);

  // One stream after another by events, against the order in which they would end by themselves.
  void *event = nullptr;
  OK(cuEventCreate(&event, 2));
  for (int round = 0; round < 5; ++round) {
    const std::uint32_t one = 1;
    OK(cuMemcpyHtoD_v2(x, &one, 4));
    DevicePointer slow = upload(std::vector<std::uint32_t>{1});
    OK(launch(work, 1, 1, 0, a, slow, std::uint32_t{100000}));
    OK(launch(step, 1, 1, 0, a, x, std::uint32_t{5}));
    OK(cuEventRecord(event, a));
    OK(cuStreamWaitEvent(b, event, 0));
    OK(launch(step, 1, 1, 0, b, x, std::uint32_t{7}));
    OK(cuStreamSynchronize(b));
    EXPECT(download<std::uint32_t>(x, 1)[0] == after_steps(1, {5, 7}));
    OK(cuMemFree_v2(slow));
  }

  // The legacy default stream waits for blocking streams, and they for it; a stream that does not block takes no part.
  void *blocking = nullptr;
  OK(cuStreamCreate(&blocking, 0));
  const DevicePointer gate = upload(std::vector<std::uint32_t>{0});
  const std::uint32_t one = 1;
  OK(cuMemcpyHtoD_v2(x, &one, 4));
  OK(cuStreamWaitValue32_v2(blocking, gate, 1, 1));
  OK(launch(step, 1, 1, 0, blocking, x, std::uint32_t{1}));
  OK(launch(step, 1, 1, 0, nullptr, x, std::uint32_t{2}));
  OK(launch(step, 1, 1, 0, blocking, x, std::uint32_t{3}));
  RESULT(not_ready, cuStreamQuery(blocking));
  RESULT(not_ready, cuStreamQuery(nullptr));
  OK(launch(step, 1, 1, 0, a, gate, std::uint32_t{1}));  // 3 * 0 + 1 opens the gate
  OK(cuStreamSynchronize(blocking));
  OK(cuStreamQuery(blocking));
  EXPECT(download<std::uint32_t>(x, 1)[0] == after_steps(1, {1, 2, 3}));

  // Per-thread default streams: each thread's in order, ended with it.
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      OK(cuCtxSetCurrent(session.context));
      DevicePointer own = upload(std::vector<std::uint32_t>{2});
      for (std::uint32_t k = 1; k <= 3; ++k) {
        void *list[] = {&own, &k};
        OK(cuLaunchKernel_ptsz(step, 1, 1, 1, 1, 1, 1, 0, nullptr, list, nullptr));
      }
      OK(cuStreamSynchronize(reinterpret_cast<void *>(2)));
      EXPECT(download<std::uint32_t>(own, 1)[0] == after_steps(2, {1, 2, 3}));
    });
  }
  for (auto &thread : threads) thread.join();

  // Functions of the host in their place, which may not call the driver.
  struct Seen {
    std::uint32_t *value;
    std::uint32_t seen;
    int call;
  };
  void *pinned = nullptr;
  OK(cuMemHostAlloc(&pinned, 64, 0));
  Seen seen{static_cast<std::uint32_t *>(pinned), 0, 0};
  *seen.value = 1;
  OK(launch(step, 1, 1, 0, a, pinned, std::uint32_t{4}));
  OK(cuLaunchHostFunc(a, [](void *data) {
    auto *const s = static_cast<Seen *>(data);
    s->seen = *s->value;
    s->call = cuStreamQuery(nullptr);
  }, &seen));
  OK(launch(step, 1, 1, 0, a, pinned, std::uint32_t{5}));
  OK(cuStreamSynchronize(a));
  EXPECT(seen.seen == 7 && seen.call == not_permitted && *seen.value == 26);
  OK(cuMemFreeHost(pinned));
  OK(cuStreamDestroy_v2(a));
}

void events() {
  Session session;
  void *stream = nullptr, *first = nullptr, *last = nullptr;
  OK(cuStreamCreate(&stream, 1));
  OK(cuEventCreate(&first, 0));
  OK(cuEventCreate(&last, 0));
  float ms = -1;
  RESULT(invalid_handle, cuEventElapsedTime(&ms, first, last));
  OK(cuEventQuery(first));
  const DevicePointer gate = upload(std::vector<std::uint32_t>{0});
  OK(cuEventRecord(first, stream));
  OK(cuStreamWaitValue32_v2(stream, gate, 1, 0));
  OK(cuEventRecord(last, stream));
  OK(cuEventSynchronize(first));
  RESULT(not_ready, cuEventQuery(last));
  RESULT(not_ready, cuEventElapsedTime(&ms, first, last));
  void *other = nullptr;
  OK(cuStreamCreate(&other, 1));
  OK(cuStreamWriteValue32_v2(other, gate, 1, 0));
  OK(cuEventSynchronize(last));
  OK(cuEventElapsedTime(&ms, first, last));
  EXPECT(ms >= 0);
  OK(cuEventDestroy_v2(first));
}

// --- graphs ---

void captured_graphs() {
  Session session;
  void *const step = session.function("step");
  const DevicePointer x = upload(std::vector<std::uint32_t>{1}), y = upload(std::vector<std::uint32_t>{1});
  void *a = nullptr, *b = nullptr, *fork = nullptr, *join = nullptr, *graph = nullptr, *exec = nullptr;
  OK(cuStreamCreate(&a, 1));
  OK(cuStreamCreate(&b, 1));
  OK(cuEventCreate(&fork, 2));
  OK(cuEventCreate(&join, 2));
  OK(cuStreamBeginCapture_v2(a, 0));
  OK(launch(step, 1, 1, 0, a, x, std::uint32_t{1}));
  OK(cuEventRecord(fork, a));
  OK(cuStreamWaitEvent(b, fork, 0));
  int status = 0;
  OK(cuStreamIsCapturing(b, &status));
  EXPECT(status == 1);
  OK(launch(step, 1, 1, 0, b, y, std::uint32_t{9}));
  OK(cuMemcpyDtoDAsync_v2(x, x, 4, a));
  OK(launch(step, 1, 1, 0, a, x, std::uint32_t{2}));
  OK(cuEventRecord(join, b));
  OK(cuStreamWaitEvent(a, join, 0));
  OK(cuMemcpyDtoDAsync_v2(x, y, 4, a));
  OK(cuStreamEndCapture(a, &graph));
  EXPECT(download<std::uint32_t>(x, 1)[0] == 1);  // nothing has run
  std::size_t count = 0, edges = 0;
  OK(cuGraphGetNodes(graph, nullptr, &count));
  OK(cuGraphGetEdges(graph, nullptr, nullptr, &edges));
  EXPECT(count == 5 && edges == 5);
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphDestroy(graph));
  for (int i = 0; i < 3; ++i) OK(cuGraphLaunch(exec, a));
  OK(cuStreamSynchronize(a));
  EXPECT(download<std::uint32_t>(x, 1)[0] == after_steps(1, {9, 9, 9}));
  OK(cuGraphExecDestroy(exec));
}

// What breaks a capture says so, and again at its end.
void broken_captures() {
  Session session;
  void *const step = session.function("step");
  const DevicePointer x = upload(std::vector<std::uint32_t>{1}), y = upload(std::vector<std::uint32_t>{1});
  void *a = nullptr, *b = nullptr, *fork = nullptr, *graph = nullptr;
  OK(cuStreamCreate(&a, 1));
  OK(cuStreamCreate(&b, 1));
  OK(cuEventCreate(&fork, 2));
  DevicePointer address = 0;
  OK(cuStreamBeginCapture_v2(a, 0));
  RESULT(stream_capture_unsupported, cuMemAlloc_v2(&address, 16));
  RESULT(stream_capture_invalidated, launch(step, 1, 1, 0, a, x, std::uint32_t{1}));
  RESULT(stream_capture_invalidated, cuStreamEndCapture(a, &graph));
  OK(cuStreamBeginCapture_v2(a, 2));
  OK(cuMemAlloc_v2(&address, 16));
  RESULT(stream_capture_unsupported, cuStreamSynchronize(a));
  RESULT(stream_capture_invalidated, cuStreamEndCapture(a, &graph));
  OK(cuStreamBeginCapture_v2(a, 0));
  OK(launch(step, 1, 1, 0, a, x, std::uint32_t{1}));
  OK(cuEventRecord(fork, a));
  OK(cuStreamWaitEvent(b, fork, 0));
  OK(launch(step, 1, 1, 0, b, y, std::uint32_t{9}));
  RESULT(stream_capture_unjoined, cuStreamEndCapture(a, &graph));
  RESULT(stream_capture_unsupported, cuStreamBeginCapture_v2(nullptr, 0));
}

void built_graphs() {
  Session session;
  void *const step = session.function("step");
  DevicePointer x = upload(std::vector<std::uint32_t>{0}), y = upload(std::vector<std::uint32_t>{0});
  std::uint32_t k = 3;
  void *list[] = {&x, &k};
  KernelNodeParameters kernel{static_cast<gcr::Function>(step), {1, 1, 1}, {1, 1, 1}, 0, list, nullptr, nullptr, nullptr};
  MemsetNodeParameters set{x, 0, 2, 4, 1, 1};
  Copy3D copy{};
  copy.source.memory_type = copy.target.memory_type = memory_device;
  copy.source.device = x;
  copy.target.device = y;
  copy.width_bytes = 4;
  copy.height = copy.depth = 1;
  void *graph = nullptr, *set_node = nullptr, *kernel_node = nullptr, *copy_node = nullptr, *empty = nullptr;
  OK(cuGraphCreate(&graph, 0));
  OK(cuGraphAddMemsetNode(&set_node, graph, nullptr, 0, &set, nullptr));
  OK(cuGraphAddKernelNode_v2(&kernel_node, graph, &set_node, 1, &kernel));
  k = 1000;  // the node has its own copy
  OK(cuGraphAddEmptyNode(&empty, graph, &kernel_node, 1));
  OK(cuGraphAddMemcpyNode(&copy_node, graph, &empty, 1, &copy, nullptr));
  KernelNodeParameters got{};
  OK(cuGraphKernelNodeGetParams_v2(kernel_node, &got));
  EXPECT(got.function == step && *static_cast<std::uint32_t *>(got.parameters[1]) == 3);
  int type = -1;
  OK(cuGraphNodeGetType(copy_node, &type));
  EXPECT(type == node_memcpy);
  void *exec = nullptr;
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphLaunch(exec, nullptr));
  EXPECT(download<std::uint32_t>(y, 1)[0] == 3 * 2 + 3);

  k = 4;
  OK(cuGraphExecKernelNodeSetParams_v2(exec, kernel_node, &kernel));
  OK(cuGraphLaunch(exec, nullptr));
  EXPECT(download<std::uint32_t>(y, 1)[0] == 3 * 2 + 4);
  EXPECT(*static_cast<std::uint32_t *>(got.parameters[1]) == 3);  // the graph stays as it was

  // A graph of a graph twice, and an update by a graph of the same shape.
  void *outer = nullptr, *first = nullptr, *second = nullptr, *outer_exec = nullptr, *clone = nullptr;
  OK(cuGraphClone(&clone, graph));
  OK(cuGraphCreate(&outer, 0));
  OK(cuGraphAddChildGraphNode(&first, outer, nullptr, 0, clone));
  OK(cuGraphAddKernelNode_v2(&second, outer, &first, 1, &kernel));
  OK(cuGraphInstantiateWithFlags(&outer_exec, outer, 0));
  OK(cuGraphLaunch(outer_exec, nullptr));
  EXPECT(download<std::uint32_t>(x, 1)[0] == 3 * (3 * 2 + 3) + 4);
  GraphExecUpdateInfo info{};
  OK(cuGraphExecUpdate_v2(exec, graph, &info));
  OK(cuGraphLaunch(exec, nullptr));
  EXPECT(download<std::uint32_t>(y, 1)[0] == 3 * 2 + 3);
  RESULT(graph_exec_update_failure, cuGraphExecUpdate_v2(exec, outer, &info));
  EXPECT(info.result == 2);
}

// --- memory ---

void virtual_memory() {
  Session session;
  void *const store = session.function("store_to");
  Mapped memory(2 * mib);
  OK(cuMemsetD32_v2(memory.address, 5, 100));
  // The same memory at a second address, after its handle is gone.
  DevicePointer second = 0;
  OK(cuMemAddressReserve(&second, 4 * mib, 0, 0, 0));
  OK(cuMemMap(second + 2 * mib, 2 * mib, 0, memory.handle, 0));
  OK(cuMemSetAccess(second + 2 * mib, 2 * mib, &read_write, 1));
  std::uint64_t again = 0;
  OK(cuMemRetainAllocationHandle(&again, reinterpret_cast<void *>(second + 2 * mib)));
  EXPECT(again == memory.handle);
  OK(cuMemRelease(again));
  OK(cuMemRelease(memory.handle));
  RESULT(invalid_value, cuMemRelease(memory.handle));
  OK(launch(store, 1, 1, 0, nullptr, memory.address + 4, std::uint32_t{77}));
  EXPECT(download<std::uint32_t>(second + 2 * mib, 2)[1] == 77);
  // Unmapped, the content lives on at the other address, and comes back.
  std::uint64_t handle = 0;
  OK(cuMemRetainAllocationHandle(&handle, reinterpret_cast<void *>(memory.address)));
  OK(cuMemUnmap(memory.address, 2 * mib));
  OK(cuMemUnmap(second + 2 * mib, 2 * mib));
  RESULT(invalid_value, cuMemcpyHtoD_v2(memory.address, &handle, 4));
  OK(cuMemMap(memory.address, 2 * mib, 0, handle, 0));
  RESULT(invalid_value, cuMemcpyHtoD_v2(memory.address, &handle, 4));  // without access
  OK(cuMemSetAccess(memory.address, 2 * mib, &read_write, 1));
  EXPECT(download<std::uint32_t>(memory.address, 2)[1] == 77);
  // What is refused; in which words is each driver's own.
  std::uint64_t odd = 0;
  REFUSED(cuMemCreate(&odd, mib, &exportable, 0));
  REFUSED(cuMemMap(memory.address, 2 * mib, 0, handle, 0));
  REFUSED(cuMemMap(second, 4 * mib, 0, handle, 0));
  REFUSED(cuMemMap(second + mib, 2 * mib, 0, handle, 0));
  REFUSED(cuMemUnmap(memory.address, mib));
  REFUSED(cuMemAddressFree(memory.address, 2 * mib));
  REFUSED(cuMemSetAccess(second, 2 * mib, &read_write, 1));
  REFUSED(cuMemMap(0x10000000, 2 * mib, 0, handle, 0));
  EXPECT(download<std::uint32_t>(memory.address, 2)[1] == 77);  // as it was, after all that
  // An address of one's own wish, once it is free again.
  OK(cuMemAddressFree(second, 4 * mib));
  DevicePointer wished = 0;
  OK(cuMemAddressReserve(&wished, 4 * mib, 0, second, 0));
  EXPECT(wished == second);
  DevicePointer elsewhere = 0;
  OK(cuMemAddressReserve(&elsewhere, 4 * mib, 0, second, 0));
  EXPECT(elsewhere != second);
  // One access for two mappings side by side, and a copy across their border.
  std::uint64_t left = 0, right = 0;
  OK(cuMemCreate(&left, 2 * mib, &exportable, 0));
  OK(cuMemCreate(&right, 2 * mib, &exportable, 0));
  OK(cuMemMap(wished, 2 * mib, 0, left, 0));
  OK(cuMemMap(wished + 2 * mib, 2 * mib, 0, right, 0));
  OK(cuMemSetAccess(wished, 4 * mib, &read_write, 1));
  std::vector<std::uint32_t> values(1000);
  for (std::uint32_t i = 0; i < 1000; ++i) values[i] = i * i;
  OK(cuMemcpyHtoD_v2(wished + 2 * mib - 2000, values.data(), 4000));
  EXPECT(download<std::uint32_t>(wished + 2 * mib - 2000, 1000) == values);
  OK(cuMemUnmap(wished, 4 * mib));
  int fd = -1;
  AllocationProperties plain = exportable;
  plain.handle_types = 0;
  OK(cuMemCreate(&odd, 2 * mib, &plain, 0));
  REFUSED(cuMemExportToShareableHandle(&fd, odd, 1, 0));
  REFUSED(cuMemImportFromShareableHandle(&odd, reinterpret_cast<void *>(std::intptr_t{0}), 1));
}

void send_fd(int socket, int fd) {
  char byte = 'f';
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &fd, sizeof(int));
  EXPECT(sendmsg(socket, &message, 0) == 1);
}

int receive_fd(int socket) {
  char byte = 0;
  iovec part{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  EXPECT(recvmsg(socket, &message, 0) == 1);
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
  return fd;
}

// Two processes, one memory; it outlives the one that made it.
void shared_memory() {
  int pair[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  const pid_t maker = fork();
  if (maker == 0) {
    Session session;
    Mapped memory(64 * mib);
    OK(cuMemsetD32_v2(memory.address, 41, 16 * mib));
    int fd = -1;
    OK(cuMemExportToShareableHandle(&fd, memory.handle, 1, 0));
    send_fd(pair[0], fd);
    char byte;
    EXPECT(read(pair[0], &byte, 1) == 1);  // the other has written
    EXPECT(download<std::uint32_t>(memory.address, 1)[0] == 42);
    std::_Exit(0);
  }
  const int fd = receive_fd(pair[1]);
  Session session;
  std::size_t before = 0, total = 0;
  OK(cuMemGetInfo_v2(&before, &total));
  EXPECT(total - before >= 64 * mib);
  std::uint64_t handle = 0;
  OK(cuMemImportFromShareableHandle(&handle, reinterpret_cast<void *>(std::intptr_t{fd}), 1));
  close(fd);
  int refused = -1;
  RESULT(invalid_value, cuMemExportToShareableHandle(&refused, handle, 1, 0));
  DevicePointer address = 0;
  OK(cuMemAddressReserve(&address, 64 * mib, 0, 0, 0));
  OK(cuMemMap(address, 64 * mib, 0, handle, 0));
  OK(cuMemSetAccess(address, 64 * mib, &read_write, 1));
  OK(launch(session.function("store_to"), 1, 1, 0, nullptr, address, std::uint32_t{42}));
  OK(cuCtxSynchronize());
  EXPECT(write(pair[1], "w", 1) == 1);
  int status = -1;
  EXPECT(waitpid(maker, &status, 0) == maker && status == 0);
  EXPECT(download<std::uint32_t>(address, 2) == (std::vector<std::uint32_t>{42, 41}));
  OK(cuMemUnmap(address, 64 * mib));
  EXPECT(cuMemRelease(handle) == 0);
  std::size_t after = 0;
  OK(cuMemGetInfo_v2(&after, &total));
  EXPECT(after >= before + 64 * mib);
}

template <class T>
void send_value(int to, const T &value) {
  EXPECT(write(to, &value, sizeof(value)) == sizeof(value));
}
template <class T>
T receive_value(int from) {
  T value;
  EXPECT(read(from, &value, sizeof(value)) == sizeof(value));
  return value;
}
gcr::IpcHandle ipc_handle(DevicePointer address) {
  gcr::IpcHandle handle{};
  OK(cuIpcGetMemHandle(&handle, address));
  return handle;
}
DevicePointer ipc_open(const gcr::IpcHandle &handle) {
  DevicePointer address = 0;
  OK(cuIpcOpenMemHandle_v2(&address, handle, 1));
  return address;
}
constexpr const char *ipc_variable = "GCR_TEST_IPC_SOCKET";
constexpr std::size_t ipc_words = 250, ipc_large_words = 3 * mib / 4;

// The other process of `ipc`, a program of its own.
void ipc_peer() {
  const int socket = std::atoi(std::getenv(ipc_variable));
  Session session;
  const auto small_handle = receive_value<gcr::IpcHandle>(socket), other_handle = receive_value<gcr::IpcHandle>(socket);
  const auto large_handle = receive_value<gcr::IpcHandle>(socket);
  const DevicePointer small = ipc_open(small_handle), other = ipc_open(other_handle), large = ipc_open(large_handle);
  EXPECT(download<std::uint32_t>(small, ipc_words) == std::vector<std::uint32_t>(ipc_words, 21));
  EXPECT(download<std::uint32_t>(other, ipc_words) == std::vector<std::uint32_t>(ipc_words, 22));
  EXPECT(download<std::uint32_t>(large, ipc_large_words) == std::vector<std::uint32_t>(ipc_large_words, 23));
  DevicePointer base = 0;
  std::size_t size = 0;
  OK(cuMemGetAddressRange_v2(&base, &size, large + 4096));
  EXPECT(base == large && size >= 3 * mib);
  // The same place again, counted.
  EXPECT(ipc_open(large_handle) == large);
  OK(cuIpcCloseMemHandle(large));
  // By a kernel, a fill and a copy, from here; and memory of its own the other way.
  OK(launch(session.function("store_to"), 1, 1, 0, nullptr, small + 4, std::uint32_t{77}));
  OK(cuMemsetD32_v2(large + 2 * mib, 78, 1000));
  OK(cuMemcpyDtoD_v2(large, other, 16));
  OK(cuCtxSynchronize());
  const DevicePointer own = upload(std::vector<std::uint32_t>(ipc_words, 31)), late = upload(std::vector<std::uint32_t>(ipc_words, 32));
  send_value(socket, ipc_handle(own));
  send_value(socket, ipc_handle(late));
  receive_value<char>(socket);  // it has been written
  EXPECT(download<std::uint32_t>(own, ipc_words) == std::vector<std::uint32_t>(ipc_words, 41));
  for (const DevicePointer one : {small, other, large}) OK(cuIpcCloseMemHandle(one));
  REFUSED(cuIpcCloseMemHandle(large));
  send_value(socket, 'c');
  receive_value<char>(socket);  // the other has closed what it opened
}

// Device memory of two processes, each other's, by the handles of cuMemAlloc. With pauses while memory is open, and after it was closed.
void share_by_ipc(bool paced) {
  const auto pause = [&](const char *where, pid_t peer) {
    if (!paced) return;
    std::printf("%s %d %d\n", where, getpid(), peer);
    std::fflush(stdout);
    receive_value<char>(0);
  };
  int pair[2];
  EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  Session session;
  const DevicePointer small = upload(std::vector<std::uint32_t>(ipc_words, 21)), other = upload(std::vector<std::uint32_t>(ipc_words, 22));
  const DevicePointer large = upload(std::vector<std::uint32_t>(ipc_large_words, 23));
  unsigned capable = 0;
  OK(cuPointerGetAttribute(&capable, 10, small));
  EXPECT(capable == 1);
  const pid_t peer = fork();
  if (peer == 0) {
    setenv(ipc_variable, std::to_string(pair[0]).c_str(), 1);
    execl("/proc/self/exe", "scenarios", "ipc_peer", nullptr);
    std::_Exit(127);
  }
  close(pair[0]);
  const int socket = pair[1];
  for (const DevicePointer one : {small, other, large}) send_value(socket, ipc_handle(one));
  gcr::IpcHandle own = ipc_handle(large), again = ipc_handle(large);
  EXPECT(std::memcmp(&own, &again, sizeof(own)) == 0);
  DevicePointer refused = 0;
  REFUSED(cuIpcOpenMemHandle_v2(&refused, own, 1));
  const auto theirs = receive_value<gcr::IpcHandle>(socket), late = receive_value<gcr::IpcHandle>(socket);
  const DevicePointer opened = ipc_open(theirs);
  EXPECT(download<std::uint32_t>(opened, ipc_words) == std::vector<std::uint32_t>(ipc_words, 31));
  pause("open", peer);
  OK(cuMemsetD32_v2(opened, 41, ipc_words));
  OK(cuCtxSynchronize());
  send_value(socket, 'w');
  receive_value<char>(socket);
  std::vector<std::uint32_t> wanted(ipc_words, 21);
  wanted[1] = 77;
  EXPECT(download<std::uint32_t>(small, ipc_words) == wanted);
  EXPECT(download<std::uint32_t>(other, ipc_words) == std::vector<std::uint32_t>(ipc_words, 22));
  std::vector<std::uint32_t> changed(ipc_large_words, 23);
  std::fill_n(changed.begin(), 4, 22);
  std::fill_n(changed.begin() + 2 * mib / 4, 1000, 78);
  EXPECT(download<std::uint32_t>(large, ipc_large_words) == changed);
  OK(cuIpcCloseMemHandle(opened));
  pause("closed", peer);
  send_value(socket, 'e');
  int status = -1;
  EXPECT(waitpid(peer, &status, 0) == peer && status == 0);
  REFUSED(cuIpcOpenMemHandle_v2(&refused, late, 1));
  for (const DevicePointer one : {small, other, large}) OK(cuMemFree_v2(one));
}
void ipc() { share_by_ipc(false); }
void ipc_paced() { share_by_ipc(true); }

// Whether as much is free as was before: at once, or, under a recorder, when its supervisor has let go, too. Drivers keep a little of it.
bool is_free_again(std::size_t before) {
  for (int look = 0; look < 200; ++look) {
    std::size_t free = 0, total = 0;
    OK(cuMemGetInfo_v2(&free, &total));
    if (free + (total >> 10) >= before) return true;
    usleep(10000);
  }
  return false;
}

void memory_limit() {
  Session session;
  std::size_t total = 0, start = 0;
  OK(cuMemGetInfo_v2(&start, &total));
  for (int round = 0; round < 6; ++round) {
    std::vector<DevicePointer> held;
    DevicePointer address = 0;
    Result result = success;
    while ((result = cuMemAlloc_v2(&address, total / 4)) == success) held.push_back(address);
    RESULT(out_of_memory, result);
    EXPECT(held.size() == 3 || held.size() == 4);
    for (const auto one : held) OK(cuMemFree_v2(one));
  }
  EXPECT(is_free_again(start));
  std::uint64_t handle = 0;
  RESULT(out_of_memory, cuMemCreate(&handle, (total / (2 * mib) + 1) * 2 * mib, &exportable, 0));
  // Small allocations share memory, and give it back.
  std::vector<DevicePointer> small(3000);
  for (auto &one : small) OK(cuMemAlloc_v2(&one, 1000));
  std::sort(small.begin(), small.end());
  for (std::size_t i = 1; i < small.size(); ++i) EXPECT(small[i] - small[i - 1] >= 1000);
  DevicePointer base = 0;
  std::size_t size = 0;
  OK(cuMemGetAddressRange_v2(&base, &size, small[7] + 999));
  EXPECT(base == small[7] && size == 1000);
  for (std::size_t i = 0; i < small.size(); ++i) OK(cuMemFree_v2(small[i * 7 % small.size()]));
  RESULT(invalid_value, cuMemFree_v2(small[0]));
  EXPECT(is_free_again(start));
  OK(cuMemAllocAsync(&base, 1000, nullptr));
  OK(cuMemsetD32Async(base, 3, 250, nullptr));
  EXPECT(download<std::uint32_t>(base, 250)[249] == 3);
  OK(cuMemFreeAsync(base, nullptr));
  OK(cuCtxSynchronize());
  RESULT(invalid_value, cuMemFree_v2(base));
  RESULT(invalid_value, cuMemAlloc_v2(&base, 0));
}

// --- trouble ---

void fault() {
  Session session;
  const DevicePointer x = upload(std::vector<std::uint32_t>{1});
  void *const step = session.function("step");
  OK(launch(session.function("store_to"), 1, 1, 0, nullptr, DevicePointer{0x7000}, std::uint32_t{1}));
  RESULT(illegal_address, cuCtxSynchronize());
  std::uint32_t value = 0;
  RESULT(illegal_address, cuMemcpyDtoH_v2(&value, x, 4));
  RESULT(illegal_address, cuStreamQuery(nullptr));
  RESULT(illegal_address, launch(step, 1, 1, 0, nullptr, x, std::uint32_t{1}));
}

void trap() {
  Session session;
  OK(launch(session.function("trap_if"), 1, 1, 0, nullptr, std::uint32_t{0}));
  OK(cuCtxSynchronize());
  OK(launch(session.function("trap_if"), 1, 1, 0, nullptr, std::uint32_t{1}));
  RESULT(launch_failed, cuCtxSynchronize());
  RESULT(launch_failed, cuCtxSynchronize());
}

void unmapped_after_free() {
  Session session;
  DevicePointer x = 0;
  OK(cuMemAlloc_v2(&x, 4 * mib));
  OK(launch(session.function("store_to"), 1, 1, 0, nullptr, x, std::uint32_t{1}));
  OK(cuMemFree_v2(x));
  OK(launch(session.function("store_to"), 1, 1, 0, nullptr, x, std::uint32_t{1}));
  RESULT(illegal_address, cuCtxSynchronize());
}

void host_access() {
  Session session;
  const DevicePointer x = upload(std::vector<std::uint32_t>{1});
  std::printf("%u\n", *reinterpret_cast<volatile std::uint32_t *>(x));
}

void without_context() {
  void *module = nullptr;
  RESULT(not_initialized, cuModuleLoadData(&module, ".version 9.0"));
  RESULT(not_initialized, cuCtxSynchronize());
  OK(cuInit(0));
  RESULT(invalid_context, cuCtxSynchronize());
  void *context = nullptr;
  OK(cuCtxCreate_v2(&context, 0, 0));
  OK(cuCtxSynchronize());
  DevicePointer x = 0;
  OK(cuMemAlloc_v2(&x, 100));
  OK(cuCtxDestroy_v2(context));
  REFUSED(cuMemFree_v2(x));
  const pid_t child = fork();
  if (child == 0) {
    RESULT(not_initialized, cuInit(0));
    RESULT(not_initialized, cuCtxSynchronize());
    std::_Exit(0);
  }
  int status = -1;
  EXPECT(waitpid(child, &status, 0) == child && status == 0);
  void *function = nullptr;
  int found = -1;
  OK(cuGetProcAddress_v2("cuMemAlloc", &function, 12000, 0, &found));
  EXPECT(function && found == 0);
  OK(cuGetProcAddress_v2("cuLaunchKernel", &function, 12000, 2, &found));
  EXPECT(function && found == 0);
  cuGetProcAddress_v2("cuNothing", &function, 12000, 0, &found);
  EXPECT(!function && found == 1);
}

// --- what only the simulated driver answers in a defined way ---

// Handles that are gone, which a real driver follows.
void gone_handles() {
  Session session;
  void *stream = nullptr, *event = nullptr, *library = nullptr, *kernel = nullptr, *context = nullptr;
  OK(cuStreamCreate(&stream, 1));
  OK(cuStreamDestroy_v2(stream));
  RESULT(invalid_handle, cuStreamSynchronize(stream));
  OK(cuEventCreate(&event, 0));
  OK(cuEventDestroy_v2(event));
  RESULT(invalid_handle, cuEventQuery(event));
  const std::string text = file_content(std::string(std::getenv("GCR_TEST_KERNELS")) + "/simulated.ptx");
  OK(cuLibraryLoadData(&library, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  OK(cuLibraryGetKernel(&kernel, library, "step"));
  OK(cuLibraryUnload(library));
  RESULT(invalid_handle, launch(kernel, 1, 1, 0, nullptr, DevicePointer{0}, std::uint32_t{2}));
  OK(cuCtxCreate_v2(&context, 0, 0));
  OK(cuCtxDestroy_v2(context));
  RESULT(invalid_context, cuCtxSetCurrent(context));
}

// Its own diagnostics and addresses; images cut short, which a real driver reads beyond their end; mappings beyond what is reserved, which that takes;
// what it does not have.
void simulated_only() {
  Session session;
  void *module = nullptr, *function = nullptr;
  char log[2000] = "";
  int options[] = {5, 6};
  void *values[] = {log, reinterpret_cast<void *>(sizeof(log))};
  RESULT(invalid_ptx, cuModuleLoadDataEx(&module, ".version 9.0\n.target sm_80\n.entry k() { nonsense }", 2, options, values));
  EXPECT(std::strstr(log, "GCR8001"));
  RESULT(no_binary_for_gpu, cuModuleLoadData(&module, "\177ELF\2\1\1"));
  DevicePointer address = 0;
  RESULT(not_supported, cuMemAllocManaged(&address, 16, 1));
  int found = -1;
  OK(cuGetProcAddress_v2("cuMemAlloc", &function, 12000, 0, &found));
  EXPECT(function == reinterpret_cast<void *>(&cuMemAlloc_v2) && found == 0);
  OK(cuGetProcAddress_v2("cuLaunchKernel", &function, 12000, 2, &found));
  EXPECT(function == reinterpret_cast<void *>(&cuLaunchKernel_ptsz));
  OK(cuGetProcAddress_v2("cuTexObjectCreate", &function, 12000, 0, &found));
  RESULT(not_supported, reinterpret_cast<Result (*)()>(function)());
  // Beyond what is reserved; parts of memory.
  std::uint64_t large = 0;
  OK(cuMemCreate(&large, 4 * mib, &exportable, 0));
  DevicePointer small = 0;
  OK(cuMemAddressReserve(&small, 2 * mib, 0, 0, 0));
  RESULT(invalid_value, cuMemMap(small, 4 * mib, 0, large, 0));
  RESULT(invalid_value, cuMemMap(small, 2 * mib, 2 * mib, large, 0));
  RESULT(invalid_value, cuMemMap(small, 2 * mib, 0, large, 0));
  // Memory that may only be read is refused at once; a real device finds out when it is written.
  OK(cuMemAddressReserve(&address, 4 * mib, 0, 0, 0));
  OK(cuMemMap(address, 4 * mib, 0, large, 0));
  constexpr AccessDescriptor read_only{{1, 0}, 1};
  OK(cuMemSetAccess(address, 4 * mib, &read_only, 1));
  EXPECT(download<std::uint32_t>(address, 1)[0] == 0);
  RESULT(invalid_value, cuMemsetD8_v2(address, 1, 1));
}

// --- held by the test ---

[[noreturn]] void sleep_for_ever() {
  for (;;) pause();
}

void hold_memory() {
  Session session;
  DevicePointer x = 0;
  OK(cuMemAlloc_v2(&x, 256 * mib));
  std::puts("holding");
  std::fflush(stdout);
  sleep_for_ever();
}

void endless() {
  Session session;
  const DevicePointer flag = upload(std::vector<std::uint32_t>{0});
  OK(launch(session.function("wait_flag"), 1, 1, 0, nullptr, flag, flag));
  std::puts("running");
  std::fflush(stdout);
  std::printf("%s\n", name_of(cuCtxSynchronize()));
}

void memory_info() {
  OK(cuInit(0));
  void *context = nullptr;
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  std::size_t free = 0, total = 0;
  OK(cuMemGetInfo_v2(&free, &total));
  std::printf("%zu %zu\n", free, total);
}

// Computes until the device is gone, then says what it got.
void until_gone() {
  Session session;
  const DevicePointer x = upload(std::vector<std::uint32_t>{1});
  std::puts("running");
  std::fflush(stdout);
  Result result = success;
  while (result == success) {
    result = launch(session.function("work"), 1, 1, 0, nullptr, x, std::uint32_t{10000});
    if (result == success) result = cuCtxSynchronize();
  }
  std::printf("%s\n", name_of(result));
  std::uint32_t value = 0;
  EXPECT(cuMemcpyDtoH_v2(&value, x, 4) != success);
}

// --- checkpoint of another process ---


int state_of(pid_t pid) {
  int state = -1;
  OK(cuCheckpointProcessGetState(pid, &state));
  return state;
}

// An application that counts on the device and tells each result; it is locked, moved out, and goes on where it was.
void checkpoint() {
  int pipe_ends[2];
  EXPECT(pipe(pipe_ends) == 0);
  const pid_t application = fork();
  if (application == 0) {
    Session session;
    DevicePointer x = upload(std::vector<std::uint32_t>{0});
    DevicePointer large = 0;
    OK(cuMemAlloc_v2(&large, 128 * mib));
    OK(cuMemsetD8_v2(large, 0x5a, 128 * mib));
    for (std::uint32_t i = 1;; ++i) {
      OK(launch(session.function("store_to"), 1, 1, 0, nullptr, x, i));
      const std::uint32_t got = download<std::uint32_t>(x, 1)[0];
      EXPECT(got == i);
      if (i % 16 == 0) EXPECT(download<std::uint8_t>(large + 127 * mib, 1)[0] == 0x5a);
      EXPECT(write(pipe_ends[1], &got, 4) == 4);
    }
  }
  const auto next = [&] {
    std::uint32_t value = 0;
    EXPECT(read(pipe_ends[0], &value, 4) == 4);
    return value;
  };
  while (next() < 20) {
  }
  OK(cuInit(0));
  void *context = nullptr;
  OK(cuDevicePrimaryCtxRetain(&context, 0));
  OK(cuCtxSetCurrent(context));
  std::size_t before = 0, during = 0, total = 0;
  EXPECT(state_of(application) == 0);
  RESULT(illegal_state, cuCheckpointProcessCheckpoint(application, nullptr));
  RESULT(illegal_state, cuCheckpointProcessUnlock(application, nullptr));
  OK(cuCheckpointProcessLock(application, nullptr));
  EXPECT(state_of(application) == 1);
  RESULT(illegal_state, cuCheckpointProcessLock(application, nullptr));
  RESULT(illegal_state, cuCheckpointProcessRestore(application, nullptr));
  OK(cuMemGetInfo_v2(&before, &total));
  OK(cuCheckpointProcessCheckpoint(application, nullptr));
  EXPECT(state_of(application) == 2);
  OK(cuMemGetInfo_v2(&during, &total));
  EXPECT(during >= before + 128 * mib);
  RESULT(illegal_state, cuCheckpointProcessUnlock(application, nullptr));
  // Nothing goes on: what was on its way to the pipe is followed by silence.
  fd_set set;
  const auto quiet = [&] {
    FD_ZERO(&set);
    FD_SET(pipe_ends[0], &set);
    timeval wait{0, 200000};
    return select(pipe_ends[0] + 1, &set, nullptr, nullptr, &wait) == 0;
  };
  while (!quiet()) next();
  OK(cuCheckpointProcessRestore(application, nullptr));
  EXPECT(state_of(application) == 1);
  EXPECT(quiet());
  OK(cuCheckpointProcessUnlock(application, nullptr));
  for (int i = 0; i < 40; ++i) next();
  EXPECT(state_of(application) == 0);
  // Not enough memory: it stays checkpointed, for good.
  OK(cuCheckpointProcessLock(application, nullptr));
  OK(cuCheckpointProcessCheckpoint(application, nullptr));
  std::vector<DevicePointer> hog;
  DevicePointer piece = 0;
  while (cuMemAlloc_v2(&piece, 32 * mib) == success) hog.push_back(piece);
  RESULT(out_of_memory, cuCheckpointProcessRestore(application, nullptr));
  for (const auto one : hog) OK(cuMemFree_v2(one));
  RESULT(operating_system, cuCheckpointProcessRestore(application, nullptr));
  EXPECT(state_of(application) >= 2);
  kill(application, SIGKILL);
  int status = 0;
  waitpid(application, &status, 0);
  REFUSED(cuCheckpointProcessLock(getpid() + 100000, nullptr));
}

// A queue that does not end within the deadline leaves the process running.
void lock_timeout() {
  int pipe_ends[2], back[2];
  EXPECT(pipe(pipe_ends) == 0 && pipe(back) == 0);
  const pid_t application = fork();
  if (application == 0) {
    Session session;
    const DevicePointer gate = upload(std::vector<std::uint32_t>{0});
    void *waiting = nullptr, *opening = nullptr;
    OK(cuStreamCreate(&waiting, 1));
    OK(cuStreamCreate(&opening, 1));
    OK(cuStreamWaitValue32_v2(waiting, gate, 1, 1));
    char byte = 'r';
    EXPECT(write(pipe_ends[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1);
    OK(cuStreamWriteValue32_v2(opening, gate, 1, 0));
    OK(cuStreamSynchronize(waiting));
    EXPECT(write(pipe_ends[1], &byte, 1) == 1);
    sleep_for_ever();
  }
  char byte;
  EXPECT(read(pipe_ends[0], &byte, 1) == 1);
  CheckpointLockArguments arguments{};
  arguments.timeout_ms = 100;
  RESULT(not_ready, cuCheckpointProcessLock(application, &arguments));
  EXPECT(state_of(application) == 0);
  EXPECT(write(back[1], "g", 1) == 1 && read(pipe_ends[0], &byte, 1) == 1);
  arguments.timeout_ms = 10000;
  OK(cuCheckpointProcessLock(application, &arguments));
  OK(cuCheckpointProcessUnlock(application, nullptr));
  kill(application, SIGKILL);
  int status = 0;
  waitpid(application, &status, 0);
}

const std::map<std::string, std::function<void()>> scenarios = {
    {"vector_add", vector_add},
    {"parameters", parameters},
    {"copies", copies},
    {"variables", variables},
    {"modules", modules},
    {"cooperative", cooperative},
    {"streams", streams},
    {"events", events},
    {"captured_graphs", captured_graphs},
    {"broken_captures", broken_captures},
    {"built_graphs", built_graphs},
    {"virtual_memory", virtual_memory},
    {"shared_memory", shared_memory},
    {"ipc", ipc},
    {"ipc_peer", ipc_peer},
    {"ipc_paced", ipc_paced},
    {"memory_limit", memory_limit},
    {"fault", fault},
    {"trap", trap},
    {"unmapped_after_free", unmapped_after_free},
    {"host_access", host_access},
    {"without_context", without_context},
    {"gone_handles", gone_handles},
    {"simulated_only", simulated_only},
    {"hold_memory", hold_memory},
    {"endless", endless},
    {"memory_info", memory_info},
    {"until_gone", until_gone},
    {"checkpoint", checkpoint},
    {"lock_timeout", lock_timeout},
};

}  // namespace

int main(int count, char **arguments) {
  const auto found = scenarios.find(count == 2 ? arguments[1] : "");
  if (found == scenarios.end()) {
    for (const auto &[name, run] : scenarios) std::puts(name.c_str());
    return 64;
  }
  found->second();
  return 0;
}
