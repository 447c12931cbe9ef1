/** `gcr-templates checkpoint`: saves the device memory of a supervised process while it goes on. */
import { type Command, Option } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { CheckpointResult, Target } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { printDiagnostics } from './output.js';
import { ask, millisecondsText, type ProcessOptions, pidOption, shareText, targetOption } from './process-options.js';
import { counted, type Finish, originText, printJson } from './store-options.js';

interface Options extends ProcessOptions {
  readonly full?: boolean;
  readonly verify?: boolean;
  readonly to?: Target;
  readonly note?: string;
}

/** What a person is told of a checkpoint. */
export function checkpointText(result: CheckpointResult): string {
  const { manifest, target, verified, fullBecause, dirtyChunks, dirtyBytes, totalBytes, heldMs } = result;
  const { chunks, kind } = manifest;
  const origins = originText(manifest);
  const lines = [
    `${manifest.id}  ${kind === 'full' ? `full (${fullBecause})` : 'increment'}${target === 'memory' ? ', in memory' : ''}`,
    `  ${verified === 'none' || kind === 'full' ? 'looked at' : 'compared all memory; may have been written:'} ${shareText(dirtyBytes, totalBytes)} in ${counted(dirtyChunks, 'chunk')}; ${counted(chunks.changed, 'chunk')} changed, ${formatBytes(chunks.storedBytes)} stored`,
    ...(kind === 'increment' && origins !== '' ? [`  changed by ${origins}`] : []),
    `  the application was held for ${millisecondsText(heldMs)}`,
  ];
  return `${lines.join('\n')}\n`;
}

async function save(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { full, verify, to, note } = options;
  const request = {
    operation: 'checkpoint',
    ...(full && { full }),
    ...(verify !== undefined && { verify }),
    ...(to && { to }),
    ...(note !== undefined && { note }),
  } as const;
  const result = await ask<CheckpointResult>(options, request, signal);
  if (options.json) printJson(result);
  else process.stdout.write(checkpointText(result));
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
    .addOption(targetOption())
    .option('--note <text>', 'free text, shown by list')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
The first checkpoint of a process is a full one, and so is one after recording stopped.

A checkpoint in memory is copied to pinned memory of the supervisor and goes no further: the fastest there is, for going back to, and
lost when the application ends or its supervisor does. \`gcr-templates status\` shows them, \`gcr-templates drop\` gives them up. Checkpoints in
the store and in memory are increments each of their own kind.

Examples:
  gcr-templates checkpoint --pid 4711
  gcr-templates checkpoint --pid 4711 --to memory
  gcr-templates checkpoint --pid 4711 --verify --note "before the schedule changes"`,
    )
    .action((options: Options) => finish((signal) => save(options, signal)));
}
