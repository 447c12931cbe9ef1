/** Chunks that are read before the process is there that they are for: what is there is not read again, what is not is, and nothing else comes into memory. */
import { describe, expect, it } from 'vitest';
import { CHUNK_BYTES, type RestorePlan, type Store } from '../../src/checkpoint/index.js';
import { NO_SLOT } from '../../src/runtime/host-memory.js';
import { MemoryLayout } from '../../src/runtime/layout.js';
import { ReadAhead } from '../../src/runtime/read-ahead.js';
import { StagingPool } from '../../src/runtime/staging.js';
import { resume, suspend } from '../../src/runtime/suspend.js';
import type { FakeApplication, FakeOptions } from './fake-application.js';
import { context, countedReads, expectMemory, memoryStore, plainArena, started } from './operations.js';

/** Allocations of which some chunks are zero, some are short, and some are of the same content. */
async function suspended(options: FakeOptions = {}, chunks = 64) {
  const made = started({ namesOnDevice: true, ...options });
  const { app, data, other } = made;
  const short = app.alloc(100_000);
  app.launch('init', 4, 64, [short, 25_000, 4]);
  app.fill(other, 0, 2 * CHUNK_BYTES, 5 * CHUNK_BYTES);
  app.fill(data, 7, 0, 2 * CHUNK_BYTES);
  if (chunks > 64) {
    const many = app.alloc((chunks - 64) * CHUNK_BYTES);
    app.launch('init', chunks, 256, [many, many.bytes.length / 4, 5]);
  }
  const store = await memoryStore();
  const memory = app.snapshot();
  const { manifest } = await app.process.operate('suspend', context(), (own) =>
    suspend(app.process, store, { command: [] }, own),
  );
  // 64, 16 and 1 of the application, 5 of them zero, 2 short ones; and those that were added.
  return { app, store, memory, id: manifest.id, nonZero: 64 + 16 + 1 - 5 + 2 + (chunks - 64) };
}

const ahead = async (app: FakeApplication, store: Store, id: string, others = 0): Promise<ReadAhead> =>
  ReadAhead.begin(await store.restorePlan(id), app.process.staging, undefined, others);

/** Until nothing has been read for a moment. */
async function quiet(counted: { readonly chunks: number }): Promise<number> {
  for (let before = -1; before !== counted.chunks; ) {
    before = counted.chunks;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return counted.chunks;
}

const resumed = (app: FakeApplication, store: Store, own?: ReadAhead) =>
  app.process.operate('resume', context(), (inner) => resume(app.process, store, inner, own));

describe('what was read ahead', () => {
  it('is not read again, and is what memory was', async () => {
    const { app, store, memory, id, nonZero } = await suspended();
    const counted = countedReads(store);
    const reading = await ahead(app, counted.store, id);
    expect(await quiet(counted)).toBe(nonZero);
    expect(await resumed(app, counted.store, reading)).toMatchObject({ id });
    await reading.close();
    // New memory has anything in it here: the zeros are read, from a name that needs no file.
    expect(counted.chunks).toBe(nonZero + 5);
    expectMemory(app, memory);
  });

  it('may be a part: there is no room for more, somebody else needs it, or the process is there already', async () => {
    const staging = 7 * CHUNK_BYTES;
    const room = (chunks: number) => 2 * (6 * 1024 + chunks) * CHUNK_BYTES;
    for (const { systemFree, others, wait, first } of [
      { systemFree: room(33), others: 0, wait: true, first: 40 },
      { systemFree: room(33) + 1e9, others: 1e9, wait: true, first: 40 },
      { systemFree: room(1000), others: room(1000), wait: true, first: 0 },
      { systemFree: room(1000), others: room(1001), wait: true, first: 0 },
      { systemFree: room(1000), others: 0, wait: false, first: undefined },
    ]) {
      const { app, store, memory, id, nonZero } = await suspended({ staging, systemFree });
      const counted = countedReads(store);
      const reading = await ahead(app, counted.store, id, others);
      if (wait) expect(await quiet(counted)).toBe(first);
      await resumed(app, counted.store, reading);
      await reading.close();
      expect(counted.chunks).toBe(nonZero + 5);
      expectMemory(app, memory);
    }
  });

  it('ends before what cannot be read, which is read again by who needs it', async () => {
    // Blocks of 1,024 chunks: the second one fails, and the third one, which does not, is of no use. The slots of both are needed again.
    const chunks = 2200;
    const { app, store, memory, id, nonZero } = await suspended({ staging: 4096 * CHUNK_BYTES }, chunks);
    const counted = countedReads(store, 1500, 2100);
    const reading = await ahead(app, counted.store, id);
    expect(await quiet(counted)).toBe(nonZero);
    await resumed(app, counted.store, reading);
    expect(reading.memory.size.reserved - reading.memory.size.free).toBe(1024 * CHUNK_BYTES);
    await reading.close();
    expect(counted.chunks).toBe(nonZero + (nonZero - 1024) + 5);
    expectMemory(app, memory);
  });

  it('leaves room for zeros when all the rest is there', async () => {
    for (const staging of [77, 78, 79, 80]) {
      const { app, store, memory, id } = await suspended({ staging: staging * CHUNK_BYTES });
      const reading = await ahead(app, store, id);
      await resumed(app, store, reading);
      await reading.close();
      expectMemory(app, memory);
    }
  });

  it('is not more than was under way when it was to end', async () => {
    const chunks = 8 * 1024;
    const allocation = { id: 1n, address: 0n, size: chunks * CHUNK_BYTES, kind: 'device', label: '' } as const;
    const contents = new Map([[1n, { allocation, names: new Uint8Array(16 * chunks).fill(1) }]]);
    let begun = 0;
    let open = () => {};
    const gate = new Promise<void>((resolve) => (open = resolve));
    const readChunks = (names: Uint8Array) => {
      begun += names.length / 16;
      return gate;
    };
    const plan = { allocations: [allocation], contents, readChunks, close: () => {} } as unknown as RestorePlan;
    const pool = new StagingPool(plainArena, 2 * chunks * CHUNK_BYTES);
    const reading = await ReadAhead.begin(plan, pool, undefined, 0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(begun).toBe(6 * 1024);
    const closed = reading.close();
    open();
    await closed;
    expect(begun).toBe(6 * 1024);
    pool.close();
  });

  it('is no reason to resume when it still cannot be read', async () => {
    const { app, store, memory, id } = await suspended();
    const counted = countedReads(store, 40);
    const reading = await ahead(app, counted.store, id);
    await expect(resumed(app, counted.store, reading)).rejects.toThrow('planted');
    await reading.close();
    await resumed(app, store);
    expectMemory(app, memory);
  });

  it('is nothing to a process of other allocations', async () => {
    const { app, store, id } = await suspended();
    const other = await suspended();
    const reading = await ahead(app, store, id);
    await resumed(other.app, other.store);
    const layout = new MemoryLayout(other.app.process, other.app.process.bridge.allocations.values());
    const known = await reading.slotsOf(
      layout,
      Uint32Array.from({ length: layout.chunks }, (_, chunk) => chunk),
    );
    expect([...known].every((slot) => slot === NO_SLOT)).toBe(true);
    await reading.close();
    expectMemory(other.app, other.memory);
  });

  it('is given back once, with the plan', async () => {
    const { app, store, memory, id } = await suspended({ staging: 100 * CHUNK_BYTES });
    const plan: RestorePlan = await store.restorePlan(id);
    let closed = 0;
    const told = new Proxy(plan, {
      get: (target, name) => {
        if (name === 'close') closed++;
        const value = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const reading = await ReadAhead.begin(told, app.process.staging, undefined, 0);
    await Promise.all([reading.close(), reading.close()]);
    await reading.close();
    expect(closed).toBe(1);
    // All of it is free again.
    const staging = await app.process.staging.take(100);
    expect(staging.freeSlots).toBe(100);
    app.process.staging.back(staging);
    await resumed(app, store);
    expectMemory(app, memory);
  });
});
