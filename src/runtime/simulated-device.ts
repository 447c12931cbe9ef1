/**
 * The simulated device's process. It is on its own: neither a signal from the terminal nor the supervisor's end reaches it, because the
 * application needs it to go on. It ends by itself when nobody uses it any more.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { RuntimeError } from './errors.js';

const READY_MS = 20_000;

export interface SimulatedDevice {
  readonly socket: string;
  /** It ends when its last application has. */
  release(): void;
}

/** @throws RuntimeError GCR8011 */
export async function startSimulatedDevice(socket: string): Promise<SimulatedDevice> {
  const main = fileURLToPath(new URL('../simdevice/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, socket], { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) =>
      reject(new RuntimeError('failed', 'GCR8011', `the simulated device did not start: ${why}`));
    const timer = setTimeout(() => fail('it said nothing'), READY_MS);
    child.once('error', ({ message }) => fail(message));
    child.once('exit', (code) => fail(`it ended with ${code}`));
    child.stdout.once('data', () => {
      clearTimeout(timer);
      child.removeAllListeners('exit');
      resolve();
    });
  });
  child.stdout.destroy();
  child.unref();
  return { socket, release: () => {} };
}
