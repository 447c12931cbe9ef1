/**
 * Slots for many chunks, had portion by portion in the background: making memory takes a while, and reading into what is there need not wait for the rest.
 * When the system has less than it said, what could be had until then is all there is; nothing fails for it.
 */
import type { HostMemory } from './host-memory.js';
import type { Device } from './parts.js';

export interface RoomOptions {
  readonly wanted: number;
  /** Slots that stay free beside these. */
  readonly spare: number;
  /** How many are had at once. */
  readonly portion: number;
  /** One of those that will copy. */
  readonly device: Device | undefined;
}

export class Room {
  readonly slots: Uint32Array<ArrayBuffer>;
  /** Whether each portion could be had; none after one that could not. */
  readonly #portions: Promise<boolean>[] = [];
  #had = 0;
  #ended = false;

  /** @param options none are wanted when `wanted` is negative */
  constructor(
    readonly memory: HostMemory,
    readonly options: RoomOptions,
  ) {
    this.slots = new Uint32Array(Math.max(0, options.wanted));
    let before = Promise.resolve(true);
    for (let from = 0; from < this.slots.length; from += options.portion) {
      before = before.then((had) => had && this.#take(from));
      this.#portions.push(before);
    }
  }

  async #take(from: number): Promise<boolean> {
    const { portion, spare, device } = this.options;
    const count = Math.min(portion, this.slots.length - from);
    try {
      if (this.#ended) return false;
      await this.memory.ensureFree(count + spare, device);
    } catch {
      return false;
    }
    this.slots.set(this.memory.take(count)!, from);
    this.#had += count;
    return true;
  }

  /** Whether there are slots from position `at` on, for the portion that it is in. */
  has(at: number): Promise<boolean> {
    return this.#portions[Math.floor(at / this.options.portion)]!;
  }

  /** The slots that could be had; no more come. */
  async end(): Promise<Uint32Array<ArrayBuffer>> {
    this.#ended = true;
    await this.#portions.at(-1);
    return this.slots.subarray(0, this.#had);
  }
}
