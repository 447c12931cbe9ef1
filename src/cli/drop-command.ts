/** `gcr-templates drop`: gives up a checkpoint in host memory. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { DropResult } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { ask, type ProcessOptions, pidOption } from './process-options.js';
import { type Finish, printJson } from './store-options.js';

async function drop(id: string, options: ProcessOptions, signal: AbortSignal): Promise<ExitCode> {
  const result = await ask<DropResult>(options, { operation: 'drop', id }, signal);
  if (options.json) return printJson(result);
  process.stdout.write(`${result.id} is gone from memory; ${formatBytes(result.bytes)} are free again\n`);
  return EXIT.ok;
}

export function addDropCommand(program: Command, finish: Finish): void {
  program
    .command('drop')
    .description('give up a checkpoint that is in host memory')
    .argument('<checkpoint>', 'its id, or the beginning of it, as `gcr-templates status` shows it')
    .addOption(pidOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Other checkpoints stay as they are, also increments of this one. Checkpoints in a store are removed by \`gcr-templates prune\`.

Examples:
  gcr-templates drop 0123abcd --pid 4711`,
    )
    .action((id: string, options: ProcessOptions) => finish((signal) => drop(id, options, signal)));
}
