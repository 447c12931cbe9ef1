/** A sample of `scripts/runtime-chains.mjs`: chains of checkpoints of every sample program, held against its memory. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { playChain, SAMPLES } from '../../scripts/runtime/chains.mjs';
import { Store } from '../../src/checkpoint/index.js';
import { call, callAll } from '../../src/runtime/control-client.js';
import { isBuilt } from './supervised.js';

const SEED = 2026;

describe.skipIf(!isBuilt)('a chain of checkpoints', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-chains-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  for (const app of SAMPLES) {
    // The one with random kernels is as long as the promise; the others' long chains are the script's.
    const increments = app === 'random' ? 50 : 12;
    it(`of ${app} holds what memory was ${increments} times, and leads back to each with the same end`, async () => {
      const place = { folder, store: join(folder, app) };
      const { wrong, counts } = await playChain({ Store, call, callAll }, place, {
        app,
        seed: SEED,
        increments,
        backTo: 6,
      });
      expect(wrong).toEqual([]);
      expect(counts.increments).toBe(increments);
      expect(counts.restores).toBeGreaterThanOrEqual(6);
    });
  }

  it('holds what memory was when launches are counted and not told', async () => {
    const place = { folder, store: join(folder, 'quiet') };
    const chain = { app: 'random', seed: SEED, increments: 12, backTo: 4, options: ['--quiet-after', '0'] };
    const { wrong, counts } = await playChain({ Store, call, callAll }, place, chain);
    expect(wrong).toEqual([]);
    expect(counts.untold).toBeGreaterThan(0);
  });
});
