/** The tree of processes that a supervised one is in, as `/proc` has it. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { surroundingsOf } from './surroundings.js';

const END_MS = 10_000;

/** What the system says of a process, from the third field of proc(5)'s `stat` on; undefined when it has ended. */
function statOf(pid: number): readonly string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is a name in parentheses that may hold anything.
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined;
  }
}

/** The parent of a process; undefined when it has ended. */
function parentOf(pid: number): number | undefined {
  const stat = statOf(pid);
  return stat && Number(stat[1]);
}

/** The first process of the tree: the eldest of its line that was started under the same supervisor. */
export function rootOf(pid: number, socket: string): number {
  for (let at = pid; ; ) {
    const parent = parentOf(at);
    if (parent === undefined || parent <= 1) return at;
    try {
      if (surroundingsOf(parent).socket !== socket) return at;
    } catch {
      return at;
    }
    at = parent;
  }
}

/** A process and all that come from it. */
export function treeOf(root: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const parent = Number.isInteger(pid) ? parentOf(pid) : undefined;
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), pid]);
  }
  const tree = [root];
  for (const pid of tree) tree.push(...(children.get(pid) ?? []));
  return tree;
}

/** Numbers of all threads of processes. */
export function threadsOf(pids: readonly number[]): readonly number[] {
  return pids.flatMap((pid) => {
    try {
      return readdirSync(`/proc/${pid}/task`).map(Number);
    } catch {
      return [];
    }
  });
}

/** What a process has as standard input, output and error. */
export function stdioOf(pid: number): readonly string[] {
  return [0, 1, 2].map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return '';
    }
  });
}

/** Whether a number is that of a process or a thread. */
const isTaken = (number: number): boolean => existsSync(`/proc/${number}`);

/** Whether a process has ended, though its parent may not have taken note of it. */
export function isGone(pid: number): boolean {
  try {
    return /^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return true;
  }
}

/** Linux's PF_EXITING. */
const EXITING = 0x4;

/** Whether a process is about to end: it runs no more, and what it had open is closed after that. */
export const isEnding = (pid: number): boolean => (Number(statOf(pid)?.[6]) & EXITING) !== 0;

/** Numbers that are somebody's. One that has ended keeps its number until its parent has taken note, which is waited for. */
export async function takenOf(numbers: readonly number[]): Promise<readonly number[]> {
  for (const end = Date.now() + END_MS; ; await sleep(20)) {
    const taken = numbers.filter(isTaken);
    if (!taken.every(isGone) || taken.length === 0 || Date.now() > end) return taken;
  }
}

export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended.
    }
  }
}

/** Waits for a line; when its input ends without one, whoever held the other end has gone. */
const WATCH =
  'read -r line || { echo "gcr-templates: process $1 is ended: its supervisor has gone while it was stopped to be saved" >&2; kill -KILL "$@"; }';

/**
 * Has processes that are stopped, and that only this process would let go on, ended should this process end before.
 *
 * @returns what takes that back
 */
export function endWithThis(pids: readonly number[]): () => void {
  // In a session of its own: what ends this process from a terminal must not end the watch.
  const watch = spawn('/bin/sh', ['-c', WATCH, 'sh', ...pids.map(String)], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  watch.on('error', () => {});
  watch.stdin!.on('error', () => {});
  watch.unref();
  return () => watch.stdin!.end('\n');
}

/** Ends processes, and waits until they have. */
export async function endAll(pids: readonly number[]): Promise<void> {
  signalAll(pids, 'SIGKILL');
  for (const end = Date.now() + END_MS; Date.now() < end && !pids.every(isGone); ) await sleep(10);
}
