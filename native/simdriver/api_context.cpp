// Entry points: contexts.
#include "driver.h"

namespace gcr::sim {
namespace {

void create(Context **context, unsigned flags, Device device) {
  require(context, invalid_value);
  require(device == 0, invalid_device);
  *context = Driver::get().make_context(flags).get();
  thread_state().contexts.push_back(*context);
}

// The context that is meant: null is the current one.
Context *meant(Driver &driver, Context *context) {
  if (!context) return driver.current();
  return driver.contexts.find(context, invalid_context).get();
}

void wait_for(Driver &driver, Context *context) {
  driver.forbid_in_capture();
  driver.synchronize(context);
  if (driver.sticky()) fail(static_cast<Result>(driver.sticky()));
}

}  // namespace
}  // namespace gcr::sim

using namespace gcr::sim;

GCR_SIM_API cuCtxCreate_v2(Context **context, unsigned flags, Device device) {
  return call<Need::initialized>([&](Driver &) { create(context, flags, device); });
}

GCR_SIM_API cuCtxCreate_v3(Context **context, void *, int affinities, unsigned flags, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(affinities == 0, not_supported);
    create(context, flags, device);
  });
}

GCR_SIM_API cuCtxCreate_v4(Context **context, void *parameters, unsigned flags, Device device) {
  return call<Need::initialized>([&](Driver &) {
    require(!parameters, not_supported);
    create(context, flags, device);
  });
}

GCR_SIM_API cuCtxDestroy_v2(Context *context) {
  return call<Need::initialized>([&](Driver &driver) {
    const auto gone = driver.contexts.find(context, invalid_context);
    require(!gone->primary, invalid_context);
    driver.destroy_context(gone);
    auto &stack = thread_state().contexts;
    if (!stack.empty() && stack.back() == context) stack.pop_back();
  });
}

GCR_SIM_API cuCtxPushCurrent_v2(Context *context) {
  return call<Need::initialized>([&](Driver &driver) {
    driver.contexts.find(context, invalid_context);
    thread_state().contexts.push_back(context);
  });
}

GCR_SIM_API cuCtxPopCurrent_v2(Context **context) {
  return call<Need::initialized>([&](Driver &) {
    auto &stack = thread_state().contexts;
    require(!stack.empty(), invalid_context);
    if (context) *context = stack.back();
    stack.pop_back();
  });
}

GCR_SIM_API cuCtxSetCurrent(Context *context) {
  return call<Need::initialized>([&](Driver &driver) {
    auto &stack = thread_state().contexts;
    if (context) driver.contexts.find(context, invalid_context);
    if (!stack.empty()) stack.pop_back();
    if (context) stack.push_back(context);
  });
}

GCR_SIM_API cuCtxGetCurrent(Context **context) {
  return call<Need::initialized>([&](Driver &) {
    require(context, invalid_value);
    const auto &stack = thread_state().contexts;
    *context = stack.empty() ? nullptr : stack.back();
  });
}

GCR_SIM_API cuCtxGetDevice(Device *device) {
  return call<Need::initialized>([&](Driver &driver) {
    require(device, invalid_value);
    driver.current();
    *device = 0;
  });
}

GCR_SIM_API cuCtxGetDevice_v2(Device *device, Context *context) {
  return call<Need::initialized>([&](Driver &driver) {
    require(device, invalid_value);
    meant(driver, context);
    *device = 0;
  });
}

GCR_SIM_API cuCtxGetFlags(unsigned *flags) {
  return call([&](Driver &driver) {
    require(flags, invalid_value);
    *flags = driver.current()->flags;
  });
}

GCR_SIM_API cuCtxGetId(Context *context, unsigned long long *number) {
  return call<Need::initialized>([&](Driver &driver) {
    require(number, invalid_value);
    *number = meant(driver, context)->number;
  });
}

GCR_SIM_API cuCtxGetApiVersion(Context *context, unsigned *version) {
  return call<Need::initialized>([&](Driver &driver) {
    require(version, invalid_value);
    meant(driver, context);
    *version = 3020;  // the version of contexts that all drivers since 3.2 give
  });
}

GCR_SIM_API cuCtxSynchronize() {
  return call([&](Driver &driver) { wait_for(driver, driver.current()); });
}

GCR_SIM_API cuCtxSynchronize_v2(Context *context) {
  return call([&](Driver &driver) { wait_for(driver, meant(driver, context)); });
}

GCR_SIM_API cuCtxSetLimit(unsigned limit, std::size_t value) {
  return call([&](Driver &driver) {
    require(limit < std::size(driver.current()->limits), invalid_value);
    driver.current()->limits[limit] = value;
  });
}

GCR_SIM_API cuCtxGetLimit(std::size_t *value, unsigned limit) {
  return call([&](Driver &driver) {
    require(value && limit < std::size(driver.current()->limits), invalid_value);
    *value = driver.current()->limits[limit];
  });
}

GCR_SIM_API cuCtxGetCacheConfig(int *configuration) {
  return call([&](Driver &) {
    require(configuration, invalid_value);
    *configuration = 0;
  });
}

GCR_SIM_API cuCtxSetCacheConfig(int) {
  return call([](Driver &) {});
}

GCR_SIM_API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  return call([&](Driver &) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
  });
}

GCR_SIM_API cuCtxEnablePeerAccess(Context *, unsigned) {
  return call([](Driver &) { fail(invalid_device); });
}
