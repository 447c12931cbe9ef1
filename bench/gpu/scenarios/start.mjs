/** Cold start: from nothing to the first token by starting the program, against bringing a suspended one back from host memory and from a store. */
import { row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';

export async function run(bench) {
  const { programs, log, add } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const command = llama(bench);
  const timed = async (run) => {
    const start = performance.now();
    await run();
    return (performance.now() - start) / 1000;
  };
  const found = { anew: [], memory: [], store: [] };
  for (let round = 0; round < bench.rounds; round++) {
    found.anew.push(
      await timed(async () => {
        const program = await programs.plain(command);
        await program.ask('prepare decode');
        await program.ask('decode 1');
        program.child.kill('SIGKILL');
        await program.exit;
      }),
    );
    log(`started anew in ${found.anew.at(-1).toFixed(2)} s`);
  }
  bench.reference.anew = found.anew;
  const program = await programs.recorded(command, { arguments: hostMemory(bench.quick ? 512 : 4096) });
  await program.ask('prepare decode');
  await program.ask('decode 1');
  for (const to of ['memory', 'store'])
    for (let round = -1; round < bench.rounds; round++) {
      await (to === 'memory' ? program.toMemory('suspend') : program.operate('suspend'));
      const seconds = await timed(async () => {
        await program.operate('resume');
        await program.ask('decode 1');
      });
      if (round >= 0) found[to].push(seconds);
      log(`brought back from ${to} in ${seconds.toFixed(2)} s`);
    }
  await program.end();
  for (const [from, name] of [
    ['memory', 'host memory'],
    ['store', 'a store on tmpfs'],
  ])
    add(
      row({
        what: `first token of a suspended program, from ${name}`,
        unit: 's',
        ours: found[from],
        reference: { name: 'started anew', samples: found.anew },
        ratio: 'reference/ours',
      }),
    );
}
