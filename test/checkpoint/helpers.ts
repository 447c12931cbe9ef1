/** Stores to test with, and a model of a process whose memory they save. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Allocation,
  CHUNK_BYTES,
  type ChunkRange,
  type Manifest,
  ORIGINS,
  Store,
  type StorePlace,
} from '../../src/checkpoint/index.js';

/** Numbers that are the same in every run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to `limit` − 1. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % limit;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }
}

let memories = 0;

/** A place for a store of one kind, and how to be rid of it. */
export function newPlace(kind: 'mem' | 'directory'): { place: StorePlace; remove: () => void } {
  if (kind === 'mem') return { place: { mem: `test-${process.pid}-${memories++}` }, remove: () => {} };
  const folder = mkdtempSync(join(tmpdir(), 'gcr-store-'));
  return {
    place: { directory: join(folder, 'store') },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** What a checkpoint must give back: content by allocation. */
export type Snapshot = ReadonlyMap<bigint, { readonly allocation: Allocation; readonly bytes: Buffer }>;

interface Memory {
  readonly allocation: Allocation;
  bytes: Buffer;
  readonly dirty: Set<number>;
}

/** A process: allocations whose content changes, and which chunks may have been written since the last checkpoint. */
export class Process {
  readonly memories = new Map<bigint, Memory>();
  #next = 1n;

  constructor(readonly random: Random) {}

  allocate(size: number): void {
    const id = this.#next++;
    const kind = this.random.pick(['device', 'variable', 'host'] as const);
    const label = this.random.pick(['', 'weights', 'größe', `buffer ${id}`]);
    const allocation = { id, address: 0x7f00_0000_0000n + (id << 24n), size, kind, label };
    const chunks = Math.ceil(size / CHUNK_BYTES);
    const dirty = new Set(Array.from({ length: chunks }, (_, i) => i));
    this.memories.set(id, { allocation, bytes: Buffer.alloc(size), dirty });
  }

  /** Writes somewhere; the content that snapshots hold stays as it is. */
  write(memory: Memory): void {
    const { random } = this;
    const { size } = memory.allocation;
    const from = random.below(size);
    const to = Math.min(size, from + 1 + random.below(2 * CHUNK_BYTES));
    const bytes = Buffer.from(memory.bytes);
    // Zeros and contents that come again are what chunk names are for.
    bytes.fill(random.pick([0, 0, 1, 2, random.below(256)]), from, to);
    memory.bytes = bytes;
    for (let chunk = Math.floor(from / CHUNK_BYTES); chunk * CHUNK_BYTES < to; chunk++) memory.dirty.add(chunk);
  }

  /** Something that processes do. */
  step(): void {
    const { random } = this;
    const all = [...this.memories.values()];
    const action = random.below(20);
    if (all.length === 0 || (action === 0 && all.length < 8)) this.allocate(1 + random.below(4 * CHUNK_BYTES));
    else if (action === 1) this.memories.delete(random.pick(all).allocation.id);
    else if (action === 2) {
      this.memories.delete(random.pick(all).allocation.id);
      this.allocate(random.pick([1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]));
    } else this.write(random.pick(all));
  }

  snapshot(): Snapshot {
    return new Map([...this.memories].map(([id, { allocation, bytes }]) => [id, { allocation, bytes }]));
  }

  /** Saves what may have changed, and some that did not, in every way that a session takes bytes. */
  async save(store: Store, parent: string | null, kind: 'full' | 'increment'): Promise<Manifest> {
    const { random } = this;
    const session = await store.begin({ kind, parent, kernels: [], note: `step of ${this.memories.size}` });
    for (const { allocation, bytes, dirty } of this.memories.values()) {
      const chunks = Math.ceil(allocation.size / CHUNK_BYTES);
      if (random.below(4) === 0) dirty.add(random.below(chunks));
      const ranges: ChunkRange[] = [...dirty]
        .sort((a, b) => a - b)
        .map((from) => ({ from, count: 1, origin: random.pick(ORIGINS) }));
      const wanted =
        kind === 'full'
          ? [bytes]
          : ranges.map(({ from }) => bytes.subarray(from * CHUNK_BYTES, (from + 1) * CHUNK_BYTES));
      const way = random.below(3);
      await session.add(allocation, {
        ...(kind === 'increment' && { ranges }),
        bytes:
          way === 0
            ? (_: Allocation, from: number, to: number) => bytes.subarray(from, to)
            : way === 1
              ? Buffer.concat(wanted)
              : inPieces(Buffer.concat(wanted), 1 + random.below(100_000)),
      });
      dirty.clear();
    }
    return session.commit();
  }
}

async function* inPieces(bytes: Buffer, length: number) {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** Everything that a checkpoint gives back. */
export async function restore(store: Store, id: string): Promise<Snapshot> {
  const plan = await store.restorePlan(id);
  try {
    const snapshot = new Map(
      plan.allocations.map((allocation) => [allocation.id, { allocation, bytes: Buffer.alloc(allocation.size, 0xee) }]),
    );
    for await (const { allocation, from, bytes } of plan.pieces()) snapshot.get(allocation.id)!.bytes.set(bytes, from);
    return snapshot;
  } finally {
    plan.close();
  }
}

/** Whether two snapshots are the same to the byte; says the first difference. */
export function difference(found: Snapshot, expected: Snapshot): string | undefined {
  if (found.size !== expected.size) return `${found.size} allocations instead of ${expected.size}`;
  for (const [id, { allocation, bytes }] of expected) {
    const other = found.get(id);
    if (!other) return `allocation ${id} is missing`;
    for (const key of ['address', 'size', 'kind', 'label'] as const)
      if (other.allocation[key] !== allocation[key]) return `${key} of ${id} is ${other.allocation[key]}`;
    if (!bytes.equals(other.bytes)) return `bytes of ${id} differ`;
  }
  return undefined;
}

/** A store with a random history; `snapshots` says what each checkpoint must give back, in order. */
export async function history(
  place: StorePlace,
  seed: number,
  checkpoints: number,
): Promise<{ store: Store; snapshots: Map<string, Snapshot>; process: Process }> {
  const store = await Store.open(place, { create: true });
  const random = new Random(seed);
  const process = new Process(random);
  for (let i = 0; i < 3; i++) process.allocate(1 + random.below(4 * CHUNK_BYTES));
  const snapshots = new Map<string, Snapshot>();
  let parent: string | null = null;
  for (let i = 0; i < checkpoints; i++) {
    for (let steps = random.below(6); steps > 0; steps--) process.step();
    const kind = parent === null || random.below(40) === 0 ? 'full' : 'increment';
    const { id }: Manifest = await process.save(store, kind === 'full' && random.below(2) === 0 ? null : parent, kind);
    snapshots.set(id, process.snapshot());
    parent = id;
  }
  return { store, snapshots, process };
}
