/** `gcr-templates prune`: deletes checkpoints that no rule keeps, and what nothing needs any more. */
import { type Command, Option } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { Progress } from './output.js';
import { counted, type Finish, parseCount, printJson, shortId, withStore } from './store-options.js';

interface Options {
  readonly keepLast?: number;
  readonly keepHourly?: number;
  readonly keepDaily?: number;
  readonly dryRun?: boolean;
  readonly dropDamaged?: boolean;
  readonly json?: boolean;
}

async function prune(directory: string, options: Options, signal: AbortSignal): Promise<ExitCode> {
  const progress = new Progress('freeing space', true, 'bytes');
  const { keepLast, keepHourly, keepDaily, dryRun = false, dropDamaged = false } = options;
  const result = await withStore(directory, (store) =>
    store.prune({
      rules: {
        ...(keepLast !== undefined && { last: keepLast }),
        ...(keepHourly !== undefined && { hourly: keepHourly }),
        ...(keepDaily !== undefined && { daily: keepDaily }),
      },
      dryRun,
      dropDamaged,
      onProgress: (done, total) => progress.update(done, total),
      signal,
    }),
  ).finally(() => progress.clear());
  if (options.json) return printJson({ dryRun, ...result });
  const { kept, removed, rewritten, packs } = result;
  const would = dryRun ? 'would be ' : '';
  const lines = [
    `${counted(kept.length, 'checkpoint')} ${would}kept${kept.length > 0 ? `, the newest ${shortId(kept.at(-1)!)}` : ''}`,
    `${counted(removed.length, 'checkpoint')} ${would}removed${removed.length > 0 ? `: ${removed.map(shortId).join(' ')}` : ''}`,
    `${counted(rewritten.length, 'checkpoint')} ${would}merged with what they were increments of`,
    `${formatBytes(packs.bytesFreed)} ${would}freed`,
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
  return EXIT.ok;
}

const keepOption = (name: string, what: string) => new Option(`--keep-${name} <n>`, what).argParser(parseCount);

export function addPruneCommand(program: Command, finish: Finish): void {
  program
    .command('prune')
    .description('delete checkpoints that no rule keeps, and free what nothing needs')
    .argument('<store>', 'the folder of the store')
    .addOption(keepOption('last', 'keep the newest N'))
    .addOption(keepOption('hourly', 'keep the newest of each of the last N hours that have any (UTC)'))
    .addOption(keepOption('daily', 'keep the newest of each of the last N days that have any (UTC)'))
    .option('--dry-run', 'only say what would be done')
    .option(
      '--drop-damaged',
      'read every chunk, and give up checkpoints that cannot be restored; otherwise they are an error',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Checkpoints that stay can all be restored: increments are merged with what they hang on. A checkpoint stays when any rule keeps
it. Interrupted before anything is deleted, the store is as it was; once deleting has begun, it ends by itself.

Examples:
  gcr-templates prune checkpoints --keep-last 10 --dry-run
  gcr-templates prune checkpoints --keep-last 4 --keep-hourly 24 --keep-daily 14`,
    )
    .action((directory: string, options: Options, command: Command) => {
      const { keepLast = 0, keepHourly = 0, keepDaily = 0 } = options;
      if (keepLast + keepHourly + keepDaily === 0)
        command.error('error: give --keep-last, --keep-hourly or --keep-daily: no rule keeps anything');
      return finish((signal) => prune(directory, options, signal));
    });
}
