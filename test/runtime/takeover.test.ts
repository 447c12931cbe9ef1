/**
 * Processes whose supervisor was killed get another one: real programs on the simulated device, by the commands that a user has. Whatever their
 * first supervisor knew of them the second one is told, so that they come to the end that nothing disturbs.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Store } from '../../src/checkpoint/index.js';
import { QUIET_AFTER } from '../../src/runtime/bridge-options.js';
import { decodeKept, encodeKept } from '../../src/runtime/kept.js';
import { recordingOf, recordingVariables } from '../../src/runtime/surroundings.js';
import { Bench, CLI, isBuilt, type Program } from './supervised.js';

interface Saved {
  readonly manifest: {
    readonly id: string;
    readonly kind: string;
    readonly parent: string | null;
    readonly origins: object;
  };
  readonly missedCount: number;
}

const ARGS = ['--steps', '8', '--size', '64'];
/** Between them they have everything that is told again. */
const SUSPENDED = ['graphs', 'variables', 'threads', 'training'];
const RUNNING = ['streams', 'pools', 'pointers', 'training'];

/** Commands that start a program in a container, as far as it is one: with a number of its own, and with a file system of its own, too. */
const IN_NAMESPACE = ['unshare', '--pid', '--fork', '--mount-proc'];
const hasNamespaces = spawnSync(IN_NAMESPACE[0]!, [...IN_NAMESPACE.slice(1), 'true']).status === 0;
if (!hasNamespaces) process.stderr.write('processes in PID namespaces are not tested: unshare is not permitted\n');

let bench: Bench;
/** Supervisors in the background. */
let supervisors: number[];
beforeEach(() => {
  bench = new Bench();
  supervisors = [];
});
afterEach(() => {
  for (const pid of supervisors) kill(pid);
  bench.close();
});

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

const checkpoint = (program: Program, ...options: string[]): Saved =>
  bench.json('checkpoint', '--pid', String(program.pid), ...options) as Saved;

const supervisorOf = async (program: Program): Promise<number> => {
  const { supervisor } = await bench.status(program.pid);
  supervisors.push(supervisor);
  return supervisor;
};

async function killSupervisor(program: Program): Promise<void> {
  program.child.kill('SIGKILL');
  await program.exit();
}

const digests = new Map<string, string | undefined>();
const undisturbed = async (app: string): Promise<string | undefined> => {
  if (!digests.has(app)) digests.set(app, await (await bench.start(app, ARGS).ready()).finish());
  return digests.get(app);
};

describe.skipIf(!isBuilt)('a process without its supervisor', () => {
  for (const app of SUSPENDED)
    it(`${app}: suspended, it is resumed by another one, with all of its memory`, async () => {
      const digest = await undisturbed(app);
      const program = await bench.start(app, ARGS).ready();
      await program.step(2);
      const pid = String(program.pid);
      const { manifest } = bench.json('suspend', '--pid', pid) as Saved;
      await killSupervisor(program);
      expect(bench.json('ps')).toEqual({ processes: [] });
      expect(bench.json('resume', '--pid', pid)).toMatchObject({ id: manifest.id });
      await supervisorOf(program);
      await program.step();
      // Nothing was missed between the checkpoint and this one, and templates are those of before.
      const next = checkpoint(program, '--verify');
      expect(next).toMatchObject({ missedCount: 0, manifest: { kind: 'increment', parent: manifest.id } });
      if (app === 'training') expect(next.manifest.origins).toMatchObject({ unknown: 0 });
      bench.json('restore', manifest.id, '--pid', pid);
      await program.step();
      expect(checkpoint(program, '--verify').missedCount).toBe(0);
      expect(await program.finish()).toBe(digest);
    });

  for (const app of RUNNING)
    it(`${app}: running, it is recorded again from when it was adopted`, async () => {
      const digest = await undisturbed(app);
      const program = await bench.start(app, ARGS).ready();
      await program.step();
      const first = checkpoint(program).manifest;
      await killSupervisor(program);
      await program.step(2);
      const adopted = bench.json('adopt', '--pid', String(program.pid), '--background');
      expect(adopted).toMatchObject({ pid: program.pid, state: 'running', store: bench.store });
      await supervisorOf(program);
      const full = checkpoint(program);
      expect(full.manifest).toMatchObject({ kind: 'full', parent: null });
      await program.step();
      const increment = checkpoint(program, '--verify');
      expect(increment).toMatchObject({ missedCount: 0, manifest: { kind: 'increment', parent: full.manifest.id } });
      // The allocations are those of before: a checkpoint of the first supervisor can be gone back to.
      if (app === 'training') bench.json('restore', first.id, '--pid', String(program.pid));
      expect(await program.finish()).toBe(digest);
    });

  it('that left it suspended is resumed by another one', async () => {
    const digest = await undisturbed('training');
    const program = await bench.start('training', ARGS).ready();
    const pid = String(program.pid);
    await program.step(2);
    const refused = bench.command('suspend', '--pid', pid, '--leave', '--to', 'memory');
    expect({ status: refused.status, stderr: refused.stderr }).toEqual({
      status: 69,
      stderr: expect.stringMatching(/GCR8116.*cannot be left/),
    });
    const { manifest } = bench.json('suspend', '--pid', pid, '--leave') as Saved;
    expect(await program.exit()).toEqual({ code: 75, signal: null });
    expect(program.stderr).toContain(`process ${pid} was left suspended`);
    expect(bench.json('ps')).toEqual({ processes: [] });
    // It waits for as long as it takes.
    process.kill(program.pid, 0);
    expect(bench.json('resume', '--pid', pid)).toMatchObject({ id: manifest.id });
    await supervisorOf(program);
    await program.step();
    expect(checkpoint(program, '--verify').manifest).toMatchObject({ kind: 'increment', parent: manifest.id });
    expect(await program.finish()).toBe(digest);
  });

  it('finds a third one, and is suspended and resumed by it', async () => {
    const digest = await undisturbed('training');
    const program = await bench.start('training', ARGS).ready();
    const pid = String(program.pid);
    bench.json('suspend', '--pid', pid);
    await killSupervisor(program);
    bench.json('resume', '--pid', pid);
    kill(await supervisorOf(program));
    await program.step();
    bench.json('adopt', '--pid', pid, '--background');
    await supervisorOf(program);
    const { manifest } = bench.json('suspend', '--pid', pid) as Saved;
    expect(manifest.kind).toBe('full');
    expect(bench.json('resume', '--pid', pid)).toMatchObject({ id: manifest.id });
    await program.step();
    expect(checkpoint(program, '--verify').missedCount).toBe(0);
    expect(await program.finish()).toBe(digest);
  });

  describe.skipIf(!hasNamespaces)('in a PID namespace of its own', () => {
    /** What it is started through: as it is, or with sockets where only the program finds them, as by a container's bind mount. */
    const ways = {
      'and the same file system': () => IN_NAMESPACE,
      'and a file system of its own': () => {
        const place = join(bench.folder, 'gcr-templates');
        const inside = '/mnt/gcr-test';
        const script = `mount -t tmpfs none /mnt && mkdir ${inside} && mount --bind ${place} ${inside} \
          && export GCR_SOCKET=${inside}/\${GCR_SOCKET##*/} && exec "$0" "$@"`;
        return [...IN_NAMESPACE, '--mount', 'sh', '-c', script];
      },
    };
    for (const [name, through] of Object.entries(ways))
      it(`${name}: suspended it is resumed by another one, running it is adopted`, async () => {
        const digest = await undisturbed('training');
        const program = await bench.start('training', ARGS, through()).ready();
        const pid = String(program.pid);
        await program.step();
        const { manifest } = bench.json('suspend', '--pid', pid) as Saved;
        await killSupervisor(program);
        expect(bench.json('resume', '--pid', pid)).toMatchObject({ id: manifest.id });
        kill(await supervisorOf(program));
        await program.step();
        expect(bench.json('adopt', '--pid', pid, '--background')).toMatchObject({ pid: program.pid, state: 'running' });
        await supervisorOf(program);
        await program.step();
        expect(checkpoint(program).manifest.kind).toBe('full');
        await program.step();
        expect(checkpoint(program, '--verify').missedCount).toBe(0);
        expect(await program.finish()).toBe(digest);
      });

    it('is not taken for another one that has the same number in another namespace', async () => {
      // Both are number 1 to themselves, and look for a supervisor at the same place.
      const unshare = IN_NAMESPACE.join(' ');
      const other = `${unshare} "$0" --steps 1000 --sleep 50 >/dev/null &`;
      const program = await bench.start('training', ARGS, ['sh', '-c', `${other} exec ${unshare} "$0" "$@"`]).ready();
      const supervised = () => (bench.json('ps') as { processes: { pid: number }[] }).processes.map(({ pid }) => pid);
      while (supervised().length < 2) await sleep(50);
      const pids = supervised();
      const wanted = pids.find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('--pace'))!;
      await killSupervisor(program);
      // While it does not look, the other one does.
      process.kill(wanted, 'SIGSTOP');
      const adopting = spawn(process.execPath, [CLI, 'adopt', '--pid', String(wanted)], { env: bench.environment });
      supervisors.push(adopting.pid!, ...pids);
      await sleep(3000);
      expect(supervised()).toEqual([]);
      process.kill(wanted, 'SIGCONT');
      await once(adopting.stdout, 'data');
      expect(supervised()).toEqual([wanted]);
    });
  });

  it('is not taken from a supervisor that lives, and nobody is supervised who never was', async () => {
    const program = await bench.start('training', ARGS).ready();
    const taken = bench.command('adopt', '--pid', String(program.pid));
    expect({ status: taken.status, code: taken.stderr.includes('GCR8104') }).toEqual({ status: 75, code: true });
    expect(bench.command('adopt', '--pid', String(process.pid)).stderr).toContain('was not started under supervision');
    expect(bench.command('resume', '--pid', '2147483646').status).toBe(66);
    expect(await program.finish()).toBeDefined();
  });

  /** With 0 launches an application is quiet at once, unless what is unknown counts for less than all memory. */
  const counted: readonly [readonly string[], boolean][] = [
    [['--quiet-after', '0'], true],
    [['--quiet-after', '0', '--unknown', 'args'], false],
  ];
  for (const [options, quiet] of counted)
    it(`is counted by another one as it was: ${options.join(' ')}`, async () => {
      const program = await bench.start('training', ARGS, [], options).ready();
      const pid = String(program.pid);
      const how = async () => {
        await program.step();
        const { launches } = checkpoint(program).manifest as unknown as { launches: { exact: number } };
        await program.step();
        let is = await bench.status(program.pid);
        for (const end = Date.now() + 5000; quiet && !is.quiet && Date.now() < end; await sleep(20))
          is = await bench.status(program.pid);
        // Of one that is quiet the first launches may have been told.
        return { quiet: is.quiet, told: quiet || launches.exact > 0 };
      };
      const expected = { quiet, told: true };
      expect(await how()).toEqual(expected);
      await killSupervisor(program);
      bench.json('adopt', '--pid', pid, '--background');
      let supervisor = await supervisorOf(program);
      // What was launched since before the first one cannot be told.
      checkpoint(program);
      expect(await how()).toEqual(expected);
      bench.json('suspend', '--pid', pid);
      kill(supervisor);
      for (const end = Date.now() + 10_000; Date.now() < end && bench.command('status', '--pid', pid).status === 0; );
      bench.json('resume', '--pid', pid);
      supervisor = await supervisorOf(program);
      expect(await how()).toEqual(expected);
      await program.finish();
    });

  it('is adopted by a second one when the store cannot be opened by the first', async () => {
    const program = await bench.start('training', ARGS).ready();
    const pid = String(program.pid);
    bench.json('suspend', '--pid', pid);
    await killSupervisor(program);
    expect(bench.command('resume', '--pid', pid, '--store', join(bench.folder, 'nothing')).status).toBe(66);
    bench.json('resume', '--pid', pid);
    await supervisorOf(program);
    expect(await program.finish()).toBeDefined();
  });

  it('keeps its allocations apart from those of every other process', async () => {
    const program = await bench.start('training', ARGS).ready();
    const before = checkpoint(program).manifest.id;
    await killSupervisor(program);
    bench.json('adopt', '--pid', String(program.pid), '--background');
    await supervisorOf(program);
    const after = checkpoint(program).manifest.id;
    const store = await Store.open({ directory: bench.store });
    const ids = async (id: string) => [...(await store.contents(id)).keys()];
    expect(await ids(after)).toEqual(await ids(before));
    store.close();
  });
});

describe('how launches are counted', () => {
  const child = async (variables: NodeJS.ProcessEnv) => {
    const started = spawn('cat', { env: { ...variables, GCR_SOCKET: '/s', PATH: process.env['PATH'] } });
    supervisors.push(started.pid!);
    // Between fork and the end of exec a process has no variables to be read: one that answers has them.
    started.stdin.write('\n');
    await once(started.stdout, 'data');
    return recordingOf(started.pid!);
  };

  it('is read from a process as `run` wrote it', async () => {
    for (const unknown of ['all', 'args'] as const)
      for (const quietAfter of [0, 17, 999_999_999_999, Number.POSITIVE_INFINITY])
        expect(await child(recordingVariables({ unknown, quietAfter }))).toEqual({ unknown, quietAfter });
    expect(await child(recordingVariables({}))).toEqual({ unknown: 'all', quietAfter: QUIET_AFTER });
  });

  it('is what it is without options where nothing of the kind is written', async () => {
    expect(await child({})).toEqual({});
    expect(await child({ GCR_UNKNOWN: 'nothing', GCR_QUIET_AFTER: '-1' })).toEqual({});
    expect(await child({ GCR_UNKNOWN: '', GCR_QUIET_AFTER: '1e3' })).toEqual({});
    expect(recordingOf(2 ** 31 - 2)).toEqual({});
  });
});

describe('what a supervisor leaves for its successor', () => {
  it('is read as it was written, and nothing else is', () => {
    const kept = { tag: 7, command: ['a', 'b c'], checkpoint: '0123456789abcdef' };
    expect(decodeKept(encodeKept(kept))).toEqual(kept);
    for (const text of ['', 'null', '{}', '{"version":2,"tag":1,"command":[]}', '{"version":1,"tag":-1,"command":[]}'])
      expect(decodeKept(text)).toBeUndefined();
  });

  it('fits a message whatever the command', () => {
    const text = encodeKept({ tag: 1, command: ['program', ...Array<string>(100_000).fill('"\u0000ä')] });
    expect(Buffer.byteLength(text)).toBeLessThan(65_000);
    expect(decodeKept(text)!.command[0]).toBe('program');
  });
});
