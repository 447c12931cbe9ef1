/**
 * Random kernels, launched at random: no byte is missed, and no exact answer has one too many. The script
 * `scripts/judge-programs.mjs` plays more of the same; its `--seed loops --index I` shows the one that fails here.
 */
import { expect, it } from 'vitest';
import { judgeProgram } from '../../scripts/judge/judge.mjs';
import { Tally } from '../../scripts/judge/tally.mjs';
import { library } from './helpers.js';

const PROGRAMS = 200;

it('random kernels write nothing that shadow execution does not tell', { timeout: 300_000 }, async () => {
  const tally = new Tally();
  const lines: string[] = [];
  for (let index = 0; index < PROGRAMS; index++) {
    const { entry, session, results } = await judgeProgram(library, 'loops', index);
    for (const line of tally.add(entry, session, results)) lines.push(`${index}: ${line}`);
  }
  expect(lines.join('\n')).toBe('');
  expect(tally.bytes).toBeGreaterThan(10_000n);
});
