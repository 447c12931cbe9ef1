// What the table of contracts makes of calls: places and sizes of outputs, and when a call counts as one that is not described. The answers of the
// libraries' own functions (layouts, descriptors, communicators) are given here.
#include <algorithm>
#include <cstring>
#include <map>

#include "core/test/plain_check.h"
#include "recorder/contracts.h"
#include "recorder/hot.h"

using namespace gcr;

// ---- the libraries' functions that are asked

namespace {

// Attributes by number: their bytes.
using Attributes = std::map<int, std::vector<std::uint8_t>>;

template <class Value>
std::vector<std::uint8_t> of(Value value) {
  std::vector<std::uint8_t> bytes(sizeof(value));
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

int answer(void *object, int which, void *value, std::size_t size, std::size_t *written) {
  const auto &attributes = *static_cast<Attributes *>(object);
  const auto found = attributes.find(which);
  if (found == attributes.end() || found->second.size() > size) return 7;
  std::memcpy(value, found->second.data(), *written = found->second.size());
  return 0;
}

int ranks = 1, nccl_version = 22703;

}  // namespace

extern "C" {
__attribute__((visibility("default"))) int cublasLtMatrixLayoutGetAttribute(void *object, int which, void *value, std::size_t size, std::size_t *written) {
  return answer(object, which, value, size, written);
}
__attribute__((visibility("default"))) int cublasLtMatmulDescGetAttribute(void *object, int which, void *value, std::size_t size, std::size_t *written) {
  return answer(object, which, value, size, written);
}
__attribute__((visibility("default"))) int ncclCommCount(const void *, int *count) {
  *count = ranks;
  return 0;
}
__attribute__((visibility("default"))) int ncclGetVersion(int *version) {
  *version = nccl_version;
  return 0;
}
}

// ---- the table's rows as functions that describe

#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_DESCRIBE(symbol, bytes, parameters, arguments, ...)                                     \
  struct symbol##_row {                                                                             \
    Outputs &out;                                                                                   \
    void operator() parameters {                                                                    \
      [[maybe_unused]] constexpr std::int64_t element = bytes;                                      \
      const auto use = [](const auto &...) {};                                                      \
      use arguments;                                                                                \
      __VA_ARGS__                                                                                   \
    }                                                                                               \
  };
#define GCR_CONTRACT(library, family, symbol, bytes) GCR_EXPAND(GCR_DESCRIBE, symbol, bytes, GCR_##family(int))
#define GCR_CONTRACT_64(library, family, symbol, bytes)                  \
  GCR_EXPAND(GCR_DESCRIBE, symbol, bytes, GCR_##family(int))            \
  GCR_EXPAND(GCR_DESCRIBE, symbol##_64, bytes, GCR_##family(std::int64_t))
namespace rows {
#include "recorder/contracts.def"
}

namespace {

void *at(std::uint64_t address) { return reinterpret_cast<void *>(address); }

struct Answer {
  bool described;
  std::vector<CopyTarget> outputs;
};

// What a call writes: `describe` gets the row to call.
template <class Row, class Describe>
Answer answer_of(const Describe &describe) {
  LibraryCall call("call", LibraryFamily::cublas);
  Outputs out(call, nullptr);
  try {
    Row row{out};
    describe(row);
  } catch (const std::exception &) {
    out.unknown();
  }
  return {LibraryCall::described(this_thread) == &call, call.event(1).outputs};
}
#define ANSWER(symbol, ...) answer_of<rows::symbol##_row>([&](auto &row) { row(__VA_ARGS__); })

bool is(const CopyTarget &one, std::uint64_t address, std::uint64_t width, std::uint64_t height = 1, std::uint64_t pitch = 0, std::uint64_t depth = 1,
        std::uint64_t slice = 0) {
  return one.address == address && one.width == width && one.height == height && one.depth == depth && (height == 1 || one.pitch == pitch) &&
         (depth == 1 || one.slice_pitch == slice);
}

void matrices() {
  void *const handle = at(1), *const none = nullptr;
  auto one = ANSWER(cublasSgemm_v2, handle, 0, 0, 30, 7, 9, none, none, 30, none, 9, none, at(0x1000), 100);
  CHECK(one.described && one.outputs.size() == 1 && is(one.outputs[0], 0x1000, 120, 7, 400));
  // Without a gap between its columns it is one piece.
  one = ANSWER(cublasZgemm_v2, handle, 0, 0, 30, 7, 9, none, none, 30, none, 9, none, at(0x1000), 30);
  CHECK(one.outputs.size() == 1 && is(one.outputs[0], 0x1000, 30 * 7 * 16));
  one = ANSWER(cublasGemmEx, handle, 0, 0, 30, 7, 9, none, none, 14, 30, none, 14, 9, none, at(0x1000), 14, 40, 68, -1);
  CHECK(one.described && is(one.outputs[0], 0x1000, 60, 7, 80));
  // A type of four bits, and one that nobody knows.
  for (const int type : {33, 1000}) CHECK(!(ANSWER(cublasGemmEx, handle, 0, 0, 30, 7, 9, none, none, 14, 30, none, 14, 9, none, at(64), type, 40, 68, -1)).described);
  one = ANSWER(cublasHgemmStridedBatched, handle, 0, 0, 10, 5, 9, none, none, 30, 5, none, 9, 5, none, at(0x1000), 16, 1000, 3);
  CHECK(is(one.outputs[0], 0x1000, 20, 5, 32, 3, 2000));
  one = ANSWER(cublasSgemm_v2_64, handle, 0, 0, std::int64_t{1} << 33, 2, 1, none, none, 1, none, 1, none, at(0x1000), std::int64_t{1} << 34);
  CHECK(is(one.outputs[0], 0x1000, std::uint64_t{1} << 35, 2, std::uint64_t{1} << 36));
  // Nothing to do is nothing written; numbers that make no sense are not described.
  CHECK((ANSWER(cublasSgemm_v2, handle, 0, 0, 0, 7, 9, none, none, 30, none, 9, none, at(64), 100)).outputs.empty());
  CHECK((ANSWER(cublasSgemm_v2, handle, 0, 0, 3, -7, 9, none, none, 30, none, 9, none, at(64), 100)).outputs.empty());
  CHECK(!(ANSWER(cublasSgemm_v2, handle, 0, 0, 3, 7, 9, none, none, 30, none, 9, none, at(64), -100)).described);
  CHECK(!(ANSWER(cublasSgemm_v2_64, handle, 0, 0, 3, std::int64_t{1} << 60, 9, none, none, 30, none, 9, none, at(64), 100)).described);
}

void vectors() {
  void *const handle = at(1), *const none = nullptr;
  CHECK(is((ANSWER(cublasDaxpy_v2, handle, 10, none, none, 1, at(0x1000), 1)).outputs[0], 0x1000, 80));
  for (const int step : {3, -3}) CHECK(is((ANSWER(cublasDaxpy_v2, handle, 10, none, none, 1, at(0x1000), step)).outputs[0], 0x1000, 8, 10, 24));
  CHECK(is((ANSWER(cublasDaxpy_v2, handle, 10, none, none, 1, at(0x1000), 0)).outputs[0], 0x1000, 8));
  // y is as long as op(A) has rows.
  CHECK(is((ANSWER(cublasSgemv_v2, handle, 0, 20, 30, none, none, 20, none, 1, none, at(0x1000), 1)).outputs[0], 0x1000, 80));
  CHECK(is((ANSWER(cublasSgemv_v2, handle, 1, 20, 30, none, none, 20, none, 1, none, at(0x1000), 1)).outputs[0], 0x1000, 120));
  const auto swap = ANSWER(cublasSswap_v2, handle, 5, at(0x1000), 1, at(0x2000), 1);
  CHECK(swap.outputs.size() == 2 && is(swap.outputs[0], 0x1000, 20) && is(swap.outputs[1], 0x2000, 20));
  CHECK(is((ANSWER(cublasSdot_v2, handle, 5, none, 1, none, 1, at(0x3000))).outputs[0], 0x3000, 4));
  const auto rotm = ANSWER(cublasRotmEx, handle, 5, at(0x1000), 2, 1, at(0x2000), 1, -2, none, 0, 0);
  CHECK(rotm.outputs.size() == 2 && is(rotm.outputs[0], 0x1000, 10) && is(rotm.outputs[1], 0x2000, 8, 5, 16));
  CHECK((ANSWER(cublasDrotmg_v2, handle, at(0x1000), at(0x2000), at(0x3000), none, at(0x4000))).outputs.size() == 4);
}

// Matrices of which a half is packed, and bands of them.
void halves() {
  void *const handle = at(1), *const none = nullptr;
  CHECK(is((ANSWER(cublasSspr_v2, handle, 0, 10, none, none, 1, at(0x1000))).outputs[0], 0x1000, 4 * 55));
  CHECK(is((ANSWER(cublasZhpr2_v2, handle, 0, 10, none, none, 1, none, 1, at(0x1000))).outputs[0], 0x1000, 16 * 55));
  CHECK(is((ANSWER(cublasStrttp, handle, 0, 10, none, 12, at(0x1000))).outputs[0], 0x1000, 4 * 55));
  CHECK(is((ANSWER(cublasStpttr, handle, 0, 10, none, at(0x1000), 12)).outputs[0], 0x1000, 40, 10, 48));
  CHECK((ANSWER(cublasSspr_v2, handle, 0, 0, none, none, 1, at(0x1000))).outputs.empty());
  CHECK((ANSWER(cublasSspr_v2, handle, 0, -3, none, none, 1, at(0x1000))).outputs.empty());
  CHECK(!(ANSWER(cublasSspr_v2_64, handle, 0, std::int64_t{1} << 40, none, none, 1, at(0x1000))).described);
  CHECK(is((ANSWER(cublasDsbmv_v2, handle, 0, 10, 2, none, none, 3, none, 1, none, at(0x1000), 1)).outputs[0], 0x1000, 80));
  CHECK(is((ANSWER(cublasCtpsv_v2, handle, 0, 0, 0, 10, none, at(0x1000), 1)).outputs[0], 0x1000, 80));
  CHECK(is((ANSWER(cublasCherkEx, handle, 0, 0, 10, 5, none, none, 4, 12, none, at(0x1000), 4, 12)).outputs[0], 0x1000, 80, 10, 96));
}

void workspaces() {
  void *const handle = at(1), *const other = at(2), *const none = nullptr;
  const auto outputs = [&](void *of) { return (ANSWER(cublasSscal_v2, of, 5, none, at(0x1000), 1)).outputs.size(); };
  CHECK(!(ANSWER(cublasSetWorkspace_v2, handle, at(0x9000), 4096)).described);
  CHECK(outputs(handle) == 2 && outputs(other) == 1);
  const auto one = ANSWER(cublasSscal_v2, handle, 5, none, at(0x1000), 1);
  CHECK(is(one.outputs[0], 0x9000, 4096));
  ANSWER(cublasSetStream_v2, handle, none);
  CHECK(outputs(handle) == 1);
  // How many bits an emulated product took; another stream has nothing to do with it.
  CHECK(!(ANSWER(cublasSetFixedPointEmulationMantissaBitCountPointer, handle, at(0xa000))).described);
  ANSWER(cublasSetStream_v2, handle, none);
  CHECK(is((ANSWER(cublasSscal_v2, handle, 5, none, at(0x1000), 1)).outputs[0], 0xa000, 4));
  ANSWER(cublasSetWorkspace_v2, handle, at(0x9000), 4096);
  CHECK(outputs(handle) == 3);
  ANSWER(cublasSetFixedPointEmulationMantissaBitCountPointer, handle, none);
  CHECK(outputs(handle) == 2);
  ANSWER(cublasSetFixedPointEmulationMantissaBitCountPointer, handle, at(0xa000));
  ANSWER(cublasDestroy_v2, handle);
  CHECK(outputs(handle) == 1);
}

Attributes layout(int type, int order, std::uint64_t rows, std::uint64_t columns, std::int64_t leading, int batch = 1, std::int64_t stride = 0) {
  return {{0, of(type)}, {1, of(order)}, {2, of(rows)}, {3, of(columns)}, {4, of(leading)}, {5, of(batch)}, {6, of(stride)}, {7, of(std::int64_t{0})}};
}

Answer product(Attributes description, Attributes result) {
  void *const none = nullptr;
  return ANSWER(cublasLtMatmul, none, &description, none, none, none, none, none, none, none, none, at(0x10000), &result, none, at(0x9000), 512, none);
}

void light() {
  const Attributes plain{{7, of(1u)}};
  auto one = product(plain, layout(2, 0, 30, 7, 100, 3, 5000));
  CHECK(one.described && one.outputs.size() == 2 && is(one.outputs[0], 0x9000, 512) && is(one.outputs[1], 0x10000, 60, 7, 200, 3, 10000));
  // By rows.
  CHECK(is(product(plain, layout(0, 1, 30, 7, 10)).outputs[1], 0x10000, 28, 30, 40));
  // Tiled orders, planes, batches by pointers, types of four bits.
  for (const int order : {2, 3, 4, -1}) CHECK(!product(plain, layout(0, order, 30, 7, 100)).described);
  CHECK(!product(plain, layout(33, 0, 30, 7, 100)).described);
  Attributes planes = layout(6, 0, 30, 7, 100);
  planes[7] = of(std::int64_t{4096});
  CHECK(!product(plain, planes).described);
  for (const auto &mode : {of(1), of(std::int64_t{1}), of(std::uint8_t{1})}) {
    Attributes pointers = layout(0, 0, 30, 7, 100);
    pointers[8] = mode;
    CHECK(!product(plain, pointers).described);
  }
  CHECK(!product({}, layout(0, 0, 30, 7, 100)).described);
  CHECK(!product(plain, {}).described);
}

void epilogues() {
  const Attributes result = layout(2, 0, 30, 7, 100);
  // A bit an element.
  auto one = product({{7, of(130u)}, {11, of(at(0x20000))}, {12, of(std::int64_t{128})}}, result);
  CHECK(one.described && one.outputs.size() == 3 && is(one.outputs[2], 0x20000, 4, 7, 16));
  // A matrix of the result's type, or its own.
  one = product({{7, of(164u)}, {11, of(at(0x20000))}, {12, of(std::int64_t{32})}}, result);
  CHECK(one.described && is(one.outputs[2], 0x20000, 60, 7, 64));
  one = product({{7, of(160u)}, {11, of(at(0x20000))}, {12, of(std::int64_t{32})}, {22, of(0)}}, result);
  CHECK(one.described && is(one.outputs[2], 0x20000, 120, 7, 128));
  // A bias gradient, at most as long as the longer side and of four bytes at least.
  for (const unsigned epilogue : {152u, 208u, 256u, 512u}) {
    one = product({{7, of(epilogue)}, {8, of(at(0x30000))}}, result);
    CHECK(one.described && one.outputs.size() == 3 && is(one.outputs[2], 0x30000, 120));
  }
  // Largest values.
  one = product({{7, of(1u)}, {21, of(at(0x40000))}, {24, of(at(0x50000))}}, result);
  CHECK(one.described && one.outputs.size() == 4 && is(one.outputs[2], 0x40000, 4) && is(one.outputs[3], 0x50000, 4));
  // What nobody knows, scales that are written, counters that are written, emulation that may tell what it did.
  CHECK(!product({{7, of(1024u)}}, result).described);
  for (const int which : {30, 36, 38}) CHECK(!product({{7, of(1u)}, {which, of(at(0x40000))}}, result).described);
}

void collectives() {
  void *const none = nullptr, *const communicator = at(5);
  ranks = 4;
  CHECK(is((ANSWER(ncclAllReduce, none, at(0x1000), 100, 6, 0, communicator, none)).outputs[0], 0x1000, 200));
  CHECK(is((ANSWER(ncclAllGather, none, at(0x1000), 100, 7, communicator, none)).outputs[0], 0x1000, 1600));
  CHECK((ANSWER(ncclSend, none, 100, 7, 1, communicator, none)).outputs.empty());
  CHECK(!(ANSWER(ncclRecv, at(0x1000), 100, 99, 1, communicator, none)).described);

  CHECK(!(ANSWER(ncclGroupStart)).described);
  ANSWER(ncclRecv, at(0x1000), 10, 7, 1, communicator, none);
  ANSWER(ncclGroupStart);
  ANSWER(ncclBroadcast, none, at(0x2000), 10, 7, 1, communicator, none);
  ANSWER(ncclGroupEnd);
  auto end = ANSWER(ncclGroupEnd);
  CHECK(end.described && end.outputs.size() == 2 && is(end.outputs[0], 0x1000, 40) && is(end.outputs[1], 0x2000, 40));

  // A member that is not described; the next group begins anew.
  ANSWER(ncclGroupStart);
  ANSWER(ncclRecv, at(0x1000), 10, 99, 1, communicator, none);
  CHECK(!(ANSWER(ncclGroupEnd)).described);
  ANSWER(ncclGroupStart);
  end = ANSWER(ncclGroupEnd);
  CHECK(end.described && end.outputs.empty());
  // Without a beginning, and of a library that may have more calls than the table.
  CHECK(!(ANSWER(ncclGroupEnd)).described);
  nccl_version = 99999;
  ANSWER(ncclGroupStart);
  CHECK(!(ANSWER(ncclGroupEnd)).described);
}

void nesting() {
  CHECK(LibraryCall::described(this_thread) == nullptr);
  LibraryCall outer("outer", LibraryFamily::cublas);
  Outputs(outer, nullptr).bytes(at(0x1000), 16);
  {
    LibraryCall inner("inner", LibraryFamily::cublas);
    Outputs(inner, nullptr).bytes(at(0x2000), 16);
    CHECK(LibraryCall::described(this_thread) == &inner && inner.event(1).outputs.size() == 2);
    Outputs(inner, nullptr).unknown();
    CHECK(LibraryCall::described(this_thread) == &outer && outer.event(1).outputs.size() == 1);
  }
  CHECK(LibraryCall::described(this_thread) == &outer);
  Outputs(outer, nullptr).unknown();
  CHECK(LibraryCall::described(this_thread) == nullptr);
}

// While launches are not told nobody looks at what calls write; one that goes on when they are told again has launches without a call.
void untold() {
  void *const handle = at(1), *const none = nullptr;
  const auto product = [&] { return ANSWER(cublasSgemm_v2, handle, 0, 0, 30, 7, 9, none, none, 30, none, 9, none, at(0x1000), 100); };
  ANSWER(cublasSetWorkspace_v2, handle, at(0x9000), 64);
  hot.quiet = true;
  CHECK(!product().described && product().outputs.empty());
  ANSWER(cublasSetWorkspace_v2, handle, at(0xa000), 64);
  // What is captured is told with its graph.
  hot.captures = 1;
  CHECK(product().described && product().outputs.size() == 2);
  hot.captures = 0;
  {
    LibraryCall outer("outer", LibraryFamily::cublas);
    hot.quiet = false;
    LibraryCall inner("inner", LibraryFamily::cublas);
    Outputs(inner, nullptr).bytes(at(0x2000), 16);
    CHECK(LibraryCall::described(this_thread) == nullptr);
  }
  {
    LibraryCall outer("outer", LibraryFamily::cublas);
    Outputs(outer, nullptr).bytes(at(0x1000), 16);
    hot.quiet = true;
    LibraryCall inner("inner", LibraryFamily::cublas);
    hot.quiet = false;
    CHECK(LibraryCall::described(this_thread) == nullptr);
  }
  // What handles were given meanwhile is known.
  const Answer after = product();
  CHECK(after.described && after.outputs.size() == 2);
  CHECK(std::any_of(after.outputs.begin(), after.outputs.end(), [](const CopyTarget &one) { return is(one, 0xa000, 64); }));
  ANSWER(cublasSetWorkspace_v2, handle, none, 0);
}

}  // namespace

int main() {
  matrices();
  vectors();
  halves();
  workspaces();
  light();
  epilogues();
  collectives();
  nesting();
  untold();
}
