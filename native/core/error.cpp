#include "core/error.h"

#include <cerrno>
#include <system_error>

namespace gcr {

const char* error_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::not_found: return "not-found";
    case ErrorKind::damaged: return "damaged";
    case ErrorKind::no_space: return "no-space";
    case ErrorKind::read_only: return "read-only";
    case ErrorKind::io: return "io";
    case ErrorKind::locked: return "locked";
    case ErrorKind::exists: return "exists";
    case ErrorKind::invalid: return "invalid";
  }
  return "io";
}

StoreError::StoreError(ErrorKind kind, std::string_view file, std::string_view message)
    : std::runtime_error(std::string(file) + ": " + std::string(message)), kind_(kind), file_(file) {}

void throw_errno(int error, std::string_view action, std::string_view file) {
  ErrorKind kind = ErrorKind::io;
  switch (error) {
    case ENOENT: kind = ErrorKind::not_found; break;
    case EEXIST: kind = ErrorKind::exists; break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: kind = ErrorKind::no_space; break;
    case EROFS:
    case EACCES:
    case EPERM: kind = ErrorKind::read_only; break;
    case ELOOP:  // a symbolic link where the store has a file
    case ENOTDIR:
    case EISDIR:
    case ENXIO: kind = ErrorKind::damaged; break;
    default: break;
  }
  throw StoreError(kind, file, "cannot " + std::string(action) + ": " + std::generic_category().message(error));
}

}  // namespace gcr
