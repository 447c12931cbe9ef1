/** Compiled kernels, whole: what they compute against plain JavaScript. */
import { describe, expect, it } from 'vitest';
import { fixture, random, run } from './helpers.js';

const NVCC = 'fixtures/ptx/nvcc';
const TRITON = 'fixtures/ptx/triton';

function floats(count: number, seed: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() * 2 - 1);
}

function close(actual: Float32Array, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length).toBe(expected.length);
  let worst = 0;
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / Math.max(1, Math.abs(expected[i]!));
    if (!(error <= worst)) worst = error;
  }
  expect(worst).toBeLessThanOrEqual(tolerance);
}

describe.each(['sm_80.ptx', 'sm_80.G.ptx', 'sm_90.ptx'])('nvcc, %s', (target) => {
  it('saxpy, and nothing behind its end', () => {
    const [x, y] = [floats(1000, 1), floats(1000, 2)];
    const expected = y.map((value, i) => (i < 900 ? Math.fround(Math.fround(2.5 * x[i]!) + value) : value));
    const { memory, address } = run(
      fixture(`${NVCC}/elementwise.${target}`, 'saxpy'),
      [8, 1, 1],
      [128, 1, 1],
      [900, { f: 2.5 }, x, y],
    );
    close(y, expected, 1e-6);
    const at = address(y);
    expect(memory.written()).toEqual([{ from: at, to: at + 3600n }]);
  });

  it('gemm_registers', () => {
    const [m, n, k] = [70, 65, 19];
    const [a, b, c] = [floats(m * k, 3), floats(k * n, 4), new Float32Array(m * n)];
    const expected = new Float64Array(m * n);
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) for (let l = 0; l < k; l++) expected[i * n + j]! += a[i * k + l]! * b[l * n + j]!;
    const kernel = fixture(`${NVCC}/gemm_tiled.${target}`, 'gemm_registers');
    run(kernel, [2, 2, 1], [256, 1, 1], [m, n, k, a, b, c, k, n, n, { l: 0 }, { l: 0 }, { l: 0 }]);
    close(c, expected, 1e-4);
  });

  it('layernorm', () => {
    const [rows, columns] = [3, 75];
    const [x, gamma, beta, y] = [
      floats(rows * columns, 5),
      floats(columns, 6),
      floats(columns, 7),
      floats(rows * columns, 8),
    ];
    const [means, rstds] = [new Float32Array(rows), new Float32Array(rows)];
    const kernel = fixture(`${NVCC}/layernorm.${target}`, 'layernorm');
    run(kernel, [rows, 1, 1], [64, 1, 1], [x, gamma, beta, y, means, rstds, columns, { f: 1e-5 }]);
    const expected = Array.from(x, (value, i) => {
      const row = x.subarray(Math.floor(i / columns) * columns).subarray(0, columns);
      const mean = row.reduce((sum, v) => sum + v, 0) / columns;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / columns;
      return ((value - mean) / Math.sqrt(variance + 1e-5)) * gamma[i % columns]! + beta[i % columns]!;
    });
    close(y, expected, 1e-4);
  });
});

describe('nvcc', () => {
  it('transpose_tiled', () => {
    const [width, height] = [50, 37];
    const input = floats(width * height, 9);
    const output = new Float32Array(width * height);
    const kernel = fixture(`${NVCC}/transpose.sm_80.ptx`, 'transpose_tiled');
    run(kernel, [2, 2, 1], [32, 8, 1], [input, output, width, height]);
    expect(output).toEqual(Float32Array.from(output, (_, i) => input[(i % height) * width + Math.floor(i / height)]!));
  });

  it('gemm_tiled with shared memory', () => {
    const n = 40;
    const [a, b, c] = [floats(n * n, 10), floats(n * n, 11), floats(n * n, 12)];
    const expected = Float64Array.from(c, (value) => 0.5 * value);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) for (let l = 0; l < n; l++) expected[i * n + j]! += 2 * a[i * n + l]! * b[l * n + j]!;
    run(
      fixture(`${NVCC}/gemm_tiled.sm_80.ptx`, 'gemm_tiled'),
      [3, 3, 1],
      [16, 16, 1],
      [n, n, n, { f: 2 }, a, b, { f: 0.5 }, c],
    );
    close(c, expected, 1e-4);
  });

  it('block_sum, block_scan, block_sort, block_compact of CUB', () => {
    const next = random(13);
    const file = `${NVCC}/reduce_scan_sort.sm_80.ptx`;
    const input = Int32Array.from({ length: 512 }, () => Math.floor(next() * 2000) - 1000);
    const sums = new Int32Array(4);
    run(fixture(file, 'block_sum'), [4, 1, 1], [128, 1, 1], [input, sums, 500]);
    const sum = (list: Int32Array) => list.reduce((a, b) => a + b, 0);
    expect([...sums]).toEqual([0, 1, 2, 3].map((b) => sum(input.subarray(128 * b, Math.min(500, 128 * b + 128)))));

    const scanned = new Int32Array(512);
    run(fixture(file, 'block_scan'), [4, 1, 1], [128, 1, 1], [input, scanned, 512]);
    expect(scanned).toEqual(input.map((_, i) => sum(input.subarray(128 * (i >> 7), i))));

    const keys = Uint32Array.from({ length: 1024 }, () => Math.floor(next() * 2 ** 32));
    const sorted = [keys.slice(0, 512).sort(), keys.slice(512).sort()];
    run(fixture(file, 'block_sort'), [2, 1, 1], [128, 1, 1], [keys]);
    // Each thread's four go out striped: the tile is the sorted one, read by columns of four.
    const striped = sorted.flatMap((tile) => Array.from(tile, (_, i) => tile[(i % 128) * 4 + (i >> 7)]!));
    expect([...keys]).toEqual(striped);

    const [kept, counts] = [new Int32Array(512), new Int32Array(4)];
    run(fixture(file, 'block_compact'), [4, 1, 1], [128, 1, 1], [input, kept, counts]);
    for (let b = 0; b < 4; b++) {
      const positive = [...input.subarray(128 * b, 128 * b + 128)].filter((value) => value > 0);
      expect(counts[b]).toBe(positive.length);
      expect([...kept.subarray(128 * b, 128 * b + positive.length)]).toEqual(positive);
    }
  });

  it('histograms, appending and compare-and-swap', () => {
    const next = random(14);
    const file = `${NVCC}/atomics.sm_80.ptx`;
    const bytes = Uint8Array.from({ length: 3000 }, () => Math.floor(next() * 256));
    const bins = new Uint32Array(256);
    run(fixture(file, 'histogram_bytes'), [3, 1, 1], [128, 1, 1], [bytes, bytes.length, bins]);
    const expected = new Uint32Array(256);
    for (const byte of bytes) expected[byte]!++;
    expect(bins).toEqual(expected);

    const words = Uint32Array.from(bytes, (byte) => ((byte << 24) | 77) >>> 0);
    const shared = new Uint32Array(256);
    run(fixture(file, 'histogram_shared'), [3, 1, 1], [128, 1, 1], [words, words.length, shared]);
    expect(shared).toEqual(expected);

    const values = floats(1000, 15).map(Math.abs);
    const most = new Float32Array(1);
    run(fixture(file, 'max_by_cas'), [8, 1, 1], [128, 1, 1], [values, values.length, most]);
    expect(most[0]).toBe(Math.max(...values));

    const input = Int32Array.from({ length: 300 }, () => Math.floor(next() * 20) - 10);
    const [out, count] = [new Int32Array(300), new Uint32Array(1)];
    run(fixture(file, 'append_positive'), [3, 1, 1], [128, 1, 1], [input, 300, out, count, 300]);
    const positive = input.filter((value) => value > 0);
    expect(count[0]).toBe(positive.length);
    expect(out.slice(0, count[0]).sort()).toEqual(positive.sort());
  });

  it('sum_last_block: the last block sees what the others left', () => {
    const input = floats(2000, 16);
    const [partial, done, total] = [new Float32Array(5), new Uint32Array(1), new Float32Array(1)];
    const kernel = fixture(`${NVCC}/atomics.sm_80.ptx`, 'sum_last_block');
    run(kernel, [5, 1, 1], [96, 1, 1], [input, input.length, partial, done, total]);
    close(total, [input.reduce((sum, value) => sum + value, 0)], 1e-4);
  });

  it('rotary_interleaved and kv_scatter', () => {
    const [tokens, heads, half] = [3, 2, 20];
    const x = floats(tokens * heads * half * 2, 17);
    const [c, s] = [floats(tokens * half, 18), floats(tokens * half, 19)];
    const expected = x.map((value, i) => {
      const pair = i >> 1;
      const table = Math.floor(pair / (heads * half)) * half + (pair % half);
      return i & 1 ? x[i - 1]! * s[table]! + value * c[table]! : value * c[table]! - x[i + 1]! * s[table]!;
    });
    run(
      fixture(`${NVCC}/rotary.sm_80.ptx`, 'rotary_interleaved'),
      [tokens, heads, 1],
      [16, 1, 1],
      [x, c, s, heads, half],
    );
    close(x, expected, 1e-6);

    const key = Uint16Array.from({ length: 4 * 24 }, (_, i) => i + 1);
    const value = key.map((bits) => bits + 1000);
    const [keys, values] = [new Uint16Array(16 * 24), new Uint16Array(16 * 24)];
    const slots = BigInt64Array.from([5n, -1n, 0n, 15n]);
    const kernel = fixture(`${NVCC}/kv_cache.sm_80.ptx`, 'kv_scatter');
    run(kernel, [4, 1, 1], [32, 1, 1], [key, value, keys, values, slots, 3, 8, 4]);
    for (const [token, slot] of [5, -1, 0, 15].entries()) {
      if (slot < 0) continue;
      expect(keys.subarray(slot * 24, slot * 24 + 24)).toEqual(key.subarray(token * 24, token * 24 + 24));
      expect(values.subarray(slot * 24, slot * 24 + 24)).toEqual(value.subarray(token * 24, token * 24 + 24));
    }
    expect(keys.filter((bits) => bits !== 0).length).toBe(3 * 24);
  });

  it('paged_attention', () => {
    const [heads, length, pages] = [2, 21, 2];
    const q = floats(heads * 64, 20);
    const [k, v] = [floats(pages * 16 * heads * 64, 21), floats(pages * 16 * heads * 64, 22)];
    const out = new Float32Array(heads * 64);
    const table = Int32Array.from([1, 0]);
    run(
      fixture(`${NVCC}/kv_cache.sm_80.ptx`, 'paged_attention'),
      [heads, 1, 1],
      [64, 1, 1],
      [out, q, k, v, table, Int32Array.from([length]), pages, heads, { f: 0.125 }],
    );
    const expected = new Float64Array(heads * 64);
    for (let h = 0; h < heads; h++) {
      const row = (array: Float32Array, t: number) => {
        const at = ((table[t >> 4]! * 16 + (t & 15)) * heads + h) * 64;
        return array.subarray(at, at + 64);
      };
      const scores = Array.from({ length }, (_, t) =>
        Math.exp(row(k, t).reduce((sum, value, i) => sum + value * q[h * 64 + i]! * 0.125, 0)),
      );
      const sum = scores.reduce((a, b) => a + b, 0);
      for (let i = 0; i < 64; i++)
        for (let t = 0; t < length; t++) expected[h * 64 + i]! += (scores[t]! / sum) * row(v, t)[i]!;
    }
    close(out, expected, 1e-4);
  });
});

describe.each(['sm_80', 'sm_90'])('Triton, %s', (target) => {
  it('softmax', () => {
    const [rows, columns] = [3, 700];
    const x = floats(rows * columns, 23);
    const out = new Float32Array(rows * columns);
    const kernel = fixture(`${TRITON}/softmax.${target}.ptx`, 'softmax');
    run(kernel, [rows, 1, 1], [128, 1, 1], [x, out, columns, columns, columns], { sharedMemory: 16384 });
    const expected = Array.from(x, (value, i) => {
      const row = x.subarray(Math.floor(i / columns) * columns).subarray(0, columns);
      return Math.exp(value) / row.reduce((sum, v) => sum + Math.exp(v), 0);
    });
    close(out, expected, 1e-5);
  });

  it('cumsum and argmax', () => {
    const [rows, columns] = [2, 300];
    const x = floats(rows * columns, 24);
    const out = new Float32Array(rows * columns);
    const options = { sharedMemory: 16384 };
    run(
      fixture(`${TRITON}/cumsum.${target}.ptx`, 'cumsum'),
      [rows, 1, 1],
      [128, 1, 1],
      [x, out, columns, columns],
      options,
    );
    const expected = Array.from(x, (_, i) =>
      x.subarray(Math.floor(i / columns) * columns, i + 1).reduce((a, b) => a + b, 0),
    );
    close(out, expected, 1e-4);
    const best = new Int32Array(rows);
    run(fixture(`${TRITON}/argmax.${target}.ptx`, 'argmax'), [rows, 1, 1], [128, 1, 1], [x, best, columns], options);
    const place = (row: Float32Array) => row.indexOf(Math.max(...row));
    expect([...best]).toEqual([place(x.subarray(0, columns)), place(x.subarray(columns))]);
  });

  it('histogram', () => {
    const next = random(25);
    const x = Int32Array.from({ length: 900 }, () => Math.floor(next() * 64));
    const bins = new Int32Array(1024);
    const kernel = fixture(`${TRITON}/histogram.${target}.ptx`, 'histogram');
    run(kernel, [2, 1, 1], [128, 1, 1], [x, bins, x.length], { sharedMemory: 16384 });
    const expected = new Int32Array(1024);
    for (const value of x) expected[value]!++;
    expect(bins).toEqual(expected);
  });
});
