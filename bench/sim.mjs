/**
 * Speed of executing kernels: instructions a second of whole fixture kernels on mapped memory, one line a kernel.
 * node bench/sim.mjs (after `npm run build`); figures are the best of three runs after a warm-up.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { lowerKernel, ModuleSymbols } from '../dist/ir/index.js';
import { parse } from '../dist/ptx/index.js';
import { compileKernel, DeviceMemory } from '../dist/sim/index.js';

const ROOT = join(import.meta.dirname, '../fixtures/ptx');
const A = 0x1000000;
const B = 0x2000000;
const C = 0x3000000;

/** file, kernel, grid, block, dynamic shared memory, parameters as [type, value], bytes of each array */
const RUNS = [
  ['nvcc/elementwise.sm_80.ptx', 'saxpy', [1024, 1, 1], [256, 1, 1], 0, ['i', 262144, 'f', 2, 'p', A, 'p', B], 1 << 21],
  [
    'nvcc/strided.sm_80.ptx',
    'add_grid_stride_int',
    [16, 1, 1],
    [256, 1, 1],
    0,
    ['i', 262144, 'p', A, 'p', B, 'p', C],
    1 << 21,
  ],
  [
    'nvcc/gemm_tiled.sm_80.ptx',
    'gemm_tiled',
    [8, 8, 1],
    [16, 16, 1],
    0,
    ['i', 128, 'i', 128, 'i', 128, 'f', 1, 'p', A, 'p', B, 'f', 0, 'p', C],
    1 << 17,
  ],
  [
    'nvcc/gemm_tiled.sm_80.ptx',
    'gemm_split_k',
    [8, 8, 1],
    [16, 16, 1],
    0,
    ['i', 128, 'i', 128, 'i', 128, 'i', 128, 'p', A, 'p', B, 'p', C],
    1 << 17,
  ],
  ['nvcc/reduce_scan_sort.sm_80.ptx', 'block_sum', [512, 1, 1], [128, 1, 1], 0, ['p', A, 'p', B, 'i', 65536], 1 << 20],
  ['nvcc/reduce_scan_sort.sm_80.ptx', 'block_sort', [64, 1, 1], [128, 1, 1], 0, ['p', A], 1 << 20],
  [
    'triton/softmax.sm_80.ptx',
    'softmax',
    [256, 1, 1],
    [128, 1, 1],
    16384,
    ['p', A, 'p', B, 'i', 1000, 'i', 1000, 'i', 1000],
    1 << 21,
  ],
];

function kernel(file, name) {
  const { product } = parse(readFileSync(join(ROOT, file), 'latin1'));
  const symbols = new ModuleSymbols(product, (node) => node.body);
  const node = symbols.kernels.find((candidate) => candidate.name === name);
  if (!node) throw new Error(`${file} has ${symbols.kernels.map((k) => k.name)}`);
  return lowerKernel(symbols, node).product;
}

function parameterBlock(program, list) {
  const view = new DataView(new ArrayBuffer(Math.max(program.parameterBytes, 1)));
  program.parameters.forEach(({ offset, size }, index) => {
    const [type, value] = [list[2 * index], list[2 * index + 1] ?? 0];
    if (type === 'f') view.setFloat32(offset, value, true);
    else if (size === 8) view.setBigUint64(offset, BigInt(value), true);
    else view.setInt32(offset, value, true);
  });
  return new Uint8Array(view.buffer);
}

for (const [file, name, grid, block, sharedMemory, list, bytes] of RUNS) {
  const program = kernel(file, name);
  const compiled = compileKernel(program);
  const memory = new DeviceMemory();
  for (const base of [A, B, C]) {
    const array = new Float32Array(bytes / 4).map((_, index) => Math.sin(index));
    memory.map(base, new Uint8Array(array.buffer));
  }
  const parameters = parameterBlock(program, list);
  let best = Number.POSITIVE_INFINITY;
  let instructions = 0;
  for (let run = 0; run < 4; run++) {
    const start = performance.now();
    ({ instructions } = compiled.launch({ grid, block, sharedMemory, parameters, memory }));
    if (run > 0) best = Math.min(best, performance.now() - start);
  }
  const rate = instructions / best / 1e3;
  console.log(
    `${name.padEnd(20)} ${String(instructions).padStart(12)} instructions ${rate.toFixed(1).padStart(8)} million/s`,
  );
}
