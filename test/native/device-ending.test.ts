/** A process or thread that ends while copies are under way: it ends, without waiting for what was not begun, and without touching memory that is gone. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DeviceProcess, ROOT } from '../simdevice/programs.js';
import { DRIVER, startDevice } from './simulated.js';

const device = new DeviceProcess();
let uuid: Uint8Array;
beforeAll(async () => {
  uuid = await startDevice(device);
});
afterAll(() => device.stop());

const INDEX = pathToFileURL(join(ROOT, 'dist/native/index.js')).href;
const COPIES = `
  const { openDevice, createHostArena, closeFd } = await import('${INDEX}');
  const device = await openDevice(process.env.TEST_DRIVER, Buffer.from(process.env.TEST_UUID, 'hex'));
  const bytes = 64 << 20;
  const { memory, fd } = await device.createMemory(bytes);
  closeFd(fd);
  const arena = await createHostArena(bytes, { device });
  const slots = Uint32Array.from({ length: 1024 }, (_, i) => i);
  const work = [];
  for (let i = 0; i < 200; i++) {
    work.push(device.save([{ memory, offset: 0, bytes }], arena, slots), device.load([{ memory, offset: 0, bytes }], arena, slots));
    work.push(device.names([{ memory, offset: 0, bytes }]));
  }
  await work[0];
  arena.close();
  for (const each of work) each.catch(() => {});
`;

function run(code: string) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...process.env, TEST_DRIVER: DRIVER, TEST_UUID: Buffer.from(uuid).toString('hex') },
    encoding: 'utf8',
    timeout: 50_000,
  });
}

describe('copies under way', () => {
  it('do not keep a process that exits', () => {
    const { status, stdout, stderr } = run(`${COPIES} console.log('exits'); process.exit(3);`);
    expect([status, stdout.trim(), stderr]).toEqual([3, 'exits', '']);
  });

  it('do not keep a thread that is ended, and the process goes on', () => {
    const { status, stdout, stderr } = run(`
      import { Worker } from 'node:worker_threads';
      const code = ${JSON.stringify(COPIES)} + "const { parentPort } = await import('node:worker_threads'); parentPort.postMessage('copying');";
      const worker = new Worker(new URL('data:text/javascript,' + encodeURIComponent(code)));
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await worker.terminate();
      console.log('ended');
    `);
    expect([status, stdout.trim(), stderr]).toEqual([0, 'ended', '']);
  });

  it('keep a process that waits for them', () => {
    const { status, stdout } = run(
      `${COPIES} console.log((await Promise.allSettled(work)).filter((each) => each.status === 'fulfilled').length);`,
    );
    expect([status, stdout.trim()]).toEqual([0, '600']);
  });
});
