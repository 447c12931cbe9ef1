/**
 * Cold start by restore: a training program is checkpointed durably, killed with its supervisor, and brought back from disk by CRIU, several times
 * from the same checkpoint; what it then computes must be what one has computed after as many steps that nobody disturbed. Beside a start from nothing
 * (scenario `start`).
 */
import { join } from 'node:path';
import { Apart, findCriu, pause, until } from '../apart.mjs';
import { app, ROOT } from '../programs.mjs';
import { row } from '../rows.mjs';

/** How long it runs between what is done to it. */
const BETWEEN_MS = 700;
/** PyTorch's first calls of its libraries are over by then. */
const WARM_UP_MS = 3000;
/** The program in PyTorch tells a digest after so many steps, again and again: how fast it is does not matter. */
const STEPS = 20;
const REPEATED = 500;

/** The program, and how many digests it tells that it began to compute after it had been brought back. */
function workOf({ python, quick, rounds }) {
  if (!python) {
    const steps = String(150 + 150 * rounds);
    return { what: 'a sample program', command: [app('training'), '--steps', steps, '--sleep', '50'], digests: 1 };
  }
  const program = [python, join(ROOT, 'bench/gpu/llama.py'), ...(quick ? ['--small'] : []), '--sleep', '0.05'];
  const steps = Array.from({ length: REPEATED }, () => ['last', String(STEPS)]).flat();
  return { what: 'training of the last layer', command: [...program, ...steps], digests: 2 };
}

const digestsIn = (output) => [...output.matchAll(/^digest (\w+)$/gm)].map(([, digest]) => digest);

export async function run(bench) {
  const { programs, log, add, reference } = bench;
  const criu = findCriu(bench);
  if (!criu) return bench.skip('no CRIU in PATH, and no --criu');
  const { what, command, digests } = workOf(bench);
  const store = join(programs.folder, 'durable');
  const apart = new Apart(bench);
  const toldBy = (name) => digestsIn(apart.outputOf(name));
  const found = { stop: [], back: [] };
  try {
    apart.plain(command, 'plain');
    const pid = await apart.recorded(command, 'recorded', store);
    await pause(bench.python ? WARM_UP_MS : BETWEEN_MS);
    await apart.operate(pid, 'checkpoint');
    let id;
    for (let round = 0; round <= bench.rounds; round++) {
      await pause(BETWEEN_MS);
      // The last one ends it, and is not counted.
      const stop = round === bench.rounds;
      const saved = await apart.operate(pid, 'checkpoint', { durable: true, stop, criu });
      id = saved.manifest.id;
      if (!stop) found.stop.push(saved.heldMs / 1000);
      log(`stopped ${(saved.heldMs / 1000).toFixed(2)} s; ${JSON.stringify({ ...saved.timings, ...saved.host })}`);
    }
    const before = toldBy('recorded').length;
    log(`it had told ${before} digests by then, the other one ${toldBy('plain').length}`);
    await apart.end(pid);
    for (let round = 0; round < bench.rounds; round++) {
      if (round > 0) {
        await pause(BETWEEN_MS);
        await apart.die(pid);
      }
      const begin = performance.now();
      // What it has told since the checkpoint it tells again.
      const said = apart.command('restore', id, '--store', store, '--criu', criu, '--background', '--truncate-files');
      found.back.push((performance.now() - begin) / 1000);
      log(`back in ${found.back.at(-1).toFixed(2)} s: ${said}`);
    }
    const wanted = before + digests;
    await until('what it computes after it was brought back', () => toldBy('recorded').length >= wanted);
    await until('the same by the undisturbed program', () => toldBy('plain').length >= wanted);
    const [theirs, ours] = ['plain', 'recorded'].map((name) => toldBy(name).slice(0, wanted).join());
    log(`${wanted} digests compared`);
    const anew = reference.anew
      ? { reference: { name: 'a decoding program started anew', samples: reference.anew }, ratio: 'reference/ours' }
      : {};
    add(row({ what: `durable checkpoint of ${what}, to disk: stop`, unit: 's', ours: found.stop }));
    add(row({ what: 'cold start of it from disk, after a kill', unit: 's', ours: found.back, ...anew }));
    add(
      row({
        what: 'durably checkpointed, killed and restored programs that come to another result',
        unit: 'programs',
        ours: [theirs === ours ? 0 : 1],
        atMost: 0,
      }),
    );
  } catch (error) {
    for (const text of apart.said()) log(text);
    throw error;
  } finally {
    await apart.close();
  }
}
