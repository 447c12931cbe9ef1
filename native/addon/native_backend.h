// A store's place as a JavaScript object, its lock, and the flag that cancels long work.
#pragma once

#include <napi.h>

#include <atomic>
#include <memory>

#include "core/backend.h"

namespace gcr {

class NativeLock : public Napi::ObjectWrap<NativeLock> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeLock(const Napi::CallbackInfo& info) : ObjectWrap(info) {}
  void set(std::unique_ptr<Lock> lock) { lock_ = std::move(lock); }

 private:
  void release(const Napi::CallbackInfo&) { lock_.reset(); }
  std::unique_ptr<Lock> lock_;
};

class NativeCancellation : public Napi::ObjectWrap<NativeCancellation> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeCancellation(const Napi::CallbackInfo& info);
  std::shared_ptr<std::atomic<bool>> flag() const { return flag_; }

 private:
  void cancel(const Napi::CallbackInfo&) { *flag_ = true; }
  std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
};

class NativeBackend : public Napi::ObjectWrap<NativeBackend> {
 public:
  static Napi::Function define(Napi::Env env);
  /// ("directory" | "mem", path or name, create)
  explicit NativeBackend(const Napi::CallbackInfo& info);

 private:
  Napi::Value place(const Napi::CallbackInfo& info);
  Napi::Value get(const Napi::CallbackInfo& info);
  Napi::Value put(const Napi::CallbackInfo& info);
  Napi::Value list(const Napi::CallbackInfo& info);
  Napi::Value stat(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value lock(const Napi::CallbackInfo& info);
  Napi::Value writer(const Napi::CallbackInfo& info);
  Napi::Value reader(const Napi::CallbackInfo& info);
  Napi::Value compact(const Napi::CallbackInfo& info);
  Napi::Value check(const Napi::CallbackInfo& info);
  Napi::Value rebuild_index(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo&) { backend_.reset(); }

  /// Throws when the backend was closed.
  std::shared_ptr<Backend> backend(Napi::Env env) const;

  std::string place_;
  std::shared_ptr<Backend> backend_;
};

}  // namespace gcr
