/** Options that commands share, and how their values are checked. */
import { availableParallelism } from 'node:os';
import { addAbortSignal } from 'node:stream';
import { InvalidArgumentError, Option } from 'commander';
import type { BuildOptions } from '../pipeline/index.js';

const MAX_JOBS = 256;

function parseJobs(text: string): number {
  const jobs = Number(text);
  if (!Number.isInteger(jobs) || jobs < 1 || jobs > MAX_JOBS) {
    throw new InvalidArgumentError(`give a whole number from 1 to ${MAX_JOBS}.`);
  }
  return jobs;
}

export const jobsOption = () =>
  new Option('-j, --jobs <n>', 'worker threads')
    .argParser(parseJobs)
    .default(Math.min(availableParallelism(), MAX_JOBS), 'one a core');

export const kernelOption = () =>
  new Option('-k, --kernel <name>', 'only this kernel; may be given several times').argParser(
    (name: string, names: string[] | undefined) => [...(names ?? []), name],
  );

export const jsonOption = () => new Option('--json', 'print the result as JSON');

/** What every command that builds takes. */
export interface SharedOptions {
  readonly jobs: number;
  readonly kernel?: readonly string[];
  readonly json?: boolean;
}

/** Standard input to its end, or to the signal: whoever types at a terminal may also change their mind. */
async function readStandardInput(signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of addAbortSignal(signal, process.stdin)) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Options of a build, from those of the command line. Always worker threads: a thread that builds answers no signal. */
export function buildOptions(
  options: SharedOptions,
  signal: AbortSignal,
  onProgress: NonNullable<BuildOptions['onProgress']>,
): BuildOptions {
  return {
    jobs: options.jobs,
    ...(options.kernel && { kernels: options.kernel }),
    signal,
    onProgress,
    stdin: () => readStandardInput(signal),
  };
}
