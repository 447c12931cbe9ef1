#include "addon/native_backend.h"

#include <algorithm>
#include <cstring>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "addon/native_stream.h"
#include "core/maintenance.h"

namespace gcr {
namespace {

constexpr uint64_t kMostThreads = 64;
constexpr uint64_t kMostPackBytes = uint64_t{16} << 30;

/// A progress callback of JavaScript, when there is one, as a function of the core.
Progress progress_argument(const Napi::CallbackInfo& info, size_t position, Job* job) {
  if (!info[position].IsFunction()) return {};
  job->set_progress(info[position].As<Napi::Function>());
  return [job](uint64_t done, uint64_t total) { job->report(done, total); };
}

std::shared_ptr<std::atomic<bool>> cancellation_argument(const Napi::CallbackInfo& info, size_t position) {
  return NativeCancellation::Unwrap(info[position].As<Napi::Object>())->flag();
}

unsigned threads_argument(const Napi::CallbackInfo& info, size_t position) {
  const uint64_t threads = number_argument(info, position);
  return threads == 0 ? default_threads() : static_cast<unsigned>(std::min(threads, kMostThreads));
}

Napi::Object constructed(Napi::Env env, const char* name) {
  return Environment::of(env).constructor(name).New({});
}

}  // namespace

Napi::Function NativeLock::define(Napi::Env env) {
  return DefineClass(env, "NativeLock", {InstanceMethod<&NativeLock::release>("release")});
}

Napi::Function NativeCancellation::define(Napi::Env env) {
  return DefineClass(env, "NativeCancellation", {InstanceMethod<&NativeCancellation::cancel>("cancel")});
}

NativeCancellation::NativeCancellation(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  Environment::of(info.Env()).at_end(flag_, [flag = flag_.get()] { *flag = true; });
}

Napi::Function NativeBackend::define(Napi::Env env) {
  return DefineClass(
      env, "NativeBackend",
      {InstanceMethod<&NativeBackend::place>("place"), InstanceMethod<&NativeBackend::get>("get"),
       InstanceMethod<&NativeBackend::put>("put"), InstanceMethod<&NativeBackend::list>("list"),
       InstanceMethod<&NativeBackend::stat>("stat"), InstanceMethod<&NativeBackend::remove>("remove"),
       InstanceMethod<&NativeBackend::lock>("lock"), InstanceMethod<&NativeBackend::writer>("writer"),
       InstanceMethod<&NativeBackend::reader>("reader"), InstanceMethod<&NativeBackend::compact>("compact"),
       InstanceMethod<&NativeBackend::check>("check"), InstanceMethod<&NativeBackend::rebuild_index>("rebuildIndex"),
       InstanceMethod<&NativeBackend::close>("close")});
}

NativeBackend::NativeBackend(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const std::string kind = string_argument(info, 0);
  const std::string where = string_argument(info, 1);
  const bool create = bool_argument(info, 2);
  backend_ = rethrown(info.Env(), [&] {
    return kind == "mem" ? open_memory_backend(where, create) : open_directory_backend(where, create);
  });
  place_ = backend_->place();
}

std::shared_ptr<Backend> NativeBackend::backend(Napi::Env env) const {
  return rethrown(env, [&] {
    if (!backend_) throw StoreError(ErrorKind::invalid, place_, "the store was closed");
    return backend_;
  });
}

Napi::Value NativeBackend::place(const Napi::CallbackInfo& info) { return Napi::String::New(info.Env(), place_); }

Napi::Value NativeBackend::get(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  std::string name = string_argument(info, 0);
  const uint64_t limit = number_argument(info, 1);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  const auto bytes = std::make_shared<std::vector<uint8_t>>();
  job->set_result([bytes](Napi::Env env) -> Napi::Value {
    Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes->size());
    if (!bytes->empty()) std::memcpy(array.Data(), bytes->data(), bytes->size());
    return array;
  });
  Environment::of(env).run_short(job, [=] { *bytes = backend->get(name, limit); });
  return promise;
}

Napi::Value NativeBackend::put(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  std::string name = string_argument(info, 0);
  const Bytes bytes = bytes_argument(info, 1);
  const PutMode mode = string_argument(info, 2) == "create" ? PutMode::create : PutMode::replace;
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(bytes.object);
  Environment::of(env).run_short(
      job, [=, data = bytes.data, size = bytes.size] { backend->put(name, std::span(data, size), mode); });
  return promise;
}

Napi::Value NativeBackend::list(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  std::string folder = string_argument(info, 0);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  const auto names = std::make_shared<std::vector<std::string>>();
  job->set_result([names](Napi::Env env) -> Napi::Value {
    const Napi::Array array = Napi::Array::New(env, names->size());
    for (uint32_t i = 0; i < names->size(); ++i) array.Set(i, (*names)[i]);
    return array;
  });
  Environment::of(env).run_short(job, [=] { *names = backend->list(folder); });
  return promise;
}

Napi::Value NativeBackend::stat(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  std::string name = string_argument(info, 0);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  const auto stat = std::make_shared<std::optional<FileStat>>();
  job->set_result([stat](Napi::Env env) -> Napi::Value {
    if (!*stat) return env.Undefined();
    const Napi::Object object = Napi::Object::New(env);
    object.Set("bytes", static_cast<double>((*stat)->bytes));
    object.Set("modified", (*stat)->modified);
    return object;
  });
  Environment::of(env).run_short(job, [=] { *stat = backend->stat(name); });
  return promise;
}

Napi::Value NativeBackend::remove(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  std::string name = string_argument(info, 0);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  Environment::of(env).run_short(job, [=] {
    backend->remove(name);
    backend->sync_folder(name.substr(0, name.find('/') == std::string::npos ? 0 : name.find('/')));
  });
  return promise;
}

Napi::Value NativeBackend::lock(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  const LockMode mode = string_argument(info, 0) == "exclusive" ? LockMode::exclusive : LockMode::shared;
  const uint64_t timeout_ms = number_argument(info, 1);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  const auto lock = std::make_shared<std::unique_ptr<Lock>>();
  job->set_result([lock](Napi::Env env) -> Napi::Value {
    const Napi::Object object = constructed(env, "NativeLock");
    NativeLock::Unwrap(object)->set(std::move(*lock));
    return object;
  });
  Environment::of(env).run_long(
      job, [=, ending = Environment::of(env).ending()] { *lock = backend->lock(mode, timeout_ms, ending); });
  return promise;
}

Napi::Value NativeBackend::writer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  WriterOptions options;
  options.threads = threads_argument(info, 0);
  const uint64_t pack_bytes = number_argument(info, 1);
  if (pack_bytes != 0) options.pack_bytes = std::clamp(pack_bytes, kLeastPackBytes, kMostPackBytes);
  const auto writer = std::make_shared<StoreWriter>(backend(env), options);
  Environment::of(env).at_end(writer, [writer = writer.get()] { writer->abort(); });
  const Napi::Object object = constructed(env, "NativeWriter");
  NativeWriter::Unwrap(object)->set(writer);
  return object;
}

Napi::Value NativeBackend::reader(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto reader = std::make_shared<StoreReader>(backend(env), threads_argument(info, 0));
  Environment::of(env).at_end(reader, [reader = reader.get()] { reader->stop(); });
  const Napi::Object object = constructed(env, "NativeReader");
  NativeReader::Unwrap(object)->set(reader);
  return object;
}

Napi::Value NativeBackend::compact(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  const Bytes live = bytes_argument(info, 0);
  CompactOptions options;
  options.minimum_live_share = info[1].As<Napi::Number>().DoubleValue();
  options.dry_run = bool_argument(info, 2);
  auto cancelled = cancellation_argument(info, 4);
  options.cancelled = cancelled.get();
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  options.progress = progress_argument(info, 3, job);
  job->keep(live.object);
  const auto statistics = std::make_shared<CompactStatistics>();
  job->set_result([statistics](Napi::Env env) -> Napi::Value {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("packsRemoved", static_cast<double>(statistics->packs_removed));
    object.Set("packsWritten", static_cast<double>(statistics->packs_written));
    object.Set("bytesFreed", static_cast<double>(statistics->bytes_freed));
    object.Set("bytesMoved", static_cast<double>(statistics->bytes_moved));
    object.Set("chunksLive", static_cast<double>(statistics->chunks_live));
    return object;
  });
  const std::span names(reinterpret_cast<const ChunkName*>(live.data), live.size / sizeof(ChunkName));
  Environment::of(env).run_long(
      job, [=, cancelled = std::move(cancelled)] { *statistics = gcr::compact(*backend, names, options); });
  return promise;
}

Napi::Value NativeBackend::check(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  CheckOptions options;
  options.read_data = bool_argument(info, 0);
  auto cancelled = cancellation_argument(info, 2);
  options.cancelled = cancelled.get();
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  options.progress = progress_argument(info, 1, job);
  const auto problems = std::make_shared<std::vector<Problem>>();
  job->set_result([problems](Napi::Env env) -> Napi::Value {
    const Napi::Array array = Napi::Array::New(env, problems->size());
    for (uint32_t i = 0; i < problems->size(); ++i) {
      const Problem& problem = (*problems)[i];
      const Napi::Object object = Napi::Object::New(env);
      object.Set("file", problem.file);
      object.Set("message", problem.message);
      object.Set("remedy", problem.remedy);
      object.Set("harmless", problem.harmless);
      array.Set(i, object);
    }
    return array;
  });
  Environment::of(env).run_long(
      job, [=, cancelled = std::move(cancelled)] { *problems = gcr::check(*backend, options); });
  return promise;
}

Napi::Value NativeBackend::rebuild_index(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto backend = this->backend(env);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  const auto statistics = std::make_shared<RebuildStatistics>();
  job->set_result([statistics](Napi::Env env) -> Napi::Value {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("packs", static_cast<double>(statistics->packs));
    object.Set("chunks", static_cast<double>(statistics->chunks));
    return object;
  });
  Environment::of(env).run_long(job, [=] { *statistics = gcr::rebuild_index(*backend); });
  return promise;
}

}  // namespace gcr
