/** `gcr-templates list`: the checkpoints of a store. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { Progress, printDiagnostics, shorten, table } from './output.js';
import { type Finish, printable, printJson, shortId, timeText, withStore } from './store-options.js';

interface Options {
  readonly json?: boolean;
}

async function list(directory: string, options: Options): Promise<ExitCode> {
  const progress = new Progress('reading manifests');
  const { checkpoints, damaged } = await withStore(directory, (store) =>
    store.list((done, total) => progress.update(done, total)),
  ).finally(() => progress.clear());
  if (options.json) printJson({ checkpoints, damaged });
  else if (checkpoints.length === 0) process.stdout.write('no checkpoints\n');
  else {
    const rows = checkpoints.map(({ id, created, kind, parent, allocations, chunks, note, image }) => [
      shortId(id),
      timeText(created),
      image ? `${kind}, durable` : kind,
      parent === null ? '-' : shortId(parent),
      formatBytes(allocations.bytes),
      `${chunks.changed}`,
      formatBytes(chunks.storedBytes),
      shorten(printable(note ?? ''), 40),
    ]);
    const head = ['checkpoint', 'created (UTC)', 'kind', 'parent', 'memory', 'changed chunks', 'stored', 'note'];
    process.stdout.write(`${table([head, ...rows])}\n`);
  }
  printDiagnostics(
    damaged.map(({ file, message, remedy }) => {
      return { code: 'GCR7012', severity: 'error', message, source: `${directory}/${file}`, hint: remedy };
    }),
  );
  return damaged.length > 0 ? EXIT.badInput : EXIT.ok;
}

export function addListCommand(program: Command, finish: Finish): void {
  program
    .command('list')
    .description('list the checkpoints of a store, the oldest first')
    .argument('<store>', 'the folder of the store')
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  gcr-templates list checkpoints\n  gcr-templates list checkpoints --json')
    .action((directory: string, options: Options) => finish(() => list(directory, options)));
}
