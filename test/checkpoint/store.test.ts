/** A store's promises, over both backends: what was committed comes back to the byte, whatever is added or deleted. */
import { Writable } from 'node:stream';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { CHUNK_BYTES, type Manifest, Store, type StorePlace } from '../../src/checkpoint/index.js';
import { hashChunks } from '../../src/native/index.js';
import { difference, history, newPlace, Process, Random, restore, type Snapshot } from './helpers.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function expectExact(store: Store, snapshots: ReadonlyMap<string, Snapshot>, ids: Iterable<string>) {
  for (const id of ids) expect(difference(await restore(store, id), snapshots.get(id)!), id).toBeUndefined();
}

async function exported(store: Store, id: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _, done) {
      parts.push(Buffer.from(chunk));
      done();
    },
  });
  await store.exportTo(id, stream);
  return Buffer.concat(parts);
}

describe.each(['mem', 'directory'] as const)('a store in %s', (kind) => {
  const place = (): StorePlace => {
    const { place, remove } = newPlace(kind);
    cleanups.push(remove);
    return place;
  };
  const open = async (where = place()) => {
    const store = await Store.open(where, { create: true });
    cleanups.push(() => store.close());
    return store;
  };
  const past = async (seed: number, checkpoints: number) => {
    const made = await history(place(), seed, checkpoints);
    cleanups.push(() => made.store.close());
    return made;
  };
  const one = { id: 1n, address: 0x1000n, size: 3 * CHUNK_BYTES + 5, kind: 'device', label: 'x' } as const;
  const filled = (value: number) => Buffer.alloc(one.size, value);

  it('gives back every checkpoint of a history of more than a hundred increments', async () => {
    const { store, snapshots } = await past(1, 120);
    const { checkpoints, damaged } = await store.list();
    expect(damaged).toEqual([]);
    expect(checkpoints.map(({ id }) => id)).toEqual([...snapshots.keys()]);
    await expectExact(store, snapshots, snapshots.keys());
    expect(await store.verify({ readData: true })).toEqual({
      problems: [],
      garbage: [],
      checkpoints: 120,
      unsound: [],
    });
  }, 120_000);

  it('keeps the rest exact when anything is pruned', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 1e6 }),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 3 }),
        async (seed, lasts) => {
          const { store, snapshots, process } = await past(seed, 14);
          for (const last of lasts) {
            const before = (await store.list()).checkpoints.map(({ id }) => id);
            const plan = await store.prune({ rules: { last }, dryRun: true });
            expect((await store.list()).checkpoints.map(({ id }) => id)).toEqual(before);
            const { kept, removed, rewritten } = await store.prune({ rules: { last } });
            expect({ kept, removed, rewritten }).toEqual({
              kept: plan.kept,
              removed: plan.removed,
              rewritten: plan.rewritten,
            });
            expect(kept).toEqual(before.slice(-last));
            expect((await store.list()).checkpoints.map(({ id }) => id)).toEqual(kept);
            await expectExact(store, snapshots, kept);
            for (let steps = 0; steps < 3; steps++) process.step();
            const { id } = await process.save(store, kept.at(-1)!, 'increment');
            snapshots.set(id, process.snapshot());
            await expectExact(store, snapshots, [id]);
          }
          expect((await store.verify({ readData: true })).problems).toEqual([]);
          store.close();
        },
      ),
      { numRuns: kind === 'mem' ? 12 : 6, seed: 7 },
    );
  }, 240_000);

  it('merges what stays in the middle of a chain', async () => {
    const store = await open();
    const save = async (parent: Manifest | null, value: number, chunk?: number) => {
      const session = await store.begin({
        kind: parent ? 'increment' : 'full',
        parent: parent?.id ?? null,
        launches: { exact: 1, bounded: 0, allocation: 0, contract: 0, unknown: 2 },
        kernels: [{ name: `k${value}`, verdict: 'exact', launches: 1, bytes: 1, reason: '' }],
      });
      const ranges = chunk === undefined ? {} : { ranges: [{ from: chunk, count: 1, origin: 'exact' as const }] };
      const content = chunk === undefined ? filled(value) : filled(value).subarray(0, chunk === 3 ? 5 : CHUNK_BYTES);
      await session.add(one, { ...ranges, bytes: content });
      return session.commit();
    };
    const a = await save(null, 1);
    const b = await save(a, 2, 0);
    const c = await save(b, 3, 1);
    const d = await save(c, 4, 0);
    expect([a, b, c, d].map(({ map, chunks }) => [map.depth, chunks.listed])).toEqual([
      [0, 4],
      [1, 1],
      [2, 1],
      [3, 1],
    ]);
    const expected = async (id: string, ...values: number[]) => {
      const { bytes } = (await restore(store, id)).get(1n)!;
      expect([0, 1, 2, 3].map((chunk) => bytes[chunk * CHUNK_BYTES])).toEqual(values);
    };
    const hour = (manifest: Manifest) => Date.parse(manifest.created);
    expect(hour(a)).toBeLessThanOrEqual(hour(d));
    expect(await store.prune({ rules: { last: 1 }, dryRun: true })).toMatchObject({ rewritten: [d.id] });
    await expected(d.id, 4, 3, 1, 1);
    // An increment on b keeps the chain a, b, e; pruned to two, e hangs on d.
    const e = await save(d, 5, 3);
    const { rewritten } = await store.prune({ rules: { last: 2 } });
    expect(rewritten).toEqual([d.id]);
    const merged = await store.manifest(d.id);
    expect(merged).toMatchObject({
      parent: null,
      map: { complete: true, depth: 0 },
      launches: { exact: 4, unknown: 8 },
      kernels: [{ name: 'k1' }, { name: 'k2' }, { name: 'k3' }, { name: 'k4' }],
    });
    await expected(d.id, 4, 3, 1, 1);
    await expected(e.id, 4, 3, 1, 5);
  });

  it('takes allocations whose chunks were stored by name', async () => {
    const store = await open();
    const content = filled(3);
    const names = hashChunks(content);
    const slots = new Uint8Array(4 * CHUNK_BYTES);
    slots.set(content);
    const lengths = new Uint32Array([CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, content.length - 3 * CHUNK_BYTES]);
    const full = await store.begin({ kind: 'full' });
    await full.store(slots, names, lengths);
    full.addStored(one, { chunks: new Uint32Array([0, 1, 2, 3]), origins: new Uint8Array(4), names });
    const first = await full.commit();
    expect(first).toMatchObject({ map: { complete: true }, chunks: { listed: 4 } });
    // Of two chunks one is as it was; the other becomes zero, and need not be stored.
    const next = await store.begin({ kind: 'increment', parent: first.id });
    const changed = new Uint8Array(32);
    changed.set(names.subarray(0, 16));
    next.addStored(one, { chunks: new Uint32Array([0, 2]), origins: new Uint8Array([1, 1]), names: changed });
    const second = await next.commit();
    expect(second.chunks).toMatchObject({ listed: 1, zero: 1, stored: 0 });
    const expected = Buffer.from(content);
    expected.fill(0, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES);
    expect(Buffer.compare((await restore(store, second.id)).get(1n)!.bytes, expected)).toBe(0);
    const wrong = [
      { chunks: new Uint32Array([0, 2]), origins: new Uint8Array(1), names: changed },
      { chunks: new Uint32Array([2, 0]), origins: new Uint8Array(2), names: changed },
      { chunks: new Uint32Array([0, 4]), origins: new Uint8Array(2), names: changed },
      { chunks: new Uint32Array([0, 1]), origins: new Uint8Array([0, 99]), names: changed },
    ];
    for (const list of wrong) {
      const session = await store.begin({ kind: 'increment', parent: second.id });
      expect(() => session.addStored(one, list)).toThrow(/GCR7017/);
      await expect(session.commit()).rejects.toThrow(/GCR7017/);
    }
    const orphan = await store.begin({ kind: 'full' });
    expect(() =>
      orphan.addStored(one, { chunks: new Uint32Array([0]), origins: new Uint8Array(1), names: names.subarray(0, 16) }),
    ).toThrow(/all its chunks are needed/);
    await orphan.abort();
    expect((await store.verify({ readData: true })).problems).toEqual([]);
  });

  it('stores equal chunks once and zero chunks not at all, and lists only what differs from the parent', async () => {
    const store = await open();
    const first = await store.begin({ kind: 'full' });
    await first.add(one, { bytes: filled(7) });
    await first.add({ ...one, id: 2n, size: 2 * CHUNK_BYTES }, { bytes: filled(0).subarray(0, 2 * CHUNK_BYTES) });
    const a = await first.commit();
    expect(a.chunks).toEqual({ listed: 6, changed: 6, zero: 2, stored: 2, storedBytes: CHUNK_BYTES + 5 });
    const second = await store.begin({ kind: 'increment', parent: a.id });
    const bytes = filled(7);
    bytes[CHUNK_BYTES] = 8;
    await second.add(one, {
      ranges: [{ from: 0, count: 3, origin: 'bounded' }],
      bytes: bytes.subarray(0, 3 * CHUNK_BYTES),
    });
    const b = await second.commit();
    expect(b).toMatchObject({
      parent: a.id,
      sequence: a.sequence + 1,
      allocations: { count: 1, bytes: one.size },
      chunks: { listed: 1, changed: 1, zero: 0, stored: 1, storedBytes: CHUNK_BYTES },
      origins: { none: 0, bounded: 1 },
    });
    expect(await store.diff(a.id, b.id)).toMatchObject({
      changedChunks: 1,
      changedBytes: CHUNK_BYTES,
      allocations: [
        { allocation: one, change: 'changed', ranges: [[1, 1]] },
        { allocation: { id: 2n }, change: 'removed' },
      ],
    });
  });

  it('writes a complete map when lists have grown longer than one, and never a chain longer than 64', async () => {
    const store = await open();
    const big = { ...one, size: 200 * CHUNK_BYTES };
    const save = async (parent: Manifest | null, chunks: number, value: number) => {
      const session = await store.begin({ kind: parent ? 'increment' : 'full', parent: parent?.id ?? null });
      const ranges = parent ? { ranges: [{ from: 0, count: chunks }] } : {};
      await session.add(big, { ...ranges, bytes: Buffer.alloc((parent ? chunks : 200) * CHUNK_BYTES, value) });
      return session.commit();
    };
    let last = await save(null, 200, 1);
    const depths: number[] = [];
    for (let i = 0; i < 4; i++) {
      last = await save(last, 90, 10 + i);
      depths.push(last.map.depth);
    }
    expect(depths).toEqual([1, 2, 0, 1]);
    expect(last.chunks.changed).toBe(90);
    for (let i = 0; i < 70; i++) {
      last = await save(last, 1, 20 + i);
      depths.push(last.map.depth);
    }
    expect(Math.max(...depths)).toBe(64);
    expect(depths.filter((depth) => depth === 0)).toHaveLength(2);
    const { bytes } = (await restore(store, last.id)).get(1n)!;
    expect([bytes[0], bytes[CHUNK_BYTES], bytes[100 * CHUNK_BYTES]]).toEqual([89, 13, 1]);
  }, 120_000);

  it('reads any stretch', async () => {
    const { store, snapshots } = await past(3, 6);
    const [id, snapshot] = [...snapshots].at(-1)!;
    const plan = await store.restorePlan(id);
    const random = new Random(9);
    for (const { allocation, bytes } of snapshot.values()) {
      for (let i = 0; i < 20; i++) {
        const from = random.below(allocation.size);
        const to = from + random.below(allocation.size - from + 1);
        const target = Buffer.alloc(to - from);
        await plan.read(allocation.id, from, to, target);
        expect(target.equals(bytes.subarray(from, to))).toBe(true);
      }
      await expect(plan.read(allocation.id, 0, allocation.size + 1, Buffer.alloc(0))).rejects.toThrow('GCR7017');
    }
    plan.close();
  });

  it('takes an exported checkpoint into another store, once', async () => {
    const { store, snapshots } = await past(4, 12);
    const other = await open();
    const ids = [...snapshots.keys()];
    for (const id of [ids.at(-1)!, ids[0]!, ids[5]!]) {
      const bytes = await exported(store, id);
      async function* pieces() {
        for (let at = 0; at < bytes.length; at += 77_777) yield bytes.subarray(at, at + 77_777);
      }
      expect(await other.importFrom(pieces(), 'test')).toMatchObject({ known: false, manifest: { id } });
      expect(await other.importFrom(pieces(), 'test')).toMatchObject({ known: true });
    }
    expect((await other.list()).checkpoints.map(({ id, sequence }) => [id, sequence])).toEqual([
      [ids.at(-1)!, 1],
      [ids[0]!, 2],
      [ids[5]!, 3],
    ]);
    await expectExact(other, snapshots, [ids.at(-1)!, ids[0]!, ids[5]!]);
    expect((await other.verify({ readData: true })).problems).toEqual([]);
  });

  it('finds checkpoints by the beginning of their id and by place', async () => {
    const { store, snapshots } = await past(5, 5);
    const ids = [...snapshots.keys()];
    expect(await store.find('latest')).toBe(ids[4]);
    expect(await store.find('latest~2')).toBe(ids[2]);
    expect(await store.find(ids[1]!)).toBe(ids[1]);
    expect(await store.find(ids[1]!.slice(0, 12))).toBe(ids[1]);
    for (const name of ['latest~5', '', 'x', '../x', `${ids[0]}0`])
      await expect(store.find(name), name).rejects.toThrow('GCR7011');
  });

  it('orders by sequence, not by clocks', async () => {
    const store = await open();
    const process = new Process(new Random(1));
    process.allocate(10);
    const now = Date.now;
    const ids: string[] = [];
    try {
      for (const hours of [0, -30, -60]) {
        Date.now = () => now() + hours * 3_600_000;
        const [RealDate, shift] = [Date, hours * 3_600_000];
        globalThis.Date = class extends RealDate {
          constructor() {
            super(now() + shift);
          }
        } as DateConstructor;
        Object.assign(globalThis.Date, { now: Date.now, parse: RealDate.parse });
        try {
          ids.push((await process.save(store, ids.at(-1) ?? null, ids.length === 0 ? 'full' : 'increment')).id);
        } finally {
          globalThis.Date = RealDate;
        }
      }
    } finally {
      Date.now = now;
    }
    const { checkpoints } = await store.list();
    expect(checkpoints.map(({ id }) => id)).toEqual(ids);
    expect(checkpoints[0]!.created > checkpoints[1]!.created).toBe(true);
    expect(await store.find('latest')).toBe(ids[2]);
    expect((await store.prune({ rules: { daily: 2 }, dryRun: true })).kept).toEqual([ids[1], ids[2]]);
  });

  it('lets two writers work at once, and nobody prune meanwhile', async () => {
    const where = place();
    const [a, b] = [await open(where), await open(where)];
    const [first, second] = [await a.begin({ kind: 'full' }), await b.begin({ kind: 'full' })];
    await Promise.all([first.add(one, { bytes: filled(1) }), second.add(one, { bytes: filled(2) })]);
    await expect(a.prune({ rules: { last: 1 }, lockTimeoutMs: 0 })).rejects.toThrow('GCR7014');
    const made = await Promise.all([first.commit(), second.commit()]);
    const { checkpoints } = await a.list();
    expect(new Set(checkpoints.map(({ id }) => id))).toEqual(new Set(made.map(({ id }) => id)));
    for (const [i, { id }] of made.entries())
      expect((await restore(b, id)).get(1n)!.bytes.equals(filled(i + 1))).toBe(true);
    const third = await a.begin({ kind: 'increment', parent: made[0]!.id });
    await third.add(one, { ranges: [], bytes: [] });
    expect((await third.commit()).sequence).toBeGreaterThan(Math.max(...made.map(({ sequence }) => sequence)));
  });

  it('leaves nothing of a session that is given up, or whose reader fails', async () => {
    const store = await open();
    const before = await store.begin({ kind: 'full' });
    await before.add(one, { bytes: filled(1) });
    const { id } = await before.commit();
    const given = await store.begin({ kind: 'increment', parent: id });
    await given.add(one, { bytes: filled(9) });
    await given.abort();
    const failing = await store.begin({ kind: 'increment', parent: id });
    const read = async () => {
      throw new Error('device lost');
    };
    await expect(failing.add(one, { bytes: read })).rejects.toThrow('device lost');
    await expect(failing.commit()).rejects.toThrow('GCR7017');
    const stopped = new AbortController();
    const interrupted = await store.begin({ kind: 'increment', parent: id, signal: stopped.signal });
    await interrupted.add(one, { bytes: filled(3) });
    stopped.abort();
    await expect(interrupted.commit()).rejects.toThrow();
    expect((await store.list()).checkpoints.map((manifest) => manifest.id)).toEqual([id]);
    // The lock is free again.
    expect((await store.prune({ rules: { last: 1 } })).kept).toEqual([id]);
    expect((await restore(store, id)).get(1n)!.bytes.equals(filled(1))).toBe(true);
  });

  it.each<[string, Parameters<Process['save']> | object]>([
    [
      'ranges out of order',
      {
        ranges: [
          { from: 1, count: 1 },
          { from: 0, count: 1 },
        ],
      },
    ],
    ['a range outside', { ranges: [{ from: 3, count: 2 }] }],
    ['too few chunks of a new allocation', { ranges: [{ from: 0, count: 1 }], bytes: Buffer.alloc(CHUNK_BYTES) }],
    ['too few bytes', { bytes: Buffer.alloc(10) }],
    ['too many bytes', { bytes: Buffer.alloc(one.size + 1) }],
    ['no bytes', {}],
  ])('refuses %s', async (_, content) => {
    const store = await open();
    const session = await store.begin({ kind: 'full' });
    await expect(session.add(one, content as object)).rejects.toThrow('GCR7017');
    await session.abort();
  });

  it('refuses a parent that is not there, and an increment of nothing', async () => {
    const store = await open();
    await expect(store.begin({ kind: 'increment', parent: '0123456789abcdef' })).rejects.toThrow('GCR7011');
    await expect(store.begin({ kind: 'increment' })).rejects.toThrow('GCR7017');
    await expect(store.begin({ kind: 'full', note: 'x'.repeat(4097) })).rejects.toThrow('GCR7017');
  });

  it('says that there is no store', async () => {
    await expect(Store.open(place())).rejects.toThrow('GCR7010');
  });
});
