/** Operations on a process, with kernels that really run: what is saved, what is restored, and what happens when a step fails. */
import { describe, expect, it } from 'vitest';
import { checkpointWithControl } from '../../src/runtime/control-checkpoint.js';
import type { OperationContext } from '../../src/runtime/process.js';
import { resume, suspend } from '../../src/runtime/suspend.js';
import { random } from '../sim/helpers.js';
import { FakeApplication } from './fake-application.js';
import { context, expectSaved, goBack, MIB, memoryStore, returnsAtOnce, save, started } from './operations.js';

describe('checkpoint', () => {
  it('is full at first, and then holds what launches may have written', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const first = await save(app, store);
    expect(first.manifest).toMatchObject({ kind: 'full', parent: null });
    await expectSaved(app, store, first.manifest.id, app.snapshot());
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    const second = await save(app, store);
    expect(second.manifest).toMatchObject({ kind: 'increment', parent: first.manifest.id, launches: { exact: 1 } });
    expect(second).toMatchObject({ dirtyChunks: 1, dirtyBytes: 65_536 });
    expect(second.manifest.origins).toMatchObject({ exact: 1, unknown: 0, copy: 0 });
    await expectSaved(app, store, second.manifest.id, app.snapshot());
    expect(app.held).toBe(false);
  });

  it('knows what copies and fills write, and follows tables whose content was copied', async () => {
    const { app, data, other } = started();
    const table = app.alloc(64);
    const store = await memoryStore();
    await save(app, store);
    const pointers = new BigUint64Array([other.address]);
    app.copyIn(table, new Uint8Array(pointers.buffer));
    app.launch('through_table', 1, 64, [table, 1, 64, 9]);
    app.fill(data, 7, 200_000, 10);
    const { manifest } = await save(app, store);
    expect(manifest.origins).toMatchObject({ exact: 1, bounded: 0, unknown: 0, copy: 2 });
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('knows nothing of content that another process may change', async () => {
    const { app, other } = started();
    const store = await memoryStore();
    for (const [kind, wanted] of [
      [0, { exact: 1, unknown: 0 }],
      [3, { exact: 0, unknown: 1 }],
    ] as const) {
      await save(app, store);
      const table = app.alloc(64, { kind });
      app.copyIn(table, new Uint8Array(new BigUint64Array([other.address]).buffer));
      app.launch('through_table', 1, 64, [table, 1, 64, 9]);
      app.free(table);
      expect((await save(app, store)).manifest.launches).toMatchObject(wanted);
    }
  });

  it('counts content only where streams order it', async () => {
    const { app, other } = started();
    const table = app.alloc(64);
    const store = await memoryStore();
    const content = new Uint8Array(new BigUint64Array([other.address]).buffer);
    const verdictsOf = async (order: () => void) => {
      await save(app, store);
      app.copyIn(table, content, 0, 5);
      order();
      app.launch('through_table', 1, 64, [table, 1, 64, 9], 6);
      return (await save(app, store)).manifest.launches;
    };
    expect(await verdictsOf(() => {})).toMatchObject({ exact: 0, unknown: 1 });
    expect(await verdictsOf(() => app.event('wait', { stream: 5 }, { stream: 6 }))).toMatchObject({
      exact: 1,
      unknown: 0,
    });
    expect(await verdictsOf(() => app.event('wait', { stream: 6 }, { stream: 5 }))).toMatchObject({
      exact: 0,
      unknown: 1,
    });
    expect(await verdictsOf(() => app.event('ordered', {}))).toMatchObject({ exact: 1, unknown: 0 });
    expect(await verdictsOf(() => app.event('ordered', {}, { stream: 5, flags: 1 }))).toMatchObject({ exact: 1 });
    expect(await verdictsOf(() => app.event('ordered', {}, { stream: 7, flags: 1 }))).toMatchObject({ exact: 0 });
  });

  it('counts a graph each time it runs, with the allocations there are then', async () => {
    const { app, data, other } = started();
    const store = await memoryStore();
    const stir = app.prepare('stir_part', 1, 64, [data, 0, 64, 3]);
    const table = app.prepare('through_table', 1, 64, [other, 1, 64, 9]);
    const node = (body: typeof stir.body) => ({ name: 'launch', flags: 0, stream: 0, body }) as const;
    app.event('graph', { exec: 1, count: 1, nodes: [node(stir.body)] });
    app.event('graph', { exec: 2, count: 1, nodes: [node(table.body)] });
    await save(app, store);
    app.event('graph-launch', { exec: 1 });
    stir.run();
    const once = await save(app, store);
    expect(once.manifest.origins).toMatchObject({ exact: 1, unknown: 0 });
    await expectSaved(app, store, once.manifest.id, app.snapshot());
    app.alloc(65_536);
    app.event('graph-launch', { exec: 2 });
    expect((await save(app, store)).dirtyChunks).toBe(64 + 16 + 1 + 1);
  });

  it('is full when recording stopped, and refused when allocations are not known', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    await save(app, store);
    app.event('stopped', { reason: 'planted' });
    app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
    const full = await save(app, store);
    expect(full).toMatchObject({ fullBecause: 'recording stopped: planted', manifest: { kind: 'full' } });
    await expectSaved(app, store, full.manifest.id, app.snapshot());
    app.push(Buffer.alloc(16, 0xff));
    await expect(save(app, store)).rejects.toThrow(/GCR8105.*ring is damaged/);
    expect(app.held).toBe(false);
  });

  it('leaves memory that another process may have where it is', async () => {
    const { app } = started();
    const store = await memoryStore();
    app.event('stopped', { reason: 'planted' });
    app.event('shared', { reason: 'memory is shared' });
    const plain = await save(app, store);
    await expectSaved(app, store, plain.manifest.id, app.snapshot());
    app.requests.length = 0;
    const command = ['fake'];
    for (const target of ['store', 'memory'] as const)
      for (const keepContext of [false, true])
        await expect(
          app.process.operate('suspend', context(), (own) =>
            suspend(app.process, store, { command, to: target, keepContext }, own),
          ),
        ).rejects.toThrow(/GCR8105.*memory is shared: it cannot leave the device[\s\S]*nothing was stopped/);
    await expect(
      app.process.operate('checkpoint', context(), (own) =>
        checkpointWithControl(app.process, store, { command }, own),
      ),
    ).rejects.toThrow(/GCR8105.*memory is shared/);
    expect(app.requests).not.toContain('hold');
    await goBack(app, store, plain.manifest.id);
  });

  it('refuses what cannot be saved before anything is held', async () => {
    const { app } = started();
    const store = await memoryStore();
    app.alloc(4096, { saveable: false, kind: 3 });
    app.process.drain();
    await expect(save(app, store)).rejects.toThrow(/imported memory, cannot be saved/);
    expect(app.requests).not.toContain('hold');
  });

  it('saves memory without a handle through the application', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const counters = app.variable('g_counters', 4096);
    app.variable('g_steps_seen', 8);
    app.launch('count', 4, 256, [1024, 1]);
    const first = await save(app, store);
    app.launch('count', 4, 256, [1024, 2]);
    const second = await save(app, store);
    expect(second.manifest.origins).toMatchObject({ exact: 2 });
    const memory = app.snapshot();
    await expectSaved(app, store, second.manifest.id, memory);
    app.launch('count', 4, 256, [1024, 3]);
    app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
    await goBack(app, store, second.manifest.id);
    expect(Buffer.compare(app.memory(counters.number), memory.get(counters.number)!)).toBe(0);
    expect(first.manifest.id).not.toBe(second.manifest.id);
  });

  it('finds with --verify what a template missed, and names kernel and chunk', async () => {
    const app = new FakeApplication({ plant: returnsAtOnce });
    const data = app.alloc(MIB);
    const other = app.alloc(MIB);
    const store = await memoryStore();
    await save(app, store);
    app.launch('stir_part', 1, 64, [data, 5 * 16_384, 64, 3]);
    app.launch('stir_rows', 1, 64, [other, 32, 1024, 1]);
    const result = await save(app, store, { verify: true });
    expect(result.missedCount).toBe(1);
    expect(result.missed[0]).toMatchObject({ chunk: 5, kernels: ['stir_part'] });
    expect(result.manifest.origins).toMatchObject({ exact: 1, none: 1 });
    await expectSaved(app, store, result.manifest.id, app.snapshot());
    expect((await save(app, store, { verify: true })).missedCount).toBe(0);
  });

  const FAULTS = [
    ['hold', 'refuse'],
    ['hold', 'end'],
    ['release', 'refuse'],
  ] as const;
  for (const [request, fault] of FAULTS)
    it(`lets the application go on when ${request} meets ${fault}`, async () => {
      const { app, data } = started();
      const store = await memoryStore();
      const first = await save(app, store);
      app.launch('stir_part', 1, 64, [data, 0, 64, 3]);
      app.faults.set(request, fault);
      await save(app, store).catch((error) => expect(String(error)).toMatch(/GCR810[78]/));
      expect(app.process.operation).toBeUndefined();
      const { checkpoints } = await store.list();
      expect(checkpoints[0]!.id).toBe(first.manifest.id);
    });

  it('loses nothing when the store fails, or the client goes away', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    await save(app, store);
    app.launch('stir_part', 8, 256, [data, 0, 2048, 3]);
    for (const at of ['catch-up', 'hold', 'drain', 'copy', 'write']) {
      const abort = new AbortController();
      const own: OperationContext = {
        signal: abort.signal,
        report: ({ step }) => {
          if (step === at) abort.abort();
        },
      };
      await expect(save(app, store, {}, own), at).rejects.toThrow();
      expect(app.held).toBe(false);
    }
    expect((await store.list()).checkpoints).toHaveLength(1);
    const { manifest } = await save(app, store);
    expect(manifest).toMatchObject({ launches: { exact: 1 }, origins: { exact: 1 } });
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('runs one operation at a time', async () => {
    const { app } = started();
    const store = await memoryStore();
    const first = save(app, store);
    await expect(save(app, store)).rejects.toThrow(/GCR8104.*busy with checkpoint/);
    await first;
  });
});

describe('restore', () => {
  it('goes back to any of a long chain of increments', async () => {
    const draw = random(20_260_801);
    const below = (limit: number) => Math.floor(draw() * limit);
    const { app, data, other, index } = started();
    const table = app.alloc(4096);
    const states: { id: string; memory: Map<number, Uint8Array> }[] = [];
    const store = await memoryStore();
    const pieces = [data, other];
    for (let step = 0; step < 55; step++) {
      for (let count = below(3); count >= 0; count--) {
        const target = pieces[below(2)]!;
        const n = target.bytes.length / 4;
        switch (below(6)) {
          case 0:
            app.launch('stir_part', 4, 128, [target, below(n - 512), 512, step], below(3));
            break;
          case 1:
            app.launch('stir_rows', 8, 64, [target, 32, 1024, step]);
            break;
          case 2:
            app.launch('scatter', 1, 64, [other, index, 64, 1000, step]);
            break;
          case 3: {
            app.copyIn(table, new Uint8Array(new BigUint64Array([target.address]).buffer));
            if (below(2)) app.event('ordered', {});
            app.launch('through_table', 1, 64, [table, 1, 64, step], below(2));
            break;
          }
          case 4:
            app.fill(target, step, below(n), 1000);
            break;
          default:
            app.copy(other, data, 4096 * (1 + below(10)));
        }
      }
      if (step % 10 === 9) {
        const gone = app.alloc(100_000);
        app.launch('init', 4, 64, [gone, 25_000, step]);
        await save(app, store);
        app.free(gone);
      }
      const { manifest } = await save(app, store);
      states.push({ id: manifest.id, memory: app.snapshot() });
    }
    for (const { id, memory } of states) await expectSaved(app, store, id, memory);
    for (let round = 0; round < 12; round++) {
      const { id, memory } = states[below(states.length)]!;
      await goBack(app, store, id);
      for (const [own, bytes] of memory) expect(Buffer.compare(app.memory(own), bytes)).toBe(0);
      app.launch('stir_part', 4, 128, [data, below(1000), 512, round]);
      const { manifest } = await save(app, store);
      expect(manifest.parent).toBe(id);
      await expectSaved(app, store, manifest.id, app.snapshot());
    }
  });

  it('leaves what is younger, and refuses when something is gone', async () => {
    const { app, data, other } = started();
    const store = await memoryStore();
    const { manifest } = await save(app, store);
    const memory = app.snapshot();
    const younger = app.alloc(4096);
    app.fill(younger, 9, 0, 4096);
    app.launch('stir_part', 4, 128, [data, 0, 512, 1]);
    const result = await goBack(app, store, manifest.id);
    expect(result).toMatchObject({ chunks: 1, bytes: 65_536, younger: 1 });
    expect(app.memory(younger.number)[5]).toBe(9);
    expect(Buffer.compare(app.memory(data.number), memory.get(data.number)!)).toBe(0);
    app.free(other);
    await expect(goBack(app, store, manifest.id)).rejects.toThrow(/GCR8109.*does not exist any more/);
    expect(app.held).toBe(false);
  });

  it('tries again when writing fails, and ends the application when it fails again', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    const { manifest } = await save(app, store);
    const memory = app.snapshot();
    app.launch('stir_part', 4, 128, [data, 0, 512, 1]);
    let left = 1;
    app.onWrite = () => {
      if (left-- > 0) throw new Error('planted');
    };
    await goBack(app, store, manifest.id);
    expect(Buffer.compare(app.memory(data.number), memory.get(data.number)!)).toBe(0);
    expect(app.killed).toBe(false);
    app.launch('stir_part', 4, 128, [data, 0, 512, 1]);
    left = 2;
    await expect(goBack(app, store, manifest.id)).rejects.toThrow(/GCR8109.*was ended/);
    expect(app.killed).toBe(true);
  });

  it('forgets content that it overwrote', async () => {
    const { app, data, other } = started();
    const table = app.alloc(64);
    const store = await memoryStore();
    app.copyIn(table, new Uint8Array(new BigUint64Array([data.address]).buffer));
    const { manifest } = await save(app, store);
    app.copyIn(table, new Uint8Array(new BigUint64Array([other.address]).buffer));
    await goBack(app, store, manifest.id);
    await save(app, store);
    app.launch('through_table', 1, 64, [table, 1, 64, 9]);
    const after = await save(app, store);
    await expectSaved(app, store, after.manifest.id, app.snapshot());
  });
});

describe('suspend', () => {
  it('gives memory up, and resume brings it back', async () => {
    const { app, data } = started();
    const store = await memoryStore();
    app.variable('g_steps_seen', 8);
    const memory = app.snapshot();
    const own = context();
    const { manifest } = await app.process.operate('suspend', own, (inner) =>
      suspend(app.process, store, { command: ['fake'] }, inner),
    );
    expect(app).toMatchObject({ held: true, detached: true });
    await expect(save(app, store)).rejects.toThrow(/is suspended/);
    app.faults.set('attach', 'refuse');
    const again = () => app.process.operate('resume', own, (inner) => resume(app.process, store, inner));
    await expect(again()).rejects.toThrow(/GCR8108/);
    expect(app).toMatchObject({ held: true, detached: true });
    app.faults.clear();
    expect(await again()).toMatchObject({ id: null, handles: 3 });
    expect(app).toMatchObject({ held: false, detached: false });
    for (const [number, bytes] of memory) expect(Buffer.compare(app.memory(number), bytes)).toBe(0);
    app.launch('stir_part', 4, 128, [data, 0, 512, 1]);
    const after = await save(app, store);
    expect(after.manifest).toMatchObject({ kind: 'increment', parent: manifest.id });
    await expectSaved(app, store, after.manifest.id, app.snapshot());
  });
});
