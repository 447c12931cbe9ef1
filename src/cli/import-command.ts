/** `gcr-templates import`: takes an exported checkpoint into a store, which is made when there is none. */
import { createReadStream } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { InputError } from '../diagnostics/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { Progress } from './output.js';
import { type Finish, printJson, withStore } from './store-options.js';

interface Options {
  readonly json?: boolean;
}

const READ_BYTES = 1 << 20;

async function* read(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  const stream =
    path === '-'
      ? addAbortSignal(signal, process.stdin)
      : createReadStream(path, { highWaterMark: READ_BYTES, signal });
  try {
    for await (const piece of stream) yield piece as Buffer;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (signal.aborted || code === undefined) throw error;
    const source = path === '-' ? '<stdin>' : path;
    throw new InputError({ code: code === 'ENOENT' ? 'GCR1001' : 'GCR1002', severity: 'error', message, source });
  }
}

async function importCheckpoint(
  directory: string,
  file: string,
  options: Options,
  signal: AbortSignal,
): Promise<ExitCode> {
  const source = file === '-' ? '<stdin>' : file;
  const progress = new Progress('importing', true, 'bytes');
  const { manifest, known } = await withStore(
    directory,
    (store) =>
      store.importFrom(read(file, signal), source, {
        onProgress: (done, total) => progress.update(done, total),
        signal,
      }),
    true,
  ).finally(() => progress.clear());
  if (options.json) return printJson({ id: manifest.id, known, chunks: manifest.chunks });
  const what = known ? 'the store has it already' : `${formatBytes(manifest.chunks.storedBytes)} stored`;
  process.stdout.write(`checkpoint ${manifest.id}: ${what}\n`);
  return EXIT.ok;
}

export function addImportCommand(program: Command, finish: Finish): void {
  program
    .command('import')
    .description('take an exported checkpoint into a store; a store that is not there is made')
    .argument('<store>', 'the folder of the store')
    .argument('[file]', 'what export wrote; - is standard input', '-')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Everything is checked before the checkpoint appears; interrupted or damaged, it does not.

Examples:
  gcr-templates import checkpoints latest.gcr
  gcr-templates export other latest | gcr-templates import checkpoints -`,
    )
    .action((directory: string, file: string, options: Options) =>
      finish((signal) => importCheckpoint(directory, file, options, signal)),
    );
}
