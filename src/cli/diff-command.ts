/** `gcr-templates diff`: what changed between two checkpoints, by allocation and in all. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { table } from './output.js';
import { allocationName, CHECKPOINT_HELP, counted, type Finish, printJson, withStore } from './store-options.js';

interface Options {
  readonly json?: boolean;
}

async function diff(directory: string, a: string, b: string, options: Options): Promise<ExitCode> {
  return withStore(directory, async (store) => {
    const [from, to] = [await store.find(a), await store.find(b)];
    const found = await store.diff(from, to);
    if (options.json) return printJson({ from, to, ...found });
    const changed = found.allocations.filter(({ change }) => change !== 'same');
    const sum = `${counted(found.changedChunks, 'chunk')} (${formatBytes(found.changedBytes)}) changed`;
    const same = `${counted(found.allocations.length - changed.length, 'allocation')} without a change`;
    const rows = changed.map(({ allocation, change, changedChunks, changedBytes }) => [
      `${allocation.id}`,
      change,
      `${changedChunks}`,
      formatBytes(changedBytes),
      `${((100 * changedBytes) / allocation.size).toFixed(1)} %`,
      allocationName(allocation),
    ]);
    const list = table([['allocation', 'change', 'chunks', 'bytes', 'share', 'name'], ...rows]);
    process.stdout.write(`${rows.length > 0 ? `${list}\n\n` : ''}${sum}; ${same}\n`);
    return EXIT.ok;
  });
}

export function addDiffCommand(program: Command, finish: Finish): void {
  program
    .command('diff')
    .description('say which chunks of which allocations differ between two checkpoints')
    .argument('<store>', 'the folder of the store')
    .argument('<a>', CHECKPOINT_HELP)
    .argument('<b>', 'the same')
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  gcr-templates diff checkpoints latest~1 latest')
    .action((directory: string, a: string, b: string, options: Options) =>
      finish(() => diff(directory, a, b, options)),
    );
}
