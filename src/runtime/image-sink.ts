/**
 * A checkpoint on its way to host memory. Chunks that changed take new slots, all others the parent's; nothing is copied twice. The image exists from the
 * commit on; whatever fails before gives its slots back.
 */
import { CHUNK_BYTES, type Manifest, ORIGINS } from '../checkpoint/index.js';
import { RuntimeError } from './errors.js';
import type { HostImage, HostImages } from './host-images.js';
import { NO_SLOT } from './host-memory.js';
import { LaunchStatistics } from './launch-statistics.js';
import { positionOf } from './layout.js';
import { withoutZero } from './names.js';
import { type Delta, type Plan, storedOrigins } from './plan.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import type { Saved, Sink } from './sink.js';
import { progressOf, saveNamed, type Transfer } from './transfer.js';

export class ImageSink implements Sink {
  #plan: Plan | undefined;
  #delta: Delta | undefined;
  #statistics: () => LaunchStatistics = () => new LaunchStatistics();
  #list = new Uint32Array(0);
  #fresh = new Uint32Array(0);
  #running: Promise<unknown> = Promise.resolve();

  constructor(
    readonly process: SupervisedProcess,
    readonly images: HostImages,
    readonly note: string | undefined,
    readonly context: OperationContext,
  ) {}

  async begin(plan: Plan, delta: Delta, statistics: () => LaunchStatistics): Promise<void> {
    this.#plan = plan;
    this.#statistics = statistics;
    this.#delta = delta;
    this.#list = withoutZero(delta.table.names, delta.changed);
    const { memory } = this.images;
    // What was estimated before may have been too little; making room now takes longer, but an increment is not lost for it.
    if (this.#list.length > memory.freeSlots) await memory.ensureFree(this.#list.length);
    const slots = memory.take(this.#list.length);
    if (!slots) throw new RuntimeError('refused', 'GCR8115', 'host memory was taken by somebody else', 'try again');
    this.#fresh = slots;
  }

  copyFromRecorder(): Promise<void> {
    return this.#copy(0, this.#recorderEnd);
  }

  copyFromDevices(): Promise<void> {
    return this.#copy(this.#recorderEnd, this.#list.length);
  }

  get #recorderEnd(): number {
    return positionOf(this.#list, this.#plan!.layout.recorderChunks);
  }

  get #transfer(): Transfer {
    const { layout } = this.#plan!;
    return { process: this.process, layout, list: this.#list, memory: this.images.memory, slots: this.#fresh };
  }

  #copy(from: number, to: number): Promise<void> {
    const { report, signal } = this.context;
    const told = progressOf(report, 'copy', this.#list.length * CHUNK_BYTES, from * CHUNK_BYTES);
    const moved = saveNamed(this.#transfer, from, to, this.#delta!.table.names, signal, told);
    this.#running = moved.catch(() => {});
    return moved;
  }

  async write(): Promise<void> {}

  async commit(): Promise<Saved> {
    const { layout, parent, kind } = this.#plan!;
    const { table, changed } = this.#delta!;
    const slots = new Uint32Array(layout.chunks).fill(NO_SLOT);
    const before = parent && this.images.get(parent.id);
    if (before)
      for (const { live, first, count } of layout.parts) {
        const place = before.table.places.get(live.number);
        if (place?.size === live.size) slots.set(before.slots.subarray(place.first, place.first + count), first);
      }
    for (let i = 0; i < changed.length; i++) slots[changed[i]!] = NO_SLOT;
    // Those that stay have one more user now; the new ones have theirs.
    this.images.memory.share(slots);
    for (let i = 0; i < this.#list.length; i++) slots[this.#list[i]!] = this.#fresh[i]!;
    const id = this.images.newId();
    const saved = this.#saved(id, slots, kind, parent?.id ?? null);
    const image: HostImage = {
      id,
      owner: this.process,
      saved,
      parts: layout.parts.map(({ stored, live, first, count }) => ({
        allocation: stored,
        number: live.number,
        first,
        count,
      })),
      slots,
      table,
    };
    this.images.add(image);
    this.#fresh = new Uint32Array(0);
    return saved;
  }

  #saved(id: string, slots: Uint32Array, kind: Saved['kind'], parent: string | null): Saved {
    const { layout } = this.#plan!;
    const { changed } = this.#delta!;
    const statistics = this.#statistics();
    const byOrigin = new Array<number>(ORIGINS.length).fill(0);
    for (const origin of storedOrigins(this.#plan!, changed)) byOrigin[origin]!++;
    let zero = 0;
    for (let chunk = 0; chunk < slots.length; chunk++) if (slots[chunk] === NO_SLOT) zero++;
    return {
      id,
      created: new Date().toISOString(),
      parent,
      kind,
      allocations: { count: layout.parts.length, bytes: layout.bytes },
      chunks: {
        listed: changed.length,
        changed: changed.length,
        zero,
        stored: this.#list.length,
        storedBytes: layout.bytesOf(this.#list),
      },
      origins: Object.fromEntries(ORIGINS.map((origin, i) => [origin, byOrigin[i]!])) as Manifest['origins'],
      launches: statistics.byVerdict,
      kernels: statistics.kernels,
      ...(this.note !== undefined && { note: this.note }),
    };
  }

  async close(): Promise<void> {
    await this.#running;
    this.images.memory.drop(this.#fresh);
    this.#fresh = new Uint32Array(0);
  }
}
