/**
 * A checkpoint's chunks, read before there is the process that they are for: pinned host memory is all that takes. Whoever fills the process's memory asks where
 * they are, and reads what is not there. So a chunk that cannot be read is no failure here, but of who needs it.
 */
import { CHUNK_BYTES, chunksOf, lastLengthOf, mapAhead, NAME_BYTES, type RestorePlan } from '../checkpoint/index.js';
import { type HostMemory, NO_SLOT } from './host-memory.js';
import type { MemoryLayout } from './layout.js';
import { gathered, withoutZero } from './names.js';
import type { Device } from './parts.js';
import { everyChunk } from './plan.js';
import { Room } from './room.js';
import type { StagingPool } from './staging.js';

/** Chunks that are read as one. */
export const BLOCK = 1024;
/** Blocks that are read at once. */
export const WINDOW = 6;
/** Chunks for which room is made at once: enough for many threads to touch. A multiple of a block's. */
const PORTION = 16 * BLOCK;

export interface Reading {
  readonly plan: RestorePlan;
  readonly memory: HostMemory;
  /** Names of all chunks, of which `list` are read. */
  readonly names: Uint8Array;
}

/** Reads chunks to slots, their hashes checked. @param lengths of the chunks of the list, in bytes */
export async function readChunks(
  { plan, memory, names }: Reading,
  list: Uint32Array,
  slots: Uint32Array,
  lengths: Uint32Array,
): Promise<void> {
  const reads: Promise<void>[] = [];
  for (let at = 0; at < list.length; ) {
    let count = memory.runAt(slots, at, list.length - at);
    // Only the last chunk of a read may be short.
    for (let i = 0; i < count - 1; i++) if (lengths[at + i] !== CHUNK_BYTES) count = i + 1;
    const target = memory.view(slots[at]!, count);
    const bytes = (count - 1) * CHUNK_BYTES + lengths[at + count - 1]!;
    reads.push(plan.readChunks(gathered(names, list, at, at + count), target.subarray(0, bytes)));
    at += count;
  }
  await Promise.allSettled(reads);
  await Promise.all(reads);
}

/**
 * Reads blocks of a list to slots of their own, for as much of it as there is room for; the other slots are free afterwards. When not everything fits, what several
 * blocks take stays free, so that the rest can be read through it.
 *
 * @param left slots that stay free even so
 * @param read a block of the list, from position `at` on, to its slots; false or a failure ends everything
 * @returns the slots of all chunks up to the first block that was not read
 */
export async function readBlocks(
  memory: HostMemory,
  chunks: number,
  left: number,
  device: Device | undefined,
  read: (at: number, slots: Uint32Array) => Promise<boolean>,
): Promise<Uint32Array<ArrayBuffer>> {
  const spare = chunks + left <= memory.freeSlots ? 0 : WINDOW * BLOCK;
  const wanted = Math.min(chunks, memory.possibleSlots - spare);
  const room = new Room(memory, { wanted, spare, portion: PORTION, device });
  const blocks: number[] = [];
  for (let at = 0; at < room.slots.length; at += BLOCK) blocks.push(at);
  let done = 0;
  const block = async (at: number) => {
    if (!(await room.has(at))) return 0;
    const slots = room.slots.subarray(at, at + BLOCK);
    return (await read(at, slots)) ? slots.length : 0;
  };
  try {
    for await (const count of mapAhead(blocks, WINDOW, block)) {
      if (count === 0) break;
      done += count;
    }
  } finally {
    const had = await room.end();
    memory.drop(had.subarray(done));
  }
  return room.slots.subarray(0, done);
}

/** Chunks of all allocations of a plan. */
export const chunksIn = ({ allocations }: RestorePlan): number =>
  allocations.reduce((sum, { size }) => sum + chunksOf(size), 0);

/**
 * The slots of a list's chunks; `NO_SLOT` where they have none.
 *
 * @param all slots of the chunks of allocations that lie one behind the other
 * @param firstOf the number among them of an allocation's first chunk, by id
 */
export function slotsIn(
  layout: MemoryLayout,
  list: Uint32Array,
  all: Uint32Array,
  firstOf: (id: bigint) => number | undefined,
): Uint32Array {
  const slots = new Uint32Array(list.length).fill(NO_SLOT);
  layout.eachRun(list, 0, list.length, ({ stored, first }, chunk, count, at) => {
    const begin = firstOf(stored.id);
    if (begin === undefined) return;
    const from = begin + chunk - first;
    slots.set(all.subarray(from, from + count), at);
  });
  return slots;
}

/** What is to be zero, and is not, has to go through host memory, too. */
const LEFT = 1;

export class ReadAhead {
  /** The number of each allocation's first chunk, where they lie one behind the other, by id. */
  readonly #first = new Map<bigint, number>();
  /** The slots of all chunks. */
  readonly #slots: Uint32Array;
  #stopped = false;
  readonly #reading: Promise<void>;
  #closed: Promise<void> | undefined;

  private constructor(
    readonly plan: RestorePlan,
    readonly memory: HostMemory,
    readonly staging: StagingPool,
    readonly device: Device | undefined,
  ) {
    let chunks = 0;
    for (const { id, size } of plan.allocations) {
      this.#first.set(id, chunks);
      chunks += chunksOf(size);
    }
    this.#slots = new Uint32Array(chunks).fill(NO_SLOT);
    // Whatever fails, nothing is there then, and is read by who needs it.
    this.#reading = this.#read(chunks).catch(() => {});
  }

  /**
   * Begins to read. Plan and device are closed with it.
   *
   * @param device one of those that will copy
   * @param others bytes of host memory that somebody else is about to need
   * @throws RuntimeError GCR8115; plan and device are then closed
   */
  static async begin(
    plan: RestorePlan,
    staging: StagingPool,
    device: Device | undefined,
    others: number,
  ): Promise<ReadAhead> {
    try {
      const memory = await staging.take(chunksIn(plan) + LEFT, device);
      staging.widen(memory, others);
      return new ReadAhead(plan, memory, staging, device);
    } catch (error) {
      plan.close();
      device?.close();
      throw error;
    }
  }

  async #read(chunks: number): Promise<void> {
    const names = new Uint8Array(NAME_BYTES * chunks);
    const lengths = new Uint32Array(chunks).fill(CHUNK_BYTES);
    for (const { allocation, names: own } of this.plan.contents.values()) {
      const first = this.#first.get(allocation.id)!;
      names.set(own, NAME_BYTES * first);
      if (allocation.size > 0) lengths[first + chunksOf(allocation.size) - 1] = lastLengthOf(allocation.size);
    }
    const list = withoutZero(names, everyChunk({ chunks }));
    const { plan, memory, device } = this;
    const slots = await readBlocks(memory, list.length, LEFT, device, async (at, own) => {
      if (this.#stopped) return false;
      const some = list.subarray(at, at + own.length);
      try {
        const bytes = some.map((chunk) => lengths[chunk]!);
        await readChunks({ plan, memory, names }, some, own, bytes);
        return true;
      } catch {
        return false;
      }
    });
    for (let i = 0; i < slots.length; i++) this.#slots[list[i]!] = slots[i]!;
  }

  /**
   * The slots of a list's chunks; `NO_SLOT` where they have none. No more are read.
   *
   * @param layout of the process that has the plan's allocations
   */
  async slotsOf(layout: MemoryLayout, list: Uint32Array): Promise<Uint32Array> {
    this.#stopped = true;
    await this.#reading;
    return slotsIn(layout, list, this.#slots, (id) => this.#first.get(id));
  }

  /** Nobody may use slots any more. More often than once is no harm. */
  close(): Promise<void> {
    this.#stopped = true;
    this.#closed ??= this.#reading.then(() => {
      this.plan.close();
      this.memory.dropAll();
      this.staging.back(this.memory);
      this.device?.close();
    });
    return this.#closed;
  }
}
