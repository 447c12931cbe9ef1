/**
 * Checkpoints of training, one after every step: how long it stands still and how much is copied, beside the driver's own checkpoint of the same
 * program. Of all parameters most memory changes, and an increment cannot be small; scenario `tuning` trains the last layer alone.
 */
import { median, row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';
import { driverCheckpoint } from './driver.mjs';

/** @param mode of llama.py; `what` names it in the table */
export async function trained(bench, mode, what) {
  const { programs, log, add } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const command = llama(bench);
  const found = { ours: [], driver: [], share: [], step: [] };
  const [plain, program] = await Promise.all([
    programs.plain(command),
    programs.recorded(command, { arguments: hostMemory(bench.quick ? 1024 : 28 * 1024) }),
  ]);
  for (const one of [plain, program]) await one.ask(`${mode} 3`);
  await program.toMemory('checkpoint');
  // The first increment is not counted: what it is copied to is not prepared.
  for (let round = -1; round < bench.rounds; round++) {
    const [, , , seconds] = await program.ask(`${mode} 1`);
    const { heldMs, manifest, totalBytes, timings } = await program.toMemory('checkpoint');
    const chunks = `${manifest.chunks.changed} chunks of ${Math.ceil(totalBytes / 65_536)}`;
    log(`held ${heldMs.toFixed(0)} ms, ${chunks}; ${JSON.stringify(timings)}`);
    if (round < 0) continue;
    found.ours.push(heldMs / 1000);
    found.step.push(1000 * Number(seconds));
    found.share.push((100 * 65_536 * manifest.chunks.changed) / totalBytes);
  }
  for (let round = 0; round < bench.rounds; round++) {
    await plain.ask(`${mode} 1`);
    const { save, restore } = await driverCheckpoint(bench, plain.pid);
    found.driver.push((save + restore) / 1000);
    log(`the driver's own: ${found.driver.at(-1).toFixed(2)} s`);
  }
  await plain.ask(`${mode} 1`);
  const digests = [await plain.end(), await program.end()];
  if (digests[0] !== digests[1]) throw new Error('the checkpointed training ended with another result');
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
}

export const run = (bench) => trained(bench, 'train', 'of all parameters');
