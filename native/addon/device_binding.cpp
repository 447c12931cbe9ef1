// See device_binding.h. The work is native/mover's; here is what of it JavaScript holds, and the check of what it asks for.
#include "addon/device_binding.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>

#include "addon/arguments.h"
#include "addon/environment.h"
#include "mover/mover.h"

namespace gcr {
namespace {

// Memory that is open, by the numbers that JavaScript names it by. Of JavaScript's thread.
class OpenMemory {
 public:
  std::uint64_t add(std::shared_ptr<const MappedMemory> memory) {
    memory_.emplace(++last_, std::move(memory));
    return last_;
  }
  // Null when it was closed.
  std::shared_ptr<const MappedMemory> find(std::uint64_t number) const {
    const auto found = memory_.find(number);
    return found == memory_.end() ? nullptr : found->second;
  }
  void remove(std::uint64_t number) { memory_.erase(number); }

 private:
  std::map<std::uint64_t, std::shared_ptr<const MappedMemory>> memory_;
  std::uint64_t last_ = 0;
};

struct Device {
  explicit Device(std::shared_ptr<const OpenDevice> device, bool kernels) : mover(std::move(device), kernels) {}
  Mover mover;
  OpenMemory memory;
};

[[noreturn]] void out_of_range(Napi::Env env, const std::string &what) { throw Napi::RangeError::New(env, what); }

// Work of a mover's as a job: the object whose method was called stays until it is settled.
Lane::Done finishing(Job *job) {
  return [job](std::exception_ptr error) { job->finish(error); };
}

Job *job_of(const Napi::CallbackInfo &info) {
  auto *job = new Job(info.Env());
  job->keep(info.This().As<Napi::Object>());
  return job;
}

class NativeHostArena : public Napi::ObjectWrap<NativeHostArena> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeHostArena",
                       {InstanceAccessor<&NativeHostArena::slots>("slots"), InstanceAccessor<&NativeHostArena::pinned>("pinned"),
                        InstanceAccessor<&NativeHostArena::unpinned_because>("unpinnedBecause"),
                        InstanceMethod("segment", &NativeHostArena::segment), InstanceMethod("grow", &NativeHostArena::grow),
                        InstanceMethod("close", &NativeHostArena::close)});
  }

  explicit NativeHostArena(const Napi::CallbackInfo &info)
      : Napi::ObjectWrap<NativeHostArena>(info), arena_(std::make_shared<std::shared_ptr<HostArena>>(std::make_shared<HostArena>())) {}

  const std::shared_ptr<HostArena> &arena(Napi::Env env) const {
    if (!*arena_) throw Napi::Error::New(env, "the arena was closed");
    return *arena_;
  }

 private:
  Napi::Value slots(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), *arena_ ? static_cast<double>((*arena_)->slots()) : 0);
  }
  Napi::Value pinned(const Napi::CallbackInfo &info) { return Napi::Boolean::New(info.Env(), arena(info.Env())->is_pinned()); }
  Napi::Value unpinned_because(const Napi::CallbackInfo &info) {
    const std::string refusal = arena(info.Env())->refusal();
    return refusal.empty() ? info.Env().Undefined() : Napi::String::New(info.Env(), refusal);
  }

  // segment(number): one ArrayBuffer a segment, made when it is first asked for. Whoever has one holds the arena until it is closed.
  Napi::Value segment(const Napi::CallbackInfo &info) {
    const std::uint64_t number = number_argument(info, 0);
    if (number >= arena(info.Env())->slots() / HostArena::segment_slots) out_of_range(info.Env(), "the arena has no such segment");
    const auto found = buffers_.find(number);
    if (found != buffers_.end()) return found->second.Value();
    auto *held = new std::shared_ptr<std::shared_ptr<HostArena>>(arena_);
    const auto buffer = Napi::ArrayBuffer::New(info.Env(), (*arena_)->slot(number * HostArena::segment_slots), HostArena::segment_bytes,
                                               [held](Napi::Env, void *) { delete held; });
    buffers_.emplace(number, Napi::Persistent(buffer));
    return buffer;
  }

  // grow(bytes, device or undefined, progress or undefined)
  Napi::Value grow(const Napi::CallbackInfo &info);

  // Copies under way hold the memory; giving it back takes time, so another thread does that. A promise of its end where nobody else holds it.
  Napi::Value close(const Napi::CallbackInfo &info) {
    for (auto &[number, buffer] : buffers_) buffer.Value().Detach();
    buffers_.clear();
    auto *job = new Job(info.Env());
    const Napi::Promise promise = job->promise();
    Environment::of(info.Env()).run_long(job, [arena = std::move(*arena_)]() mutable { arena.reset(); });
    return promise;
  }

  // Empty when closed.
  std::shared_ptr<std::shared_ptr<HostArena>> arena_;
  std::map<std::uint64_t, Napi::Reference<Napi::ArrayBuffer>> buffers_;
};

class NativeDevice : public Napi::ObjectWrap<NativeDevice> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeDevice",
                       {InstanceAccessor<&NativeDevice::names_on_device>("namesOnDevice"),
                        InstanceMethod("importMemory", &NativeDevice::import_memory), InstanceMethod("createMemory", &NativeDevice::create_memory),
                        InstanceMethod("names", &NativeDevice::names), InstanceMethod("save", &NativeDevice::save),
                        InstanceMethod("load", &NativeDevice::load)});
  }

  explicit NativeDevice(const Napi::CallbackInfo &info) : Napi::ObjectWrap<NativeDevice>(info) {
    device_ = *info[0].As<Napi::External<std::shared_ptr<Device>>>().Data();
    Environment::of(info.Env()).at_end(device_, [device = std::weak_ptr(device_)] {
      if (const auto alive = device.lock()) alive->mover.stop();
    });
  }

  const std::shared_ptr<const OpenDevice> &open() const { return device_->mover.device(); }

 private:
  Napi::Value names_on_device(const Napi::CallbackInfo &info) { return Napi::Boolean::New(info.Env(), device_->mover.has_kernels()); }

  // importMemory(fd, bytes): the descriptor stays the caller's.
  Napi::Value import_memory(const Napi::CallbackInfo &info) {
    const auto fd = static_cast<int>(number_argument(info, 0));
    return make_memory(info, [fd, device = open(), size = number_argument(info, 1)] { return MappedMemory::import(device, fd, size); }, false);
  }

  // createMemory(bytes): `{ memory, fd }`; the descriptor is the caller's.
  Napi::Value create_memory(const Napi::CallbackInfo &info) {
    return make_memory(info, [device = open(), size = number_argument(info, 0)] { return MappedMemory::create(device, size); }, true);
  }

  Napi::Value make_memory(const Napi::CallbackInfo &info, std::function<std::shared_ptr<const MappedMemory>()> make, bool exported) {
    Job *job = job_of(info);
    struct Made {
      std::shared_ptr<const MappedMemory> memory;
      int fd = -1;
    };
    auto made = std::make_shared<Made>();
    job->set_result([made, device = device_, exported](Napi::Env env) -> Napi::Value {
      const Napi::Object memory = memory_object(env, device, std::move(made->memory));
      if (!exported) return memory;
      Napi::Object both = Napi::Object::New(env);
      both.Set("fd", Napi::Number::New(env, made->fd));
      both.Set("memory", memory);
      return both;
    });
    const Napi::Promise promise = job->promise();
    Environment::of(info.Env()).run_short(job, [made, make = std::move(make), exported] {
      made->memory = make();
      if (exported) made->fd = made->memory->exported();
    });
    return promise;
  }

  static Napi::Object memory_object(Napi::Env env, const std::shared_ptr<Device> &device, std::shared_ptr<const MappedMemory> memory) {
    const std::uint64_t number = device->memory.add(std::move(memory));
    const auto copy = [device, number](bool to_device) {
      return [device, number, to_device](const Napi::CallbackInfo &info) { return start_copy(info, *device, number, to_device); };
    };
    Napi::Object object = Napi::Object::New(env);
    object.Set("number", Napi::Number::New(env, static_cast<double>(number)));
    object.Set("read", Napi::Function::New(env, copy(false)));
    object.Set("write", Napi::Function::New(env, copy(true)));
    object.Set("close", Napi::Function::New(env, [device, number](const Napi::CallbackInfo &) { device->memory.remove(number); }));
    return object;
  }

  // (offset, bytes)
  static Napi::Value start_copy(const Napi::CallbackInfo &info, Device &device, std::uint64_t number, bool to_device) {
    const auto memory = device.memory.find(number);
    if (!memory) throw Napi::Error::New(info.Env(), "the memory was closed");
    const std::uint64_t offset = number_argument(info, 0);
    const Bytes bytes = bytes_argument(info, 1);
    if (offset > memory->size() || bytes.size > memory->size() - offset) out_of_range(info.Env(), "a copy ends outside of the memory");
    Job *job = job_of(info);
    job->keep(bytes.object);
    const Napi::Promise promise = job->promise();
    Spans span{{{memory->address() + offset, bytes.size}}, {memory}};
    if (to_device) device.mover.write(std::move(span), bytes.data, finishing(job));
    else device.mover.read(std::move(span), bytes.data, finishing(job));
    return promise;
  }

  // Three numbers a span: memory, offset, bytes.
  Spans spans_argument(const Napi::CallbackInfo &info, size_t position) {
    const Napi::Env env = info.Env();
    if (!info[position].IsTypedArray() || info[position].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
      throw Napi::TypeError::New(env, "spans must be a Float64Array");
    const auto numbers = info[position].As<Napi::Float64Array>();
    Spans spans;
    spans.list.reserve(numbers.ElementLength() / 3);
    std::unordered_set<const MappedMemory *> held;
    std::shared_ptr<const MappedMemory> memory;
    double last = -1;
    for (size_t at = 0; at + 3 <= numbers.ElementLength(); at += 3) {
      const double number = numbers[at], offset = numbers[at + 1], bytes = numbers[at + 2];
      if (number != last) {
        memory = number > 0 ? device_->memory.find(static_cast<std::uint64_t>(number)) : nullptr;
        if (!memory) throw Napi::Error::New(env, "a span's memory is closed, or another device's");
        last = number;
        if (held.insert(memory.get()).second) spans.memories.push_back(memory);
      }
      const auto size = static_cast<double>(memory->size());
      if (!(offset >= 0 && bytes >= 1 && offset <= size && bytes <= size - offset && offset == static_cast<double>(static_cast<std::uint64_t>(offset)) &&
            bytes == static_cast<double>(static_cast<std::uint64_t>(bytes)) && static_cast<std::uint64_t>(offset) % 16 == 0))
        out_of_range(env, "span " + std::to_string(at / 3) + " is not in its memory, or begins at no multiple of 16");
      spans.list.push_back({memory->address() + static_cast<std::uint64_t>(offset), static_cast<std::uint64_t>(bytes)});
    }
    return spans;
  }

  // names(spans)
  Napi::Value names(const Napi::CallbackInfo &info) {
    Spans spans = spans_argument(info, 0);
    auto names = Napi::Uint8Array::New(info.Env(), chunks_of(spans.list) * sizeof(ChunkName));
    Job *job = job_of(info);
    job->keep(names);
    job->set_result([job](Napi::Env) { return job->kept(1); });
    const Napi::Promise promise = job->promise();
    device_->mover.names(std::move(spans), reinterpret_cast<ChunkName *>(names.Data()), finishing(job));
    return promise;
  }

  // save(spans, arena, slots) and load
  Napi::Value save(const Napi::CallbackInfo &info) { return start_move(info, &Mover::save); }
  Napi::Value load(const Napi::CallbackInfo &info) { return start_move(info, &Mover::load); }

  Napi::Value start_move(const Napi::CallbackInfo &info,
                         void (Mover::*move)(Spans, std::shared_ptr<HostArena>, std::vector<std::uint32_t>, Lane::Done)) {
    const Napi::Env env = info.Env();
    Spans spans = spans_argument(info, 0);
    const std::shared_ptr<HostArena> arena = NativeHostArena::Unwrap(info[1].As<Napi::Object>())->arena(env);
    if (!info[2].IsTypedArray() || info[2].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array)
      throw Napi::TypeError::New(env, "slots must be a Uint32Array");
    const auto given = info[2].As<Napi::Uint32Array>();
    std::vector<std::uint32_t> slots(given.Data(), given.Data() + given.ElementLength());
    if (slots.size() != chunks_of(spans.list)) out_of_range(env, "there must be one slot for each chunk of the spans");
    const std::size_t there = arena->slots();
    for (const std::uint32_t slot : slots)
      if (slot >= there) out_of_range(env, "slot " + std::to_string(slot) + " is not in the arena");
    Job *job = job_of(info);
    const Napi::Promise promise = job->promise();
    (device_->mover.*move)(std::move(spans), arena, std::move(slots), finishing(job));
    return promise;
  }

  std::shared_ptr<Device> device_;
};

Napi::Value NativeHostArena::grow(const Napi::CallbackInfo &info) {
  const std::uint64_t segments = (number_argument(info, 0) + HostArena::segment_bytes - 1) / HostArena::segment_bytes;
  const std::shared_ptr<HostArena> arena = this->arena(info.Env());
  std::shared_ptr<const OpenDevice> device;
  if (info[1].IsObject()) device = NativeDevice::Unwrap(info[1].As<Napi::Object>())->open();
  Environment &environment = Environment::of(info.Env());
  Job *job = job_of(info);
  if (info[2].IsFunction()) job->set_progress(info[2].As<Napi::Function>());
  const Napi::Promise promise = job->promise();
  const auto progress = [job](std::uint64_t done, std::uint64_t total) {
    if (job->has_progress()) job->report(done, total);
  };
  environment.run_long(job, [=, &environment] { arena->grow(segments, device, progress, *environment.ending()); });
  return promise;
}

// openDevice(driver, uuid)
Napi::Value open_device(const Napi::CallbackInfo &info) {
  const std::string path = string_argument(info, 0);
  const Bytes uuid = bytes_argument(info, 1);
  auto *job = new Job(info.Env());
  auto made = std::make_shared<std::shared_ptr<Device>>();
  job->set_result([made](Napi::Env env) {
    return Environment::of(env).constructor("NativeDevice").New({Napi::External<std::shared_ptr<Device>>::New(env, made.get())});
  });
  const Napi::Promise promise = job->promise();
  Environment::of(info.Env()).run_long(job, [made, path, uuid = std::string(reinterpret_cast<const char *>(uuid.data), uuid.size)] {
    auto device = OpenDevice::open(path, reinterpret_cast<const std::uint8_t *>(uuid.data()), uuid.size());
    // Kernels on the simulated device take a second a megabyte: only its tests want them there.
    const bool kernels = !device->is_simulated() || std::getenv("GCR_SIM_KERNELS");
    *made = std::make_shared<Device>(std::move(device), kernels);
  });
  return promise;
}

}  // namespace

void define_device(Napi::Env env, Napi::Object exports) {
  Environment::of(env).define("NativeDevice", NativeDevice::define(env));
  exports.Set("NativeHostArena", NativeHostArena::define(env));
  exports.Set("openDevice", Napi::Function::New<open_device>(env));
}

}  // namespace gcr
