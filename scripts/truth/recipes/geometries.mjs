/** Geometries that recipes share, and ways to make a case for each. */
import { buffer } from './builder.mjs';

/** Geometries of kernels with one guarded index: name, n, grid, block. */
export const LINES = [
  ['one thread', 1, [1, 1, 1], [1, 1, 1]],
  ['ragged end', 1000, [4, 1, 1], [256, 1, 1]],
  ['odd blocks', 77, [3, 1, 1], [33, 1, 1]],
  ['no work', 0, [2, 1, 1], [64, 1, 1]],
  ['many blocks', 1500, [1 << 20, 1, 1], [1, 1, 1]],
];
export const lines = (make, chosen = LINES) =>
  chosen.map(([name, n, grid, block]) => ({ name, grid, block, args: make(n, grid, block) }));
export const one = [1, 1, 1];

/** Any geometry: name, grid, block. */
export const ANY = [
  ['one thread', [1, 1, 1], [1, 1, 1]],
  ['three dimensions', [2, 2, 2], [17, 3, 2]],
  ['ragged blocks', [5, 1, 1], [33, 1, 1]],
];
/** Whole warps, for instructions that need them. */
export const WARPS = [
  ['one warp', [1, 1, 1], [32, 1, 1]],
  ['blocks of warps', [3, 2, 1], [64, 2, 1]],
];

/** Cases over geometries; `make` gets the number of threads along x and all of them. */
export const over = (geometries, make) => () =>
  geometries.map(([name, grid, block]) => {
    const threads = [...grid, ...block].reduce((product, size) => product * size, 1);
    return { name, grid, block, args: make(grid[0] * block[0], threads, grid, block) };
  });
export const linear = (make) => over(ANY, make);
export const warps = (make) => over(WARPS, make);
/** One thread each; name and arguments of every case. */
export const single =
  (...cases) =>
  () =>
    cases.map(([name, ...args]) => ({ name, grid: [1, 1, 1], block: [1, 1, 1], args }));
export const plain = (bytes) => single(['one thread', buffer(bytes)]);
export const warp = [32, 1, 1];
