/**
 * The sample programs under a supervisor, on the simulated device, by the commands that a user has: what is saved is what memory was, a rollback
 * leads to the same result, and nothing that happens to supervisor or program loses a checkpoint.
 */

import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Store } from '../../src/checkpoint/index.js';
import { Bench, isBuilt, type Program } from './supervised.js';

interface Saved {
  readonly manifest: {
    readonly id: string;
    readonly kind: string;
    readonly parent: string | null;
    readonly origins: Record<string, number>;
  };
  readonly missedCount: number;
  readonly fullBecause?: string;
}

let bench: Bench;
beforeEach(() => {
  bench = new Bench();
});
afterEach(() => bench.close());

const checkpoint = (program: Program, ...options: string[]): Saved =>
  bench.json('checkpoint', '--pid', String(program.pid), ...options) as Saved;

/** Everything that a checkpoint holds, by allocation. */
async function contentOf(id: string): Promise<Map<string, string>> {
  const store = await Store.open({ directory: bench.store });
  try {
    const { createHash } = await import('node:crypto');
    const plan = await store.restorePlan(id);
    const content = new Map<string, string>();
    for (const { id: allocation } of plan.allocations) {
      const hash = createHash('sha256');
      for await (const { bytes } of plan.pieces(allocation)) hash.update(bytes);
      content.set(String(allocation), hash.digest('hex'));
    }
    plan.close();
    return content;
  } finally {
    store.close();
  }
}

const ARGS = ['--steps', '6', '--size', '64'];
let known: Promise<string | undefined> | undefined;
const undisturbed = () =>
  (known ??= bench
    .start('training', ARGS)
    .ready()
    .then((program) => program.finish()));

describe.skipIf(!isBuilt)('a supervised program', () => {
  // By the commands; long chains of all sample programs are in chains.test.ts.
  it('has increments that hold what memory is, and a rollback that leads to the same end', async () => {
    const digest = await undisturbed();
    const program = await bench.start('training', ARGS).ready();
    const ids = [checkpoint(program).manifest.id];
    for (let step = 0; step < 3; step++) {
      await program.step();
      const increment = checkpoint(program);
      expect(increment).toMatchObject({ manifest: { kind: 'increment', parent: ids.at(-1) } });
      // A full one right behind it sees the same memory: byte for byte what the chain of increments gives.
      const full = checkpoint(program, '--full');
      expect(await contentOf(increment.manifest.id)).toEqual(await contentOf(full.manifest.id));
      ids.push(full.manifest.id);
    }
    expect(checkpoint(program, '--verify').missedCount).toBe(0);
    bench.json('restore', ids[2]!, '--pid', String(program.pid));
    const restored = checkpoint(program);
    expect(restored.manifest.parent).toBe(ids[2]);
    expect(await contentOf(restored.manifest.id)).toEqual(await contentOf(ids[2]!));
    expect(await program.finish()).toBe(digest);
    expect(await program.exit()).toEqual({ code: 0, signal: null });
  });

  it('has its exit code and its signals passed on', async () => {
    const crashes = await bench.start('crashes', ['--steps', '4', '--size', '64']).ready();
    const { manifest } = checkpoint(crashes);
    await crashes.finish();
    expect((await crashes.exit()).code).toBe(128 + 6);
    expect((await contentOf(manifest.id)).size).toBeGreaterThan(1);
    const ended = await bench.start('training', ['--size', '64']).ready();
    ended.child.kill('SIGTERM');
    expect((await ended.exit()).code).toBe(128 + 15);
    expect(bench.command('run', '--device', 'sim', '--store', bench.store, '--', '/nonexistent').status).toBe(127);
  });

  it('goes on when its supervisor is killed, with its checkpoints intact', async () => {
    const digest = await undisturbed();
    const program = await bench.start('training', ARGS).ready();
    await program.step(2);
    const { manifest } = checkpoint(program);
    program.child.kill('SIGKILL');
    await program.exit();
    expect(await program.finish()).toBe(digest);
    expect((await contentOf(manifest.id)).size).toBeGreaterThan(1);
    expect(bench.command('checkpoint', '--pid', String(program.pid)).status).toBe(66);
    expect(bench.json('ps')).toEqual({ processes: [] });
  });

  it('is suspended without memory, and resumed with all of it', async () => {
    const digest = await undisturbed();
    const program = await bench.start('training', ARGS).ready();
    await program.step(2);
    const pid = String(program.pid);
    const { manifest } = bench.json('suspend', '--pid', pid) as Saved;
    expect(bench.json('status', '--pid', pid)).toMatchObject({ state: 'suspended', lastCheckpoint: manifest.id });
    expect(bench.command('checkpoint', '--pid', pid).status).toBe(69);
    bench.json('resume', '--pid', pid);
    await program.step();
    expect(checkpoint(program, '--verify')).toMatchObject({ missedCount: 0, manifest: { parent: manifest.id } });
    expect(await program.finish()).toBe(digest);
  });

  it('has checkpoints in memory: goes back to one, is suspended in another, and they end with it', async () => {
    const digest = await undisturbed();
    const program = await bench.start('training', ARGS).ready();
    const pid = String(program.pid);
    const first = checkpoint(program, '--to', 'memory');
    expect(first).toMatchObject({ fullBecause: 'the first one in memory' });
    await program.step(2);
    const second = checkpoint(program, '--to', 'memory', '--verify');
    expect(second).toMatchObject({ missedCount: 0, manifest: { kind: 'increment', parent: first.manifest.id } });
    await program.step();
    bench.json('restore', 'latest', '--pid', pid);
    expect(await contentOf(checkpoint(program).manifest.id)).toBeDefined();
    bench.json('drop', first.manifest.id, '--pid', pid);
    expect(bench.command('drop', first.manifest.id, '--pid', pid).status).toBe(66);
    const { manifest } = bench.json('suspend', '--pid', pid, '--to', 'memory') as Saved;
    expect(bench.json('status', '--pid', pid)).toMatchObject({
      state: 'suspended',
      images: [{ id: second.manifest.id }, { id: manifest.id, kind: 'increment' }],
    });
    expect(bench.command('drop', manifest.id, '--pid', pid).status).toBe(69);
    bench.json('resume', '--pid', pid);
    const images = (bench.json('list', bench.store) as { checkpoints: unknown[] }).checkpoints;
    expect(images).toHaveLength(1);
    expect(await program.finish()).toBe(digest);
    expect(bench.command('checkpoint', '--pid', pid, '--to', 'nowhere').status).toBe(64);
  });

  it('has a control socket that only takes what it should', async () => {
    const program = await bench.start('training', ['--steps', '3', '--size', '64']).ready();
    const path = join(bench.folder, 'gcr-templates', `${program.pid}.sock`);
    const speak = (text: string) =>
      new Promise<string>((resolve) => {
        let answer = '';
        const socket = createConnection(path, () => socket.write(text));
        socket.on('data', (bytes) => {
          answer += bytes;
          if (answer.endsWith('\n')) socket.destroy();
        });
        socket.on('error', () => {});
        socket.on('close', () => resolve(answer));
      });
    expect(JSON.parse(await speak('nonsense\n'))).toMatchObject({ kind: 'error', diagnostics: [{ code: 'GCR8101' }] });
    expect(JSON.parse(await speak('{"version":9,"number":1,"operation":"status"}\n'))).toMatchObject({ kind: 'error' });
    expect(await speak('x'.repeat(100_000))).toBe('');
    expect(JSON.parse(await speak('{"version":1,"number":1,"operation":"resume"}\n'))).toMatchObject({
      kind: 'error',
      diagnostics: [{ code: 'GCR8108' }],
    });
    expect(checkpoint(program).manifest.kind).toBe('full');
    // A client that goes away in the middle cancels what it asked for.
    const socket = createConnection(path, () => {
      socket.write('{"version":1,"number":1,"operation":"checkpoint","full":true}\n');
      socket.once('data', () => socket.destroy());
    });
    await new Promise((resolve) => socket.on('close', resolve));
    await program.step();
    expect((bench.json('status', '--pid', String(program.pid)) as { state: string }).state).toBe('running');
    expect(await program.finish()).toBeDefined();
  });

  // Needs root, to be another user.
  it.skipIf(process.getuid!() !== 0)('does not answer another user, even where that can reach the socket', async () => {
    const program = await bench.start('training', ['--steps', '3', '--size', '64']).ready();
    const path = join(bench.folder, 'gcr-templates', `${program.pid}.sock`);
    chmodSync(bench.folder, 0o711);
    chmodSync(join(bench.folder, 'gcr-templates'), 0o711);
    chmodSync(path, 0o666);
    const ask = `const s = require('net').connect(${JSON.stringify(path)}, () => s.write('{"version":1,"number":1,"operation":"status"}\\n'));
      s.on('data', (d) => { console.log('answer', String(d).length > 0); s.destroy(); });
      s.on('error', (e) => console.log(e.code)); s.on('close', () => console.log('closed'));`;
    const speak = (uid: number) =>
      spawnSync(process.execPath, ['-e', ask], {
        uid,
        gid: uid,
        cwd: '/',
        encoding: 'utf8',
        timeout: 20_000,
      }).stdout.trim();
    expect(speak(0)).toBe('answer true\nclosed');
    expect(speak(65_534)).not.toContain('answer');
  });

  it('is told about when its supervisor hangs', async () => {
    const program = await bench.start('training', ['--steps', '3', '--size', '64']).ready();
    program.child.kill('SIGSTOP');
    const { processes } = bench.json('ps') as { processes: readonly object[] };
    expect(processes).toEqual([{ pid: program.pid, state: 'not answering' }]);
    program.child.kill('SIGCONT');
    expect(checkpoint(program).manifest.kind).toBe('full');
  });

  it('waits when its supervisor takes no events and the ring is full, and nothing is lost', async () => {
    const steps = 3000;
    const program = await bench
      .start('threads', ['--steps', String(steps + 10), '--size', '16', '--part', '32'])
      .ready();
    checkpoint(program);
    // What the supervisor passes on to us comes from the program itself, so it goes on coming.
    program.child.kill('SIGSTOP');
    program.allow(steps);
    const before = await program.settled(1500);
    expect(before).toBeGreaterThan(100);
    expect(before).toBeLessThan(steps);
    program.child.kill('SIGCONT');
    for (let step = 0; step < steps; step++) expect(await program.line()).toMatch(/^step /);
    const { manifest, missedCount } = checkpoint(program, '--verify');
    expect({ kind: manifest.kind, missedCount }).toEqual({ kind: 'increment', missedCount: 0 });
  });
});
