/**
 * Checkpoints of training, one after every step: how long it stands still and how much is copied, beside the driver's own checkpoint of the same
 * program. Of all parameters most memory changes, and an increment cannot be small; training of the last layer alone leaves most as it is. All
 * programs are started beside each other, since that takes most of the time, and measured one after the other.
 */
import { median, row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';
import { driverCheckpoint } from './driver.mjs';

/** Modes of llama.py, what the table calls them, and the host memory for a full checkpoint and an increment, in MiB. */
const WORK = [
  ['train', 'of all parameters', 28 * 1024],
  ['last', 'of the last layer', 12 * 1024],
];

async function measured(bench, [mode, what], plain, program) {
  const { log, add } = bench;
  const found = { ours: [], driver: [], share: [], step: [] };
  for (const one of [plain, program]) await one.ask(`${mode} 3`);
  await program.toMemory('checkpoint');
  // The first increment is not counted: what it is copied to is not prepared.
  for (let round = -1; round < bench.rounds; round++) {
    const [, , , seconds] = await program.ask(`${mode} 1`);
    const { heldMs, manifest, totalBytes, timings } = await program.toMemory('checkpoint');
    const chunks = `${manifest.chunks.changed} chunks of ${Math.ceil(totalBytes / 65_536)}`;
    log(`${mode}: held ${heldMs.toFixed(0)} ms, ${chunks}; ${JSON.stringify(timings)}`);
    if (round < 0) continue;
    found.ours.push(heldMs / 1000);
    found.step.push(1000 * Number(seconds));
    found.share.push((100 * 65_536 * manifest.chunks.changed) / totalBytes);
  }
  for (let round = 0; round < bench.rounds; round++) {
    await plain.ask(`${mode} 1`);
    const { save, restore } = await driverCheckpoint(bench, plain.pid);
    found.driver.push((save + restore) / 1000);
    log(`${mode}: the driver's own: ${found.driver.at(-1).toFixed(2)} s`);
  }
  await plain.ask(`${mode} 1`);
  add(
    row({
      what: `training ${what}, a checkpoint after every step: stop`,
      unit: 's',
      ours: found.ours,
      reference: { name: 'driver’s own, out and back', samples: found.driver },
      ratio: 'reference/ours',
      note: `a step takes ${median(found.step).toFixed(0)} ms`,
    }),
  );
  add(row({ what: `… memory that a step ${what} changes`, unit: '%', ours: found.share }));
  const digests = await Promise.all([plain.end(), program.end()]);
  add(
    row({
      what: `… checkpointed training ${what} that ends with another result`,
      unit: 'programs',
      ours: [digests[0] === digests[1] ? 0 : 1],
      atMost: 0,
    }),
  );
}

export async function run(bench) {
  const { programs } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const command = llama(bench);
  const started = await Promise.all(
    WORK.map(([, , mib]) =>
      Promise.all([
        programs.plain(command),
        programs.recorded(command, { arguments: hostMemory(bench.quick ? 1024 : mib) }),
      ]),
    ),
  );
  for (const [at, work] of WORK.entries()) await measured(bench, work, ...started[at]);
}
