/**
 * The simulated device's process. It is in a session of its own, so that no signal from the terminal reaches it, and it lives as long as the
 * supervisor, which holds the other end of its standard input, or any process that is connected: the application needs it to go on when the
 * supervisor has ended.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { RuntimeError } from './errors.js';

const READY_MS = 20_000;

export interface SimulatedDevice {
  readonly socket: string;
  release(): void;
}

/** @throws RuntimeError GCR8111 */
export async function startSimulatedDevice(socket: string): Promise<SimulatedDevice> {
  const main = fileURLToPath(new URL('../simdevice/main.js', import.meta.url));
  const child = spawn(process.execPath, [main, '--socket', socket, '--with-parent'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    const fail = (why: string) => {
      clearTimeout(timer);
      reject(new RuntimeError('failed', 'GCR8111', `the simulated device did not start: ${why}`));
    };
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
  return { socket, release: () => child.stdin.destroy() };
}
