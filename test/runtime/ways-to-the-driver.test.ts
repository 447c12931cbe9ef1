/** Programs that come to the driver on other ways than linking to it: which are recorded, and that all of them work (docs/support.md). */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { APPS, Bench, CLI, isBuilt } from './supervised.js';

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

/** What `run` prints of a program, with the recorder or without. */
function output(...command: string[]): string {
  const args = [CLI, 'run', '--device', 'sim', '--store', bench.store, '--', ...command];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    env: bench.environment,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 60_000,
  });
  if (status !== 0) throw new Error(stderr);
  return stdout;
}

/** 2 MiB of nines and 2 MiB of sevens. */
const DIGEST = String((9 + 7) * 2 ** 21);

describe.skipIf(!isBuilt)('a program that looks the driver up', () => {
  it('is given the same by cuGetProcAddress, for every version and flag, as without a recorder', () => {
    const lookups = join(APPS, 'lookups');
    const recorded = output(lookups);
    expect(recorded.split('\n').length).toBeGreaterThan(1000);
    expect(recorded).toBe(output('env', '-u', 'LD_PRELOAD', '-u', 'GCR_SOCKET', lookups));
  });

  for (const way of ['plain', 'deepbind', 'exec'])
    it(`is recorded: ${way}`, async () => {
      const one = await bench.start('loads', ['--way', way]).ready();
      const { manifest } = bench.json('checkpoint', '--pid', String(one.pid), '--verify') as { manifest: object };
      expect(manifest).toMatchObject({ kind: 'full', allocations: { count: 1, bytes: 4 << 20 } });
      expect(await one.finish()).toBe(DIGEST);
      expect(await one.exit()).toEqual({ code: 0, signal: null });
    });

  // Needs root, to become another user.
  it.skipIf(process.getuid!() !== 0)('is recorded on when it becomes another user', async () => {
    const one = await bench.start('loads', ['--way', 'user']).ready();
    bench.json('suspend', '--pid', String(one.pid), '--keep-context');
    bench.json('resume', '--pid', String(one.pid));
    expect(await one.finish()).toBe(DIGEST);
  });

  // Another copy of the driver, and one whose functions are found in front of ours: nobody sees what goes there.
  for (const way of ['namespace', 'plugin'])
    it(`works, and is not recorded: ${way}`, async () => {
      const one = bench.start('loads', ['--way', way]);
      expect(await one.line()).toBe('ready');
      expect(bench.json('ps')).toEqual({ processes: [] });
      expect(await one.finish()).toBe(DIGEST);
      expect(await one.exit()).toEqual({ code: 0, signal: null });
    });
});
