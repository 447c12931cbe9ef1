/**
 * What recording costs: the same work of processes alone and of processes under `run`, in turns, so that what else happens on the machine meets both.
 * Each sample of a recorded process is held against the one of its neighbour that was taken right before or after it. Samples are short and many, because
 * a program that is bound by its processor is half as fast again from one moment to the next; pairs of processes are several, because how fast a process
 * is depends on where its memory came to lie, too; and all of them work on the same few processors, one at a time, supervisors anywhere.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { app } from '../programs.mjs';
import { row } from '../rows.mjs';
import { llama } from '../sizes.mjs';

const LAUNCHING_PAIRS = 4;
/** Processors on which the programs work, on a machine that has enough of them. */
const PROCESSORS = '2-5';
const ENOUGH_PROCESSORS = 12;
/** How long what is left of a start may take: modules are parsed, and templates built, beside the program. */
const SETTLED_MS = 20_000;

/** Samples of both kinds: in each turn every pair has one. The first turn is not counted. */
async function inTurns(turns, processes, measure) {
  const found = { plain: [], recorded: [] };
  for (let round = -1; round < turns; round++)
    for (const [at, plain] of processes.plain.entries()) {
      const turn = [
        ['plain', plain],
        ['recorded', processes.recorded[at]],
      ];
      for (const [kind, process] of (round + at) % 2 ? turn : turn.reverse()) {
        const sample = await measure(process);
        if (round >= 0) found[kind].push(sample);
      }
    }
  return found;
}

async function startBoth({ programs, quick }, command, pairs) {
  const each = (start) => Promise.all(Array.from({ length: quick ? 1 : pairs }, start));
  const [plain, recorded] = await Promise.all([
    each(() => programs.plain(command)),
    each(() => programs.recorded(command)),
  ]);
  return { plain, recorded };
}

/** Until no supervisor has anything left to do of what its program did so far; then the programs' threads keep to their processors. */
async function settle({ plain, recorded }) {
  for (const program of recorded)
    for (const end = Date.now() + SETTLED_MS; ; ) {
      const { waiting } = await program.operate('status');
      if (waiting === 0) break;
      if (Date.now() > end) throw new Error(`a supervisor has ${waiting} events left`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  if (cpus().length < ENOUGH_PROCESSORS) return;
  for (const { pid } of [...plain, ...recorded]) {
    const { status, stderr } = spawnSync('taskset', ['-acp', PROCESSORS, String(pid)], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`taskset: ${stderr}`);
  }
}

/** Ends them all, which must have computed the same. */
async function endBoth({ plain, recorded }) {
  const digests = await Promise.all([...plain, ...recorded].map((program) => program.end()));
  if (new Set(digests).size > 1) throw new Error(`recorded programs computed something else: ${digests.join(', ')}`);
}

/** The row of samples of times. */
const overhead = (what, unit, { plain, recorded }, atMost) =>
  row({ what, unit, ours: recorded, reference: { name: 'alone', samples: plain }, ratio: 'pairs', atMost });

/** What of a model is measured together, in as many pairs of processes as the device holds: mode, steps of a sample, turns in a round, and a name. */
const WORK = [
  {
    pairs: 5,
    modes: [
      ['decode', 4, 4, 'eager decode'],
      ['replay', 40, 1, 'graph replay of a decode step'],
    ],
  },
  { pairs: 4, modes: [['train', 2, 3, 'training step, AdamW']] },
];

async function torch(bench, { pairs, modes }) {
  const processes = await startBoth(bench, llama(bench), pairs);
  const all = [...processes.plain, ...processes.recorded];
  for (const [mode, steps, turns, what] of modes) {
    await Promise.all(all.map((program) => program.ask(`prepare ${mode}`)));
    for (const program of all) await program.ask(`${mode} 2`);
    await settle(processes);
    bench.log(what);
    const sample = async (program) => (1000 * Number((await program.ask(`${mode} ${steps}`))[3])) / steps;
    bench.add(overhead(`recording: ${what}`, 'ms', await inTurns(turns * bench.rounds, processes, sample), 1.01));
  }
  await endBoth(processes);
}

export async function run(bench) {
  bench.log('launches alone');
  const command = [app('launches'), '--pace', '--steps', '1000', '--count', bench.quick ? '200' : '10000'];
  const processes = await startBoth(bench, command, LAUNCHING_PAIRS);
  await settle(processes);
  const launches = await inTurns(3 * bench.rounds, processes, async (program) => {
    program.write('');
    return Number((await program.until('step')).find((line) => line.startsWith('took')).split(' ')[1]) / 1000;
  });
  await endBoth(processes);
  bench.add(overhead('recording: launches of a kernel that does nothing', 'µs', launches, 1.1));
  if (bench.python) for (const work of WORK) await torch(bench, work);
}
