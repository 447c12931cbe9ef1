/** A command's side of a control socket. */
import { createConnection } from 'node:net';
import { InputError } from '../diagnostics/index.js';
import { type ControlLine, type ControlRequest, encodeRequest } from './control-protocol.js';
import { RuntimeError, type RuntimeErrorKind } from './errors.js';
import type { OperationReport } from './process.js';
import { controlSocket, listedProcesses, removeIfStale } from './runtime-folder.js';

/** How long a supervisor may take to answer at all, and between two signs of life of an operation. */
const FIRST_MS = 10_000;
const SILENCE_MS = 180_000;

export interface CallOptions {
  readonly onReport?: (report: OperationReport) => void;
  readonly signal?: AbortSignal;
  readonly firstMs?: number;
}

/** An error that the supervisor told. */
export class ControlError extends InputError {
  constructor(
    readonly failure: RuntimeErrorKind | 'store' | 'internal',
    diagnostics: InputError['diagnostics'],
  ) {
    super(diagnostics);
  }
}

/**
 * One request to the supervisor of a process.
 *
 * @throws ControlError what the supervisor says; RuntimeError GCR8102 when nobody supervises the process, GCR8103 when the supervisor does not answer
 */
export function call(
  folder: string,
  pid: number,
  request: ControlRequest,
  options: CallOptions = {},
): Promise<unknown> {
  const { onReport, signal, firstMs = FIRST_MS } = options;
  return new Promise((resolve, reject) => {
    const socket = createConnection(controlSocket(folder, pid));
    const finish = (settle: () => void) => {
      signal?.removeEventListener('abort', abort);
      socket.destroy();
      settle();
    };
    const fail = (error: Error) => finish(() => reject(error));
    const abort = () => fail(new RuntimeError('failed', 'GCR8112', 'cancelled; the application goes on'));
    if (signal?.aborted) return abort();
    signal?.addEventListener('abort', abort, { once: true });
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(firstMs, () => {
      const hint = 'it may be stopped; when it is ended the application goes on, unrecorded';
      fail(new RuntimeError('failed', 'GCR8103', `the supervisor of process ${pid} does not answer`, hint));
    });
    socket.on('connect', () => socket.write(encodeRequest(1, request)));
    socket.on('error', ({ code, message }: NodeJS.ErrnoException) => {
      if (code === 'ENOENT' || code === 'ECONNREFUSED') {
        const hint = '`gcr-templates ps` shows the processes that are; start one with `gcr-templates run`';
        fail(new RuntimeError('not-found', 'GCR8102', `no process ${pid} is supervised`, hint));
      } else
        fail(new RuntimeError('failed', 'GCR8103', `the supervisor of process ${pid} cannot be reached: ${message}`));
    });
    socket.on('close', () =>
      fail(new RuntimeError('failed', 'GCR8103', `the supervisor of process ${pid} ended the connection`)),
    );
    socket.on('data', (piece: string) => {
      socket.setTimeout(SILENCE_MS);
      text += piece;
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        const line = JSON.parse(text.slice(0, end)) as ControlLine;
        text = text.slice(end + 1);
        if (line.kind === 'report') onReport?.(line);
        else if (line.kind === 'result') return finish(() => resolve(line.result));
        else return fail(new ControlError(line.failure, line.diagnostics));
      }
    });
  });
}

/** The status of every process that is supervised; those that do not answer have none. */
export async function callAll(folder: string): Promise<readonly { readonly pid: number; readonly status?: unknown }[]> {
  const alive: number[] = [];
  for (const pid of listedProcesses(folder)) if (await removeIfStale(controlSocket(folder, pid))) alive.push(pid);
  return Promise.all(
    alive.map(async (pid) => {
      try {
        return { pid, status: await call(folder, pid, { operation: 'status' }, { firstMs: 2_000 }) };
      } catch {
        return { pid };
      }
    }),
  );
}
