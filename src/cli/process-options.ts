/** What the commands that speak to a supervisor share. */
import { InvalidArgumentError, Option } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { type ControlRequest, call, runtimeFolder, TARGETS } from '../runtime/index.js';
import { Progress } from './output.js';

export interface ProcessOptions {
  readonly pid: number;
  readonly json?: boolean;
}

const MAX_PID = 2 ** 31 - 1;

function parsePid(text: string): number {
  const pid = Number(text);
  if (!Number.isInteger(pid) || pid < 1 || pid > MAX_PID)
    throw new InvalidArgumentError('give the number of a process.');
  return pid;
}

export const pidOption = () =>
  new Option('-p, --pid <n>', 'the process, as `gcr-templates ps` shows it').argParser(parsePid).makeOptionMandatory();

export const targetOption = () =>
  new Option('--to <where>', 'store: on disk; memory: in host memory, as long as application and supervisor live')
    .choices([...TARGETS])
    .default('store');

/** What the steps of an operation are called on a terminal. */
const STEPS: Readonly<Record<string, string>> = {
  check: 'checking',
  'catch-up': 'building templates',
  hold: 'waiting for the queues',
  drain: 'reading what was launched',
  plan: 'planning',
  copy: 'copying',
  compare: 'comparing',
  read: 'reading',
  write: 'writing',
  fill: 'filling',
  commit: 'committing',
};

/** Asks the supervisor of a process, with progress on a terminal. */
export async function ask<T>({ pid, json }: ProcessOptions, request: ControlRequest, signal: AbortSignal): Promise<T> {
  let progress: Progress | undefined;
  try {
    const result = await call(runtimeFolder(), pid, request, {
      signal,
      onReport: ({ step, done, total }) => {
        const label = STEPS[step] ?? step;
        if (progress?.label !== label) {
          progress?.clear();
          progress = new Progress(label, !json);
        }
        if (done !== undefined && total) progress.update(done, total);
      },
    });
    return result as T;
  } finally {
    progress?.clear();
  }
}

export const millisecondsText = (milliseconds: number): string =>
  milliseconds < 1000 ? `${milliseconds.toFixed(1)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;

/** `3.0 MiB of 64 MiB`. */
export const shareText = (bytes: number, total: number): string => `${formatBytes(bytes)} of ${formatBytes(total)}`;
