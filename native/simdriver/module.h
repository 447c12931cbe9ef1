// Loaded modules: kernels with the layout of their parameters, and variables in device memory with their first content.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "heap.h"

namespace gcr::sim {

class Module;

struct Parameter {
  std::uint32_t offset;
  std::uint32_t size;
};

struct Function {
  Module *module;
  std::uint32_t number;
  std::string name;
  std::uint32_t parameter_bytes;
  std::uint32_t static_shared;
  std::vector<Parameter> parameters;
  std::atomic<int> max_dynamic_shared;
  bool compiled_for_cluster = false;
  std::atomic<unsigned> cluster[3] = {};  // of launches that name none; zeros: none
};

struct Variable {
  std::string name;
  std::size_t size;
  DevicePointer address;
};

class Module {
 public:
  // Has the device compile a text and places the variables. Throws Failure; `log` then says why.
  Module(DeviceLink &link, Heap &heap, AddressSpace &space, void *context, std::string_view ptx, std::string &log);
  ~Module();
  Module(const Module &) = delete;
  Module &operator=(const Module &) = delete;

  void *context() const { return context_; }
  std::uint64_t number() const { return number_; }
  const std::vector<std::unique_ptr<Function>> &functions() const { return functions_; }
  // Null when there is none of that name.
  Function *function(std::string_view name) const;
  const Variable *variable(std::string_view name) const;

  // Has a device to which the process has connected again compile the text once more. Throws Failure.
  void tell_again() const;

 private:
  struct Content;
  void describe(int description, std::vector<Content> &contents);
  Descriptor tell(std::string *log) const;
  void place(Heap &heap, AddressSpace &space, std::vector<Content> &contents);
  void tell_places() const;

  DeviceLink &link_;
  Heap &heap_;
  void *context_;
  std::uint64_t number_;
  std::string text_;
  std::vector<std::unique_ptr<Function>> functions_;
  std::vector<Variable> variables_;
};

// The PTX text in an image: text as it is, up to its terminator. Throws Failure (no_binary_for_gpu, invalid_image).
std::string_view ptx_of(const void *image);

}  // namespace gcr::sim
