#!/usr/bin/env node
/**
 * Judges shadow execution by random kernels (`judge/programs.mjs`): `node scripts/judge-programs.mjs [--programs N] [--seed S]
 * [--index I]`, after `npm run build`. `--index` judges one program and shows its text. Exits with 1 when a byte was missed or an
 * exact answer had one too many.
 */
import { parseArgs } from 'node:util';
import { judgeProgram } from './judge/judge.mjs';
import { library } from './judge/library.mjs';
import { Tally } from './judge/tally.mjs';

const { values } = parseArgs({
  options: {
    programs: { type: 'string', default: '10000' },
    seed: { type: 'string', default: '1' },
    index: { type: 'string' },
  },
});
const tally = new Tally();
const first = Number(values.index ?? 0);
const end = values.index === undefined ? Number(values.programs) : first + 1;
let shown = Date.now();
for (let index = first; index < end; index++) {
  const { text, entry, session, results } = await judgeProgram(library, values.seed, index);
  const again = `node scripts/judge-programs.mjs --seed ${values.seed} --index ${index}`;
  for (const line of tally.add(entry, session, results)) console.log(`${line.split('\n')[0]}\n  ${again}`);
  if (values.index !== undefined) {
    console.log(text);
    tally.explain(entry, results);
  }
  if (Date.now() - shown > 5000) {
    shown = Date.now();
    console.error(`${index} programs, ${tally.failures} findings`);
  }
}
console.log(tally.totals());
process.exit(tally.failures > 0 ? 1 : 0);
