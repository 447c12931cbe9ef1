// The exported wrappers, expanded from hooks.def. A wrapper costs a load when nothing is recorded. Inside of a wrapper, calls of the same
// thread are forwarded: they are the driver's calls of its own functions, or ours.
#include <algorithm>
#include <array>
#include <cstring>
#include <tuple>

#include "recorder/handlers.h"
#include "recorder/table.h"

#define GCR_EXPORT __attribute__((visibility("default")))

namespace gcr {
namespace {

constexpr Result no_driver = 100;  // no device

constexpr bool legacy [[maybe_unused]] = false;
constexpr bool per_thread [[maybe_unused]] = true;

// Inside of a wrapper. Its end also comes by an exception, or by the end of the thread.
class Inside {
 public:
  [[gnu::always_inline]] Inside(Recorder &recorder, ThreadState &thread) : recorder_(recorder), thread_(thread) {
    thread.depth = 1;
    recorder.gate.enter(thread);
  }
  [[gnu::always_inline]] ~Inside() {
    Gate::leave(thread_);
    thread_.in_driver = false;
    thread_.depth = 0;
    if (hot.interrupted.load(std::memory_order_relaxed)) [[unlikely]] report();
  }

 private:
  [[gnu::cold]] void report() noexcept {
    try {
      if (hot.interrupted.exchange(false)) recorder_.emitter.stop_writes("a signal handler called the driver");
    } catch (const std::exception &) {
      recorder_.emitter.supervisor_gone();
    }
  }
  Recorder &recorder_;
  ThreadState &thread_;
};

template <bool is_launch, class Handler, class... Arguments>
inline __attribute__((always_inline)) Result intercept(const Handler &handler, std::atomic<void *> &slot, bool per_thread, Arguments... arguments) {
  using Real = Result(Arguments...);
  auto *real = reinterpret_cast<Real *>(slot.load(std::memory_order_relaxed));
  if (!real) [[unlikely]] {
    if (!find_driver()) return no_driver;
    real = reinterpret_cast<Real *>(slot.load(std::memory_order_relaxed));
    if (!real) return result::not_supported;
  }
  Recorder *recorder = Recorder::current();
  if (!recorder) return real(arguments...);
  ThreadState &thread = this_thread;
  if (thread.depth) {
    if (!thread.in_driver) hot.interrupted = true;
    return real(arguments...);
  }
  Call<Real> call{real, per_thread, *recorder, thread};
  try {
    const Inside inside(*recorder, thread);
    if constexpr (is_launch) {
      // Programs that are quiet for long launch all the while: in as little code as it takes.
      if (hot.counts_launches() && handlers::only_launches(arguments...)) {
        thread.slot->count();
        return call(arguments...);
      }
    }
    return handler(call, arguments...);
  } catch (const std::exception &) {
    recorder->emitter.supervisor_gone();  // no memory: what was not told cannot be made good
    return call.called ? call.outcome : real(arguments...);
  }
}

namespace early {

Result init(Result (*real)(unsigned), unsigned flags) {
  const bool outermost = this_thread.depth == 0;
  const InDriver inside(this_thread);
  const Result outcome = real(flags);
  if (outcome != result::success || !outermost || !Recorder::wanted() || Recorder::current()) return outcome;
  try {
    Recorder::start(driver_functions());
  } catch (const std::exception &) {
    // No memory: not recording.
  }
  return outcome;
}
constexpr auto get_proc_address_v1 = [](auto... arguments) { return get_proc_address(arguments...); };
constexpr auto get_proc_address_v2 = [](auto... arguments) { return get_proc_address(arguments...); };

}  // namespace early

// The places of the driver's own functions.
#define GCR_HOOK(handler, base, suffix, version, stream) std::atomic<void *> real_##base##suffix{nullptr};
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK

}  // namespace
}  // namespace gcr

using namespace gcr;

#define GCR_ALL(...) __VA_ARGS__
#define GCR_EXPAND(macro, ...) macro(__VA_ARGS__)
#define GCR_WRAPPER(handler, symbol, stream, parameters, arguments)                                                    \
  extern "C" GCR_EXPORT Result symbol parameters {                                                                     \
    if (!this_thread.depth) this_thread.caller = __builtin_return_address(0);                                          \
    return std::apply(                                                                                                 \
        [](auto... all) {                                                                                              \
          return intercept<handlers::is_launch(#handler)>([](auto &call, auto... each) { return handlers::handler(call, each...); }, real_##symbol, stream, all...); \
        },                                                                                                             \
        std::tuple(GCR_ALL arguments));                                                                                \
  }
#define GCR_EARLY_WRAPPER(handler, symbol, stream, parameters, arguments)                        \
  extern "C" GCR_EXPORT Result symbol parameters {                                               \
    if (!real_##symbol.load() && !find_driver()) return no_driver;                               \
    auto *real = reinterpret_cast<Result(*) parameters>(real_##symbol.load());                   \
    if (!real) return result::not_supported;                                                     \
    return std::apply([real](auto... all) { return early::handler(real, all...); }, std::tuple(GCR_ALL arguments)); \
  }
// What programs call most lies together, in few pages.
#define GCR_DECLARE_HOT(symbol, parameters, arguments) extern "C" GCR_EXPORT __attribute__((hot)) Result symbol parameters;
#define GCR_HOT(handler, symbol) GCR_EXPAND(GCR_DECLARE_HOT, symbol, GCR_##handler)
GCR_HOT(launch_kernel, cuLaunchKernel)
GCR_HOT(launch_kernel, cuLaunchKernel_ptsz)
GCR_HOT(launch_kernel_ex, cuLaunchKernelEx)
GCR_HOT(launch_kernel_ex, cuLaunchKernelEx_ptsz)
GCR_HOT(kernel_get_function, cuKernelGetFunction)
#define GCR_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_WRAPPER, handler, base##suffix, stream, GCR_##handler)
#define GCR_EARLY_HOOK(handler, base, suffix, version, stream) GCR_EXPAND(GCR_EARLY_WRAPPER, handler, base##suffix, stream, GCR_##handler)
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK

namespace gcr {

std::span<const Hook> hooks() {
  static const auto table = [] {
    std::array rows{
#define GCR_HOOK(handler, base, suffix, version, stream) \
  Hook{#base #suffix, #base, version, stream, reinterpret_cast<void *>(&::base##suffix), &real_##base##suffix},
#define GCR_EARLY_HOOK GCR_HOOK
#include "recorder/hooks.def"
#undef GCR_HOOK
#undef GCR_EARLY_HOOK
    };
    std::sort(rows.begin(), rows.end(), [](const Hook &a, const Hook &b) { return std::strcmp(a.symbol, b.symbol) < 0; });
    return rows;
  }();
  return table;
}

}  // namespace gcr
