/**
 * A thousand random launches over all fixture kernels: no byte is missed, and no exact answer has one too many. The script
 * `scripts/judge.mjs` plays more of the same; each failure here prints the line that shows it again.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { judgeSession } from '../../scripts/judge/judge.mjs';
import { loadKernels } from '../../scripts/judge/kernels.mjs';
import { Tally } from '../../scripts/judge/tally.mjs';
import { type Entry, library } from './helpers.js';

const LAUNCHES = 1000;
const SEED = 'test';
/** Too many paths for a test that is run often; the script plays them. */
const SLOW = /Onesweep|call_by_table|hash_insert|sgd_by_table|fill_window/;

let kernels: Entry[];
let leftOut: { readonly kernel: string; readonly reason: string }[];

beforeAll(async () => {
  ({ kernels, leftOut } = await loadKernels(library));
}, 120_000);

describe('random launches', () => {
  it('are of nearly every fixture kernel', () => {
    expect(kernels.length).toBeGreaterThan(400);
    for (const { kernel, reason } of leftOut) expect(reason, kernel).not.toBe('');
  });

  it('write nothing that shadow execution does not tell', { timeout: 300_000 }, () => {
    const tally = new Tally();
    const lines: string[] = [];
    const usual = kernels.filter(({ name }) => !SLOW.test(name));
    for (let index = 0; tally.launches < LAUNCHES; index++) {
      // Every kernel in turn, with a stride that mixes files.
      const entry = usual[(index * 101) % usual.length]!;
      const session = { seed: SEED, index: Math.floor(index / usual.length), maxThreads: 256, maxSteps: 100_000 };
      lines.push(...tally.add(entry, session, judgeSession(library, entry, session)));
    }
    expect(lines.join('\n')).toBe('');
    expect(tally.bytes).toBeGreaterThan(100_000n);
    expect(tally.outside).toBeLessThan(LAUNCHES / 4);
    expect(tally.verdicts[0]!.get('exact')).toBeGreaterThan(LAUNCHES / 2);
  });

  it('that something was found in once', () => {
    // Sizes in a table end a loop in its first round; the threads' number is divided to count the rounds.
    const entry = kernels.find(
      ({ file, name }) => file.endsWith('nvcc/optimizer.sm_75.ptx') && name === 'sgd_by_table',
    )!;
    const results = judgeSession(library, entry, { seed: '91001', index: 2 });
    expect(results.map(({ bytes, findings }) => [bytes, findings])).toEqual(
      [1368n, 808n, 800n, 1368n].map((n) => [n, []]),
    );
    expect(results.every(({ verdicts }) => verdicts.every((verdict: string) => verdict === 'exact'))).toBe(true);
  });
});
