/**
 * What launches of one kernel have in common: the same threads, and parameters of which only some change from one to the next.
 * Values that depend on nothing that changes are computed once, before anything is decided, and later launches start there.
 *
 * Soundness. What was computed in laying a ground depends on the threads and on the parameter words that were looked at
 * meanwhile, on nothing else: a ground is used for launches that agree in all of those. That some words vary is a guess from
 * the past, which only decides what is worth computing.
 */
import type { LaunchRecord } from '../launch.js';
import type { Domain } from './domain.js';
import type { Lines } from './lines.js';

/** A state of the evaluation before anything forks. */
export interface Start {
  readonly domain: Domain;
  /** Entries in the trail of remembered values. */
  readonly mark: number;
  readonly uniforms: number;
  readonly roots: number;
  /** What a round adds to variables of loops. */
  readonly steps: ReadonlyMap<number, number | undefined>;
}

export class Ground implements Start {
  readonly domain: Domain;
  readonly mark: number;
  readonly uniforms: number;
  readonly roots: number;
  readonly steps: ReadonlyMap<number, number | undefined>;
  /** Byte offsets of the words that it depends on, and what they held. */
  readonly #offsets: number[] = [];
  readonly #content: number[] = [];

  /**
   * @param lines values that are linear in the word that varies
   * @param consulted by word of four bytes of the parameter block, whether it was looked at
   */
  constructor(
    { domain, mark, uniforms, roots, steps }: Start,
    readonly lines: Lines | undefined,
    consulted: Uint8Array,
    parameters: DataView,
  ) {
    this.domain = domain;
    this.mark = mark;
    this.uniforms = uniforms;
    this.roots = roots;
    this.steps = steps;
    for (let word = 0; word < consulted.length; word++) {
      if (consulted[word] === 0) continue;
      this.#offsets.push(word * 4);
      this.#content.push(wordAt(parameters, word * 4));
    }
  }

  /** Whether a launch of the same threads has the same words, and a number that the lines hold for, which they take up. */
  holds(parameters: DataView): boolean {
    for (let index = 0; index < this.#offsets.length; index++)
      if (wordAt(parameters, this.#offsets[index]!) !== this.#content[index]) return false;
    return this.lines?.take(wordAt(parameters, this.lines.offset)) ?? true;
  }
}

/** The launches so far. */
export class History {
  /** By word of the parameter block: whether it was looked at and changed between launches of the same threads. */
  readonly varying: Uint8Array;
  readonly #words: Int32Array;
  /** Grid, block, cluster, shared memory. */
  readonly #sizes: Float64Array = new Float64Array(10);
  readonly #next: Float64Array = new Float64Array(10);

  /** @param words of four bytes of the parameter block */
  constructor(words: number) {
    this.varying = new Uint8Array(words);
    this.#words = new Int32Array(words);
  }

  /** Notes a launch; whether its threads are those of the one before. */
  follow(launch: LaunchRecord, parameters: DataView, consulted: Uint8Array): boolean {
    const same = this.#followSizes(launch);
    for (let word = 0; word < this.#words.length; word++) {
      const content = wordAt(parameters, word * 4);
      if (same && consulted[word] !== 0 && content !== this.#words[word]) this.varying[word] = 1;
      this.#words[word] = content;
    }
    return same;
  }

  #followSizes({ grid, block, cluster, sharedMemory }: LaunchRecord): boolean {
    const next = this.#next;
    for (let axis = 0; axis < 3; axis++) {
      next[axis] = grid[axis]!;
      next[3 + axis] = block[axis]!;
      next[6 + axis] = cluster?.[axis] ?? 1;
    }
    next[9] = sharedMemory ?? -1;
    let same = true;
    for (let index = 0; index < next.length; index++) {
      if (next[index] !== this.#sizes[index]) same = false;
      this.#sizes[index] = next[index]!;
    }
    return same;
  }
}

/** Four bytes of a parameter block, what is missing at its end as zero. */
function wordAt(parameters: DataView, offset: number): number {
  if (offset + 4 <= parameters.byteLength) return parameters.getInt32(offset, true);
  let word = 0;
  for (let at = offset; at < parameters.byteLength; at++) word |= parameters.getUint8(at) << (8 * (at - offset));
  return word;
}
