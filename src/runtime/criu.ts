/**
 * CRIU, which writes the host's side of a process tree to disk and brings it back. It is a program of its own that an administrator installs; here is what is
 * asked of it. Its plugins are left out: the device's state is led away by the driver before it sees the process (control-state.ts).
 */
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { promisify } from 'node:util';
import { RuntimeError } from './errors.js';
import { ensureRuntimeFolder, runtimeFolder } from './runtime-folder.js';

const LEAST_MAJOR = 4;
const VERSION_MS = 10_000;
/** `CAP_SYS_PTRACE` and `CAP_CHECKPOINT_RESTORE`. */
const CAPABILITIES = (1n << 19n) | (1n << 40n);
/** What it says whenever it may not have more descriptors. */
const HARMLESS = /RLIMIT_NOFILE/;
/** Lines of its log that an error shows. */
const SHOWN_LINES = 4;
/** Deleted files that a process still has open go into the image up to this size. */
const GHOST_LIMIT = '256M';

export interface Criu {
  readonly path: string;
  readonly version: string;
}

const refuse = (message: string, hint: string): RuntimeError => new RuntimeError('refused', 'GCR8117', message, hint);

function findProgram(name: string): string | undefined {
  const places = isAbsolute(name)
    ? [name]
    : (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, name));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether this process may checkpoint others: as root, or with the capabilities for it. */
function mayCheckpoint(): boolean {
  if (process.getuid!() === 0) return true;
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
  return effective !== undefined && (BigInt(`0x${effective}`) & CAPABILITIES) === CAPABILITIES;
}

/**
 * Finds CRIU and looks whether it can be used.
 *
 * @param wanted path; absent: by `PATH`
 * @throws RuntimeError GCR8117
 */
export async function findCriu(wanted?: string): Promise<Criu> {
  const path = findProgram(wanted ?? 'criu');
  const get = 'install CRIU 4.0 or newer (package criu, or https://criu.org), or name it with --criu';
  if (path === undefined)
    throw refuse(
      `durable checkpoints need CRIU, and ${wanted === undefined ? 'there is none in PATH' : `${wanted} is no program`}`,
      get,
    );
  let text: string;
  try {
    text = (await promisify(execFile)(path, ['--version'], { timeout: VERSION_MS })).stdout;
  } catch (error) {
    throw refuse(`${path} does not run: ${(error as Error).message.split('\n')[0]}`, get);
  }
  const version = /^Version:\s*(\d+(?:\.\d+)*)/m.exec(text)?.[1];
  if (version === undefined) throw refuse(`${path} is not CRIU: it does not tell a version`, get);
  if (Number(version.split('.')[0]) < LEAST_MAJOR) throw refuse(`${path} is CRIU ${version}, which is too old`, get);
  if (!mayCheckpoint()) {
    const hint = 'run the supervisor as root, or give it CAP_CHECKPOINT_RESTORE and CAP_SYS_PTRACE';
    throw refuse('this user may not checkpoint processes', hint);
  }
  return { path, version };
}

/** Whether `version` is older than `other`. */
export function isOlder(version: string, other: string): boolean {
  const [a, b] = [version, other].map((text) => text.split('.').map(Number)) as [number[], number[]];
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i] ?? 0, b[i] ?? 0];
    if (x !== y) return x < y;
  }
  return false;
}

/** The machine, as far as an image depends on it. */
export function machineNow(): { readonly kernel: string; readonly machine: string; readonly module: string | null } {
  let module: string | null = null;
  try {
    module = readFileSync('/sys/module/nvidia/version', 'latin1').trim();
  } catch {
    // No such device.
  }
  return { kernel: release(), machine: process.arch, module };
}

/** The last errors of a log. */
function errorsOf(log: string): string {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return 'it left no log';
  }
  const errors = text.split('\n').filter((line) => line.includes('Error (') && !HARMLESS.test(line));
  return (
    errors
      .slice(0, SHOWN_LINES)
      .map((line) => line.replace(/^\([^)]*\)\s*(\d+: )?/, ''))
      .join('; ') || 'its log names no error'
  );
}

/** What to do about a file that went on growing after the process was saved, as logs do. */
function sizeHint(errors: string): string | undefined {
  const found = /File (\S+) has bad size \d+ \(expect (\d+)\)/.exec(errors);
  if (!found) return undefined;
  const file = `/${found[1]!.replace(/^\//, '')}`;
  return `${file} must be as it was when the process was saved; of a log, what was added since goes with \`truncate -s ${found[2]} ${file}\``;
}

/** Runs CRIU to its end. */
async function run(
  criu: Criu,
  what: 'dump' | 'restore',
  args: readonly string[],
  stdio: readonly ('ignore' | 'inherit' | number)[],
): Promise<void> {
  // Not in the store, where an image that failed is removed.
  const folder = runtimeFolder();
  ensureRuntimeFolder(folder);
  const log = join(folder, `criu-${what}.log`);
  // Without plugins: it would lead the device's state away itself.
  const plugins = mkdtempSync(join(tmpdir(), 'gcr-criu-'));
  const privileges = process.getuid!() === 0 ? [] : ['--unprivileged'];
  const common = [
    '--shell-job',
    '--file-locks',
    '--libdir',
    plugins,
    '--manage-cgroups=ignore',
    '-v1',
    '--log-file',
    log,
  ];
  try {
    const code = await new Promise<number | string>((resolve, reject) => {
      const child = spawn(criu.path, [what, ...args, ...common, ...privileges], { stdio: [...stdio] });
      child.once('error', reject);
      // Not when its output is closed: what it restored may have that.
      child.once('exit', (exit, signal) => resolve(exit ?? signal!));
    });
    if (code === 0) return;
    const errors = errorsOf(log);
    const message = `CRIU could not ${what} the process (${code}): ${errors}`;
    throw new RuntimeError('failed', 'GCR8118', message, sizeHint(errors) ?? `see ${log}`);
  } finally {
    rmSync(plugins, { recursive: true, force: true });
  }
}

/**
 * Writes a tree of processes into a folder.
 *
 * @param then what becomes of the processes: they go on, or stay stopped until they are told to go on
 * @throws RuntimeError GCR8118; the processes then go on
 */
export async function dumpTree(criu: Criu, root: number, folder: string, then: 'running' | 'stopped'): Promise<void> {
  await run(
    criu,
    'dump',
    ['--tree', String(root), '--images-dir', folder, `--leave-${then}`, '--ghost-limit', GHOST_LIMIT],
    ['ignore', 'ignore', 'ignore'],
  );
}

/**
 * Brings a tree of processes back, under the numbers of before.
 *
 * @param stdio what its first process had as standard input, output and error: pipes among them become those of this process
 * @throws RuntimeError GCR8118; nothing is left of them then
 */
export async function restoreTree(criu: Criu, folder: string, stdio: readonly string[]): Promise<void> {
  const pipes = new Map<string, number>();
  for (const [index, link] of stdio.entries()) if (link.startsWith('pipe:') && !pipes.has(link)) pipes.set(link, index);
  const inherited = [...pipes.keys()].flatMap((link, index) => ['--inherit-fd', `fd[${3 + index}]:${link}`]);
  await run(
    criu,
    'restore',
    ['--images-dir', folder, '--restore-detached', ...inherited],
    ['inherit', 'inherit', 'inherit', ...pipes.values()],
  );
}
