/** `gcr-templates restore`: puts a checkpoint back into the living process that it was taken from, or makes the process again. */
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { type RestoreResult, type ReviveResult, revive } from '../runtime/index.js';
import { startInBackground } from './background.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { ask, millisecondsText, operationProgress, pidOption, timingsText } from './process-options.js';
import { CHECKPOINT_HELP, counted, type Finish, printJson } from './store-options.js';

interface Options {
  readonly pid?: number;
  readonly store: string;
  readonly criu?: string;
  readonly background?: boolean;
  readonly truncateFiles?: boolean;
  readonly json?: boolean;
}

async function restore(id: string, pid: number, json: boolean, signal: AbortSignal): Promise<ExitCode> {
  const result = await ask<RestoreResult>({ pid, json }, { operation: 'restore', id }, signal);
  if (json) return printJson(result);
  const younger = result.younger > 0 ? `; ${counted(result.younger, 'younger allocation')} stayed` : '';
  process.stdout.write(
    `process ${pid} is back at ${result.id}: ${counted(result.chunks, 'chunk')} (${formatBytes(result.bytes)}) differed${younger}\n` +
      `  it was held for ${millisecondsText(result.heldMs)}\n`,
  );
  return EXIT.ok;
}

function tell(result: ReviveResult, json: boolean): void {
  if (json) printJson(result);
  else
    process.stdout.write(
      `process ${result.pid} goes on from checkpoint ${result.id}, with ${formatBytes(result.bytes)} of device memory: ${timingsText(result.host)}\n`,
    );
}

async function bringBack(checkpoint: string, options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { store, json = false, truncateFiles } = options;
  const criu = options.criu === undefined ? undefined : resolve(options.criu);
  if (options.background) {
    const more = [
      ...(criu === undefined ? [] : ['--criu', criu]),
      ...(truncateFiles ? ['--truncate-files'] : []),
      ...(json ? ['--json'] : []),
    ];
    const { code, line } = await startInBackground(['restore', checkpoint, '--store', store, ...more]);
    if (line !== undefined) process.stdout.write(`${line}\n`);
    return code;
  }
  const progress = operationProgress(!json);
  await revive({
    checkpoint,
    store,
    ...(criu !== undefined && { criu }),
    ...(truncateFiles && { truncateFiles }),
    onNote: (message) => process.stderr.write(`gcr-templates: ${message}\n`),
    report: progress.report,
    signal,
    onReady: (result) => {
      progress.clear();
      tell(result, json);
    },
  }).finally(() => progress.clear());
  return EXIT.ok;
}

export function addRestoreCommand(program: Command, finish: Finish): void {
  program
    .command('restore')
    .description('put a checkpoint back into its running process, or bring the process back from a durable one')
    .argument('<checkpoint>', CHECKPOINT_HELP)
    .addOption(pidOption().makeOptionMandatory(false))
    .option('--store <dir>', 'without --pid: folder of the store', 'gcr-store')
    .option('--criu <path>', 'without --pid: CRIU 4.0 or newer; the one in PATH when nothing is said')
    .option('--background', 'without --pid: return when the process goes on')
    .option(
      '--truncate-files',
      'without --pid: cut files that the process writes to, and that have only grown since, such as logs',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
With --pid only device memory goes back; what the program keeps in host memory stays. Memory that it allocated since stays, too. When
memory that the checkpoint has was freed since, the checkpoint is refused.

Without --pid the checkpoint must be a durable one, and its process must have ended: it is made again under its number, and this command
supervises it to its end. Pipes that it had as standard input, output and error become this command's.

Files that it had open for writing must be as long as they were. One that has only grown since, as a log does, is cut back with
--truncate-files, which says so for each; what was added is lost. One that is shorter or another one now is never touched.

Checkpoints in memory are found by the beginning of their id, too; latest is the youngest one, wherever it is.

Examples:
  gcr-templates restore latest --pid 4711
  gcr-templates restore latest --store checkpoints
  gcr-templates restore latest --store checkpoints --truncate-files
  gcr-templates restore 0123abcd --store checkpoints --background`,
    )
    .action((id: string, options: Options) =>
      finish((signal) =>
        options.pid === undefined
          ? bringBack(id, options, signal)
          : restore(id, options.pid, options.json === true, signal),
      ),
    );
}
