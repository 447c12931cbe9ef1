// A stand-in for cuBLAS whose product launches one kernel, for call_overhead.
#include "driver/types.h"

using Launch = gcr::Result(gcr::Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, gcr::Stream, void **, void **);
using Product = int(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int, const void *, void *, int, int, int, int);

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED Launch *bench_launch;
EXPORTED gcr::Function bench_function;
Launch *bench_launch = nullptr;
gcr::Function bench_function = nullptr;

static int product(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int, const void *, void *c, int, int leading,
                   int, int) {
  void *parameters[] = {&c, &leading};
  return bench_launch(bench_function, 8, 8, 1, 128, 1, 1, 0, nullptr, parameters, nullptr);
}

EXPORTED int cublasGemmEx(void *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int at, int lda, const void *b, int bt,
                          int ldb, const void *beta, void *c, int type, int ldc, int compute, int algorithm) {
  return product(handle, ta, tb, m, n, k, alpha, a, at, lda, b, bt, ldb, beta, c, type, ldc, compute, algorithm);
}
EXPORTED int cublasSetWorkspace_v2(void *, void *, std::size_t) { return 0; }
// What a product costs without a recorder, in a process that has one.
EXPORTED Product *bench_own_product() { return product; }
