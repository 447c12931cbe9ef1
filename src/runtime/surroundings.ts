/**
 * What an application was started with under supervision, read from its environment, and where its recorder looks for supervisors. A process in a container has a
 * number and a file system of its own; numbers here are this process's, paths are the ones by which this process reaches what the other one sees.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type BridgeOptions, QUIET_AFTER } from './bridge-options.js';
import { RuntimeError } from './errors.js';
import { takeoverSocket } from './runtime-folder.js';

/** What a supervised process was started with. */
export interface Surroundings {
  /** The socket of its first supervisor. */
  readonly socket: string;
  readonly store: string | undefined;
  readonly driver: string | undefined;
  readonly simulatedDevice: string | undefined;
  /** How its launches are counted, as far as it says. */
  readonly recording: BridgeOptions;
}

const NEVER = 'never';

/** Variables of an application's environment from which a later supervisor knows how launches are to be counted. All are there, so none is inherited from an outer `run`. */
export function recordingVariables({ unknown = 'all', quietAfter = QUIET_AFTER }: BridgeOptions): NodeJS.ProcessEnv {
  return {
    GCR_UNKNOWN: unknown,
    GCR_QUIET_AFTER: quietAfter === Number.POSITIVE_INFINITY ? NEVER : String(quietAfter),
  };
}

/** What {@link recordingVariables} said; anything else says nothing, so that it counts as all memory. */
function recordingIn(values: ReadonlyMap<string, string>): BridgeOptions {
  const unknown = values.get('GCR_UNKNOWN');
  const quiet = values.get('GCR_QUIET_AFTER') ?? '';
  return {
    ...((unknown === 'all' || unknown === 'args') && { unknown }),
    ...(quiet === NEVER && { quietAfter: Number.POSITIVE_INFINITY }),
    ...(/^\d{1,15}$/.test(quiet) && { quietAfter: Number(quiet) }),
  };
}

/** @throws RuntimeError GCR8102 */
export function surroundingsOf(pid: number): Surroundings {
  const missing = (why: string) =>
    new RuntimeError('not-found', 'GCR8102', `process ${pid} ${why}`, '`gcr-templates run` starts one that can be');
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/environ`, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw missing(code === 'ENOENT' ? 'does not exist' : `cannot be looked at: ${message}`);
  }
  const values = new Map(
    text.split('\0').map((entry) => [entry.split('=', 1)[0]!, entry.slice(entry.indexOf('=') + 1)]),
  );
  const socket = values.get('GCR_SOCKET');
  if (!socket) throw missing('was not started under supervision');
  return {
    socket,
    store: values.get('GCR_STORE') || undefined,
    driver: values.get('GCR_DRIVER') || undefined,
    simulatedDevice: values.get('GCR_SIM_SOCKET') || undefined,
    recording: recordingIn(values),
  };
}

/** How a process's launches are to be counted, of one that may have ended. */
export function recordingOf(pid: number): BridgeOptions {
  try {
    return surroundingsOf(pid).recording;
  } catch {
    return {};
  }
}

/** The numbers that a process has, from this process's PID namespace down to its own. */
export function numbersOf(pid: number): readonly number[] {
  try {
    const numbers = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return numbers ? numbers.split(/\s+/).map(Number) : [pid];
  } catch {
    return [pid];
  }
}

/** A path of another process's, as this one reaches it: by its root, where both see different folders. */
export function reached(pid: number, path: string): string {
  const folder = dirname(path);
  const theirs = `/proc/${pid}/root`;
  try {
    const [own, other] = [folder, theirs + folder].map((place) => statSync(place, { throwIfNoEntry: false }));
    if (other && (own?.ino !== other.ino || own.dev !== other.dev)) return theirs + path;
  } catch {
    // Its root cannot be looked at.
  }
  return path;
}

/**
 * Where the recorder of a process looks for another supervisor: at the socket of its first one, with the number by which it knows itself.
 *
 * @param socket of its first supervisor, as the process knows it
 */
export const offerPlace = (pid: number, socket: string): string =>
  reached(pid, takeoverSocket(socket, numbersOf(pid).at(-1)!));
