/** Geometries that recipes of generated kernels share. */

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
