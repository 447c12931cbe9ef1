/** `gcr-templates show`: all that is known of one checkpoint. */
import type { Command } from 'commander';
import { formatBytes } from '../checkpoint/index.js';
import type { ExitCode } from './exit-codes.js';
import { EXIT } from './exit-codes.js';
import { jsonOption } from './options.js';
import { shorten, table } from './output.js';
import {
  CHECKPOINT_HELP,
  type Finish,
  hexAddress,
  originText,
  printable,
  printJson,
  timeText,
  withStore,
} from './store-options.js';

interface Options {
  readonly json?: boolean;
}

async function show(directory: string, name: string, options: Options): Promise<ExitCode> {
  return withStore(directory, async (store) => {
    const id = await store.find(name);
    const manifest = await store.manifest(id);
    const allocations = [...(await store.contents(id)).values()].map(({ allocation }) => allocation);
    if (options.json) return printJson({ ...manifest, memory: allocations });
    const { map, chunks, device, process: origin, launches, kernels, note, image } = manifest;
    const facts: [string, string | undefined][] = [
      ['checkpoint', id],
      ['created', `${timeText(manifest.created)} UTC, number ${manifest.sequence}`],
      ['kind', manifest.kind],
      [
        'image',
        image
          ? `${formatBytes(image.files.reduce((sum, { bytes }) => sum + bytes, 0))} of host memory, CRIU ${printable(image.criu)}, kernel ${printable(image.kernel)}`
          : undefined,
      ],
      ['parent', manifest.parent ?? '-'],
      ['memory', `${formatBytes(manifest.allocations.bytes)} in ${manifest.allocations.count} allocations`],
      ['changed', `${chunks.changed} chunks${chunks.changed > 0 ? `: ${originText(manifest)}` : ''}`],
      ['stored', `${chunks.stored} chunks, ${formatBytes(chunks.storedBytes)}`],
      ['map', map.complete ? 'complete' : `lists ${chunks.listed} chunks, ${map.depth} after a complete one`],
      ['device', device ? `${printable(device.name)}, driver ${printable(device.driver)}` : undefined],
      [
        'process',
        origin ? `${origin.pid} on ${printable(origin.host)}: ${printable(origin.command.join(' '))}` : undefined,
      ],
      [
        'launches',
        launches
          ? Object.entries(launches)
              .map(([verdict, count]) => `${verdict} ${count}`)
              .join(', ')
          : undefined,
      ],
      ['templates', manifest.templates.length > 0 ? manifest.templates.map(printable).join(', ') : undefined],
      ['note', note === undefined ? undefined : printable(note)],
    ];
    const parts = [table(facts.filter((fact): fact is [string, string] => fact[1] !== undefined))];
    parts.push(
      table([
        ['allocation', 'address', 'bytes', 'kind', 'label'],
        ...allocations.map((allocation) => [
          `${allocation.id}`,
          hexAddress(allocation.address),
          `${allocation.size}`,
          allocation.kind,
          printable(allocation.label),
        ]),
      ]),
    );
    if (kernels.length > 0)
      parts.push(
        table([
          ['kernel', 'verdict', 'launches', 'bytes', 'reason'],
          ...kernels.map((kernel) => [
            shorten(printable(kernel.name), 40),
            kernel.verdict,
            `${kernel.launches}`,
            formatBytes(kernel.bytes),
            printable(kernel.reason),
          ]),
        ]),
      );
    process.stdout.write(`${parts.join('\n\n')}\n`);
    return EXIT.ok;
  });
}

export function addShowCommand(program: Command, finish: Finish): void {
  program
    .command('show')
    .description('show one checkpoint: memory, launches, the least certain kernels')
    .argument('<store>', 'the folder of the store')
    .argument('<id>', CHECKPOINT_HELP)
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExamples:\n  gcr-templates show checkpoints latest\n  gcr-templates show checkpoints 3f2a --json',
    )
    .action((directory: string, id: string, options: Options) => finish(() => show(directory, id, options)));
}
