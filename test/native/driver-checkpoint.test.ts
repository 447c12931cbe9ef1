/** The driver's own checkpoint of a process (`src/native/process.ts`), on the simulated device and a program that knows nothing of it. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpointProcess, processState } from '../../src/native/index.js';
import { DeviceProcess, Program, ROOT } from '../simdevice/programs.js';

const DRIVER = join(ROOT, 'build/native/simdriver/libcuda.so.1');
const APP = join(ROOT, 'build/native/apps/training');
const STEPS = 4;

describe.skipIf(!existsSync(APP))("the driver's checkpoint of a process", () => {
  let device: DeviceProcess;
  const programs: Program[] = [];
  beforeEach(async () => {
    device = new DeviceProcess();
    await device.start();
    // The driver in this process connects to it, too, and only once: there is one device in this file.
    process.env['GCR_SIM_SOCKET'] = device.socket;
  });
  afterEach(async () => {
    for (const { child } of programs.splice(0)) child.kill('SIGKILL');
    await device.stop();
  });

  function start(): Program {
    const env = { ...process.env, GCR_SIM_SOCKET: device.socket };
    const args = ['--steps', String(STEPS), '--size', '16', '--pace'];
    const program = new Program(spawn(APP, args, { env, stdio: ['pipe', 'pipe', 'pipe'] }));
    programs.push(program);
    return program;
  }

  async function run(program: Program, each: (step: number) => Promise<void>): Promise<string> {
    expect(await program.line()).toBe('ready');
    for (let step = 0; step < STEPS; step++) {
      await each(step);
      program.child.stdin!.write('\n');
      expect(await program.line()).toBe(`step ${step + 1}`);
    }
    program.child.stdin!.write('\n');
    return program.line();
  }

  it('stops a program, takes its memory, gives it back and lets it go on to the same end; in this order only', async () => {
    const wanted = await run(start(), async () => {});
    expect(wanted).toMatch(/^digest /);
    const program = start();
    const pid = program.child.pid!;
    const refused = async (...actions: ('lock' | 'checkpoint' | 'restore' | 'unlock')[]) => {
      for (const action of actions) await expect(checkpointProcess(DRIVER, pid, action, 1000)).rejects.toThrow(action);
    };
    const result = await run(program, async (step) => {
      expect(await processState(DRIVER, pid)).toBe('running');
      if (step === 1) return refused('checkpoint', 'restore', 'unlock');
      await checkpointProcess(DRIVER, pid, 'lock', 5000);
      expect(await processState(DRIVER, pid)).toBe('locked');
      if (step !== 2) {
        await checkpointProcess(DRIVER, pid, 'checkpoint');
        expect(await processState(DRIVER, pid)).toBe('checkpointed');
        await refused('lock', 'checkpoint', 'unlock');
        await checkpointProcess(DRIVER, pid, 'restore');
        expect(await processState(DRIVER, pid)).toBe('locked');
      }
      await checkpointProcess(DRIVER, pid, 'unlock');
    });
    expect(result).toBe(wanted);

    await expect(checkpointProcess(DRIVER, process.ppid, 'lock', 1000)).rejects.toThrow(/^lock/);
    await expect(processState(DRIVER, process.ppid)).rejects.toThrow(/^state/);
    await expect(checkpointProcess('/nowhere/libcuda.so.1', pid, 'lock')).rejects.toThrow(/nowhere/);
    await expect(checkpointProcess(DRIVER, pid, 'hold' as never)).rejects.toThrow();
  });
});
