#!/usr/bin/env node
/**
 * Judges shadow execution by execution of whole kernels over random launches of every fixture kernel:
 * `node scripts/judge.mjs [--launches N] [--seed S] [--kernel NAME] [--file PART] [--index I] [--threads N]
 * [--skip PATTERN] [--verbose]`, after
 * `npm run build`. Progress goes to stderr, the summary to stdout. Exits with 1 when a byte was missed or an exact answer had
 * one too many; each such finding prints the line that shows it again.
 */
import { parseArgs } from 'node:util';
import { judgeSession } from './judge/judge.mjs';
import { loadKernels } from './judge/kernels.mjs';
import { library } from './judge/library.mjs';
import { Tally } from './judge/tally.mjs';

const { values } = parseArgs({
  options: {
    launches: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    kernel: { type: 'string' },
    file: { type: 'string' },
    index: { type: 'string' },
    skip: { type: 'string' },
    verbose: { type: 'boolean' },
    threads: { type: 'string', default: '1024' },
  },
});
const { kernels: all, leftOut } = await loadKernels(library, (file) => !values.file || file.includes(values.file));
const skipped = values.skip === undefined ? undefined : new RegExp(values.skip);
const kernels = all.filter(({ name }) => (!values.kernel || name === values.kernel) && !skipped?.test(name));
if (kernels.length === 0) {
  console.error('no kernel has that name');
  process.exit(2);
}
const wanted = Number(values.launches);
const tally = new Tally(leftOut);
let index = Number(values.index ?? 0);
let shown = Date.now();
do {
  for (const entry of kernels) {
    if (tally.launches >= wanted) break;
    const session = { seed: values.seed, index, maxThreads: Number(values.threads) };
    const began = Date.now();
    if (values.verbose) process.stderr.write(`${entry.file} ${entry.name} ${index}`);
    const results = judgeSession(library, entry, session);
    if (values.verbose) process.stderr.write(` ${Date.now() - began} ms\n`);
    for (const line of tally.add(entry, session, results)) console.log(line);
    if (values.index !== undefined) tally.explain(entry, results);
    if (Date.now() - shown > 5000) {
      shown = Date.now();
      console.error(`${tally.launches} launches, round ${index}, ${tally.failures} findings`);
    }
  }
  index++;
} while (values.index === undefined && tally.launches < wanted);
console.log(tally.summary());
process.exit(tally.failures > 0 ? 1 : 0);
