// See contracts.h. The exported wrappers are expanded from contracts.def; a wrapper without a recorder costs looking up whom its caller means.
#include "recorder/contracts.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>

#include "recorder/libraries.h"
#include "recorder/recorder.h"
#include "recorder/table.h"

#define GCR_EXPORT __attribute__((visibility("default")))

namespace gcr {
namespace {

// What a wrapper answers when its library cannot be found: the library's own "not initialized", "internal error".
constexpr int blas_missing = 1, lt_missing = 1, nccl_missing = 3;
constexpr const char *blas_stem = "libcublas", *lt_stem = "libcublasLt", *nccl_stem = "libnccl";
constexpr LibraryFamily blas_family = LibraryFamily::cublas, lt_family = LibraryFamily::cublas, nccl_family = LibraryFamily::nccl;

// Group calls gather outputs of whatever is called between them, so all that can be called must be in the table: up to this version it is.
constexpr int nccl_versions_end = 22900;

// ---- finding a library's function

struct Function {
  const LoadedLibrary *library = nullptr;
  void *code = nullptr;
  void *handle = nullptr;  // the library's
  bool own_runtime = false;
};

// The last answer; another library's replaces it and the old one stays for threads that look at it.
using Slot = std::atomic<const Function *>;

// Whom this thread's latest callers meant. That never changes while the caller is loaded: it was linked with what was there before it, and for
// one that was linked with none it is the first that was loaded. Asking the dynamic linker whether anything is new instead would walk over
// everything that is loaded, some hundred libraries in PyTorch, at every call: microseconds, when others have used the processor's caches.
struct alignas(64) Meant {
  const Slot *slot = nullptr;
  const void *caller = nullptr;
  std::uint64_t unloads = 0;
  Function function;
};
constexpr unsigned meant_callers = 64;
thread_local constinit std::array<Meant, meant_callers> meant __attribute__((tls_model("initial-exec")));

[[gnu::hot]] const Function *find_function(Slot &slot, const char *stem, const char *symbol, const void *caller) {
  // From before the search, so that what is unloaded during it is seen.
  const std::uint64_t unloads = LoadedLibraries::unloads();
  Meant &last = meant[cache_place<meant_callers>(reinterpret_cast<const void *>(reinterpret_cast<std::uintptr_t>(caller) ^ reinterpret_cast<std::uintptr_t>(&slot)))];
  if (last.slot == &slot && last.caller == caller && last.unloads == unloads) return &last.function;
  const LoadedLibrary *library = LoadedLibraries::all().find(stem, caller);
  if (!library) return nullptr;
  const Function *known = slot.load(std::memory_order_acquire);
  if (!known || known->library != library) {
    void *code = real_symbol(library->handle, symbol);
    if (!code) return nullptr;
    known = new Function{library, code, library->handle, library->own_runtime};
    slot.store(known, std::memory_order_release);
  }
  last = {&slot, caller, unloads, *known};
  return &last.function;
}

// ---- state of libraries

// What programs gave cuBLAS handles to write to beside outputs. PyTorch gives a handle its stream and its workspace before every product, so each thread
// remembers where what was given to a handle is kept; that stays for as long as the process lives.
class Given {
 public:
  enum What { workspace, count, kinds };

  void set(void *handle, What what, CopyTarget place) {
    Entry &entry = entry_of(handle);
    const std::lock_guard lock(entry.mutex);
    entry.places[what] = place;
  }
  void forget(void *handle, What what) { set(handle, what, {}); }
  void forget(void *handle) {
    Entry &entry = entry_of(handle);
    const std::lock_guard lock(entry.mutex);
    entry.places = {};
  }
  void each_of(void *handle, const auto &use) {
    Entry &entry = entry_of(handle);
    const std::lock_guard lock(entry.mutex);
    for (const CopyTarget &place : entry.places)
      if (place.address) use(place);
  }

 private:
  struct Entry {
    std::mutex mutex;
    std::array<CopyTarget, kinds> places;  // those without an address were not given
  };
  struct Known {
    void *handle;
    Entry *entry;
  };

  Entry &entry_of(void *handle) {
    constexpr unsigned cached = 8;
    thread_local constinit std::array<Known, cached> known __attribute__((tls_model("initial-exec"))) = {};
    Known &last = known[cache_place<cached>(handle)];
    if (last.entry && last.handle == handle) return *last.entry;
    const std::lock_guard lock(mutex_);
    last = {handle, &entries_[handle]};
    return *last.entry;
  }

  std::mutex mutex_;
  std::map<void *, Entry> entries_;
};

Given &given() {
  static Given *const one = new Given;  // lives as long as the process
  return *one;
}

// What was called since this thread's outermost ncclGroupStart.
struct Group {
  int depth = 0;
  bool described = true;
  std::vector<CopyTarget> outputs;
};

Group &group() {
  thread_local Group one;
  return one;
}

// ---- numbers of the libraries' headers

// cudaDataType
std::int64_t bytes_of_data_type(int type) {
  switch (type) {
    case 0: case 10: case 12: case 6: case 15: case 21: case 23: return 4;
    case 1: case 24: case 26: case 4: case 11: case 13: return 8;
    case 2: case 14: case 20: case 22: case 7: case 9: return 2;
    case 3: case 8: case 28: case 29: case 30: return 1;
    case 5: case 25: case 27: return 16;
    default: return 0;
  }
}

// ncclDataType_t
std::size_t bytes_of_nccl_type(int type) {
  constexpr std::size_t bytes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2, 1, 1};
  return type >= 0 && type < static_cast<int>(std::size(bytes)) ? bytes[type] : 0;
}

constexpr int layout_type = 0, layout_order = 1, layout_rows = 2, layout_columns = 3, layout_leading = 4, layout_batch = 5, layout_stride = 6,
              layout_plane = 7, layout_batch_mode = 8;
constexpr int order_column = 0, order_row = 1;
constexpr int matmul_epilogue = 7, matmul_bias = 8, matmul_bias_stride = 10, matmul_aux = 11, matmul_aux_leading = 12, matmul_aux_stride = 13,
              matmul_amax_d = 21, matmul_aux_type = 22, matmul_aux_amax = 24, matmul_bias_type = 26, matmul_counters_out = 30,
              matmul_d_out_scale = 36, matmul_emulation = 38;
constexpr std::uint32_t epilogue_relu_aux = 130, epilogue_relu_aux_bias = 134, epilogue_gelu_aux = 160, epilogue_gelu_aux_bias = 164,
                        epilogue_drelu_bias = 152, epilogue_dgelu_bias = 208, epilogue_bias_a = 256, epilogue_bias_b = 512;
// Those that write D alone: default, relu, bias, relu and bias, gelu, gelu and bias, and the gradients of relu and gelu, which read what another wrote.
constexpr std::uint32_t plain_epilogues[] = {1, 2, 4, 6, 32, 36, 136, 192};

using GetAttribute = int (*)(void *, int, void *, std::size_t, std::size_t *);

// A library's function, remembered in `known` with the library.
void *known_symbol(std::pair<void *, void *> &known, void *library, const char *name) {
  if (!known.second || known.first != library) known = {library, real_symbol(library, name)};
  return known.second;
}

template <class Value>
Value attribute(GetAttribute get, void *object, int which, Value otherwise) {
  Value value{};
  std::size_t written = 0;
  return get(object, which, &value, sizeof(value), &written) == 0 && written == sizeof(value) ? value : otherwise;
}

// Whether an attribute that older libraries do not have is absent or zero, of whatever size it is.
bool absent_or_zero(GetAttribute get, void *object, int which) {
  for (const std::size_t size : {4, 8, 1, 2}) {
    std::uint64_t value = 0;
    std::size_t written = 0;
    if (get(object, which, &value, size, &written) == 0) return value == 0;
  }
  return true;
}

}  // namespace

// ---- calls

LibraryCall::LibraryCall(std::string_view name, LibraryFamily family)
    : name_(name),
      family_(family),
      outer_(this_thread.library_call),
      unseen_(hot.passes_launches()) {
  this_thread.library_call = this;
}

LibraryCall::~LibraryCall() { this_thread.library_call = outer_; }

LibraryCall *LibraryCall::described(const ThreadState &thread) {
  LibraryCall *innermost = nullptr;
  for (LibraryCall *call = thread.library_call; call; call = call->outer_) {
    if (call->unseen_) return nullptr;
    if (!innermost && call->described_) innermost = call;
  }
  return innermost;
}

CallEvent LibraryCall::event(std::uint32_t number) const {
  CallEvent event;
  event.number = number;
  event.family = static_cast<std::uint32_t>(family_);
  event.name = name_;
  for (const LibraryCall *one = this; one; one = one->outer_)
    if (one->described_) one->outputs_.append_to(event.outputs);
  return event;
}

std::uint32_t LibraryCall::tell(Emitter &emitter, const ThreadState &thread) {
  const std::uint32_t number = thread.slot->number;
  if (!told_) {
    const auto together = outputs_.together();
    if (together && !outer_)
      told_ = emitter.write(BasicCallEvent<std::span<CopyTarget>>{number, static_cast<std::uint32_t>(family_), *together, name_});
    else
      told_ = emitter.write(event(number));
  }
  return told_ ? number : 0;
}

// ---- outputs

void Outputs::add(const CopyTarget &target) {
  // Beyond all addresses nothing is written, and the supervisor would take the event for damaged.
  const auto limit = static_cast<unsigned __int128>(1) << 48;
  const unsigned __int128 end = static_cast<unsigned __int128>(target.address) + static_cast<unsigned __int128>(target.slice_pitch) * (target.depth - 1) +
                                static_cast<unsigned __int128>(target.pitch) * (target.height - 1) + target.width;
  if (end > limit || target.slice_pitch >= limit || target.pitch >= limit) return unknown();
  call_.outputs_.push_back(target);
}

void Outputs::bytes(const void *place, std::size_t count) {
  if (place && count) add({reinterpret_cast<std::uint64_t>(place), count, count, 1, 1, 0});
}

// A negative distance goes through the same elements from their end.
void Outputs::vector(const void *place, std::int64_t element, std::int64_t n, std::int64_t step, std::int64_t stride, std::int64_t batch) {
  const std::int64_t distance = step < 0 ? -step : step;
  // With distance 0 all elements are one.
  if (distance <= 1) return matrix(place, element, distance == 0 && n > 0 ? 1 : n, 1, n, stride, batch);
  matrix(place, element, 1, n, distance, stride, batch);
}

void Outputs::matrix(const void *place, std::int64_t element, std::int64_t rows, std::int64_t columns, std::int64_t leading, std::int64_t stride,
                     std::int64_t batch) {
  if (call_.unseen_) return;
  constexpr std::int64_t most = std::int64_t{1} << 40;
  if (!place || rows <= 0 || columns <= 0 || batch <= 0) return;
  if (element <= 0 || leading < 0 || stride < 0 || rows > most || leading > most || stride > most) return unknown();
  CopyTarget target;
  target.address = reinterpret_cast<std::uint64_t>(place);
  target.width = static_cast<std::uint64_t>(rows * element);
  target.height = static_cast<std::uint64_t>(columns);
  target.pitch = static_cast<std::uint64_t>(columns > 1 ? leading * element : rows * element);
  target.depth = static_cast<std::uint64_t>(batch);
  target.slice_pitch = static_cast<std::uint64_t>(batch > 1 ? stride * element : 0);
  // Rows without gaps are one.
  if (target.pitch == target.width && target.width * target.height < (std::uint64_t{1} << 46)) {
    target.width *= target.height;
    target.pitch = target.width;
    target.height = 1;
  }
  add(target);
}

void Outputs::triangle(const void *place, std::int64_t element, std::int64_t n) {
  if (n > std::int64_t{1} << 20) return unknown();
  matrix(place, element, n * (n + 1) / 2, n > 0 ? 1 : 0, 0);
}

std::int64_t Outputs::element(int type) {
  const std::int64_t bytes = bytes_of_data_type(type);
  if (bytes == 0) unknown();
  return bytes;
}

void Outputs::workspace(void *handle) {
  if (call_.unseen_) return;
  given().each_of(handle, [&](const CopyTarget &place) { add(place); });
}

void Outputs::give(void *handle, void *place, std::size_t size) {
  if (place && size) given().set(handle, Given::workspace, {reinterpret_cast<std::uint64_t>(place), size, size, 1, 1, 0});
  else given().forget(handle, Given::workspace);
}

void Outputs::give_count(void *handle, void *place) {
  if (place) given().set(handle, Given::count, {reinterpret_cast<std::uint64_t>(place), sizeof(int), sizeof(int), 1, 1, 0});
  else given().forget(handle, Given::count);
}

void Outputs::forget(void *handle) { given().forget(handle, Given::workspace); }
void Outputs::destroy(void *handle) { given().forget(handle); }

struct Outputs::Layout {
  std::int64_t element = 0, rows = 0, columns = 0, leading = 0, stride = 0, batch = 1;
  std::int32_t type = -1;
  bool by_row = false;
};

bool Outputs::layout_of(void *layout, Layout &into) {
  static thread_local std::pair<void *, void *> known;
  auto *get = reinterpret_cast<GetAttribute>(known_symbol(known, library_, "cublasLtMatrixLayoutGetAttribute"));
  if (!get || !layout) return false;
  const auto order = attribute<std::int32_t>(get, layout, layout_order, -1);
  into.type = attribute<std::int32_t>(get, layout, layout_type, -1);
  into.rows = static_cast<std::int64_t>(attribute<std::uint64_t>(get, layout, layout_rows, 0));
  into.columns = static_cast<std::int64_t>(attribute<std::uint64_t>(get, layout, layout_columns, 0));
  into.leading = attribute<std::int64_t>(get, layout, layout_leading, -1);
  into.batch = attribute<std::int32_t>(get, layout, layout_batch, -1);
  into.stride = attribute<std::int64_t>(get, layout, layout_stride, -1);
  into.element = bytes_of_data_type(into.type);
  into.by_row = order == order_row;
  // Tiled orders, planes of complex numbers, and batches given by pointers are not described. Older libraries know only batches with strides.
  return (order == order_column || order == order_row) && into.rows > 0 && into.columns > 0 && into.leading >= 0 && into.batch >= 1 &&
         into.stride >= 0 && into.element > 0 && absent_or_zero(get, layout, layout_plane) &&
         absent_or_zero(get, layout, layout_batch_mode);
}

void Outputs::lt_matrix(const void *place, void *layout) {
  if (call_.unseen_) return;
  Layout of;
  if (!layout_of(layout, of)) return unknown();
  matrix(place, of.element, of.by_row ? of.columns : of.rows, of.by_row ? of.rows : of.columns, of.leading, of.stride, of.batch);
}

// What a matrix product writes beside its result (3.4: cublasLtEpilogue_t, cublasLtMatmulDescAttributes_t).
void Outputs::lt_epilogue(void *description, void *layout) {
  if (call_.unseen_) return;
  static thread_local std::pair<void *, void *> known;
  auto *get = reinterpret_cast<GetAttribute>(known_symbol(known, library_, "cublasLtMatmulDescGetAttribute"));
  Layout of;
  if (!get || !description || !layout_of(layout, of)) return unknown();
  const auto pointer = [&](int which) { return attribute<void *>(get, description, which, nullptr); };
  for (const int more : {matmul_counters_out, matmul_d_out_scale, matmul_emulation})
    if (!absent_or_zero(get, description, more)) return unknown();
  for (const int amax : {matmul_amax_d, matmul_aux_amax}) bytes(pointer(amax), 4);
  const auto epilogue = attribute<std::uint32_t>(get, description, matmul_epilogue, 0);
  if (std::find(std::begin(plain_epilogues), std::end(plain_epilogues), epilogue) != std::end(plain_epilogues)) return;
  const auto aux_leading = attribute<std::int64_t>(get, description, matmul_aux_leading, -1);
  switch (epilogue) {
    case epilogue_relu_aux:
    case epilogue_relu_aux_bias:
      // A bit an element; the leading dimension counts bits. How batches lie is not said.
      if (of.batch > 1 || of.by_row || aux_leading < of.rows) return unknown();
      return matrix(pointer(matmul_aux), 1, (of.rows + 7) / 8, of.columns, (aux_leading + 7) / 8);
    case epilogue_gelu_aux:
    case epilogue_gelu_aux_bias: {
      const auto type = attribute<std::int32_t>(get, description, matmul_aux_type, -1);
      if (of.by_row) return unknown();
      return matrix(pointer(matmul_aux), element(type < 0 ? of.type : type), of.rows, of.columns, aux_leading,
                    attribute<std::int64_t>(get, description, matmul_aux_stride, 0), of.batch);
    }
    case epilogue_drelu_bias:
    case epilogue_dgelu_bias:
    case epilogue_bias_a:
    case epilogue_bias_b: {
      // As long as one side of D, and of a type that is the result's unless it is said: the longer side, and 4 bytes at least.
      const auto type = attribute<std::int32_t>(get, description, matmul_bias_type, -1);
      const std::int64_t bytes = std::max<std::int64_t>(4, element(type < 0 ? of.type : type));
      return matrix(pointer(matmul_bias), bytes, std::max(of.rows, of.columns), 1, 0, attribute<std::int64_t>(get, description, matmul_bias_stride, 0),
                    of.batch);
    }
    default:
      return unknown();
  }
}

void Outputs::received(void *to, std::size_t count, int type, void *communicator) {
  const std::size_t element = bytes_of_nccl_type(type);
  int ranks = 1;
  if (communicator) {
    static thread_local std::pair<void *, void *> known;
    auto *count_of = reinterpret_cast<int (*)(const void *, int *)>(known_symbol(known, library_, "ncclCommCount"));
    if (!count_of || count_of(communicator, &ranks) != 0 || ranks < 1) unknown();
  }
  const auto all = static_cast<unsigned __int128>(count) * element * static_cast<unsigned>(ranks);
  if (element == 0 || all >> 48) unknown();
  else bytes(to, static_cast<std::size_t>(all));
  if (Group &gathered = group(); gathered.depth > 0) {
    gathered.described &= call_.described_;
    call_.outputs_.append_to(gathered.outputs);
  }
}

void Outputs::group_start() {
  Group &gathered = group();
  if (gathered.depth++ > 0) return;
  gathered.outputs.clear();
  auto *version_of = reinterpret_cast<int (*)(int *)>(real_symbol(library_, "ncclGetVersion"));
  int version = 0;
  gathered.described = version_of && version_of(&version) == 0 && version < nccl_versions_end;
}

void Outputs::group_end() {
  Group &gathered = group();
  if (gathered.depth == 0 || !gathered.described) unknown();
  call_.outputs_ = {};
  for (const CopyTarget &output : gathered.outputs) call_.outputs_.push_back(output);
  if (gathered.depth > 0) --gathered.depth;
}

// ---- lookups

LibraryFamily family_at(const void *code) {
  const LibraryCall *call = this_thread.library_call;
  if (call) return call->family();
  const LoadedLibrary *library = code ? LoadedLibraries::all().at(code) : nullptr;
  if (!library) return LibraryFamily::none;
  return library->file.compare(0, std::strlen(nccl_stem), nccl_stem) == 0 ? LibraryFamily::nccl : LibraryFamily::cublas;
}

namespace {

// The body of a wrapper: describes the call and makes it.
template <class Real, class Describe, class... Arguments>
int call_library(Slot &slot, const char *stem, LibraryFamily family, int missing, std::string_view symbol, const void *caller, const Describe &describe,
                 Arguments... arguments) {
  const Function *function = find_function(slot, stem, symbol.data(), caller);
  if (!function) return missing;
  auto *real = reinterpret_cast<Real *>(function->code);
  if (!Recorder::current()) return real(arguments...);
  LibraryCall call(symbol, family);
  Outputs out(call, function->handle);
  try {
    // Memory of a library that shares the program's runtime cannot be told apart.
    if (!function->own_runtime) out.unknown();
    describe(out);
  } catch (const std::exception &) {
    out.unknown();
  }
  return real(arguments...);
}

#define GCR_CONTRACT(library, family, symbol, bytes) Slot slot_##symbol{nullptr};
#define GCR_CONTRACT_64(library, family, symbol, bytes) Slot slot_##symbol{nullptr}, slot_##symbol##_64{nullptr};
#include "recorder/contracts.def"
#undef GCR_CONTRACT
#undef GCR_CONTRACT_64

}  // namespace
}  // namespace gcr

using namespace gcr;

#define GCR_ALL(...) __VA_ARGS__
#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_WRAPPER(library, symbol, bytes, parameters, arguments, ...)                                                                  \
  extern "C" GCR_EXPORT int symbol parameters {                                                                                         \
    const auto describe = [=](Outputs &out) {                                                                                           \
      [[maybe_unused]] constexpr std::int64_t element = bytes;                                                                          \
      __VA_ARGS__                                                                                                                       \
    };                                                                                                                                  \
    const void *const caller = __builtin_return_address(0);                                                                             \
    const auto call = [&](auto... all) {                                                                                                \
      return call_library<int parameters>(slot_##symbol, library##_stem, library##_family, library##_missing, #symbol, caller, describe, all...); \
    };                                                                                                                                  \
    return call arguments;                                                                                                              \
  }
// What programs call most lies together, in few pages.
#define GCR_DECLARE_HOT(symbol, parameters, ...) extern "C" GCR_EXPORT __attribute__((hot)) int symbol parameters;
#define GCR_HOT(family, symbol) GCR_EXPAND(GCR_DECLARE_HOT, symbol, GCR_##family(int))
GCR_HOT(gemm_ex, cublasGemmEx)
GCR_HOT(gemm_strided_ex, cublasGemmStridedBatchedEx)
GCR_HOT(lt_matmul, cublasLtMatmul)
GCR_HOT(set_stream, cublasSetStream_v2)
GCR_HOT(set_workspace, cublasSetWorkspace_v2)
#define GCR_CONTRACT(library, family, symbol, bytes) GCR_EXPAND(GCR_WRAPPER, library, symbol, bytes, GCR_##family(int))
#define GCR_CONTRACT_64(library, family, symbol, bytes)                       \
  GCR_EXPAND(GCR_WRAPPER, library, symbol, bytes, GCR_##family(int))         \
  GCR_EXPAND(GCR_WRAPPER, library, symbol##_64, bytes, GCR_##family(std::int64_t))
#include "recorder/contracts.def"
#undef GCR_CONTRACT
#undef GCR_CONTRACT_64

namespace gcr {
namespace {

struct Row {
  const char *symbol, *stem;
  void *wrapper;
};

const Row rows[] = {
#define GCR_CONTRACT(library, family, symbol, bytes) {#symbol, library##_stem, reinterpret_cast<void *>(&::symbol)},
#define GCR_CONTRACT_64(library, family, symbol, bytes) \
  GCR_CONTRACT(library, family, symbol, bytes) {#symbol "_64", library##_stem, reinterpret_cast<void *>(&::symbol##_64)},
#include "recorder/contracts.def"
#undef GCR_CONTRACT
#undef GCR_CONTRACT_64
};

}  // namespace

void *library_wrapper_for(void *found, const char *name) {
  const Row *row = std::find_if(std::begin(rows), std::end(rows), [&](const Row &one) { return !std::strcmp(one.symbol, name); });
  if (row == std::end(rows) || found == row->wrapper) return nullptr;
  // Ours forwards to the first library of the kind; another one's function, or somebody else's, is the program's as it found it.
  const LoadedLibrary *library = LoadedLibraries::all().find(row->stem, nullptr);
  return library && LoadedLibraries::all().at(found) == library ? row->wrapper : nullptr;
}

}  // namespace gcr
