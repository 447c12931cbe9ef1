// How the program comes to the driver's functions: by dlsym and cuGetProcAddress it gets our wrappers (linked symbols find them by
// themselves, because we are loaded first). What is neither intercepted nor known to be harmless is given out behind a stub that stops the
// recording when it is called.
//
// A function given out by cuGetProcAddress is recognised by its address, never by its name and version alone: a driver that is newer
// than our table may have a form of it with other parameters, and its address is then none that we know.
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "recorder/contracts.h"
#include "recorder/recorder.h"
#include "recorder/table.h"

namespace gcr {
namespace {

using Lookup = void *(*)(void *, const char *);

constexpr std::uint64_t flag_legacy = 1, flag_per_thread = 2;

const char *const harmless_names[] = {
#define GCR_HARMLESS(name) #name,
#include "recorder/harmless.def"
#undef GCR_HARMLESS
};

std::string_view without_suffixes(std::string_view name) {
  if (name.ends_with("_ptsz") || name.ends_with("_ptds")) name.remove_suffix(5);
  if (name.size() > 3 && name[name.size() - 3] == '_' && name[name.size() - 2] == 'v') name.remove_suffix(3);
  return name;
}

// The state of lookups: the driver's library, and which hooks an address of it means.
struct Lookups {
  std::mutex mutex;
  std::atomic<void *> library{nullptr};
  bool tried = false;
  Driver driver;
  std::unordered_multimap<void *, const Hook *> by_address;
  std::unordered_set<std::string_view> harmless{std::begin(harmless_names), std::end(harmless_names)};
};

Lookups &lookups() {
  static Lookups *const one = new Lookups;  // lives as long as the process: destructors of others may look functions up
  return *one;
}

}  // namespace
}  // namespace gcr

// ---- stubs of functions that we know nothing about

#if defined(__x86_64__)
#define GCR_STUBS 256
extern "C" {
__attribute__((visibility("hidden"))) void *gcr_stub_targets[GCR_STUBS];
__attribute__((visibility("hidden"))) extern const char gcr_stub_code[];
__attribute__((visibility("hidden"), used)) void gcr_stub_called(long index);
}
// Each stub is 16 bytes: it tells its number and goes on to the function with everything as it was.
asm(R"(
.pushsection .text
.p2align 4
.globl gcr_stub_code
.hidden gcr_stub_code
gcr_stub_code:
.set gcr_stub_number, 0
.rept 256
  .p2align 4
  pushq $gcr_stub_number
  jmp gcr_stub_common
  .set gcr_stub_number, gcr_stub_number + 1
.endr
.p2align 4
gcr_stub_common:
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq %r8
  pushq %r9
  movq 48(%rsp), %rdi
  call gcr_stub_called
  movq 48(%rsp), %rax
  leaq gcr_stub_targets(%rip), %r11
  movq (%r11,%rax,8), %r11
  popq %r9
  popq %r8
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  addq $8, %rsp
  jmp *%r11
.popsection
)");

namespace gcr {
namespace {

struct Stubs {
  std::mutex mutex;
  std::size_t used = 0;
  char names[GCR_STUBS][64] = {};
};
Stubs stubs;

// Null when there is no stub left; then the recording must stop now.
void *stub_for(void *target, const char *name) {
  const std::lock_guard lock(stubs.mutex);
  for (std::size_t i = 0; i < stubs.used; ++i)
    if (gcr_stub_targets[i] == target) return const_cast<char *>(gcr_stub_code) + 16 * i;
  if (stubs.used == GCR_STUBS) return nullptr;
  std::strncpy(stubs.names[stubs.used], name, sizeof(stubs.names[0]) - 1);
  gcr_stub_targets[stubs.used] = target;
  return const_cast<char *>(gcr_stub_code) + 16 * stubs.used++;
}

}  // namespace
}  // namespace gcr

extern "C" void gcr_stub_called(long index) {
  using namespace gcr;
  Recorder *recorder = Recorder::current();
  if (!recorder || this_thread.depth || !recorder->emitter.tells_writes()) return;
  try {
    recorder->emitter.stop_writes(std::string("the program called ") + stubs.names[index] + ", which is not followed");
  } catch (const std::exception &) {
    recorder->emitter.supervisor_gone();
  }
}
#else
namespace gcr {
namespace {
void *stub_for(void *, const char *) { return nullptr; }
}  // namespace
}  // namespace gcr
#endif

// ---- dlsym

// These two run while a sanitizer's runtime begins, which looks functions up before it can be called.
#define GCR_PLAIN __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))

extern "C" {
__attribute__((visibility("hidden"))) void *gcr_real_dlsym = nullptr;
__attribute__((visibility("hidden"), used)) void *gcr_find_dlsym();
__attribute__((visibility("hidden"), used)) void *gcr_choose(void *library, const char *name);
}

namespace gcr {
namespace {

Lookup real_lookup() { return reinterpret_cast<Lookup>(gcr_find_dlsym()); }

}  // namespace
}  // namespace gcr

extern "C" GCR_PLAIN void *gcr_find_dlsym() {
  if (!gcr_real_dlsym) {
    // The version that the C library had first on this machine is there in every later one.
#if defined(__x86_64__)
    gcr_real_dlsym = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
#else
    gcr_real_dlsym = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.17");
#endif
  }
  return gcr_real_dlsym;
}

namespace gcr {
namespace {

bool is_library_name(const char *name) { return !std::strncmp(name, "cublas", 6) || !std::strncmp(name, "nccl", 4); }

void *choose(void *library, const char *name) {
  if (!Recorder::wanted() || this_thread.depth) return nullptr;
  // The default search finds our exports by itself. The next one behind the caller is a matter of who calls, which is lost here: what is ours
  // is what the caller would have found first.
  if (library == RTLD_DEFAULT) return nullptr;
  try {
    if (library == RTLD_NEXT) {
      if (is_library_name(name)) return nullptr;
      const auto all = hooks();
      const auto found = std::lower_bound(all.begin(), all.end(), name, [](const Hook &a, const char *b) { return std::strcmp(a.symbol, b) < 0; });
      return found != all.end() && !std::strcmp(found->symbol, name) && find_driver() && found->real->load() ? found->wrapper : nullptr;
    }
    void *found = real_lookup()(library, name);
    if (!found) return nullptr;
    if (is_library_name(name)) return library_wrapper_for(found, name);
    if (!find_driver()) return nullptr;
    // Somebody else's function of the same name is none of our business.
    Lookups &state = lookups();
    if (real_lookup()(state.library.load(), name) != found) return nullptr;
    void *wrapper = wrapper_for(found, name, false, -1);
    return wrapper == found ? nullptr : wrapper;
  } catch (const std::exception &) {
    return nullptr;
  }
}

}  // namespace
}  // namespace gcr

// What the program gets instead of the driver's function, null to go on to the real dlsym.
extern "C" GCR_PLAIN void *gcr_choose(void *library, const char *name) {
  const bool ours = name && ((name[0] == 'c' && name[1] == 'u') || (name[0] == 'n' && name[1] == 'c' && name[2] == 'c' && name[3] == 'l'));
  return ours ? gcr::choose(library, name) : nullptr;
}

#if defined(__x86_64__)
// The real dlsym looks at its return address to see who asks, so it must be jumped to, not called.
asm(R"(
.pushsection .text
.globl dlsym
.type dlsym, @function
.p2align 4
dlsym:
  pushq %rdi
  pushq %rsi
  subq $8, %rsp
  call gcr_choose
  testq %rax, %rax
  jne 1f
  call gcr_find_dlsym
  movq %rax, %r11
  addq $8, %rsp
  popq %rsi
  popq %rdi
  jmp *%r11
1:
  addq $24, %rsp
  ret
.size dlsym, .-dlsym
.popsection
)");
#elif defined(__aarch64__)
asm(R"(
.pushsection .text
.globl dlsym
.type dlsym, %function
.p2align 4
dlsym:
  stp x29, x30, [sp, -32]!
  stp x0, x1, [sp, 16]
  bl gcr_choose
  cbnz x0, 1f
  bl gcr_find_dlsym
  mov x16, x0
  ldp x0, x1, [sp, 16]
  ldp x29, x30, [sp], 32
  br x16
1:
  ldp x29, x30, [sp], 32
  ret
.size dlsym, .-dlsym
.popsection
)");
#endif

// ---- the driver

namespace gcr {

const Driver &driver_functions() { return lookups().driver; }

void *real_symbol(void *library, const char *name) { return real_lookup()(library, name); }

bool find_driver() {
  Lookups &state = lookups();
  if (state.library.load(std::memory_order_acquire)) return true;
  const InDriver searching(this_thread);  // it looks functions up itself, and is not to be answered by us
  const std::lock_guard lock(state.mutex);
  if (state.library.load() || state.tried) return state.library.load() != nullptr;
  const char *path = std::getenv("GCR_DRIVER");
  void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  state.tried = library != nullptr;  // a program may bring the driver later
  if (!library) return false;
  const Lookup lookup = real_lookup();
  state.driver.find(library, lookup);
  std::unordered_set<void *> exports;
  for (const Hook &hook : hooks()) exports.insert(lookup(library, hook.symbol));
  for (const Hook &hook : hooks()) {
    void *exported = lookup(library, hook.symbol);
    // Some forms are given out by cuGetProcAddress alone, and some drivers give out others than they export; not what another form exports.
    void *given = nullptr;
    int status = 0;
    if (state.driver.cuGetProcAddress)
      state.driver.cuGetProcAddress(hook.base, &given, hook.version, hook.per_thread ? flag_per_thread : flag_legacy, &status);
    if (exports.contains(given)) given = nullptr;
    hook.real->store(exported ? exported : given);
    for (void *address : {exported, given})
      if (address) state.by_address.emplace(address, &hook);
  }
  state.library.store(library, std::memory_order_release);
  return true;
}

void *wrapper_for(void *found, const char *name, bool per_thread, int version) {
  Lookups &state = lookups();
  const Hook *best = nullptr;
  const auto better = [&](const Hook &one) {
    if (!best) return true;
    // One function may stand for several forms: the program gets the form that it asked for.
    const auto rank = [&](const Hook &hook) {
      const bool same = !std::strcmp(version < 0 ? hook.symbol : hook.base, name);
      return (same ? 4 : 0) + (hook.per_thread == per_thread ? 2 : 0) + (version < 0 || hook.version <= version ? 1 : 0);
    };
    return rank(one) > rank(*best) || (rank(one) == rank(*best) && one.version > best->version);
  };
  for (auto [at, end] = state.by_address.equal_range(found); at != end; ++at)
    if (better(*at->second)) best = at->second;
  if (best) return best->wrapper;
  if (state.harmless.contains(version < 0 ? without_suffixes(name) : std::string_view(name))) return found;
  if (void *stub = stub_for(found, name)) return stub;
  if (Recorder *recorder = Recorder::current()) recorder->emitter.stop_writes(std::string("the program may call ") + name + ", which is not followed");
  return found;
}

namespace {

Result give_wrapper(auto real, const char *symbol, void **function, int version, std::uint64_t flags) {
  Result outcome = result::success;
  {
    const InDriver inside(this_thread);
    outcome = real();
  }
  if (outcome != result::success || !function || !*function || !symbol || !Recorder::wanted() || this_thread.depth) return outcome;
  try {
    if (find_driver()) *function = wrapper_for(*function, symbol, flags & flag_per_thread, version);
  } catch (const std::exception &) {
    if (Recorder *recorder = Recorder::current()) recorder->emitter.supervisor_gone();
  }
  return outcome;
}

}  // namespace

Result get_proc_address(Result (*real)(const char *, void **, int, std::uint64_t), const char *symbol, void **function, int version,
                        std::uint64_t flags) {
  return give_wrapper([&] { return real(symbol, function, version, flags); }, symbol, function, version, flags);
}

Result get_proc_address(Result (*real)(const char *, void **, int, std::uint64_t, int *), const char *symbol, void **function, int version,
                        std::uint64_t flags, int *status) {
  return give_wrapper([&] { return real(symbol, function, version, flags, status); }, symbol, function, version, flags);
}

}  // namespace gcr
