// One launch of the plan in the child process: loads its module, puts contents in place, launches twice over complementary
// contents and tells what changed. What the driver refuses is a result; an error that ends the context is thrown.
#pragma once

#include <functional>
#include <map>

#include "arena.h"
#include "driver/driver.h"
#include "plan.h"

namespace gcr {

struct LaunchResult {
  std::string status;  // "ok" or "refused"
  std::string reason;  // of a refusal
  std::string written;  // JSON, of "ok"
};

class Launcher {
 public:
  Launcher(const Driver &driver, Arena &arena, std::string root) : driver_(driver), arena_(arena), root_(std::move(root)) {}

  // Calls `about_to_load` when a module must be compiled and `about_to_start` with the record's fields (JSON members)
  // before the first run. Throws DriverError when the context is lost.
  LaunchResult run(const LaunchPlan &plan, const std::function<void()> &about_to_load,
                   const std::function<void(const std::string &)> &about_to_start);

 private:
  struct Place {
    std::uint64_t address = 0;
    std::uint64_t size = 0;
    bool found = false;
    Bytes initial;
  };

  // The module of the plan's file; an empty reason when it is there.
  std::string load(const LaunchPlan &plan, const std::function<void()> &about_to_load);
  void find_variables(const LaunchPlan &plan);
  std::uint64_t address_of(const LaunchPlan &plan, const Target &target) const;
  // Contents of buffers and variables by place, relocated, and the parameter block with its maps. Throws JsonError for
  // what the module does not have.
  void prepare(const LaunchPlan &plan);
  void encode_map(const LaunchPlan &plan, const TensorMapPlan &map);
  std::uint8_t *bytes_at(const LaunchPlan &plan, const Target &target, std::uint64_t offset, std::size_t size);
  void fill(const LaunchPlan &plan, bool complement);
  std::string launch(const LaunchPlan &plan, Function function);
  std::string describe(const LaunchPlan &plan) const;

  const Driver &driver_;
  Arena &arena_;
  std::string root_;
  std::string loaded_;  // file and slice of module_
  std::string refusal_;  // why that is not loaded
  Module module_ = nullptr;
  std::map<std::string, Place> places_;  // variables of module_, with their content from before any launch
  Bytes parameters_;
  std::vector<FixedBytes> fixed_;
  std::vector<FixedBytes> variable_contents_;  // of every variable, all bytes, of the present run
};

}  // namespace gcr
