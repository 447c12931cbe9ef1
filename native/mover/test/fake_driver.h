// A driver for the mover's tests, in this process: memory is memory of ours, kernels are C++. Work on streams is done as late as it may be, when
// somebody waits for it, so whoever waits too little is seen. Calls can be made to fail.
#pragma once

#include <map>
#include <string>

#include "driver/driver.h"

namespace gcr::test {

struct FakeDriver {
  static const Driver &driver();
  // The call of that name fails after so many that succeed, once.
  static void fail(const std::string &call, int after, Result result);
  // From now on the context can do nothing: every call fails so. Zero: it can again.
  static void set_sticky(Result result);
  static int calls(const std::string &call);
  // Segments and buffers that are pinned, mappings, handles, streams and events that are there.
  static long pinned();
  static long objects();
};

}  // namespace gcr::test
