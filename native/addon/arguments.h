// Arguments of calls from JavaScript. src/native checks and converts what users pass, so a wrong type here is our own bug and becomes a
// TypeError.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

#include "addon/environment.h"
#include "core/error.h"

namespace gcr {

struct Bytes {
  Napi::Object object;
  uint8_t* data;
  size_t size;
};

std::string string_argument(const Napi::CallbackInfo& info, size_t position);
uint64_t number_argument(const Napi::CallbackInfo& info, size_t position);
bool bool_argument(const Napi::CallbackInfo& info, size_t position);
Bytes bytes_argument(const Napi::CallbackInfo& info, size_t position);

/// Runs a call that may throw StoreError on JavaScript's thread; it throws the JavaScript error instead.
template <class Call>
auto rethrown(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const StoreError&) {
    throw Napi::Error(env, to_js_error(env, std::current_exception()));
  }
}

}  // namespace gcr
