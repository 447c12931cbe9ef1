// What the recorder adds to calls that are made now and then by a program that does other things between them, as interpreters do: their code and data,
// and the recorder's, are out of the processor's nearer caches by the next call. call_overhead RECORDER DRIVER CUBLAS [CALLS] [quiet]
//
// `quiet`: as it is once so many launches may have written anything that the others are counted and not told.
// DRIVER and CUBLAS are stand-ins that also give out their own functions without the recorder (native/recorder/test/fake_driver.cpp,
// native/bench/cublas_stand_in.cpp). Of each pair of calls one goes through the recorder, which one is drawn; the figure is the difference of the medians
// (and of the means of the middle nine tenths) of their nanoseconds. Between calls the program reads lines all over some memory and runs code all over
// some functions: `work` says how much of both.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <random>
#include <utility>

#include "bench/supervised.h"
#include "driver/types.h"

using namespace gcr;

namespace {

using Launch = Result(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **);
using KernelGetFunction = Result(Function *, Kernel);
using Product = int(void *, int, int, int, int, int, const void *, const void *, int, int, const void *, int, int, const void *, void *, int, int, int, int);

struct Work {
  const char *name;
  unsigned lines, functions;  // read, called
};
constexpr Work works[] = {{"none", 0, 0}, {"1,000 lines, 100 functions", 1000, 100}, {"3,000 lines, 250 functions", 3000, 250}, {"8,000 lines, 500 functions", 8000, 500}};
constexpr std::size_t memory_bytes = 8 << 20;
constexpr unsigned kernels = 40;

// Half a kilobyte of code each.
template <unsigned number>
__attribute__((noinline)) std::uint64_t code(std::uint64_t x) {
#define STEP(i) x = (x ^ (x >> 13)) * (0x9E3779B97F4A7C15ULL + 2 * number + i);
  STEP(1) STEP(3) STEP(5) STEP(7) STEP(11) STEP(13) STEP(17) STEP(19) STEP(23) STEP(29) STEP(31) STEP(37) STEP(41) STEP(43) STEP(47) STEP(53)
#undef STEP
  return x;
}
template <unsigned... numbers>
constexpr auto codes(std::integer_sequence<unsigned, numbers...>) {
  return std::array{&code<numbers>...};
}
constexpr auto functions = codes(std::make_integer_sequence<unsigned, 500>());

class Program {
 public:
  Program(void *driver, void *blas) {
    const auto driver_function = [&]<class Type>(Type *&to, const char *name) { to = reinterpret_cast<Type *>(dlsym(driver, name)); };
    Result (*init)(unsigned);
    Result (*retain)(Context *, Device);
    Result (*load)(Library *, const void *, int *, void **, unsigned, int *, void **, unsigned);
    Result (*kernel)(Kernel *, Library, const char *);
    driver_function(init, "cuInit");
    driver_function(retain, "cuDevicePrimaryCtxRetain");
    driver_function(load, "cuLibraryLoadData");
    driver_function(kernel, "cuLibraryGetKernel");
    driver_function(launches_[1], "cuLaunchKernel");
    driver_function(gets_[1], "cuKernelGetFunction");
    launches_[0] = reinterpret_cast<Launch *(*)()>(dlsym(driver, "gcr_fake_own_launch"))();
    gets_[0] = reinterpret_cast<KernelGetFunction *(*)()>(dlsym(driver, "gcr_fake_own_kernel_get_function"))();
    products_[1] = reinterpret_cast<Product *>(dlsym(blas, "cublasGemmEx"));
    products_[0] = reinterpret_cast<Product *(*)()>(dlsym(blas, "bench_own_product"))();
    Context context;
    Library library;
    CHECK(init(0) == 0 && retain(&context, 0) == 0 && load(&library, ".version 7.0\n.target sm_70\n.address_size 64\n", nullptr, nullptr, 0, nullptr, nullptr, 0) == 0);
    // Names are as long as those of templates are.
    for (Kernel &one : kernels_) CHECK(kernel(&one, library, ((&one == kernels_.data() ? "narrow" : "wide") + std::string(300, '_')).c_str()) == 0);
    inner_ = reinterpret_cast<Launch **>(dlsym(blas, "bench_launch"));
    *reinterpret_cast<Function *>(dlsym(blas, "bench_function")) = reinterpret_cast<Function>(kernels_[0]);
    reinterpret_cast<int (*)(void *, void *, std::size_t)>(dlsym(blas, "cublasSetWorkspace_v2"))(&handle_, &handle_, 64);
    memory_.resize(memory_bytes);
  }

  void measure(const Work &work, unsigned calls) {
    for (const bool product : {false, true}) {
      std::array<std::vector<double>, 2> times;
      for (unsigned i = 0; i < calls; ++i) {
        this->work(work);
        const unsigned way = random_() & 1;
        const double took = product ? this->product(way) : launch(way);
        if (i > calls / 10) times[way].push_back(took);
      }
      for (auto &some : times) std::sort(some.begin(), some.end());
      std::printf("%-28s%-10s%10.0f%10.0f%10.0f\n", work.name, product ? "product" : "launch", median(times[0]), median(times[1]) - median(times[0]),
                  mean(times[1]) - mean(times[0]));
    }
  }

 private:
  static double median(const std::vector<double> &sorted) { return sorted[sorted.size() / 2]; }
  static double mean(const std::vector<double> &sorted) {
    double sum = 0;
    const std::size_t from = sorted.size() / 20, to = sorted.size() - from;
    for (std::size_t i = from; i < to; ++i) sum += sorted[i];
    return sum / static_cast<double>(to - from);
  }

  void work(const Work &work) {
    for (unsigned i = 0; i < work.lines; ++i) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      state_ += memory_[(state_ >> 33) % memory_bytes]++;
    }
    for (unsigned i = 0; i < work.functions; ++i) state_ = functions[(state_ >> 33) % functions.size()](state_);
  }

  // As the CUDA runtime does it: the kernel's function, then its launch.
  double launch(unsigned way) {
    const unsigned which = static_cast<unsigned>(random_() % kernels);
    std::uint64_t pointer = reinterpret_cast<std::uint64_t>(&memory_[0]);
    std::uint32_t length = which;
    std::uint8_t more[240] = {};
    void *parameters[] = {&pointer, &length, more};
    const auto begin = std::chrono::steady_clock::now();
    Function function;
    CHECK(gets_[way](&function, kernels_[which]) == 0);
    CHECK(launches_[way](function, 8, 1, 1, 128, 1, 1, 0, nullptr, parameters, nullptr) == 0);
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  }
  double product(unsigned way) {
    *inner_ = launches_[way];
    const float one = 1, zero = 0;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(products_[way](&handle_, 0, 0, 2048, 12, 2048, &one, &memory_[0], 14, 2048, &memory_[0], 14, 2048, &zero, &memory_[0], 14, 2048, 68, -1) == 0);
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
  }

  std::array<Launch *, 2> launches_;
  std::array<KernelGetFunction *, 2> gets_;
  std::array<Product *, 2> products_;
  Launch **inner_;
  std::array<Kernel, kernels> kernels_;
  std::vector<std::uint8_t> memory_;
  std::minstd_rand random_;
  std::uint64_t state_ = 1;
  int handle_ = 0;
};

}  // namespace

int main(int count, char **arguments) {
  if (count == 5 && !std::strcmp(arguments[1], "application")) {
    void *const blas = dlopen(arguments[3], RTLD_NOW | RTLD_GLOBAL), *const driver = dlopen(arguments[2], RTLD_NOW);
    CHECK(driver && blas);
    Program program(driver, blas);
    for (const Work &work : works) program.measure(work, static_cast<unsigned>(std::atoi(arguments[4])));
    return 0;
  }
  if (count < 4) {
    std::fprintf(stderr, "call_overhead RECORDER DRIVER CUBLAS [CALLS] [quiet]\n");
    return 64;
  }
  std::printf("%-28s%-10s%10s%10s%10s\n", "ns; work between calls", "call", "alone", "added", "(mean)");
  const char *const command[] = {arguments[0], "application", arguments[2], arguments[3], count > 4 ? arguments[4] : "100000", nullptr};
  run_application(command, arguments[1], arguments[2], true, count > 5 && !std::strcmp(arguments[5], "quiet"));
}
