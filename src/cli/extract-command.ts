/** `gcr-templates extract`: the bytes of one allocation as a file. */
import type { Command } from 'commander';
import type { Allocation } from '../checkpoint/index.js';
import { InputError } from '../diagnostics/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { OutputFile, Progress } from './output.js';
import { CHECKPOINT_HELP, type Finish, hexAddress, printable, printJson, withStore } from './store-options.js';

interface Options {
  readonly allocation: string;
  readonly output: string;
  readonly json?: boolean;
}

/** The allocation that is meant: by id, by address, or by its label. @throws InputError GCR7018 */
function choose(allocations: readonly Allocation[], name: string, store: string): Allocation {
  const isAddress = /^0x[0-9a-f]{1,16}$/i.test(name);
  const isId = /^\d{1,20}$/.test(name);
  const found = allocations.filter(({ id, address, label }) => {
    return (isAddress && address === BigInt(name)) || (isId && id === BigInt(name)) || label === name;
  });
  if (found.length === 1) return found[0]!;
  const several = found.map(({ id, address }) => `${id} at ${hexAddress(address)}`).join(', ');
  throw new InputError({
    code: 'GCR7018',
    severity: 'error',
    source: store,
    message:
      found.length === 0
        ? `no allocation ${JSON.stringify(name)}`
        : `allocation ${JSON.stringify(name)} may be ${several}`,
    hint: '`gcr-templates show` lists the allocations of a checkpoint; give an id, an address (0x…) or a label',
  });
}

async function extract(directory: string, name: string, options: Options, signal: AbortSignal): Promise<ExitCode> {
  return withStore(directory, async (store) => {
    const plan = await store.restorePlan(await store.find(name));
    const progress = new Progress('extracting', true, 'bytes');
    let output: OutputFile | undefined;
    try {
      const allocation = choose(plan.allocations, options.allocation, directory);
      output = new OutputFile(options.output);
      for await (const { from, bytes } of plan.pieces(allocation.id)) {
        signal.throwIfAborted();
        output.write(bytes);
        progress.update(from + bytes.length, allocation.size);
      }
      output.commit();
      progress.clear();
      if (options.output === '-') return EXIT.ok;
      if (options.json) return printJson({ file: options.output, ...allocation });
      process.stdout.write(
        `${options.output}: ${allocation.size} bytes of allocation ${allocation.id} ${printable(allocation.label)}`.trimEnd(),
      );
      process.stdout.write('\n');
      return EXIT.ok;
    } catch (error) {
      progress.clear();
      output?.discard();
      throw error;
    } finally {
      plan.close();
    }
  });
}

export function addExtractCommand(program: Command, finish: Finish): void {
  program
    .command('extract')
    .description('write the bytes of one allocation of a checkpoint to a file')
    .argument('<store>', 'the folder of the store')
    .argument('<id>', CHECKPOINT_HELP)
    .requiredOption('-a, --allocation <name>', 'its id, its address (0x…) or its label')
    .requiredOption('-o, --output <file>', 'where to; - is standard output')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
Examples:
  gcr-templates extract checkpoints latest --allocation weights -o weights.bin
  gcr-templates extract checkpoints 3f2a -a 0x7f3a40000000 -o - | sha256sum`,
    )
    .action((directory: string, id: string, options: Options) =>
      finish((signal) => extract(directory, id, options, signal)),
    );
}
