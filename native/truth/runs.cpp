// See runs.h.
#include "runs.h"

#include <algorithm>
#include <cstdio>

namespace gcr {

void append_run(Runs &runs, std::uint64_t from, std::uint64_t to) {
  if (!runs.empty() && runs.back().to >= from)
    runs.back().to = std::max(runs.back().to, to);
  else
    runs.push_back({from, to});
}

void append_differences(Runs &runs, std::uint64_t address, const std::uint8_t *before, const std::uint8_t *after,
                        std::size_t size) {
  for (std::size_t i = 0; i < size; ++i)
    if (before[i] != after[i]) append_run(runs, address + i, address + i + 1);
}

Runs unite(const Runs &a, const Runs &b) {
  Runs all;
  all.reserve(a.size() + b.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all),
             [](const Run &x, const Run &y) { return x.from < y.from; });
  Runs result;
  for (const Run &run : all) append_run(result, run.from, run.to);
  return result;
}

std::uint64_t total_bytes(const Runs &runs) {
  std::uint64_t sum = 0;
  for (const Run &run : runs) sum += run.to - run.from;
  return sum;
}

std::string hex_address(std::uint64_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "\"0x%llx\"", static_cast<unsigned long long>(address));
  return text;
}

std::string runs_to_json(const Runs &runs) {
  std::string text = "[";
  for (std::size_t first = 0; first < runs.size();) {
    const std::uint64_t length = runs[first].to - runs[first].from;
    std::size_t last = first;
    std::uint64_t stride = 0;
    while (last + 1 < runs.size()) {
      const Run &next = runs[last + 1];
      std::uint64_t distance = next.from - runs[last].from;
      if (next.to - next.from != length || (stride && distance != stride)) break;
      stride = distance;
      ++last;
    }
    if (text.size() > 1) text += ',';
    text += '[' + hex_address(runs[first].from) + ',' + std::to_string(length);
    if (last - first >= 2) {
      text += ',' + std::to_string(stride) + ',' + std::to_string(last - first + 1);
      first = last + 1;
    } else {
      ++first;
    }
    text += ']';
  }
  return text + "]";
}

}  // namespace gcr
