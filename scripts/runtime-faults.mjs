// Kills supervisors and applications at every step of checkpoint (with control state, too), restore, suspend and resume, to and from a store and host memory, drop,
// and durable checkpoints (scripts/runtime/faults.mjs).
//   node scripts/runtime-faults.mjs [--kills N] [--seed N] [--criu PATH]     default: 300 kills from seed 1; about three seconds each
// Durable checkpoints need CRIU, in PATH or named. Prints each finding with the seed that repeats it; ends with 1 when there was one.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Store } from '../dist/checkpoint/index.js';
import { findCriu } from '../dist/runtime/criu.js';
import { call, callAll } from '../dist/runtime/index.js';
import { playRound, roundOf, undisturbed } from './runtime/faults.mjs';

const text = { type: 'string' };
const { values } = parseArgs({ options: { kills: text, seed: text, criu: text } });
const kills = Number(values.kills ?? 300);
const first = Number(values.seed ?? 1);
const folder = mkdtempSync(join(tmpdir(), 'gcr-faults-'));
const criu = await findCriu(values.criu && resolve(values.criu)).catch((error) => {
  console.log(`without durable checkpoints: ${error.message.split('\n')[0]}`);
});
const place = { folder, store: join(folder, 'store'), criu: criu?.path };
const counts = new Map();
let findings = 0;
try {
  const known = { digest: await undisturbed(place), checkpoints: new Set() };
  for (let seed = first; seed < first + kills; seed++) {
    const { operation, victim } = roundOf(seed, place.criu);
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
