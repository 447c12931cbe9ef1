// Fields of the store's binary blocks (docs/formats/store.md): little-endian numbers at fixed places, for the files that encode and decode them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/error.h"

namespace gcr {

template <class T>
void store(uint8_t* block, size_t offset, T value) {
  std::memcpy(block + offset, &value, sizeof value);
}

template <class T>
T load(const uint8_t* block, size_t offset) {
  T value;
  std::memcpy(&value, block + offset, sizeof value);
  return value;
}

[[noreturn]] inline void damaged(const std::string& file, const char* message) {
  throw StoreError(ErrorKind::damaged, file, message);
}

}  // namespace gcr
