/**
 * Switching between two programs that take the device in turns: one suspended, the other resumed, up to its first token. Beside the driver's own. Without
 * PyTorch programs that hold memory take their place.
 */

import { checkpointProcess } from '../../../dist/native/index.js';
import { row } from '../rows.mjs';
import { holder, hostMemory, llama } from '../sizes.mjs';

/** Rounds that do not count: each program has gone and come once before. */
const WARM_UP = 2;
/** What each of the programs holds that take the place of the decoding ones, at most. */
const HELD_MIB = 2048;

/** How programs are started, and what they are asked first and then in every round. */
function workOf(bench) {
  const { python, quick, heldMib } = bench;
  if (python)
    return {
      what: 'two decoding programs, to the first token',
      command: (seed) => llama(bench, '--seed', seed),
      mib: quick ? 512 : 4096,
      first: ['prepare decode', 'decode 10'],
      step: 'decode 1',
    };
  const mib = Math.min(heldMib, HELD_MIB);
  return {
    what: 'two programs that hold memory, to the first step',
    command: (seed) => [...holder(mib), '--seed', seed],
    mib: 2 * mib,
    first: [''],
    step: '',
  };
}

export async function run(bench) {
  const { programs, log, add } = bench;
  const work = workOf(bench);
  const driver = async ({ pid }, ...steps) => {
    for (const step of steps) await checkpointProcess(bench.driver, pid, step);
  };
  const kinds = {
    driver: {
      start: (command) => programs.plain(command),
      leave: (program) => driver(program, 'lock', 'checkpoint'),
      enter: (program) => driver(program, 'restore', 'unlock'),
    },
    ours: {
      start: (command) => programs.recorded(command, { arguments: hostMemory(work.mib) }),
      leave: (program) => program.toMemory('suspend'),
      enter: (program) => program.operate('resume'),
    },
  };
  const found = {};
  const digests = {};
  for (const [kind, { start, leave, enter }] of Object.entries(kinds)) {
    const pair = await Promise.all(['1', '2'].map((seed) => start(work.command(seed))));
    for (const line of work.first) for (const program of pair) await program.ask(line);
    let [there, away] = pair;
    await leave(away);
    const samples = [];
    for (let round = 0; round < WARM_UP + bench.rounds; round++) {
      const begin = performance.now();
      await leave(there);
      await enter(away);
      await away.ask(work.step);
      samples.push((performance.now() - begin) / 1000);
      [there, away] = [away, there];
      log(`${kind}: switched in ${samples.at(-1).toFixed(2)} s`);
    }
    await enter(away);
    digests[kind] = [];
    for (const program of pair) digests[kind].push(await program.end());
    found[kind] = samples.slice(WARM_UP);
  }
  add(
    row({
      what: `switching between ${work.what}`,
      unit: 's',
      ours: found.ours,
      reference: { name: 'driver’s own', samples: found.driver },
      ratio: 'reference/ours',
    }),
  );
  add(
    row({
      what: 'switched programs that end with another result than with the driver’s own',
      unit: 'programs',
      ours: [digests.ours.filter((digest, index) => digest !== digests.driver[index]).length],
      atMost: 0,
    }),
  );
}
