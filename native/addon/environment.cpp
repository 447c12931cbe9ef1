#include "addon/environment.h"

#include <thread>

#include "core/error.h"
#include "driver/driver.h"

namespace gcr {
namespace {

constexpr unsigned kShortThreads = 4;

/// Calls into JavaScript fail when a worker thread is being ended: nobody is left to be told, and the exception has nowhere to go.
template <class Call>
void unless_ending(Call call) {
  try {
    call();
  } catch (const Napi::Error&) {
  }
}

std::exception_ptr outcome(const std::function<void()>& work) {
  try {
    work();
    return nullptr;
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace

Napi::Value to_js_error(Napi::Env env, std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const StoreError& failure) {
    const Napi::Object object = Napi::Error::New(env, failure.what()).Value();
    object.Set("code", error_code(failure.kind()));
    object.Set("file", failure.file());
    return object;
  } catch (const DriverError& failure) {
    return Napi::Error::New(env, failure.what()).Value();
  } catch (const std::exception& failure) {
    const Napi::Object object = Napi::Error::New(env, failure.what()).Value();
    object.Set("code", error_code(ErrorKind::io));
    object.Set("file", "");
    return object;
  }
}

Job::Job(Napi::Env env) : environment_(Environment::of(env)), deferred_(env) { environment_.begin(env); }

void Job::report(uint64_t done, uint64_t total) {
  done_ = done;
  total_ = total;
  if (reported_.exchange(true)) return;
  environment_.to_js_.NonBlockingCall(this, [](Napi::Env env, Napi::Function, Job* job) { job->tell_progress(env); });
}

void Job::tell_progress(Napi::Env env) {
  reported_ = false;
  const Napi::HandleScope scope(env);
  unless_ending([&] {
    progress_.Call({Napi::Number::New(env, static_cast<double>(done_.load())),
                    Napi::Number::New(env, static_cast<double>(total_.load()))});
  });
}

void Job::finish(std::exception_ptr error) {
  error_ = error;
  Environment& environment = environment_;
  environment.to_js_.NonBlockingCall(this, [](Napi::Env env, Napi::Function, Job* job) { job->settle(env); });
  environment.left();
}

void Job::settle(Napi::Env env) {
  const std::unique_ptr<Job> self(this);
  const Napi::HandleScope scope(env);
  unless_ending([&] {
    environment_.settled(env);
    if (error_) {
      deferred_.Reject(to_js_error(env, error_));
    } else {
      deferred_.Resolve(result_ ? result_(env) : env.Undefined());
    }
  });
}

Environment::Environment(Napi::Env env) {
  to_js_ = Napi::ThreadSafeFunction::New(env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "gcr", 0, 1);
  to_js_.Unref(env);
  // Hooks run the last one first, so this one runs while the way to JavaScript is still open.
  env.AddCleanupHook([this] { end(); });
}

void Environment::begin(Napi::Env env) {
  if (unsettled_++ == 0) to_js_.Ref(env);
  const std::lock_guard guard(mutex_);
  ++running_;
}

void Environment::settled(Napi::Env env) {
  if (--unsettled_ == 0) to_js_.Unref(env);
}

void Environment::left() {
  const std::lock_guard guard(mutex_);
  if (--running_ == 0) idle_.notify_all();
}

void Environment::run_short(Job* job, std::function<void()> work) {
  if (!pool_) pool_ = std::make_unique<ThreadPool>(kShortThreads);
  pool_->submit([job, work = std::move(work)] { job->finish(outcome(work)); });
}

void Environment::run_long(Job* job, std::function<void()> work) {
  std::thread([job, work = std::move(work)]() mutable {
    const std::exception_ptr error = outcome(work);
    work = nullptr;  // what it holds goes before the environment may
    job->finish(error);
  }).detach();
}

void Environment::at_end(std::weak_ptr<void> owner, std::function<void()> stop) {
  std::erase_if(at_end_, [](const AtEnd& entry) { return entry.owner.expired(); });
  at_end_.push_back({std::move(owner), std::move(stop)});
}

void Environment::end() {
  ending_ = true;
  for (const AtEnd& entry : at_end_) {
    if (const auto alive = entry.owner.lock()) entry.stop();
  }
  std::unique_lock guard(mutex_);
  idle_.wait(guard, [this] { return running_ == 0; });
}

}  // namespace gcr
