/** `gcr-templates suspend` and `resume`: a process that gives its device memory back, and gets it again. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { CheckpointResult, ResumeResult, Target } from '../runtime/index.js';
import { checkpointText } from './checkpoint-command.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { ask, type ProcessOptions, pidOption, targetOption } from './process-options.js';
import { type Finish, printJson } from './store-options.js';

interface Options extends ProcessOptions {
  readonly to?: Target;
  readonly note?: string;
}

async function suspend(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { to, note } = options;
  const request = { operation: 'suspend', ...(to && { to }), ...(note !== undefined && { note }) } as const;
  const result = await ask<CheckpointResult>(options, request, signal);
  if (options.json) return printJson(result);
  process.stdout.write(
    `${checkpointText(result)}process ${options.pid} is suspended; resume it with \`gcr-templates resume\`\n`,
  );
  return EXIT.ok;
}

async function resume(options: ProcessOptions, signal: AbortSignal): Promise<ExitCode> {
  const result = await ask<ResumeResult>(options, { operation: 'resume' }, signal);
  if (options.json) return printJson(result);
  process.stdout.write(
    `process ${options.pid} goes on, with ${formatBytes(result.bytes)} from checkpoint ${result.id}\n`,
  );
  return EXIT.ok;
}

export function addSuspendCommand(program: Command, finish: Finish): void {
  program
    .command('suspend')
    .description('save a supervised process and free its device memory; it waits until it is resumed')
    .addOption(pidOption())
    .addOption(targetOption())
    .option('--note <text>', 'free text, shown by list')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
With --to memory nothing is written to disk, which is faster; should the supervisor end while the process is suspended, its memory is lost.

Examples:
  gcr-templates suspend --pid 4711
  gcr-templates resume --pid 4711`,
    )
    .action((options: Options) => finish((signal) => suspend(options, signal)));
}

export function addResumeCommand(program: Command, finish: Finish): void {
  program
    .command('resume')
    .description('give a suspended process its memory back; it goes on')
    .addOption(pidOption())
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  gcr-templates resume --pid 4711')
    .action((options: ProcessOptions) => finish((signal) => resume(options, signal)));
}
