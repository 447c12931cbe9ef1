/**
 * The simulated device as a process: `node dist/simdevice/main.js --socket PATH [--memory BYTES] [--max-steps N] [--with-parent]`. Prints `ready`
 * once it listens. Ends on SIGINT and SIGTERM and, with `--with-parent`, when its standard input has ended and no driver is connected;
 * it removes its socket then.
 * Exit codes: 0, 64 for wrong arguments, 65 when it cannot listen.
 */
import { parseArgs } from 'node:util';
import { InputError } from '../diagnostics/index.js';
import { startSimDevice } from './index.js';

const DEFAULT_MEMORY = 4 * 2 ** 30;
const USAGE = 'usage: --socket PATH [--memory BYTES] [--max-steps N] [--with-parent]';

function fail(message: string, code: number): never {
  process.stderr.write(`${message}\n`);
  process.exit(code);
}

function wholeNumber(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    fail(`--${name} is not a positive whole number: ${text}\n${USAGE}`, 64);
  return value;
}

function main(): void {
  let values: { socket?: string; memory?: string; 'max-steps'?: string; 'with-parent'?: boolean };
  try {
    ({ values } = parseArgs({
      options: {
        socket: { type: 'string' },
        memory: { type: 'string' },
        'max-steps': { type: 'string' },
        'with-parent': { type: 'boolean' },
      },
    }));
  } catch (error) {
    fail(`${(error as Error).message}\n${USAGE}`, 64);
  }
  if (!values.socket) fail(USAGE, 64);
  const maxSteps = wholeNumber(values['max-steps'], 'max-steps');
  try {
    let clients = 0;
    let orphaned = false;
    const device = startSimDevice({
      socket: values.socket,
      memoryBytes: wholeNumber(values.memory, 'memory') ?? DEFAULT_MEMORY,
      ...(maxSteps !== undefined && { maxSteps }),
      onNote: (message) => process.stderr.write(`${message}\n`),
      onClients: (count) => {
        clients = count;
        if (orphaned && clients === 0) end();
      },
    });
    const end = (): void => {
      device.close();
      process.exit(0);
    };
    process.on('SIGINT', end);
    process.on('SIGTERM', end);
    // Programs that use it may outlive whoever started it.
    const withoutParent = (): void => {
      orphaned = true;
      if (clients === 0) end();
    };
    if (values['with-parent']) process.stdin.on('end', withoutParent).on('error', withoutParent).resume();
    process.stdout.write('ready\n');
  } catch (error) {
    if (error instanceof InputError) fail(error.message, 65);
    throw error;
  }
}

main();
