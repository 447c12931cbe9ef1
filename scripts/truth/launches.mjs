#!/usr/bin/env node
/**
 * Makes launches of the fixture kernels for `record.py` to execute on a GPU: `node scripts/truth/launches.mjs BASE SIZE`
 * prints one JSON object a line. BASE and SIZE are an arena of device memory that all pointers point into. Only kernels
 * whose writes and reads follow from the launch, so that nothing leaves the arena. Seeded: the same launches each time.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { buildTemplates, executeConcretely } from '../../dist/index.js';

const BASE = BigInt(process.argv[2]);
const SIZE = BigInt(process.argv[3]);
const FOLDERS = ['fixtures/ptx/nvcc', 'fixtures/ptx/triton', 'fixtures/ptx/ideas'];
/** Geometries: one thread, three dimensions, ragged blocks, whole warps. */
const GEOMETRIES = [
  [
    [3, 2, 1],
    [32, 4, 1],
  ],
  [
    [2, 1, 2],
    [17, 3, 2],
  ],
  [
    [5, 1, 1],
    [64, 1, 1],
  ],
  [
    [1, 1, 1],
    [1, 1, 1],
  ],
  [
    [2, 3, 1],
    [8, 8, 1],
  ],
];
const NUMBERS = [1, 2, 3, 5, 8, 16, 31, 33, 64, 100, 257, 130];
/** Launches of each kernel, and where the random numbers start: for longer campaigns than the recorded one. */
const LAUNCHES = Number(process.env['GCR_LAUNCHES'] ?? 4);
const SEED = Number(process.env['GCR_SEED'] ?? 12345);
const MAX_RANGES = 400;
/** Kernels that cannot be launched like this: what memory holds leads them out of the arena, or launches are not allowed. */
const EXCLUDED = new Set([
  'tree_sizes',
  'gemm_tiled',
  'block_sort',
  'k_absolute',
  'k_address_in_halves',
  'k_address_mad_carry',
  'k_address_tagged',
  'k_bulk_param',
  'k_bulk_reduce',
  'k_index_wraps',
]);

let state = SEED;
function below(limit) {
  state = (state * 1103515245 + 12345) & 0x7fffffff;
  return (state >> 8) % limit;
}

/** A parameter block: pointers into the arena, small numbers else. */
function parameters(kernel, pointers) {
  const block = Buffer.alloc(kernel.parameterBytes);
  let slot = 0n;
  for (const { offset, size, type } of kernel.parameters) {
    if (pointers.includes(offset)) {
      block.writeBigUInt64LE(BASE + SIZE / 2n + (slot++ << 25n) + BigInt(256 * below(4)), offset);
    } else if (size === 8 && type.startsWith('f')) block.writeDoubleLE(below(1000) / 100, offset);
    else if (size === 8) block.writeBigUInt64LE(BigInt(NUMBERS[below(NUMBERS.length)]), offset);
    else if (type === 'f32') block.writeFloatLE(below(1000) / 100, offset);
    else if (size === 4) block.writeUInt32LE(NUMBERS[below(NUMBERS.length)], offset);
    else if (size === 2) block.writeUInt16LE(below(100), offset);
    else block[offset] = below(2);
  }
  return block;
}

for (const folder of FOLDERS) {
  for (const name of readdirSync(folder).sort()) {
    if (!name.endsWith('.ptx') || name.includes('sm_75')) continue;
    const file = join(folder, name);
    const { product } = await buildTemplates([file]);
    if (product.modules.length !== 1) continue;
    for (const kernel of product.kernels) {
      const sites = [...kernel.writes, ...kernel.reads];
      if (kernel.verdict !== 'exact' || kernel.writes.length === 0 || EXCLUDED.has(kernel.name)) continue;
      if (kernel.reads.some(({ verdict }) => verdict === 'unknown' || verdict === 'allocation')) continue;
      if (kernel.bounds.requiredCluster || kernel.parameters.some(({ isArray }) => isArray)) continue;
      const bases = new Set(sites.flatMap((site) => site.bases.map((base) => base.parameter)));
      const pointers = kernel.parameters
        .filter(({ size, offset }) => size === 8 && bases.has(offset))
        .map((p) => p.offset);
      const isTriton = folder.endsWith('triton');
      let made = 0;
      for (let round = 0; round < 3 * LAUNCHES && made < LAUNCHES; round++) {
        const [grid, usual] = GEOMETRIES[round % GEOMETRIES.length];
        const { requiredBlock, maximumBlock } = kernel.bounds;
        const tooLarge =
          maximumBlock && usual[0] * usual[1] * usual[2] > maximumBlock[0] * maximumBlock[1] * maximumBlock[2];
        const block = requiredBlock ?? (maximumBlock && (isTriton || tooLarge) ? maximumBlock : usual);
        const bytes = parameters(kernel, pointers);
        const launch = { kernel: kernel.name, grid, block, parameters: new Uint8Array(bytes) };
        const { verdict, ranges } = executeConcretely(kernel, launch, { maxThreads: 4096, maxSteps: 20_000 });
        if ((verdict !== 'exact' && verdict !== 'bounded') || ranges.length > MAX_RANGES) continue;
        made++;
        const sharedMemory = isTriton ? 96 << 10 : 0;
        const record = {
          file,
          kernel: kernel.name,
          grid,
          block,
          sharedMemory,
          pointers,
          parameters: bytes.toString('hex'),
        };
        console.log(JSON.stringify(record));
      }
    }
  }
}
