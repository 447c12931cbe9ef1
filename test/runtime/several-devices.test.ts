/** An application with memory on two devices, and in two contexts: every device's own operations move its memory, and all of it is saved. */
import { describe, expect, it } from 'vitest';
import { resume, suspend } from '../../src/runtime/suspend.js';
import { FakeApplication } from './fake-application.js';
import { context, expectSaved, goBack, MIB, memoryStore, save } from './operations.js';

const SIZE = MIB / 4;

/** Memory on both, in turns, so that neither is in one piece. */
function onTwo(namesOnDevice: boolean) {
  const app = new FakeApplication({ devices: 2, namesOnDevice });
  const arrays = [0, 1, 0, 1].map((device) => app.alloc(SIZE, { device }));
  for (const [seed, array] of arrays.entries()) app.launch('init', 16, 256, [array, SIZE / 4, seed]);
  return { app, arrays };
}

const COUNTERS = 4096;
/** What a recorder says of a variable that has another place in every context. */
const OF_SEVERAL = 1;

for (const namesOnDevice of [false, true])
  describe(`memory on two devices that ${namesOnDevice ? '' : 'do not '}compute names`, () => {
    it('is saved in increments, and put back', async () => {
      const { app, arrays } = onTwo(namesOnDevice);
      const store = await memoryStore();
      const first = await save(app, store);
      const before = app.snapshot();
      await expectSaved(app, store, first.manifest.id, before);
      for (const array of arrays) app.launch('stir_part', 8, 256, [array, 16_384, 2048, 5]);
      const second = await save(app, store, { verify: true });
      expect(second).toMatchObject({ missedCount: 0, manifest: { kind: 'increment', chunks: { changed: 4 } } });
      await expectSaved(app, store, second.manifest.id, app.snapshot());
      await goBack(app, store, first.manifest.id);
      expect(app.snapshot()).toEqual(before);
    });

    it('is given up and made anew on the device where it was', async () => {
      const { app } = onTwo(namesOnDevice);
      const store = await memoryStore();
      const before = app.snapshot();
      for (const to of ['store', 'memory'] as const) {
        await app.process.operate('suspend', context(), (own) =>
          suspend(app.process, store, { command: ['fake'], to }, own),
        );
        expect(app.detached).toBe(true);
        await app.process.operate('resume', context(), (own) => resume(app.process, store, own));
        expect(app.snapshot()).toEqual(before);
      }
    });
  });

describe('memory on another device than the first', () => {
  it('is said to be of that device', async () => {
    const app = new FakeApplication({ devices: 2 });
    app.alloc(MIB, { device: 1 });
    const { manifest } = await save(app, await memoryStore());
    expect(manifest).toMatchObject({ device: { name: 'fake 1', uuid: '08'.repeat(16) } });
  });

  it('of which the application did not say anything makes the checkpoint fail', async () => {
    const app = new FakeApplication({ devices: 2 });
    app.alloc(MIB, { device: 2 });
    await expect(save(app, await memoryStore())).rejects.toThrow(/device 2, which the application did not name/);
    expect(app.held).toBe(false);
  });
});

describe('a context on a device without memory there', () => {
  it('is not brought back without room for it on that device', async () => {
    const app = new FakeApplication({ devices: 2 });
    const store = await memoryStore();
    app.driver.elsewhere.set(1, 2 ** 33);
    app.alloc(SIZE);
    app.tell('in-use', { device: 1 });
    const bringBack = () => app.process.operate('resume', context(), (own) => resume(app.process, store, own));
    await app.process.operate('suspend', context(), (own) => suspend(app.process, store, { command: ['fake'] }, own));
    app.driver.elsewhere.set(1, 1 << 20);
    await expect(bringBack()).rejects.toThrow(/needs .* MB of fake 1, of which 1.0 MB are free/);
    expect(app.driver.lost).toBe(false);
    app.driver.elsewhere.set(1, 2 ** 33);
    await bringBack();
    expect(app.process.state).toBe('running');
  });
});

describe('memory of another process that a library brought in', () => {
  it('is named, and nothing is stopped for it', async () => {
    const app = new FakeApplication();
    app.alloc(SIZE);
    const [number, address] = [900, 0x7e0000000000n];
    const imported = { allocation: number, address, size: SIZE, handle: 0, offset: 0, kind: 3, saveable: 0 };
    app.event('alloc', imported, { flags: 2 });
    const saved = save(app, await memoryStore());
    await expect(saved).rejects.toThrow(/allocation 900 \(NCCL\) at 0x7e.* imported memory, cannot be saved/);
    expect(app.requests).toEqual([]);
  });
});

describe('a variable of a library', () => {
  const count = (app: FakeApplication, step: number) => app.launch('count', 4, 256, [1024, step]);

  it('is followed while it has one place', async () => {
    const app = new FakeApplication();
    const store = await memoryStore();
    app.variable('g_steps_seen', 8);
    app.variable('g_counters', COUNTERS);
    await save(app, store);
    count(app, 1);
    const { manifest, missedCount } = await save(app, store, { verify: true });
    expect(manifest.launches).toMatchObject({ exact: 1, unknown: 0 });
    expect(missedCount).toBe(0);
  });

  it('makes launches unknown that may mean any of several places, in graphs that are there already, too', async () => {
    const app = new FakeApplication();
    const store = await memoryStore();
    app.variable('g_steps_seen', 8);
    app.variable('g_counters', COUNTERS);
    const { body } = app.prepare('count', 4, 256, [1024, 2]);
    app.event('graph', { exec: 1, count: 1, nodes: [{ name: 'launch', flags: 0, stream: 0, body }] });
    count(app, 0);
    app.event('graph-launch', { exec: 1 });
    await save(app, store);
    // In another context, and launched there: the fake's kernels write the place that came last.
    app.variable('g_steps_seen', 8, OF_SEVERAL);
    app.variable('g_counters', COUNTERS, OF_SEVERAL);
    const later = app.alloc(MIB);
    await save(app, store);
    count(app, 1);
    app.event('graph-launch', { exec: 1 });
    app.launch('stir_part', 8, 256, [later, 0, 2048, 5]);
    const { manifest, missedCount } = await save(app, store, { verify: true });
    expect(manifest.launches).toMatchObject({ exact: 1, unknown: 2 });
    expect(missedCount).toBe(0);
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('that could not be found in a new context makes them unknown as well', async () => {
    const app = new FakeApplication();
    const store = await memoryStore();
    app.variable('g_steps_seen', 8);
    app.variable('g_counters', COUNTERS);
    await save(app, store);
    const nowhere = { module: 1, address: 0n, size: 0, allocation: 0, name: 'g_counters' };
    app.event('variable', nowhere, { flags: OF_SEVERAL });
    count(app, 1);
    const { manifest } = await save(app, store);
    expect(manifest.launches).toMatchObject({ exact: 0, unknown: 1 });
  });
});
