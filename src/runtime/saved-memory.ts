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
import type { OperationContext, SupervisedProcess } from './process.js';
import {
  BLOCK,
  chunksIn,
  type ReadAhead,
  type Reading,
  readBlocks,
  readChunks,
  slotsIn,
  WINDOW,
} from './read-ahead.js';
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

export interface SavedContent {
  readonly allocations: readonly Allocation[];
  /** Names of all chunks of one of the allocations. */
  names(id: bigint): Uint8Array;
}

export interface SavedMemory extends SavedPlace, SavedContent {
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

/**
 * Opens a checkpoint for reading. Close it.
 *
 * @param ahead of the same checkpoint; its owner closes it afterwards
 * @throws StoreError, RuntimeError
 */
export async function openSaved(
  process: SupervisedProcess,
  store: Store,
  place: SavedPlace,
  ahead?: ReadAhead,
): Promise<SavedMemory> {
  const { staging, custody } = process;
  if (ahead) return new SavedInStore(process, ahead.plan, ahead.memory, ahead);
  if (place.target === 'memory') {
    const image = process.hostImages.get(place.id);
    if (!image) throw new RuntimeError('not-found', 'GCR8109', `checkpoint ${place.id} is not in host memory any more`);
    return new SavedImage(process, image);
  }
  const plan = await store.restorePlan(place.id);
  try {
    return new SavedInStore(process, plan, await staging.take(chunksIn(plan), custody.anyDevice));
  } catch (error) {
    plan.close();
    throw error;
  }
}

/** What a plan reads. */
export const contentOf = ({ allocations, contents }: RestorePlan): SavedContent => ({
  allocations,
  names: (id) => contents.get(id)!.names,
});

class SavedInStore implements SavedMemory {
  readonly target = 'store';
  readonly allocations: SavedContent['allocations'];
  readonly names: SavedContent['names'];

  constructor(
    readonly process: SupervisedProcess,
    readonly plan: RestorePlan,
    readonly memory: HostMemory,
    readonly ahead?: ReadAhead,
  ) {
    ({ allocations: this.allocations, names: this.names } = contentOf(plan));
  }

  get id(): string {
    return this.plan.manifest.id;
  }

  loader(layout: MemoryLayout, list: Uint32Array, wanted: Uint8Array): Loader {
    const { process, plan, memory, ahead } = this;
    return new StoreLoader(process, { plan, memory, names: wanted }, layout, list, ahead);
  }

  close(): void {
    if (this.ahead) return;
    this.plan.close();
    this.memory.dropAll();
    this.process.staging.back(this.memory);
  }
}

/** Into how many parts memory is cut at least when not everything fits. */
const LEAST_BLOCKS = 4;

class StoreLoader implements Loader {
  /** Slots of the list's chunks that are in host memory already. */
  #slots: Uint32Array;

  constructor(
    readonly process: SupervisedProcess,
    readonly reading: Reading,
    readonly layout: MemoryLayout,
    readonly list: Uint32Array,
    readonly ahead?: ReadAhead,
  ) {
    this.#slots = new Uint32Array(list.length).fill(NO_SLOT);
  }

  /** Reads everything, and keeps as much of it as there is room for; the rest is read twice, this time to check it. */
  async check({ report, signal }: OperationContext): Promise<void> {
    const { list, process, reading } = this;
    const { memory } = reading;
    const told = progressOf(report, 'read', list.length * CHUNK_BYTES);
    const read = async (own: Uint32Array, slots: Uint32Array) => {
      checkCancelled(signal);
      await this.#read(own, slots);
      told(own.length * CHUNK_BYTES);
    };
    if (list.length > memory.freeSlots) process.staging.widen(memory);
    const kept = await readBlocks(memory, list.length, 0, process.custody.anyDevice, async (at, slots) => {
      await read(list.subarray(at, at + slots.length), slots);
      return true;
    });
    this.#slots.set(kept);
    await this.#eachBlock(list.subarray(kept.length), read);
  }

  async load(report: OperationContext['report']): Promise<void> {
    const { process, layout, list, ahead } = this;
    const { memory } = this.reading;
    const told = progressOf(report, 'write', list.length * CHUNK_BYTES);
    const write = (own: Uint32Array, slots: Uint32Array) =>
      move('load', { process, layout, list: own, memory, slots }, 0, own.length, undefined, told);
    if (ahead) this.#slots = await ahead.slotsOf(layout, list);
    const { filled, own, without } = withSlot(list, this.#slots);
    await write(filled, own);
    await this.#eachBlock(without, async (some, slots) => {
      await this.#read(some, slots);
      await write(some, slots);
    });
  }

  /** Runs for each block of a list with slots for it, as many at once as there are slots. */
  async #eachBlock(all: Uint32Array, run: (list: Uint32Array, slots: Uint32Array) => Promise<void>): Promise<void> {
    if (all.length === 0) return;
    const { memory } = this.reading;
    await memory.ensureFree(1, this.process.custody.anyDevice);
    const slots = memory.take(Math.min(all.length, memory.freeSlots))!;
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
      memory.drop(slots);
    }
  }

  #read(list: Uint32Array, slots: Uint32Array): Promise<void> {
    return readChunks(this.reading, list, slots, this.layout.lengthsOf(list, 0, list.length));
  }
}

/** Chunks of a list that have a slot, these slots, and the chunks without one. */
function withSlot(list: Uint32Array, slots: Uint32Array) {
  // Mostly all have one, and then long lists are not copied.
  if (!slots.includes(NO_SLOT)) return { filled: list, own: slots, without: new Uint32Array(0) };
  const [filled, own, without] = [list.slice(), slots.slice(), new Uint32Array(list.length)];
  let count = 0;
  for (let i = 0; i < list.length; i++) {
    if (slots[i] === NO_SLOT) without[i - count] = list[i]!;
    else {
      filled[count] = list[i]!;
      own[count++] = slots[i]!;
    }
  }
  return {
    filled: filled.subarray(0, count),
    own: own.subarray(0, count),
    without: without.subarray(0, list.length - count),
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
    const slots = slotsIn(layout, list, this.image.slots, (id) => this.#parts.get(id)!.first);
    const { process } = this;
    const memory = process.hostImages.memory;
    const check = async () => {
      if (slots.includes(NO_SLOT)) await this.#spareMemory();
    };
    const load = async (report: OperationContext['report']): Promise<void> => {
      const told = progressOf(report, 'write', list.length * CHUNK_BYTES);
      const { filled, own, without: zero } = withSlot(list, slots);
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
