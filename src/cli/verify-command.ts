/** `gcr-templates verify`: looks at everything in a store and lists all that is wrong, with what to do. */
import type { Command } from 'commander';
import { Store, verifyStore } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { Progress, printDiagnostics } from './output.js';
import { CHECKPOINT_HELP, counted, type Finish, printJson, shortId } from './store-options.js';

interface Options {
  readonly json?: boolean;
  readonly readData?: boolean;
  readonly repairIndex?: boolean;
}

async function verify(
  directory: string,
  name: string | undefined,
  options: Options,
  signal: AbortSignal,
): Promise<ExitCode> {
  const progress = new Progress('verifying', true, 'bytes');
  let id: string | undefined;
  if (name !== undefined) {
    const store = await Store.open({ directory });
    id = await store.find(name).finally(() => store.close());
  }
  const result = await verifyStore(
    { directory },
    {
      ...(id !== undefined && { id }),
      readData: options.readData ?? false,
      repairIndex: options.repairIndex ?? false,
      onProgress: (done, total) => progress.update(done, total),
      signal,
    },
  ).finally(() => progress.clear());
  signal.throwIfAborted();
  const { problems, garbage, checkpoints, unsound, rebuilt } = result;
  if (options.json) printJson(result);
  else {
    if (rebuilt)
      process.stdout.write(`index rebuilt: ${counted(rebuilt.chunks, 'chunk')} in ${counted(rebuilt.packs, 'pack')}\n`);
    const how = options.readData ? ', all chunks read' : '';
    const what = unsound.length === 0 ? 'all can be restored' : `${unsound.map(shortId).join(', ')} cannot be restored`;
    process.stdout.write(
      `${counted(checkpoints, 'checkpoint')} looked at${how}: ${what}; ${counted(problems.length, 'problem')}\n`,
    );
    if (garbage.length > 0)
      process.stdout.write(`${counted(garbage.length, 'file')} that \`gcr-templates prune\` removes\n`);
    printDiagnostics(
      problems.map(({ file, message, remedy }) => {
        return { code: 'GCR7012', severity: 'error', message, source: `${directory}/${file}`, hint: remedy };
      }),
    );
  }
  return problems.length > 0 ? EXIT.badInput : EXIT.ok;
}

export function addVerifyCommand(program: Command, finish: Finish): void {
  program
    .command('verify')
    .description('check a store: manifests, maps, chains, index, packs, and with --read-data every chunk')
    .argument('<store>', 'the folder of the store')
    .argument('[id]', `only this checkpoint and what it is an increment of: ${CHECKPOINT_HELP}`)
    .option('--read-data', 'also read every chunk and check its hash')
    .option('--repair-index', 'first rebuild the index from the packs; needs the store for itself')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Nothing is changed but by --repair-index. Each problem comes with the file and what to do.

Examples:
  gcr-templates verify checkpoints
  gcr-templates verify checkpoints latest --read-data
  gcr-templates verify checkpoints --repair-index`,
    )
    .action((directory: string, id: string | undefined, options: Options) =>
      finish((signal) => verify(directory, id, options, signal)),
    );
}
