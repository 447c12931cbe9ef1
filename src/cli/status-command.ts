/** `gcr-templates status`: what one supervised process is doing, and what is known of it. */
import type { Command } from 'commander';
import { formatBytes, LAUNCH_VERDICTS } from '../checkpoint/index.js';
import type { ImageStatus, ProcessStatus } from '../runtime/index.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { jsonOption } from './options.js';
import { table } from './output.js';
import { ask, type ProcessOptions, pidOption } from './process-options.js';
import { stateText } from './ps-command.js';
import { type Finish, printable, printJson } from './store-options.js';

const imageText = ({ id, kind, bytes, ownBytes, sharedBytes }: ImageStatus): string =>
  `${id}, ${kind} of ${formatBytes(bytes)}: ${formatBytes(ownBytes)} of its own, ${formatBytes(sharedBytes)} shared`;

async function show(options: ProcessOptions, signal: AbortSignal): Promise<ExitCode> {
  const status = await ask<ProcessStatus>(options, { operation: 'status' }, signal);
  if (options.json) return printJson(status);
  const launches = LAUNCH_VERDICTS.map((verdict) => `${status.launches[verdict]} ${verdict}`).join(', ');
  const rows = [
    ['process', String(status.pid)],
    ['supervisor', String(status.supervisor)],
    ['command', printable(status.command.join(' '))],
    ['state', stateText(status)],
    ...(status.driver === 'running' ? [] : [['driver', status.driver]]),
    ...(status.problem === null ? [] : [['problem', printable(status.problem)]]),
    ...(status.recordingStopped === null ? [] : [['stopped', printable(status.recordingStopped)]]),
    ['device', printable(status.devices.join(', '))],
    ['memory', `${formatBytes(status.bytes)} in ${status.allocations} allocations`],
    ['store', printable(status.store)],
    ['checkpoint', status.lastCheckpoint ?? 'none'],
    ...status.images.map((image, index) => [index === 0 ? 'in memory' : '', imageText(image)]),
    [
      'launches',
      `${launches} since then${status.quiet ? '; from then on only counted, until the next checkpoint' : ''}`,
    ],
    ...(status.waiting > 0 ? [['waiting', `${status.waiting} events for templates`]] : []),
  ];
  process.stdout.write(`${table(rows)}\n`);
  return EXIT.ok;
}

export function addStatusCommand(program: Command, finish: Finish): void {
  program
    .command('status')
    .description('show what a supervised process is doing')
    .addOption(pidOption())
    .addOption(jsonOption())
    .addHelpText('after', '\nExamples:\n  gcr-templates status --pid 4711\n  gcr-templates status --pid 4711 --json')
    .action((options: ProcessOptions) => finish((signal) => show(options, signal)));
}
