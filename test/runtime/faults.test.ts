/** A sample of `scripts/runtime-faults.mjs`: supervisors and applications killed at steps of every operation. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { operations, playRound, roundOf, undisturbed } from '../../scripts/runtime/faults.mjs';
import { Store } from '../../src/checkpoint/index.js';
import { call, callAll } from '../../src/runtime/control-client.js';
import { findCriu } from '../../src/runtime/criu.js';
import { isBuilt } from './supervised.js';

const FIRST = 1000;
const ROUNDS = 30;
/** Without it there are no kills at steps of durable checkpoints. */
const criu = await findCriu(process.env['GCR_CRIU']).then(
  ({ path }) => path,
  () => undefined,
);

describe.skipIf(!isBuilt)('a kill', () => {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-kills-'));
  const place = { folder, store: join(folder, 'store'), criu };
  const known = { digest: undefined as string | undefined, checkpoints: new Set<string>() };
  beforeAll(async () => {
    known.digest = await undisturbed(place);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is drawn from all operations and both victims', () => {
    const rounds = Array.from({ length: 10 * ROUNDS }, (_, index) => roundOf(FIRST + index, criu));
    expect(new Set(rounds.map(({ operation }) => operation)).size).toBe(operations(criu).length);
    expect(new Set(rounds.map(({ victim }) => victim)).size).toBe(2);
  });

  for (let seed = FIRST; seed < FIRST + ROUNDS; seed++) {
    const { operation, step, victim } = roundOf(seed, criu);
    it(`of the ${victim} at ${step} of ${operation} loses nothing (seed ${seed})`, async () => {
      expect(await playRound({ Store, call, callAll }, place, seed, known)).toEqual([]);
    });
  }
});
