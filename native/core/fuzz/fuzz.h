// What a fuzz target gives to the driver beside libFuzzer's own function.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

/// Inputs to start from; each target defines it.
std::vector<std::vector<uint8_t>> fuzz_seeds();
