/** Programs of native/simdriver/test, built once a run, and simulated devices as processes beside them. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');
const KERNELS = join(ROOT, 'fixtures', 'apps', 'kernels');
const MAIN = join(ROOT, 'dist', 'simdevice', 'main.js');

/**
 * Builds what tests need beside the native part; nothing where it is up to date. With GCR_SANITIZE in the environment (`address`, with
 * undefined behaviour, or `thread`) what `scripts/native-tests.sh` tests with that.
 *
 * @returns the folder of the programs
 */
export function buildPrograms(): string {
  const sanitize = process.env['GCR_SANITIZE'];
  const build = join(ROOT, 'build', sanitize ? `native-tests/${sanitize}` : 'native');
  const cmake = (...args: string[]): void => {
    execFileSync('cmake', args, { cwd: ROOT, stdio: 'pipe' });
  };
  if (!existsSync(join(build, 'simdriver/test'))) {
    cmake('-S', 'native', '-B', build, '-DGCR_TESTS=ON', ...(sanitize ? [`-DGCR_SANITIZE=${sanitize}`] : []));
  }
  cmake('--build', build, '--target', 'simdriver_tests', '--parallel', '2');
  return join(build, 'simdriver', 'test');
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A running program; `line` waits for its next line of standard output. */
export class Program {
  readonly ended: Promise<Ended>;
  #out = '';
  #err = '';
  #taken = 0;
  #wake = (): void => {};
  #over = false;

  constructor(readonly child: ChildProcess) {
    child.stdout!.on('data', (part: Buffer) => {
      this.#out += part.toString();
      this.#wake();
    });
    child.stderr!.on('data', (part: Buffer) => {
      this.#err += part.toString();
    });
    this.ended = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code, signal) => {
        this.#over = true;
        this.#wake();
        resolve({ code, signal, out: this.#out, err: this.#err });
      });
    });
  }

  async line(): Promise<string> {
    for (;;) {
      const end = this.#out.indexOf('\n', this.#taken);
      if (end >= 0) {
        const line = this.#out.slice(this.#taken, end);
        this.#taken = end + 1;
        return line;
      }
      if (this.#over) throw new Error(`the program ended without that line: ${this.#err}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** A simulated device in a process of its own. */
export class DeviceProcess {
  readonly folder = mkdtempSync(join(tmpdir(), 'gcr-sim-'));
  readonly socket = join(this.folder, 'socket');
  readonly #programs: Program[] = [];
  process!: Program;

  async start(...options: string[]): Promise<void> {
    const args = [MAIN, '--socket', this.socket, '--with-parent', ...options];
    this.process = new Program(spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] }));
    const line = await this.process.line();
    if (line !== 'ready') throw new Error(`the device says '${line}'`);
  }

  /** Starts a scenario against this device; it is killed with it at the latest. */
  run(folder: string, scenario: string, environment: Record<string, string> = {}): Program {
    const env = { ...process.env, GCR_SIM_SOCKET: this.socket, GCR_TEST_KERNELS: KERNELS, ...environment };
    const program = new Program(
      spawn(join(folder, 'simdriver_scenarios'), [scenario], { env, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
    this.#programs.push(program);
    return program;
  }

  async stop(): Promise<void> {
    for (const { child } of this.#programs) child.kill('SIGKILL');
    // Also while this process is a program of its, through the addon.
    this.process.child.kill('SIGTERM');
    await this.process.ended;
    rmSync(this.folder, { recursive: true });
  }
}
