/** Real programs under a real supervisor on the simulated device, paced so that tests know where they are. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Interface } from 'node:readline';
import { createInterface } from 'node:readline';
import { call, callAll } from '../../src/runtime/control-client.js';
import type { ProcessStatus } from '../../src/runtime/status.js';
import { ROOT } from '../sim/helpers.js';

export const CLI = join(ROOT, 'bin/gcr-templates.js');
export const APPS = join(ROOT, 'build/native/apps');

/** Whether everything that a supervised program takes is built. */
export const isBuilt = ['apps/training', 'libgcr_recorder.so', 'simdriver/libcuda.so.1'].every((file) =>
  existsSync(join(ROOT, 'build/native', file)),
);

export interface Answer {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for one test: store, sockets, cache. */
export class Bench {
  readonly folder = mkdtempSync(join(tmpdir(), 'gcr-runtime-'));
  readonly store = join(this.folder, 'store');
  readonly sockets = join(this.folder, 'gcr-templates');
  readonly environment: NodeJS.ProcessEnv = {
    ...process.env,
    XDG_RUNTIME_DIR: this.folder,
    // Shared by all tests: templates of the same kernels.
    XDG_CACHE_HOME: join(ROOT, 'build/test-cache'),
  };
  readonly #programs: Program[] = [];

  /** @param through a command that starts the program; `options` of `run` */
  start(
    app: string,
    args: readonly string[] = [],
    through: readonly string[] = [],
    options: readonly string[] = [],
  ): Program {
    const program = new Program(this, app, args, through, options);
    this.#programs.push(program);
    return program;
  }

  /** One command to its end. */
  command(...args: string[]): Answer {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
      env: this.environment,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      timeout: 60_000,
    });
    return { status: status ?? -1, stdout, stderr };
  }

  json(...args: string[]): unknown {
    const { status, stdout, stderr } = this.command(...args, '--json');
    if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** What the supervisor of a process says. */
  status(pid: number): Promise<ProcessStatus> {
    return call(this.sockets, pid, { operation: 'status' }) as Promise<ProcessStatus>;
  }

  close(): void {
    for (const program of this.#programs) program.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** A sample program under `gcr-templates run`. */
export class Program {
  readonly child: ChildProcess;
  readonly #feeder: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: string[] = [];
  #wake: () => void = () => {};
  #ended: { readonly code: number | null; readonly signal: string | null } | undefined;
  stderr = '';
  /** The application's own process, once it is known. */
  pid = 0;

  constructor(
    readonly bench: Bench,
    app: string,
    args: readonly string[],
    through: readonly string[],
    options: readonly string[],
  ) {
    const always = ['--device', 'sim', '--store', bench.store];
    const command = [CLI, 'run', ...always, ...options, '--', ...through, join(APPS, app), '--pace', ...args];
    // Through another process, because what is given to a child ends with it, and the program may outlive its supervisor.
    this.#feeder = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    const stdio = [this.#feeder.stdout!, 'pipe', 'pipe'] as const;
    this.child = spawn(process.execPath, command, { env: bench.environment, stdio: [...stdio] });
    this.#lines = createInterface({ input: this.child.stdout! });
    this.#lines.on('line', (line) => {
      this.#waiting.push(line);
      this.#wake();
    });
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#feeder.stdin!.on('error', () => {});
    this.child.on('exit', (code, signal) => {
      this.#ended = { code, signal };
      this.#wake();
    });
  }

  /** The next line of the program's output; undefined at its end. */
  async line(): Promise<string | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#ended && this.child.stdout!.readableEnded) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 50);
      });
    }
    return this.#waiting.shift();
  }

  /** Until the program's memory is set up. */
  async ready(): Promise<this> {
    const line = await this.line();
    if (line !== 'ready') throw new Error(`the program said ${line}: ${this.stderr}`);
    // A supervisor that is busy answers late.
    let own: { readonly pid: number }[] = [];
    while (own.length === 0 && !this.#ended)
      own = (await callAll(this.bench.sockets)).filter(
        ({ status }) => (status as ProcessStatus | undefined)?.supervisor === this.child.pid,
      );
    // Of a program that forked, the first: the other one's parent.
    this.pid = Math.min(...own.map(({ pid }) => pid));
    return this;
  }

  async step(count = 1): Promise<void> {
    for (let index = 0; index < count; index++) {
      this.#feeder.stdin!.write('\n');
      const line = await this.line();
      if (!line?.startsWith('step ')) throw new Error(`the program said ${line}: ${this.stderr}`);
    }
  }

  /** Lets the program take steps, as many as it can; {@link line} tells of each. */
  allow(steps: number): void {
    this.#feeder.stdin!.write('\n'.repeat(steps));
  }

  /** How many lines there are that {@link line} has not given yet, once no more have come for a while. */
  async settled(milliseconds: number): Promise<number> {
    for (let last = -1; last !== this.#waiting.length; ) {
      last = this.#waiting.length;
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
    }
    return this.#waiting.length;
  }

  /** Lets the program run to its end. @returns its digest, when it told one */
  async finish(): Promise<string | undefined> {
    this.#feeder.stdin!.write('\n'.repeat(1000));
    for (let line = await this.line(); line !== undefined; line = await this.line())
      if (line.startsWith('digest ')) return line.slice(7);
    return undefined;
  }

  async exit(): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    while (!this.#ended) await new Promise((resolve) => setTimeout(resolve, 20));
    return this.#ended;
  }

  kill(): void {
    for (const pid of [this.pid, this.child.pid ?? 0, this.#feeder.pid ?? 0]) {
      if (pid === 0) continue;
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }
}
