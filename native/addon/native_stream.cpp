#include "addon/native_stream.h"

#include "addon/arguments.h"
#include "addon/environment.h"

namespace gcr {
namespace {

constexpr size_t kNameBytes = sizeof(ChunkName);

}  // namespace

Napi::Function NativeWriter::define(Napi::Env env) {
  return DefineClass(env, "NativeWriter",
                     {InstanceMethod<&NativeWriter::write>("write"), InstanceMethod<&NativeWriter::write_named>("writeNamed"),
                      InstanceMethod<&NativeWriter::finish>("finish"), InstanceMethod<&NativeWriter::abort>("abort")});
}

Napi::Value NativeWriter::write(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Bytes bytes = bytes_argument(info, 0);
  Napi::Uint8Array names = Napi::Uint8Array::New(env, (bytes.size + kChunkBytes - 1) / kChunkBytes * kNameBytes);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(names);
  job->keep(bytes.object);
  job->keep(info.This().As<Napi::Object>());
  job->set_result([job](Napi::Env) { return job->kept(0); });
  try {
    writer_->write(bytes.data, bytes.size, names.Data(), [job](std::exception_ptr error) { job->finish(error); });
  } catch (const StoreError&) {
    job->finish(std::current_exception());
  }
  return promise;
}

// writeNamed(slots, names, lengths): chunk i is at 65,536 i of `slots` and has lengths[i] bytes (a Uint32Array).
Napi::Value NativeWriter::write_named(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Bytes slots = bytes_argument(info, 0);
  const Bytes names = bytes_argument(info, 1);
  if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
    throw Napi::TypeError::New(env, "argument 3 must be a Uint32Array");
  const auto lengths = info[2].As<Napi::Uint32Array>();
  std::vector<NewChunk> chunks(lengths.ElementLength());
  if (names.size != chunks.size() * kNameBytes) throw Napi::RangeError::New(env, "names and lengths differ in number");
  for (size_t i = 0; i < chunks.size(); ++i) {
    const uint32_t length = lengths[i];
    if (length == 0 || length > kChunkBytes || i * kChunkBytes + length > slots.size)
      throw Napi::RangeError::New(env, "a chunk ends outside of its slots");
    std::memcpy(&chunks[i].name, names.data + i * kNameBytes, kNameBytes);
    chunks[i].bytes = slots.data + i * kChunkBytes;
    chunks[i].length = length;
  }
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(slots.object);
  job->keep(info.This().As<Napi::Object>());
  try {
    writer_->write_named(std::move(chunks), [job](std::exception_ptr error) { job->finish(error); });
  } catch (const StoreError&) {
    job->finish(std::current_exception());
  }
  return promise;
}

Napi::Value NativeWriter::finish(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(info.This().As<Napi::Object>());
  const auto statistics = std::make_shared<WriterStatistics>();
  job->set_result([statistics](Napi::Env env) -> Napi::Value {
    const Napi::Object result = Napi::Object::New(env);
    result.Set("chunks", static_cast<double>(statistics->chunks));
    result.Set("storedChunks", static_cast<double>(statistics->stored_chunks));
    result.Set("storedBytes", static_cast<double>(statistics->stored_bytes));
    result.Set("packs", static_cast<double>(statistics->packs));
    return result;
  });
  Environment::of(env).run_long(job, [writer = writer_, statistics] { *statistics = writer->finish(); });
  return promise;
}

Napi::Value NativeWriter::abort(const Napi::CallbackInfo& info) {
  auto* const job = new Job(info.Env());
  const Napi::Promise promise = job->promise();
  Environment::of(info.Env()).run_long(job, [writer = writer_] { writer->abort(); });
  return promise;
}

Napi::Function NativeReader::define(Napi::Env env) {
  return DefineClass(env, "NativeReader",
                     {InstanceMethod<&NativeReader::read>("read"), InstanceMethod<&NativeReader::has>("has"),
                      InstanceMethod<&NativeReader::close>("close")});
}

StoreReader& NativeReader::reader(Napi::Env env) const {
  if (!reader_) {
    throw Napi::Error(env, to_js_error(env, std::make_exception_ptr(
                                                StoreError(ErrorKind::invalid, "reader", "was closed"))));
  }
  return *reader_;
}

Napi::Value NativeReader::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  StoreReader& reader = this->reader(env);
  const Bytes names = bytes_argument(info, 0);
  const Bytes target = bytes_argument(info, 1);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(names.object);
  job->keep(target.object);
  job->keep(info.This().As<Napi::Object>());
  try {
    reader.read(names.data, names.size / kNameBytes, target.data, target.size,
                [job](std::exception_ptr error) { job->finish(error); });
  } catch (const StoreError&) {
    job->finish(std::current_exception());
  }
  return promise;
}

Napi::Value NativeReader::has(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  StoreReader& reader = this->reader(env);
  const Bytes names = bytes_argument(info, 0);
  const auto last_length = static_cast<uint32_t>(number_argument(info, 1));
  const size_t count = names.size / kNameBytes;
  Napi::Uint8Array present = Napi::Uint8Array::New(env, count);
  auto* const job = new Job(env);
  const Napi::Promise promise = job->promise();
  job->keep(present);
  job->keep(names.object);
  job->keep(info.This().As<Napi::Object>());
  job->set_result([job](Napi::Env) { return job->kept(0); });
  reader.has(names.data, count, last_length, present.Data(), [job](std::exception_ptr error) { job->finish(error); });
  return promise;
}

void NativeReader::close(const Napi::CallbackInfo& info) {
  if (!reader_) return;
  reader_->stop();
  // Ending the threads waits for what they are at.
  auto* const job = new Job(info.Env());
  Environment::of(info.Env()).run_long(job, [reader = std::move(reader_)]() mutable { reader.reset(); });
  reader_ = nullptr;
}

}  // namespace gcr
