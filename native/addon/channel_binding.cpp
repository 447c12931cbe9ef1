// See channel_binding.h. Each listener and each connection that receives has a thread; threads share the ownership of what they use, so
// that closing never waits for them, and reach JavaScript by bounded queues, so that a peer that floods waits. Descriptors
// of a message that JavaScript does not get to see are closed with it.
#include "addon/channel_binding.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>

#include "core/channel.h"

namespace gcr {
namespace {

constexpr int send_timeout_ms = 10000;
constexpr std::size_t queued_messages = 256;

[[noreturn]] void throw_system(Napi::Env env, const std::string& what, int error) {
  Napi::Error thrown = Napi::Error::New(env, what + ": " + std::strerror(error));
  thrown.Set("errno", Napi::Number::New(env, error));
  throw thrown;
}

Napi::Object credentials_object(Napi::Env env, const PeerCredentials& peer) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("pid", Napi::Number::New(env, peer.pid));
  object.Set("uid", Napi::Number::New(env, peer.uid));
  return object;
}

const char* end_reason(const ChannelResult& result) {
  switch (result.status) {
    case ChannelStatus::bad_message:
      return "a message's head does not describe it";
    case ChannelStatus::failed:
      return std::strerror(result.error);
    default:
      return "";
  }
}

// What the receiving thread hands over: a message, or the end and its reason.
struct Delivery {
  Message message;
  bool ended = false;
  std::string reason;
};

void deliver(Napi::Env env, Napi::Function on_message, Napi::Reference<Napi::Function>* on_end, Delivery* raw) {
  std::unique_ptr<Delivery> delivery(raw);
  if (env == nullptr || on_message.IsEmpty()) return;
  if (delivery->ended) {
    on_end->Value().Call({Napi::String::New(env, delivery->reason)});
    return;
  }
  const Message& message = delivery->message;
  const std::size_t size = channel_head_bytes + message.body.size();
  auto packet = Napi::Buffer<std::uint8_t>::New(env, size);
  const auto length = static_cast<std::uint32_t>(size);
  const auto count = static_cast<std::uint16_t>(message.descriptors.size());
  std::memcpy(packet.Data(), &length, 4);
  std::memcpy(packet.Data() + 4, &message.type, 2);
  std::memcpy(packet.Data() + 6, &count, 2);
  std::memcpy(packet.Data() + 8, &message.request, 8);
  if (!message.body.empty()) std::memcpy(packet.Data() + channel_head_bytes, message.body.data(), message.body.size());
  Napi::Array descriptors = Napi::Array::New(env, count);
  for (std::uint32_t i = 0; i < count; ++i) descriptors.Set(i, Napi::Number::New(env, delivery->message.descriptors[i].release()));
  on_message.Call({packet, descriptors});
}

using DeliveryFunction = Napi::TypedThreadSafeFunction<Napi::Reference<Napi::Function>, Delivery, deliver>;

class NativeConnection : public Napi::ObjectWrap<NativeConnection> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "NativeConnection",
                       {InstanceMethod("send", &NativeConnection::send), InstanceMethod("receive", &NativeConnection::receive),
                        InstanceMethod("close", &NativeConnection::close), InstanceAccessor("peer", &NativeConnection::peer, nullptr)});
  }

  struct Accepted {
    Channel channel;
    PeerCredentials peer;
  };

  explicit NativeConnection(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NativeConnection>(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "connections are made by listenChannel and connectChannel");
    auto* accepted = info[0].As<Napi::External<Accepted>>().Data();
    channel_ = std::make_shared<Channel>(std::move(accepted->channel));
    peer_ = accepted->peer;
  }

  ~NativeConnection() override { channel_->shutdown(); }

 private:
  Napi::Value peer(const Napi::CallbackInfo& info) { return credentials_object(info.Env(), peer_); }

  // send(packet, descriptors): the head of the packet must describe it.
  Napi::Value send(const Napi::CallbackInfo& info) {
    const auto packet = info[0].As<Napi::Uint8Array>();
    const auto list = info[1].As<Napi::Array>();
    std::uint32_t length = 0;
    std::uint16_t type = 0, count = 0;
    std::uint64_t request = 0;
    if (packet.ByteLength() >= channel_head_bytes) {
      std::memcpy(&length, packet.Data(), 4);
      std::memcpy(&type, packet.Data() + 4, 2);
      std::memcpy(&count, packet.Data() + 6, 2);
      std::memcpy(&request, packet.Data() + 8, 8);
    }
    if (length != packet.ByteLength() || count != list.Length()) throw Napi::RangeError::New(info.Env(), "the message's head does not describe it");
    std::vector<int> descriptors;
    for (std::uint32_t i = 0; i < count; ++i) descriptors.push_back(list.Get(i).As<Napi::Number>().Int32Value());
    const ChannelResult result =
        channel_->send(type, request, {packet.Data() + channel_head_bytes, length - channel_head_bytes}, descriptors, send_timeout_ms);
    if (!result) throw_system(info.Env(), "the message could not be sent", result.error ? result.error : EPIPE);
    return info.Env().Undefined();
  }

  // receive(onMessage, onEnd): once; starts the thread that receives.
  Napi::Value receive(const Napi::CallbackInfo& info) {
    if (receiving_) throw Napi::Error::New(info.Env(), "this connection receives already");
    receiving_ = true;
    auto* on_end = new Napi::Reference<Napi::Function>(Napi::Persistent(info[1].As<Napi::Function>()));
    auto to_js = DeliveryFunction::New(info.Env(), info[0].As<Napi::Function>(), "gcr-channel", queued_messages, 1, on_end,
                                       [](Napi::Env, void*, Napi::Reference<Napi::Function>* end) { delete end; }, static_cast<void*>(nullptr));
    std::thread([channel = channel_, to_js]() mutable {
      for (;;) {
        auto delivery = std::make_unique<Delivery>();
        const ChannelResult result = channel->receive(delivery->message);
        delivery->ended = !result;
        if (!result) delivery->reason = end_reason(result);
        const napi_status status = to_js.BlockingCall(delivery.get());
        if (status == napi_closing) return;
        if (status == napi_ok) delivery.release();
        if (!result) break;
      }
      to_js.Release();
    }).detach();
    return info.Env().Undefined();
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    channel_->shutdown();
    return info.Env().Undefined();
  }

  std::shared_ptr<Channel> channel_;
  PeerCredentials peer_;
  bool receiving_ = false;
};

Napi::Value wrap_connection(const Napi::FunctionReference& constructor, NativeConnection::Accepted& accepted) {
  return constructor.New({Napi::External<NativeConnection::Accepted>::New(constructor.Env(), &accepted)});
}

void connect_js(Napi::Env env, Napi::Function on_connection, Napi::FunctionReference* constructor, NativeConnection::Accepted* raw) {
  std::unique_ptr<NativeConnection::Accepted> accepted(raw);
  if (env == nullptr || on_connection.IsEmpty()) return;
  on_connection.Call({wrap_connection(*constructor, *accepted)});
}

using ConnectionFunction = Napi::TypedThreadSafeFunction<Napi::FunctionReference, NativeConnection::Accepted, connect_js>;

// listenChannel(NativeConnection, path, onConnection) → close()
Napi::Value listen_channel(const Napi::CallbackInfo& info) {
  auto listener = std::make_shared<Listener>();
  const std::string path = info[1].As<Napi::String>();
  if (int error = listener->listen(path)) throw_system(info.Env(), path, error);
  auto* constructor = new Napi::FunctionReference(Napi::Persistent(info[0].As<Napi::Function>()));
  auto to_js = ConnectionFunction::New(info.Env(), info[2].As<Napi::Function>(), "gcr-listener", queued_messages, 1, constructor,
                                       [](Napi::Env, void*, Napi::FunctionReference* reference) { delete reference; }, static_cast<void*>(nullptr));
  std::thread([listener, to_js]() mutable {
    for (;;) {
      auto accepted = std::make_unique<NativeConnection::Accepted>();
      const ChannelResult result = listener->accept(accepted->channel, accepted->peer);
      if (result.error == EMFILE || result.error == ENFILE || result.error == ENOMEM || result.error == ENOBUFS) {
        // Others may give descriptors back; whoever connects waits meanwhile.
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        continue;
      }
      if (!result) break;
      const napi_status status = to_js.BlockingCall(accepted.get());
      if (status == napi_closing) return;
      if (status == napi_ok) accepted.release();
    }
    to_js.Release();
  }).detach();
  return Napi::Function::New(info.Env(), [listener](const Napi::CallbackInfo&) { listener->shutdown(); });
}

// connectChannel(NativeConnection, path): a client's end.
Napi::Value connect_channel(const Napi::CallbackInfo& info) {
  NativeConnection::Accepted accepted;
  const std::string path = info[1].As<Napi::String>();
  if (int error = accepted.channel.connect(path)) throw_system(info.Env(), path, error);
  peer_credentials(accepted.channel.descriptor(), accepted.peer);
  const Napi::FunctionReference constructor = Napi::Persistent(info[0].As<Napi::Function>());
  return wrap_connection(constructor, accepted);
}

Napi::Value credentials_of(const Napi::CallbackInfo& info) {
  PeerCredentials peer;
  if (!peer_credentials(info[0].As<Napi::Number>().Int32Value(), peer)) throw_system(info.Env(), "no credentials of the peer", errno);
  return credentials_object(info.Env(), peer);
}

Napi::Value close_descriptor(const Napi::CallbackInfo& info) {
  if (::close(info[0].As<Napi::Number>().Int32Value()) != 0 && errno != EINTR) throw_system(info.Env(), "close", errno);
  return info.Env().Undefined();
}

// A shared mapping under an ArrayBuffer: unmapped when JavaScript says so, or with the buffer.
struct Mapping {
  void* place;
  std::size_t size;
  bool mapped = true;
  void unmap() {
    if (std::exchange(mapped, false)) ::munmap(place, size);
  }
};

// mapFd(fd, offset, size) → [buffer, unmap()]. The descriptor stays the caller's.
Napi::Value map_descriptor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int descriptor = info[0].As<Napi::Number>().Int32Value();
  const auto offset = static_cast<std::uint64_t>(info[1].As<Napi::Number>().Int64Value());
  const auto size = static_cast<std::uint64_t>(info[2].As<Napi::Number>().Int64Value());
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) throw_system(env, "mapFd", errno);
  const auto available = static_cast<std::uint64_t>(status.st_size);
  if (size == 0 || offset > available || size > available - offset)
    throw Napi::RangeError::New(env, "mapFd: " + std::to_string(size) + " bytes at " + std::to_string(offset) + " of " + std::to_string(available));
  void* place = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, static_cast<off_t>(offset));
  if (place == MAP_FAILED) throw_system(env, "mapFd", errno);
  auto mapping = std::make_shared<Mapping>(Mapping{place, size});
  auto buffer = Napi::ArrayBuffer::New(env, place, size, [mapping](Napi::Env, void*) { mapping->unmap(); });
  auto held = std::make_shared<Napi::ObjectReference>(Napi::Weak(buffer.As<Napi::Object>()));
  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(0u, buffer);
  result.Set(1u, Napi::Function::New(env, [mapping, held](const Napi::CallbackInfo& call) {
               const Napi::Value value = held->Value();
               // Detached first: from then on no view of JavaScript's reaches the memory.
               if (mapping->mapped && !value.IsEmpty() && !value.IsUndefined()) value.As<Napi::ArrayBuffer>().Detach();
               mapping->unmap();
               return call.Env().Undefined();
             }));
  return result;
}

}  // namespace

void define_channel(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeConnection", NativeConnection::define(env));
  exports.Set("listenChannel", Napi::Function::New<listen_channel>(env));
  exports.Set("connectChannel", Napi::Function::New<connect_channel>(env));
  exports.Set("peerCredentials", Napi::Function::New<credentials_of>(env));
  exports.Set("closeFd", Napi::Function::New<close_descriptor>(env));
  exports.Set("mapFd", Napi::Function::New<map_descriptor>(env));
}

}  // namespace gcr
