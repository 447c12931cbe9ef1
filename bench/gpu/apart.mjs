/**
 * Programs that run by themselves, apart from who started them: their input and output are files, so CRIU can write them and bring them back. Durable checkpoints are
 * measured with them. What program and supervisor say is in one file, for whoever has to explain a failure.
 */
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { call, callAll } from '../../dist/runtime/index.js';
import { CLI, SIM_DRIVER } from './programs.mjs';

const WAIT_MS = 60_000;
/** Of what each has said, the end that a failure shows. */
const SHOWN_CHARACTERS = 1500;

export const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** What `holds` gives as soon as it gives something. */
export async function until(what, holds, every = 20) {
  for (const end = Date.now() + WAIT_MS; Date.now() < end; await pause(every)) {
    const found = await holds();
    if (found) return found;
  }
  throw new Error(`${what} took more than ${WAIT_MS / 1000} s`);
}

/** Path of CRIU, or undefined when there is none. */
export function findCriu({ criu }) {
  if (criu) return resolve(criu);
  // Commands take a path: a name would be a file here.
  const places = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'criu'));
  return places.find((place) => existsSync(place));
}

function kill(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

export class Apart {
  /** Numbers of what was started and has not ended: another process may have the number of one that has. */
  #started = new Set();
  #outputs = new Map();

  constructor({ programs, simulated }) {
    this.programs = programs;
    this.simulated = simulated;
    const sockets = join(programs.folder, 'run');
    mkdirSync(sockets, { recursive: true, mode: 0o700 });
    this.place = join(sockets, 'gcr-templates');
    this.environment = { ...process.env, XDG_RUNTIME_DIR: sockets };
  }

  /** @param name of its output's file */
  #start(line, name, environment) {
    const path = join(this.programs.folder, name);
    const output = openSync(path, 'w');
    const child = spawn(line[0], line.slice(1), { stdio: ['ignore', output, output], env: environment });
    closeSync(output);
    this.#outputs.set(name, path);
    this.#started.add(child.pid);
    child.once('exit', () => this.#started.delete(child.pid));
  }

  /** Without anything of ours. */
  plain(command, name) {
    const own = this.simulated && { GCR_SIM_SOCKET: this.programs.options.simulated, LD_LIBRARY_PATH: SIM_DRIVER };
    this.#start(command, name, { ...this.environment, ...own });
  }

  /** Under `run`. @returns its number, once it has device memory */
  async recorded(command, name, store) {
    const device = this.simulated ? ['--device', 'sim'] : [];
    this.#start([process.execPath, CLI, 'run', ...device, '--store', store, '--', ...command], name, this.environment);
    const { pid } = await until(`the start of ${name}`, () => this.supervised());
    this.#started.add(pid);
    return pid;
  }

  /** The one process that is supervised, with its status. */
  async supervised() {
    return (await callAll(this.place)).find(({ status }) => status?.bytes > 0);
  }

  operate(pid, operation, request = {}) {
    return call(this.place, pid, { operation, ...request });
  }

  /** A command to its end: what it printed. @throws when it fails */
  command(...args) {
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], {
      env: this.environment,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${args[0]} ended with ${status}: ${stderr}`);
    return stdout.trim();
  }

  /** Kills the process with its supervisor, as the end of a machine does, and waits until it has gone. */
  async die(pid) {
    const { status } = await until('its supervisor', () => this.supervised());
    kill(status.supervisor);
    await this.end(pid);
  }

  /** Kills the process. */
  async end(pid) {
    kill(pid);
    await until('its end', () => !existsSync(`/proc/${pid}`));
    this.#started.delete(pid);
  }

  outputOf(name) {
    return readFileSync(this.#outputs.get(name), 'utf8');
  }

  /** The last that each program, supervisor and CRIU have said. */
  said() {
    const logs = readdirSync(this.place).flatMap((name) =>
      /^criu.*\.log$/.test(name) ? [join(this.place, name)] : [],
    );
    return [...this.#outputs.values(), ...logs].map(
      (path) => `${path}:\n${readFileSync(path, 'utf8').slice(-SHOWN_CHARACTERS)}`,
    );
  }

  async close() {
    const last = await this.supervised();
    for (const pid of [...this.#started, ...(last ? [last.pid, last.status.supervisor] : [])]) kill(pid);
  }
}
