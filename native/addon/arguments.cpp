#include "addon/arguments.h"

namespace gcr {
namespace {

[[noreturn]] void wrong(const Napi::CallbackInfo& info, size_t position, const char* expected) {
  throw Napi::TypeError::New(info.Env(), "argument " + std::to_string(position) + " must be " + expected);
}

}  // namespace

std::string string_argument(const Napi::CallbackInfo& info, size_t position) {
  if (!info[position].IsString()) wrong(info, position, "a string");
  return info[position].As<Napi::String>().Utf8Value();
}

uint64_t number_argument(const Napi::CallbackInfo& info, size_t position) {
  const double value = info[position].IsNumber() ? info[position].As<Napi::Number>().DoubleValue() : -1;
  if (!(value >= 0 && value <= 9007199254740991.0)) wrong(info, position, "a number that is not negative");
  return static_cast<uint64_t>(value);
}

bool bool_argument(const Napi::CallbackInfo& info, size_t position) {
  if (!info[position].IsBoolean()) wrong(info, position, "a boolean");
  return info[position].As<Napi::Boolean>().Value();
}

Bytes bytes_argument(const Napi::CallbackInfo& info, size_t position) {
  if (!info[position].IsTypedArray() || info[position].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    wrong(info, position, "a Uint8Array");
  }
  auto array = info[position].As<Napi::Uint8Array>();
  return {array, array.Data(), array.ByteLength()};
}

}  // namespace gcr
