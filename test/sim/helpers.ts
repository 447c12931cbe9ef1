/** Kernels of fixtures and of texts, ready to run, and memory for them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type KernelProgram, lowerKernel, ModuleSymbols } from '../../src/ir/index.js';
import { parse } from '../../src/ptx/index.js';
import {
  type CompiledKernel,
  compileKernel,
  DeviceMemory,
  type Launch,
  type LaunchStatistics,
} from '../../src/sim/index.js';

export const ROOT = join(import.meta.dirname, '../..');

/** Programs by the names of their kernels. */
export function programsOfText(text: string): Map<string, KernelProgram> {
  const { product } = parse(text);
  const symbols = new ModuleSymbols(product, (node) => node.body);
  return new Map(symbols.kernels.map((node) => [node.name, lowerKernel(symbols, node).product!]));
}

const files = new Map<string, Map<string, KernelProgram>>();

export function fixture(file: string, kernel: string): CompiledKernel {
  let programs = files.get(file);
  if (!programs) {
    programs = programsOfText(readFileSync(join(ROOT, file), 'latin1'));
    files.set(file, programs);
  }
  const program = programs.get(kernel);
  if (!program) throw new Error(`${file} has no ${kernel}`);
  return compileKernel(program);
}

export type Numbers =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Uint16Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;
/** A parameter: an array (its address is passed), `{ f }` a single, `{ l }` 64 bits, else 32 bits. */
export type Parameter = Numbers | number | { readonly f: number } | { readonly l: number | bigint };

const FIRST = 0x10000000;

/** Runs a kernel on arrays, each mapped for itself; what it writes is in them afterwards. */
export function run(
  kernel: CompiledKernel,
  grid: Launch['grid'],
  block: Launch['block'],
  list: readonly Parameter[],
  options: Partial<Launch> = {},
): LaunchStatistics & { readonly memory: DeviceMemory; readonly address: (array: Numbers) => bigint } {
  const memory = new DeviceMemory();
  const addresses = new Map<Numbers, bigint>();
  let next = FIRST;
  const view = new DataView(new ArrayBuffer(Math.max(1, kernel.program.parameterBytes)));
  for (const [index, { offset, size }] of kernel.program.parameters.entries()) {
    const value = list[index];
    if (value === undefined) continue;
    if (typeof value === 'number') view.setInt32(offset, value, true);
    else if ('f' in value) view.setFloat32(offset, value.f, true);
    else if ('l' in value) view.setBigInt64(offset, BigInt(value.l), true);
    else {
      if (!addresses.has(value)) {
        addresses.set(value, BigInt(next));
        memory.map(next, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
        next += Math.ceil(value.byteLength / 4096 + 1) * 4096;
      }
      if (size !== 8) throw new Error('an array needs a pointer');
      view.setBigUint64(offset, addresses.get(value)!, true);
    }
  }
  const parameters = new Uint8Array(view.buffer);
  const statistics = kernel.launch({ grid, block, parameters, memory, maxSteps: 1e8, ...options });
  return { ...statistics, memory, address: (array) => addresses.get(array)! };
}

/** A kernel `k(out, in, n)`: %rd1, %rd2 the pointers, %r1 = n, %r2 the thread's number in its block; 8 bytes of `out` a thread at %rd3. */
export function statements(body: string, head = '.version 8.6\n.target sm_90a\n.address_size 64\n'): CompiledKernel {
  const text = `${head}
.visible .entry k(.param .u64 out, .param .u64 in, .param .u32 n)
{
.reg .pred %p<20>; .reg .b16 %h<20>; .reg .b32 %r<60>; .reg .b64 %rd<40>; .reg .f32 %f<20>; .reg .f64 %fd<20>; .reg .b128 %q<4>;
ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [in]; ld.param.u32 %r1, [n]; mov.u32 %r2, %tid.x;
mul.wide.u32 %rd4, %r2, 8; add.u64 %rd3, %rd1, %rd4;
${body}
}`;
  return compileKernel(programsOfText(text).get('k')!);
}

/** Deterministic numbers in [0, 1). */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
