/**
 * What recording costs: the same work of processes alone and of processes under `run`, in turns, so that what else happens on the machine meets both.
 * Each sample of a recorded process is held against the one of its neighbour that was taken right before or after it. Samples are short and many, because
 * a program that is bound by its processor is half as fast again from one moment to the next; pairs of processes are several, because how fast a process
 * is depends on where its memory came to lie, too; and all of them work on the same two processors, one at a time. Supervisors keep to others: two
 * processors of a virtual machine may be one core, which its scheduler cannot know.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { app } from '../programs.mjs';
import { row } from '../rows.mjs';
import { llama } from '../sizes.mjs';

const PAIRS = 4;
/** Processors on which programs and supervisors work, on a machine that has enough of them. */
const PROGRAMS = '2,4';
const SUPERVISORS = '8-15';
const ENOUGH_PROCESSORS = 16;
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

async function startBoth({ programs, quick }, command) {
  const each = (start) => Promise.all(Array.from({ length: quick ? 1 : PAIRS }, start));
  const [plain, recorded] = await Promise.all([
    each(() => programs.plain(command)),
    each(() => programs.recorded(command)),
  ]);
  return { plain, recorded };
}

/** Until no supervisor has anything left to do of what its program did so far; then programs and supervisors keep to their processors. */
async function settle({ plain, recorded }) {
  for (const program of recorded)
    for (const end = Date.now() + SETTLED_MS; ; ) {
      const { waiting } = await program.operate('status');
      if (waiting === 0) break;
      if (Date.now() > end) throw new Error(`a supervisor has ${waiting} events left`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  if (cpus().length < ENOUGH_PROCESSORS) return;
  for (const program of [...plain, ...recorded]) keepTo(PROGRAMS, program.pid);
  for (const program of recorded) keepTo(SUPERVISORS, program.child.pid);
}

/** All threads of a process. */
function keepTo(processors, pid) {
  const { status, stderr } = spawnSync('taskset', ['-acp', processors, String(pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`taskset: ${stderr}`);
}

/** Ends them all, which must have computed the same. */
async function endBoth({ plain, recorded }) {
  const digests = await Promise.all([...plain, ...recorded].map((program) => program.end()));
  if (new Set(digests).size > 1) throw new Error(`recorded programs computed something else: ${digests.join(', ')}`);
}

/** The row of samples of times. */
const overhead = (what, unit, { plain, recorded }, atMost) =>
  row({ what, unit, ours: recorded, reference: { name: 'alone', samples: plain }, ratio: 'pairs', atMost });

/**
 * What of a model is measured together, as much as the device holds several times: mode, steps of a sample, turns in a round, and a name. `groups` of
 * pairs one after the other, because how fast a process is differs by some percent.
 */
const WORK = [
  {
    groups: 2,
    modes: [
      ['decode', 5, 3, 'eager decode'],
      ['replay', 40, 1, 'graph replay of a decode step'],
    ],
  },
  { groups: 2, modes: [['train', 3, 2, 'training step, AdamW']] },
];

async function torch(bench, { groups, modes }) {
  const found = modes.map(() => ({ plain: [], recorded: [] }));
  for (let group = 0; group < groups; group++) {
    const processes = await startBoth(bench, llama(bench));
    const all = [...processes.plain, ...processes.recorded];
    for (const [index, [mode, steps, turns, what]] of modes.entries()) {
      await Promise.all(all.map((program) => program.ask(`prepare ${mode}`)));
      for (const program of all) await program.ask(`${mode} 2`);
      await settle(processes);
      bench.log(what);
      // The median of its steps.
      const sample = async (program) => Number((await program.ask(`${mode} ${steps}`))[5]);
      const { plain, recorded } = await inTurns(turns * bench.rounds, processes, sample);
      found[index].plain.push(...plain);
      found[index].recorded.push(...recorded);
    }
    await endBoth(processes);
  }
  for (const [index, [, , , what]] of modes.entries())
    bench.add(overhead(`recording: ${what}`, 'ms', found[index], 1.01));
}

export async function run(bench) {
  bench.log('launches alone');
  const command = [app('launches'), '--pace', '--steps', '1000', '--count', bench.quick ? '200' : '10000'];
  const processes = await startBoth(bench, command);
  await settle(processes);
  const launches = await inTurns(3 * bench.rounds, processes, async (program) => {
    program.write('');
    return Number((await program.until('step')).find((line) => line.startsWith('took')).split(' ')[1]) / 1000;
  });
  await endBoth(processes);
  bench.add(overhead('recording: launches of a kernel that does nothing', 'µs', launches, 1.1));
  if (bench.python) for (const work of WORK) await torch(bench, work);
}
