/** `gcr-templates restore`: puts a checkpoint back into the process that it was taken from, while that lives. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { RestoreResult } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { ask, millisecondsText, type ProcessOptions, pidOption } from './process-options.js';
import { CHECKPOINT_HELP, counted, type Finish, printJson } from './store-options.js';

async function restore(id: string, options: ProcessOptions, signal: AbortSignal): Promise<ExitCode> {
  const result = await ask<RestoreResult>(options, { operation: 'restore', id }, signal);
  if (options.json) return printJson(result);
  const younger = result.younger > 0 ? `; ${counted(result.younger, 'younger allocation')} stayed` : '';
  process.stdout.write(
    `process ${options.pid} is back at ${result.id}: ${counted(result.chunks, 'chunk')} (${formatBytes(result.bytes)}) differed${younger}\n` +
      `  it was held for ${millisecondsText(result.heldMs)}\n`,
  );
  return EXIT.ok;
}

export function addRestoreCommand(program: Command, finish: Finish): void {
  program
    .command('restore')
    .description('put a checkpoint back into the running process whose memory it is')
    .argument('<checkpoint>', CHECKPOINT_HELP)
    .addOption(pidOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Only device memory goes back; what the program keeps in host memory stays. Memory that it allocated since stays, too. When memory
that the checkpoint has was freed since, the checkpoint is refused.

Checkpoints in memory are found by the beginning of their id, too; latest is the youngest one, wherever it is.

Examples:
  gcr-templates restore latest --pid 4711
  gcr-templates restore 0123abcd --pid 4711`,
    )
    .action((id: string, options: ProcessOptions) => finish((signal) => restore(id, options, signal)));
}
