/**
 * The driver's own checkpoint of a process, by the four steps that it has for it: of much memory, and of a process that holds next to none
 * (what its control state alone takes). Other scenarios of the same run are held against these figures.
 */
import { checkpointProcess } from '../../../dist/native/index.js';
import { row } from '../rows.mjs';
import { holder } from '../sizes.mjs';

const STEPS = ['lock', 'checkpoint', 'restore', 'unlock'];

/** Milliseconds of each step; of `checkpoint` and `restore` with the lock before and after. */
export async function driverCheckpoint(bench, pid) {
  const times = {};
  for (const step of STEPS) {
    const start = performance.now();
    await checkpointProcess(bench.driver, pid, step);
    times[step] = performance.now() - start;
  }
  return { save: times.lock + times.checkpoint, restore: times.restore + times.unlock };
}

export async function run(bench) {
  const { programs, log, reference } = bench;
  for (const [name, mib] of [
    ['control', 2],
    ['full', bench.heldMib],
  ]) {
    log(`holding ${mib} MiB`);
    const program = await programs.plain(holder(mib));
    const found = { save: [], restore: [], bytes: mib * 2 ** 20 };
    // One that is not counted where it is quick: the first finds nothing prepared.
    if (name === 'control') await driverCheckpoint(bench, program.pid);
    for (let round = 0; round < bench.rounds; round++) {
      const { save, restore } = await driverCheckpoint(bench, program.pid);
      found.save.push(save / 1000);
      found.restore.push(restore / 1000);
      log(`checkpoint ${(save / 1000).toFixed(2)} s, restore ${(restore / 1000).toFixed(2)} s`);
    }
    await program.ask('');
    await program.end();
    reference[name] = found;
    const what = name === 'control' ? 'the control state alone' : `${(mib / 1024).toFixed(1)} GiB`;
    bench.add(row({ what: `driver’s own checkpoint of ${what}`, unit: 's', ours: found.save }));
    bench.add(row({ what: `driver’s own restore of ${what}`, unit: 's', ours: found.restore }));
  }
}
