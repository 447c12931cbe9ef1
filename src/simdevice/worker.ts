/**
 * Worker thread of one driver: executes its messages in order and answers with replies. A message that is not valid is told as the
 * end; nothing is executed after it.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { InputError } from '../diagnostics/index.js';
import { Executor } from './executor.js';

/** What a worker is given at its start. */
export interface WorkerData {
  /** Instructions of a launch; infinite for no limit. */
  readonly maxSteps: number;
}

/** A message of the driver with descriptors, which become the worker's. */
export interface WorkerRequest {
  readonly packet: Uint8Array;
  readonly fds: readonly number[];
}

/** A reply for the driver, or why the connection must end. */
export type WorkerAnswer = { readonly reply: Uint8Array } | { readonly invalid: string };

const port = parentPort;
if (port) {
  const executor = new Executor((workerData as WorkerData).maxSteps);
  let ended = false;
  port.on('message', ({ packet, fds }: WorkerRequest) => {
    if (ended) return;
    try {
      const reply = executor.handle(Buffer.from(packet.buffer, packet.byteOffset, packet.byteLength), fds);
      if (reply) port.postMessage({ reply } satisfies WorkerAnswer);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      ended = true;
      port.postMessage({ invalid: error.message } satisfies WorkerAnswer);
    }
  });
}
