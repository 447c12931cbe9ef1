/** What recording costs a program that does nothing but launch, and the model as it decodes. */
import { app } from '../programs.mjs';
import { between, endBoth, keptApart, overhead, settle, startBoth, torch } from '../recording.mjs';

/** Of the program that does nothing but launch. */
const PAIRS = 4;
const DECODING = {
  pairs: 8,
  isChecked: true,
  modes: [
    { mode: 'decode', steps: 5, what: 'eager decode', turns: { between: 2, within: 8 } },
    { mode: 'replay', steps: 40, what: 'graph replay of a decode step', turns: { between: 1, within: 1 } },
  ],
};

export async function run(bench) {
  bench.log('launches alone');
  const command = [app('launches'), '--pace', '--steps', '1000', '--count', bench.quick ? '200' : '10000'];
  const processes = await startBoth(bench, command, bench.quick ? 1 : PAIRS);
  await settle(processes);
  const step = async (program) => {
    program.write('');
    return Number((await program.until('step')).find((line) => line.startsWith('took')).split(' ')[1]) / 1000;
  };
  const launches = await keptApart(processes, () => between(3 * bench.rounds, processes, step));
  await endBoth(processes);
  bench.add(overhead('recording: launches of a kernel that does nothing', 'µs', launches, 'alone', 1.1));
  if (bench.python) await torch(bench, DECODING);
}
