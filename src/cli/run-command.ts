/** `gcr-templates run`: an application under supervision, so that it can be checkpointed. */
import { constants } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { QUIET_AFTER, run } from '../runtime/index.js';
import type { UnknownPolicy } from '../shadow/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import type { Finish } from './store-options.js';

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** Bytes: `32G`, `512M`, `1073741824`. */
function parseSize(text: string): number {
  const [, digits, unit] = /^(\d{1,12})([KMGT]?)(?:i?B)?$/i.exec(text) ?? [];
  const bytes = Number(digits) * UNITS[unit?.toUpperCase() ?? '']!;
  if (!Number.isSafeInteger(bytes) || bytes < 1) throw new InvalidArgumentError('give a size, such as 32G.');
  return bytes;
}

interface Options {
  readonly store: string;
  readonly device: 'sim' | 'auto';
  readonly unknown: UnknownPolicy;
  readonly quietAfter: number;
  readonly hostMemory?: number;
}

/** A number of launches, or `never`. */
function parseLaunches(text: string): number {
  if (text === 'never') return Number.POSITIVE_INFINITY;
  if (!/^\d{1,12}$/.test(text)) throw new InvalidArgumentError('give a number, or never.');
  return Number(text);
}

async function start(command: readonly string[], { unknown, quietAfter, ...options }: Options): Promise<ExitCode> {
  const [program, ...args] = command;
  try {
    const onNote = (message: string) => process.stderr.write(`gcr-templates: ${message}\n`);
    const recording = { unknown, quietAfter };
    const outcome = await run({ command: [program!, ...args], ...options, recording, onNote });
    if (outcome.left !== undefined) {
      onNote(
        `process ${outcome.left} was left suspended; \`gcr-templates resume --pid ${outcome.left}\` lets it go on`,
      );
      return EXIT.locked;
    }
    // The application's own exit code; a signal's number as shells tell it.
    return (outcome.code ?? 128 + constants.signals[outcome.signal!]) as ExitCode;
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
    .addOption(
      new Option(
        '--quiet-after <launches>',
        'when so many since the last checkpoint may have written anything, the others are only counted until the next one; never: reports name every launch',
      )
        .argParser(parseLaunches)
        .default(QUIET_AFTER),
    )
    .addOption(
      new Option(
        '--host-memory <size>',
        'reserve so much for checkpoints in memory (such as 32G), and use no more; without it, what they take, up to half of the machine’s',
      ).argParser(parseSize),
    )
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The exit code is the application's, or 75 when it was left (\`suspend --leave\`) and waits. Signals are passed on to it. If gcr-templates
itself ends, the application goes on.

Examples:
  gcr-templates run -- python train.py
  gcr-templates run --device sim --store checkpoints -- ./train --steps 100`,
    )
    .action((command: string[], options: Options) => finish(() => start(command, options)));
}
