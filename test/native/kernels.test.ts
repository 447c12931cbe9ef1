/**
 * The kernels that are shipped for the device (native/kernels), executed without one: names agree with the store's, gathered and
 * scattered chunks are where they belong, and nothing else is written.
 */
import { describe, expect, it } from 'vitest';
import { hashChunks } from '../../src/native/index.js';
import { type CompiledKernel, DeviceMemory } from '../../src/sim/index.js';
import { fixture } from '../sim/helpers.js';

const CHUNK = 65_536;
const MEMORY = 0x10_0000_0000;
const LIST = 0x20_0000_0000;
const OUT = 0x30_0000_0000;
const CONSTANTS = 0x40_0000_0000;
const kernel = (name: string): CompiledKernel => fixture('native/kernels/gcr_kernels.ptx', name);

/** The same bytes each time; every fourth chunk is zero, half of these but for one byte. */
function content(chunks: number): Uint8Array {
  const bytes = new Uint8Array(chunks * CHUNK);
  let state = 12_345;
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 16;
  }
  for (let chunk = 3; chunk < chunks; chunk += 4) {
    bytes.fill(0, chunk * CHUNK, (chunk + 1) * CHUNK);
    if (chunk % 8 === 3) bytes[chunk * CHUNK + 777 * chunk] = 128;
  }
  return bytes;
}

/** Runs a kernel on memory, a list and a place for results; parameters are 8 bytes a bigint, 4 a number. */
function run(name: string, memory: Uint8Array, list: Uint8Array, out: Uint8Array, parameters: (bigint | number)[]) {
  const compiled = kernel(name);
  const device = new DeviceMemory();
  for (const [base, bytes] of [
    [MEMORY, memory],
    [LIST, list],
    [OUT, out],
  ] as const)
    if (bytes.length > 0) device.map(base, bytes);
  const symbols = new Map<string, bigint>();
  for (const object of compiled.program.objects) {
    if (object.space !== 'constant' && object.space !== 'global') continue;
    symbols.set(object.name, BigInt(CONSTANTS));
    device.map(CONSTANTS, Uint8Array.from(Buffer.from(object.initial!, 'hex')));
  }
  const block = new DataView(new ArrayBuffer(compiled.program.parameterBytes));
  let at = 0;
  for (const value of parameters) {
    if (typeof value === 'bigint') {
      at = Math.ceil(at / 8) * 8;
      block.setBigUint64(at, value, true);
      at += 8;
    } else {
      block.setUint32(at, value, true);
      at += 4;
    }
  }
  compiled.launch({
    grid: [3, 1, 1],
    block: [256, 1, 1],
    parameters: new Uint8Array(block.buffer),
    memory: device,
    symbols,
  });
  return device.written();
}

/** A list of chunks: position in memory, length, and where the result goes. */
function listOf(chunks: readonly (readonly [position: number, length: number, index: number])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 * chunks.length));
  for (const [row, [position, length, index]] of chunks.entries()) {
    view.setBigUint64(16 * row, BigInt(MEMORY + position * CHUNK), true);
    view.setUint32(16 * row + 8, length, true);
    view.setUint32(16 * row + 12, index, true);
  }
  return new Uint8Array(view.buffer);
}

describe('kernels for the device', () => {
  it('name the chunks of a range as the store does', () => {
    const chunks = 9;
    const memory = content(chunks);
    for (const last of [CHUNK, 1, 15, 1_000, 1_025, 65_535]) {
      const out = new Uint8Array(16 * chunks);
      const parameters = [BigInt(MEMORY), chunks, last, BigInt(OUT)];
      const written = run('gcr_name_range', memory.slice(), new Uint8Array(), out, parameters);
      expect(out).toEqual(hashChunks(memory.subarray(0, (chunks - 1) * CHUNK + last)));
      expect(written).toEqual([{ from: BigInt(OUT), to: BigInt(OUT + 16 * chunks) }]);
    }
  });

  it('name listed chunks, of any length, each at its place', () => {
    const memory = content(8);
    const lengths = [CHUNK, 2, 17, 1_023, 1_024, 4_097, 30_000, 65_521];
    const rows = lengths.map((length, index) => [(index * 3) % 8, length, 7 - index] as const);
    const out = new Uint8Array(16 * 8);
    run('gcr_name_chunks', memory.slice(), listOf(rows), out, [BigInt(LIST), rows.length, BigInt(OUT)]);
    for (const [position, length, index] of rows) {
      const bytes = memory.subarray(position * CHUNK, position * CHUNK + length);
      expect(out.subarray(16 * index, 16 * index + 16), `${length} bytes`).toEqual(hashChunks(bytes));
    }
  });

  it('gather chunks and scatter them back, not a byte beside them', () => {
    const memory = content(6);
    const rows = [
      [4, CHUNK, 0],
      [0, 100, 1],
      [2, 65_535, 2],
    ] as const;
    const gathered = new Uint8Array(3 * CHUNK);
    run('gcr_gather', memory.slice(), listOf(rows), gathered, [BigInt(LIST), rows.length, BigInt(OUT)]);
    for (const [position, length, index] of rows)
      expect(gathered.subarray(index * CHUNK, index * CHUNK + length)).toEqual(
        memory.subarray(position * CHUNK, position * CHUNK + length),
      );
    const target = new Uint8Array(6 * CHUNK);
    const written = run('gcr_scatter', target, listOf(rows), gathered, [BigInt(LIST), rows.length, BigInt(OUT)]);
    const expected = new Uint8Array(6 * CHUNK);
    for (const [position, length] of rows)
      expected.set(memory.subarray(position * CHUNK, position * CHUNK + length), position * CHUNK);
    expect(target).toEqual(expected);
    expect(written).toEqual(
      [...rows]
        .sort(([a], [b]) => a - b)
        .map(([position, length]) => ({
          from: BigInt(MEMORY + position * CHUNK),
          to: BigInt(MEMORY + position * CHUNK + length),
        })),
    );
  });
});
