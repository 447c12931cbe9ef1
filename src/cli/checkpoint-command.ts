/** `gcr-templates checkpoint`: saves the device memory of a supervised process while it goes on. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { CheckpointResult, ControlTimings, DurableResult, Target, Timings } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { printDiagnostics } from './output.js';
import {
  ask,
  millisecondsText,
  type ProcessOptions,
  pidOption,
  shareText,
  targetOption,
  timingsText,
} from './process-options.js';
import { counted, type Finish, originText, printJson } from './store-options.js';

interface Options extends ProcessOptions {
  readonly full?: boolean;
  readonly verify?: boolean;
  readonly control?: boolean;
  readonly to?: Target;
  readonly durable?: boolean;
  readonly stop?: boolean;
  readonly criu?: string;
  readonly note?: string;
}

/** What a person is told of a checkpoint. */
export function checkpointText(result: CheckpointResult & { readonly timings: Timings & ControlTimings }): string {
  const { manifest, target, verified, fullBecause, dirtyChunks, dirtyBytes, totalBytes, heldMs } = result;
  const { chunks, kind } = manifest;
  const origins = originText(manifest);
  const dirty = `${shareText(dirtyBytes, totalBytes)} in ${counted(dirtyChunks, 'chunk')}`;
  const looked =
    verified === 'none' || kind === 'full'
      ? `looked at ${dirty}`
      : `compared all memory, ${dirty} may have been written`;
  const lines = [
    `${manifest.id}  ${kind === 'full' ? `full (${fullBecause})` : 'increment'}${target === 'memory' ? ', in memory' : ''}`,
    `  ${looked}; ${counted(chunks.changed, 'chunk')} changed, ${formatBytes(chunks.storedBytes)} stored`,
    ...(kind === 'increment' && origins !== '' ? [`  changed by ${origins}`] : []),
    `  the application was held for ${millisecondsText(heldMs)}`,
    ...(result.timings.detach !== undefined ? [`  ${timingsText(result.timings)}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** What a person is told of the host's side of a durable checkpoint; nothing of another. */
function durableText(pid: number, { image, host, stopped }: Partial<DurableResult>): string {
  if (!image || !host) return '';
  const end = stopped ? `; process ${pid} has ended` : '';
  return `  durable: ${formatBytes(image.bytes)} of host memory; ${timingsText(host)}${end}\n`;
}

async function save(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { full, verify, control, to, durable, stop, criu, note } = options;
  const request = {
    operation: 'checkpoint',
    ...(full && { full }),
    ...(verify !== undefined && { verify }),
    ...(control && { control }),
    ...(to && { to }),
    ...(durable && { durable }),
    ...(stop && { stop }),
    ...(criu !== undefined && { criu: resolve(criu) }),
    ...(note !== undefined && { note }),
  } as const;
  const result = await ask<CheckpointResult & { readonly timings: Timings & ControlTimings } & Partial<DurableResult>>(
    options,
    request,
    signal,
  );
  if (options.json) printJson(result);
  else process.stdout.write(`${checkpointText(result)}${durableText(options.pid, result)}`);
  if (result.missedCount === 0) return EXIT.ok;
  const { missed, missedCount } = result;
  printDiagnostics(
    missed.map(({ allocation, address, chunk, kernels }) => ({
      code: 'GCR8110',
      severity: 'error',
      message: `chunk ${chunk} of allocation ${allocation} at ${address} changed, and was called clean`,
      hint: `please report this with the PTX of ${kernels.join(' or ')}`,
    })),
  );
  process.stderr.write(
    `${counted(missedCount, 'chunk')} had been missed by templates; this checkpoint holds what memory was, earlier increments may not\n`,
  );
  return EXIT.internal;
}

export function addCheckpointCommand(program: Command, finish: Finish): void {
  program
    .command('checkpoint')
    .description('save the device memory of a supervised process, which goes on')
    .addOption(pidOption())
    .addOption(new Option('--full', 'look at all memory, and depend on no other checkpoint').conflicts('incremental'))
    .option(
      '--incremental',
      'what may have changed since the last checkpoint; this is what happens when nothing is said',
    )
    .option(
      '--verify',
      'look at all memory, and fail when something changed that templates call clean; happens by itself where the device computes hashes',
    )
    .option('--no-verify', 'look only at what may have changed')
    .option('--control', "take the control state off the device meanwhile, by the driver's own checkpoint (driver 570)")
    .addOption(targetOption())
    .addOption(
      new Option(
        '--durable',
        'save the whole process, by CRIU, so that `restore` can bring it back after its end',
      ).conflicts(['control', 'to', 'full', 'verify']),
    )
    .option('--stop', 'with --durable: end the application when it is saved')
    .option('--criu <path>', 'with --durable: CRIU 4.0 or newer; the one in the PATH of `run` when nothing is said')
    .option('--note <text>', 'free text, shown by list')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The first checkpoint of a process is a full one, and so is one after recording stopped.
--control tells how long each step of it took; memory that is clean is neither copied nor moved.
After --control and --durable other programs on the device wait until a kernel of this one ends, since the driver's restore takes from it
that its kernels are interrupted for others (docs/support.md); without them nothing changes.

A checkpoint in memory is copied to pinned memory of the supervisor and goes no further: the fastest there is, for going back to, and
lost when the application ends or its supervisor does. \`gcr-templates status\` shows them, \`gcr-templates drop\` gives them up. Checkpoints in
the store and in memory are increments each of their own kind.

Examples:
  gcr-templates checkpoint --pid 4711
  gcr-templates checkpoint --pid 4711 --control
  gcr-templates checkpoint --pid 4711 --durable --stop
  gcr-templates checkpoint --pid 4711 --to memory
  gcr-templates checkpoint --pid 4711 --verify --note "before the schedule changes"`,
    )
    .action((options: Options) => finish((signal) => save(options, signal)));
}
