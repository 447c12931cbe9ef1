// The application of recorder_test.cpp: does what its argument names, and waits between steps for the test.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "recorder/test/scenario.h"

using namespace gcr;

extern "C" int gcr_fake_plain();

namespace {

void events() {
  begin();
  DevicePointer small = 0, other = 0, large = 0, pool = 0, managed = 0;
  CHECK(cuMemAlloc_v2(&small, 1000) == 0 && cuMemAlloc_v2(&other, 1000) == 0 && cuMemAlloc_v2(&large, 3 << 20) == 0);
  CHECK(small % 256 == 0 && other == small + 1024);
  DevicePointer base = 0;
  std::size_t size = 0;
  CHECK(cuMemGetAddressRange_v2(&base, &size, other + 5) == 0 && base == other && size == 1000);
  CHECK(cuMemAllocAsync(&pool, 64, nullptr) == 0 && cuMemAllocManaged(&managed, 64, 1) == 0);
  const Function function = load("fill");
  const std::uint64_t words[2] = {7, 8};
  CHECK(cuMemcpyHtoD_v2(small, words, 16) == 0);
  Stream stream;
  CHECK(cuStreamCreate(&stream, 1) == 0);
  fill(function, small, 100, 3, stream);
  LaunchAttribute attributes[1] = {};
  attributes[0].id = attribute_cluster;
  attributes[0].value.cluster[0] = 2;
  attributes[0].value.cluster[1] = attributes[0].value.cluster[2] = 1;
  LaunchConfiguration how{{4, 1, 1}, {32, 1, 1}, 128, reinterpret_cast<Stream>(2), attributes, 1};
  std::uint32_t count = 10;
  void *parameters[] = {&large, &count};
  CHECK(cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  // From here on a launch that names no cluster is in one.
  for (int axis = 0; axis < 3; ++axis) CHECK(cuFuncSetAttribute(function, required_cluster_width + axis, 4 - axis) == 0);
  how.attribute_count = 0;
  CHECK(cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  for (int axis = 0; axis < 3; ++axis) CHECK(cuFuncSetAttribute(function, required_cluster_width + axis, 0) == 0);
  std::uint8_t block[12];
  std::memcpy(block, &other, 8);
  std::memcpy(block + 8, &count, 4);
  std::size_t block_size = sizeof(block);
  void *extra[] = {extra_pointer, block, extra_size, &block_size, extra_end};
  CHECK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, extra) == 0);
  CHECK(cuMemsetD8_v2(small, 5, 10) == 0 && cuMemsetD2D16_v2(large, 64, 6, 10, 3) == 0);
  CHECK(cuMemcpyDtoDAsync_v2(large, small, 8, stream) == 0);
  Copy2D copy{};
  copy.source.memory_type = copy.target.memory_type = memory_device;
  copy.source.device = small;
  copy.target.device = large;
  copy.target.x_bytes = 4;
  copy.target.y = 1;
  copy.target.pitch = 512;
  copy.width_bytes = 16;
  copy.height = 2;
  CHECK(cuMemcpy2D_v2(&copy) == 0);
  CHECK(cuStreamWriteValue32(stream, small, 9, 0) == 0);
  const auto event = reinterpret_cast<Event>(&copy);
  CHECK(cuEventRecord(event, stream) == 0 && cuStreamWaitEvent(nullptr, event, 0) == 0 && cuEventSynchronize(event) == 0);
  CHECK(cuStreamSynchronize(stream) == 0 && cuCtxSynchronize() == 0);
  // An event that something else records says nothing of what it said before.
  CHECK(cuEventRecord(event, stream) == 0 && cuCtxRecordEvent(nullptr, event) == 0 && cuStreamWaitEvent(nullptr, event, 0) == 0);
  LaunchAttribute records[1] = {};
  records[0].id = attribute_completion_event;
  records[0].value.event = event;
  how.attributes = records;
  how.attribute_count = 1;
  CHECK(cuEventRecord(event, stream) == 0 && cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  CHECK(cuStreamWaitEvent(nullptr, event, 0) == 0);
  Context owner = nullptr;
  CHECK(cuPointerGetAttribute(&owner, 1, large + 100) == 0 && owner != nullptr);
  DevicePointer variable = 0;
  Module module;
  CHECK(cuModuleLoadData(&module, ".version 8.1\n") == 0);
  CHECK(cuModuleGetGlobal_v2(&variable, &size, module, "table") == 0);
  CHECK(cuModuleUnload(module) == 0);
  Array array;
  CHECK(cuArrayCreate_v2(&array, words) == 0 && cuArrayDestroy(array) == 0);
  TensorMap map;
  const std::uint64_t sizes[] = {37, 18}, strides[] = {160};
  const std::uint32_t box[] = {16, 8}, steps[] = {1, 2};
  CHECK(cuTensorMapEncodeTiled(&map, 7, 2, reinterpret_cast<void *>(large), sizes, strides, box, steps, 0, 3, 0, 0) == 0);
  CHECK(cuTensorMapReplaceAddress(&map, reinterpret_cast<void *>(large + 256)) == 0);
  CHECK(cuMemFree_v2(other) == 0 && cuMemFree_v2(large) == 0 && cuMemFreeAsync(pool, nullptr) == 0 && cuMemFree_v2(managed) == 0);
  // The place of the freed one is given out again.
  DevicePointer again = 0;
  CHECK(cuMemAlloc_v2(&again, 1024) == 0 && again == other);
  step("done");
}

void graphs() {
  begin();
  const Function function = load("fill");
  DevicePointer memory = 0;
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  Stream stream;
  CHECK(cuStreamCreate(&stream, 1) == 0 && cuStreamBeginCapture_v2(stream, 2) == 0);
  fill(function, memory, 5, 1, stream);
  CHECK(cuMemsetD32Async(memory, 1, 1, stream) == 0);
  // Freed in the middle of a capture: nothing can be known to be idle, so the place is not given out again.
  DevicePointer freed = 0, next = 0;
  CHECK(cuMemAlloc_v2(&freed, 4096) == 0 && cuMemFree_v2(freed) == 0 && cuMemAlloc_v2(&next, 4096) == 0 && next != freed);
  Graph graph;
  CHECK(cuStreamEndCapture(stream, &graph) == 0);
  // Nodes that are added without a context get the memory's.
  GraphNode node;
  MemsetNodeParameters set{memory + 64, 0, 9, 4, 4, 1};
  CHECK(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &set, nullptr) == 0);
  GraphNodeParameters any{};
  any.type = node_memset;
  any.set.parameters = set;
  CHECK(cuGraphAddNode(&node, graph, nullptr, 0, &any) == 0 && any.set.context == nullptr);
  GraphExec exec;
  CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0) == 0);
  set.value = 10;
  CHECK(cuGraphExecMemsetNodeSetParams(exec, node, &set, nullptr) == 0);
  CHECK(cuGraphLaunch(exec, stream) == 0 && cuGraphExecDestroy(exec) == 0);
  // What the driver refuses while a stream is captured is refused, and breaks the capture.
  for (const bool allocates : {true, false}) {
    CHECK(cuStreamBeginCapture_v2(stream, 0) == 0);
    CHECK((allocates ? cuMemAlloc_v2(&freed, 4096) : cuMemFree_v2(next)) == 900);
    CHECK(cuStreamEndCapture(stream, &graph) == 901);
  }
  CHECK(cuMemFree_v2(next) == 0 && gcr_fake_plain() == 0);
  step("done");
}

void custody() {
  begin();
  const Function function = load("fill");
  DevicePointer small = 0, large = 0, mapped = 0;
  CHECK(cuMemAlloc_v2(&small, 100) == 0 && cuMemAlloc_v2(&large, 5 << 20) == 0);
  AllocationProperties properties{allocation_pinned, 0, {location_device, 0}, nullptr, {}};
  Handle handle = 0;
  CHECK(cuMemCreate(&handle, 2 << 20, &properties, 0) == 0);
  CHECK(cuMemAddressReserve(&mapped, 2 << 20, 0, 0, 0) == 0);
  AccessDescriptor access{{location_device, 0}, access_read_write};
  CHECK(cuMemMap(mapped, 2 << 20, 0, handle, 0) == 0 && cuMemSetAccess(mapped, 2 << 20, &access, 1) == 0);
  // It was made exportable for the supervisor, not for the program.
  int exported = -1;
  CHECK(cuMemExportToShareableHandle(&exported, handle, handle_file_descriptor, 0) == result::invalid_value);
  fill(function, small, 100, 11);
  fill(function, large, 5 << 20, 12);
  fill(function, mapped, 2 << 20, 13);
  std::atomic<bool> end{false};
  std::atomic<long> launches{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      Context context;
      cuDevicePrimaryCtxRetain(&context, 0);
      cuCtxSetCurrent(context);
      while (!end) {
        fill(function, small + 200 + i, 1, 20);  // in the slab, beside the allocation
        ++launches;
      }
    });
  while (launches < 1000) std::this_thread::yield();
  step("running");
  const long before = launches;
  while (launches < before + 1000) std::this_thread::yield();
  end = true;
  for (auto &thread : threads) thread.join();
  for (int i : {0, 99}) CHECK(bytes(small)[i] == 11);
  for (int i : {0, (5 << 20) - 1}) CHECK(bytes(large)[i] == 12);
  for (int i : {0, (2 << 20) - 1}) CHECK(bytes(mapped)[i] == 13);
  // The program's handle is good although the memory behind it was exchanged.
  CHECK(cuMemUnmap(mapped, 2 << 20) == 0 && cuMemMap(mapped, 2 << 20, 0, handle, 0) == 0);
  CHECK(cuMemSetAccess(mapped, 2 << 20, &access, 1) == 0 && bytes(mapped)[77] == 13);
  CHECK(cuMemUnmap(mapped, 2 << 20) == 0 && cuMemRelease(handle) == 0 && cuMemRelease(handle) != 0);
  CHECK(cuMemFree_v2(small) == 0 && cuMemFree_v2(large) == 0);
  step("done");
}

// Launches of every kind, as many as the test knows, while they need not be told.
void counted() {
  begin();
  const Function function = load("fill");
  DevicePointer memory = 0;
  Stream stream;
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0 && cuStreamCreate(&stream, 1) == 0);
  fill(function, memory, 64, 1);
  step("ready");
  for (int i = 0; i < 5; ++i) fill(function, memory, 64, 1);
  std::uint32_t count = 10;
  void *parameters[] = {&memory, &count};
  LaunchConfiguration how{{4, 1, 1}, {32, 1, 1}, 128, stream, nullptr, 0};
  for (int i = 0; i < 2; ++i) CHECK(cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  LaunchAttribute attributes[1] = {};
  attributes[0].id = attribute_cluster;
  attributes[0].value.cluster[0] = attributes[0].value.cluster[1] = attributes[0].value.cluster[2] = 1;
  how.attributes = attributes;
  how.attribute_count = 1;
  CHECK(cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  // What is captured is its graph's; what goes to other streams meanwhile is launched.
  CHECK(cuStreamBeginCapture_v2(stream, 2) == 0);
  for (int i = 0; i < 3; ++i) fill(function, memory, 64, 1, stream);
  fill(function, memory, 64, 1);
  Graph graph;
  GraphExec exec;
  CHECK(cuStreamEndCapture(stream, &graph) == 0 && cuGraphInstantiateWithFlags(&exec, graph, 0) == 0 && cuGraphLaunch(exec, stream) == 0);
  // An event that a launch records says nothing of what it said before.
  const auto event = reinterpret_cast<Event>(&count);
  attributes[0].id = attribute_completion_event;
  attributes[0].value.event = event;
  CHECK(cuEventRecord(event, stream) == 0 && cuLaunchKernelEx(&how, function, parameters, nullptr) == 0);
  CHECK(cuStreamWaitEvent(nullptr, event, 0) == 0);
  step("done");
  fill(function, memory, 64, 1);
  step("told");
}

// Launches until the test ends it, or the supervisor has ended.
void endless() {
  begin();
  const Function function = load("fill");
  DevicePointer memory = 0;
  CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
  std::vector<std::thread> threads;
  std::atomic<bool> end{false};
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&] {
      while (!end) fill(function, memory, 64, 1);
    });
  step("running");
  for (int i = 0; i < 1000; ++i) {
    DevicePointer more = 0;
    CHECK(cuMemAlloc_v2(&more, 500) == 0 && cuMemFree_v2(more) == 0);
    fill(function, memory, 64, 1);
  }
  end = true;
  for (auto &thread : threads) thread.join();
  CHECK(cuMemFree_v2(memory) == 0);
}

void forks() {
  const pid_t child = fork();
  if (child == 0) {
    begin();
    DevicePointer memory = 0;
    CHECK(cuMemAlloc_v2(&memory, 4096) == 0);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  begin();
  const pid_t second = fork();
  if (second == 0) _exit(0);
  CHECK(waitpid(second, &status, 0) == second && status == 0);
  DevicePointer memory = 0;
  CHECK(cuMemAlloc_v2(&memory, 8192) == 0);
  step("done");
}

}  // namespace

int main(int, char **arguments) {
  const std::string what = arguments[1];
  if (what == "events") events();
  if (what == "graphs") graphs();
  if (what == "custody") custody();
  if (what == "counted") counted();
  if (what == "endless") endless();
  if (what == "forks") forks();
}
