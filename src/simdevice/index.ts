/**
 * The simulated device: a process that executes kernels for `native/simdriver` (docs/formats/runtime-protocol.md, "Simulated device"), so that
 * programs written to the driver's interface run where no GPU is. `main.ts` is the process; tests start it, too.
 */
import { createHash } from 'node:crypto';
import { existsSync, rmSync } from 'node:fs';
import { InputError } from '../diagnostics/index.js';
import { type Connection, listen } from '../native/index.js';
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
  const arrivals: Arrivals = new Map();
  const count = (): void => options.onClients?.(clients.size);
  const device: Device = {
    ledger: new MemoryLedger(options.memoryBytes),
    // A device that is started again at the same place is the same one.
    uuid: createHash('sha256').update(options.socket).digest().subarray(0, 16),
    maxSteps: options.maxSteps ?? Number.POSITIVE_INFINITY,
    summon: (pid) => summon(options.socket, pid, arrivals, (connection) => accept(connection)),
    greeted: (client) => arrivals.get(client.pid!)?.(client),
    clientOf: (pid) => [...clients].find((client) => client.pid === pid),
    note: (message) => options.onNote?.(message),
    gone: (client) => {
      clients.delete(client);
      count();
    },
  };
  const accept = (connection: Connection): void => {
    clients.add(new Client(connection, device));
    count();
  };
  let server: { close(): void };
  try {
    server = listen(options.socket, accept);
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

/** Who waits for the hello of a process. */
type Arrivals = Map<number, (client: Client) => void>;

/** How long a process that has let the device go may take to see that it is wanted. */
const SUMMON_MS = 2_000;

/** Has a process without a connection make one: its driver looks for the device at a path of the process's own. */
async function summon(
  socket: string,
  pid: number,
  arrivals: Arrivals,
  accept: (connection: Connection) => void,
): Promise<Client | undefined> {
  if (!existsSync(`/proc/${pid}`) || arrivals.has(pid)) return undefined;
  const path = `${socket}.${pid}`;
  let server: { close(): void } | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    rmSync(path, { force: true });
    return await new Promise((resolve) => {
      arrivals.set(pid, resolve);
      timer = setTimeout(() => resolve(undefined), SUMMON_MS);
      server = listen(path, accept);
    });
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    arrivals.delete(pid);
    server?.close();
  }
}
