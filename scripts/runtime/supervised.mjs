/** A sample program under `gcr-templates run`, paced by us; its input outlives the supervisor. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const ROOT = join(import.meta.dirname, '../..');
export const CLI = join(ROOT, 'bin/gcr-templates.js');
export const APPS = join(ROOT, 'build/native/apps');

/** A program that is paced by us: what its lines mean, however they come (`line`, `allow`, `messages`). */
export class Paced {
  async expect(beginning) {
    const line = await this.line();
    if (!line?.startsWith(beginning)) throw new Error(`the program said ${line}: ${this.messages}`);
    return line;
  }

  /** One step, to its end. */
  async step() {
    this.allow(1);
    return this.expect('step');
  }

  /** The digest, or undefined when the program ended without one. */
  async finish() {
    this.allow(1000);
    for (let line = await this.line(); line !== undefined; line = await this.line())
      if (line.startsWith('digest ')) return line;
    return undefined;
  }

  /** Ends processes, whichever there are still. */
  kill(...pids) {
    for (const pid of pids) {
      try {
        if (pid) process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }
}

export class Supervised extends Paced {
  /**
   * @param folder where the control sockets are
   * @param device as `run` takes it
   * @param options of `run`, beside
   */
  constructor(folder, store, app, args, device = 'sim', options = []) {
    super();
    this.environment = { ...process.env, XDG_RUNTIME_DIR: folder };
    this.feeder = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] });
    this.feeder.stdin.on('error', () => {});
    const run = ['run', '--device', device, '--store', store, ...options];
    const command = [CLI, ...run, '--', join(APPS, app), '--pace', ...args];
    const stdio = [this.feeder.stdout, 'pipe', 'pipe'];
    this.child = spawn(process.execPath, command, { env: this.environment, stdio });
    this.exited = once(this.child, 'exit');
    this.messages = '';
    this.child.stderr.setEncoding('utf8').on('data', (text) => {
      this.messages += text;
    });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async line() {
    const { done, value } = await this.lines.next();
    return done ? undefined : value;
  }

  /** Until the program's memory is set up. @param callAll asks every supervisor of a folder for its status */
  async ready(callAll, sockets) {
    await this.expect('ready');
    // A supervisor that is busy answers late.
    let own = [];
    while (own.length === 0 && this.child.exitCode === null && this.child.signalCode === null)
      own = (await callAll(sockets)).filter(({ status }) => status?.supervisor === this.child.pid);
    // Of a program that forked, the first: the other one's parent.
    this.pid = Math.min(...own.map(({ pid }) => pid));
    return this;
  }

  /** Lets the program take steps; each is a line of its own. */
  allow(steps) {
    this.feeder.stdin.write('\n'.repeat(steps));
  }

  /** Replaces places in a file by what the program finds there. */
  async copy(path) {
    this.feeder.stdin.write(`copy ${path}\n`);
    await this.expect('copied');
  }

  close() {
    this.kill(this.pid, this.child.pid, this.feeder.pid);
  }
}
