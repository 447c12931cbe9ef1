/** `gcr-templates ps`: all processes that are supervised. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { callAll, type ProcessStatus, runtimeFolder } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { shorten, table } from './output.js';
import { type Finish, printable, printJson, shortId } from './store-options.js';

/** What a process is doing, in a word or two. */
export function stateText({ state, operation, recordingStopped }: ProcessStatus): string {
  if (operation) return `${operation.name} (${operation.step})`;
  return recordingStopped === null ? state : `${state}, recording stopped`;
}

async function list({ json }: { readonly json?: boolean }): Promise<ExitCode> {
  const found = (await callAll(runtimeFolder())) as readonly { pid: number; status?: ProcessStatus }[];
  if (json) return printJson({ processes: found.map(({ pid, status }) => status ?? { pid, state: 'not answering' }) });
  if (found.length === 0) {
    process.stdout.write('no process is supervised\n');
    return EXIT.ok;
  }
  const rows = found.map(({ pid, status }) => [
    String(pid),
    status ? stateText(status) : 'not answering',
    status ? formatBytes(status.bytes) : '-',
    status?.lastCheckpoint ? shortId(status.lastCheckpoint) : '-',
    status ? printable(status.store) : '-',
    status ? shorten(printable(status.command.join(' ')), 60) : '-',
  ]);
  process.stdout.write(`${table([['pid', 'state', 'memory', 'last checkpoint', 'store', 'command'], ...rows])}\n`);
  return EXIT.ok;
}

export function addPsCommand(program: Command, finish: Finish): void {
  program
    .command('ps')
    .description('list the processes that are supervised')
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  gcr-templates ps\n  gcr-templates ps --json')
    .action((options: { readonly json?: boolean }) => finish(() => list(options)));
}
