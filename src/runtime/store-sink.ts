/**
 * A checkpoint on its way to a store. What fits into the staging memory is copied there as a whole and written when the application has gone on; of more than
 * that each block is written while the next ones are copied, with the application held until the last is in host memory. Names are those that
 * were compared, so nothing is hashed again.
 */
import { hostname } from 'node:os';
import {
  CHUNK_BYTES,
  type Manifest,
  mapAhead,
  NAME_BYTES,
  type ProcessImage,
  type Store,
  type WriteSession,
} from '../checkpoint/index.js';
import type { HostMemory } from './host-memory.js';
import { LaunchStatistics } from './launch-statistics.js';
import { positionOf } from './layout.js';
import { gathered, withoutZero } from './names.js';
import { type Delta, type Plan, storedOrigins } from './plan.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import type { Sink } from './sink.js';
import { move, progressOf, type Transfer } from './transfer.js';

/** Chunks that are written as one. */
const BLOCK = 1024;
/** Blocks that are written at once. */
const WINDOW = 6;
/** Blocks that staging memory is cut into at least when not everything fits. */
const LEAST_BLOCKS = 4;

export interface StoreSinkOptions {
  readonly command: readonly string[];
  readonly note?: string;
  readonly image?: () => Promise<ProcessImage>;
}

export class StoreSink implements Sink {
  #plan: Plan | undefined;
  #delta: Delta | undefined;
  #statistics: () => LaunchStatistics = () => new LaunchStatistics();
  /** What is saved: chunks of zeros have a name and need no more. */
  #list = new Uint32Array(0);
  #slots = new Uint32Array(0);
  #session: WriteSession | undefined;
  #written = 0;
  /** Copies and writes that are under way. */
  readonly #running = new Set<Promise<unknown>>();

  /** @param memory all of which this may use */
  constructor(
    readonly process: SupervisedProcess,
    readonly store: Store,
    readonly memory: HostMemory,
    readonly options: StoreSinkOptions,
    readonly context: OperationContext,
  ) {}

  get #aside(): boolean {
    return this.#list.length <= this.#slots.length;
  }

  get #totalBytes(): number {
    return this.#list.length * CHUNK_BYTES;
  }

  async begin(plan: Plan, delta: Delta, statistics: () => LaunchStatistics): Promise<void> {
    this.#plan = plan;
    this.#statistics = statistics;
    this.#delta = delta;
    this.#list = withoutZero(delta.table.names, delta.changed);
    this.#slots = this.memory.take(Math.min(this.#list.length, this.memory.freeSlots))!;
    if (!this.#aside) this.#session = await this.#begun();
  }

  async copyFromRecorder(): Promise<void> {
    await this.#copy(0, this.#recorderEnd);
    // The slots of what is being written are wanted for the rest.
    await Promise.all(this.#running);
  }

  copyFromDevices(): Promise<void> {
    return this.#copy(this.#recorderEnd, this.#list.length);
  }

  get #recorderEnd(): number {
    return positionOf(this.#list, this.#plan!.layout.recorderChunks);
  }

  async #copy(from: number, to: number): Promise<void> {
    const { report } = this.context;
    const told = progressOf(report, 'copy', this.#totalBytes, from * CHUNK_BYTES);
    if (!this.#aside) return this.#stream(from, to, told);
    const transfer = { process: this.process, layout: this.#plan!.layout, list: this.#list, memory: this.memory };
    await this.#track(this.#save({ ...transfer, slots: this.#slots }, from, to, told));
  }

  #save(transfer: Transfer, from: number, to: number, told: (bytes: number) => void): Promise<void> {
    return move('save', transfer, from, to, this.context.signal, told, this.#delta!.table.names);
  }

  /** Copies block after block, each written and its slots used again; resolves when all are in host memory. */
  #stream(from: number, to: number, told: (bytes: number) => void): Promise<void> {
    if (from === to) return Promise.resolve();
    const size = Math.max(1, Math.min(BLOCK, Math.floor(this.#slots.length / LEAST_BLOCKS)));
    const free: number[] = [];
    for (let at = 0; at + size <= this.#slots.length; at += size) free.push(at);
    const blocks: number[] = [];
    for (let at = from; at < to; at += size) blocks.push(at);
    let left = blocks.length;
    let allCopied: () => void = () => {};
    const copied = new Promise<void>((resolve) => (allCopied = resolve));
    const run = async (first: number) => {
      const end = Math.min(to, first + size);
      const place = free.pop()!;
      const list = this.#list.subarray(first, end);
      const slots = this.#slots.subarray(place, place + list.length);
      const transfer = { process: this.process, layout: this.#plan!.layout, list, memory: this.memory, slots };
      await this.#save(transfer, 0, list.length, told);
      if (--left === 0) allCopied();
      await this.#writeBlock(list, slots);
      free.push(place);
    };
    const all = async () => {
      for await (const _ of mapAhead(blocks, free.length, run));
    };
    return Promise.race([copied, this.#track(all())]);
  }

  async #writeBlock(list: Uint32Array, slots: Uint32Array): Promise<void> {
    const { names } = this.#delta!.table;
    for (let at = 0; at < list.length; ) {
      const count = this.memory.runAt(slots, at, list.length - at);
      const lengths = this.#plan!.layout.lengthsOf(list, at, at + count);
      await this.#session!.store(this.memory.view(slots[at]!, count), gathered(names, list, at, at + count), lengths);
      at += count;
    }
    this.#written += list.length;
    this.context.report({ step: 'write', done: this.#written * CHUNK_BYTES, total: this.#totalBytes });
  }

  async write(): Promise<void> {
    this.context.report({ step: 'write', done: this.#written * CHUNK_BYTES, total: this.#totalBytes });
    if (!this.#aside) {
      await Promise.all(this.#running);
      return;
    }
    this.#session = await this.#begun();
    const blocks: number[] = [];
    for (let at = 0; at < this.#list.length; at += BLOCK) blocks.push(at);
    const write = (at: number) => {
      const end = Math.min(this.#list.length, at + BLOCK);
      return this.#writeBlock(this.#list.subarray(at, end), this.#slots.subarray(at, end));
    };
    for await (const _ of mapAhead(blocks, WINDOW, write));
  }

  async commit(): Promise<Manifest> {
    const session = this.#session!;
    const { layout, kind } = this.#plan!;
    const { table, changed } = this.#delta!;
    for (const { stored, first, count } of layout.parts) {
      const own = changed.subarray(positionOf(changed, first), positionOf(changed, first + count));
      // Without a parent a list has all chunks, and its names can stay where they are.
      const names =
        kind === 'full'
          ? table.names.subarray(NAME_BYTES * first, NAME_BYTES * (first + count))
          : gathered(table.names, own);
      const origins = storedOrigins(this.#plan!, own);
      session.addStored(stored, { chunks: own.map((chunk) => chunk - first), origins, names });
    }
    const image = await this.options.image?.();
    this.context.report({ step: 'commit' });
    this.#session = undefined;
    return session.commit(image);
  }

  async #begun(): Promise<WriteSession> {
    const { process, options, context } = this;
    const { kind, parent } = this.#plan!;
    const device = process.hello.devices[process.custody.deviceNumbers[0]!];
    const statistics = this.#statistics();
    return this.store.begin({
      kind,
      parent: parent?.id ?? null,
      device: device
        ? {
            name: device.name,
            uuid: Buffer.from(device.uuid).toString('hex'),
            driver: String(process.hello.driver),
            memoryBytes: device.memory,
          }
        : null,
      process: { pid: process.pid, command: options.command, host: hostname() },
      templates: process.images.hashes,
      launches: statistics.byVerdict,
      kernels: statistics.kernels,
      ...(options.note !== undefined && { note: options.note }),
      signal: context.signal,
    });
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    this.#running.add(promise);
    promise.catch(() => {});
    return promise;
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#running);
    await this.#session?.abort().catch(() => {});
    this.memory.drop(this.#slots);
    this.#slots = new Uint32Array(0);
  }
}
