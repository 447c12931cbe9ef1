/**
 * Durable checkpoints: a program on the simulated device is written to disk with CRIU, killed with its supervisor, and brought back by another one to the end
 * that nothing disturbs. Where there is no CRIU only what is refused is tested, with programs that play it.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeCheckedJson } from '../../src/checkpoint/checked-json.js';
import { Store } from '../../src/checkpoint/index.js';
import { findCriu, isOlder } from '../../src/runtime/criu.js';
import { APPS, Bench, CLI, isBuilt } from './supervised.js';

const criu = await findCriu(process.env['GCR_CRIU']).catch((error: Error) => {
  process.stderr.write(`durable checkpoints are not tested: ${error.message.split('\n')[0]}\n`);
  return undefined;
});
const CRIU = criu ? ['--criu', criu.path] : [];

interface Durable {
  readonly manifest: {
    readonly id: string;
    readonly kind: string;
    readonly parent: string | null;
    readonly chunks: { readonly changed: number };
  };
  readonly totalBytes: number;
  readonly image: { readonly folder: string; readonly bytes: number };
  readonly stopped: boolean;
}

/** A program whose input and output are files: they outlive it. */
class Application {
  pid = 0;
  supervisor = 0;
  readonly #input: number;
  readonly #out: string;
  readonly #err: string;

  constructor(
    readonly bench: Bench,
    readonly app: string,
    readonly name = app,
  ) {
    const fifo = join(bench.folder, `${name}.in`);
    execFileSync('mkfifo', [fifo]);
    this.#input = openSync(fifo, 'r+');
    this.#out = join(bench.folder, `${name}.out`);
    this.#err = join(bench.folder, `${name}.err`);
  }

  /** @param options of the program; `through` a command that starts it; `mode` of its output's file; `run` options of that command */
  async start(
    options: readonly string[] = [],
    through: readonly string[] = [],
    mode = 'w',
    run: readonly string[] = [],
  ): Promise<this> {
    const command = [CLI, 'run', '--device', 'sim', '--store', this.bench.store, ...run, '--', ...through];
    const args = [join(APPS, this.app), '--pace', '--steps', '8', '--size', '64', ...options];
    const files = [
      openSync(join(this.bench.folder, `${this.name}.in`), 'r+'),
      openSync(this.#out, mode),
      openSync(this.#err, 'w'),
    ];
    const child = spawn(process.execPath, [...command, ...args], { env: this.bench.environment, stdio: files });
    for (const fd of files) closeSync(fd);
    this.supervisor = child.pid!;
    await this.#until(() => this.output.includes('ready\n'));
    const { processes } = this.bench.json('ps') as { processes: { pid: number; supervisor: number }[] };
    this.pid = processes.find(({ supervisor }) => supervisor === this.supervisor)!.pid;
    return this;
  }

  get output(): string {
    return existsSync(this.#out) ? readFileSync(this.#out, 'utf8') : '';
  }

  async #until(condition: () => boolean): Promise<void> {
    for (const end = Date.now() + 30_000; !condition(); await sleep(20))
      if (Date.now() > end) throw new Error(`the program said ${this.output} ${readFileSync(this.#err, 'utf8')}`);
  }

  async step(): Promise<void> {
    const steps = this.output.split('\n').length;
    writeSync(this.#input, '\n');
    await this.#until(() => this.output.split('\n').length > steps);
  }

  /** @returns its digest */
  async finish(): Promise<string> {
    writeSync(this.#input, '\n'.repeat(50));
    await this.#until(() => this.output.includes('digest '));
    return /^digest (.*)$/m.exec(this.output)![1]!;
  }

  get isAlive(): boolean {
    return existsSync(`/proc/${this.pid}`);
  }

  async gone(): Promise<void> {
    await this.#until(() => !this.isAlive);
  }

  /** What a machine that is switched off does. */
  async die(): Promise<void> {
    for (const pid of [this.supervisor, this.pid]) kill(pid);
    await this.gone();
  }

  close(): void {
    for (const pid of [this.pid, this.supervisor]) kill(pid);
    closeSync(this.#input);
  }
}

function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    if (pid > 0) process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

let bench: Bench;
let applications: Application[];
beforeEach(() => {
  bench = new Bench();
  applications = [];
});
afterEach(() => {
  for (const application of applications) application.close();
  bench.close();
});

async function application(app = 'training', name = app, ...how: Parameters<Application['start']>) {
  const made = new Application(bench, app, name);
  applications.push(made);
  return made.start(...how);
}

const durable = (app: Application, ...options: string[]): Durable =>
  bench.json('checkpoint', '--pid', String(app.pid), '--durable', ...CRIU, ...options) as Durable;

interface Restored {
  readonly id: string;
  readonly pid: number;
  readonly cutFiles: readonly object[];
}

const restoreArguments = (id: string, ...options: string[]) => [
  ...['restore', id, '--store', bench.store],
  ...CRIU,
  ...options,
];

function restore(app: Application, id = 'latest', ...options: string[]): Restored {
  const result = bench.json(...restoreArguments(id, '--background', ...options)) as Restored;
  app.supervisor = (bench.json('status', '--pid', String(app.pid)) as { supervisor: number }).supervisor;
  return result;
}

const undisturbed = async (app: string): Promise<string> => (await application(app, 'undisturbed')).finish();

describe.skipIf(!isBuilt || !criu)('a durable checkpoint', () => {
  for (const app of ['training', 'graphs', 'variables', 'threads', 'pools'])
    it(`${app}: brings back a process that was killed, with its supervisor, in another session`, async () => {
      const digest = await undisturbed(app);
      const program = await application(app);
      await program.step();
      bench.json('checkpoint', '--pid', String(program.pid));
      await program.step();
      const { manifest, image, stopped } = durable(program);
      expect({ kind: manifest.kind, stopped, bytes: image.bytes > 0 }).toEqual({
        kind: 'increment',
        stopped: false,
        bytes: true,
      });
      // It goes on, and what it does then is lost.
      const output = program.output;
      await program.step();
      await program.die();
      writeFileSync(join(bench.folder, `${app}.out`), output);
      expect(restore(program)).toMatchObject({ id: manifest.id, pid: program.pid });
      await program.step();
      const next = bench.json('checkpoint', '--pid', String(program.pid), '--verify');
      expect(next).toMatchObject({ missedCount: 0, manifest: { kind: 'increment', parent: manifest.id } });
      expect(await program.finish()).toBe(digest);
      await program.gone();
    });

  it('goes on after it, and again after another, which ends the process; each can be restored', async () => {
    const digest = await undisturbed('training');
    const program = await application();
    await program.step();
    const first = durable(program);
    await program.step();
    const second = durable(program, '--stop');
    expect(second.stopped).toBe(true);
    expect(program.isAlive).toBe(false);
    restore(program, second.manifest.id);
    await program.step();
    const third = durable(program, '--stop');
    const grown = program.output;
    restore(program, first.manifest.id, '--truncate-files');
    await program.die();
    writeFileSync(join(bench.folder, 'training.out'), grown);
    restore(program, third.manifest.id);
    expect(await program.finish()).toBe(digest);
  });

  it('copies in the stop what changed since the last increment, however much memory there is', async () => {
    const size = ['--mib', '64', '--permille', '10'];
    const digest = await (await application('holder', 'undisturbed', size)).finish();
    const program = await application('holder', 'holder', size);
    // All memory before it is stopped, when there is nothing to compare with.
    const first = durable(program);
    const { checkpoints } = bench.json('list', bench.store) as { checkpoints: { id: string; kind: string }[] };
    expect(checkpoints.map(({ kind }) => kind).sort()).toEqual(['full', 'increment']);
    expect(first.manifest.chunks.changed).toBe(0);
    for (let round = 0; round < 2; round++) {
      await program.step();
      bench.json('checkpoint', '--pid', String(program.pid));
      await program.step();
      const { manifest, totalBytes } = durable(program);
      const share = (manifest.chunks.changed * 65_536) / totalBytes;
      expect({ kind: manifest.kind, little: share > 0 && share < 0.05 }).toEqual({ kind: 'increment', little: true });
    }
    // Or nothing that can be compared with any more.
    for (const name of readdirSync(join(bench.store, 'manifests')))
      if (name.endsWith('.json')) rmSync(join(bench.store, 'manifests', name));
    const last = durable(program, '--stop');
    expect({ kind: last.manifest.kind, changed: last.manifest.chunks.changed }).toEqual({
      kind: 'increment',
      changed: 0,
    });
    restore(program);
    expect(await program.finish()).toBe(digest);
  });

  describe('of a program whose files are not what they were', () => {
    const OUT = 'training.out';
    const SAVED = 'ready\nstep 1\n';
    let program: Application;
    let digest: string;
    /** Saves it after its first step, and ends it after its second. */
    const saved = async (mode?: string) => {
      digest = await undisturbed('training');
      program = await application('training', 'training', [], [], mode);
      await program.step();
      durable(program);
      await program.step();
      await program.die();
      expect(program.output).toBe(`${SAVED}step 2\n`);
    };
    const write = (text: string) => writeFileSync(join(bench.folder, OUT), text);
    const refused = (says: RegExp, ...options: string[]) => {
      const before = program.output;
      const { status, stderr } = bench.command(...restoreArguments('latest', ...options));
      expect({ status, stderr }).toEqual({ status: 69, stderr: expect.stringMatching(says) });
      expect(program.output).toBe(before);
      expect(program.isAlive).toBe(false);
    };

    it('cuts those that have only grown when that is asked for, and says so', async () => {
      await saved();
      refused(/GCR8117.*training\.out by 7 bytes[\s\S]*--truncate-files/);
      const { stderr } = bench.command(...restoreArguments('latest', '--background', '--truncate-files'));
      expect(stderr).toContain(`${OUT} was cut from 20 to 13 bytes`);
      expect(program.output).toBe(SAVED);
      program.supervisor = (bench.json('status', '--pid', String(program.pid)) as { supervisor: number }).supervisor;
      expect(await program.finish()).toBe(digest);
    });

    it('never touches those that are shorter, gone, or another one', async () => {
      await saved();
      for (const options of [[], ['--truncate-files']]) {
        write(SAVED.slice(0, 5));
        refused(/GCR8117.*training\.out is shorter/, ...options);
        write('another program says much more than the first one');
        refused(/GCR8117.*training\.out is another one/, ...options);
        rmSync(join(bench.folder, OUT));
        refused(/GCR8117.*training\.out is missing/, ...options);
      }
      write(SAVED);
      restore(program, 'latest', '--truncate-files');
      expect(await program.finish()).toBe(digest);
    });

    it('goes on behind those that are appended to, unless they are to be cut', async () => {
      await saved('a');
      const { status, stderr } = bench.command(...restoreArguments('latest', '--background'));
      expect({ status, stderr }).toEqual({
        status: 0,
        stderr: expect.stringMatching(/training\.out has grown by 7 bytes/),
      });
      await program.step();
      expect(program.output).toBe(`${SAVED}step 2\nstep 2\n`);
      program.supervisor = (bench.json('status', '--pid', String(program.pid)) as { supervisor: number }).supervisor;
      await program.die();
      const { cutFiles } = restore(program, 'latest', '--truncate-files');
      expect(cutFiles).toEqual([{ path: join(bench.folder, OUT), from: 27, to: 13 }]);
      expect(await program.finish()).toBe(digest);
    });

    it('leaves a file alone that took the place of a deleted one', async () => {
      program = await application();
      rmSync(join(bench.folder, OUT));
      write('another program says much more than the first one');
      durable(program);
      await program.die();
      write('another program says something else, and more of it than before');
      restore(program, 'latest', '--truncate-files');
      expect(program.output).toContain('something else, and more');
    });
  });

  it('is refused for a process in a PID namespace of its own', async () => {
    if (spawnSync('unshare', ['--pid', '--fork', 'true']).status !== 0) return;
    const program = await application('training', 'training', [], ['unshare', '--pid', '--fork']);
    const { status, stderr } = bench.command('checkpoint', '--pid', String(program.pid), '--durable', ...CRIU);
    expect({ status, stderr }).toEqual({ status: 69, stderr: expect.stringMatching(/GCR8117.*PID namespace/) });
    expect(await program.finish()).toBeDefined();
  });

  it('is known to list, verify and prune, and damage is found', async () => {
    const program = await application();
    const first = durable(program);
    await program.step();
    const second = durable(program);
    await program.finish();
    expect(bench.command('list', bench.store).stdout).toContain('increment, durable');
    const images = join(bench.store, 'images');
    execFileSync('mkdir', [join(images, '0123456789abcdef.tmp')]);
    expect(bench.command('verify', bench.store).stdout).toContain('0 problems');
    expect(bench.command('prune', bench.store, '--keep-last', '1').status).toBe(0);
    expect(readdirSync(images)).toEqual([second.image.folder]);
    expect(first.image.folder).not.toBe(second.image.folder);
    const pages = join(images, second.image.folder, 'pages-1.img');
    const fd = openSync(pages, 'r+');
    writeSync(fd, 'x', 100);
    closeSync(fd);
    expect(bench.command('verify', bench.store).status).toBe(0);
    expect(
      bench.command('verify', bench.store, '--read-data').stdout +
        bench.command('verify', bench.store, '--read-data').stderr,
    ).toContain('is damaged');
    await program.gone();
    const refused = bench.command('restore', 'latest', '--store', bench.store, ...CRIU);
    expect({ status: refused.status, says: refused.stderr.includes('is damaged') }).toEqual({ status: 69, says: true });
    rmSync(pages);
    expect(bench.command('verify', bench.store).status).toBe(65);
  });

  it('tells what is wrong before there is a process, of its files first, and leaves nothing of what was made beside', async () => {
    const digest = await undisturbed('training');
    const program = await application();
    await program.step();
    const { manifest, image } = durable(program, '--stop');
    const path = join(bench.store, 'manifests', `${manifest.id}.json`);
    const whole = readFileSync(path);
    const refused = (says: string) => {
      const { status, stderr } = bench.command(...restoreArguments('latest'));
      expect({ status, stderr }).toEqual({ status: 69, stderr: expect.stringContaining(says) });
      expect(program.isAlive).toBe(false);
      expect(readdirSync(bench.sockets).filter((name) => /^recorder|sock$/.test(name))).toEqual([]);
    };
    const { check: _, ...members } = JSON.parse(whole.toString()) as { device: object; check: string };
    const elsewhere = { ...members, device: { ...members.device, uuid: '0123456789abcdef0123456789abcdef' } };
    writeFileSync(path, encodeCheckedJson(elsewhere));
    refused('cannot be used here');
    const pages = openSync(join(bench.store, 'images', image.folder, 'pages-1.img'), 'r+');
    const before = Buffer.alloc(1);
    readSync(pages, before, 0, 1, 100);
    writeSync(pages, Buffer.of(before[0]! ^ 1), 0, 1, 100);
    refused('pages-1.img is damaged');
    writeFileSync(path, whole);
    refused('pages-1.img is damaged');
    writeSync(pages, before, 0, 1, 100);
    closeSync(pages);
    restore(program);
    expect(await program.finish()).toBe(digest);
  });

  it('brings back a process whose launches are counted as they were', async () => {
    const quiet = async () => {
      await program.step();
      let is = await bench.status(program.pid);
      for (const end = Date.now() + 5000; !is.quiet && Date.now() < end; await sleep(20))
        is = await bench.status(program.pid);
      return is.quiet;
    };
    const program = await application('training', 'training', [], [], 'w', ['--quiet-after', '0']);
    expect(await quiet()).toBe(true);
    durable(program, '--stop');
    restore(program);
    expect(await quiet()).toBe(true);
    await program.finish();
  });

  it('is restored however long that takes', async () => {
    const digest = await undisturbed('training');
    const program = await application();
    await program.step();
    durable(program, '--stop');
    const slow = join(bench.folder, 'slow');
    // Longer than a process may take that lives.
    writeFileSync(slow, `#!/bin/sh\n[ "$1" != restore ] || sleep 16\nexec ${criu!.path} "$@"\n`);
    chmodSync(slow, 0o755);
    restore(program, 'latest', '--criu', slow);
    expect(await program.finish()).toBe(digest);
  });

  it('leaves the process as it was when CRIU fails, and nothing in the store', async () => {
    const digest = await undisturbed('training');
    const program = await application();
    await program.step();
    const fake = join(bench.folder, 'criu');
    writeFileSync(fake, '#!/bin/sh\n[ "$1" = --version ] && echo "Version: 4.2" && exit 0\nexit 3\n');
    chmodSync(fake, 0o755);
    for (const stop of [[], ['--stop']]) {
      const failed = bench.command('checkpoint', '--pid', String(program.pid), '--durable', '--criu', fake, ...stop);
      expect({ status: failed.status, code: failed.stderr.includes('GCR8118') }).toEqual({ status: 69, code: true });
      await program.step();
    }
    expect(readdirSync(join(bench.store, 'images'))).toEqual([]);
    expect((bench.json('list', bench.store) as { checkpoints: object[] }).checkpoints).toHaveLength(1);
    expect(durable(program).manifest.kind).toBe('increment');
    expect(await program.finish()).toBe(digest);
  });

  describe('while CRIU writes it', () => {
    /** CRIU, and what else happens then. */
    const during = (what: string): string => {
      const path = join(bench.folder, 'during');
      const script = `[ "$1" = dump ] || exec ${criu!.path} "$@"\n${what}`;
      writeFileSync(path, `#!/bin/sh\n${script}\n`);
      chmodSync(path, 0o755);
      return path;
    };
    const ask = (program: Application, path: string, ...options: string[]) =>
      bench.command('checkpoint', '--pid', String(program.pid), '--durable', '--criu', path, ...options);
    const supervisorGone = async ({ supervisor }: Application) => {
      for (const end = Date.now() + 10_000; existsSync(`/proc/${supervisor}`) && Date.now() < end; ) await sleep(20);
      return !existsSync(`/proc/${supervisor}`);
    };

    for (const stop of [[], ['--stop']])
      it(`a program that is killed leaves no supervisor waiting ${stop}`, async () => {
        const program = await application();
        expect(ask(program, during('kill -9 "$3"; exit 1'), ...stop).status).not.toBe(0);
        expect(await supervisorGone(program)).toBe(true);
        expect(readdirSync(join(bench.store, 'images'))).toEqual([]);
      });

    it('a supervisor that is killed leaves no program stopped', async () => {
      const program = await application();
      // What CRIU leaves stopped only the supervisor would let go on.
      const path = during(`${criu!.path} "$@"; kill -9 $PPID`);
      expect(ask(program, path, '--stop').status).not.toBe(0);
      await program.gone();
    });
  });

  it('is refused where its number is taken, or it needs what is not there', async () => {
    const program = await application();
    const { manifest } = durable(program);
    const taken = bench.command('restore', 'latest', '--store', bench.store, ...CRIU);
    expect({ status: taken.status, says: taken.stderr.includes(String(program.pid)) }).toEqual({
      status: 69,
      says: true,
    });
    await program.step();
    await program.die();
    const store = await Store.open({ directory: bench.store });
    expect((await store.manifest(manifest.id)).image).toMatchObject({ numbers: expect.arrayContaining([program.pid]) });
    store.close();
    const memory = bench.command('restore', 'latest~1', '--store', bench.store, ...CRIU);
    expect({ status: memory.status, says: memory.stderr.includes('device memory only') }).toEqual({
      status: 69,
      says: true,
    });
  });

  // A kill at each step: of the supervisor, whose application is then ended or goes on, or of both; every checkpoint stays what it was.
  for (const step of ['hold', 'detach', 'lock', 'checkpoint', 'park', 'dump', 'sync', 'commit', 'restore', 'attach'])
    it(`loses nothing when the supervisor is killed at ${step}`, async () => {
      const digest = await undisturbed('training');
      const program = await application();
      await program.step();
      const before = durable(program);
      const output = program.output;
      await program.step();
      const child = spawn(process.execPath, [CLI, 'checkpoint', '--pid', String(program.pid), '--durable', ...CRIU], {
        env: bench.environment,
      });
      await struck(program, step);
      kill(program.supervisor);
      await new Promise((resolve) => child.once('exit', resolve));
      await sleep(500);
      kill(program.pid);
      await program.gone();
      writeFileSync(join(bench.folder, 'training.out'), output);
      expect(bench.command('verify', bench.store, '--read-data').stdout).toContain('0 problems');
      expect(restore(program, before.manifest.id)).toMatchObject({ pid: program.pid });
      expect(await program.finish()).toBe(digest);
      expect(bench.command('prune', bench.store, '--keep-last', '100').status).toBe(0);
      expect(readdirSync(join(bench.store, 'images')).some((name) => name.endsWith('.tmp'))).toBe(false);
    });

  for (const moment of [0, 50, 100, 200, 400, 800, 1600])
    it(`is restored after a restore that was killed after ${moment} ms`, async () => {
      const digest = await undisturbed('training');
      const program = await application();
      await program.step();
      const { manifest } = durable(program, '--stop');
      const args = ['restore', 'latest', '--store', bench.store, ...CRIU];
      const child = spawn(process.execPath, [CLI, ...args], { env: bench.environment, stdio: 'ignore' });
      await sleep(400 + moment);
      child.kill('SIGKILL');
      await sleep(300);
      kill(program.pid);
      await program.gone();
      // It may have gone on already, and found that its simulated device went with the supervisor.
      writeFileSync(join(bench.folder, 'training.err'), '');
      expect(restore(program, manifest.id)).toMatchObject({ pid: program.pid });
      expect(await program.finish()).toBe(digest);
    });
});

/** Waits until an operation has come to a step, as far as it can be seen. */
async function struck(program: Application, step: string): Promise<void> {
  const path = String(program.pid);
  for (const end = Date.now() + 5_000; Date.now() < end; ) {
    const { status, stdout } = bench.command('status', '--pid', path, '--json');
    if (status !== 0) return;
    const { operation } = JSON.parse(stdout) as { operation: { step: string } | null };
    if (operation === null || operation.step === step) return;
  }
}

describe('CRIU', () => {
  it('of two versions the older one is known', () => {
    const pairs: readonly [string, string, boolean][] = [
      ['4.0', '4.2', true],
      ['4.2', '4.2', false],
      ['4.10', '4.9', false],
      ['4.1', '4.1.1', true],
    ];
    for (const [one, other, older] of pairs) expect(isOlder(one, other)).toBe(older);
  });
});

describe.skipIf(!isBuilt)('without CRIU a durable checkpoint', () => {
  it('is refused before anything is stopped, and says what to do', async () => {
    const program = await application();
    const ask = (...options: string[]) =>
      bench.command('checkpoint', '--pid', String(program.pid), '--durable', ...options);
    const script = (name: string, content: string): string => {
      const path = join(bench.folder, name);
      writeFileSync(path, `#!/bin/sh\n${content}\n`);
      chmodSync(path, 0o755);
      return path;
    };
    const old = script('old', 'echo "Version: 3.19"');
    const other = script('other', 'echo hello');
    const broken = script('broken', 'exit 1');
    const expected: readonly [string, string][] = [
      [join(bench.folder, 'nothing'), 'is no program'],
      [old, 'CRIU 3.19, which is too old'],
      [other, 'is not CRIU'],
      [broken, 'does not run'],
    ];
    for (const [path, says] of expected) {
      const { status, stderr } = ask('--criu', path);
      expect({
        status,
        code: stderr.includes('GCR8117'),
        says: stderr.includes(says),
        hint: stderr.includes('install CRIU'),
      }).toEqual({
        status: 69,
        code: true,
        says: true,
        hint: true,
      });
    }
    expect(bench.json('status', '--pid', String(program.pid))).toMatchObject({
      state: 'running',
      lastCheckpoint: null,
    });
    expect(await program.finish()).toBeDefined();
  });
});
