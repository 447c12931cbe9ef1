// The entry points of programs that are compiled for per-thread default streams: the same functions, with another meaning of
// stream 0.
#include "driver.h"

namespace gcr::sim {
namespace {

class PerThreadDefault {
 public:
  PerThreadDefault() : before_(thread_state().per_thread_default) { thread_state().per_thread_default = true; }
  ~PerThreadDefault() { thread_state().per_thread_default = before_; }

 private:
  const bool before_;
};

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

#define GCR_PER_THREAD(name, suffix, parameters, arguments) \
  GCR_SIM_API name parameters;                              \
  GCR_SIM_API name##suffix parameters {                     \
    const PerThreadDefault scope;                           \
    return name arguments;                                  \
  }

GCR_PER_THREAD(cuEventRecord, _ptsz, (Event *event, void *stream), (event, stream))
GCR_PER_THREAD(cuEventRecordWithFlags, _ptsz, (Event *event, void *stream, unsigned flags), (event, stream, flags))
GCR_PER_THREAD(cuGraphInstantiateWithParams, _ptsz,
               (void **exec, void *graph, GraphInstantiateParameters *given),
               (exec, graph, given))
GCR_PER_THREAD(cuGraphLaunch, _ptsz, (void *exec, void *handle), (exec, handle))
GCR_PER_THREAD(cuGraphUpload, _ptsz, (void *exec, void *stream), (exec, stream))
GCR_PER_THREAD(cuLaunchCooperativeKernel, _ptsz,
               (Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters),
               (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters))
GCR_PER_THREAD(cuLaunchHostFunc, _ptsz, (void *stream, HostFunction function, void *data), (stream, function, data))
GCR_PER_THREAD(cuLaunchKernel, _ptsz,
               (Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters, void **extra),
               (function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream, parameters, extra))
GCR_PER_THREAD(cuLaunchKernelEx, _ptsz,
               (const LaunchConfiguration *configuration, Function *function, void **parameters, void **extra),
               (configuration, function, parameters, extra))
GCR_PER_THREAD(cuMemAllocAsync, _ptsz,
               (DevicePointer *address, std::size_t size, void *stream),
               (address, size, stream))
GCR_PER_THREAD(cuMemAllocFromPoolAsync, _ptsz,
               (DevicePointer *address, std::size_t size, Pool *pool, void *stream),
               (address, size, pool, stream))
GCR_PER_THREAD(cuMemFreeAsync, _ptsz, (DevicePointer address, void *stream_handle), (address, stream_handle))
GCR_PER_THREAD(cuMemcpy, _ptds, (DevicePointer to, DevicePointer from, std::size_t size), (to, from, size))
GCR_PER_THREAD(cuMemcpy2DAsync_v2, _ptsz, (const Copy2D *given, void *stream), (given, stream))
GCR_PER_THREAD(cuMemcpy2DUnaligned_v2, _ptds, (const Copy2D *given), (given))
GCR_PER_THREAD(cuMemcpy2D_v2, _ptds, (const Copy2D *given), (given))
GCR_PER_THREAD(cuMemcpy3DAsync_v2, _ptsz, (const Copy3D *given, void *stream), (given, stream))
GCR_PER_THREAD(cuMemcpy3DPeer, _ptds, (const Copy3D *given), (given))
GCR_PER_THREAD(cuMemcpy3DPeerAsync, _ptsz, (const Copy3D *given, void *stream), (given, stream))
GCR_PER_THREAD(cuMemcpy3D_v2, _ptds, (const Copy3D *given), (given))
GCR_PER_THREAD(cuMemcpyAsync, _ptsz,
               (DevicePointer to, DevicePointer from, std::size_t size, void *stream),
               (to, from, size, stream))
GCR_PER_THREAD(cuMemcpyDtoDAsync_v2, _ptsz,
               (DevicePointer to, DevicePointer from, std::size_t size, void *stream),
               (to, from, size, stream))
GCR_PER_THREAD(cuMemcpyDtoD_v2, _ptds, (DevicePointer to, DevicePointer from, std::size_t size), (to, from, size))
GCR_PER_THREAD(cuMemcpyDtoHAsync_v2, _ptsz,
               (void *to, DevicePointer from, std::size_t size, void *stream),
               (to, from, size, stream))
GCR_PER_THREAD(cuMemcpyDtoH_v2, _ptds, (void *to, DevicePointer from, std::size_t size), (to, from, size))
GCR_PER_THREAD(cuMemcpyHtoDAsync_v2, _ptsz,
               (DevicePointer to, const void *from, std::size_t size, void *stream),
               (to, from, size, stream))
GCR_PER_THREAD(cuMemcpyHtoD_v2, _ptds, (DevicePointer to, const void *from, std::size_t size), (to, from, size))
GCR_PER_THREAD(cuMemcpyPeer, _ptds,
               (DevicePointer to, void *unnamed1, DevicePointer from, void *unnamed3, std::size_t size),
               (to, unnamed1, from, unnamed3, size))
GCR_PER_THREAD(cuMemcpyPeerAsync, _ptsz,
               (DevicePointer to, void *unnamed1, DevicePointer from, void *unnamed3, std::size_t size, void *stream),
               (to, unnamed1, from, unnamed3, size, stream))
GCR_PER_THREAD(cuMemsetD16Async, _ptsz,
               (DevicePointer to, unsigned short value, std::size_t count, void *stream),
               (to, value, count, stream))
GCR_PER_THREAD(cuMemsetD16_v2, _ptds, (DevicePointer to, unsigned short value, std::size_t count), (to, value, count))
GCR_PER_THREAD(cuMemsetD2D16Async, _ptsz,
               (DevicePointer to, std::size_t pitch, unsigned short value, std::size_t width, std::size_t height,
                void *stream),
               (to, pitch, value, width, height, stream))
GCR_PER_THREAD(cuMemsetD2D16_v2, _ptds,
               (DevicePointer to, std::size_t pitch, unsigned short value, std::size_t width, std::size_t height),
               (to, pitch, value, width, height))
GCR_PER_THREAD(cuMemsetD2D32Async, _ptsz,
               (DevicePointer to, std::size_t pitch, unsigned value, std::size_t width, std::size_t height,
                void *stream),
               (to, pitch, value, width, height, stream))
GCR_PER_THREAD(cuMemsetD2D32_v2, _ptds,
               (DevicePointer to, std::size_t pitch, unsigned value, std::size_t width, std::size_t height),
               (to, pitch, value, width, height))
GCR_PER_THREAD(cuMemsetD2D8Async, _ptsz,
               (DevicePointer to, std::size_t pitch, unsigned char value, std::size_t width, std::size_t height,
                void *stream),
               (to, pitch, value, width, height, stream))
GCR_PER_THREAD(cuMemsetD2D8_v2, _ptds,
               (DevicePointer to, std::size_t pitch, unsigned char value, std::size_t width, std::size_t height),
               (to, pitch, value, width, height))
GCR_PER_THREAD(cuMemsetD32Async, _ptsz,
               (DevicePointer to, unsigned value, std::size_t count, void *stream),
               (to, value, count, stream))
GCR_PER_THREAD(cuMemsetD32_v2, _ptds, (DevicePointer to, unsigned value, std::size_t count), (to, value, count))
GCR_PER_THREAD(cuMemsetD8Async, _ptsz,
               (DevicePointer to, unsigned char value, std::size_t count, void *stream),
               (to, value, count, stream))
GCR_PER_THREAD(cuMemsetD8_v2, _ptds, (DevicePointer to, unsigned char value, std::size_t count), (to, value, count))
GCR_PER_THREAD(cuStreamAddCallback, _ptsz,
               (void *stream, StreamCallback callback, void *data, unsigned flags),
               (stream, callback, data, flags))
GCR_PER_THREAD(cuStreamBeginCapture_v2, _ptsz, (void *handle, int mode), (handle, mode))
GCR_PER_THREAD(cuStreamEndCapture, _ptsz, (void *handle, void **graph), (handle, graph))
GCR_PER_THREAD(cuStreamGetCaptureInfo_v3, _ptsz,
               (void *handle, int *status, unsigned long long *number, void **graph, void ***after, EdgeData **edges,
                std::size_t *count),
               (handle, status, number, graph, after, edges, count))
GCR_PER_THREAD(cuStreamGetCtx, _ptsz, (void *stream, void **context), (stream, context))
GCR_PER_THREAD(cuStreamGetDevice, _ptsz, (void *stream, Device *device), (stream, device))
GCR_PER_THREAD(cuStreamGetFlags, _ptsz, (void *stream, unsigned *flags), (stream, flags))
GCR_PER_THREAD(cuStreamGetId, _ptsz, (void *stream, unsigned long long *number), (stream, number))
GCR_PER_THREAD(cuStreamGetPriority, _ptsz, (void *stream, int *priority), (stream, priority))
GCR_PER_THREAD(cuStreamIsCapturing, _ptsz, (void *handle, int *status), (handle, status))
GCR_PER_THREAD(cuStreamQuery, _ptsz, (void *handle), (handle))
GCR_PER_THREAD(cuStreamSynchronize, _ptsz, (void *handle), (handle))
GCR_PER_THREAD(cuStreamWaitEvent, _ptsz, (void *stream, Event *event, unsigned flags), (stream, event, flags))
GCR_PER_THREAD(cuStreamWaitValue32_v2, _ptsz,
               (void *stream, DevicePointer address, std::uint32_t value, unsigned flags),
               (stream, address, value, flags))
GCR_PER_THREAD(cuStreamWaitValue64_v2, _ptsz,
               (void *stream, DevicePointer address, std::uint64_t value, unsigned flags),
               (stream, address, value, flags))
GCR_PER_THREAD(cuStreamWriteValue32_v2, _ptsz,
               (void *stream, DevicePointer address, std::uint32_t value, unsigned unnamed3),
               (stream, address, value, unnamed3))
GCR_PER_THREAD(cuStreamWriteValue64_v2, _ptsz,
               (void *stream, DevicePointer address, std::uint64_t value, unsigned unnamed3),
               (stream, address, value, unnamed3))
