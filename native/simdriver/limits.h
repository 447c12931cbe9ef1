// What the simulated device says it is. The numbers are those of a small device of compute capability 9.0.
#pragma once

namespace gcr::sim {

constexpr int driver_version = 13000;
constexpr char device_name[] = "gcr simulated device";
constexpr char pci_bus_id[] = "0000:00:00.0";
constexpr int capability_major = 9;
constexpr int capability_minor = 0;
constexpr int warp_size = 32;
constexpr unsigned max_block_threads = 1024;
constexpr unsigned max_block[3] = {1024, 1024, 64};
constexpr unsigned max_grid[3] = {2147483647, 65535, 65535};
constexpr int multiprocessors = 32;
constexpr int threads_per_multiprocessor = 2048;
constexpr int blocks_per_multiprocessor = 32;
constexpr int shared_per_block = 48 << 10;
constexpr int shared_per_block_optin = 227 << 10;
constexpr int shared_per_multiprocessor = 228 << 10;
constexpr int shared_reserved = 1 << 10;
constexpr int registers_per_block = 65536;
constexpr int registers_per_thread = 32;
constexpr unsigned max_cluster = 8;

// Blocks of a kernel that one multiprocessor holds.
int resident_blocks(int block_threads, int shared_bytes);

}  // namespace gcr::sim
