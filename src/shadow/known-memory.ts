/**
 * Content of device memory, as far as it is known: what the host copied in, fills, and module initialisers, less all that
 * may have been overwritten since. Whoever reads from here computes addresses with it, so a byte that may have changed must
 * be forgotten: forgetting too much is always right, remembering wrongly never.
 *
 * Memory is bounded: beyond the cap large old blocks are forgotten first, because pointer tables are small.
 */
import { type AccessDescriptor, clipDescriptor, expandDescriptors, hullOf } from './descriptor.js';
import { IntervalMap } from './interval-map.js';
import { ADDRESS_SPACE, type AddressRange } from './ranges.js';

/** Content of `[from, to)`: the byte at `a` is `data[(a - origin) mod data.length]`, so a fill is one short pattern. */
interface Block extends AddressRange {
  readonly data: Uint8Array;
  readonly origin: bigint;
  /** When it was written; later is larger. */
  readonly age: number;
}

const DEFAULT_CAP = 256 * 1024 * 1024;
/** What a block costs besides its bytes. */
const BLOCK_COST = 256;
/** Blocks of at least this many bytes go first when there is too much. */
const LARGE = 65_536;
/** Ranges forgotten one by one in one block; of more, what lies between is forgotten too. */
const MAX_FORGOTTEN = 256;

const mod = (value: bigint, modulus: number): number => {
  const rest = Number(value % BigInt(modulus));
  return rest < 0 ? rest + modulus : rest;
};
const min = (a: bigint, b: bigint): bigint => (a < b ? a : b);
const max = (a: bigint, b: bigint): bigint => (a > b ? a : b);
/** Bytes held for a block. A fill's pattern is shorter than what it fills. */
const costOf = ({ from, to, data }: Block): number =>
  BLOCK_COST + (to - from < BigInt(data.length) ? Number(to - from) : data.length);

export class KnownMemory {
  readonly #blocks = new IntervalMap<Block>();
  #version = 0;
  #age = 0;
  #cost = 0;

  /** @param cap bytes of content held at most, about */
  constructor(readonly cap = DEFAULT_CAP) {}

  /** Grows with every change of what is known: equal versions, equal answers. */
  get version(): number {
    return this.#version;
  }

  /** Whether nothing at all is known. */
  get isEmpty(): boolean {
    return this.#blocks.size === 0;
  }

  /** The bytes are copied. What runs past the end of addresses is not kept. */
  write(address: bigint, bytes: Uint8Array): void {
    this.#put(address, address + BigInt(bytes.length), new Uint8Array(bytes));
  }

  /** @param pattern repeated from `address` on, `size` bytes in all */
  fill(address: bigint, size: number, pattern: Uint8Array): void {
    this.#put(address, address + BigInt(size), new Uint8Array(pattern));
  }

  #put(from: bigint, to: bigint, data: Uint8Array): void {
    this.forget(from, to);
    if (to <= from || to > ADDRESS_SPACE) return;
    const block: Block = { from, to, data, origin: from, age: this.#age++ };
    if (costOf(block) > this.cap) return;
    this.#insert(block);
    if (this.#cost > this.cap) this.#shrink();
  }

  #insert(block: Block): void {
    this.#blocks.insert(block);
    this.#cost += costOf(block);
    this.#version++;
  }

  #remove(block: Block): void {
    this.#blocks.remove(block);
    this.#cost -= costOf(block);
    this.#version++;
  }

  #shrink(): void {
    const large = ({ from, to }: Block) => to - from >= LARGE;
    // Well below the cap, so that this is rare.
    const blocks = this.#blocks.all().sort((a, b) => Number(large(b)) - Number(large(a)) || a.age - b.age);
    for (const block of blocks) {
      if (this.#cost <= this.cap * 0.75) return;
      this.#remove(block);
    }
  }

  /** Part of a block that stays. A small rest of much data gets a copy, so that the rest of the data can go. */
  #keep(block: Block, from: bigint, to: bigint): void {
    const size = to - from;
    const shared = block.data.length <= BLOCK_COST || size * 2n >= BigInt(block.data.length);
    if (shared) this.#insert({ ...block, from, to });
    else this.#insert({ from, to, data: readBlock(block, from, Number(size)), origin: from, age: block.age });
  }

  /** `[from, to)` may hold anything from now on. */
  forget(from: bigint, to: bigint): void {
    if (to <= from || !this.#blocks.first(from, to)) return;
    for (const block of this.#blocks.overlapping(from, to)) {
      this.#remove(block);
      if (block.from < from) this.#keep(block, block.from, from);
      if (block.to > to) this.#keep(block, to, block.to);
    }
  }

  /** What the descriptors name may hold anything from now on. O(log n) a descriptor when nothing known is near. */
  forgetAll(descriptors: readonly AccessDescriptor[]): void {
    if (this.#blocks.size === 0) return;
    for (const descriptor of descriptors) {
      const hull = hullOf(descriptor);
      if (!hull) continue;
      if (hull.to > ADDRESS_SPACE) this.#forgetIn(descriptor, 0n, ADDRESS_SPACE);
      else if (this.#blocks.first(hull.from, hull.to)) this.#forgetIn(descriptor, hull.from, hull.to);
    }
  }

  #forgetIn(descriptor: AccessDescriptor, from: bigint, to: bigint): void {
    for (const block of this.#blocks.overlapping(from, to)) {
      const { descriptors } = clipDescriptor(descriptor, block.from, block.to);
      for (const range of expandDescriptors(descriptors, MAX_FORGOTTEN).ranges) this.forget(range.from, range.to);
    }
  }

  /** Nothing is known any more. */
  forgetEverything(): void {
    if (this.#blocks.size === 0) return;
    this.#blocks.clear();
    this.#cost = 0;
    this.#version++;
  }

  /**
   * A copy on the device: what is known of the source is known of the target, the rest of the target is not. Where they
   * overlap the driver promises no order, so nothing of the target is.
   *
   * @param from what knows of the source
   */
  copy(source: bigint, target: bigint, size: number, from: readonly KnownMemory[] = [this]): void {
    const bytes = BigInt(size);
    const shift = target - source;
    const known = from.flatMap((memory) => memory.#blocks.overlapping(source, source + bytes));
    this.forget(target, target + bytes);
    if (target + bytes > ADDRESS_SPACE || (source < target + bytes && target < source + bytes)) return;
    for (const block of known) {
      const first = max(block.from, source);
      const end = min(block.to, source + bytes);
      this.#keep({ ...block, origin: block.origin + shift, age: this.#age++ }, first + shift, end + shift);
    }
    if (this.#cost > this.cap) this.#shrink();
  }

  /** Takes over everything that another knows, which is newer. */
  absorb(other: KnownMemory): void {
    for (const block of other.#blocks.all()) {
      this.forget(block.from, block.to);
      this.#insert({ ...block, age: this.#age++ });
    }
    if (this.#cost > this.cap) this.#shrink();
  }

  /** The bytes from an address on; undefined unless every one is known. */
  read(address: bigint, bytes: number): Uint8Array | undefined {
    const holding = this.#blocks.find(address);
    if (!holding) return undefined;
    const end = address + BigInt(bytes);
    if (holding.to >= end) return readBlock(holding, address, bytes);
    const result = new Uint8Array(bytes);
    let at = address;
    for (const block of this.#blocks.overlapping(address, end)) {
      if (block.from > at) return undefined;
      const to = min(block.to, end);
      result.set(readBlock(block, at, Number(to - at)), Number(at - address));
      at = to;
    }
    return at === end ? result : undefined;
  }
}

function readBlock({ data, origin }: Block, from: bigint, size: number): Uint8Array {
  const first = mod(from - origin, data.length);
  if (first + size <= data.length) return data.slice(first, first + size);
  const result = new Uint8Array(size);
  for (let index = 0; index < size; index++) result[index] = data[(first + index) % data.length]!;
  return result;
}
