/** Launches that are counted instead of told, because all memory counts as written already: what they wrote is saved all the same. */
import { describe, expect, it } from 'vitest';
import { expectSaved, goBack, memoryStore, save, started } from './operations.js';

const UNTOLD = 'launches that were not told';

/** One that becomes quiet after two launches that may have written anything, and has had them. */
async function quietOne() {
  const { app, data, other, index } = started({ recording: { quietAfter: 2 } });
  const store = await memoryStore();
  const full = await save(app, store);
  /** Through a pointer in memory that is not known, and so is where it writes. */
  const anywhere = () => app.launch('through_table', 1, 64, [table, 1, 64, 9]);
  const table = app.alloc(64);
  const pointers = new Uint8Array(new BigUint64Array([other.address]).buffer);
  app.copyIn(table, pointers);
  app.event('wrote', { address: table.address, size: 8n, reason: 'planted' });
  /** The supervisor takes events in, and what it says arrives. */
  const told = async () => {
    await app.process.catchUp(new AbortController().signal);
    await new Promise((resolve) => setImmediate(resolve));
  };
  anywhere();
  await told();
  expect(app.quiet).toBe(false);
  anywhere();
  await told();
  expect(app.quiet).toBe(true);
  return { app, data, other, index, table, store, full, anywhere, told };
}

describe('a quiet application', () => {
  it('is saved with what launches wrote that were not told', async () => {
    const { app, data, index, store } = await quietOne();
    expect(app.process.bridge.isQuiet).toBe(true);
    for (let i = 0; i < 5; i++) app.launch('stir_part', 8, 256, [data, i * 16_384, 2048, 5]);
    app.launch('init', 16, 256, [index, index.bytes.length / 4, 8]);
    expect(app.untold).toBe(6);
    const { manifest } = await save(app, store);
    await expectSaved(app, store, manifest.id, app.snapshot());
    expect(manifest).toMatchObject({ kind: 'increment', launches: { exact: 0, unknown: 8 } });
    const bytes = [...app.allocations.values()].reduce((sum, { bytes: { length } }) => sum + length, 0);
    expect(manifest.kernels.find(({ name }) => name === UNTOLD)).toMatchObject({ launches: 6, bytes: 6 * bytes });
  });

  it('is told of again after each checkpoint', async () => {
    const { app, data, store, anywhere, told } = await quietOne();
    app.launch('stir_part', 8, 256, [data, 0, 2048, 5]);
    await save(app, store);
    expect([app.quiet, app.process.bridge.isQuiet]).toEqual([false, false]);
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    anywhere();
    await told();
    expect(app.quiet).toBe(false);
    const { manifest } = await save(app, store);
    await expectSaved(app, store, manifest.id, app.snapshot());
    expect(manifest.launches).toMatchObject({ exact: 1, unknown: 1 });
    app.launch('stir_part', 8, 256, [data, 0, 2048, 5]);
    const third = await save(app, store);
    expect(third).toMatchObject({ dirtyChunks: 1, manifest: { launches: { exact: 1, unknown: 0 } } });
    await expectSaved(app, store, third.manifest.id, app.snapshot());
  });

  it('is saved in both places, whichever was the last', async () => {
    const { app, data, store, told } = await quietOne();
    await save(app, store, { to: 'memory' });
    app.launch('stir_part', 8, 256, [data, 0, 2048, 5]);
    for (let i = 0; i < 2; i++) app.event('wrote', { address: 0n, size: 0n, reason: 'planted' });
    await told();
    expect(app.quiet).toBe(true);
    app.launch('stir_part', 8, 256, [data, 16_384, 2048, 5]);
    const memory = await save(app, store, { to: 'memory' });
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    const { manifest } = await save(app, store);
    await expectSaved(app, store, manifest.id, app.snapshot());
    const snapshot = app.snapshot();
    app.launch('stir_part', 8, 256, [data, 0, 4096, 7]);
    await goBack(app, store, manifest.id);
    for (const [number, bytes] of app.snapshot()) expect(Buffer.compare(bytes, snapshot.get(number)!)).toBe(0);
    expect([memory.manifest.launches!.unknown, manifest.launches!.unknown]).toEqual([1, 2 + 1]);
    expect([memory.manifest.launches!.exact, manifest.launches!.exact]).toEqual([1, 2]);
  });

  it('is not believed what was known of memory before', async () => {
    const { app, other, table, store } = await quietOne();
    const seen = () => app.process.bridge.executor.memory.read(table.address, 8);
    app.copyIn(table, new Uint8Array(new BigUint64Array([other.address]).buffer));
    await app.process.catchUp(new AbortController().signal);
    // Until then no answer counts: all memory does.
    expect(seen()).toBeDefined();
    await save(app, store);
    expect(seen()).toBeUndefined();
  });

  it('stays so when it could not be held, and nothing is lost', async () => {
    const { app, data, store } = await quietOne();
    app.launch('stir_part', 8, 256, [data, 0, 2048, 5]);
    app.faults.set('hold', 'refuse');
    await expect(save(app, store)).rejects.toThrow('planted');
    app.faults.clear();
    expect(app.quiet).toBe(true);
    app.launch('stir_part', 8, 256, [data, 16_384, 2048, 5]);
    app.onSave = () => {
      throw new Error('no space');
    };
    await expect(save(app, store)).rejects.toThrow('no space');
    app.onSave = () => {};
    app.launch('stir_part', 8, 256, [data, 3 * 16_384, 2048, 5]);
    const { manifest } = await save(app, store);
    expect(manifest.launches).toMatchObject({ unknown: 4, exact: 1 });
    await expectSaved(app, store, manifest.id, app.snapshot());
  });

  it('adds up over several holds what was not told before a checkpoint', () => {
    const { bridge } = started({ recording: { quietAfter: 0 } }).app.process;
    for (const untold of [3, 8]) {
      expect(bridge.becomesQuiet()).toBe(true);
      bridge.held(untold);
    }
    const { byVerdict, kernels } = bridge.statistics;
    expect(byVerdict.unknown).toBe(8);
    expect(kernels.find(({ name }) => name === UNTOLD)).toMatchObject({ launches: 8 });
  });

  it('is not made quiet where unknown launches count for less than all memory', async () => {
    const { app } = started({ recording: { unknown: 'args', quietAfter: 0 } });
    for (let i = 0; i < 3; i++) app.event('wrote', { address: 0n, size: 0n, reason: 'planted' });
    await app.process.catchUp(new AbortController().signal);
    expect(app.process.bridge.isQuiet).toBe(false);
  });
});
