// Any string as a name: what is accepted has at most one slash, stays in its folder, and holds nothing but harmless characters.
#include <cstdlib>
#include <string>

#include "core/fuzz/fuzz.h"
#include "core/names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string name(reinterpret_cast<const char*>(data), size);
  if (!gcr::name_form(name)) return 0;
  const auto [folder, base] = gcr::split_name(name);
  if (base.empty() || base.front() == '.' || base.find("/") != std::string::npos || name.find('\0') != std::string::npos) std::abort();
  if (name.size() > 300) std::abort();
  for (const char c : base) {
    if (!(c == '.' || c == '_' || c == '-' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) std::abort();
  }
  return 0;
}

std::vector<std::vector<uint8_t>> fuzz_seeds() {
  std::vector<std::vector<uint8_t>> seeds;
  for (const std::string name : {"store.json", "packs/0123456789abcdef.pack", "index/0123456789abcdef.index", "manifests/0123456789abcdef.json",
                                 "manifests/0123456789abcdef0123456789abcdef.map", "locks/store", "packs/0123456789abcdef.pack.0.tmp",
                                 "../packs/x.tmp", "packs/../a.tmp"}) {
    seeds.emplace_back(name.begin(), name.end());
  }
  return seeds;
}
