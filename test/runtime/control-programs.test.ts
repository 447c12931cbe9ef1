/** Sample programs whose control state is taken off the simulated device, by the commands that a user has. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect } from '../../src/native/index.js';
import { FROM_DRIVER, MessageReader, MessageWriter, PROTOCOL_VERSION } from '../../src/simdevice/message.js';
import { Bench, isBuilt, type Program } from './supervised.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
const others: ChildProcess[] = [];
afterEach(() => {
  for (const child of others.splice(0)) child.kill('SIGKILL');
  bench.close();
});

function deviceSocket(): string {
  const folder = join(bench.folder, 'gcr-templates');
  return join(folder, readdirSync(folder).find((file) => file.startsWith('device-'))!);
}

/** Bytes of the simulated device that are in use. */
async function usedBytes(): Promise<bigint> {
  return (await device()).used;
}

function device(): Promise<{ readonly used: bigint; readonly uuid: Uint8Array }> {
  return new Promise((resolve) => {
    const connection = connect(deviceSocket());
    let uuid = new Uint8Array();
    connection.receive(
      (packet) => {
        const reader = new MessageReader(packet);
        reader.u32();
        reader.u32();
        if (packet.readBigUInt64LE(8) === 1n) {
          reader.u64();
          uuid = new Uint8Array(reader.bytes(16));
          return;
        }
        const [free, total] = [reader.u64(), reader.u64()];
        connection.close();
        resolve({ used: total - free, uuid });
      },
      () => {},
    );
    connection.send(new MessageWriter().u32(PROTOCOL_VERSION).u32(1).packet(FROM_DRIVER.hello, 1n), []);
    connection.send(new MessageWriter().packet(FROM_DRIVER.memoryInfo, 2n), []);
  });
}

const pidOf = (program: Program) => ['--pid', String(program.pid)];
const ARGS = ['--steps', '6', '--size', '64'];
const digests = new Map<string, string | undefined>();
const undisturbed = async (app: string) => {
  if (!digests.has(app)) digests.set(app, await (await bench.start(app, ARGS).ready()).finish());
  return digests.get(app);
};

const hasNamespaces = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;
const CONTROL_STEPS = ['detach', 'lock', 'checkpoint', 'restore', 'unlock', 'attach'];

describe.skipIf(!isBuilt)('a program whose control state is taken off the device', () => {
  for (const app of ['graphs', 'pools', 'variables', 'devices', 'training'])
    it(`${app}: leaves nothing there while it is suspended, and comes to the same end`, async () => {
      const digest = await undisturbed(app);
      const program = await bench.start(app, ARGS).ready();
      await program.step();
      expect(await usedBytes()).toBeGreaterThan(0n);
      const suspended = bench.json('suspend', ...pidOf(program)) as { warning?: string; timings: object };
      expect(suspended.warning).toBeUndefined();
      expect(await usedBytes()).toBe(0n);
      expect(bench.json('status', ...pidOf(program))).toMatchObject({ state: 'suspended', driver: 'checkpointed' });
      const { stdout } = bench.command('resume', ...pidOf(program));
      expect(stdout).toMatch(/goes on: .* from checkpoint[\s\S]*restore .*, unlock .*, attach /);
      expect(bench.json('status', ...pidOf(program))).toMatchObject({ state: 'running', driver: 'running' });
      for (let step = 0; step < 3; step++) {
        await program.step();
        const saved = bench.json('checkpoint', ...pidOf(program), '--control') as Record<string, object>;
        expect(saved).toMatchObject({ manifest: { kind: 'increment' } });
        expect(Object.keys(saved['timings']!)).toEqual(expect.arrayContaining(CONTROL_STEPS));
      }
      expect(bench.json('checkpoint', ...pidOf(program), '--verify')).toMatchObject({ missedCount: 0 });
      expect(await program.finish()).toBe(digest);
      expect(await program.exit()).toEqual({ code: 0, signal: null });
    });

  it('keeps its context there when asked to', async () => {
    const digest = await undisturbed('variables');
    const program = await bench.start('variables', ARGS).ready();
    await program.step();
    const { stdout } = bench.command('suspend', ...pidOf(program), '--keep-context');
    expect(stdout).toMatch(/is suspended/);
    // Its module's variables, which the driver has not moved.
    expect(await usedBytes()).toBeGreaterThan(0n);
    expect(bench.json('status', ...pidOf(program))).toMatchObject({ state: 'suspended', driver: 'running' });
    bench.json('resume', ...pidOf(program));
    expect(await program.finish()).toBe(digest);
  });

  it('is not resumed without room, says how much is missing, and is when there is', async () => {
    const digest = await undisturbed('training');
    const program = await bench.start('training', ARGS).ready();
    await program.step();
    bench.json('suspend', ...pidOf(program));
    const other = await takeAll();
    const { status, stderr } = bench.command('resume', ...pidOf(program));
    expect(status).toBe(69);
    expect(stderr).toMatch(
      /GCR8114: .* of device memory are needed, in \d+ pieces, and .* could be had: .*OUT_OF_MEMORY/,
    );
    expect(bench.json('status', ...pidOf(program))).toMatchObject({ state: 'suspended', driver: 'checkpointed' });
    other.kill('SIGKILL');
    await once(other, 'exit');
    expect(await usedBytes()).toBe(0n);
    bench.json('resume', ...pidOf(program));
    expect(await program.finish()).toBe(digest);
  });

  it('ends with its supervisor when it is killed while it is suspended', async () => {
    const program = await bench.start('training', ARGS).ready();
    await program.step();
    bench.json('suspend', ...pidOf(program));
    process.kill(program.pid, 'SIGKILL');
    expect(await program.exit()).toEqual({ code: 128 + 9, signal: null });
  });

  it('is not stopped when the driver has it locked for somebody else', async () => {
    const digest = await undisturbed('training');
    const program = await bench.start('training', ARGS).ready();
    await program.step();
    driverStep(program.pid, 'lock');
    const refused = bench.command('checkpoint', ...pidOf(program), '--control');
    expect(refused).toMatchObject({ status: 69 });
    expect(refused.stderr).toMatch(/GCR8113.*locked already, on behalf of somebody else/);
    driverStep(program.pid, 'unlock');
    bench.json('checkpoint', ...pidOf(program), '--control');
    expect(await program.finish()).toBe(digest);
  });

  it.skipIf(!hasNamespaces)(
    'is reached by the number that the system gives it, whatever it says of itself',
    async () => {
      const digest = await undisturbed('training');
      // In a namespace of its own a program has another number than for us.
      const program = await bench.start('training', ARGS, ['unshare', '--pid', '--fork']).ready();
      await program.step();
      expect(readlinkSync(`/proc/${program.pid}/exe`)).toMatch(/apps\/training$/);
      const suspended = bench.json('suspend', ...pidOf(program)) as { warning?: string };
      expect(suspended.warning).toBeUndefined();
      bench.json('resume', ...pidOf(program));
      expect(await program.finish()).toBe(digest);
    },
  );

  it('cannot be named by what is no process of ours', async () => {
    const program = await bench.start('training', ARGS).ready();
    for (const command of ['suspend', 'resume', 'checkpoint'])
      for (const [pid, status] of [
        ['1', 66],
        ['0', 64],
        ['-5', 64],
        ['4194304', 66],
        ['99999999999', 64],
        ['../x', 64],
        [String(process.pid), 66],
      ] as const)
        expect(bench.command(command, '--pid', pid).status, `${command} ${pid}`).toBe(status);
    expect(bench.json('status', ...pidOf(program))).toMatchObject({ state: 'running' });
  });
});

/** One of the driver's own steps on a process, from a process of its own. */
function driverStep(pid: number, action: string): void {
  const code = `import { checkpointProcess } from './dist/native/index.js';
    await checkpointProcess('./build/native/simdriver/libcuda.so.1', ${pid}, '${action}', 5000);`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...bench.environment, GCR_SIM_SOCKET: deviceSocket() },
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}

/** Another program that has all memory of the device. */
async function takeAll(): Promise<ChildProcess> {
  const { uuid } = await device();
  const code = `import { openDevice } from './dist/native/index.js';
    const device = await openDevice('./build/native/simdriver/libcuda.so.1', Buffer.from('${Buffer.from(uuid).toString('hex')}', 'hex'));
    const kept = [];
    for (let size = 2 ** 30; size >= 2 ** 21; size /= 2)
      try {
        for (;;) kept.push(await device.createMemory(size));
      } catch {}
    console.log(kept.length);
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    env: { ...bench.environment, GCR_SIM_SOCKET: deviceSocket() },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  others.push(child);
  await once(child.stdout!, 'data');
  return child;
}
