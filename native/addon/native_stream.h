// Writer and reader of chunks as JavaScript objects.
#pragma once

#include <napi.h>

#include <memory>

#include "core/store_reader.h"
#include "core/store_writer.h"

namespace gcr {

class NativeWriter : public Napi::ObjectWrap<NativeWriter> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeWriter(const Napi::CallbackInfo& info) : ObjectWrap(info) {}
  void set(std::shared_ptr<StoreWriter> writer) { writer_ = std::move(writer); }

 private:
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value write_named(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  Napi::Value abort(const Napi::CallbackInfo& info);

  std::shared_ptr<StoreWriter> writer_;
};

class NativeReader : public Napi::ObjectWrap<NativeReader> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit NativeReader(const Napi::CallbackInfo& info) : ObjectWrap(info) {}
  void set(std::shared_ptr<StoreReader> reader) { reader_ = std::move(reader); }

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value has(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  StoreReader& reader(Napi::Env env) const;

  std::shared_ptr<StoreReader> reader_;
};

}  // namespace gcr
