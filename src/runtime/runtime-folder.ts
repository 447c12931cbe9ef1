/**
 * The folder in which supervisors put their sockets: private to the user, so that who can open a socket is decided before anybody
 * speaks. A socket is named by the number of the process that it is for; one that nobody listens on is a left-over and is removed.
 */
import { lstatSync, mkdirSync, readdirSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { isAbsolute, join } from 'node:path';
import { RuntimeError } from './errors.js';

const SOCKET = /^([1-9]\d{0,9})\.sock$/;
const PROBE_MS = 2_000;

/** `$XDG_RUNTIME_DIR/gcr-templates`, or a folder of the user's in `/tmp`. Not made yet. */
export function runtimeFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const base = environment['XDG_RUNTIME_DIR'];
  return base && isAbsolute(base) ? join(base, 'gcr-templates') : join('/tmp', `gcr-templates-${process.getuid!()}`);
}

/** Makes the folder, or checks that the one there is this user's alone. @throws RuntimeError GCR8111 */
export function ensureRuntimeFolder(folder: string): void {
  const refuse = (why: string) =>
    new RuntimeError(
      'refused',
      'GCR8111',
      `${folder} ${why}`,
      'remove it, or set XDG_RUNTIME_DIR to a folder of your own',
    );
  try {
    mkdirSync(folder, { mode: 0o700, recursive: true });
  } catch (error) {
    throw refuse(`cannot be made: ${(error as Error).message}`);
  }
  const found = lstatSync(folder);
  if (!found.isDirectory()) throw refuse('is not a folder');
  if (found.uid !== process.getuid!()) throw refuse('belongs to another user');
  if ((found.mode & 0o077) !== 0) throw refuse('can be used by others');
}

export const controlSocket = (folder: string, pid: number): string => join(folder, `${pid}.sock`);

/** Processes that have a socket here, ascending; whether somebody listens is not looked at. */
export function listedProcesses(folder: string): number[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names.flatMap((name) => Number(SOCKET.exec(name)?.[1] ?? []) || []).sort((a, b) => a - b);
}

/** Where a supervisor listens for recorders. */
export const recorderSocket = (folder: string, supervisor: number): string => join(folder, `recorder-${supervisor}`);

/** Where a supervisor listens that wants to take a process over, whose own one listened at `recorder`. */
export const takeoverSocket = (recorder: string, pid: number): string => `${recorder}.${pid}`;

/** Whether there is a process of that number. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Removes what supervisors that were killed left here, unless another one listens in its place. */
export async function removeLeftOvers(folder: string): Promise<void> {
  for (const name of readdirSync(folder)) {
    const supervisor = Number(/^recorder-([1-9]\d{0,9})(\.\d+)?$/.exec(name)?.[1]);
    if (supervisor && !isAlive(supervisor)) await removeIfStale(join(folder, name));
  }
}

/** Removes a socket that nobody listens on. @returns whether somebody listens */
export function removeIfStale(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    const done = (listening: boolean) => {
      socket.destroy();
      resolve(listening);
    };
    socket.setTimeout(PROBE_MS, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') {
        try {
          unlinkSync(path);
        } catch {
          // Somebody else was quicker.
        }
      }
      done(code !== 'ECONNREFUSED' && code !== 'ENOENT');
    });
  });
}
