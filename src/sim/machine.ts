/**
 * What generated code asks for beside arithmetic: memory it has not found yet, bytes moved in bulk, values that nothing
 * determines, and what a single thread does with its block's memory. One for each launch. Whatever is not done here is
 * refused by the instruction's name.
 */
import { type DiagnosticCode, InputError } from '../diagnostics/index.js';
import type { Access, MemorySpace } from '../ir/form.js';
import type { Arithmetic } from './arithmetic.js';
import { atomicFunction } from './atomic.js';
import { WINDOWS } from './emit-value.js';
import type { Launch } from './launch.js';
import { NOWHERE, OutsideMemory, plainRegion, type Region } from './memory.js';
import { hash32 } from './noise.js';
import { phaseBarrier } from './phase-barrier.js';
import type { CodeSite } from './sites.js';
import type { Thread } from './thread.js';

/** Operands of an access that {@link Machine.perform} does. */
interface Operands {
  readonly values: readonly bigint[];
  readonly length?: bigint;
  readonly stride?: bigint;
  readonly other?: bigint;
  readonly otherLength?: bigint;
  readonly ignore?: bigint;
  readonly mask?: bigint;
  readonly signal?: bigint;
}

/** Bytes moved at a time. */
const CHUNK = 128;
/** Bytes that one instruction moves at most; more is as good as not ending. */
const MAX_BULK = 1 << 22;
/** Strides of matrix fragments must be multiples of 16 bytes (PTX ISA 9.7.14.4.3); recorded hardware rounds others down to 8. */
const ROW_ALIGNMENT = 8n;
/** Blocks of a cluster that a shared address can name: the number in its upper byte, from one on. */
const RANK_SHIFT = 24;

export class Machine {
  readonly nowhere = NOWHERE;
  /** Offset in the region that {@link other} found. */
  o = 0;
  readonly #outside: OutsideMemory;
  readonly #parameters: Region;
  readonly #seed: number;
  #clock = 0;

  constructor(
    readonly kernel: string,
    readonly sites: readonly CodeSite[],
    readonly launch: Launch,
    readonly arithmetic: Arithmetic,
    /** Constant variables: low address and size. */
    readonly constants: readonly (readonly [bigint, number])[],
    /** Whether what is written is marked. */
    readonly recorded: boolean,
  ) {
    this.#seed = launch.seed ?? 1;
    this.#outside = new OutsideMemory(this.#seed);
    this.#parameters = plainRegion(launch.parameters);
  }

  // --- errors ---

  error(code: DiagnosticCode, site: number, message: string): InputError {
    const origin = this.sites[site]?.origin;
    const what = origin ? `'${origin.instruction}' (offset ${origin.offset})` : 'a value';
    return new InputError({ code, severity: 'error', message: `${what} ${message}`, source: this.kernel });
  }

  /** An access that is not executed. */
  refuse(site: number): never {
    const { access } = this.sites[site]!;
    throw this.error('GCR6003', site, `is not executed${access?.detail ? `: ${access.detail}` : ''}`);
  }

  // --- places ---

  /** Global memory, for an access whose last region does not hold the address. */
  find(site: number, low: number, high: number, bytes: number, write: boolean): Region {
    const address = (high >>> 0) * 4294967296 + (low >>> 0);
    const region = high >>> 0 < 0x200000 ? this.launch.memory.lookUp(address, bytes) : undefined;
    return region ?? this.#missing(site, low, high, address, bytes, write, true);
  }

  #missing(
    site: number,
    low: number,
    high: number,
    base: number,
    bytes: number,
    write: boolean,
    global: boolean,
  ): Region {
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    if (this.launch.outOfRange !== 'ignore') {
      throw this.error('GCR6001', site, `touches 0x${address.toString(16)}, ${bytes} bytes: nothing is mapped there`);
    }
    if (write && global) this.launch.memory.recordOutside(address, bytes);
    return this.#outside.region(low, high, base, bytes);
  }

  /** Memory that is not global, or a generic address; sets {@link o}. */
  other(
    site: number,
    thread: Thread,
    space: MemorySpace,
    low: number,
    high: number,
    bytes: number,
    write: boolean,
  ): Region {
    let kind: MemorySpace = space;
    if (space === 'generic') {
      const window = high >>> 16;
      if (high >>> 20 !== 10) {
        const region = this.find(site, low, high, bytes, write);
        this.o = (high >>> 0) * 4294967296 + (low >>> 0) - region.base;
        return region;
      }
      const found = Object.entries(WINDOWS).find(([, number]) => number === window);
      kind = (found?.[0] ?? 'generic') as MemorySpace;
    }
    let region: Region | undefined;
    this.o = low >>> 0;
    if (kind === 'shared') {
      const rank = low >>> RANK_SHIFT;
      const cta = rank === 0 ? thread.cta : thread.cta.cluster.ctas[rank - 1];
      region = cta?.shared;
      if (rank > 0) this.o = low & (2 ** RANK_SHIFT - 1);
    } else if (kind === 'local') region = thread.local;
    else if (kind === 'parameter') region = this.#parameters;
    if (region && this.o + bytes <= region.end) return region;
    this.o = 0;
    return this.#missing(site, low, high, 0, bytes, write, false);
  }

  /** Any memory; sets {@link o}. */
  #locate(site: number, thread: Thread, space: MemorySpace, address: bigint, bytes: number, write: boolean): Region {
    const low = Number(BigInt.asIntN(32, address));
    const high = Number(BigInt.asIntN(32, address >> 32n));
    const kind = space === 'global' || space === 'constant' ? 'generic' : space;
    return this.other(site, thread, kind, low, high, bytes, write);
  }

  isConstant(low: number, high: number): boolean {
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    return this.constants.some(([from, size]) => address >= from && address < from + BigInt(size));
  }

  // --- values ---

  readBig(view: DataView, at: number, bytes: number): bigint {
    let bits = 0n;
    for (let index = bytes - 1; index >= 0; index--) bits = (bits << 8n) | BigInt(view.getUint8(at + index));
    return bits;
  }

  writeBig(view: DataView, at: number, bytes: number, bits: bigint): void {
    let rest = bits;
    for (let index = 0; index < bytes; index++, rest >>= 8n) view.setUint8(at + index, Number(rest & 0xffn));
  }

  /** A word of the value that a register has which nothing wrote. */
  noise(thread: Thread, id: number, word: number): number {
    if (this.launch.undetermined === 'refuse') {
      throw this.error('GCR6003', -1, 'is used that no instruction has written');
    }
    return hash32(this.#seed ^ (thread.cta.index * 1024 + thread.index), id, word);
  }

  /** A word of a result that is not modelled; another one every time. */
  opaque(thread: Thread, site: number, word: number): number {
    if (this.launch.undetermined === 'refuse') throw this.error('GCR6003', site, 'has a result that is not modelled');
    return hash32(this.#seed ^ (thread.cta.index * 1024 + thread.index), site, word + 2 * thread.noise++);
  }

  bigNoise(thread: Thread, site: number, width: number): bigint {
    let bits = 0n;
    for (let at = 0; at < width; at += 32) bits = (bits << 32n) | BigInt(this.opaque(thread, site, at) >>> 0);
    return BigInt.asUintN(width, bits);
  }

  atomic(site: number, view: DataView, at: number, width: number, operands: readonly bigint[]): bigint {
    const access = this.sites[site]!.access!;
    const old = this.readBig(view, at, width / 8);
    const next = atomicFunction(access, width, old, operands);
    if (next === undefined) this.refuse(site);
    this.writeBig(view, at, width / 8, next);
    return old;
  }

  // --- bulk accesses ---

  signal(site: number, thread: Thread, low: number, high: number, bytes: number): void {
    const space = high === 0 ? 'shared' : 'generic';
    const region = this.other(site, thread, space, low, high, 8, true);
    phaseBarrier(region.view, this.o, 'complete', BigInt(bytes));
  }

  perform(site: number, thread: Thread, low: number, high: number, operands: Operands): void {
    const access = this.sites[site]!.access!;
    const address = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
    const bytes = Number(operands.length ?? BigInt(access.bytes));
    if (bytes > MAX_BULK) throw this.error('GCR6004', site, `moves ${bytes} bytes`);
    const other = { space: access.transfer?.space ?? 'shared', address: operands.other } as const;
    switch (access.writes ?? access.reads) {
      case 'discard':
        this.#each(site, thread, access.space, address, bytes, () => {});
        break;
      case 'bulkStore':
        this.#each(site, thread, access.space, address, bytes, (view, at, index) =>
          view.setUint8(at, Number(((operands.values[0] ?? 0n) >> BigInt(8 * (index & 7))) & 0xffn)),
        );
        break;
      case 'tensorMapUpdate':
      case 'bulkCopy': {
        const data = this.#read(site, thread, other.space, this.#source(site, other.address), bytes);
        this.#write(site, thread, access, address, data, operands.mask);
        break;
      }
      case 'bulkReduction': {
        const data = this.#read(site, thread, other.space, this.#source(site, other.address), bytes);
        this.#reduce(site, thread, access, address, data);
        break;
      }
      case 'asyncLoad':
      case 'bulkLoad': {
        const target = this.#source(site, other.address);
        const wanted = operands.ignore === 1n ? 0 : Number(operands.otherLength ?? BigInt(bytes));
        const data = new Uint8Array(bytes);
        data.set(this.#read(site, thread, access.space, address, Math.min(wanted, bytes)));
        this.#each(site, thread, other.space, target, bytes, (view, at, index) => view.setUint8(at, data[index]!));
        break;
      }
      case 'matrixStore':
        // How fragments lie in registers is not specified, so what is stored is noise.
        if (this.launch.undetermined === 'refuse')
          throw this.error('GCR6003', site, 'stores values that are not modelled');
        for (let row = 0; row < access.rows!.count; row++) {
          const stride = (operands.stride ?? 0n) & -ROW_ALIGNMENT;
          const start = BigInt.asUintN(64, address + BigInt(row) * stride);
          this.#each(site, thread, access.space, start, access.bytes, (view, at, index) =>
            view.setUint8(at, hash32(this.#seed, row, index) & 0xff),
          );
        }
        break;
      case 'matrixLoad':
        break;
      default:
        this.refuse(site);
    }
    if (operands.signal !== undefined) {
      const { signal } = operands;
      this.signal(site, thread, Number(BigInt.asIntN(32, signal)), Number(BigInt.asIntN(32, signal >> 32n)), bytes);
    }
  }

  #source(site: number, address: bigint | undefined): bigint {
    if (address === undefined) this.refuse(site);
    return address;
  }

  /** Visits and marks the bytes of a range, in pieces that are found one by one. */
  #each(
    site: number,
    thread: Thread,
    space: MemorySpace,
    address: bigint,
    bytes: number,
    visit: (view: DataView, at: number, index: number) => void,
  ): void {
    for (let start = 0; start < bytes; start += CHUNK) {
      const size = Math.min(CHUNK, bytes - start);
      const region = this.#locate(site, thread, space, BigInt.asUintN(64, address + BigInt(start)), size, true);
      for (let at = 0; at < size; at++) {
        visit(region.view, this.o + at, start + at);
        if (this.recorded) region.mark.setUint8(this.o + at, 1);
      }
    }
  }

  #read(site: number, thread: Thread, space: MemorySpace, address: bigint, bytes: number): Uint8Array {
    const data = new Uint8Array(bytes);
    for (let start = 0; start < bytes; start += CHUNK) {
      const size = Math.min(CHUNK, bytes - start);
      const region = this.#locate(site, thread, space, BigInt.asUintN(64, address + BigInt(start)), size, false);
      for (let at = 0; at < size; at++) data[start + at] = region.view.getUint8(this.o + at);
    }
    return data;
  }

  #write(
    site: number,
    thread: Thread,
    access: Access,
    address: bigint,
    data: Uint8Array,
    mask: bigint | undefined,
  ): void {
    if (mask === undefined) {
      this.#each(site, thread, access.space, address, data.length, (view, at, index) =>
        view.setUint8(at, data[index]!),
      );
      return;
    }
    for (const [index, byte] of data.entries()) {
      if (!((mask >> BigInt(index & 15)) & 1n)) continue;
      this.#each(site, thread, access.space, BigInt.asUintN(64, address + BigInt(index)), 1, (view, at) =>
        view.setUint8(at, byte),
      );
    }
  }

  #reduce(site: number, thread: Thread, access: Access, address: bigint, data: Uint8Array): void {
    const width = access.elementType?.width;
    if (width === undefined || data.length % (width / 8) !== 0) this.refuse(site);
    const view = new DataView(data.buffer);
    for (let at = 0; at < data.length; at += width / 8) {
      const start = BigInt.asUintN(64, address + BigInt(at));
      const region = this.#locate(site, thread, access.space, start, width / 8, true);
      this.atomic(site, region.view, this.o, width, [this.readBig(view, at, width / 8)]);
      if (!this.recorded) continue;
      for (let byte = 0; byte < width / 8; byte++) region.mark.setUint8(this.o + byte, 1);
    }
  }

  // --- actions of one thread ---

  /** Does an action; returns the low word of its result, the high one in `arithmetic.h`. */
  act(site: number, thread: Thread, o: readonly number[]): number {
    const { kind, mode = '' } = this.sites[site]!.action!;
    this.arithmetic.h = 0;
    switch (kind) {
      case 'phaseBarrier': {
        const pending = mode === 'pending';
        const words = pending ? o : o.slice(2);
        const argument =
          words.length === 0
            ? undefined
            : words.length === 1
              ? BigInt(words[0]! >>> 0)
              : this.arithmetic.big(words[0]!, words[1]!);
        if (pending) return this.arithmetic.split(phaseBarrier(NOWHERE.view, 0, mode, argument));
        const region = this.other(site, thread, 'generic', o[0]!, o[1]!, 8, true);
        return this.arithmetic.split(phaseBarrier(region.view, this.o, mode, argument));
      }
      case 'stack':
        return this.#stack(thread, mode, this.sites[site]!.action!.operands.length > 1, o);
      case 'clusterAddress': {
        return (o[0]! & (2 ** RANK_SHIFT - 1)) | ((o[2]! + 1) << RANK_SHIFT);
      }
      case 'clusterRank': {
        const rank = o[0]! >>> RANK_SHIFT;
        return rank === 0 ? thread.cta.rank : rank - 1;
      }
      // What it prints goes nowhere, and there is no heap: `malloc` gives null, which it may.
      case 'runtimeCall':
        return 0;
      case 'machineRegister':
        return this.#register(thread, mode);
      case 'trap':
        throw this.error('GCR6007', site, `ends the launch${mode ? ` ('${mode}')` : ''}`);
      default:
        throw this.error('GCR6003', site, 'is not executed');
    }
  }

  #stack(thread: Thread, mode: string, aligned: boolean, o: readonly number[]): number {
    if (mode === 'save') return thread.stack;
    if (mode === 'restore') {
      thread.stack = o[0]!;
      return 0;
    }
    const align = Math.max(16, aligned ? o.at(-1)! : 0);
    const start = Math.ceil(thread.stack / align) * align;
    thread.stack = start + (o[0]! >>> 0);
    thread.growLocal(thread.stack);
    return start;
  }

  /** Registers of time and place: time goes on with every look, everything happens on one multiprocessor. */
  #register(thread: Thread, name: string): number {
    switch (name) {
      case 'warpid':
        return thread.index >> 5;
      case 'nwarpid':
        return 64;
      case 'smid':
      case 'gridid':
        return 0;
      case 'nsmid':
        return 1;
      case 'clock_hi':
      case 'globaltimer_hi':
        return 0;
      default:
        this.#clock += 32;
        this.arithmetic.h = (this.#clock / 4294967296) | 0;
        return this.#clock | 0;
    }
  }
}
