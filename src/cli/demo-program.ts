/** The demo's program under a supervisor: the training-like sample, one step at a time. Also how a digest of its memory is made. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  type ControlRequest,
  call,
  callAll,
  type ProcessStatus,
  RuntimeError,
  runtimeFolder,
} from '../runtime/index.js';

const CLI = fileURLToPath(new URL('../../bin/gcr-templates.js', import.meta.url));
export const TRAINING = fileURLToPath(new URL('../../build/native/apps/training', import.meta.url));

const unexpected = (what: string, said: string | undefined): RuntimeError =>
  new RuntimeError('failed', 'GCR8111', `the demo's program ${what} ${said === undefined ? 'ended' : `said ${said}`}`);

export class DemoProgram {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #ended: Promise<unknown>;
  /** The program's own process. */
  pid = 0;

  /** @param folder where store and sockets are */
  constructor(folder: string, store: string, args: readonly string[]) {
    this.#environment = { ...process.env, XDG_RUNTIME_DIR: folder };
    const command = [CLI, 'run', '--device', 'sim', '--store', store, '--', TRAINING, '--pace', ...args];
    this.#child = spawn(process.execPath, command, { env: this.#environment, stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin!.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
    this.#ended = once(this.#child, 'exit');
  }

  async #line(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    return done ? undefined : value;
  }

  /** Until its memory is set up. */
  async ready(): Promise<void> {
    const line = await this.#line();
    if (line !== 'ready') throw unexpected('should be ready and', line);
    const found = await callAll(runtimeFolder(this.#environment));
    const own = found.find(({ status }) => (status as ProcessStatus | undefined)?.supervisor === this.#child.pid);
    if (!own) throw unexpected('should be supervised and', 'nothing to a supervisor');
    this.pid = own.pid;
  }

  async step(count: number): Promise<void> {
    for (let index = 0; index < count; index++) {
      this.#child.stdin!.write('\n');
      const line = await this.#line();
      if (!line?.startsWith('step ')) throw unexpected('should have made a step and', line);
    }
  }

  ask<T>(request: ControlRequest, signal: AbortSignal): Promise<T> {
    return call(runtimeFolder(this.#environment), this.pid, request, { signal }) as Promise<T>;
  }

  /** To its end. @returns the digest of its memory */
  async finish(): Promise<string> {
    this.#child.stdin!.end('\n'.repeat(10_000));
    for (let line = await this.#line(); line !== undefined; line = await this.#line()) {
      if (!line.startsWith('digest ')) continue;
      await this.#ended;
      return line.slice(7);
    }
    throw unexpected('should have told its digest and', undefined);
  }

  /** Ends it with no chance to do anything, and waits until its supervisor has noticed. */
  async killHard(): Promise<void> {
    process.kill(this.pid, 'SIGKILL');
    await this.#ended;
  }

  close(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGTERM');
  }
}

/** The digest that the sample programs print: FNV-1a of 64 bits. */
export class Digest {
  #high = 0xcbf29ce4;
  #low = 0x84222325;

  add(bytes: Uint8Array): void {
    let high = this.#high;
    let low = this.#low;
    for (const byte of bytes) {
      low = (low ^ byte) >>> 0;
      // Times 0x100000001b3, in halves: the product of the low half and 0x1b3 has 41 bits.
      const product = low * 0x1b3;
      high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + low * 256) >>> 0;
      low = product >>> 0;
    }
    this.#high = high;
    this.#low = low;
  }

  toString(): string {
    return [this.#high, this.#low].map((half) => half.toString(16).padStart(8, '0')).join('');
  }
}
