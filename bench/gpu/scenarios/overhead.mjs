/**
 * What recording costs: the same work of processes alone and of processes under `run`, in turns, so that what else happens on the machine meets both.
 * Several of each, because how fast a process is depends on where it and its memory came to lie, by more than what is measured here.
 */
import { app } from '../programs.mjs';
import { row } from '../rows.mjs';
import { llama } from '../sizes.mjs';

const PROCESSES = 3;

/** Samples of both kinds: in each round every process has its turn. The first round is not counted. */
async function inTurns(bench, processes, measure) {
  const found = { plain: [], recorded: [] };
  for (let round = -1; round < bench.rounds; round++)
    for (const [at, plain] of processes.plain.entries()) {
      const turn = [
        ['plain', plain],
        ['recorded', processes.recorded[at]],
      ];
      for (const [kind, process] of round % 2 ? turn : turn.reverse()) {
        const sample = await measure(process);
        if (round >= 0) found[kind].push(sample);
      }
    }
  return found;
}

async function startBoth({ programs, quick }, command) {
  const each = (start) => Promise.all(Array.from({ length: quick ? 1 : PROCESSES }, start));
  const [plain, recorded] = await Promise.all([
    each(() => programs.plain(command)),
    each(() => programs.recorded(command)),
  ]);
  return { plain, recorded };
}

/** Ends them all, which must have computed the same. */
async function endBoth({ plain, recorded }) {
  const digests = new Set();
  for (const program of [...plain, ...recorded]) digests.add(await program.end());
  if (digests.size > 1) throw new Error('recorded programs computed something else');
}

/** The row of samples of times. */
const overhead = (what, unit, { plain, recorded }, atMost) =>
  row({ what, unit, ours: recorded, reference: { name: 'alone', samples: plain }, ratio: 'ours/reference', atMost });

/** What of a model is measured together: as much as the device holds several times. */
const WORK = [
  [
    ['decode', 15, 'eager decode'],
    ['replay', 40, 'graph replay of a decode step'],
  ],
  [
    ['train', 4, 'training step, AdamW'],
    ['last', 8, 'training step, last layer alone'],
  ],
];

async function torch(bench, work) {
  const processes = await startBoth(bench, llama(bench));
  for (const [mode, steps, what] of work) {
    bench.log(what);
    await Promise.all([...processes.plain, ...processes.recorded].map((program) => program.ask(`prepare ${mode}`)));
    const sample = async (program) => (1000 * Number((await program.ask(`${mode} ${steps}`))[3])) / steps;
    bench.add(overhead(`recording: ${what}`, 'ms', await inTurns(bench, processes, sample), 1.01));
  }
  await endBoth(processes);
}

export async function run(bench) {
  bench.log('launches alone');
  const processes = await startBoth(bench, [
    app('launches'),
    '--pace',
    '--steps',
    '1000',
    '--count',
    bench.quick ? '200' : '30000',
  ]);
  const launches = await inTurns(bench, processes, async (program) => {
    program.write('');
    return Number((await program.until('step')).find((line) => line.startsWith('took')).split(' ')[1]) / 1000;
  });
  await endBoth(processes);
  bench.add(overhead('recording: launches of a kernel that does nothing', 'µs', launches, 1.1));
  if (bench.python) for (const work of WORK) await torch(bench, work);
}
