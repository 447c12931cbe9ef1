// The one exception of the store. Every failure that a caller can meet is a StoreError with a kind that programs decide by, the
// file (a name inside the store, or the store's place) and a sentence for people. Relied on by the addon, which hands kind and
// file on to JavaScript.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace gcr {

enum class ErrorKind { not_found, damaged, no_space, read_only, io, locked, exists, invalid };

/// The kind as programs outside C++ see it, for example `not-found`.
const char* error_code(ErrorKind kind);

class StoreError : public std::runtime_error {
 public:
  StoreError(ErrorKind kind, std::string_view file, std::string_view message);
  ErrorKind kind() const { return kind_; }
  const std::string& file() const { return file_; }

 private:
  ErrorKind kind_;
  std::string file_;
};

/// Throws the StoreError of an errno value; `action` is what was tried, for example "write".
[[noreturn]] void throw_errno(int error, std::string_view action, std::string_view file);

}  // namespace gcr
