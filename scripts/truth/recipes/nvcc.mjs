/**
 * Launches of the kernels in fixtures/ptx/src/*.cu. A recipe gives fresh cases each time it is called: sizes, strides and
 * tables that belong together, buffers large enough for all of it, contents wherever a value leads to an address.
 */
import { address, buffer, ceil, floats, longs, struct } from './builder.mjs';
import { LINES, lines, one } from './geometries.mjs';
import { NVCC_CONTROL } from './nvcc-control.mjs';
import { NVCC_DATA } from './nvcc-data.mjs';

const elementwise = {
  saxpy: () => {
    const both = floats(600);
    const part = floats(600);
    return [
      ...lines((n) => [n, 1.5, floats(n), floats(n)]),
      { name: 'in place', grid: [3, 1, 1], block: [200, 1, 1], args: [600, 1.7, both, both] },
      { name: 'overlapping', grid: [1, 1, 1], block: [256, 1, 1], args: [256, 1.7, part, address(part, 100)] },
      {
        name: 'across 4 GiB',
        grid: [2, 1, 1],
        block: [128, 1, 1],
        args: [256, 1, floats(256), floats(256, { crossing: 512 })],
      },
      { name: 'negative n', grid: [2, 1, 1], block: [64, 1, 1], args: [-5, 1, floats(1), floats(1)] },
      {
        name: 'largest grid',
        grid: [0x7fffffff, 1, 1],
        block: one,
        args: [5, 1, floats(5), floats(5)],
        timeout: 60,
        only: 'sm_90',
      },
    ];
  },
  scale_unguarded: () =>
    [
      [one, one],
      [
        [3, 1, 1],
        [100, 1, 1],
      ],
      [[70000, 1, 1], one],
      [
        [5, 2, 3],
        [32, 2, 1],
      ],
    ].map(([grid, block]) => ({ name: `${grid} of ${block}`, grid, block, args: [floats(grid[0] * block[0]), 1.7] })),
  relu_float4: () => [
    ...lines((n) => [n, floats(n + 4), floats(n + 4)]),
    { name: 'tail of three', grid: [2, 1, 1], block: [64, 1, 1], args: [263, floats(264), floats(264)] },
  ],
  sincos_pair: () => lines((n) => [n, buffer(8 * n), buffer(8 * n), buffer(8 * n)]),
  clamp_if_large: () => [
    ...lines((n) => [n, 0, floats(n)], LINES.slice(0, 3)),
    {
      name: 'every second',
      grid: one,
      block: [32, 1, 1],
      args: [
        32,
        0,
        floats(32).f32(
          0,
          Array.from({ length: 32 }, (_, i) => (i % 2 ? 5 : -5)),
        ),
      ],
    },
  ],
  threshold_bytes: () => [
    { name: 'rows', grid: [2, 5, 1], block: [64, 1, 1], args: [100, buffer(500), buffer(500), 128] },
    { name: 'middle of it', grid: [1, 3, 1], block: [32, 1, 1], args: [29, buffer(90), address(buffer(200), 13), 7] },
    { name: 'one thread', grid: one, block: one, args: [1, buffer(1), buffer(1), 0] },
    { name: 'no width', grid: [1, 4, 1], block: [32, 1, 1], args: [0, buffer(1), buffer(1), 0] },
  ],
};

const strided = {
  fill_grid_stride: () => [
    ...lines((n) => [n, 7, floats(n)]),
    { name: 'few threads', grid: [2, 1, 1], block: [32, 1, 1], args: [777, 7, floats(777)] },
    { name: 'a MiB', grid: [64, 1, 1], block: [256, 1, 1], args: [1 << 18, 7, floats(1 << 18)] },
    { name: 'across 4 GiB', grid: [4, 1, 1], block: [64, 1, 1], args: [1001, 7, floats(1001, { crossing: 2000 })] },
  ],
  add_grid_stride_int: () => [
    ...lines((n) => [n, floats(n), floats(n), floats(n)]),
    { name: 'few threads', grid: [3, 1, 1], block: [32, 1, 1], args: [500, floats(500), floats(500), floats(500)] },
  ],
  invert_pitched: () => [
    { name: 'padded rows', grid: [3, 2, 1], block: [32, 4, 1], args: [buffer(8 * 128), 128, 90, 7] },
    { name: 'one thread', grid: one, block: one, args: [buffer(1), 64, 1, 1] },
    { name: 'flipped', grid: [2, 3, 1], block: [16, 4, 1], args: [address(buffer(12 * 96), 11 * 96), -96, 30, 12] },
    { name: 'rows apart 64 KiB', grid: [2, 4, 1], block: [17, 3, 1], args: [buffer(12 * 65536), 65536, 33, 11] },
  ],
  batch_even: () => [
    { name: 'batches', grid: [2, 2, 3], block: [8, 4, 1], args: [floats(3 * 400), 400, 40, 7, 30] },
    {
      name: 'backward batches',
      grid: [1, 3, 4],
      block: [16, 2, 1],
      args: [address(floats(4 * 300), 4 * 900), -300, 33, 6, 31],
    },
    {
      name: 'backward rows',
      grid: [1, 3, 2],
      block: [16, 2, 1],
      args: [address(floats(2 * 300), 4 * 200), 300, -40, 6, 31],
    },
    { name: 'one thread', grid: one, block: one, args: [floats(4), 1, 1, 1, 1] },
    { name: 'overlapping batches', grid: [1, 1, 9], block: [5, 3, 1], args: [floats(400), 3, 17, 3, 9] },
  ],
  copy_strided_4d: () => {
    const strides = (sizes, steps) =>
      struct(...sizes.map((v, i) => [4 * i, 'i32', v]), ...steps.map((v, i) => [16 + 4 * i, 'i32', v]));
    const sizes = [3, 4, 5, 2];
    return [
      {
        name: 'dense',
        grid: [1, 1, 1],
        block: [128, 1, 1],
        args: [strides(sizes, [40, 10, 2, 1]), strides(sizes, [40, 10, 2, 1]), 120, floats(120), floats(120)],
      },
      {
        name: 'permuted',
        grid: [4, 1, 1],
        block: [32, 1, 1],
        args: [strides(sizes, [40, 10, 2, 1]), strides(sizes, [1, 3, 12, 60]), 120, floats(120), floats(120)],
      },
      {
        name: 'padded',
        grid: [4, 1, 1],
        block: [32, 1, 1],
        args: [strides(sizes, [40, 10, 2, 1]), strides(sizes, [1000, 200, 30, 7]), 110, floats(120), floats(4000)],
      },
      {
        name: 'negative strides',
        grid: [5, 1, 1],
        block: [31, 1, 1],
        args: [
          strides(sizes, [0, 0, 0, 1]),
          strides(sizes, [-40, -10, 2, 1]),
          120,
          floats(120),
          address(floats(120), 440),
        ],
      },
    ];
  },
  iota_chunks: () => lines((n) => [n, floats(n)]),
  lower_triangle: () => [
    { name: 'wide blocks', grid: [20, 1, 1], block: [32, 1, 1], args: [floats(400), 20] },
    { name: 'narrow blocks', grid: [33, 1, 1], block: [5, 1, 1], args: [floats(33 * 40), 40] },
    { name: 'one thread', grid: one, block: one, args: [floats(1), 1] },
    { name: 'negative rows', grid: [9, 1, 1], block: [4, 1, 1], args: [address(floats(9 * 12), 4 * 96), -12] },
  ],
  reverse_copy: () => [
    ...lines((n) => [floats(n), floats(n), n]),
    { name: 'across 4 GiB', grid: one, block: [256, 1, 1], args: [floats(200), floats(200, { crossing: 400 }), 200] },
  ],
};

const transpose = {
  transpose_naive: () => [
    { name: 'ragged', grid: [3, 2, 1], block: [16, 8, 1], args: [floats(600), floats(600), 40, 15] },
    { name: 'one thread', grid: one, block: one, args: [floats(1), floats(1), 1, 1] },
    { name: 'three dimensions', grid: [2, 3, 2], block: [7, 5, 2], args: [floats(200), floats(200), 14, 13] },
    { name: 'one column', grid: [1, 40, 1], block: [1, 4, 1], args: [floats(150), floats(150), 1, 150] },
  ],
  transpose_tiled: () => [
    { name: 'ragged', grid: [2, 3, 1], block: [32, 8, 1], args: [floats(50 * 70), floats(50 * 70), 50, 70] },
    { name: 'one tile', grid: one, block: [32, 8, 1], args: [floats(1024), floats(1024), 32, 32] },
    { name: 'thin', grid: [4, 1, 1], block: [32, 8, 1], args: [floats(300), floats(300), 100, 3] },
  ],
  transpose_in_place: () => [
    { name: 'square', grid: [3, 3, 1], block: [8, 8, 1], args: [buffer(8 * 400), 20] },
    { name: 'one', grid: one, block: [4, 4, 1], args: [buffer(8), 1] },
    { name: 'three', grid: one, block: [4, 4, 1], args: [buffer(72), 3] },
  ],
};

const matrices = {
  gemm_tiled: () =>
    [
      [33, 20, 17],
      [16, 16, 16],
      [1, 1, 1],
      [40, 50, 5],
    ].map(([m, n, k]) => ({
      name: `${m} × ${n} × ${k}`,
      grid: [ceil(n, 16), ceil(m, 16), 1],
      block: [16, 16, 1],
      args: [m, n, k, 1, floats(m * k), floats(k * n), 0.5, floats(m * n)],
    })),
  gemm_registers: () => [
    {
      name: 'dense',
      grid: [1, 1, 1],
      block: [256, 1, 1],
      args: [30, 40, 9, floats(270), floats(360), floats(1200), 9, 40, 40, 0, 0, 0],
    },
    {
      name: 'batched',
      grid: [2, 1, 3],
      block: [256, 1, 1],
      args: [20, 70, 8, floats(600), floats(2000), floats(3 * 2000), 8, 70, 90, 160, 560, 2000],
    },
    {
      name: 'backward batches',
      grid: [1, 2, 2],
      block: [256, 1, 1],
      args: [66, 10, 8, floats(600), floats(100), address(floats(2400), 4 * 1200), 8, 10, 16, 0, 0, -1200],
    },
    {
      name: 'backward rows',
      grid: [1, 1, 1],
      block: [256, 1, 1],
      args: [12, 10, 8, floats(100), floats(100), address(floats(240), 4 * 220), 8, 10, -20, 0, 0, 0],
    },
  ],
  gemm_split_k: () => [
    {
      name: 'three slices',
      grid: [3, 2, 3],
      block: [8, 8, 1],
      args: [13, 20, 30, 10, floats(390), floats(600), floats(260)],
    },
    { name: 'one thread', grid: one, block: one, args: [1, 1, 4, 4, floats(4), floats(4), floats(1)] },
    {
      name: 'slices beyond the end',
      grid: [2, 1, 5],
      block: [8, 8, 1],
      args: [8, 12, 20, 10, floats(160), floats(240), floats(96)],
    },
  ],
  gemm_wmma: () => [
    {
      name: 'two by two',
      grid: [1, 1, 1],
      block: [64, 2, 1],
      args: [buffer(2 * 32 * 32), buffer(2 * 32 * 32), floats(32 * 32), 32, 32, 32],
    },
    {
      name: 'wider grid',
      grid: [2, 2, 1],
      block: [64, 2, 1],
      args: [buffer(2 * 48 * 16), buffer(2 * 48 * 16), floats(48 * 48), 48, 48, 16],
    },
    { name: 'one tile', grid: one, block: [32, 1, 1], args: [buffer(512), buffer(512), floats(256), 16, 16, 16] },
  ],
  gemm_wmma_fixed: () => [
    {
      name: 'two by three',
      grid: [3, 2, 1],
      block: [32, 1, 1],
      args: [buffer(2 * 64 * 256), buffer(2 * 256 * 256), buffer(2 * 256 * 64)],
    },
    {
      name: 'one warp',
      grid: one,
      block: [32, 1, 1],
      args: [buffer(2 * 32 * 256), buffer(2 * 256 * 256), buffer(2 * 256 * 8)],
    },
  ],
  gemm_wmma_staged: () => [
    {
      name: 'two by two',
      grid: [2, 2, 1],
      block: [32, 1, 1],
      args: [buffer(2 * 32 * 16), buffer(2 * 16 * 32), buffer(2 * 32 * 32), 32, 16],
    },
    {
      name: 'padded',
      grid: [1, 3, 1],
      block: [32, 1, 1],
      args: [buffer(2 * 48 * 32), buffer(2 * 32 * 40), buffer(2 * 48 * 40), 40, 32],
    },
  ],
};

const norms = {
  layernorm: () =>
    [
      [3, 100, 64],
      [1, 1, 32],
      [5, 257, 128],
    ].map(([rows, columns, threads]) => ({
      name: `${rows} × ${columns}`,
      grid: [rows, 1, 1],
      block: [threads, 1, 1],
      args: [
        floats(rows * columns),
        floats(columns),
        floats(columns),
        floats(rows * columns),
        floats(rows),
        floats(rows),
        columns,
        1e-5,
      ],
    })),
  rmsnorm_residual: () =>
    [
      [5, 100, 4],
      [3, 33, 2],
      [1, 128, 1],
    ].map(([rows, vectors, perBlock]) => ({
      name: `${rows} × ${vectors}`,
      grid: [ceil(rows, perBlock), 1, 1],
      block: [32, perBlock, 1],
      args: [
        buffer(16 * rows * vectors),
        buffer(16 * rows * vectors),
        buffer(16 * vectors),
        buffer(16 * rows * vectors),
        rows,
        vectors,
        1e-5,
      ],
    })),
  rotary_interleaved: () =>
    [
      [3, 2, 20, 32],
      [1, 1, 1, 1],
      [2, 3, 64, 32],
    ].map(([tokens, heads, half, threads]) => ({
      name: `${tokens} tokens, ${heads} heads`,
      grid: [tokens, heads, 1],
      block: [threads, 1, 1],
      args: [buffer(8 * tokens * heads * half), floats(tokens * half), floats(tokens * half), heads, half],
    })),
  rotary_halves: () => [
    {
      name: 'grouped heads',
      grid: [3, 1, 1],
      block: [64, 1, 1],
      args: [floats(3 * 4 * 16), floats(3 * 2 * 16), longs([5, 0, 9]), floats(10 * 16), 8, 4, 2, 64, 32],
    },
    {
      name: 'padded tokens',
      grid: [2, 1, 1],
      block: [32, 1, 1],
      args: [floats(2 * 100), floats(2 * 60), longs([1, 1]), floats(2 * 16), 8, 3, 1, 100, 60],
    },
    {
      name: 'backward tokens',
      grid: [3, 1, 1],
      block: [32, 1, 1],
      args: [
        address(floats(300), 800),
        address(floats(180), 480),
        longs([1, 0, 1]),
        floats(2 * 16),
        8,
        3,
        1,
        -100,
        -60,
      ],
    },
  ],
};

export const NVCC = {
  ...elementwise,
  ...strided,
  ...transpose,
  ...matrices,
  ...norms,
  ...NVCC_CONTROL,
  ...NVCC_DATA,
};
