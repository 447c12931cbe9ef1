/**
 * Kills of a supervisor or its application at every step of every operation, and what must hold afterwards: no committed checkpoint is
 * lost, and an application whose supervisor was killed goes on to the result of an undisturbed run, by itself or with another supervisor. Where its memory was being
 * replaced, or was only in the supervisor's hands, it ends with a message instead. Nothing stays locked, stopped or waiting. A round follows from its seed; when
 * within a step the kill falls does not.
 */
import { join } from 'node:path';
import { Random } from '../judge/random.mjs';
import { command, Filed, hasEnded } from './filed.mjs';
import { Supervised } from './supervised.mjs';

const ARGS = ['--steps', '5', '--size', '16'];
/** A program that goes on without its supervisor has said its digest by then. */
const SOON_MS = 1000;
const LATE_MS = 30_000;

const HELD = ['hold', 'drain', 'plan', 'compare', 'copy'];
const AWAY = ['detach', 'lock', 'checkpoint'];
const BACK = ['restore', 'unlock', 'attach'];

/**
 * What can be asked for: the steps that it tells of (`sent`: none, but that it was sent), what comes before (results of earlier requests by name), and
 * whether the application may end when its supervisor is killed then. With `criu`, only where there is CRIU.
 */
export const OPERATIONS = {
  checkpoint: {
    steps: ['check', 'catch-up', ...HELD, 'write', 'commit'],
    request: () => ({ operation: 'checkpoint' }),
  },
  full: {
    steps: ['check', ...HELD, 'write', 'commit'],
    request: () => ({ operation: 'checkpoint', full: true }),
  },
  restore: {
    steps: ['check', ...HELD, 'read', 'write'],
    request: ({ first }) => ({ operation: 'restore', id: first }),
    mayEnd: true,
  },
  control: {
    steps: [...HELD, ...AWAY, ...BACK, 'write', 'commit'],
    request: () => ({ operation: 'checkpoint', control: true }),
    mayEnd: true,
  },
  suspend: {
    steps: ['check', ...HELD, ...AWAY, 'write', 'commit'],
    request: () => ({ operation: 'suspend' }),
    mayEnd: true,
  },
  resume: {
    steps: ['check', 'recreate', 'fill', ...BACK, 'release'],
    before: { suspended: { operation: 'suspend' } },
    request: () => ({ operation: 'resume' }),
  },
  'checkpoint in memory': {
    steps: ['check', 'catch-up', ...HELD],
    request: () => ({ operation: 'checkpoint', to: 'memory' }),
  },
  'restore from memory': {
    steps: ['check', ...HELD, 'read', 'write'],
    before: { image: { operation: 'checkpoint', to: 'memory' } },
    request: ({ image }) => ({ operation: 'restore', id: image }),
    mayEnd: true,
  },
  'suspend to memory': {
    steps: ['check', ...HELD, ...AWAY],
    request: () => ({ operation: 'suspend', to: 'memory' }),
    mayEnd: true,
  },
  'resume from memory': {
    steps: ['check', 'recreate', 'fill', ...BACK, 'release'],
    before: { image: { operation: 'suspend', to: 'memory' } },
    request: () => ({ operation: 'resume' }),
    mayEnd: true,
  },
  drop: {
    steps: ['sent'],
    before: { image: { operation: 'checkpoint', to: 'memory' } },
    request: ({ image }) => ({ operation: 'drop', id: image }),
  },
  durable: {
    steps: ['check', ...HELD, ...AWAY, 'park', 'dump', ...BACK, 'sync', 'write', 'commit'],
    request: (_, criu) => ({ operation: 'checkpoint', durable: true, criu }),
    mayEnd: true,
    criu: true,
  },
  'durable, ending it': {
    steps: ['check', ...HELD, ...AWAY, 'park', 'dump', 'sync', 'write', 'commit', 'stop'],
    request: (_, criu) => ({ operation: 'checkpoint', durable: true, stop: true, criu }),
    mayEnd: true,
    criu: true,
  },
};

/** Names of what is asked for, as far as it can be. */
export const operations = (criu) => Object.keys(OPERATIONS).filter((name) => criu || !OPERATIONS[name].criu);

/** What a round does, from its seed. @param criu path of CRIU; absent: nothing that needs it */
export function roundOf(seed, criu) {
  const random = new Random(seed);
  const operation = random.pick(operations(criu));
  return {
    operation,
    step: random.pick(OPERATIONS[operation].steps),
    victim: random.pick(['supervisor', 'application']),
    delay: random.pick([0, 0, 1, 2, 5]),
  };
}

const after = (milliseconds, value) => new Promise((resolve) => setTimeout(resolve, milliseconds, value));

/** What a promise gives; an error when that takes too long. */
async function soon(what, promise) {
  const result = await Promise.race([promise, after(LATE_MS, 'late')]);
  if (result === 'late') throw new Error(`${what} hangs`);
  return result;
}

/** Another supervisor for a program that waits for one. @returns what is wrong, or what was said when the program was ended */
async function takenOver(program) {
  const pid = String(program.pid);
  const adopted = await command(program.environment, 'adopt', '--pid', pid, '--background', '--json');
  if (adopted.status !== 0) return { said: adopted.stderr };
  if (JSON.parse(adopted.stdout).state !== 'suspended') return {};
  const resumed = await command(program.environment, 'resume', '--pid', pid);
  return resumed.status === 0 ? {} : { wrong: `it was not resumed: ${resumed.stderr}` };
}

/** What is wrong with a program whose supervisor was killed. */
async function withoutSupervisor(program, { operation, step, known, committed }) {
  await soon('the supervisor', program.exited);
  const finished = program.finish();
  let digest = await Promise.race([finished, after(SOON_MS, 'late')]);
  let said = '';
  if (digest === 'late') {
    const taken = await takenOver(program);
    if (taken.wrong) return [taken.wrong];
    said = taken.said ?? '';
    digest = await Promise.race([finished, after(LATE_MS, 'late')]);
  }
  if (digest === 'late') return [`the program hangs: ${said}`];
  if (digest !== undefined) return digest === known.digest ? [] : [`${digest} instead of ${known.digest}`];
  // It was to end.
  if (step === 'stop') return [];
  const wrong = [];
  if (!/ending it|is ended|was ended/.test(program.messages + said))
    wrong.push(`the program ended without a word: ${said}`);
  const mayEnd = OPERATIONS[operation].mayEnd && !(operation === 'suspend' && committed);
  if (!mayEnd) wrong.push(`the program ended: ${program.messages}`);
  return wrong;
}

/** Brings a program back from a durable checkpoint. @returns what is wrong */
async function broughtBack(program, { store, id, criu, known }) {
  for (const pid of [program.child.pid, program.pid]) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
    if (!(await hasEnded(pid, LATE_MS))) return [`process ${pid} does not end`];
  }
  const args = ['restore', id, '--store', store, '--criu', criu, '--truncate-files', '--background'];
  const { status, stderr } = await command(program.environment, ...args);
  if (status !== 0) return [`the durable checkpoint was not restored: ${stderr}`];
  program.cameBack();
  const digest = await Promise.race([program.finish(), after(LATE_MS, 'nothing')]);
  return digest === known.digest ? [] : [`brought back it ended with ${digest} instead of ${known.digest}`];
}

/**
 * Plays one round.
 *
 * @param library `{ Store, call, callAll }`, what was built or the sources
 * @param place `{ folder, store, criu }`, the same for all rounds
 * @param known digests and checkpoints of earlier rounds; this one's are added
 * @returns what is wrong; empty when nothing is
 */
export async function playRound(library, place, seed, known) {
  const { Store, call, callAll } = library;
  const { criu } = place;
  const { operation, step, victim, delay } = roundOf(seed, criu);
  const asked = OPERATIONS[operation];
  const wrong = [];
  const folder = join(place.folder, 'gcr-templates');
  const program = new (asked.criu ? Filed : Supervised)(place.folder, place.store, 'training', ARGS);
  try {
    await program.ready(callAll, folder);
    const ask = (request, options) => call(folder, program.pid, request, options);
    const note = ({ target, manifest }) => {
      if (manifest && target === 'store') known.checkpoints.add(manifest.id);
      return manifest?.id;
    };
    await program.step();
    const ids = { first: note(await ask({ operation: 'checkpoint' })) };
    await program.step();
    for (const [name, request] of Object.entries(asked.before ?? {})) ids[name] = note(await ask(request));
    let struck = false;
    const strike = () => {
      struck = true;
      process.kill(victim === 'supervisor' ? program.child.pid : program.pid, 'SIGKILL');
    };
    const strikeAt = (told) => {
      if (struck || told !== step) return;
      struck = true;
      if (delay === 0) strike();
      else setTimeout(strike, delay);
    };
    const request = asked.request(ids, criu);
    const answer = ask(request, { onReport: (report) => strikeAt(report.step) }).catch((error) => ({ error }));
    strikeAt('sent');
    const result = await soon('the operation', answer);
    const committed = note(result);
    if (!struck && !result.stopped) strike();
    if (victim === 'supervisor') {
      if (!result.stopped) wrong.push(...(await withoutSupervisor(program, { operation, step, known, committed })));
      if (!(await hasEnded(program.pid, LATE_MS))) wrong.push('the program is still there');
    } else {
      const [code] = await soon('the supervisor', program.exited);
      if (code !== 137) wrong.push(`the supervisor ended with ${code}: ${program.messages}`);
    }
    if (asked.criu && committed)
      wrong.push(...(await broughtBack(program, { store: place.store, id: committed, criu, known })));
  } catch (error) {
    wrong.push(String(error.stack ?? error));
  } finally {
    program.close();
  }
  const store = await Store.open({ directory: place.store });
  try {
    // Both kinds of locks are free, and what was committed is there.
    await store.prune({ rules: { last: 1_000_000 }, dryRun: true, lockTimeoutMs: 3000 });
    for (const id of known.checkpoints) (await store.restorePlan(id)).close();
  } catch (error) {
    wrong.push(String(error.message));
  } finally {
    store.close();
  }
  return wrong.map(
    (message) => `seed ${seed}: ${victim} killed ${delay} ms after ${operation} told ${step}: ${message}`,
  );
}

/** The digest of a run that nothing disturbs. */
export async function undisturbed(place) {
  const program = new Supervised(place.folder, join(place.folder, 'undisturbed'), 'training', ARGS);
  try {
    await program.expect('ready');
    return await program.finish();
  } finally {
    program.close();
  }
}
