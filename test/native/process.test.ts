// What happens to a store when its process ends in the middle, or a call of the system fails. A child does one write session on a store
// that has chunks already; afterwards those must be readable and a new session must work.
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openBackend } from '../../src/native/index.js';

const CHUNK = 65_536;
const SESSION = `
  import { openBackend } from '${process.cwd()}/dist/native/index.js';
  import { randomFillSync } from 'node:crypto';
  const backend = openBackend({ directory: process.argv.at(-1) });
  const lock = await backend.lock('shared', 1000);
  const writer = backend.writer({ threads: 1 });
  await writer.write(randomFillSync(new Uint8Array(70 * ${CHUNK} + 5)));
  await writer.finish();
  await backend.put('manifests/00112233445566aa.json', new Uint8Array(10), 'replace');
  lock.release();
`;

let folder: string;
let names: Uint8Array;
const before = randomFillSync(new Uint8Array(10 * CHUNK));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-process-'));
  const backend = openBackend({ directory: join(folder, 'original') }, { create: true });
  const writer = backend.writer();
  names = await writer.write(before);
  await writer.finish();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function session(environment: Record<string, string>, code = SESSION, ...extra: string[]) {
  const store = join(folder, 'store');
  rmSync(store, { recursive: true, force: true });
  cpSync(join(folder, 'original'), store, { recursive: true });
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', code, ...extra, store], {
    env: { ...process.env, ...environment },
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { store, ...child };
}

async function expectSound(store: string, what: string): Promise<void> {
  const backend = openBackend({ directory: store });
  const problems = await backend.check({ readData: true });
  expect(
    problems.filter((problem) => !problem.harmless),
    what,
  ).toEqual([]);
  const target = new Uint8Array(before.length);
  const reader = backend.reader();
  await reader.read(names, target);
  reader.close();
  expect(Buffer.compare(target, before), what).toBe(0);
  const lock = await backend.lock('exclusive', 0);
  const writer = backend.writer();
  const more = await writer.write(target.fill(9, 0, 1000));
  await writer.finish();
  await backend.compact(more);
  lock.release();
  expect(await backend.check({ readData: true }), what).toEqual([]);
}

describe('a write session', () => {
  test('that is killed or fails at any call leaves a store that works', async () => {
    const count = join(folder, 'count');
    const preload = {
      LD_PRELOAD: join(process.cwd(), 'build/native/test/faults.so'),
      GCR_FAULT_ROOT: join(folder, 'store'),
    };
    const whole = session({ ...preload, GCR_FAULT_COUNT: count });
    expect(whole.stderr).toBe('');
    const calls = Number(readFileSync(count, 'utf8'));
    expect(calls).toBeGreaterThan(15);
    const actions = ['kill', 'enospc', 'eio', 'short', 'kill-after', 'erofs'];
    for (let at = 1; at <= calls; at++) {
      const action = actions[at % actions.length]!;
      const { store, status, signal, stderr } = session({
        ...preload,
        GCR_FAULT_AT: `${at}`,
        GCR_FAULT_ACTION: action,
      });
      const what = `${action} at call ${at}: ${status} ${signal} ${stderr}`;
      if (action.startsWith('kill')) expect(signal, what).toBe('SIGKILL');
      if (action === 'short') expect(status, what).toBe(0);
      await expectSound(store, what);
    }
  });

  test('on a disk that is full from some call on fails as no-space and cleans up', async () => {
    const preload = {
      LD_PRELOAD: join(process.cwd(), 'build/native/test/faults.so'),
      GCR_FAULT_ROOT: join(folder, 'store'),
    };
    const { store, stderr } = session({
      ...preload,
      GCR_FAULT_AT: '12',
      GCR_FAULT_ACTION: 'enospc',
      GCR_FAULT_STICKY: '1',
    });
    expect(stderr).toContain("code: 'no-space'");
    const backend = openBackend({ directory: store });
    expect(await backend.check()).toEqual([]);
    await expectSound(store, stderr);
  });

  test('may be left by process.exit with writes under way', async () => {
    const { store, status, stderr } = session(
      {},
      SESSION.replace('await writer.write', 'for (let i = 0; i < 20; i++) writer.write').replace(
        'await writer.finish();',
        'setImmediate(() => process.exit(7)); await new Promise(() => {});',
      ),
    );
    expect([status, stderr]).toEqual([7, '']);
    await expectSound(store, 'exit');
  });

  test('works in a worker thread that is ended early', async () => {
    const file = join(folder, 'worker.mjs');
    writeFileSync(
      file,
      SESSION.replace('await writer.write', 'for (let i = 0; i < 20; i++) writer.write').replace(
        'await writer.finish();',
        "(await import('node:worker_threads')).parentPort.postMessage('writing'); await new Promise(() => {});",
      ),
    );
    const code = `
      import { Worker } from 'node:worker_threads';
      const worker = new Worker(process.argv[1], { argv: [process.argv.at(-1)], execArgv: [] });
      worker.on('message', () => worker.terminate().then(() => process.exit(5)));
    `;
    const { store, status, stderr } = session({}, code, file);
    expect([status, stderr]).toEqual([5, '']);
    await expectSound(store, 'worker');
  });
});

test('an addon that is not built is an error with a remedy', () => {
  const code = `
    import { cpSync } from 'node:fs';
    cpSync('dist', process.argv[1] + '/dist', { recursive: true });
    const { openBackend } = await import(process.argv[1] + '/dist/native/index.js');
    try { openBackend({ mem: 'x' }); } catch (error) { console.log(error.name, error.diagnostics[0].code, error.diagnostics[0].hint); }
  `;
  const { stdout } = session({}, code);
  expect(stdout).toMatch(/^InputError GCR7001 .*npm run build:native/);
});
