// Work off JavaScript's thread. A Job is a promise with what must stay alive until it is settled; it is made and settled on JavaScript's
// thread and finished on any other. When JavaScript's environment ends, work under way is told to stop and waited for, so that no
// thread touches memory that is gone.
#pragma once

#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/thread_pool.h"

namespace gcr {

class Environment;

/// A JavaScript error with `code` and `file` where the exception is a StoreError.
Napi::Value to_js_error(Napi::Env env, std::exception_ptr error);

class Job {
 public:
  explicit Job(Napi::Env env);
  Napi::Promise promise() const { return deferred_.Promise(); }
  /// Keeps a JavaScript object, and the memory of a typed array, until the promise is settled.
  void keep(Napi::Object object) { kept_.push_back(Napi::Persistent(object)); }
  Napi::Object kept(size_t position) const { return kept_[position].Value(); }
  /// Makes the promise's value, on JavaScript's thread; without it the value is undefined.
  void set_result(std::function<Napi::Value(Napi::Env)> result) { result_ = std::move(result); }
  void set_progress(Napi::Function callback) { progress_ = Napi::Persistent(callback); }
  bool has_progress() const { return !progress_.IsEmpty(); }

  /// From any thread. Reports that JavaScript has not seen yet are replaced by newer ones.
  void report(uint64_t done, uint64_t total);
  /// From any thread, once; the job must not be touched afterwards.
  void finish(std::exception_ptr error);

 private:
  void settle(Napi::Env env);
  void tell_progress(Napi::Env env);

  Environment& environment_;
  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> kept_;
  std::function<Napi::Value(Napi::Env)> result_;
  Napi::FunctionReference progress_;
  std::atomic<uint64_t> done_ = 0;
  std::atomic<uint64_t> total_ = 0;
  std::atomic<bool> reported_ = false;
  std::exception_ptr error_;
};

/// One for each JavaScript environment (the main thread's, a worker's).
class Environment {
 public:
  explicit Environment(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  /// Runs work on a pool and finishes the job with its outcome.
  void run_short(Job* job, std::function<void()> work);
  /// The same on a thread of its own, for work that waits or takes long.
  void run_long(Job* job, std::function<void()> work);
  /// Calls `stop` when the environment ends, if `owner` is still there.
  void at_end(std::weak_ptr<void> owner, std::function<void()> stop);
  const std::atomic<bool>* ending() const { return &ending_; }

  /// Classes whose objects are made here and not by JavaScript.
  void define(const std::string& name, Napi::Function constructor) { constructors_[name] = Napi::Persistent(constructor); }
  Napi::Function constructor(const std::string& name) const { return constructors_.at(name).Value(); }

 private:
  friend class Job;
  void begin(Napi::Env env);
  void settled(Napi::Env env);
  void left();
  void end();

  struct AtEnd {
    std::weak_ptr<void> owner;
    std::function<void()> stop;
  };
  std::map<std::string, Napi::FunctionReference> constructors_;
  Napi::ThreadSafeFunction to_js_;
  size_t unsettled_ = 0;  // JavaScript's thread only
  std::vector<AtEnd> at_end_;
  std::atomic<bool> ending_ = false;
  std::mutex mutex_;
  std::condition_variable idle_;
  size_t running_ = 0;
  std::unique_ptr<ThreadPool> pool_;
};

}  // namespace gcr
