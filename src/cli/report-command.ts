/** `gcr-templates report`: a store as one HTML page. */
import type { Command } from 'commander';
import { reportPage } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { OutputFile, Progress } from './output.js';
import { type Finish, printJson, withStore } from './store-options.js';

interface Options {
  readonly output: string;
  readonly json?: boolean;
}

async function report(directory: string, options: Options, signal: AbortSignal): Promise<ExitCode> {
  const progress = new Progress('reading maps');
  const { page, checkpoints } = await withStore(directory, (store) =>
    reportPage(store, { onProgress: (done, total) => progress.update(done, total), signal }),
  ).finally(() => progress.clear());
  const output = new OutputFile(options.output);
  try {
    output.write(page);
    output.commit();
  } catch (error) {
    output.discard();
    throw error;
  }
  if (options.output === '-') return EXIT.ok;
  if (options.json) return printJson({ file: options.output, checkpoints });
  process.stdout.write(`${options.output}: ${checkpoints} checkpoints\n`);
  return EXIT.ok;
}

export function addReportCommand(program: Command, finish: Finish): void {
  program
    .command('report')
    .description('write a page that shows the chain, what changed where, and the least certain kernels')
    .argument('<store>', 'the folder of the store')
    .requiredOption('-o, --output <file>', 'the HTML file; - is standard output')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nThe page needs no network.\n\nExamples:\n  gcr-templates report checkpoints -o report.html',
    )
    .action((directory: string, options: Options) => finish((signal) => report(directory, options, signal)));
}
