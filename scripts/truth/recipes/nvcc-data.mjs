/**
 * Launches of the kernels in fixtures/ptx/src/*.cu whose places or guards come from memory, from tables or from module
 * variables. Contents are fixed wherever a value leads to an address.
 */
import { address, buffer, floats, ints, longs, struct, variable } from './builder.mjs';
import { one } from './geometries.mjs';

const atomics = {
  histogram_bytes: () => {
    const data = Array.from({ length: 300 }, (_, i) => (i * i) % 251);
    return [
      { name: 'fixed data', grid: [2, 1, 1], block: [64, 1, 1], args: [buffer(300).bytes(0, data), 300, floats(256)] },
      { name: 'noise', grid: [4, 1, 1], block: [32, 1, 1], args: [buffer(5000), 5000, floats(256)] },
      { name: 'one byte', grid: one, block: one, args: [buffer(1).bytes(0, [255]), 1, floats(256)] },
      { name: 'no work', grid: [2, 1, 1], block: [64, 1, 1], args: [buffer(1), 0, floats(256)] },
    ];
  },
  histogram_shared: () => [
    {
      name: 'fixed data',
      grid: [2, 1, 1],
      block: [96, 1, 1],
      args: [ints(Array.from({ length: 200 }, (_, i) => (i * 0x03000001) | 0)), 200, floats(256)],
    },
    { name: 'noise', grid: [3, 1, 1], block: [256, 1, 1], args: [floats(3000), 3000, floats(256)] },
    { name: 'no work', grid: [3, 1, 1], block: [256, 1, 1], args: [floats(1), 0, floats(256)] },
  ],
  histogram_float: () => [
    {
      name: 'clamped at both ends',
      grid: [2, 1, 1],
      block: [64, 1, 1],
      args: [
        floats(100).f32(
          0,
          Array.from({ length: 100 }, (_, i) => i / 3 - 9),
        ),
        100,
        16,
        -4,
        1.25,
        floats(16),
      ],
    },
    { name: 'noise', grid: [8, 1, 1], block: [128, 1, 1], args: [floats(1000), 1000, 50, 0, 0.5, floats(50)] },
    { name: 'one bin', grid: [1, 1, 1], block: [32, 1, 1], args: [floats(32), 32, 1, 0, 1, floats(1)] },
  ],
  max_by_cas: () => [
    {
      name: 'rising',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [
        floats(64).f32(
          0,
          Array.from({ length: 64 }, (_, i) => i),
        ),
        64,
        floats(1).f32(0, -1),
      ],
    },
    {
      name: 'nothing larger',
      grid: one,
      block: [32, 1, 1],
      args: [floats(32).f32(0, new Array(32).fill(1)), 32, floats(1).f32(0, 2)],
    },
    { name: 'noise', grid: [4, 1, 1], block: [64, 1, 1], args: [floats(256), 250, floats(1)] },
  ],
  hash_insert: () => {
    const empty = (n) => new Array(n).fill(-1);
    const keys = Array.from({ length: 60 }, (_, i) => (i % 50) * 7919 + 1);
    return [
      {
        name: 'sparse',
        grid: [2, 1, 1],
        block: [32, 1, 1],
        args: [ints(keys), 60, ints(empty(256)), floats(256), 255],
      },
      {
        name: 'full',
        grid: [4, 1, 1],
        block: [32, 1, 1],
        args: [ints(Array.from({ length: 100 }, (_, i) => i + 5)), 100, ints(empty(32)), floats(32), 31],
      },
      { name: 'one slot', grid: one, block: [16, 1, 1], args: [ints(keys), 16, ints(empty(1)), floats(1), 0] },
    ];
  },
  append_positive: () => {
    const mixed = Array.from({ length: 100 }, (_, i) => (i % 3 ? i : -i));
    return [
      { name: 'all fit', grid: [2, 1, 1], block: [64, 1, 1], args: [ints(mixed), 100, floats(128), ints(3), 128] },
      {
        name: 'capacity reached',
        grid: [2, 1, 1],
        block: [64, 1, 1],
        args: [ints(mixed), 100, floats(20), ints(0), 20],
      },
      { name: 'noise', grid: [8, 1, 1], block: [64, 1, 1], args: [floats(500), 500, floats(500), ints(0), 500] },
      { name: 'none', grid: one, block: [64, 1, 1], args: [ints(new Array(64).fill(-1)), 64, floats(64), ints(0), 64] },
    ];
  },
  sum_last_block: () => [
    {
      name: 'counter at zero',
      grid: [7, 1, 1],
      block: [64, 1, 1],
      args: [floats(1000), 1000, floats(7), ints(0), floats(1)],
    },
    {
      name: 'counter elsewhere',
      grid: [4, 1, 1],
      block: [32, 1, 1],
      args: [floats(100), 100, floats(4), ints(1000), floats(1)],
    },
    { name: 'one thread', grid: one, block: one, args: [floats(3), 3, floats(1), ints(0), floats(1)] },
  ],
  set_bits: () => [
    {
      name: 'scattered',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [ints(Array.from({ length: 50 }, (_, i) => (i * i * 37) % 4096)), 50, floats(128)],
    },
    { name: 'large index', grid: one, block: [4, 1, 1], args: [ints([0, 31, 32, 0x3ffffff]), 4, buffer(8 << 20)] },
    { name: 'no work', grid: one, block: [4, 1, 1], args: [ints(0), 0, floats(1)] },
  ],
};

const cache = {
  kv_scatter: () => [
    {
      name: 'slots',
      grid: [5, 1, 1],
      block: [32, 1, 1],
      args: [
        buffer(2 * 5 * 24),
        buffer(2 * 5 * 24),
        buffer(2 * 64 * 24),
        buffer(2 * 64 * 24),
        longs([7, 63, -1, 0, 32]),
        3,
        8,
        16,
      ],
    },
    {
      name: 'padding alone',
      grid: [3, 1, 1],
      block: [32, 1, 1],
      args: [buffer(288), buffer(288), buffer(288), buffer(288), longs([-1, -2, -1]), 3, 8, 16],
    },
    {
      name: 'wide rows',
      grid: [2, 1, 1],
      block: [64, 1, 1],
      args: [
        buffer(2 * 2 * 512),
        buffer(2 * 2 * 512),
        buffer(2 * 100 * 512),
        buffer(2 * 100 * 512),
        longs([99, 3]),
        8,
        64,
        16,
      ],
    },
  ],
  kv_scatter_checked: () => [
    {
      name: 'slots',
      grid: [4, 1, 1],
      block: [32, 1, 1],
      args: [buffer(16 * 4 * 5), buffer(16 * 40 * 5), ints([39, 0, 40, 17]), 40, 5],
    },
    {
      name: 'all outside',
      grid: [3, 1, 1],
      block: [32, 1, 1],
      args: [buffer(240), buffer(240), ints([9, -1, 3]), 3, 5],
    },
    {
      name: 'noise with few slots',
      grid: [64, 1, 1],
      block: [8, 1, 1],
      args: [buffer(16 * 64), buffer(16 * 8), floats(64), 8, 1],
    },
  ],
  kv_copy_pages: () => [
    { name: 'pairs', grid: [3, 1, 1], block: [32, 1, 1], args: [floats(10 * 40), ints([0, 5, 1, 9, 2, 7]), 40] },
    { name: 'onto itself', grid: [1, 1, 1], block: [32, 1, 1], args: [floats(10 * 40), ints([4, 4]), 40] },
    {
      name: 'before the pointer',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [address(floats(10 * 40), 4 * 200), ints([1, -5, 2, -1]), 40],
    },
  ],
  paged_attention: () => [
    {
      name: 'two sequences',
      grid: [2, 2, 1],
      block: [64, 1, 1],
      args: [
        floats(4 * 64),
        floats(4 * 64),
        floats(8 * 16 * 2 * 64),
        floats(8 * 16 * 2 * 64),
        ints([3, 0, 7, 5, 1, 2]),
        ints([40, 17]),
        3,
        2,
        0.125,
      ],
    },
    {
      name: 'no keys',
      grid: [1, 1, 1],
      block: [64, 1, 1],
      args: [floats(64), floats(64), floats(16 * 64), floats(16 * 64), ints([0]), ints([0]), 1, 1, 0.125],
    },
  ],
};

const modules = {
  clear_array: () => [
    { name: 'one warp', grid: one, block: [32, 1, 1], args: [] },
    { name: 'few threads', grid: [2, 1, 1], block: [7, 1, 1], args: [] },
  ],
  count_launch: () => [{ name: 'two blocks', grid: [2, 1, 1], block: [32, 1, 1], args: [] }],
  add_to_slot: () => [
    { name: 'few slots', grid: [5, 1, 1], block: [32, 1, 1], args: [floats(32).f32(0, new Array(32).fill(1))] },
    { name: 'all slots', grid: [300, 1, 1], block: [1, 1, 1], args: [floats(1).f32(0, 1)] },
  ],
  permute_by_constant: () => [
    { name: 'three blocks', grid: [3, 1, 1], block: [16, 1, 1], args: [floats(48), floats(48)] },
    { name: 'more threads', grid: [2, 1, 1], block: [40, 1, 1], args: [floats(32), floats(32)] },
  ],
  write_through_variable: () => [
    {
      name: 'a buffer',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [1],
      variables: [variable('sink').pointers(0, floats(64))],
    },
    {
      name: 'the middle of one',
      grid: one,
      block: [5, 1, 1],
      args: [1],
      variables: [variable('sink').pointers(0, address(floats(64), 40))],
    },
    {
      name: 'the array',
      grid: one,
      block: [32, 1, 1],
      args: [1],
      variables: [variable('sink').pointers(0, variable('accumulators'))],
    },
  ],
  write_through_constant: () => {
    const four = () => [floats(64), address(floats(100), 16), floats(64), floats(64)];
    return [
      {
        name: 'four buffers',
        grid: [2, 4, 1],
        block: [32, 1, 1],
        args: [1],
        variables: [variable('targets').pointers(0, four())],
      },
      {
        name: 'one of them',
        grid: [1, 1, 1],
        block: [9, 1, 1],
        args: [1],
        variables: [variable('targets').pointers(0, four())],
      },
    ];
  },
  set_variable: () => [{ name: 'a buffer', grid: one, block: [2, 1, 1], args: [floats(1)] }],
  raise_flag: () => [
    { name: 'raised', grid: one, block: [32, 1, 1], args: [ints(Array.from({ length: 32 }, (_, i) => 5 - i))] },
    { name: 'not raised', grid: one, block: [32, 1, 1], args: [ints(new Array(32).fill(5))] },
  ],
  choose_target: () => [
    { name: 'own', grid: one, block: [40, 1, 1], args: [floats(256), 1, 2] },
    { name: 'given', grid: one, block: [300, 1, 1], args: [floats(256), 0, 2] },
  ],
};

/** The table of `adam_*`: pointers, sizes, and which block works on which chunk. */
function tensorList(sizes, blocks) {
  const parts = [];
  for (const [index, size] of sizes.entries()) {
    const shared = floats(size);
    for (const [table, target] of [floats(size), floats(size), shared, floats(size)].entries())
      parts.push([192 * table + 8 * index, 'p', target]);
    parts.push([768 + 4 * index, 'i32', size]);
  }
  for (const [block, [tensor, chunk]] of blocks.entries())
    parts.push([864 + block, 'u8', tensor], [1024 + 4 * block, 'i32', chunk]);
  return struct(...parts);
}
const adam = () => struct(...[0.1, 0.9, 0.99, 1e-8, 0.5, 0.5].map((v, i) => [4 * i, 'f32', v]));

const optimizers = {
  adam_by_value: () => [
    {
      name: 'three tensors',
      grid: [3, 1, 1],
      block: [64, 1, 1],
      args: [
        tensorList(
          [100, 1, 333],
          [
            [0, 0],
            [1, 0],
            [2, 0],
          ],
        ),
        adam(),
      ],
    },
    {
      name: 'chunks',
      grid: [4, 1, 1],
      block: [128, 1, 1],
      args: [
        tensorList(
          [5000, 4200],
          [
            [0, 0],
            [0, 1],
            [1, 1],
            [1, 0],
          ],
        ),
        adam(),
      ],
    },
    {
      name: 'chunk beyond the end',
      grid: [2, 1, 1],
      block: [64, 1, 1],
      args: [
        tensorList(
          [50],
          [
            [0, 0],
            [0, 1],
          ],
        ),
        adam(),
      ],
    },
    {
      name: 'last places of the tables',
      grid: [160, 1, 1],
      block: [32, 1, 1],
      args: [
        tensorList(
          new Array(24).fill(9),
          Array.from({ length: 160 }, (_, i) => [i % 24, i < 150 ? 0 : 1]),
        ),
        adam(),
      ],
    },
  ],
  adam_by_row: () => [
    { name: 'three tensors', grid: [2, 3, 1], block: [32, 1, 1], args: [tensorList([100, 1, 333], []), adam()] },
    { name: 'an empty tensor', grid: [1, 2, 1], block: [32, 1, 1], args: [tensorList([0, 20], []), adam()] },
  ],
  sgd_by_table: () => {
    const table = (...sizes) => {
      const place = buffer(32 * sizes.length);
      for (const [index, size] of sizes.entries())
        place.pointers(32 * index, floats(size), floats(size), floats(size)).i64(32 * index + 24, size);
      return place;
    };
    return [
      { name: 'three tensors', grid: [2, 3, 1], block: [32, 1, 1], args: [table(100, 1, 70), 0.1, 0.9] },
      { name: 'an empty tensor', grid: [1, 2, 1], block: [32, 1, 1], args: [table(0, 40), 0.1, 0.9] },
    ];
  },
  rmsprop_single: () => [
    {
      name: 'step',
      grid: [4, 1, 1],
      block: [32, 1, 1],
      args: [buffer(8 * 100), floats(100), floats(100), 100, 0.1, floats(1).f32(0, 0)],
    },
    {
      name: 'not finite',
      grid: [4, 1, 1],
      block: [32, 1, 1],
      args: [buffer(8 * 100), floats(100), floats(100), 100, 0.1, floats(1).f32(0, 1)],
    },
    { name: 'noise', grid: one, block: [32, 1, 1], args: [buffer(8 * 32), floats(32), floats(32), 32, 0.1, floats(1)] },
  ],
};

export const NVCC_DATA = { ...atomics, ...cache, ...modules, ...optimizers };
