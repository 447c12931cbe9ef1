/**
 * What a checkpoint holds, wherever it is kept, and the way of chunks back into a process. From the store a chunk's hash is checked when it is read; memory
 * that is filled from host memory is named again on the device afterwards, where that computes names.
 */
import {
  type Allocation,
  CHUNK_BYTES,
  mapAhead,
  NAME_BYTES,
  type RestorePlan,
  type Store,
} from '../checkpoint/index.js';
import type { Target } from './chain.js';
import { checkCancelled, RuntimeError } from './errors.js';
import type { HostImage } from './host-images.js';
import { type HostMemory, NO_SLOT } from './host-memory.js';
import type { MemoryLayout } from './layout.js';
import { gathered } from './names.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { Room } from './room.js';
import { move, progressOf } from './transfer.js';

/** Where a checkpoint is. */
export interface SavedPlace {
  readonly target: Target;
  readonly id: string;
}

/** Chunks on their way into a process. Nothing is under way when a call has ended, however it ended. */
export interface Loader {
  /** Finds what is damaged before anything is written. */
  check(context: OperationContext): Promise<void>;
  /** Writes all of it; after a failure it may be called again. It is not cancelled. */
  load(report: OperationContext['report']): Promise<void>;
}

export interface SavedMemory extends SavedPlace {
  readonly allocations: readonly Allocation[];
  /** Names of all chunks of one of the allocations. */
  names(id: bigint): Uint8Array;
  /**
   * @param list ascending numbers of chunks in `layout`, whose parts are all among the allocations
   * @param wanted names of all chunks of `layout`
   */
  loader(layout: MemoryLayout, list: Uint32Array, wanted: Uint8Array): Loader;
  close(): void;
}

/**
 * Which checkpoint a user means: the beginning of the id of one in host memory, or what the store makes of it. `latest` is the youngest of both.
 *
 * @throws StoreError GCR7011
 */
export async function findSaved(process: SupervisedProcess, store: Store, name: string): Promise<SavedPlace> {
  const { hostImages } = process;
  const inMemory = (image: HostImage): SavedPlace => ({ target: 'memory', id: image.id });
  if (name === 'latest') {
    const youngest = hostImages.of(process).at(-1);
    if (youngest) {
      const last = (await store.list()).checkpoints.at(-1);
      if (!last || last.created < youngest.saved.created) return inMemory(youngest);
    }
  } else {
    const image = hostImages.find(process, name);
    if (image) return inMemory(image);
  }
  return { target: 'store', id: await store.find(name) };
}

/** Opens a checkpoint for reading. Close it. @throws StoreError, RuntimeError */
export async function openSaved(process: SupervisedProcess, store: Store, place: SavedPlace): Promise<SavedMemory> {
  const { staging, custody } = process;
  if (place.target === 'memory') {
    const image = process.hostImages.get(place.id);
    if (!image) throw new RuntimeError('not-found', 'GCR8109', `checkpoint ${place.id} is not in host memory any more`);
    return new SavedImage(process, image);
  }
  const plan = await store.restorePlan(place.id);
  try {
    const chunks = plan.allocations.reduce((sum, { size }) => sum + Math.ceil(size / CHUNK_BYTES), 0);
    return new SavedInStore(process, plan, await staging.take(chunks, custody.anyDevice));
  } catch (error) {
    plan.close();
    throw error;
  }
}

class SavedInStore implements SavedMemory {
  readonly target = 'store';

  constructor(
    readonly process: SupervisedProcess,
    readonly plan: RestorePlan,
    readonly memory: HostMemory,
  ) {}

  get id(): string {
    return this.plan.manifest.id;
  }

  get allocations(): readonly Allocation[] {
    return this.plan.allocations;
  }

  names(id: bigint): Uint8Array {
    return this.plan.contents.get(id)!.names;
  }

  loader(layout: MemoryLayout, list: Uint32Array, wanted: Uint8Array): Loader {
    return new StoreLoader(this.process, this.plan, this.memory, layout, list, wanted);
  }

  close(): void {
    this.plan.close();
    this.memory.dropAll();
    this.process.staging.back(this.memory);
  }
}

/** Chunks that are read as one, and into how many parts memory is cut at least when not everything fits. */
const BLOCK = 1024;
const LEAST_BLOCKS = 4;
/** Blocks that are read at once. */
const WINDOW = 6;
/** Chunks for which room is made at once: enough for many threads to touch. A multiple of a block's. */
const PORTION = 16 * BLOCK;

class StoreLoader implements Loader {
  /** Slots of the first chunks of the list, which are in host memory already. */
  #kept = new Uint32Array(0);

  constructor(
    readonly process: SupervisedProcess,
    readonly plan: RestorePlan,
    readonly memory: HostMemory,
    readonly layout: MemoryLayout,
    readonly list: Uint32Array,
    readonly wanted: Uint8Array,
  ) {}

  /** Reads everything, and keeps as much of it as there is room for; the rest is read twice, this time to check it. */
  async check({ report, signal }: OperationContext): Promise<void> {
    const { list, memory, process } = this;
    const told = progressOf(report, 'read', list.length * CHUNK_BYTES);
    const fits = list.length <= memory.freeSlots;
    if (!fits) process.staging.widen(memory);
    const spare = fits ? 0 : WINDOW * BLOCK;
    const wanted = Math.min(list.length, memory.possibleSlots - spare);
    const room = new Room(memory, { wanted, spare, portion: PORTION, device: process.custody.anyDevice });
    try {
      const blocks: number[] = [];
      for (let at = 0; at < room.slots.length; at += BLOCK) blocks.push(at);
      const read = async (at: number) => {
        checkCancelled(signal);
        if (!(await room.has(at))) return;
        const slots = room.slots.subarray(at, at + BLOCK);
        await this.#read(list.subarray(at, at + slots.length), slots);
        told(slots.length * CHUNK_BYTES);
      };
      for await (const _ of mapAhead(blocks, WINDOW, read));
    } finally {
      this.#kept = await room.end();
    }
    await this.#eachBlock(list.subarray(this.#kept.length), async (own, slots) => {
      checkCancelled(signal);
      await this.#read(own, slots);
      told(own.length * CHUNK_BYTES);
    });
  }

  async load(report: OperationContext['report']): Promise<void> {
    const { process, layout, list, memory } = this;
    const told = progressOf(report, 'write', list.length * CHUNK_BYTES);
    const write = (own: Uint32Array, slots: Uint32Array) =>
      move('load', { process, layout, list: own, memory, slots }, 0, own.length, undefined, told);
    await write(list.subarray(0, this.#kept.length), this.#kept);
    await this.#eachBlock(list.subarray(this.#kept.length), async (own, slots) => {
      await this.#read(own, slots);
      await write(own, slots);
    });
  }

  /** Runs for each block of a list with slots for it, as many at once as there are slots. */
  async #eachBlock(all: Uint32Array, run: (list: Uint32Array, slots: Uint32Array) => Promise<void>): Promise<void> {
    if (all.length === 0) return;
    const slots = this.memory.take(Math.min(all.length, this.memory.freeSlots))!;
    try {
      const size = Math.max(1, Math.min(BLOCK, Math.floor(slots.length / LEAST_BLOCKS)));
      const free: number[] = [];
      for (let at = 0; at + size <= slots.length; at += size) free.push(at);
      const blocks: number[] = [];
      for (let at = 0; at < all.length; at += size) blocks.push(at);
      const block = async (from: number) => {
        const place = free.pop()!;
        const list = all.subarray(from, from + size);
        await run(list, slots.subarray(place, place + list.length));
        free.push(place);
      };
      for await (const _ of mapAhead(blocks, Math.min(free.length, WINDOW), block));
    } finally {
      this.memory.drop(slots);
    }
  }

  /** Reads chunks to slots, their hashes checked. */
  async #read(list: Uint32Array, slots: Uint32Array): Promise<void> {
    const lengths = this.layout.lengthsOf(list, 0, list.length);
    const reads: Promise<void>[] = [];
    for (let at = 0; at < list.length; ) {
      let count = this.memory.runAt(slots, at, list.length - at);
      // Only the last chunk of a read may be short.
      for (let i = 0; i < count - 1; i++) if (lengths[at + i] !== CHUNK_BYTES) count = i + 1;
      const target = this.memory.view(slots[at]!, count);
      const bytes = (count - 1) * CHUNK_BYTES + lengths[at + count - 1]!;
      reads.push(this.plan.readChunks(gathered(this.wanted, list, at, at + count), target.subarray(0, bytes)));
      at += count;
    }
    await Promise.allSettled(reads);
    await Promise.all(reads);
  }
}

/** Chunks of a list that have a slot, these slots, and the chunks of zeros, which have none. */
function withSlot(list: Uint32Array, slots: Uint32Array) {
  // Mostly all have one, and then long lists are not copied.
  if (!slots.includes(NO_SLOT)) return { filled: list, own: slots, zero: new Uint32Array(0) };
  const [filled, own, zero] = [list.slice(), slots.slice(), new Uint32Array(list.length)];
  let count = 0;
  for (let i = 0; i < list.length; i++) {
    if (slots[i] === NO_SLOT) zero[i - count] = list[i]!;
    else {
      filled[count] = list[i]!;
      own[count++] = slots[i]!;
    }
  }
  return {
    filled: filled.subarray(0, count),
    own: own.subarray(0, count),
    zero: zero.subarray(0, list.length - count),
  };
}

class SavedImage implements SavedMemory {
  readonly target = 'memory';
  readonly #parts: ReadonlyMap<bigint, HostImage['parts'][number]>;

  /** For a slot of zeros, once one is needed. */
  #spare: HostMemory | undefined;

  constructor(
    readonly process: SupervisedProcess,
    readonly image: HostImage,
  ) {
    this.#parts = new Map(image.parts.map((part) => [part.allocation.id, part]));
  }

  get id(): string {
    return this.image.id;
  }

  get allocations(): readonly Allocation[] {
    return this.image.parts.map(({ allocation }) => allocation);
  }

  names(id: bigint): Uint8Array {
    const { first, count } = this.#parts.get(id)!;
    return this.image.table.names.subarray(NAME_BYTES * first, NAME_BYTES * (first + count));
  }

  loader(layout: MemoryLayout, list: Uint32Array, wanted: Uint8Array): Loader {
    const slots = new Uint32Array(list.length);
    layout.eachRun(list, 0, list.length, ({ stored, first }, chunk, count, at) => {
      const from = this.#parts.get(stored.id)!.first + chunk - first;
      slots.set(this.image.slots.subarray(from, from + count), at);
    });
    const { process } = this;
    const memory = process.hostImages.memory;
    const check = async () => {
      if (slots.includes(NO_SLOT)) await this.#spareMemory();
    };
    const load = async (report: OperationContext['report']): Promise<void> => {
      const told = progressOf(report, 'write', list.length * CHUNK_BYTES);
      const { filled, own, zero } = withSlot(list, slots);
      const transfer = { process, layout, list: filled, memory, slots: own };
      await move('load', transfer, 0, filled.length, undefined, told, wanted);
      if (zero.length > 0) await this.#loadZeros(layout, zero, wanted, told);
    };
    return { check, load };
  }

  async #spareMemory(): Promise<HostMemory> {
    const { staging, custody } = this.process;
    this.#spare ??= await staging.take(1, custody.anyDevice);
    return this.#spare;
  }

  async #loadZeros(
    layout: MemoryLayout,
    list: Uint32Array,
    wanted: Uint8Array,
    told: (bytes: number) => void,
  ): Promise<void> {
    const memory = await this.#spareMemory();
    const slot = memory.take(1)!;
    try {
      memory.view(slot[0]!, 1).fill(0);
      const slots = new Uint32Array(list.length).fill(slot[0]!);
      const transfer = { process: this.process, layout, list, memory, slots };
      await move('load', transfer, 0, list.length, undefined, told, wanted);
    } finally {
      memory.drop(slot);
    }
  }

  close(): void {
    if (this.#spare) this.process.staging.back(this.#spare);
  }
}
