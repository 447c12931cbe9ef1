/**
 * What recording costs: the same work with it and without, in turns, so that what else happens on the machine meets both. Each sample of a recorded process is held
 * against the one without that was taken right before or after it. Samples are short and many, because a program that is bound by its processor is half as fast again
 * from one moment to the next.
 *
 * *Between* processes: alone, and under `run`; several pairs of them, because how fast a process is depends on where its memory came to lie, too. *Within* processes
 * that all run under `run`: with the recorder's functions, and with the driver's and libraries' own put in their place (hooks.py); nothing else differs there.
 *
 * All programs work on the same processor, one at a time. Supervisors keep to others: two processors of a virtual machine may be one core, which its scheduler cannot know.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { median, row } from './rows.mjs';
import { llama } from './sizes.mjs';

/** Processors on which programs and supervisors work, on a machine that has enough of them. One for all programs: processors of a virtual machine differ. */
const PROGRAMS = '2';
const SUPERVISORS = '8-15';
const ENOUGH_PROCESSORS = 16;
/** How long what is left of a start may take: modules are parsed, and templates built, beside the program. */
const SETTLED_MS = 20_000;
/** Of two steps, in which a program that makes enough launches becomes quiet. */
const MOST_ROUNDS = 20;

/**
 * Samples of both kinds, `plain` and `recorded`: in each turn every pair gives one of each. The first turn is not counted.
 *
 * @param pairs each with functions of these names, which give a sample
 */
async function inTurns(turns, pairs) {
  const found = { plain: [], recorded: [] };
  for (let round = -1; round < turns; round++)
    for (const [at, pair] of pairs.entries()) {
      const turn = ['plain', 'recorded'];
      for (const kind of (round + at) % 2 ? turn : turn.reverse()) {
        const sample = await pair[kind]();
        if (round >= 0) found[kind].push(sample);
      }
    }
  return found;
}

/** Each process without the recorder beside one with it. */
export const between = (turns, { plain, recorded }, measure) =>
  inTurns(
    turns,
    plain.map((program, at) => ({ plain: () => measure(program), recorded: () => measure(recorded[at]) })),
  );

export async function startBoth({ programs }, command, pairs) {
  const each = (start) => Promise.all(Array.from({ length: pairs }, start));
  const [plain, recorded] = await Promise.all([
    each(() => programs.plain(command)),
    each(() => programs.recorded(command)),
  ]);
  return { plain, recorded };
}

/** Waits until no supervisor has anything left to do of what its program did so far. @returns whether launches of all are counted and no longer told */
export async function settle({ recorded }) {
  let areQuiet = true;
  for (const program of recorded)
    for (const end = Date.now() + SETTLED_MS; ; ) {
      const { waiting, quiet } = await program.operate('status');
      if (waiting === 0) {
        areQuiet &&= quiet;
        break;
      }
      if (Date.now() > end) throw new Error(`a supervisor has ${waiting} events left`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  return areQuiet;
}

/** Programs keep to one processor and supervisors to others, while something is measured. */
export async function keptApart({ plain, recorded }, measure) {
  const programs = [...plain, ...recorded];
  const isLarge = cpus().length >= ENOUGH_PROCESSORS;
  if (isLarge) for (const program of programs) keepTo(PROGRAMS, program.pid);
  if (isLarge) for (const program of recorded) keepTo(SUPERVISORS, program.child.pid);
  const found = await measure();
  if (isLarge) for (const program of programs) keepTo(`0-${cpus().length - 1}`, program.pid);
  return found;
}

/** All threads of a process. */
function keepTo(processors, pid) {
  const { status, stderr } = spawnSync('taskset', ['-acp', processors, String(pid)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`taskset: ${stderr}`);
}

function checkSame(digests) {
  if (new Set(digests).size > 1) throw new Error(`recorded programs computed something else: ${digests.join(', ')}`);
}

/** Ends them all; those of a kind took the same steps. */
export async function endBoth(processes) {
  for (const programs of Object.values(processes))
    checkSame(await Promise.all(programs.map((program) => program.end())));
}

/** The row of samples of times. */
export const overhead = (what, unit, { plain, recorded }, name, atMost, note) =>
  row({
    what,
    unit,
    ours: recorded,
    reference: { name, samples: plain },
    ratio: 'pairs',
    note,
    ...(atMost && { atMost }),
  });

/** Puts the recorder's functions into a program, or the driver's and libraries' own in their place. */
async function hook(program, state) {
  const [, , places] = await program.ask(`hooks ${state}`);
  if (!(places > 0)) throw new Error('the program has no pointer to a function of the recorder');
}

const CHECK_STEPS = 3;
const STEADY_MS = 300;
/** Share of a step's launches that may be told without the recorder's functions: what was looked up in that very step. */
const LEFT = 0.01;

/** That nothing of the recorder runs while its functions are out, and that it does afterwards. The program must not be quiet yet. */
async function checkHooks(program, mode) {
  const told = async () => {
    await program.ask(`${mode} 1`);
    // What was told is taken soon, not at once.
    for (let last = -1; ; ) {
      const { quiet, waiting, launches } = await program.operate('status');
      if (quiet) throw new Error('the program is quiet already');
      const count = Object.values(launches).reduce((sum, one) => sum + one, 0);
      if (count === last && waiting === 0) return count;
      last = count;
      await new Promise((resolve) => setTimeout(resolve, STEADY_MS));
    }
  };
  const before = await told();
  await hook(program, 'off');
  const out = await told();
  await hook(program, 'on');
  const after = await told();
  if (after - out > 0 && out - before <= LEFT * (after - out)) return;
  throw new Error(
    `launches told: ${before}, ${out} after a step without the recorder's functions, ${after} after one with them`,
  );
}

/** Each recorded process beside itself without the recorder's functions, which it has again afterwards. */
async function within(turns, { recorded }, measure) {
  const after = (program, state) => async () => {
    await hook(program, state);
    return measure(program);
  };
  const pairs = recorded.map((program) => ({ plain: after(program, 'off'), recorded: after(program, 'on') }));
  const found = await inTurns(turns, pairs);
  await Promise.all(recorded.map((program) => hook(program, 'on')));
  return found;
}

/**
 * What recording costs the model in PyTorch.
 *
 * @param work what is measured together: as many pairs of processes as the device holds; whether a step of the first mode makes few enough launches for
 *   {@link checkHooks}; and of each mode the steps of a sample, a name, and the turns in a round, between processes and within
 */
export async function torch(bench, { pairs, isChecked, modes }) {
  const processes = await startBoth(bench, llama(bench), pairs);
  const all = [...processes.plain, ...processes.recorded];
  const ask = (line) => Promise.all(all.map((program) => program.ask(line)));
  for (const [index, { mode }] of modes.entries()) {
    await ask(`prepare ${mode}`);
    const checked = isChecked && index === 0 ? CHECK_STEPS : 0;
    if (checked) await Promise.all(processes.recorded.map((program) => checkHooks(program, mode)));
    // As many steps for each, with those of the check.
    const warm = (programs, steps) => Promise.all(programs.map((program) => program.ask(`${mode} ${steps}`)));
    const warmAll = (more) => Promise.all([warm(processes.plain, 2 + more), warm(processes.recorded, 2)]);
    await warmAll(checked);
    // As programs are that run for long.
    for (let round = 0; !(await settle(processes)); round++) {
      if (round === MOST_ROUNDS) throw new Error('a program does not become quiet');
      await warmAll(0);
    }
  }

  const measure = async (samples, name) => {
    const found = [];
    for (const { mode, steps, what, turns } of modes) {
      bench.log(`${what}, ${name} processes`);
      // The median of its steps.
      const sample = async (program) => Number((await program.ask(`${mode} ${steps}`))[5]);
      found.push(await samples(turns[name] * bench.rounds, processes, sample));
    }
    return found;
  };
  const others = await keptApart(processes, () => measure(between, 'between'));
  checkSame((await ask('digest')).map(([, digest]) => digest));
  const same = await keptApart(processes, () => measure(within, 'within'));
  await endBoth(processes);

  for (const [index, { what }] of modes.entries()) {
    const [low, high] = interval(ratiosOf(same[index]));
    const certain = `the median of all such ratios is between ${low.toFixed(3)} and ${high.toFixed(3)}, with a certainty of 95 %`;
    bench.add(overhead(`recording: ${what}`, 'ms', same[index], 'the same processes without', 1.01, certain));
    const each = ofPairs(others[index], pairs).map((ratio) => ratio.toFixed(3));
    const note = `each pair of processes by itself: ${each.join(', ')}`;
    bench.add(overhead(`… ${what}, beside other processes`, 'ms', others[index], 'alone', undefined, note));
  }
}

const ratiosOf = ({ plain, recorded }) => recorded.map((sample, at) => sample / plain[at]);

/** Where the median of what these are a sample of lies, with a certainty of 95 %: a sign test's limits. */
function interval(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const away = 0.98 * Math.sqrt(sorted.length);
  const at = (place) => sorted[Math.min(sorted.length - 1, Math.max(0, Math.round(place)))];
  return [at((sorted.length - 1) / 2 - away), at((sorted.length - 1) / 2 + away)];
}

/** The median of each pair's ratios. */
const ofPairs = (samples, pairs) =>
  Array.from({ length: pairs }, (_, pair) => median(ratiosOf(samples).filter((_ratio, at) => at % pairs === pair)));
