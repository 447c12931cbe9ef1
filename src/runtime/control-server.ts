/**
 * The control socket of one supervised process. Several clients may speak at once; operations run one at a time (SupervisedProcess), and
 * a client that goes away cancels its own. What a client sends is checked before anything else is done with it, and a line that is too long
 * ends its connection.
 */
import { chmodSync, renameSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { peerCredentials } from '../native/index.js';
import { type ControlLine, type ControlRequest, errorLine, LineCutter, parseRequest } from './control-protocol.js';
import type { OperationContext } from './process.js';
import { removeIfStale } from './runtime-folder.js';

export type Handler = (request: ControlRequest, context: OperationContext) => Promise<unknown>;

/** Reports of progress a second and client at most; steps are always told. */
const REPORT_MS = 50;
const MAX_CLIENTS = 64;

/** The descriptor of a connected socket. */
function fdOf(socket: Socket): number | undefined {
  return (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd;
}

/** Whether the other side is the same user or root. */
function isAllowed(socket: Socket): boolean {
  const fd = fdOf(socket);
  if (fd === undefined || fd < 0) return false;
  try {
    const { uid } = peerCredentials(fd);
    return uid === 0 || uid === process.getuid!();
  } catch {
    return false;
  }
}

function serve(socket: Socket, handler: Handler): void {
  const cutter = new LineCutter();
  const abort = new AbortController();
  const send = (line: ControlLine) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(line)}\n`);
  };
  const run = async (text: string): Promise<void> => {
    let number = 0;
    try {
      const parsed = parseRequest(text);
      number = parsed.number;
      let step = '';
      let told = 0;
      const result = await handler(parsed.request, {
        signal: abort.signal,
        report: (report) => {
          const now = performance.now();
          if (report.step === step && now - told < REPORT_MS) return;
          step = report.step;
          told = now;
          send({ number, kind: 'report', ...report });
        },
      });
      send({ number, kind: 'result', result });
    } catch (error) {
      send(errorLine(number, error));
    }
  };
  socket.setEncoding('utf8');
  socket.on('data', (piece: string) => {
    if (!cutter.push(piece, (text) => void run(text))) socket.destroy();
  });
  socket.on('error', () => {});
  socket.on('close', () => abort.abort());
}

export class ControlServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(
    readonly path: string,
    server: Server,
  ) {
    this.#server = server;
  }

  /**
   * Listens at a path, in the place of a left-over. The socket comes there by its last name: one that is bound and does not listen yet refuses as a
   * left-over does, and whoever looked at it in that moment would remove it.
   */
  static async listen(path: string, handler: Handler): Promise<ControlServer> {
    const server = createServer();
    const control = new ControlServer(path, server);
    server.on('connection', (socket) => {
      if (!isAllowed(socket) || control.#sockets.size >= MAX_CLIENTS) {
        socket.destroy();
        return;
      }
      control.#sockets.add(socket);
      socket.on('close', () => control.#sockets.delete(socket));
      serve(socket, handler);
    });
    if (await removeIfStale(path)) throw new Error(`somebody else listens at ${path}`);
    const unseen = `${path}.${process.pid}`;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(unseen, resolve);
    });
    chmodSync(unseen, 0o600);
    renameSync(unseen, path);
    return control;
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.end();
    try {
      unlinkSync(this.path);
    } catch {
      // It is gone already.
    }
  }
}
