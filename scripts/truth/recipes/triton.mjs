/**
 * Launches of the kernels in fixtures/ptx/src/triton_kernels.py. Blocks are four warps, as compiled; the last two parameters
 * are scratch memory, which only kernels that make tensor maps use.
 */
import { address, buffer, ceil, floats, ints, longs, tensorMap } from './builder.mjs';

const halves = (count, options) => buffer(2 * count, options);
const block = [128, 1, 1];
const shared = 96 << 10;
const launch = (name, grid, args, scratch = 0) => ({ name, grid, block, shared, args: [...args, scratch, 0] });

const matmul = (m, n, k, ldc) =>
  launch(
    `${m} × ${n} × ${k}`,
    [ceil(m, 64) * ceil(n, 64), 1, 1],
    [halves(m * k), halves(k * n), halves(m * ldc), m, n, k, k, n, ldc],
  );

/** A tensor descriptor as Triton passes it: the map, then shape and strides. */
function descriptor(place, rows, columns, boxRows, boxColumns, swizzle) {
  const map = tensorMap(place, { type: 'f16', dimensions: [columns, rows], box: [boxColumns, boxRows], swizzle });
  return [map, rows, columns, columns, 1];
}

export const TRITON = {
  add: () =>
    [1, 1000, 1024, 2500, 0].map((n) =>
      launch(`${n} elements`, [ceil(n, 1024), 1, 1], [floats(n), floats(n), floats(n), n]),
    ),
  softmax: () => [
    launch('dense rows', [3, 1, 1], [floats(300), floats(300), 100, 100, 100]),
    launch('padded rows', [4, 1, 1], [floats(4 * 600), floats(4 * 520), 600, 520, 513]),
    launch('backward rows', [3, 1, 1], [address(floats(300), 800), address(floats(300), 800), -100, -100, 99]),
    launch('one column', [1, 1, 1], [floats(1), floats(1), 1, 1, 1]),
  ],
  layernorm: () => [
    launch(
      'one round',
      [3, 1, 1],
      [floats(300), floats(100), floats(100), floats(300), floats(3), floats(3), 100, 100, 1e-5],
    ),
    launch(
      'two rounds',
      [2, 1, 1],
      [floats(3000), floats(1500), floats(1500), floats(3000), floats(2), floats(2), 1500, 1400, 1e-5],
    ),
    launch('no columns', [2, 1, 1], [floats(1), floats(1), floats(1), floats(1), floats(2), floats(2), 0, 0, 1e-5]),
  ],
  matmul: () => [matmul(64, 64, 32, 64), matmul(100, 70, 40, 96), matmul(1, 1, 1, 1), matmul(130, 33, 64, 33)],
  matmul_tma: () =>
    [
      [64, 64, 32],
      [128, 192, 64],
      [72, 80, 32],
    ].map(([m, n, k]) =>
      launch(
        `${m} × ${n} × ${k}`,
        [ceil(m, 64), ceil(n, 64), 1],
        [
          ...descriptor(halves(m * k), m, k, 64, 32, 2),
          ...descriptor(halves(k * n), k, n, 32, 64, 3),
          ...descriptor(halves(m * n), m, n, 64, 64, 3),
          k,
        ],
      ),
    ),
  copy_tma_device: () =>
    [
      [32, 32],
      [64, 96],
      [40, 36],
    ].map(([m, n]) =>
      launch(`${m} × ${n}`, [ceil(m, 32), ceil(n, 32), 1], [floats(m * n), floats(m * n), m, n], buffer(1 << 16)),
    ),
  rotary: () => [
    launch('dense', [3, 2, 1], [floats(3 * 256), floats(3 * 64), floats(3 * 64), 256, 128]),
    launch('padded', [2, 3, 1], [floats(2 * 600), floats(2 * 64), floats(2 * 64), 600, 160]),
    launch('backward tokens', [2, 1, 1], [address(floats(300), 640), floats(2 * 64), floats(2 * 64), -160, 128]),
  ],
  kv_scatter: () => [
    launch('slots', [4, 1, 1], [halves(400), halves(3200), longs([31, 0, -1, 7]), 100]),
    launch('full width', [2, 1, 1], [halves(1024), halves(512 * 9), longs([8, 2]), 512]),
    launch('padding alone', [2, 1, 1], [halves(64), halves(64), longs([-1, -9]), 32]),
  ],
  histogram: () => [
    launch('fixed data', [2, 1, 1], [ints(Array.from({ length: 700 }, (_, i) => (i * i) % 77)), floats(256), 700]),
    launch('noise', [4, 1, 1], [floats(2000), floats(256), 2000]),
    launch('no work', [1, 1, 1], [floats(1), floats(256), 0]),
  ],
  cumsum: () => [
    launch('padded rows', [3, 1, 1], [floats(3 * 300), floats(3 * 300), 300, 222]),
    launch('whole rows', [2, 1, 1], [floats(1024), floats(1024), 512, 512]),
  ],
  argmax: () => [
    launch('rows', [5, 1, 1], [floats(5 * 300), floats(5), 300]),
    launch('noise and one column', [3, 1, 1], [floats(3), floats(3), 1]),
  ],
  dropout: () => [
    launch('half', [2, 1, 1], [floats(1500), floats(1500), 1500, 0.3, 42]),
    launch('one element', [1, 1, 1], [floats(1), floats(1), 1, 0.1, 7]),
  ],
  grouped_scale: () => [
    launch(
      'three groups',
      [1, 3, 1],
      [buffer(24).pointers(0, floats(100), floats(512), floats(7)), ints([100, 512, 7]), 1.7],
    ),
    launch('an empty group', [2, 2, 1], [buffer(16).pointers(0, floats(600), floats(1)), ints([600, 0]), 1.7]),
  ],
  attention: () => [
    launch(
      'two heads',
      [2, 2, 1],
      [halves(2 * 6400), halves(2 * 6400), halves(2 * 6400), halves(2 * 6400), 100, 6400, 0.125],
    ),
    launch('one row', [1, 1, 1], [halves(64), halves(64), halves(64), halves(64), 1, 64, 0.125]),
  ],
  persistent_add: () => [
    launch('three programs', [3, 1, 1], [floats(5000), floats(5000), 5000]),
    launch('more programs than tiles', [8, 1, 1], [floats(700), floats(700), 700]),
    launch('no work', [2, 1, 1], [floats(1), floats(1), 0]),
  ],
};
