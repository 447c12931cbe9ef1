/** `gcr-templates run`: an application under supervision, so that it can be checkpointed. */
import { constants } from 'node:os';
import { type Command, Option } from 'commander';
import { run } from '../runtime/index.js';
import type { UnknownPolicy } from '../shadow/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import type { Finish } from './store-options.js';

interface Options {
  readonly store: string;
  readonly device: 'sim' | 'auto';
  readonly unknown: UnknownPolicy;
}

async function start(command: readonly string[], options: Options): Promise<ExitCode> {
  const [program, ...args] = command;
  try {
    const { code, signal } = await run({
      command: [program!, ...args],
      ...options,
      onNote: (message) => process.stderr.write(`gcr-templates: ${message}\n`),
    });
    // The application's own exit code; a signal's number as shells tell it.
    return (code ?? 128 + constants.signals[signal!]) as ExitCode;
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (!syscall?.startsWith('spawn')) throw error;
    process.stderr.write(`gcr-templates: ${program}: ${code === 'ENOENT' ? 'not found' : (error as Error).message}\n`);
    return code === 'ENOENT' ? EXIT.programNotFound : EXIT.programNotStarted;
  }
}

export function addRunCommand(program: Command, finish: Finish): void {
  program
    .command('run')
    .description('run an application so that it can be checkpointed')
    .argument('<command...>', 'the application and its arguments, best behind --')
    .option('--store <dir>', 'folder of the store; made when it is not there', 'gcr-store')
    .addOption(
      new Option('--device <which>', 'sim: the simulated device; auto: this machine’s own driver')
        .choices(['sim', 'auto'])
        .default('auto'),
    )
    .addOption(
      new Option(
        '--unknown <what>',
        'what unknown launches count as having written; args is a heuristic that may miss bytes',
      )
        .choices(['all', 'args'])
        .default('all'),
    )
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The exit code is the application's. Signals are passed on to it. If gcr-templates itself ends, the application goes on.

Examples:
  gcr-templates run -- python train.py
  gcr-templates run --device sim --store checkpoints -- ./train --steps 100`,
    )
    .action((command: string[], options: Options) => finish(() => start(command, options)));
}
