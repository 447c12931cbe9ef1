/**
 * Results of one kernel's launches, found again by exactly what they depend on. Two tables: the inner one holds abstract results,
 * relative to the launch's pointers, under geometry and the parameter words that the analysis looked at; the outer one holds
 * finished answers, under the pointers too.
 *
 * A finished answer that is quickly made from its inner result is kept when it is made a second time. Most are never asked for
 * again, and every object that is kept costs the garbage collector, and the processor's caches, more than making it anew.
 *
 * Soundness. A result depends on nothing but its key (and on known memory, which its owner checks): the analysis reports each
 * word it reads. When a later analysis reads a word that no key had, everything is dropped, because older keys are too short.
 */
import type { LaunchRecord } from './launch.js';

/** Entries of each table at most; full tables are emptied, which costs less than keeping an order. */
const MAX_ENTRIES = 4096;

/** Entries that there is room for at first. */
const FIRST_ENTRIES = 16;

/**
 * Entries by key, compared word for word. Keys of one length lie one after the other in one block that the garbage collector neither
 * reads nor copies: there are as many as launches that differ.
 */
class KeyTable<T> {
  /** Numbers of entries by hash, from one on; zero where there is none. Always with room. */
  #slots = new Int32Array(2 * FIRST_ENTRIES);
  #hashes = new Int32Array(FIRST_ENTRIES);
  #keys = new Float64Array(0);
  #values: T[] = [];
  /** Words of each key. */
  #length = 0;

  get(key: readonly number[], length: number, hash: number): T | undefined {
    const entry = this.#find(key, length, hash);
    return entry < 0 ? undefined : this.#values[entry];
  }

  #find(key: readonly number[], length: number, hash: number): number {
    if (length !== this.#length) return -1;
    const slots = this.#slots;
    const last = slots.length - 1;
    for (let at = hash & last; ; at = (at + 1) & last) {
      const entry = slots[at]! - 1;
      if (entry < 0) return -1;
      if (this.#hashes[entry] === hash && this.#isKey(entry, key)) return entry;
    }
  }

  #isKey(entry: number, key: readonly number[]): boolean {
    const keys = this.#keys;
    const length = this.#length;
    const first = entry * length;
    for (let index = 0; index < length; index++) if (keys[first + index] !== key[index]) return false;
    return true;
  }

  set(key: readonly number[], length: number, hash: number, value: T): void {
    if (length !== this.#length || this.#values.length >= MAX_ENTRIES) this.clear();
    this.#length = length;
    const known = this.#find(key, length, hash);
    if (known >= 0) {
      this.#values[known] = value;
      return;
    }
    const entry = this.#values.length;
    if (entry === this.#hashes.length || this.#keys.length < (entry + 1) * length) this.#grow(entry);
    for (let index = 0; index < length; index++) this.#keys[entry * length + index] = key[index]!;
    this.#hashes[entry] = hash;
    this.#values.push(value);
    this.#place(entry);
  }

  #place(entry: number): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    let at = this.#hashes[entry]! & last;
    while (slots[at] !== 0) at = (at + 1) & last;
    slots[at] = entry + 1;
  }

  /** Makes room for twice as many. */
  #grow(entries: number): void {
    const room = Math.max(FIRST_ENTRIES, 2 * entries);
    const hashes = new Int32Array(room);
    hashes.set(this.#hashes.subarray(0, entries));
    this.#hashes = hashes;
    const keys = new Float64Array(room * this.#length);
    keys.set(this.#keys.subarray(0, entries * this.#length));
    this.#keys = keys;
    this.#slots = new Int32Array(2 * room);
    for (let entry = 0; entry < entries; entry++) this.#place(entry);
  }

  clear(): void {
    this.#slots = new Int32Array(2 * FIRST_ENTRIES);
    this.#hashes = new Int32Array(FIRST_ENTRIES);
    this.#keys = new Float64Array(0);
    this.#values = [];
    this.#length = 0;
  }
}

const GEOMETRY_WORDS = 10;

/** Places for hashes of answers that were made once; a power of two. */
const MET_ONCE = 2048;

export class KernelCache<Inner, Outer> {
  readonly #inner = new KeyTable<Inner>();
  readonly #outer = new KeyTable<Outer>();
  /** Words of the parameter block, of four bytes, that results depend on. */
  #words: number[] = [];
  readonly #isWord: Uint8Array;
  /** Offsets of pointers that results are relative to. */
  #pointers: number[] = [];
  readonly #buffer: number[] = [];
  /** Upper halves of hashes of answers that were not kept, by the lower half. */
  readonly #metOnce = new Uint16Array(MET_ONCE);
  /** The last answer that was not kept: launches are often repeated at once. */
  readonly #lastKey: number[] = [];
  #lastHash = 0;
  #last: Outer | undefined;
  #innerLength = 0;
  #innerHash = 0;
  #outerLength = 0;
  #outerHash = 0;

  /** @param parameterBytes size of the kernel's parameter block */
  constructor(parameterBytes: number) {
    this.#isWord = new Uint8Array((parameterBytes + 3) >> 2);
  }

  /** Takes up a launch: what follows is about it. */
  select(launch: LaunchRecord): void {
    const { grid, block, cluster, sharedMemory, parameters } = launch;
    const key = this.#buffer;
    key[0] = grid[0];
    key[1] = grid[1];
    key[2] = grid[2];
    key[3] = block[0];
    key[4] = block[1];
    key[5] = block[2];
    key[6] = cluster ? cluster[0] : 1;
    key[7] = cluster ? cluster[1] : 1;
    key[8] = cluster ? cluster[2] : 1;
    key[9] = sharedMemory ?? -1;
    let length = GEOMETRY_WORDS;
    for (const word of this.#words) key[length++] = wordAt(parameters, word << 2);
    let hash = 0;
    for (let index = 0; index < length; index++) hash = mix(hash, key[index]!);
    this.#innerLength = length;
    this.#innerHash = hash;
    for (const offset of this.#pointers) {
      const low = wordAt(parameters, offset);
      const high = wordAt(parameters, offset + 4);
      key[length++] = low;
      key[length++] = high;
      hash = mix(mix(hash, low), high);
    }
    this.#outerLength = length;
    this.#outerHash = hash;
  }

  get outer(): Outer | undefined {
    return this.#isLast() ? this.#last : this.#outer.get(this.#buffer, this.#outerLength, this.#outerHash);
  }

  #isLast(): boolean {
    if (this.#last === undefined || this.#lastHash !== this.#outerHash) return false;
    const key = this.#buffer;
    const last = this.#lastKey;
    for (let index = 0; index < this.#outerLength; index++) if (key[index] !== last[index]) return false;
    return true;
  }

  get inner(): Inner | undefined {
    return this.#inner.get(this.#buffer, this.#innerLength, this.#innerHash);
  }

  /** Widens the key by what an analysis looked at; the launch is to be selected again if this answers true. */
  dependOn(consulted: Uint8Array, pointers: readonly number[]): boolean {
    let grown = false;
    for (let word = 0; word < consulted.length; word++) {
      if (consulted[word] === 0 || this.#isWord[word] !== 0) continue;
      this.#isWord[word] = 1;
      this.#words.push(word);
      grown = true;
    }
    for (const offset of pointers) {
      if (this.#pointers.includes(offset)) continue;
      this.#pointers.push(offset);
      grown = true;
    }
    if (!grown) return false;
    this.#inner.clear();
    this.#outer.clear();
    this.#last = undefined;
    return true;
  }

  storeInner(value: Inner): void {
    this.#inner.set(this.#buffer, this.#innerLength, this.#innerHash, value);
  }

  /** @param isQuicklyMade whether it follows from the inner result with little work */
  storeOuter(value: Outer, isQuicklyMade: boolean): void {
    const hash = this.#outerHash;
    const slot = hash & (MET_ONCE - 1);
    if (!isQuicklyMade || this.#metOnce[slot] === hash >>> 16) {
      this.#outer.set(this.#buffer, this.#outerLength, hash, value);
      return;
    }
    this.#metOnce[slot] = hash >>> 16;
    this.#last = value;
    this.#lastHash = hash;
    for (let index = 0; index < this.#outerLength; index++) this.#lastKey[index] = this.#buffer[index]!;
  }
}

/** Four bytes of a parameter block, what is missing at its end as zero. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

function mix(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}
