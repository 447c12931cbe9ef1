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
  /** By entry: the hash, and the words of the key. */
  #rows = new Int32Array(0);
  #values: T[] = [];
  /** Words of each key. */
  #length = 0;

  /** @param key words of 32 bits, signed */
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
      if (entry < 0 || this.#isKey(entry, key, hash)) return entry;
    }
  }

  #isKey(entry: number, key: readonly number[], hash: number): boolean {
    const rows = this.#rows;
    const length = this.#length;
    let at = entry * (length + 1);
    if (rows[at] !== hash) return false;
    for (let index = 0; index < length; index++) if (rows[++at] !== key[index]) return false;
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
    let at = entry * (length + 1);
    if (at + length >= this.#rows.length) this.#grow(entry);
    const rows = this.#rows;
    rows[at] = hash;
    for (let index = 0; index < length; index++) rows[++at] = key[index]!;
    this.#values.push(value);
    this.#place(entry);
  }

  #place(entry: number): void {
    const slots = this.#slots;
    const last = slots.length - 1;
    let at = this.#rows[entry * (this.#length + 1)]! & last;
    while (slots[at] !== 0) at = (at + 1) & last;
    slots[at] = entry + 1;
  }

  /** Makes room for twice as many. */
  #grow(entries: number): void {
    const room = Math.max(FIRST_ENTRIES, 2 * entries);
    const rows = new Int32Array(room * (this.#length + 1));
    rows.set(this.#rows);
    this.#rows = rows;
    this.#slots = new Int32Array(2 * room);
    for (let entry = 0; entry < entries; entry++) this.#place(entry);
  }

  clear(): void {
    this.#slots = new Int32Array(2 * FIRST_ENTRIES);
    this.#rows = new Int32Array(0);
    this.#values = [];
    this.#length = 0;
  }
}

/** Numbers that say which threads a launch has: grid, block, cluster, shared memory. */
const GEOMETRY_WORDS = 10;
/** The same in words of 32 bits. */
const GEOMETRY_KEY = 2 * GEOMETRY_WORDS;

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
  /** Numbers of geometries, by what they are; and that of the last launch. */
  readonly #geometries = new KeyTable<number>();
  #geometryCount = 0;
  readonly #geometry: number[] = new Array(GEOMETRY_WORDS).fill(0);
  #geometryNumber = -1;
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
    const { parameters } = launch;
    const key = this.#buffer;
    const geometry = this.#geometryOf(launch);
    key[0] = geometry;
    let length = 1;
    let hash = mix(0, geometry);
    const words = this.#words;
    for (let index = 0; index < words.length; index++) {
      const content = wordAt(parameters, words[index]! << 2);
      key[length++] = content;
      hash = mix(hash, content);
    }
    this.#innerLength = length;
    this.#innerHash = hash;
    const pointers = this.#pointers;
    for (let index = 0; index < pointers.length; index++) {
      const offset = pointers[index]!;
      const low = wordAt(parameters, offset);
      const high = wordAt(parameters, offset + 4);
      key[length++] = low;
      key[length++] = high;
      hash = mix(mix(hash, low), high);
    }
    this.#outerLength = length;
    this.#outerHash = hash;
  }

  /** The number of a launch's geometry: mostly that of the launch before. */
  #geometryOf({ grid, block, cluster, sharedMemory }: LaunchRecord): number {
    const next = this.#geometry;
    let same = true;
    for (let axis = 0; axis < 3; axis++) {
      const ofCluster = cluster ? cluster[axis]! : 1;
      if (next[axis] === grid[axis] && next[3 + axis] === block[axis] && next[6 + axis] === ofCluster) continue;
      next[axis] = grid[axis]!;
      next[3 + axis] = block[axis]!;
      next[6 + axis] = ofCluster;
      same = false;
    }
    const shared = sharedMemory ?? -1;
    if (same && next[9] === shared) return this.#geometryNumber;
    next[9] = shared;
    this.#geometryNumber = this.#numberOf(next);
    return this.#geometryNumber;
  }

  #numberOf(geometry: readonly number[]): number {
    const key: number[] = [];
    let hash = 0;
    for (const number of geometry) {
      key.push(number | 0, Math.floor(number / 2 ** 32));
      hash = mix(hash, number | 0);
    }
    const known = this.#geometries.get(key, GEOMETRY_KEY, hash);
    if (known !== undefined) return known;
    // A number means one geometry for good, so what is forgotten here cannot be mistaken for another.
    const number = this.#geometryCount++;
    this.#geometries.set(key, GEOMETRY_KEY, hash, number);
    return number;
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
