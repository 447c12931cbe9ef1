/**
 * Results of one kernel's launches, found again by exactly what they depend on. Two tables: the inner one holds abstract results,
 * relative to the launch's pointers, under geometry and the parameter words that the analysis looked at; the outer one holds
 * finished answers, under the pointers too.
 *
 * Soundness. A result depends on nothing but its key (and on known memory, which its owner checks): the analysis reports each
 * word it reads. When a later analysis reads a word that no key had, everything is dropped, because older keys are too short.
 */
import type { LaunchRecord } from './launch.js';

/** Entries of each table at most; full tables are emptied, which costs less than keeping an order. */
const MAX_ENTRIES = 4096;

interface Entry<T> {
  readonly key: readonly number[];
  readonly value: T;
}

/** Entries by key, compared word for word. */
class KeyTable<T> {
  readonly #byHash = new Map<number, Entry<T>[]>();
  #size = 0;

  get(key: readonly number[], length: number, hash: number): T | undefined {
    const list = this.#byHash.get(hash);
    if (list === undefined) return undefined;
    for (const entry of list) {
      if (entry.key.length !== length) continue;
      let index = 0;
      while (index < length && entry.key[index] === key[index]) index++;
      if (index === length) return entry.value;
    }
    return undefined;
  }

  set(key: readonly number[], length: number, hash: number, value: T): void {
    if (this.#size >= MAX_ENTRIES) this.clear();
    const stored = key.slice(0, length);
    const list = this.#byHash.get(hash);
    if (list === undefined) {
      this.#byHash.set(hash, [{ key: stored, value }]);
      this.#size++;
      return;
    }
    const index = list.findIndex(
      (entry) => entry.key.length === length && entry.key.every((word, i) => word === stored[i]),
    );
    if (index >= 0) list[index] = { key: stored, value };
    else {
      list.push({ key: stored, value });
      this.#size++;
    }
  }

  clear(): void {
    this.#byHash.clear();
    this.#size = 0;
  }
}

const GEOMETRY_WORDS = 10;

export class KernelCache<Inner, Outer> {
  readonly #inner = new KeyTable<Inner>();
  readonly #outer = new KeyTable<Outer>();
  /** Words of the parameter block, of four bytes, that results depend on. */
  #words: number[] = [];
  readonly #isWord: Uint8Array;
  /** Offsets of pointers that results are relative to. */
  #pointers: number[] = [];
  readonly #buffer: number[] = [];
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
    return this.#outer.get(this.#buffer, this.#outerLength, this.#outerHash);
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
    return true;
  }

  storeInner(value: Inner): void {
    this.#inner.set(this.#buffer, this.#innerLength, this.#innerHash, value);
  }

  storeOuter(value: Outer): void {
    this.#outer.set(this.#buffer, this.#outerLength, this.#outerHash, value);
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
