/**
 * Kills of a supervisor or its application at every step of every operation, and what must hold afterwards: no committed checkpoint is
 * lost, an application whose supervisor was killed goes on to the result of an undisturbed run (or, when its memory was being replaced or given
 * up, ends with a message), and nothing stays locked. A round follows from its seed; when within a step the kill falls does not.
 */
import { join } from 'node:path';
import { Random } from '../judge/random.mjs';
import { Supervised } from './supervised.mjs';

const ARGS = ['--steps', '5', '--size', '16'];

/** The steps that each operation tells of. */
export const OPERATIONS = {
  checkpoint: ['check', 'catch-up', 'hold', 'drain', 'plan', 'compare', 'copy', 'write', 'commit'],
  full: ['check', 'hold', 'drain', 'compare', 'copy', 'write', 'commit'],
  restore: ['check', 'hold', 'drain', 'compare', 'read', 'write'],
  control: [
    'hold',
    'plan',
    'compare',
    'copy',
    'detach',
    'lock',
    'checkpoint',
    'restore',
    'unlock',
    'attach',
    'write',
    'commit',
  ],
  suspend: ['check', 'hold', 'drain', 'compare', 'copy', 'detach', 'lock', 'checkpoint', 'write', 'commit'],
  resume: ['check', 'recreate', 'fill', 'restore', 'unlock', 'attach', 'release'],
};

const REQUESTS = {
  checkpoint: () => ({ operation: 'checkpoint' }),
  full: () => ({ operation: 'checkpoint', full: true }),
  restore: (id) => ({ operation: 'restore', id }),
  control: () => ({ operation: 'checkpoint', control: true }),
  suspend: () => ({ operation: 'suspend' }),
  resume: () => ({ operation: 'resume' }),
};

/** What a round does, from its seed. */
export function roundOf(seed) {
  const random = new Random(seed);
  const operation = random.pick(Object.keys(OPERATIONS));
  return {
    operation,
    step: random.pick(OPERATIONS[operation]),
    victim: random.pick(['supervisor', 'application']),
    delay: random.pick([0, 0, 1, 2, 5]),
  };
}

/**
 * Plays one round.
 *
 * @param library `{ Store, call, callAll }`, what was built or the sources
 * @param place `{ folder, store }`, the same for all rounds
 * @param known digests and checkpoints of earlier rounds; this one's are added
 * @returns what is wrong; empty when nothing is
 */
export async function playRound(library, place, seed, known) {
  const { Store, call, callAll } = library;
  const { operation, step, victim, delay } = roundOf(seed);
  const wrong = [];
  const folder = join(place.folder, 'gcr-templates');
  const program = new Supervised(place.folder, place.store, 'training', ARGS);
  try {
    await program.ready(callAll, folder);
    const ask = (request, options) => call(folder, program.pid, request, options);
    await program.step();
    const first = (await ask({ operation: 'checkpoint' })).manifest.id;
    known.checkpoints.add(first);
    await program.step();
    if (operation === 'resume') known.checkpoints.add((await ask({ operation: 'suspend' })).manifest.id);
    let struck = false;
    const strike = () => {
      struck = true;
      process.kill(victim === 'supervisor' ? program.child.pid : program.pid, 'SIGKILL');
    };
    const result = await ask(REQUESTS[operation](first), {
      onReport: (report) => {
        if (struck || report.step !== step) return;
        struck = true;
        if (delay === 0) strike();
        else setTimeout(strike, delay);
      },
    }).catch((error) => ({ error }));
    if (result.manifest) known.checkpoints.add(result.manifest.id);
    if (!struck) strike();
    if (victim === 'supervisor') {
      await program.exited;
      // Without its memory the program waits a minute for a supervisor before it ends; that is not waited for here.
      const suspended = ['control', 'suspend', 'resume'].includes(operation);
      const digest = await Promise.race([
        program.finish(),
        new Promise((resolve) => setTimeout(resolve, suspended ? 1000 : 30_000, 'late')),
      ]);
      if (digest === undefined && !/ending it/.test(program.messages)) wrong.push('the program ended without a word');
      if (digest === undefined && operation !== 'restore') wrong.push(`the program ended: ${program.messages}`);
      if (digest === 'late' && !suspended) wrong.push('the program hangs');
      if (digest?.startsWith('digest') && digest !== known.digest) wrong.push(`${digest} instead of ${known.digest}`);
    } else {
      const [code] = await program.exited;
      if (code !== 137) wrong.push(`the supervisor ended with ${code}: ${program.messages}`);
      if (!result.error && operation !== 'suspend' && !struck) wrong.push('nobody was killed');
    }
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
