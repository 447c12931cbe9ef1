/** Launches of the kernels in fixtures/ptx/src/geometry.cu: each shape small, at its edges, and with strides turned round. */
import { address, buffer, floats, GiB, MiB, struct } from './builder.mjs';

const one = [1, 1, 1];
const launch = (name, grid, block, ...args) => ({ name, grid, block, args });
/** A line of threads that is enough for n. */
const line = (name, n, ...args) => launch(name, [Math.max(1, Math.ceil(n / 33)), 1, 1], [33, 1, 1], ...args);
const view = (data, rows, columns, pitch) =>
  struct([0, 'p', data], [8, 'i32', rows], [12, 'i32', columns], [16, 'i32', pitch]);

function pieces(sizes, blocks) {
  const parts = [];
  for (const [index, size] of sizes.entries())
    parts.push([8 * index, 'p', floats(size)], [288 + 4 * index, 'i32', size]);
  for (const [block, [piece, chunk]] of blocks.entries())
    parts.push([96 + block, 'u8', piece], [160 + 2 * block, 'u8', chunk & 255], [161 + 2 * block, 'u8', chunk >> 8]);
  return struct(...parts);
}

/** Buffers 0, 8 and 16 GiB into the arena, around what a wrapping index reaches from a pointer at `from`. */
const reach = (from) =>
  [0, 8 * GiB, 16 * GiB]
    .map((start) => (start === from ? undefined : buffer(1 << 17, { at: start + 32 * MiB - (64 << 10) })))
    .filter(Boolean);
const pointerAt = (from) => address(buffer(1 << 17, { at: from + 32 * MiB - (64 << 10) }), 64 << 10);
const wrapping = (name, from, ...args) => ({ ...line(name, 40, pointerAt(from), ...args), buffers: reach(from) });

export const GEOMETRY = {
  fill_brick: () => [
    launch('ragged in all', [2, 3, 2], [7, 3, 2], floats(4 * 400), 11, 8, 3, 20, 400),
    launch('one thread', one, one, floats(1), 1, 1, 1, 1, 1),
    launch('no depth', [2, 1, 3], [8, 2, 1], floats(1), 9, 2, 0, 16, 100),
    launch('turned round', [2, 3, 2], [7, 3, 2], address(floats(4 * 400), 4 * 1400), 11, 8, 3, -20, -400),
    launch('slices a MiB apart', [1, 1, 5], [4, 4, 1], floats(5 * (1 << 18)), 3, 4, 5, 64, 1 << 18),
    launch('flat across 4 GiB', [3, 4, 1], [16, 2, 1], floats(48 * 8, { crossing: 700 }), 40, 8, 1, 48, 0),
    launch('many in z', [1, 1, 65535], one, buffer(65535 * 4), 1, 1, 65535, 1, 1),
    launch('many in y', [1, 65535, 1], one, buffer(65535 * 4), 1, 65535, 1, 1, 1),
  ],
  fill_strided_batches: () => [
    launch('rows and batches', [2, 5, 3], [16, 1, 1], buffer(8 * 3 * 300), 300, 40, 1, 4, 30),
    launch('columns first', [2, 5, 2], [16, 1, 1], buffer(8 * 600), 300, 1, 7, 5, 20),
    launch('all backward', [2, 5, 3], [16, 1, 1], address(buffer(8 * 1000), 8 * 999), -300, -40, -1, 4, 30),
    launch('all on one place', [3, 2, 4], [32, 1, 1], buffer(8), 0, 0, 0, 2, 90),
    launch('far apart', [1, 2, 3], [8, 1, 1], buffer(1 << 26), 1 << 21, 1 << 20, 1 << 12, 2, 8),
  ],
  fill_steps: () => [
    line('every third', 50, floats(150), 50, 3),
    line('backward', 50, address(floats(100), 4 * 99), 50, -2),
    line('one place', 50, floats(1), 50, 0),
    line('nothing', 0, floats(1), 0, 5),
    line('far', 20, buffer(4 * 20 * 65537), 20, 65537),
  ],
  fill_ring: () => [
    line('wraps once', 60, floats(100), 70, 100, 60),
    line('does not wrap', 20, floats(100), 70, 100, 20),
    line('wraps often', 90, floats(7), 3, 7, 90),
    line('start beyond 32 bits', 40, floats(1000), 0xfffffff0, 1000, 40),
    line('not a power of two', 33, floats(96), 90, 96, 33),
  ],
  fill_views: () => [
    launch('both', [2, 3, 2], [16, 1, 1], view(floats(200), 5, 33, 40), view(floats(90), 9, 10, 10)),
    launch('the first', [1, 1, 1], [8, 1, 1], view(floats(200), 4, 9, 50), view(floats(9), 3, 3, 3)),
    launch(
      'turned round',
      [1, 2, 2],
      [32, 1, 1],
      view(address(floats(200), 600), 4, 40, -50),
      view(floats(1), 0, 5, 5),
    ),
  ],
  fill_pieces: () => [
    launch(
      'every piece',
      [7, 1, 1],
      [32, 1, 1],
      pieces(
        [100, 30, 1, 64],
        [
          [0, 0],
          [0, 1],
          [0, 2],
          [0, 3],
          [1, 0],
          [2, 0],
          [3, 1],
        ],
      ),
      32,
    ),
    launch(
      'last entries',
      [64, 1, 1],
      [8, 1, 1],
      pieces(
        new Array(12).fill(50),
        Array.from({ length: 64 }, (_, i) => [i % 12, i >> 4]),
      ),
      16,
    ),
    launch(
      'late chunk',
      [2, 1, 1],
      [64, 1, 1],
      pieces(
        [10, 60000],
        [
          [1, 300],
          [0, 1],
        ],
      ),
      199,
    ),
  ],
  fill_swizzled: () => [
    line('whole rows', 1056, floats(1056), 1056),
    line('ragged', 1000, floats(1024), 1000),
    launch('one thread', one, one, floats(1), 1),
  ],
  fill_column: () => [
    line('a column', 40, floats(40 * 25), 25, 7, 40),
    line('upwards', 40, address(floats(40 * 25), 4 * 975), -25, 3, 40),
    line('pitch 1 MiB', 30, buffer(30 << 20), 1 << 18, 0, 30),
  ],
  fill_upper: () => [
    launch('ragged', [3, 3, 1], [8, 8, 1], floats(400), 20),
    launch('one', one, [4, 4, 1], floats(1), 1),
    launch('part of it', [1, 2, 1], [16, 4, 1], floats(900), 30),
  ],
  fill_divided: () => [
    line('by seven', 60, floats(9 * 10), 60, 7, 10, 0),
    line('negative numerators', 60, address(floats(300), 4 * 100), 20, 7, 10, 40),
    line('negative divisor', 60, address(floats(300), 4 * 150), 50, -7, 10, 5),
    line('by one', 50, floats(200), 50, 1, 3, 0),
    line('larger than all', 50, floats(50), 50, 1000, 3, 0),
  ],
  fill_chosen: () =>
    [0, 1, 2, 3].map((which) => line(`pointer ${which}`, 40, floats(40), floats(80), floats(120), which, 40)),
  fill_halves_pointer: () => [
    line('a buffer', 40, floats(40), undefined, 40),
    line('across 4 GiB', 70, floats(70, { crossing: 100 }), undefined, 70),
    line('just below 4 GiB', 16, floats(16, { crossing: 64 }), undefined, 16),
  ],
  fill_window: () => [
    launch('a window', [2, 1, 1], [32, 1, 1], buffer(1000), 333, 777),
    launch('from before the pointer', [3, 1, 1], [10, 1, 1], address(buffer(1000), 500), -123, 45),
    launch('empty', [3, 1, 1], [10, 1, 1], buffer(1), 10, 10),
    launch('indices beyond 32 bits', [2, 1, 1], [32, 1, 1], address(buffer(4096), -5e9), 5e9 + 7, 5e9 + 2000),
    { ...launch('cooperative', [4, 1, 1], [64, 1, 1], buffer(3000), 0, 3000), cooperative: true },
    launch('a million blocks', [(1 << 20) + 3, 1, 1], one, buffer(1 << 20), 0, 1 << 20),
    { ...launch('largest grid', [0x7fffffff, 1, 1], one, buffer(99), 0, 99), timeout: 60, only: 'sm_90' },
  ],
  fill_squares: () => [
    line('thirty', 30, floats(900), 30),
    line('one', 1, floats(1), 1),
    line('three hundred', 300, floats(90000), 300),
  ],
  fill_clamped: () => [
    line('both ends', 60, floats(60), 10, 40),
    line('one place', 60, floats(60), 7, 7),
    line('ends crossed', 60, floats(60), 20, 5),
    line('negative', 60, address(floats(60), 80), -20, -3),
  ],
  fill_wrapped: () => [
    line('forward', 40, floats(100), 40, 60),
    wrapping('around zero', 0, 40, 0xfffffff0),
    wrapping('at the top', 0, 30, 0xffffff00),
    line('biased pointer', 40, address(floats(64), -4 * 0xf0000000), 40, 0xf0000000 + 5),
  ],
  fill_wrapped_signed: () => [
    line('forward', 40, floats(40 * 9), 40, 9),
    line('backward', 40, address(floats(400), 4 * 390), 40, 0xfffffff7),
    wrapping('to both sides', 8 * GiB, 12, 0x7fffffff),
    wrapping('below', 8 * GiB, 12, 0x80000010),
  ],
  permute_axes: () => [
    launch('ragged', [2, 5, 3], [8, 1, 1], buffer(2 * 11 * 15), buffer(2 * 11 * 15), 11, 5, 3),
    launch('part of it', [1, 3, 3], [4, 1, 1], buffer(2 * 1000), buffer(2 * 1000), 10, 10, 10),
    launch('one thread', one, one, buffer(2), buffer(2), 1, 1, 1),
  ],
  fill_by_alignment: () => [
    line('aligned', 100, floats(100), 100),
    line('not aligned', 100, address(floats(104), 4), 100),
    line('ragged number', 99, floats(99), 99),
  ],
  pack_nibbles: () => [line('even', 100, buffer(100), buffer(50), 100), line('odd', 77, buffer(77), buffer(39), 77)],
  fill_reversed_bits: () => [
    line('seven bits', 128, floats(128), 7),
    line('one bit', 2, floats(2), 1),
    line('some of ten', 300, floats(1024), 10),
  ],
  fill_diagonals: () =>
    [16, 32].map((side) => ({
      ...launch(`side ${side}`, [2, 1, 1], [32, 1, 1], floats(side * side), side),
      shared: 4 * 32,
    })),
  fill_by_cluster: () =>
    [
      [2, 6, 32],
      [4, 4, 16],
      [8, 16, 5],
      [1, 3, 32],
    ].map(([size, blocks, threads]) => ({
      ...launch(
        `clusters of ${size}`,
        [blocks, 1, 1],
        [threads, 1, 1],
        floats((blocks / size) * (size * threads + 9)),
        size * threads + 9,
      ),
      cluster: [size, 1, 1],
    })),
};
