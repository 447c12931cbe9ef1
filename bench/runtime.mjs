/**
 * What supervision costs on the simulated device: steps of the sample programs with and without it, and what checkpoints cost against
 * what they look at. `node bench/runtime.mjs` (after `npm run build` and `npm run build:native`); about two minutes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { call, callAll } from '../dist/runtime/index.js';

const ROOT = join(import.meta.dirname, '..');
const CLI = join(ROOT, 'bin/gcr-templates.js');
const APPS = join(ROOT, 'build/native/apps');
const DRIVER = join(ROOT, 'build/native/simdriver');
const folder = mkdtempSync(join(tmpdir(), 'gcr-bench-'));
const supervised = { ...process.env, XDG_RUNTIME_DIR: folder };

/** Lines of a program's output, each with the time it came. */
async function* lines(child) {
  for await (const line of createInterface({ input: child.stdout })) yield { line, at: performance.now() };
}

/** Milliseconds from the first step's beginning to the last one's end. */
async function timeOf(child) {
  let start;
  let end;
  for await (const { line, at } of lines(child)) {
    if (line === 'ready') start = at;
    else if (line.startsWith('step ')) end = at;
  }
  return end - start;
}

async function overhead() {
  const socket = join(folder, 'device');
  const device = spawn(process.execPath, [join(ROOT, 'dist/simdevice/main.js'), '--socket', socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(device.stdout, 'data');
  const plain = { ...process.env, GCR_SIM_SOCKET: socket, LD_LIBRARY_PATH: DRIVER };
  console.log('steps of small programs, median of 5 runs of 300 steps, microseconds a step');
  for (const app of ['streams', 'graphs', 'pools', 'variables', 'pointers', 'threads', 'training']) {
    const args = ['--steps', '300', '--size', '16'];
    const runs = { without: [], with: [] };
    for (let run = 0; run < 5; run++) {
      runs.without.push(
        await timeOf(spawn(join(APPS, app), args, { env: plain, stdio: ['ignore', 'pipe', 'inherit'] })),
      );
      const command = [CLI, 'run', '--device', 'sim', '--store', join(folder, 'store'), '--', join(APPS, app), ...args];
      runs.with.push(
        await timeOf(spawn(process.execPath, command, { env: supervised, stdio: ['ignore', 'pipe', 'inherit'] })),
      );
    }
    const median = (values) => (1000 * values.sort((a, b) => a - b)[2]) / 300;
    const [without, under] = [median(runs.without), median(runs.with)];
    const more = ((100 * (under - without)) / without).toFixed(1);
    console.log(
      `  ${app.padEnd(10)} ${without.toFixed(0).padStart(6)} without, ${under.toFixed(0).padStart(6)} under \`run\` (${more} %)`,
    );
  }
  device.kill();
}

async function increments() {
  console.log('checkpoints of `training`, medians of 7 increments and of 3 full ones');
  for (const size of [64, 256, 1024, 4096]) {
    const command = [
      CLI,
      'run',
      '--device',
      'sim',
      '--store',
      join(folder, `store-${size}`),
      '--',
      join(APPS, 'training'),
    ];
    const child = spawn(process.execPath, [...command, '--size', String(size), '--steps', '1000', '--pace'], {
      env: supervised,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const said = lines(child);
    await said.next();
    const place = join(folder, 'gcr-templates');
    const { pid } = (await callAll(place)).find(({ status }) => status.supervisor === child.pid);
    const save = async (request) => {
      child.stdin.write('\n');
      await said.next();
      const start = performance.now();
      const result = await call(place, pid, { operation: 'checkpoint', ...request });
      return { ...result, took: performance.now() - start };
    };
    await save({});
    const found = { increment: [], full: [] };
    for (let count = 0; count < 7; count++) found.increment.push(await save({}));
    for (let count = 0; count < 3; count++) found.full.push(await save({ full: true }));
    for (const [kind, results] of Object.entries(found)) {
      const median = (pick) => results.map(pick).sort((a, b) => a - b)[results.length >> 1];
      const mega = (bytes) => (bytes / 1e6).toFixed(1).padStart(6);
      console.log(
        `  ${mega(results[0].totalBytes)} MB, ${kind.padEnd(9)}: looked at ${mega(median((one) => one.dirtyBytes))} MB, ` +
          `held ${median((one) => one.heldMs).toFixed(1)} ms, ${median((one) => one.took).toFixed(0)} ms in all`,
      );
    }
    child.stdin.end();
    await once(child, 'exit');
  }
}

try {
  await overhead();
  await increments();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
