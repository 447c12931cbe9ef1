// How the driver's functions fail inside: with a Failure, which no entry point lets out.
#pragma once

#include <string>

#include "cuda_types.h"

namespace gcr::sim {

struct Failure {
  Result result;
};

[[noreturn]] inline void fail(Result result) { throw Failure{result}; }
inline void require(bool condition, Result result) {
  if (!condition) fail(result);
}

// Null for a number that is no result.
const char *result_name(int result);
const char *result_text(int result);

// One line on standard error when GCR_SIM_TRACE is set.
void trace(const std::string &line);

}  // namespace gcr::sim
