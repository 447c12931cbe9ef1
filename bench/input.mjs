/** What benchmarks run on: a file that is given, or CUB's device-wide algorithms as the installed nvcc compiles them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CUB = `#include <cub/cub.cuh>
#define ALL(name, K, V) void name(void* t, size_t& n, K* a, K* b, V* c, V* d, int m) { \\
  cub::DeviceRadixSort::SortPairs(t, n, a, b, c, d, m); \\
  cub::DeviceScan::InclusiveSum(t, n, a, b, m); cub::DeviceReduce::Sum(t, n, a, b, m); \\
  cub::DeviceRadixSort::SortPairsDescending(t, n, a, b, c, d, m); }
ALL(s1, unsigned, unsigned) ALL(s2, unsigned long long, unsigned) ALL(s3, float, double)
ALL(s4, double, unsigned long long) ALL(s5, unsigned char, unsigned short) ALL(s6, int, long long)
`;

/**
 * @param {string | undefined} given a PTX file
 * @param {string} folder for what the compiler writes
 * @returns text and where it is from; undefined when there is neither a file nor a compiler
 */
export function benchmarkInput(given, folder) {
  if (given !== undefined) return { text: readFileSync(given, 'latin1'), origin: given };
  const source = join(folder, 'cub.cu');
  const target = join(folder, 'cub.ptx');
  writeFileSync(source, CUB);
  const run = spawnSync('nvcc', ['-std=c++17', '-arch=sm_90', '-lineinfo', '-ptx', source, '-o', target]);
  return run.error || run.status !== 0 ? undefined : { text: readFileSync(target, 'latin1'), origin: 'CUB from nvcc' };
}

/** Runs a benchmark with a folder of its own, which is gone afterwards. */
export async function withFolder(benchmark) {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-bench-'));
  try {
    await benchmark(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
