/** How memory is named and moved: verification by default, more than fits aside, failures of the device, and checkpoints in host memory. */
import { describe, expect, it } from 'vitest';
import { type BeginOptions, CHUNK_BYTES } from '../../src/checkpoint/index.js';
import { pageCacheBytes } from '../../src/runtime/available-memory.js';
import { dropImage } from '../../src/runtime/host-images.js';
import { HostMemory, NO_SLOT } from '../../src/runtime/host-memory.js';
import { othersThan, runLength } from '../../src/runtime/names.js';
import { Room } from '../../src/runtime/room.js';
import { resume, suspend } from '../../src/runtime/suspend.js';
import { random } from '../sim/helpers.js';
import { FakeApplication } from './fake-application.js';
import {
  context,
  countedReads,
  expectMemory,
  expectSaved,
  goBack,
  MIB,
  memoryStore,
  plainArena,
  returnsAtOnce,
  save,
  started,
} from './operations.js';

describe('where the device computes names', () => {
  it('every increment is compared and complete, unless that is not wanted', async () => {
    for (const verify of [undefined, false]) {
      const app = new FakeApplication({ plant: returnsAtOnce, namesOnDevice: true });
      const data = app.alloc(MIB);
      const store = await memoryStore();
      await save(app, store);
      app.launch('stir_part', 1, 64, [data, 5 * 16_384, 64, 3]);
      const result = await save(app, store, verify === undefined ? {} : { verify });
      expect(result.missedCount).toBe(verify === undefined ? 1 : 0);
      expect(result.manifest.chunks.changed).toBe(verify === undefined ? 1 : 0);
      if (verify === undefined) {
        expect(result).toMatchObject({ verified: 'device', missed: [{ chunk: 5, kernels: ['stir_part'] }] });
        await expectSaved(app, store, result.manifest.id, app.snapshot());
      }
    }
  });

  it('only what changed is copied, and only what differs comes back', async () => {
    const { app, data } = started({ namesOnDevice: true });
    const store = await memoryStore();
    await save(app, store);
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    Object.assign(app.moved, { names: 0, save: 0, load: 0 });
    const { manifest, dirtyChunks } = await save(app, store);
    // What is copied is named once more, to be sure that nobody wrote it meanwhile.
    expect({ ...app.moved, dirtyChunks }).toEqual({ names: 82, save: 1, load: 0, dirtyChunks: 1 });
    app.launch('stir_part', 8, 256, [data, 0, 2048, 5]);
    expect(await goBack(app, store, manifest.id)).toMatchObject({ chunks: 1, bytes: CHUNK_BYTES });
    expect(app.moved.load).toBe(1);
  });

  it('a resume copies while it looks at what is to be zero, and copies zeros where there are others', async () => {
    const { app, other } = started({ namesOnDevice: true });
    app.fill(other, 0, 0, 5 * CHUNK_BYTES);
    const store = await memoryStore();
    const memory = app.snapshot();
    for (const to of ['memory', 'store'] as const) {
      await app.process.operate('suspend', context(), (own) => suspend(app.process, store, { command: [], to }, own));
      app.moved.load = 0;
      let copied = () => {};
      const copying = new Promise<void>((resolve) => (copied = resolve));
      app.onWrite = copied;
      app.onNames = () => copying;
      await app.process.operate('resume', context(), (own) => resume(app.process, store, own));
      // New memory has anything in it here.
      expect(app.moved.load).toBe(81);
      expectMemory(app, memory);
      app.onNames = () => {};
    }
  });

  it('a resume asks the driver for the control state, and copies, when all memory is there', async () => {
    const { app } = started({ namesOnDevice: true });
    const store = await memoryStore();
    const memory = app.snapshot();
    await app.process.operate('suspend', context(), (own) =>
      suspend(app.process, store, { command: [], to: 'memory' }, own),
    );
    let asked = 0;
    let made = 0;
    app.onCreate = async () => {
      await new Promise((resolve) => setTimeout(resolve, 5 * ++asked));
      made++;
    };
    const madeAt: number[] = [];
    app.driver.before = (action) => action === 'restore' && madeAt.push(made);
    app.onWrite = () => madeAt.push(made);
    await app.process.operate('resume', context(), (own) => resume(app.process, store, own));
    expect(madeAt).toEqual([3, 3]);
    expectMemory(app, memory);
  });

  it('elsewhere only what may have changed is named', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    await save(app, store);
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    app.moved.names = 0;
    expect((await save(app, store)).verified).toBe('none');
    expect(app.moved.names).toBe(1);
  });
});

describe('more than fits aside', () => {
  /** Seven slots: blocks of one chunk. */
  const staging = 7 * CHUNK_BYTES;

  it('is written while the rest is copied, read twice, and takes no more host memory than it may', async () => {
    const { app, data } = started({ staging });
    const short = app.alloc(100_000);
    app.launch('init', 4, 64, [short, 25_000, 4]);
    app.variable('g_counters', 3 * CHUNK_BYTES + 64);
    const store = await memoryStore();
    const { manifest } = await save(app, store);
    const memory = app.snapshot();
    await expectSaved(app, store, manifest.id, memory);
    app.launch('init', 64, 256, [data, data.bytes.length / 4, 9]);
    app.fill(short, 3, 0, 100_000);
    expect(await goBack(app, store, manifest.id)).toMatchObject({ chunks: 66 });
    expectMemory(app, memory);
    await app.process.operate('suspend', context(), (own) => suspend(app.process, store, { command: [] }, own));
    await app.process.operate('resume', context(), (own) => resume(app.process, store, own));
    expectMemory(app, memory);
    expect(app.hostBytes.most).toBe(staging);
  });

  it('is read once as far as the system has room for it, which gets that back', async () => {
    // Beside what is kept there is always room for six blocks of 1,024 chunks on their way.
    const room = (chunks: number) => 2 * (6 * 1024 + chunks) * CHUNK_BYTES;
    for (const { systemFree, fails, reads } of [
      { systemFree: room(64), fails: false, reads: 64 },
      { systemFree: room(40), fails: false, reads: 64 + (64 - 47) },
      { systemFree: room(64), fails: true, reads: 2 * 64 },
      { systemFree: 0, fails: false, reads: 2 * 64 },
    ]) {
      const { app, data } = started({ staging, systemFree });
      const store = await memoryStore();
      const { manifest } = await save(app, store);
      const memory = app.snapshot();
      app.launch('init', 64, 256, [data, data.bytes.length / 4, 9]);
      const counted = countedReads(store);
      if (fails)
        app.onArena = () => {
          throw new Error('planted');
        };
      expect(await goBack(app, counted.store, manifest.id)).toMatchObject({ chunks: 64 });
      expect(counted.chunks).toBe(reads);
      expectMemory(app, memory);
      expect(app.hostBytes.most > staging, `${systemFree} bytes free`).toBe(systemFree > 0 && !fails);
      app.onArena = () => {};
      // What comes next has what it may have, and never more at once.
      app.hostBytes.most = 0;
      app.launch('init', 64, 256, [data, data.bytes.length / 4, 10]);
      await expectSaved(app, store, (await save(app, store)).manifest.id, app.snapshot());
      expect(app.hostBytes.most).toBeLessThanOrEqual(staging);
    }
  });

  it('leaves all staging memory to what comes next', async () => {
    const { app, data } = started({ staging: 100 * CHUNK_BYTES });
    const store = await memoryStore();
    const { manifest } = await save(app, store);
    for (const step of [1, 2, 3]) {
      app.launch('init', 64, 256, [data, data.bytes.length / 4, 10 + step]);
      const counted = countedReads(store);
      expect(await goBack(app, counted.store, manifest.id)).toMatchObject({ chunks: 64 });
      expect(counted.chunks).toBe(64);
    }
  });

  it('is not written when one of its chunks cannot be read, kept or not', async () => {
    for (const systemFree of [2 * (6 * 1024 + 100) * CHUNK_BYTES, 2 * (6 * 1024 + 20) * CHUNK_BYTES, 0]) {
      for (const at of [1, 40, 64]) {
        const { app, data } = started({ staging, systemFree });
        const store = await memoryStore();
        const { manifest } = await save(app, store);
        app.launch('init', 64, 256, [data, data.bytes.length / 4, 9]);
        const memory = app.snapshot();
        const counted = countedReads(store, at);
        await expect(goBack(app, counted.store, manifest.id)).rejects.toThrow('planted');
        expect(app).toMatchObject({ held: false, killed: false });
        expect(app.requests).not.toContain('guard');
        expectMemory(app, memory);
        app.hostBytes.most = 0;
        await save(app, store);
        expect(app.hostBytes.most).toBeLessThanOrEqual(staging);
      }
    }
  });

  it('uses no slot again before it is written, however long that takes', async () => {
    const { app } = started({ staging });
    const counters = app.variable('g_counters', 11 * CHUNK_BYTES);
    app.memory(counters.number).forEach((_, i, bytes) => {
      bytes[i] = (i / CHUNK_BYTES) * 20 + 1;
    });
    const store = await memoryStore();
    const slow = new Proxy(store, {
      get: (target, name) => {
        if (name !== 'begin') return Reflect.get(target, name).bind?.(target) ?? Reflect.get(target, name);
        return async (options: BeginOptions) => {
          const session = await target.begin(options);
          const write = session.store.bind(session);
          session.store = async (...args) => {
            await new Promise((resolve) => setTimeout(resolve, 3));
            await write(...args);
          };
          return session;
        };
      },
    });
    const { manifest } = await save(app, slow);
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('leaves nothing behind when a copy fails on the way', async () => {
    const { app, data } = started({ staging });
    const store = await memoryStore();
    await save(app, store);
    for (const at of [1, 5, 40]) {
      app.launch('init', 64, 256, [data, data.bytes.length / 4, 100 + at]);
      let left = at;
      app.onSave = () => {
        if (--left === 0) throw new Error('planted');
      };
      await expect(save(app, store), `copy ${at}`).rejects.toThrow('planted');
      expect(app.held).toBe(false);
      expect((await store.list()).checkpoints).toHaveLength(1);
    }
    app.onSave = () => {};
    const { manifest } = await save(app, store);
    expect(manifest.kind).toBe('increment');
    await expectSaved(app, store, manifest.id, app.snapshot());
  });
});

describe('a device that fails', () => {
  for (const to of ['store', 'memory'] as const)
    for (const step of ['onNames', 'onSave'] as const)
      it(`in ${step} of a checkpoint to ${to} lets the application go on, and what was dirty still is`, async () => {
        const { app, data } = started();
        const store = await memoryStore();
        await save(app, store, { to });
        app.launch('stir_part', 8, 256, [data, 0, 2048, 3]);
        app[step] = () => {
          throw new Error('planted');
        };
        await expect(save(app, store, { to })).rejects.toThrow('planted');
        expect(app.held).toBe(false);
        app[step] = () => {};
        const free = app.process.hostImages.memory.freeSlots;
        const { manifest } = await save(app, store, { to });
        expect(manifest).toMatchObject({ kind: 'increment', launches: { exact: 1 }, chunks: { changed: 1 } });
        if (to === 'memory') expect(app.process.hostImages.memory.freeSlots).toBe(free - 1);
      });

  it('has no chunk under the name of another when somebody writes it while it is copied', async () => {
    for (const to of ['store', 'memory'] as const) {
      const { app, data } = started({ namesOnDevice: true });
      const store = await memoryStore();
      await save(app, store, { to });
      app.launch('stir_part', 8, 256, [data, 0, 2048, 3]);
      app.onSave = () => {
        app.memory(data.number)[17]! ^= 1;
      };
      await expect(save(app, store, { to })).rejects.toThrow(/GCR8105.*changed while it was held/);
      expect(app.held).toBe(false);
      app.onSave = () => {};
      expect((await save(app, store, { to })).manifest).toMatchObject({ kind: 'increment', chunks: { changed: 1 } });
      expect((await store.verify({ readData: true })).problems).toEqual([]);
    }
    // What the host may change at any time is saved as it was copied.
    const { app } = started();
    const counters = app.variable('g_counters', 4096);
    const store = await memoryStore();
    let value = 0;
    app.onRead = () => app.memory(counters.number).fill(++value);
    const { manifest } = await save(app, store);
    app.onRead = () => {};
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('in naming what a restore compares, leaves memory as it was', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const { manifest } = await save(app, store);
    app.launch('stir_part', 8, 256, [data, 0, 2048, 3]);
    const memory = app.snapshot();
    app.onNames = () => {
      throw new Error('planted');
    };
    await expect(goBack(app, store, manifest.id)).rejects.toThrow('planted');
    expect(app).toMatchObject({ held: false, killed: false });
    expect(app.requests).not.toContain('guard');
    expectMemory(app, memory);
  });
});

describe('a checkpoint in host memory', () => {
  it('is one of a chain in which each is whole, in whatever order they are dropped', async () => {
    const draw = random(20_261_121);
    const below = (limit: number) => Math.floor(draw() * limit);
    const { app, data, other } = started({ staging: 3 * CHUNK_BYTES });
    app.alloc(100_000);
    app.variable('g_steps_seen', 8);
    const store = await memoryStore();
    const { hostImages } = app.process;
    const all: { id: string; memory: Map<number, Uint8Array> }[] = [];
    for (let step = 0; step < 25; step++) {
      const target = below(2) ? data : other;
      app.launch('stir_part', 4, 128, [target, below(target.bytes.length / 4 - 512), 512, step]);
      // Chunks that become zero, and cease to be.
      if (below(4) === 0) app.fill(data, 0, below(32) * CHUNK_BYTES, 2 * CHUNK_BYTES);
      if (below(5) === 0) app.free(app.alloc(70_000));
      const to = below(3) ? 'memory' : 'store';
      const { manifest } = await save(app, store, { to });
      if (to === 'store') await expectSaved(app, store, manifest.id, app.snapshot());
      else all.push({ id: manifest.id, memory: app.snapshot() });
      if (all.length > 6) dropImage(app.process, all.splice(below(all.length - 1), 1)[0]!.id);
      if (step % 4 !== 3) continue;
      const { id, memory } = all[below(all.length)]!;
      await goBack(app, store, id);
      expectMemory(app, memory);
      expect((await save(app, store, { to: 'memory' })).manifest.parent).toBe(id);
      all.push({ id: hostImages.of(app.process).at(-1)!.id, memory: app.snapshot() });
    }
    const slots = new Set(hostImages.of(app.process).flatMap((image) => [...image.slots]));
    slots.delete(NO_SLOT);
    const { free, reserved } = hostImages.memory.size;
    expect(reserved - free).toBe(slots.size * CHUNK_BYTES);
    app.end();
    expect(hostImages.memory.size).toMatchObject({ free: reserved });
  });

  it('shares what has not changed', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const first = await save(app, store, { to: 'memory' });
    expect(first).toMatchObject({ target: 'memory', fullBecause: 'the first one in memory' });
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    const second = await save(app, store, { to: 'memory' });
    expect(second.manifest).toMatchObject({ kind: 'increment', chunks: { changed: 1, stored: 1 } });
    const chunk = CHUNK_BYTES;
    expect(app.process.hostImages.status(app.process)).toMatchObject([
      { id: first.manifest.id, ownBytes: chunk, sharedBytes: 80 * chunk, bytes: 81 * chunk },
      { id: second.manifest.id, ownBytes: chunk, sharedBytes: 80 * chunk, bytes: 81 * chunk },
    ]);
    expect((await store.list()).checkpoints).toHaveLength(0);
    expect(dropImage(app.process, first.manifest.id.slice(0, 8)).bytes).toBe(chunk);
    expect(() => dropImage(app.process, first.manifest.id)).toThrow(/GCR7011/);
    dropImage(app.process, second.manifest.id);
    expect(await save(app, store, { to: 'memory' })).toMatchObject({ fullBecause: 'the parent was dropped' });
  });

  it('has a parent of its own, and the store another', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const onDisk = await save(app, store);
    app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
    const first = await save(app, store, { to: 'memory' });
    app.launch('stir_part', 1, 64, [data, 5 * 16_384, 64, 3]);
    const second = await save(app, store, { to: 'memory' });
    expect(second.manifest).toMatchObject({
      parent: first.manifest.id,
      launches: { exact: 1 },
      chunks: { changed: 1 },
    });
    const later = await save(app, store);
    expect(later.manifest).toMatchObject({
      parent: onDisk.manifest.id,
      launches: { exact: 2 },
      chunks: { changed: 2 },
    });
    await expectSaved(app, store, later.manifest.id, app.snapshot());
    await goBack(app, store, first.manifest.id);
    const last = await save(app, store);
    expect(last.manifest).toMatchObject({ parent: later.manifest.id, chunks: { changed: 1 } });
    await expectSaved(app, store, last.manifest.id, app.snapshot());
  });

  it('is refused before anything is stopped when there is no room, and an increment without harm', async () => {
    const { app, data } = started({ hostMemory: 83 * CHUNK_BYTES });
    const store = await memoryStore();
    const big = app.alloc(2 * MIB);
    await expect(save(app, store, { to: 'memory' })).rejects.toThrow(/GCR8115.*7.4 MB of host memory are needed/);
    expect(app.requests).not.toContain('hold');
    app.free(big);
    const first = await save(app, store, { to: 'memory' });
    app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
    const second = await save(app, store, { to: 'memory' });
    const memory = app.snapshot();
    app.launch('stir_part', 2, 64, [data, 16_384 - 64, 128, 4]);
    await expect(save(app, store, { to: 'memory' })).rejects.toThrow(/GCR8115.*131.1 KB of host memory are needed/);
    expect(app.held).toBe(false);
    dropImage(app.process, first.manifest.id);
    const third = await save(app, store, { to: 'memory' });
    expect(third.manifest).toMatchObject({ parent: second.manifest.id, chunks: { changed: 2 } });
    const holds = app.requests.filter((name) => name === 'hold').length;
    await expect(save(app, store, { to: 'memory' })).rejects.toThrow(/GCR8115/);
    expect(app.requests.filter((name) => name === 'hold')).toHaveLength(holds);
    await goBack(app, store, second.manifest.id);
    expectMemory(app, memory);
  });

  it('is the latest one when it is, and is found by the beginning of its id', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const inMemory = await save(app, store, { to: 'memory' });
    expect((await goBack(app, store, 'latest')).id).toBe(inMemory.manifest.id);
    await new Promise((resolve) => setTimeout(resolve, 5));
    app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
    const onDisk = await save(app, store);
    expect((await goBack(app, store, 'latest')).id).toBe(onDisk.manifest.id);
    expect((await goBack(app, store, inMemory.manifest.id.slice(0, 10))).id).toBe(inMemory.manifest.id);
  });

  it('holds a suspended process, and cannot be dropped meanwhile', async () => {
    for (const namesOnDevice of [false, true]) {
      const { app, data } = started({ namesOnDevice });
      app.variable('g_steps_seen', 8);
      app.fill(data, 0, 0, 3 * CHUNK_BYTES);
      const store = await memoryStore();
      const memory = app.snapshot();
      const { manifest } = await app.process.operate('suspend', context(), (own) =>
        suspend(app.process, store, { command: [], to: 'memory' }, own),
      );
      expect(app).toMatchObject({ held: true, detached: true });
      expect(() => dropImage(app.process, manifest.id)).toThrow(/GCR8116.*is suspended/);
      await app.process.operate('resume', context(), (own) => resume(app.process, store, own));
      expectMemory(app, memory);
      app.launch('stir_part', 4, 128, [data, 0, 512, 1]);
      const after = await save(app, store, { to: 'memory' });
      expect(after.manifest).toMatchObject({ kind: 'increment', parent: manifest.id });
      const onDisk = await save(app, store);
      await expectSaved(app, store, onDisk.manifest.id, app.snapshot());
    }
  });

  it('needs more host memory for zeros only, and finds that out before it writes', async () => {
    const { app, data, other } = started({ namesOnDevice: true });
    const store = await memoryStore();
    app.fill(other, 0, 0, 3 * CHUNK_BYTES);
    const { manifest } = await save(app, store, { to: 'memory' });
    app.onArena = () => {
      throw new Error('planted');
    };
    const memory = app.snapshot();
    app.launch('init', 64, 256, [data, data.bytes.length / 4, 9]);
    await goBack(app, store, manifest.id);
    expectMemory(app, memory);
    app.launch('init', 16, 256, [other, other.bytes.length / 4, 9]);
    const written = app.snapshot();
    app.requests.length = 0;
    await expect(goBack(app, store, manifest.id)).rejects.toThrow(/GCR8115.*planted/);
    expect(app).toMatchObject({ held: false, killed: false });
    expect(app.requests).not.toContain('guard');
    expectMemory(app, written);
  });

  it('that was damaged in host memory is noticed, and the application does not go on with it', async () => {
    const { app, data } = started({ namesOnDevice: true });
    const store = await memoryStore();
    const { manifest } = await save(app, store, { to: 'memory' });
    const { hostImages } = app.process;
    hostImages.memory.view(hostImages.get(manifest.id)!.slots[3]!, 1)[77]! ^= 1;
    const layout = app.snapshot();
    await goBack(app, store, manifest.id);
    expectMemory(app, layout);
    app.launch('init', 64, 256, [data, data.bytes.length / 4, 9]);
    await expect(goBack(app, store, manifest.id)).rejects.toThrow(/GCR8109.*was ended.*not what was copied to it/);
    expect(app.killed).toBe(true);
  });
});

describe('room for many chunks', () => {
  const portion = 1000;

  it('is there portion by portion, in order, and stays free beside', async () => {
    const memory = new HostMemory(plainArena, 8 * 1024 * CHUNK_BYTES);
    await memory.ensureFree(10);
    const room = new Room(memory, { wanted: 3500, spare: 300, portion, device: undefined });
    expect(await room.has(0)).toBe(true);
    const first = room.slots.slice(0, portion);
    expect(await Promise.all([999, 1000, 3499].map((at) => room.has(at)))).toEqual([true, true, true]);
    expect(memory.freeSlots).toBeGreaterThanOrEqual(300);
    const all = await room.end();
    expect(new Set(all).size).toBe(3500);
    expect(all.slice(0, portion)).toEqual(first);
    memory.dropAll();
    expect(memory.freeSlots * CHUNK_BYTES).toBe(memory.reservedBytes);
    expect(memory.take(memory.freeSlots)).toBeDefined();
    memory.close();
  });

  it('is what the system has when it has less than it said', async () => {
    let left = 2;
    const memory = new HostMemory(
      async (bytes) => {
        const arena = await plainArena(bytes);
        const grow = arena.grow.bind(arena);
        arena.grow = async (more) => {
          if (left-- === 0) throw new Error('planted');
          await grow(more);
        };
        return arena;
      },
      64 * 1024 * CHUNK_BYTES,
    );
    const room = new Room(memory, { wanted: 6000, spare: 0, portion: 1024, device: undefined });
    expect(await Promise.all([0, 2047, 3072, 5999].map((at) => room.has(at)))).toEqual([true, true, false, false]);
    expect((await room.end()).length).toBe(3 * 1024);
    expect(memory.freeSlots * CHUNK_BYTES).toBe(memory.reservedBytes - 3 * 1024 * CHUNK_BYTES);
    memory.close();
  });

  it('is no more than the system allows, before any of it is made', async () => {
    const made: number[] = [];
    const create = async (bytes: number) => {
      made.push(bytes);
      return plainArena(bytes);
    };
    const memory = new HostMemory(create, 64 * 1024 * CHUNK_BYTES, () => 2000 * CHUNK_BYTES);
    await expect(memory.ensureFree(2000)).rejects.toThrow(/GCR8115.*control group, has 131.1 MB left/);
    expect(made).toEqual([]);
    await memory.ensureFree(1500);
    expect(memory.freeSlots).toBeGreaterThanOrEqual(1500);
    memory.close();
  });

  it('counts page cache as free that a control group gives up', () => {
    const files = (texts: Readonly<Record<string, string>>) => (path: string) => {
      const text = texts[path];
      if (text === undefined) throw new Error(`no ${path}`);
      return text;
    };
    const second = {
      '/proc/self/cgroup': '0::/a/b\n',
      '/sys/fs/cgroup/a/b/memory.stat': 'anon 5\ninactive_file 4096\n',
    };
    expect(pageCacheBytes(files(second))).toBe(4096);
    const first = {
      '/proc/self/cgroup': '5:pids:/c\n4:memory:/a\n0::/\n',
      '/sys/fs/cgroup/memory/a/memory.stat': 'inactive_file 1\ntotal_inactive_file 8192\n',
    };
    expect(pageCacheBytes(files(first))).toBe(8192);
    const inside = { '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.stat': 'inactive_file 12\n' };
    expect(pageCacheBytes(files(inside))).toBe(12);
    expect(pageCacheBytes(files({ '/proc/self/cgroup': '0::/elsewhere\n' }))).toBe(0);
    expect(pageCacheBytes(files({}))).toBe(0);
  });

  it('takes nothing any more when it has ended', async () => {
    const memory = new HostMemory(plainArena, 64 * 1024 * CHUNK_BYTES);
    const room = new Room(memory, { wanted: 6000, spare: 0, portion, device: undefined });
    const had = (await room.end()).length;
    expect(had).toBeLessThanOrEqual(portion);
    await new Promise((resolve) => setImmediate(resolve));
    expect(memory.freeSlots * CHUNK_BYTES).toBe(memory.reservedBytes - had * CHUNK_BYTES);
    expect(new Room(memory, { wanted: -5, spare: 0, portion, device: undefined }).slots.length).toBe(0);
    memory.close();
  });
});

describe('slots of host memory', () => {
  it('are told in runs', () => {
    const draw = random(7);
    for (let round = 0; round < 200; round++) {
      let number = 0;
      const list = Uint32Array.from({ length: 1 + Math.floor(draw() * 40) }, () => (number += draw() < 0.8 ? 1 : 3));
      for (let at = 0; at < list.length; at++) {
        const limit = 1 + Math.floor(draw() * (list.length - at));
        let expected = 1;
        while (expected < limit && list[at + expected] === list[at]! + expected) expected++;
        expect(runLength(list, at, limit)).toBe(expected);
      }
    }
  });

  it('are the others', () => {
    const draw = random(8);
    for (let round = 0; round < 200; round++) {
      const share = draw();
      const end = Math.floor(draw() * 60);
      const all = Uint32Array.from({ length: end }, (_, i) => i);
      const some = all.filter(() => draw() < share);
      expect(othersThan(some, end)).toEqual(all.filter((number) => !some.includes(number)));
    }
  });

  it('lie in one run where there is one, and are free when nobody has them', async () => {
    const memory = new HostMemory(plainArena, 3 * 1024 * CHUNK_BYTES);
    await memory.ensureFree(2000);
    const all = memory.freeSlots;
    const [a, b, c] = [memory.take(100)!, memory.take(300)!, memory.take(100)!];
    for (const slots of [a, b, c]) expect(slots.at(-1)! - slots[0]!).toBe(slots.length - 1);
    expect(memory.take(all)).toBeUndefined();
    memory.share(b);
    memory.drop(b);
    expect(memory.freeSlots).toBe(all - 500);
    memory.drop(b);
    expect(memory.freeSlots).toBe(all - 200);
    // More than any run has.
    const rest = memory.take(all - 200)!;
    expect(new Set([...rest, ...a, ...c]).size).toBe(all);
    expect(memory.freeSlots).toBe(0);
    expect(memory.runAt(b, 0, 300)).toBe(300);
    expect(memory.runAt(new Uint32Array([1022, 1023, 1024]), 0, 3)).toBe(2);
    await expect(memory.ensureFree(2000)).rejects.toThrow(/GCR8115.*its limit is 201.3 MB/);
    await memory.ensureFree(1000);
    memory.close();
  });
});
