/**
 * Where the bytes of an allocation come from when it is saved: a callback that reads a stretch, a buffer, or pieces of any
 * lengths in order. All become the same: bytes of the stretch that is asked for.
 */
import type { Allocation } from './types.js';

/** Reads bytes `from` to `to` of an allocation. Called several times at once, for different stretches. */
export type ReadBytes = (allocation: Allocation, from: number, to: number) => Promise<Uint8Array> | Uint8Array;

/**
 * Bytes of the chunks that are to be saved, one chunk behind the other: as a callback, a buffer, or pieces. A piece must not be
 * changed before the allocation has been taken.
 */
export type ContentBytes = ReadBytes | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** Gives stretches in ascending order. */
export interface Source {
  take(from: number, to: number): Promise<Uint8Array>;
  /** Whether bytes are left that nobody asked for. */
  ended(): Promise<boolean>;
}

class Pieces implements Source {
  readonly #iterator: Iterator<Uint8Array> | AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #order: Promise<unknown> = Promise.resolve();

  constructor(pieces: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
    this.#iterator = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
  }

  take(from: number, to: number): Promise<Uint8Array> {
    const taken = this.#order.then(() => this.#collect(to - from));
    this.#order = taken.catch(() => {});
    return taken;
  }

  async ended(): Promise<boolean> {
    await this.#order;
    return (await this.#fill()) === 0;
  }

  async #fill(): Promise<number> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#iterator.next();
      if (done) return 0;
      this.#rest = value;
    }
    return this.#rest.length;
  }

  async #collect(length: number): Promise<Uint8Array> {
    // A piece that holds the whole stretch is handed on as it is.
    if ((await this.#fill()) >= length) {
      const whole = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      return whole;
    }
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length && (await this.#fill()) > 0) {
      const part = this.#rest.subarray(0, length - filled);
      bytes.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return bytes.subarray(0, filled);
  }
}

export function openSource(allocation: Allocation, bytes: ContentBytes): Source {
  if (typeof bytes !== 'function') return new Pieces(bytes instanceof Uint8Array ? [bytes] : bytes);
  return { take: async (from, to) => bytes(allocation, from, to), ended: async () => true };
}
