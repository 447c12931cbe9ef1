/**
 * Launches of the kernels in fixtures/ptx/src/control.cu and reduce_scan_sort.cu: branches, calls and recursion over
 * contents that are fixed, and the library kernels of CUB with one tile or a few.
 */
import { buffer, ceil, floats, ints, random, struct } from './builder.mjs';
import { lines, one } from './geometries.mjs';

const control = {
  switch_by_parameter: () =>
    [0, 1, 2, 3, 4, 5, 6, 7, -1].map((mode) => {
      const n = mode === 6 ? 1 : 50;
      return { name: `mode ${mode}`, grid: [2, 1, 1], block: [32, 1, 1], args: [mode, floats(8 * 50), n] };
    }),
  switch_by_data: () => [
    {
      name: 'every case',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [
        buffer(64).bytes(
          0,
          Array.from({ length: 64 }, (_, i) => i % 6),
        ),
        floats(256),
      ],
    },
    {
      name: 'atomics alone',
      grid: one,
      block: [32, 1, 1],
      args: [buffer(32).bytes(0, new Array(32).fill(4)), floats(128)],
    },
    { name: 'noise', grid: [3, 1, 1], block: [40, 1, 1], args: [buffer(120), floats(480)] },
  ],
  find_first: () => [
    {
      name: 'found or not',
      grid: [2, 1, 1],
      block: [16, 1, 1],
      args: [ints(Array.from({ length: 320 }, (_, i) => (i * 7) % 31)), 5, 10, floats(32)],
    },
    { name: 'empty segments', grid: one, block: [32, 1, 1], args: [ints(0), 5, 0, floats(32)] },
    { name: 'one thread', grid: one, block: one, args: [floats(3), 5, 3, floats(1)] },
  ],
  collatz_steps: () => lines((n) => [n, floats(n)]),
  mark_chain: () => [
    {
      name: 'a permutation',
      grid: one,
      block: [4, 1, 1],
      args: [ints([3, 5, -1, 8, 6, 2, 99, 1, 7, 4]), buffer(10), 0, 10],
    },
    { name: 'one node', grid: one, block: one, args: [ints([-1, -1, -1]), buffer(3), 2, 3] },
    { name: 'outside at once', grid: one, block: one, args: [ints([0]), buffer(3), -1, 3] },
    {
      name: 'long',
      grid: one,
      block: one,
      args: [ints(Array.from({ length: 200 }, (_, i) => i + 7)), buffer(200), 1, 200],
    },
  ],
  call_plain: () => lines((n) => [buffer(8 * n), floats(2 * n), n]),
  call_by_table: () =>
    [0, 1, 2, 5].map((which) => ({
      name: `function ${which}`,
      grid: [2, 1, 1],
      block: [16, 1, 1],
      args: [which, floats(33)],
    })),
  tree_sizes: () => {
    const left = Array.from({ length: 15 }, (_, i) => (2 * i + 1 < 15 ? 2 * i + 1 : -1));
    const right = Array.from({ length: 15 }, (_, i) => (2 * i + 2 < 15 ? 2 * i + 2 : -1));
    return [
      { name: 'complete tree', grid: one, block: [15, 1, 1], args: [ints(left), ints(right), floats(15)] },
      {
        name: 'leaves',
        grid: [2, 1, 1],
        block: [4, 1, 1],
        args: [ints(new Array(8).fill(-1)), ints(new Array(8).fill(-1)), floats(8)],
      },
    ];
  },
  fill_recursive: () =>
    [1, 2, 7, 33].map((n) => ({ name: `${n} elements`, grid: [2, 1, 1], block: [32, 1, 1], args: [floats(n), n] })),
  small_sort: () => {
    const digits = (count) => ints(Array.from({ length: 8 * count }, (_, i) => (i * 5 + (i >> 3)) & 7));
    return [
      { name: 'permutations', grid: [2, 1, 1], block: [32, 1, 1], args: [digits(64), floats(64)] },
      { name: 'noise', grid: one, block: [17, 1, 1], args: [floats(8 * 17), floats(17)] },
    ];
  },
};

const below = random(7);
const keys = (count) => ints(Array.from({ length: count }, () => below(0x7fffffff)));
const gridEvenShare = (n, blocks) => {
  // total_tiles, big_shares, big_share_items, normal_share_items, normal_base_offset, num_items, block_offset, block_end, block_stride, grid_size
  const tile = 256 * 16;
  const tiles = ceil(n, tile);
  const perBlock = Math.floor(tiles / blocks);
  const big = tiles - perBlock * blocks;
  const fields = [tiles, big, (perBlock + 1) * tile, perBlock * tile, big * tile, n, n, n, tile, blocks];
  return struct(...fields.map((v, i) => [4 * i, 'i32', v]));
};

/** Kernels of CUB by a part of their names. */
const library = {
  block_sum: () => [
    { name: 'ragged', grid: [3, 1, 1], block: [128, 1, 1], args: [floats(300), floats(3), 300] },
    { name: 'no work', grid: [2, 1, 1], block: [128, 1, 1], args: [floats(1), floats(2), 0] },
  ],
  block_scan: () => [
    { name: 'ragged', grid: [3, 1, 1], block: [128, 1, 1], args: [floats(300), floats(300), 300] },
    { name: 'one', grid: one, block: [128, 1, 1], args: [floats(1), floats(1), 1] },
  ],
  block_sort: () => [
    { name: 'noise', grid: [2, 1, 1], block: [128, 1, 1], args: [floats(1024)] },
    { name: 'sorted already', grid: one, block: [128, 1, 1], args: [ints(Array.from({ length: 512 }, (_, i) => i))] },
  ],
  block_compact: () => [
    {
      name: 'every third',
      grid: [2, 1, 1],
      block: [128, 1, 1],
      args: [ints(Array.from({ length: 256 }, (_, i) => (i % 3 ? -1 : i + 1))), floats(256), floats(2)],
    },
    { name: 'none', grid: one, block: [128, 1, 1], args: [ints(new Array(128).fill(0)), floats(128), floats(1)] },
    { name: 'noise', grid: [2, 1, 1], block: [128, 1, 1], args: [floats(256), floats(256), floats(2)] },
  ],
  EmptyKernel: () => [{ name: 'one thread', grid: one, block: one, args: [] }],
  DeviceScanInitKernel: () => [
    { name: 'tiles', grid: [2, 1, 1], block: [128, 1, 1], args: [struct([0, 'p', buffer(8 * 300)]), 200] },
    { name: 'one tile', grid: one, block: [128, 1, 1], args: [struct([0, 'p', buffer(8 * 64)]), 1] },
  ],
  // One tile: its state alone decides nothing.
  DeviceScanKernel: () => {
    const state = buffer(8 * 40);
    state.zero(0, 8 * 40);
    for (let i = 0; i < 32; i++) state.i32(8 * i, 0);
    const value = struct([0, 'i32', 0], [8, 'i32', 0]);
    return [
      {
        name: 'one tile',
        grid: one,
        block: 'maximum',
        args: [floats(1000), floats(1000), struct([0, 'p', state]), 0, struct(), value, 1000],
      },
    ];
  },
  RadixSortSingleTile: () => [
    {
      name: 'one tile',
      grid: one,
      block: 'maximum',
      args: [keys(500), floats(500), buffer(1), buffer(1), 500, 0, 32, struct()],
    },
    {
      name: 'few bits',
      grid: one,
      block: 'maximum',
      args: [keys(64), floats(64), buffer(1), buffer(1), 64, 0, 8, struct()],
    },
  ],
  RadixSortHistogram: () => [
    {
      name: 'fixed keys',
      grid: [2, 1, 1],
      block: 'maximum',
      args: [buffer(4 * 256 * 4), keys(500), 500, 0, 32, struct()],
    },
    { name: 'noise', grid: one, block: 'maximum', args: [buffer(4 * 256 * 4), floats(3000), 3000, 0, 32, struct()] },
  ],
  RadixSortExclusiveSum: () => [{ name: 'four passes', grid: [4, 1, 1], block: [256, 1, 1], args: [floats(4 * 256)] }],
  RadixSortOnesweep: () => {
    // One block sorts one tile: bins hold the exclusive sums of the digits' counts.
    const values = Array.from({ length: 300 }, () => below(0x7fffffff));
    const bins = new Array(256).fill(0);
    for (const value of values) for (let digit = (value & 255) + 1; digit < 256; digit++) bins[digit]++;
    const args = [
      buffer(4 * 256 * 4).zero(0, 4096),
      ints(0),
      ints(bins),
      ints(bins),
      floats(300),
      ints(values),
      buffer(1),
      buffer(1),
      300,
      0,
      8,
      struct(),
    ];
    return [{ name: 'one tile', grid: one, block: 'maximum', args }];
  },
  DeviceReduceSingleTile: () => [
    { name: 'one tile', grid: one, block: [256, 1, 1], args: [floats(700), floats(1), 700, struct(), 5, struct()] },
    { name: 'no work', grid: one, block: [256, 1, 1], args: [floats(1), floats(1), 0, struct(), 5, struct()] },
  ],
  DeviceReduceKernel: () => [
    {
      name: 'two blocks',
      grid: [2, 1, 1],
      block: [256, 1, 1],
      args: [floats(9000), floats(2), 9000, gridEvenShare(9000, 2), struct(), struct()],
    },
  ],
};

export const NVCC_CONTROL = { ...control, ...library };
