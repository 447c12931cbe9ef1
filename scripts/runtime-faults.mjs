// Kills supervisors and applications at every step of checkpoint (with control state, too), restore, suspend and resume (scripts/runtime/faults.mjs).
//   node scripts/runtime-faults.mjs [--kills N] [--seed N]      default: 300 kills from seed 1; about three seconds each
// Prints each finding with the seed that repeats it; ends with 1 when there was one.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Store } from '../dist/checkpoint/index.js';
import { call, callAll } from '../dist/runtime/index.js';
import { playRound, roundOf, undisturbed } from './runtime/faults.mjs';

const { values } = parseArgs({ options: { kills: { type: 'string' }, seed: { type: 'string' } } });
const kills = Number(values.kills ?? 300);
const first = Number(values.seed ?? 1);
const folder = mkdtempSync(join(tmpdir(), 'gcr-faults-'));
const place = { folder, store: join(folder, 'store') };
const counts = new Map();
let findings = 0;
try {
  const known = { digest: await undisturbed(place), checkpoints: new Set() };
  for (let seed = first; seed < first + kills; seed++) {
    const { operation, victim } = roundOf(seed);
    counts.set(`${operation}, ${victim}`, (counts.get(`${operation}, ${victim}`) ?? 0) + 1);
    for (const message of await playRound({ Store, call, callAll }, place, seed, known)) {
      findings++;
      console.log(message);
    }
    if ((seed - first) % 25 === 24) console.log(`${seed - first + 1} kills, ${findings} findings`);
  }
  for (const [what, count] of [...counts].sort()) console.log(`${String(count).padStart(5)}  ${what} killed`);
  console.log(`${kills} kills, ${known.checkpoints.size} checkpoints committed, ${findings} findings`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(findings > 0 ? 1 : 0);
