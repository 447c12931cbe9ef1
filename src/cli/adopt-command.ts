/** `gcr-templates adopt`: a new supervisor for a process whose own one has gone. */
import type { Command } from 'commander';
import { type AdoptedProcess, adopt } from '../runtime/index.js';
import { startInBackground } from './background.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { type ProcessOptions, pidOption } from './process-options.js';
import { type Finish, printable, printJson } from './store-options.js';

interface Options extends ProcessOptions {
  readonly store?: string;
  readonly background?: boolean;
}

function tell({ pid, state, store }: AdoptedProcess, json: boolean): void {
  if (json) {
    printJson({ pid, state, store });
    return;
  }
  const next =
    state === 'suspended' ? `it is suspended; \`gcr-templates resume --pid ${pid}\`` : 'it is recorded again';
  process.stdout.write(`process ${pid} is supervised, with store ${printable(store)}: ${next}\n`);
}

export function adoptArguments({ pid, store, json }: Options): string[] {
  return [
    'adopt',
    '--pid',
    String(pid),
    ...(store === undefined ? [] : ['--store', store]),
    ...(json ? ['--json'] : []),
  ];
}

async function supervise(options: Options, signal: AbortSignal): Promise<ExitCode> {
  if (options.background) {
    const { code, line } = await startInBackground(adoptArguments(options));
    if (line !== undefined) process.stdout.write(`${line}\n`);
    return code;
  }
  const { pid, store, json } = options;
  await adopt({
    pid,
    ...(store !== undefined && { store }),
    signal,
    onNote: (message) => process.stderr.write(`gcr-templates: ${message}\n`),
    onReady: (adopted) => tell(adopted, json === true),
  });
  return EXIT.ok;
}

export function addAdoptCommand(program: Command, finish: Finish): void {
  program
    .command('adopt')
    .description('supervise a process whose supervisor has gone')
    .addOption(pidOption())
    .option('--store <dir>', 'folder of its store; the one that it was started with when nothing is said')
    .option('--background', 'return when the process is supervised')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Without --background it lasts as long as the process. A process that went on unrecorded is recorded again, and its next checkpoint is a
full one; a suspended one can be resumed (\`gcr-templates resume\` adopts it by itself).

Examples:
  gcr-templates adopt --pid 4711
  gcr-templates adopt --pid 4711 --background`,
    )
    .action((options: Options) => finish((signal) => supervise(options, signal)));
}
