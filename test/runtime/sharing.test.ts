/** Two processes that share device memory by cuIpcGetMemHandle (`ipc_paced` of native/simdriver/test/scenarios.cpp), each with operations on it meanwhile. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { buildPrograms, ROOT } from '../simdevice/programs.js';
import { Bench, CLI, isBuilt } from './supervised.js';

it.skipIf(!isBuilt)(
  'memory that two processes share is saved by its own, and stays where it is',
  { timeout: 300_000 },
  async () => {
    const program = join(buildPrograms(), 'simdriver_scenarios');
    const bench = new Bench();
    const args = [CLI, 'run', '--device', 'sim', '--store', bench.store, '--', program, 'ipc_paced'];
    const environment = { ...bench.environment, GCR_TEST_KERNELS: join(ROOT, 'fixtures/apps/kernels') };
    const run = spawn(process.execPath, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
    let pids: readonly number[] = [];
    try {
      const ended = Promise.all([once(run, 'exit'), text(run.stderr)]);
      const lines = createInterface({ input: run.stdout })[Symbol.asyncIterator]();
      const at = async (place: string): Promise<readonly [number, number]> => {
        const { value } = (await lines.next()) as { value: string };
        const [said, own, peer] = value.split(' ');
        expect(said).toBe(place);
        return [Number(own), Number(peer)];
      };
      const refused = (pid: number, what: RegExp, operation: string, ...options: string[]): void => {
        const { status, stderr } = bench.command(operation, '--pid', String(pid), ...options);
        expect({ status, stderr }, `${operation} ${options.join(' ')}`).toEqual({
          status: 69,
          stderr: expect.stringMatching(what),
        });
      };
      // Each has opened the other's: neither is all there.
      const [own, peer] = await at('open');
      pids = [own, peer];
      for (const pid of [own, peer]) {
        for (const options of [[], ['--to', 'memory']])
          refused(pid, /imported memory, cannot be saved/, 'checkpoint', ...options);
        for (const operation of [
          ['checkpoint', '--control'],
          ['suspend'],
          ['suspend', '--to', 'memory'],
          ['suspend', '--keep-context'],
        ])
          refused(pid, /GCR8105/, operation[0]!, ...operation.slice(1));
      }
      run.stdin.write('\n');
      // What was opened is closed. What was given out is saved where it is; other memory in its place would not be the other process's.
      await at('closed');
      for (const pid of [own, peer]) {
        bench.json('checkpoint', '--pid', String(pid));
        expect(bench.json('checkpoint', '--pid', String(pid))).toMatchObject({
          fullBecause: 'recording stopped: memory is shared with another process (cuIpcGetMemHandle)',
        });
        for (const operation of [
          ['checkpoint', '--control'],
          ['suspend'],
          ['suspend', '--to', 'memory'],
          ['suspend', '--keep-context'],
        ])
          refused(
            pid,
            /shared with another process .*cannot leave the device.*\n.*nothing was stopped/,
            operation[0]!,
            ...operation.slice(1),
          );
      }
      expect(bench.command('verify', bench.store, '--read-data')).toMatchObject({ status: 0 });
      run.stdin.write('\n');
      const [[status], stderr] = await ended;
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    } finally {
      // Supervisor and device end with the programs.
      if (run.exitCode === null) for (const pid of pids) process.kill(pid, 'SIGKILL');
      if (run.exitCode === null) await once(run, 'exit');
      bench.close();
    }
  },
);
