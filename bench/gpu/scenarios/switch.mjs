/** Switching between two programs that take the device in turns: one suspended, the other resumed, up to its first token. Beside the driver's own. */

import { checkpointProcess } from '../../../dist/native/index.js';
import { row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';

export async function run(bench) {
  const { programs, log, add } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const command = (seed) => llama(bench, '--seed', seed);
  const host = { arguments: hostMemory(bench.quick ? 512 : 4096) };
  const leave = {
    ours: (program) => program.toMemory('suspend'),
    driver: async ({ pid }) => {
      await checkpointProcess(bench.driver, pid, 'lock');
      await checkpointProcess(bench.driver, pid, 'checkpoint');
    },
  };
  const enter = {
    ours: (program) => program.operate('resume'),
    driver: async ({ pid }) => {
      await checkpointProcess(bench.driver, pid, 'restore');
      await checkpointProcess(bench.driver, pid, 'unlock');
    },
  };
  const found = { ours: [], driver: [] };
  for (const kind of ['driver', 'ours']) {
    const start = kind === 'ours' ? (one) => programs.recorded(one, host) : (one) => programs.plain(one);
    const pair = await Promise.all(['1', '2'].map((seed) => start(command(seed))));
    for (const program of pair) await program.ask('prepare decode');
    for (const program of pair) await program.ask('decode 10');
    await leave[kind](pair[1]);
    for (let round = -2; round < bench.rounds; round++) {
      const [from, to] = round % 2 ? [pair[1], pair[0]] : [pair[0], pair[1]];
      const begin = performance.now();
      await leave[kind](from);
      await enter[kind](to);
      await to.ask('decode 1');
      const seconds = (performance.now() - begin) / 1000;
      // Each has gone and come once before it counts.
      if (round >= 0) found[kind].push(seconds);
      log(`${kind}: switched in ${seconds.toFixed(2)} s`);
    }
    await enter[kind](bench.rounds % 2 ? pair[1] : pair[0]);
    for (const program of pair) await program.end();
  }
  add(
    row({
      what: 'switching between two decoding programs, to the first token',
      unit: 's',
      ours: found.ours,
      reference: { name: 'driver’s own', samples: found.driver },
      ratio: 'reference/ours',
    }),
  );
}
