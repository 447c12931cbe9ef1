/**
 * Cold start by restore: a training program is checkpointed durably, killed with its supervisor, and brought back from disk by CRIU, several times
 * from the same checkpoint; in the end it must have computed what one has that nobody disturbed. Beside a start from nothing (scenario `start`).
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { call, callAll } from '../../../dist/runtime/index.js';
import { app, CLI, ROOT, SIM_DRIVER } from '../programs.mjs';
import { row } from '../rows.mjs';

/** How long it runs between what is done to it. */
const BETWEEN_MS = 1000;
const WAIT_MS = 60_000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function until(what, holds) {
  for (const end = Date.now() + WAIT_MS; Date.now() < end; await pause(50)) {
    const found = await holds();
    if (found) return found;
  }
  throw new Error(`${what} took more than ${WAIT_MS / 1000} s`);
}

/** The program as it runs by itself to its end: nothing that CRIU could not bring back is its standard input or output. */
function commandOf({ python, quick }, steps) {
  if (!python) return [app('training'), '--steps', String(steps), '--sleep', '50'];
  const size = quick ? ['--small'] : [];
  return [python, join(ROOT, 'bench/gpu/llama.py'), ...size, '--sleep', '0.05', 'last', String(steps)];
}

const digestIn = (file) => /^digest (\w+)$/m.exec(readFileSync(file, 'utf8'))?.[1];

function killAll(pids) {
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {}
}

export async function run(bench) {
  const { programs, log, add, reference } = bench;
  const criu =
    (bench.criu && resolve(bench.criu)) ?? (spawnSync('criu', ['--version']).status === 0 ? 'criu' : undefined);
  if (!criu) return bench.skip('no CRIU in PATH, and no --criu');
  const sockets = join(programs.folder, 'run');
  mkdirSync(sockets, { recursive: true, mode: 0o700 });
  const place = join(sockets, 'gcr-templates');
  const environment = { ...process.env, XDG_RUNTIME_DIR: sockets };
  const store = join(programs.folder, 'durable');
  const what = bench.python ? 'training of the last layer' : 'a sample program';
  const device = bench.simulated ? ['--device', 'sim'] : [];
  const steps = 80 + 35 * bench.rounds;
  const command = commandOf(bench, steps);
  const alone = bench.simulated
    ? { ...environment, GCR_SIM_SOCKET: programs.options.simulated, LD_LIBRARY_PATH: SIM_DRIVER }
    : environment;
  const start = (line, name, env = environment) => {
    const output = openSync(join(programs.folder, name), 'w');
    const child = spawn(line[0], line.slice(1), { stdio: ['ignore', output, output], env });
    closeSync(output);
    return child;
  };
  const outputs = ['plain', 'recorded'].map((name) => join(programs.folder, name));
  const found = { stop: [], back: [] };
  const begun = [
    start(command, 'plain', alone),
    start([process.execPath, CLI, 'run', ...device, '--store', store, '--', ...command], 'recorded'),
  ];
  const gone = new Set(begun.map(({ pid }) => pid));
  const supervised = async () => (await callAll(place)).find(({ status }) => status?.bytes > 0);
  try {
    const { pid } = await until('its start', supervised);
    gone.add(pid);
    // What a library does at its first call is over.
    await pause(bench.python ? 3 * BETWEEN_MS : BETWEEN_MS);
    await call(place, pid, { operation: 'checkpoint' });
    let id;
    let written;
    for (let round = 0; round <= bench.rounds; round++) {
      await pause(BETWEEN_MS);
      // The last one ends it, so that what it has written to files is what it had written then; it is not counted.
      const stop = round === bench.rounds;
      const saved = await call(place, pid, { operation: 'checkpoint', durable: true, stop, criu });
      id = saved.manifest.id;
      if (!stop) found.stop.push(saved.heldMs / 1000);
      log(`stopped ${(saved.heldMs / 1000).toFixed(2)} s; ${JSON.stringify({ ...saved.timings, ...saved.host })}`);
    }
    for (let round = 0; round < bench.rounds; round++) {
      if (round > 0) {
        await pause(BETWEEN_MS);
        const { status: now } = await until('its supervisor', supervised);
        killAll([pid, now.supervisor]);
      }
      await until('its end', () => !existsSync(`/proc/${pid}`));
      written ??= statSync(outputs[1]).size;
      truncateSync(outputs[1], written);
      const begin = performance.now();
      const back = [CLI, 'restore', id, '--store', store, '--criu', criu, '--background'];
      const { status, stderr } = spawnSync(process.execPath, back, { env: environment, encoding: 'utf8' });
      if (status !== 0) throw new Error(`restore ended with ${status}: ${stderr}`);
      found.back.push((performance.now() - begin) / 1000);
      log(`back in ${found.back.at(-1).toFixed(2)} s`);
    }
    await until('the end of the program that was brought back', () => digestIn(outputs[1]));
    await until('the end of the undisturbed program', () => digestIn(outputs[0]));
  } finally {
    const last = await supervised();
    killAll([...gone, ...(last ? [last.status.supervisor] : [])]);
  }
  const same = digestIn(outputs[0]) === digestIn(outputs[1]);
  const anew = reference.anew
    ? { reference: { name: 'a decoding program started anew', samples: reference.anew }, ratio: 'reference/ours' }
    : {};
  add(row({ what: `durable checkpoint of ${what}, to disk: stop`, unit: 's', ours: found.stop }));
  add(row({ what: 'cold start of it from disk, after a kill', unit: 's', ours: found.back, ...anew }));
  add(
    row({
      what: 'durably checkpointed, killed and restored programs that end with another result',
      unit: 'programs',
      ours: [same ? 0 : 1],
      atMost: 0,
    }),
  );
}
