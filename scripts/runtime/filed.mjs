/**
 * A sample program under `gcr-templates run` on the simulated device whose input is a named pipe and whose output is a file, so that CRIU can write it and bring it
 * back; paced by us, and read as {@link Supervised} is.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { APPS, CLI, Paced } from './supervised.mjs';

const POLL_MS = 10;
const READY_MS = 20_000;

/** Whether a process runs, or waits. */
export function isAlive(pid) {
  try {
    return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Waits until a process has ended. @returns whether it has */
export async function hasEnded(pid, milliseconds) {
  for (const end = Date.now() + milliseconds; isAlive(pid); await sleep(POLL_MS)) if (Date.now() > end) return false;
  return true;
}

/** A command of ours to its end. */
export function command(environment, ...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env: environment, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ status: error ? (error.code ?? -1) : 0, stdout, stderr }),
    );
  });
}

export class Filed extends Paced {
  /** @param folder where the control sockets are */
  constructor(folder, store, app, args) {
    super();
    this.environment = { ...process.env, XDG_RUNTIME_DIR: folder };
    this.folder = mkdtempSync(join(folder, 'filed-'));
    const [input, output, errors] = ['in', 'out', 'err'].map((name) => join(this.folder, name));
    execFileSync('mkfifo', [input]);
    Object.assign(this, { output, errors, read: 0, input: openSync(input, 'r+') });
    const line = [CLI, 'run', '--device', 'sim', '--store', store, '--', join(APPS, app), '--pace', ...args];
    const stdio = [openSync(input, 'r+'), openSync(output, 'w'), openSync(errors, 'w')];
    this.child = spawn(process.execPath, line, { env: this.environment, stdio });
    for (const fd of stdio) closeSync(fd);
    this.exited = once(this.child, 'exit');
  }

  get messages() {
    return readFileSync(this.errors, 'utf8');
  }

  get lines() {
    return readFileSync(this.output, 'utf8').split('\n').slice(0, -1);
  }

  /** The next line; undefined when the program ended without one. */
  async line() {
    for (;;) {
      const alive = this.pid ? isAlive(this.pid) : this.child.exitCode === null;
      const line = this.lines[this.read];
      if (line !== undefined) {
        this.read++;
        return line;
      }
      if (!alive) return undefined;
      await sleep(POLL_MS);
    }
  }

  /** Until the program's memory is set up. @param callAll asks every supervisor of a folder for its status */
  async ready(callAll, sockets) {
    await this.expect('ready');
    for (const end = Date.now() + READY_MS; !this.pid && Date.now() < end; await sleep(POLL_MS))
      this.pid = (await callAll(sockets)).find(({ status }) => status?.supervisor === this.child.pid)?.pid;
    return this;
  }

  allow(steps) {
    writeSync(this.input, '\n'.repeat(steps));
  }

  /** It was brought back, with its output as it was at the checkpoint. */
  cameBack() {
    this.read = this.lines.length;
  }

  close() {
    this.kill(this.pid, this.child.pid);
    closeSync(this.input);
    if (existsSync(this.folder)) rmSync(this.folder, { recursive: true });
  }
}
