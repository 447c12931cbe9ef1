// Makes a context current on this thread for as long as it lives, and then the one of before.
#pragma once

#include "driver/driver.h"

namespace gcr {

class Current {
 public:
  Current(const Driver &driver, Context context) : driver_(driver) {
    driver.cuCtxGetCurrent(&before_);
    good_ = before_ == context || driver.cuCtxSetCurrent(context) == result::success;
  }
  ~Current() { driver_.cuCtxSetCurrent(before_); }
  Current(const Current &) = delete;
  Current &operator=(const Current &) = delete;
  explicit operator bool() const { return good_; }

 private:
  const Driver &driver_;
  Context before_ = nullptr;
  bool good_ = false;
};

}  // namespace gcr
