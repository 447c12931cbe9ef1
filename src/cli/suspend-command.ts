/** `gcr-templates suspend` and `resume`: a process that gives its device memory back, and gets it again. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { type ResumeResult, RuntimeError, type SuspendResult, type Target } from '../runtime/index.js';
import { adoptArguments } from './adopt-command.js';
import { startInBackground } from './background.js';
import { checkpointText } from './checkpoint-command.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { ask, type ProcessOptions, pidOption, targetOption, timingsText } from './process-options.js';
import { type Finish, printJson } from './store-options.js';

interface Options extends ProcessOptions {
  readonly keepContext?: boolean;
  readonly leave?: boolean;
  readonly to?: Target;
  readonly note?: string;
}

interface ResumeOptions extends ProcessOptions {
  readonly store?: string;
}

async function suspend(options: Options, signal: AbortSignal): Promise<ExitCode> {
  const { keepContext, leave, to, note } = options;
  const request = {
    operation: 'suspend',
    ...(keepContext && { keepContext }),
    ...(leave && { leave }),
    ...(to && { to }),
    ...(note !== undefined && { note }),
  } as const;
  const result = await ask<SuspendResult>(options, request, signal);
  if (options.json) return printJson(result);
  if (result.warning !== undefined)
    process.stderr.write(`warning: contexts, streams and modules stay on the device: ${result.warning}\n`);
  process.stdout.write(
    `${checkpointText(result)}process ${options.pid} is suspended; resume it with \`gcr-templates resume\`\n`,
  );
  return EXIT.ok;
}

async function resume(options: ResumeOptions, signal: AbortSignal): Promise<ExitCode> {
  const again = () => ask<ResumeResult>(options, { operation: 'resume' }, signal);
  let result: ResumeResult;
  try {
    result = await again();
  } catch (error) {
    // Its supervisor has gone: another one comes first, and says why it cannot.
    if (!RuntimeError.is(error) || error.diagnostics[0]!.code !== 'GCR8102') throw error;
    const { code } = await startInBackground(adoptArguments(options));
    if (code !== EXIT.ok) return code;
    result = await again();
  }
  if (options.json) return printJson(result);
  const memory =
    result.id === null ? 'its memory was still there' : `${formatBytes(result.bytes)} from checkpoint ${result.id}`;
  process.stdout.write(`process ${options.pid} goes on: ${memory}\n  ${timingsText(result.timings)}\n`);
  return EXIT.ok;
}

export function addSuspendCommand(program: Command, finish: Finish): void {
  program
    .command('suspend')
    .description('save a supervised process and free its device memory; it waits until it is resumed')
    .addOption(pidOption())
    .option('--keep-context', 'leave contexts, streams and modules on the device: some hundred megabytes, and faster')
    .option('--leave', 'end its supervisor, too, whose own context takes half a gigabyte; resume starts another one')
    .addOption(targetOption())
    .option('--note <text>', 'free text, shown by list')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Nothing of the process stays on the device, where the driver can take its control state (570 and newer); a warning says when it cannot.
Its supervisor's context stays, so that it is resumed quickly; with --leave that goes, too, and \`run\` ends with 75 while the process waits.
With --to memory nothing is written to disk, which is faster; should the supervisor end while the process is suspended, its memory is lost.
Once it is resumed, other programs on the device wait until a kernel of this one ends, since the driver's restore takes from it that its
kernels are interrupted for others (docs/support.md); with --keep-context nothing changes.

Examples:
  gcr-templates suspend --pid 4711
  gcr-templates suspend --pid 4711 --keep-context
  gcr-templates resume --pid 4711`,
    )
    .action((options: Options) => finish((signal) => suspend(options, signal)));
}

export function addResumeCommand(program: Command, finish: Finish): void {
  program
    .command('resume')
    .description('give a suspended process its memory back; it goes on')
    .addOption(pidOption())
    .option('--store <dir>', 'folder of its store, when its supervisor has gone and the store was moved')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
When its supervisor has gone another one is started in the background (\`gcr-templates adopt\`).

Examples:
  gcr-templates resume --pid 4711`,
    )
    .action((options: ResumeOptions) => finish((signal) => resume(options, signal)));
}
