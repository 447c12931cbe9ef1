/** Programs written to the driver's interface, over the simulated driver and a simulated device of 1 GiB. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Bench, CLI, isBuilt } from '../runtime/supervised.js';
import { buildPrograms, DeviceProcess, ROOT } from './programs.js';

let programs = '';
const device = new DeviceProcess();

beforeAll(async () => {
  programs = buildPrograms();
  await device.start('--memory', String(2 ** 30));
}, 300_000);
afterAll(() => device.stop());

const freeMemory = async (): Promise<number> =>
  Number((await device.run(programs, 'memory_info').ended).out.split(' ')[0]);

/** Scenarios that are the same under a recorder; left out is what is checkpointed beside the supervisor, or asks how much memory is free at once. */
const RECORDED = [
  'vector_add',
  'parameters',
  'copies',
  'variables',
  'modules',
  'cooperative',
  'streams',
  'events',
  'captured_graphs',
  'built_graphs',
  'virtual_memory',
  'memory_limit',
  'fault',
  'trap',
  'unmapped_after_free',
  'without_context',
  'lock_timeout',
];

describe('programs run right', () => {
  // Each checks itself; see native/simdriver/test/scenarios.cpp.
  it.each([...RECORDED, 'broken_captures', 'shared_memory', 'gone_handles', 'simulated_only', 'checkpoint'])(
    '%s',
    async (scenario) => {
      expect(await device.run(programs, scenario).ended).toMatchObject({ code: 0, err: '' });
      expect(await freeMemory()).toBe(2 ** 30);
    },
  );

  it('crashes host code that follows a device pointer, as a real device does', async () => {
    expect(await device.run(programs, 'host_access').ended).toMatchObject({ signal: 'SIGSEGV', out: '' });
  });

  it('says with GCR_SIM_TRACE what a kernel did', async () => {
    const { err } = await device.run(programs, 'fault', { GCR_SIM_TRACE: '1' }).ended;
    expect(err).toMatch(/kernel 'store_to': .*GCR6001.* touches 0x7000/);
  });
});

describe.skipIf(!isBuilt)('programs see the same under a recorder', () => {
  // The simulated driver itself has no handles of cuMemAlloc for other processes: between recorded ones the recorder has.
  it.each([...RECORDED, 'ipc'])('%s', (scenario) => {
    const bench = new Bench();
    try {
      const program = [join(programs, 'simdriver_scenarios'), scenario];
      const args = [CLI, 'run', '--device', 'sim', '--store', bench.store, '--', ...program];
      const { status, stderr } = spawnSync(process.execPath, args, {
        env: { ...bench.environment, GCR_TEST_KERNELS: join(ROOT, 'fixtures/apps/kernels') },
        encoding: 'utf8',
        timeout: 60_000,
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    } finally {
      bench.close();
    }
  });
});

describe('processes beside each other', () => {
  it('two programs at once keep their addresses and results apart', async () => {
    const both = [
      device.run(programs, 'variables'),
      device.run(programs, 'streams'),
      device.run(programs, 'vector_add'),
    ];
    for (const program of both) expect(await program.ended).toMatchObject({ code: 0, err: '' });
  });

  it('a kernel that never ends holds up nobody else, and ends with its process', async () => {
    const endless = device.run(programs, 'endless');
    expect(await endless.line()).toBe('running');
    expect(await device.run(programs, 'vector_add').ended).toMatchObject({ code: 0 });
    endless.child.kill('SIGKILL');
    await endless.ended;
    expect(await freeMemory()).toBe(2 ** 30);
  });

  it('memory of a killed program is free again', async () => {
    const holding = device.run(programs, 'hold_memory');
    expect(await holding.line()).toBe('holding');
    expect(await freeMemory()).toBeLessThanOrEqual(2 ** 30 - 2 ** 28);
    holding.child.kill('SIGKILL');
    await holding.ended;
    expect(await freeMemory()).toBe(2 ** 30);
  });
});

describe('the device as a process', () => {
  it('a program whose device is killed gets an error, and does not hang', async () => {
    const other = new DeviceProcess();
    await other.start();
    const program = other.run(programs, 'until_gone');
    expect(await program.line()).toBe('running');
    other.process.child.kill('SIGKILL');
    expect(await program.ended).toMatchObject({ code: 0, out: 'running\nCUDA_ERROR_DEVICE_UNAVAILABLE\n' });
    await other.stop();
  });

  it('a launch beyond the step limit times out', async () => {
    const other = new DeviceProcess();
    await other.start('--max-steps', '100000');
    const program = other.run(programs, 'endless');
    expect(await program.ended).toMatchObject({ code: 0, out: 'running\nCUDA_ERROR_LAUNCH_TIMEOUT\n' });
    await other.stop();
  });

  it('ends with its parent and removes its socket', async () => {
    const other = new DeviceProcess();
    await other.start();
    expect(existsSync(other.socket)).toBe(true);
    other.process.child.stdin!.end();
    expect(await other.process.ended).toMatchObject({ code: 0 });
    expect(existsSync(other.socket)).toBe(false);
    await other.stop();
  });

  it('refuses a path that is taken, and arguments that are wrong', async () => {
    const second = new DeviceProcess();
    const taken = device.socket;
    Object.assign(second, { socket: taken });
    await expect(second.start()).rejects.toThrow(/GCR8002: cannot listen at .*address already in use/i);
    expect((await second.process.ended).code).toBe(65);
    const third = new DeviceProcess();
    await expect(third.start('--memory', 'much')).rejects.toThrow(/--memory is not a positive whole number: much/);
    expect((await third.process.ended).code).toBe(64);
    await Promise.all([second.stop(), third.stop()]);
  });

  it('without a device there is none', async () => {
    const { code, err } = await device.run(programs, 'memory_info', { GCR_SIM_SOCKET: '/nowhere' }).ended;
    expect(code).toBe(1);
    expect(err).toMatch(/cuInit\(0\) gave CUDA_ERROR_NO_DEVICE/);
  });
});
