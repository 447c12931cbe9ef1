/**
 * Memory that a launch touches: byte regions at addresses below 2^53, everything else out of range. What is written is
 * recorded by byte, also when the value is what was there. Judges of the analysis rely on the record being complete: every
 * write goes through `find` (out of range) or marks the bytes beside it.
 */
import { InputError } from '../diagnostics/index.js';
import { hash32 } from './noise.js';

/** Addresses `base … end - 1`. Generated code reads these fields itself. */
export interface Region {
  readonly base: number;
  readonly end: number;
  readonly view: DataView;
  /** One byte for each of the region's, nonzero where written. */
  readonly mark: DataView;
  /** Whether a place that found it may keep it for the next look-up. */
  readonly keep: boolean;
}

/** A range of addresses, end excluded. */
export interface WrittenRange {
  readonly from: bigint;
  readonly to: bigint;
}

export type OutOfRange = 'refuse' | 'ignore';

const MAX_ADDRESS = 2 ** 53;
/** Bytes of the largest single access that generated code makes itself. */
const SCRATCH_BYTES = 256;

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Matches no address: where a look-up starts. */
export const NOWHERE: Region = {
  base: -1,
  end: -1,
  view: new DataView(new ArrayBuffer(0)),
  mark: new DataView(new ArrayBuffer(0)),
  keep: true,
};

/** Where marks of memory go that nobody records; one for all, as large as the largest. */
let unread = new DataView(new ArrayBuffer(1 << 16));

/** A region of memory that nobody records (shared, local, parameters). */
export function plainRegion(bytes: Uint8Array): Region {
  if (unread.byteLength < bytes.byteLength) unread = new DataView(new ArrayBuffer(2 * bytes.byteLength));
  return { base: 0, end: bytes.byteLength, view: viewOf(bytes), mark: unread, keep: true };
}

/** Sparse device memory: maps of byte arrays, which stay the caller's. */
export class DeviceMemory {
  readonly #regions: Region[] = [];
  #outside: WrittenRange[] = [];
  /** Length of the list at which it is merged next. */
  #limit = 1 << 16;
  #last: Region = NOWHERE;

  /**
   * Maps bytes at an address. The array is used as it is, not copied. Memory that is not recorded costs nothing beside, and is
   * for kernels that were compiled so.
   *
   * @throws InputError GCR6002 when the place is taken or beyond 2^53
   */
  map(address: bigint | number, bytes: Uint8Array, recorded = true): void {
    const base = Number(address);
    const end = base + bytes.byteLength;
    const clash = this.#regions.some((region) => base < region.end && region.base < end);
    if (!Number.isSafeInteger(base) || base < 0 || end > MAX_ADDRESS || clash) {
      const message = `memory cannot be mapped at 0x${base.toString(16)}, ${bytes.byteLength} bytes`;
      throw new InputError({ code: 'GCR6002', severity: 'error', message });
    }
    const mark = recorded ? viewOf(new Uint8Array(bytes.byteLength)) : NOWHERE.mark;
    const region: Region = { base, end, view: viewOf(bytes), mark, keep: true };
    const index = this.#regions.findIndex((other) => other.base > base);
    this.#regions.splice(index < 0 ? this.#regions.length : index, 0, region);
  }

  /**
   * Takes away what {@link map} put at an address; not while a launch runs.
   *
   * @throws InputError GCR6002 when nothing begins there
   */
  unmap(address: bigint | number): void {
    const base = Number(address);
    const index = this.#regions.findIndex((region) => region.base === base);
    if (index < 0) {
      const message = `nothing is mapped from 0x${base.toString(16)} on`;
      throw new InputError({ code: 'GCR6002', severity: 'error', message });
    }
    this.#regions.splice(index, 1);
    this.#last = NOWHERE;
  }

  /** The region that holds all of `bytes` bytes from an address on. */
  lookUp(address: number, bytes: number): Region | undefined {
    const last = this.#last;
    if (address >= last.base && address + bytes <= last.end) return last;
    let low = 0;
    let high = this.#regions.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const region = this.#regions[middle]!;
      if (address < region.base) high = middle - 1;
      else if (address >= region.end) low = middle + 1;
      else {
        if (address + bytes > region.end) return undefined;
        this.#last = region;
        return region;
      }
    }
    return undefined;
  }

  /** Notes a write that no region holds. */
  recordOutside(address: bigint, bytes: number): void {
    const last = this.#outside.at(-1);
    const to = address + BigInt(bytes);
    if (last && last.to === address) this.#outside[this.#outside.length - 1] = { from: last.from, to };
    else if (!last || last.from > address || last.to < to) this.#outside.push({ from: address, to });
    if (this.#outside.length <= this.#limit) return;
    this.#outside = merge(this.#outside);
    this.#limit = Math.max(1 << 16, 2 * this.#outside.length);
  }

  /** Everything written since the last {@link clearWritten}, as sorted ranges that do not touch. */
  written(): WrittenRange[] {
    const found = [...this.#outside];
    for (const { base, mark } of this.#regions) {
      const bytes = new Uint8Array(mark.buffer, mark.byteOffset, mark.byteLength);
      for (let at = 0; at < bytes.length; ) {
        if (bytes[at] === 0) {
          at++;
          continue;
        }
        const start = at;
        while (at < bytes.length && bytes[at] !== 0) at++;
        found.push({ from: BigInt(base + start), to: BigInt(base + at) });
      }
    }
    return merge(found);
  }

  /** Forgets what was written. */
  clearWritten(): void {
    this.#outside = [];
    this.#limit = 1 << 16;
    for (const { mark } of this.#regions) new Uint8Array(mark.buffer, mark.byteOffset, mark.byteLength).fill(0);
  }
}

function merge(ranges: readonly WrittenRange[]): WrittenRange[] {
  const sorted = [...ranges].sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const merged: { from: bigint; to: bigint }[] = [];
  for (const { from, to } of sorted) {
    const last = merged.at(-1);
    if (last && from <= last.to) {
      if (to > last.to) last.to = to;
    } else merged.push({ from, to });
  }
  return merged;
}

/** Stands in for memory that is not mapped: reads give noise that depends on the address, writes are dropped. */
export class OutsideMemory {
  readonly #bytes = new Uint8Array(SCRATCH_BYTES);
  readonly #view = viewOf(this.#bytes);
  readonly #mark = new DataView(new ArrayBuffer(SCRATCH_BYTES));

  constructor(readonly seed: number) {}

  region(low: number, high: number, base: number, bytes: number): Region {
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    for (let at = 0; at < bytes; at++) this.#bytes[at] = this.byte(address + BigInt(at));
    return { base, end: base + bytes, view: this.#view, mark: this.#mark, keep: false };
  }

  byte(address: bigint): number {
    return hash32(this.seed, Number(address & 0xffffffffn), Number((address >> 32n) & 0xffffffffn)) & 0xff;
  }
}
