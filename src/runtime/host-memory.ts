/**
 * Slots of pinned host memory: which are free, and how many use each. Grows up to a limit; what is taken lies in one run where there is one, so that
 * copies are large. Everything is in flat arrays: a full checkpoint takes hundreds of thousands of slots at once.
 *
 * Whoever gives slots back has waited for every copy from and to them.
 */
import { CHUNK_BYTES, formatBytes } from '../checkpoint/index.js';
import { availableBytes } from './available-memory.js';
import { RuntimeError } from './errors.js';
import { type Device, type HostArena, type Parts, SEGMENT_SLOTS } from './parts.js';

/** In place of a slot: the chunk is zero and needs none. */
export const NO_SLOT = 0xffff_ffff;
/** It grows by at least this many. */
const LEAST_SLOTS = (64 << 20) / CHUNK_BYTES;
/** What the system keeps of its free memory. */
const SPARE_SHARE = 0.1;

export class HostMemory {
  readonly #create: Parts['createArena'];
  #arena: HostArena | undefined;
  /** Users of each slot. */
  #users = new Uint32Array(0);
  #free = 0;
  #growing: Promise<void> = Promise.resolve();
  /** Where the search for free slots begins. */
  #next = 0;
  /** From here on all are free. */
  #end = 0;

  /**
   * @param limitBytes it does not grow beyond this; may be changed
   * @param available bytes that may be taken from the system now
   */
  constructor(
    create: Parts['createArena'],
    public limitBytes: number,
    readonly available = availableBytes,
  ) {
    this.#create = create;
  }

  /** There is one as soon as a slot could be taken. */
  get arena(): HostArena {
    return this.#arena!;
  }

  get reservedBytes(): number {
    return this.#users.length * CHUNK_BYTES;
  }

  /** Bytes that there may be, are, and are not in use. */
  get size(): { readonly limit: number; readonly reserved: number; readonly free: number } {
    return { limit: this.limitBytes, reserved: this.reservedBytes, free: this.#free * CHUNK_BYTES };
  }

  get freeSlots(): number {
    return this.#free;
  }

  /** Slots that are free, or would be if it grew as far as it may. */
  get possibleSlots(): number {
    return this.#free + Math.max(0, Math.floor((this.limitBytes - this.reservedBytes) / CHUNK_BYTES));
  }

  /**
   * Grows until so many slots are free.
   *
   * @param device one of those that will copy
   *
   * @throws RuntimeError GCR8115 when limit or system do not allow it
   */
  async ensureFree(slots: number, device?: Device): Promise<void> {
    const grown = this.#growing.then(() => this.#ensure(slots, device));
    this.#growing = grown.catch(() => {});
    return grown;
  }

  async #ensure(slots: number, device: Device | undefined): Promise<void> {
    if (slots <= this.#free) return;
    const room = Math.floor((this.limitBytes - this.reservedBytes) / CHUNK_BYTES);
    const missing = slots - this.#free;
    if (missing > room) throw noRoom(slots, this.#free, `its limit is ${formatBytes(this.limitBytes)}`);
    const wanted = Math.min(room, Math.max(missing, LEAST_SLOTS));
    const system = this.available();
    if (wanted * CHUNK_BYTES > system * (1 - SPARE_SHARE))
      throw noRoom(slots, this.#free, `the system, or this process’s control group, has ${formatBytes(system)} left`);
    try {
      if (this.#arena) await this.#arena.grow(wanted * CHUNK_BYTES);
      else this.#arena = await this.#create(wanted * CHUNK_BYTES, device);
    } catch (error) {
      throw noRoom(slots, this.#free, (error as Error).message);
    }
    // An arena is made of whole segments, which may be more than the limit.
    const users = new Uint32Array(Math.min(this.#arena.slots, Math.floor(this.limitBytes / CHUNK_BYTES)));
    users.set(this.#users);
    this.#free += users.length - this.#users.length;
    this.#users = users;
  }

  /** So many slots, ascending, each with one user; undefined when there are fewer. */
  take(count: number): Uint32Array<ArrayBuffer> | undefined {
    if (count > this.#free) return undefined;
    if (this.#free === this.#users.length) this.#end = 0;
    const taken = new Uint32Array(count);
    const users = this.#users;
    let filled = this.#takeRun(taken, count);
    for (let slot = 0; filled < count; slot++) {
      if (users[slot] !== 0) continue;
      users[slot] = 1;
      taken[filled++] = slot;
    }
    this.#free -= count;
    if (count > 0) this.#end = Math.max(this.#end, taken[count - 1]! + 1);
    return taken;
  }

  /** One run of free slots that has them all, from where the last search ended on. */
  #takeRun(taken: Uint32Array, count: number): number {
    const users = this.#users;
    const { length } = users;
    if (length - this.#end >= count) {
      users.fill(1, this.#end, this.#end + count);
      for (let i = 0; i < count; i++) taken[i] = this.#end + i;
      return count;
    }
    for (const [begin, end] of [
      [this.#next, length],
      [0, Math.min(length, this.#next + count)],
    ] as const) {
      for (let slot = begin, run = 0; slot < end; slot++) {
        run = users[slot] === 0 ? run + 1 : 0;
        if (run < count) continue;
        const first = slot + 1 - count;
        users.fill(1, first, slot + 1);
        for (let i = 0; i < count; i++) taken[i] = first + i;
        this.#next = slot + 1;
        return count;
      }
    }
    return 0;
  }

  /** One more user of each of these. */
  share(slots: Uint32Array): void {
    for (let i = 0; i < slots.length; i++) if (slots[i] !== NO_SLOT) this.#users[slots[i]!]!++;
  }

  /** One user less of each of these. */
  drop(slots: Uint32Array): void {
    for (let i = 0; i < slots.length; i++) if (slots[i] !== NO_SLOT && --this.#users[slots[i]!]! === 0) this.#free++;
  }

  /** Nobody uses any slot any more. */
  dropAll(): void {
    this.#users.fill(0);
    this.#free = this.#users.length;
  }

  /** How many of these slots have no other user, and how many have. */
  usage(slots: Uint32Array): { readonly own: number; readonly shared: number } {
    let own = 0;
    let shared = 0;
    for (let i = 0; i < slots.length; i++) {
      if (slots[i] === NO_SLOT) continue;
      if (this.#users[slots[i]!] === 1) own++;
      else shared++;
    }
    return { own, shared };
  }

  /** The number of slots from position `at` of a list that lie one behind the other in one view, at most `most`. */
  runAt(slots: Uint32Array, at: number, most: number): number {
    const first = slots[at]!;
    const limit = Math.min(slots.length - at, most, SEGMENT_SLOTS - (first % SEGMENT_SLOTS));
    let count = 1;
    while (count < limit && slots[at + count] === first + count) count++;
    return count;
  }

  /** The bytes of a run of slots, no copy. */
  view(slot: number, count: number): Uint8Array {
    return this.arena.view(slot, count);
  }

  /** Resolves when the system has it back. */
  async close(): Promise<void> {
    const arena = this.#arena;
    this.#arena = undefined;
    this.#users = new Uint32Array(0);
    this.#free = 0;
    await arena?.close();
  }
}

function noRoom(wanted: number, free: number, why: string): RuntimeError {
  const message = `${formatBytes(wanted * CHUNK_BYTES)} of host memory are needed and ${formatBytes(free * CHUNK_BYTES)} are free; ${why}`;
  const hint =
    'drop checkpoints in memory with `gcr-templates drop`, or give more with `gcr-templates run --host-memory`';
  return new RuntimeError('refused', 'GCR8115', message, hint);
}
