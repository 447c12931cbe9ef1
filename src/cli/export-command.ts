/** `gcr-templates export`: one checkpoint as one file or stream. */
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { OutputFile, Progress } from './output.js';
import { CHECKPOINT_HELP, type Finish, printJson, withStore } from './store-options.js';

interface Options {
  readonly output: string;
  readonly json?: boolean;
}

async function exportCheckpoint(
  directory: string,
  name: string,
  options: Options,
  signal: AbortSignal,
): Promise<ExitCode> {
  return withStore(directory, async (store) => {
    const id = await store.find(name);
    await store.manifest(id);
    const output = new OutputFile(options.output);
    const progress = new Progress('exporting', true, 'bytes');
    let bytes = 0;
    const stream = new Writable({
      write(piece: Uint8Array, _, done) {
        try {
          output.write(piece);
          bytes += piece.length;
          done();
        } catch (error) {
          done(error as Error);
        }
      },
    });
    try {
      await store.exportTo(id, stream, { onProgress: (done, total) => progress.update(done, total), signal });
      output.commit();
    } catch (error) {
      output.discard();
      throw error;
    } finally {
      progress.clear();
    }
    if (options.output === '-') return EXIT.ok;
    if (options.json) return printJson({ id, file: options.output, bytes });
    process.stdout.write(`${options.output}: checkpoint ${id}, ${formatBytes(bytes)}\n`);
    return EXIT.ok;
  });
}

export function addExportCommand(program: Command, finish: Finish): void {
  program
    .command('export')
    .description('write one checkpoint as one file that needs no other')
    .argument('<store>', 'the folder of the store')
    .argument('<id>', CHECKPOINT_HELP)
    .option('-o, --output <file>', 'where to; - is standard output', '-')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  gcr-templates export checkpoints latest -o latest.gcr
  gcr-templates export checkpoints latest | ssh host gcr-templates import checkpoints -`,
    )
    .action((directory: string, id: string, options: Options) =>
      finish((signal) => exportCheckpoint(directory, id, options, signal)),
    );
}
