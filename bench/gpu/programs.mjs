/**
 * Programs that a benchmark drives: started alone or under `gcr-templates run`, stepped by lines on their standard input, each answered by
 * a line. Whoever starts one gets its answers in order; everything still running is killed by `close`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { call, callAll } from '../../dist/runtime/index.js';

export const ROOT = join(import.meta.dirname, '../..');
export const CLI = join(ROOT, 'bin/gcr-templates.js');
export const SIM_DRIVER = join(ROOT, 'build/native/simdriver');
const READY_MS = 120_000;
/** How long a program may take to end once it has said all; its supervisor with it. */
const END_MS = 20_000;

/** Starts a simulated device. */
export async function startSimulated() {
  const socket = join(mkdtempSync(join(tmpdir(), 'gcr-device-')), 'socket');
  const child = spawn(process.execPath, [join(ROOT, 'dist/simdevice/main.js'), '--socket', socket], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  child.unref();
  child.stdout.destroy();
  process.on('exit', () => {
    child.kill();
    rmSync(dirname(socket), { recursive: true, force: true });
  });
  return socket;
}

/** Path of a sample program. */
export const app = (name) => join(ROOT, 'build/native/apps', name);

export class Program {
  #waiting = [];
  #wake = () => {};
  #ended;
  #stderr = '';
  #image;
  /** The program's own process; of one under `run`, once it is supervised. */
  pid = 0;

  constructor(child, place) {
    this.child = child;
    this.place = place;
    if (!place) this.pid = child.pid;
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.#waiting.push(line);
      this.#wake();
    });
    child.stdin.on('error', () => {});
    child.stderr.setEncoding('utf8').on('data', (text) => {
      this.#stderr = (this.#stderr + text).slice(-4000);
    });
    this.exit = once(child, 'close').then(([code, signal]) => {
      this.#ended = signal ?? code;
      this.#wake();
    });
  }

  get #name() {
    return this.child.spawnargs.join(' ');
  }

  /** What it and its supervisor have said on standard error, and how it ended if it has. */
  get said() {
    const end = this.#ended === undefined ? '' : `, ended with ${this.#ended}`;
    return `${this.#name} (process ${this.pid}${end}): ${this.#stderr.trim()}`;
  }

  /** The next line of its output. */
  async line() {
    const end = Date.now() + READY_MS;
    while (this.#waiting.length === 0) {
      if (this.#ended !== undefined) throw new Error(`${this.#name} ended with ${this.#ended}: ${this.#stderr.trim()}`);
      if (Date.now() > end)
        throw new Error(`${this.#name} said nothing for ${READY_MS / 1000} s: ${this.#stderr.trim()}`);
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, 1000).unref();
      });
    }
    return this.#waiting.shift();
  }

  /** Lines up to the one that begins with `word`, that one last. */
  async until(word) {
    for (const lines = []; ; ) {
      lines.push(await this.line());
      if (lines.at(-1).startsWith(word)) return lines;
    }
  }

  write(line) {
    this.child.stdin.write(`${line}\n`);
  }

  /** Sends a line and gives the words of the answer. */
  async ask(line) {
    this.write(line);
    return (await this.line()).split(' ');
  }

  async ready() {
    await this.until('ready');
    if (!this.place) return this;
    // A supervisor that is busy answers late.
    const end = Date.now() + READY_MS;
    let found = [];
    for (; found.length === 0; found = found.filter(({ status }) => status?.supervisor === this.child.pid)) {
      if (Date.now() > end) throw new Error(`${this.#name} is not supervised: ${this.#stderr.trim()}`);
      found = await callAll(this.place);
    }
    this.pid = Math.min(...found.map(({ pid }) => pid));
    return this;
  }

  /** An operation of the supervisor's, and the milliseconds that it took. */
  async operate(operation, request = {}) {
    const start = performance.now();
    const result = await call(this.place, this.pid, { operation, ...request });
    return { ...result, took: performance.now() - start };
  }

  /** A checkpoint in host memory, or a suspension there; of several the last one stays. */
  async toMemory(operation, request = {}) {
    const result = await this.operate(operation, { to: 'memory', ...request });
    await this.drop();
    this.#image = result.manifest.id;
    return result;
  }

  /** Gives up what {@link toMemory} left there: the next one is a full one. */
  async drop() {
    if (this.#image) await this.operate('drop', { id: this.#image });
    this.#image = undefined;
  }

  /** Ends its input and gives what it prints at the end: a digest of everything it computed. */
  async end() {
    this.child.stdin.end();
    const lines = await this.until('digest');
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.#name} does not end: ${this.#stderr.trim()}`)), END_MS);
    });
    await Promise.race([this.exit, late]).finally(() => clearTimeout(timer));
    return lines.at(-1).split(' ')[1];
  }
}

/** Starts programs, all on one device, with folders of their own. */
export class Programs {
  #started = [];
  #closed = false;

  /** @param options `simulated`: the simulated device's socket; `folder` for what may lie on a disk, `memory` for what should not */
  constructor(options) {
    this.options = options;
    for (const place of [options.folder, options.memory]) mkdirSync(place, { recursive: true });
    this.folder = mkdtempSync(join(options.folder, 'gcr-bench-'));
    this.memory = mkdtempSync(join(options.memory, 'gcr-bench-'));
  }

  #start(command, environment, place) {
    // A scenario that ran out of time may still be at work.
    if (this.#closed) throw new Error('too late to start a program');
    const child = spawn(command[0], command.slice(1), {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    const program = new Program(child, place);
    this.#started.push(program);
    return program.ready();
  }

  /** Without anything of ours. */
  async plain(command, environment = {}) {
    const { simulated } = this.options;
    return this.#start(
      command,
      simulated ? { ...environment, GCR_SIM_SOCKET: simulated, LD_LIBRARY_PATH: SIM_DRIVER } : environment,
    );
  }

  /** Under `run`. @param options `store`: its folder; `arguments`: more of `run` */
  recorded(
    command,
    { store = join(this.memory, `store-${this.#started.length}`), environment = {}, arguments: more = [] } = {},
  ) {
    const sockets = join(this.folder, 'run');
    mkdirSync(sockets, { recursive: true, mode: 0o700 });
    const device = this.options.simulated ? ['--device', 'sim'] : [];
    const run = [process.execPath, CLI, 'run', ...device, '--store', store, ...more, '--', ...command];
    return this.#start(run, { ...environment, XDG_RUNTIME_DIR: sockets }, join(sockets, 'gcr-templates'));
  }

  /** For a failure: what each program has said. */
  said() {
    return this.#started.map((program) => program.said);
  }

  async close() {
    this.#closed = true;
    for (const program of this.#started) {
      program.child.stdin.end();
      for (const pid of new Set([program.pid, program.child.pid]))
        try {
          if (pid && program.child.exitCode === null) process.kill(pid, 'SIGKILL');
        } catch {}
      await program.exit;
    }
    this.#started = [];
    rmSync(this.folder, { recursive: true, force: true });
    rmSync(this.memory, { recursive: true, force: true });
  }
}
