/**
 * Launches of the hand-written kernels in fixtures/ptx/ideas that show how addresses and indices are computed, those that
 * wrap and those that come from memory among them.
 */
import { address, buffer, floats, GiB, ints, longs, MiB, struct, variable } from './builder.mjs';
import { linear, one, over, plain, single, warp, warps } from './geometries.mjs';

/** Buffers around a pointer whose 32-bit index wraps: 16 GiB above it unsigned, 8 GiB to both sides signed. */
export const unsignedWrap = () => ({
  low: buffer(128 << 10, { at: 32 * MiB }),
  middle: buffer(128 << 10, { at: 8 * GiB + 32 * MiB - (64 << 10) }),
  high: buffer(128 << 10, { at: 16 * GiB + 32 * MiB - (64 << 10) }),
});
const signedWrap = () => ({
  low: buffer(128 << 10, { at: 32 * MiB - (64 << 10) }),
  middle: buffer(128 << 10, { at: 8 * GiB + 32 * MiB - (64 << 10) }),
  high: buffer(128 << 10, { at: 16 * GiB + 32 * MiB - (64 << 10) }),
});

function unsignedWraps(...counts) {
  return counts.map(([name, n, threads]) => {
    const { low, middle, high } = unsignedWrap();
    return { name, grid: one, block: [threads, 1, 1], args: [low, n], buffers: [middle, high] };
  });
}
function signedWraps(...counts) {
  return counts.map(([name, n, threads]) => {
    const { low, middle, high } = signedWrap();
    return { name, grid: one, block: [threads, 1, 1], args: [address(middle, 64 << 10), n], buffers: [low, high] };
  });
}

/** A list in memory: the first eight bytes of a node are the next one's address. */
function list(length) {
  let next = null;
  for (let index = 0; index < length; index++) {
    const node = buffer(16);
    if (next) node.pointers(0, next);
    else node.i64(0, 0);
    next = node;
  }
  return next ?? 0;
}

const addresses = {
  k_address_difference: linear((t) => [floats(4), floats(t)]),
  k_address_in_halves: () => [
    ...linear((t) => [floats(t)])(),
    { name: 'carry across 4 GiB', grid: [2, 1, 1], block: [40, 1, 1], args: [floats(80, { crossing: 100 })] },
  ],
  k_address_mad_carry: () => [
    ...linear((t) => [buffer(12 * t)])(),
    { name: 'carry across 4 GiB', grid: [2, 1, 1], block: [40, 1, 1], args: [buffer(960, { crossing: 480 })] },
  ],
  k_address_select: () => linear(() => [floats(1), floats(1)])(),
  k_address_select_loaded: single(
    ['first', floats(2), buffer(8).i32(0, 0)],
    ['second', floats(2), buffer(8).i32(0, 1)],
  ),
  k_address_tagged: plain(16),
  k_product: single(['times one', floats(1), longs(1)]),
  k_param_address: single(
    ['index 11', floats(12), struct([8, 'i32', 11])],
    ['index 0', floats(12), struct([8, 'i32', 0])],
  ),
  k_param_index: () => {
    const args = () => [
      struct([0, 'p', floats(1)], [8, 'p', address(floats(4), 8)], [16, 'p', floats(1)], [24, 'p', floats(1)]),
    ];
    return [
      { name: 'all', grid: [6, 1, 1], block: one, args: args() },
      { name: 'two of them', grid: [2, 1, 1], block: warp, args: args() },
    ];
  },
  k_param_generic: single(['second pointer', struct([8, 'p', floats(1)])]),
  k_spill: plain(8),
  k_spill_generic: plain(8),
  k_shared_pointer: warps(() => [floats(1)]),
  k_table: () =>
    [
      [3, 32],
      [1, 1],
    ].map(([blocks, threads]) => ({
      name: `${blocks} pointers`,
      grid: [blocks, 1, 1],
      block: [threads, 1, 1],
      args: [
        buffer(8 * blocks).pointers(
          0,
          Array.from({ length: blocks }, () => floats(threads)),
        ),
      ],
    })),
  k_list: single(['three nodes', list(3)], ['no node', 0], ['one node', list(1)], ['forty nodes', list(40)]),
  k_second: single(['a pointer', buffer(8).pointers(0, floats(1))]),
};

const indices = {
  k_index_bitfields: linear(() => [floats(4096)]),
  k_index_bitwise: linear(() => [floats(1024)]),
  k_index_conversions: linear(() => [floats(65536)]),
  k_index_divrem_signed: linear(() => [floats(4096)]),
  k_index_divrem: () =>
    [1, 7, 30].flatMap((n) =>
      linear((t) => [floats(64 * n + t), n])().map((c) => ({ ...c, name: `${c.name}, n ${n}` })),
    ),
  k_smid: over(
    [
      ['one thread', one, one],
      ['all processors', [264, 1, 1], warp],
    ],
    () => [floats(1024)],
  ),
  k_index_loaded_byte: () => [
    ...linear((t) => [
      floats(256),
      buffer(t).bytes(
        0,
        Array.from({ length: t }, (_, i) => (i * 91) & 255),
      ),
    ])(),
    { name: 'noise', grid: [2, 1, 1], block: [64, 1, 1], args: [floats(256), buffer(128)] },
  ],
  k_index_loaded_checked: single(['inside', floats(10), ints(5), 10], ['outside', floats(10), ints(10), 10]),
  k_index_loaded_half: single(
    ['backward', address(floats(100), 200), buffer(2).bytes(0, [0xf9, 0xff])],
    ['forward', address(floats(100), 200), buffer(2).bytes(0, [9, 0])],
    ['noise', address(floats(65536), 4 * 32768), buffer(2)],
  ),
  k_index_loaded_long: single(['forward', floats(2000), longs(1999)], ['backward', address(floats(9), 32), longs(-8)]),
  k_index_loaded_remainder: single(['fixed', floats(10), ints(-1), 10], ['noise', floats(10), floats(1), 10]),
  k_index_loaded_vector: single(['fixed', floats(1024), ints([1, 2, 0x3f0, 4])], ['noise', floats(1024), floats(4)]),
  k_index_loaded_word: single(
    ['a place', floats(100), buffer(8).i32(4, 99)],
    ['another', floats(100), buffer(8).i32(4, 0)],
  ),
  k_index_lop3: linear(() => [floats(4096)]),
  k_index_mad_wide: linear((t) => [address(buffer(12 * t + 16), 16)]),
  k_index_magic_division: linear((t) => [floats(t)]),
  k_index_mul24: linear(() => [floats(501)]),
  k_from_shared: over(
    [
      ['one warp', one, warp],
      ['even blocks', [2, 1, 1], [66, 1, 1]],
    ],
    (_t, _n, _g, block) => [floats(block[0])],
  ),
  k_index_shuffled: warps((t) => [floats(t)]),
  k_index_shuffled_masked: warps(() => [floats(32)]),
  k_index_signed_wraps: () => [
    { name: 'forward', grid: [2, 1, 1], block: [20, 1, 1], args: [address(floats(200), 64), 3] },
    { name: 'backward', grid: [2, 1, 1], block: [20, 1, 1], args: [address(floats(200), 4 * 110), -2] },
    ...signedWraps(
      ['up to the top', 0x7fffffff, 9],
      ['over the top', 0x80000020, 9],
      ['back and forth', -0x7fffffff, 12],
    ),
  ],
  k_index_wraps: () =>
    unsignedWraps(
      ['all but one low', 1, 40],
      ['all high', -1, 40],
      ['both ends', -0x7fffffff, 2],
      ['steps of five', 5, 40],
    ),
  k_special: () =>
    [
      ['one cluster', [2, 1, 1], [32, 1, 1]],
      ['three clusters', [6, 1, 2], [16, 3, 1]],
    ].map(([name, grid, block]) => ({ name, grid, block, cluster: [2, 1, 1], args: [floats(400)] })),
  k_const: () => [
    {
      name: 'a table',
      grid: one,
      block: [16, 1, 1],
      args: [floats(20)],
      variables: [variable('table').i32(0, [3, 1, 4, 1, 5, 9, 2, 6])],
    },
    {
      name: 'equal entries',
      grid: one,
      block: [3, 1, 1],
      args: [floats(20)],
      variables: [variable('table').i32(0, new Array(8).fill(14))],
    },
  ],
  k_range: () => {
    const cases = [
      ['inside', 16, 400],
      ['empty', 400, 16],
      ['one element', 40, 41],
    ];
    return cases.map(([name, from, to]) => {
      const memory = floats(128);
      return { name, grid: one, block: [7, 1, 1], args: [address(memory, from), address(memory, to)] };
    });
  },
};

export const IDEAS_ADDRESSES = { ...addresses, ...indices };
