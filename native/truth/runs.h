// Sets of changed bytes: sorted, disjoint runs, and the compact form in which the record lists them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gcr {

// Bytes [from, to).
struct Run {
  std::uint64_t from;
  std::uint64_t to;
};

using Runs = std::vector<Run>;

// Appends the bytes in which two equally long pieces of memory differ; `address` is that of the first byte. Calls must
// come in ascending order of addresses.
void append_differences(Runs &runs, std::uint64_t address, const std::uint8_t *before, const std::uint8_t *after,
                        std::size_t size);

// Adds [from, to) behind all others, joined with the last where they touch.
void append_run(Runs &runs, std::uint64_t from, std::uint64_t to);

Runs unite(const Runs &a, const Runs &b);

std::uint64_t total_bytes(const Runs &runs);

// ["0x…",length] for a run; ["0x…",length,stride,count] for three or more of equal length and distance.
std::string runs_to_json(const Runs &runs);

std::string hex_address(std::uint64_t address);

}  // namespace gcr
