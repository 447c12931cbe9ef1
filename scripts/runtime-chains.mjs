// Long chains of checkpoints of every sample program on the simulated device or a real one, against what memory was (scripts/runtime/chains.mjs).
//   node scripts/runtime-chains.mjs [--samples a,b] [--seeds N] [--first SEED] [--increments N] [--device sim|auto] [--quiet-after N]
// Default: every sample, 3 seeds from 1, 55 increments each, and back to every checkpoint at the end. Prints each finding with the sample and seed that
// repeat it; ends with 1 when there was one.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Store } from '../dist/checkpoint/index.js';
import { call, callAll } from '../dist/runtime/index.js';
import { playChain, SAMPLES } from './runtime/chains.mjs';

const text = { type: 'string' };
const { values } = parseArgs({
  options: { samples: text, seeds: text, first: text, increments: text, device: text, 'quiet-after': text },
});
const samples = values.samples?.split(',') ?? SAMPLES;
const first = Number(values.first ?? 1);
const seeds = Number(values.seeds ?? 3);
const increments = Number(values.increments ?? 55);
const unknown = samples.filter((name) => !SAMPLES.includes(name));
if (unknown.length > 0 || ![first, seeds, increments].every((number) => Number.isSafeInteger(number) && number > 0)) {
  console.error(
    `usage: runtime-chains.mjs [--samples a,b] [--seeds N] [--first SEED] [--increments N] [--device sim|auto] [--quiet-after N]; samples: ${SAMPLES.join(' ')}`,
  );
  process.exit(64);
}
const options = values['quiet-after'] === undefined ? [] : ['--quiet-after', values['quiet-after']];
const total = {};
let findings = 0;
for (const app of samples)
  for (let seed = first; seed < first + seeds; seed++) {
    const folder = mkdtempSync(join(tmpdir(), 'gcr-chains-'));
    try {
      const place = { folder, store: join(folder, 'store'), device: values.device };
      const { wrong, counts } = await playChain({ Store, call, callAll }, place, { app, seed, increments, options });
      for (const message of wrong) console.log(message);
      findings += wrong.length;
      for (const [what, count] of Object.entries(counts)) total[what] = (total[what] ?? 0) + count;
      const { increments: made, restores, seconds } = counts;
      console.log(
        `${app}, seed ${seed}: ${made} increments, ${restores} ways back, ${seconds.toFixed(1)} s, ${wrong.length} findings`,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
const { increments: made, full, compared, bytes, restores, suspends, running, gone, untold, seconds } = total;
console.log(
  `${samples.length * seeds} chains: ${made} increments and ${full} full checkpoints, ${suspends} of them by suspend, ${running} while running (${gone} with memory of a step); ` +
    `${compared} compared with memory (${(bytes / 1e9).toFixed(2)} GB); ${restores} ways back; ${untold} launches not told; ${findings} findings; ${seconds.toFixed(0)} s`,
);
process.exit(findings > 0 ? 1 : 0);
