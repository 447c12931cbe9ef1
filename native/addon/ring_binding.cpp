// See ring_binding.h. A thread a ring waits for the eventfd when JavaScript asked to be woken; the ring itself is read on
// JavaScript's thread alone.
#include "addon/ring_binding.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "core/ring.h"

namespace gcr {
namespace {

void wake_js(Napi::Env env, Napi::Function callback, std::nullptr_t*, void*) {
  if (env != nullptr && !callback.IsEmpty()) callback.Call({});
}

using WakeFunction = Napi::TypedThreadSafeFunction<std::nullptr_t, void, wake_js>;

// What the waiting thread shares with the object.
struct Waiter {
  Descriptor wake;
  Descriptor control{::eventfd(0, EFD_CLOEXEC)};
  std::atomic<bool> armed{false};
  std::atomic<bool> ended{false};

  void kick() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(control.get(), &one, sizeof(one));
  }
};

void wait_loop(std::shared_ptr<Waiter> waiter, WakeFunction to_js) {
  while (!waiter->ended) {
    pollfd what[2] = {{waiter->control.get(), POLLIN, 0}, {waiter->armed ? waiter->wake.get() : -1, POLLIN, 0}};
    if (::poll(what, 2, -1) < 0) continue;
    if (what[0].revents) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t taken = ::read(waiter->control.get(), &count, sizeof(count));
    }
    if (what[1].revents && waiter->armed.exchange(false) && to_js.NonBlockingCall() == napi_closing) return;
  }
  to_js.Release();
}

class NativeRing : public Napi::ObjectWrap<NativeRing> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeRing",
                       {InstanceMethod("drain", &NativeRing::drain), InstanceMethod("sleep", &NativeRing::sleep),
                        InstanceMethod("awake", &NativeRing::awake), InstanceMethod("close", &NativeRing::close),
                        InstanceAccessor("position", &NativeRing::position, nullptr),
                        InstanceAccessor("hasEvent", &NativeRing::has_event, nullptr)});
  }

  // new NativeRing(ring, wake, onWake): the descriptors are taken over, also when this throws.
  explicit NativeRing(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeRing>(info), waiter_(std::make_shared<Waiter>()) {
    Descriptor file(info[0].As<Napi::Number>().Int32Value());
    waiter_->wake = Descriptor(info[1].As<Napi::Number>().Int32Value());
    if (const std::string wrong = memory_.open(file.get()); !wrong.empty())
      throw Napi::Error::New(info.Env(), "the recorder's ring cannot be used: " + wrong);
    reader_ = std::make_unique<RingReader>(memory_, waiter_->wake.get());
    auto to_js = WakeFunction::New(info.Env(), info[2].As<Napi::Function>(), "gcr-ring", 0, 1);
    std::thread(wait_loop, waiter_, to_js).detach();
  }

  ~NativeRing() override { end(); }

 private:
  RingReader& reader(Napi::Env env) {
    if (!reader_) throw Napi::Error::New(env, "the ring is closed");
    return *reader_;
  }

  // drain(maxBytes): at least one event when one is there, however large.
  Napi::Value drain(const Napi::CallbackInfo& info) {
    RingReader& reader = this->reader(info.Env());
    const auto wanted = static_cast<std::size_t>(std::max<std::int64_t>(0, info[0].As<Napi::Number>().Int64Value()));
    const std::size_t size = std::max(std::min(wanted, memory_.data_bytes()), reader.needs());
    if (scratch_.size() < size) scratch_.resize(size);
    const std::size_t taken = reader.drain({scratch_.data(), size});
    if (taken == 0 && !reader.broken().empty())
      throw Napi::Error::New(info.Env(), "the recorder's ring is damaged: " + reader.broken());
    return Napi::Buffer<std::uint8_t>::Copy(info.Env(), scratch_.data(), taken);
  }

  // Whether an event is there.
  Napi::Value has_event(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), reader(info.Env()).needs() > 0);
  }

  // sleep() → whether onWake is going to be called; false when an event is there already.
  Napi::Value sleep(const Napi::CallbackInfo& info) {
    const bool asleep = reader(info.Env()).prepare_sleep();
    if (asleep) {
      waiter_->armed = true;
      waiter_->kick();
    }
    return Napi::Boolean::New(info.Env(), asleep);
  }

  Napi::Value awake(const Napi::CallbackInfo& info) {
    waiter_->armed = false;
    if (reader_) reader_->cancel_sleep();
    return info.Env().Undefined();
  }

  Napi::Value position(const Napi::CallbackInfo& info) {
    return Napi::BigInt::New(info.Env(), reader(info.Env()).position());
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    end();
    return info.Env().Undefined();
  }

  void end() {
    reader_.reset();
    if (!waiter_->ended.exchange(true)) waiter_->kick();
  }

  RingMemory memory_;
  std::shared_ptr<Waiter> waiter_;
  std::unique_ptr<RingReader> reader_;
  std::vector<std::uint8_t> scratch_;
};

}  // namespace

void define_ring(Napi::Env env, Napi::Object exports) { exports.Set("NativeRing", NativeRing::define(env)); }

}  // namespace gcr
