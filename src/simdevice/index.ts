/**
 * The simulated device: a process that executes kernels for `native/simdriver` (docs/formats/runtime-protocol.md, "Simulated device"), so that
 * programs written to the driver's interface run where no GPU is. `main.ts` is the process; tests start it, too.
 */
import { randomBytes } from 'node:crypto';
import { InputError } from '../diagnostics/index.js';
import { listen } from '../native/index.js';
import { Client, type Device } from './client.js';
import { MemoryLedger } from './memory-ledger.js';

export interface SimDeviceOptions {
  /** Path of the socket, which must not exist. */
  readonly socket: string;
  /** Memory of the device in bytes. */
  readonly memoryBytes: number;
  /** Instructions of all threads of a launch together before it is given up with CUDA_ERROR_LAUNCH_TIMEOUT; absent: no limit. */
  readonly maxSteps?: number;
  /** Where messages go; absent: nowhere. */
  readonly onNote?: (message: string) => void;
  /** Called when a driver has connected or gone, with the number of those that are there. */
  readonly onClients?: (count: number) => void;
}

export interface SimDevice {
  /** Ends all connections and removes the socket. */
  close(): void;
}

/**
 * Starts a device that listens at a socket.
 *
 * @throws InputError GCR8002 when the socket cannot be made, GCR7001 when the native part is not built
 */
export function startSimDevice(options: SimDeviceOptions): SimDevice {
  const clients = new Set<Client>();
  const count = (): void => options.onClients?.(clients.size);
  const device: Device = {
    ledger: new MemoryLedger(options.memoryBytes),
    uuid: randomBytes(16),
    maxSteps: options.maxSteps ?? Number.POSITIVE_INFINITY,
    clientOf: (pid) => [...clients].find((client) => client.pid === pid),
    note: (message) => options.onNote?.(message),
    gone: (client) => {
      clients.delete(client);
      count();
    },
  };
  let server: { close(): void };
  try {
    server = listen(options.socket, (connection) => {
      clients.add(new Client(connection, device));
      count();
    });
  } catch (error) {
    if (error instanceof InputError) throw error;
    const message = `cannot listen at ${options.socket}: ${(error as Error).message}`;
    const hint = 'name a path that does not exist, in a folder of yours, of at most 107 bytes';
    throw new InputError({ code: 'GCR8002', severity: 'error', message, hint });
  }
  return {
    close: () => {
      server.close();
      for (const client of clients) client.close();
      device.ledger.close();
    },
  };
}
