/**
 * SHA-256 of files that may be large, piece by piece on as many threads as help; the threads read what they digest (digest-worker.ts), so the calling one
 * stays free. A file's digest is that of its pieces' digests, one after the other; or, of images of before there were pieces, that of all its bytes.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** What pieces are cut into when an image is written, in bytes. */
export const PIECE_BYTES = 8 << 20;
/** More threads than this read no faster. */
const MAX_THREADS = 8;
/** Up to this size in all starting threads takes longer than what they save; bytes. */
const SMALL_BYTES = 32 << 20;
/** Read and digested at once, so that a thread's memory does not depend on the size of a piece. */
const READ_BYTES = 1 << 20;

/** A file, or a range of one. */
export interface Piece {
  readonly path: string;
  readonly from: number;
  readonly bytes: number;
}

/** What a thread says of a piece. */
export type PieceAnswer = { readonly digest: Uint8Array } | { readonly failure: object };

let buffer: Buffer | undefined;

/** Of what there is, when the file ends before. @throws Error of the file system */
export function digestPiece({ path, from, bytes }: Piece): Uint8Array {
  buffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
  const hash = createHash('sha256');
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    for (let at = 0; at < bytes; ) {
      const count = readSync(fd, buffer, 0, Math.min(READ_BYTES, bytes - at), from + at);
      if (count === 0) break;
      hash.update(buffer.subarray(0, count));
      at += count;
    }
  } finally {
    closeSync(fd);
  }
  return hash.digest();
}

/** Digests that come in any order, put together in theirs. */
class Whole {
  readonly #hash = createHash('sha256');
  readonly #waiting = new Map<number, Uint8Array>();
  #next = 0;

  add(index: number, digest: Uint8Array): void {
    this.#waiting.set(index, digest);
    for (let next = this.#waiting.get(this.#next); next; next = this.#waiting.get(this.#next)) {
      this.#hash.update(next);
      this.#waiting.delete(this.#next++);
    }
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}

interface Numbered {
  readonly piece: Piece;
  readonly file: number;
  readonly index: number;
}

type SizedFile = Pick<Piece, 'path' | 'bytes'>;

/** Not a list: a large file has many. */
function* piecesOf(files: readonly SizedFile[], pieceBytes: number): Generator<Numbered> {
  for (const [file, { path, bytes }] of files.entries())
    for (let from = 0; from < bytes; from += pieceBytes) {
      const piece = { path, from, bytes: Math.min(pieceBytes, bytes - from) };
      yield { piece, file, index: from / pieceBytes };
    }
}

/**
 * @param pieceBytes absent: digests of the files' bytes, not of pieces
 * @returns SHA-256 of each file, as 64 hexadecimal digits
 * @throws Error of the file system
 */
export async function fileDigests(files: readonly SizedFile[], pieceBytes?: number): Promise<readonly string[]> {
  if (pieceBytes === undefined) {
    const digests = new Map<number, string>();
    const whole = piecesOf(files, Number.POSITIVE_INFINITY);
    await digestAll(whole, files, files.length, ({ file }, digest) =>
      digests.set(file, Buffer.from(digest).toString('hex')),
    );
    const empty = createHash('sha256').digest('hex');
    return files.map((_, file) => digests.get(file) ?? empty);
  }
  const wholes = files.map(() => new Whole());
  const count = files.reduce((sum, { bytes }) => sum + Math.ceil(bytes / pieceBytes), 0);
  await digestAll(piecesOf(files, pieceBytes), files, count, ({ file, index }, digest) =>
    wholes[file]!.add(index, digest),
  );
  return wholes.map((whole) => whole.digest());
}

async function digestAll(
  pieces: Generator<Numbered>,
  files: readonly SizedFile[],
  count: number,
  done: (piece: Numbered, digest: Uint8Array) => void,
): Promise<void> {
  const threads = Math.min(MAX_THREADS, availableParallelism(), count);
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > SMALL_BYTES) return onThreads(pieces, threads, done);
  for (const piece of pieces) {
    done(piece, digestPiece(piece.piece));
    // Lets others have their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function onThreads(
  pieces: Generator<Numbered>,
  threads: number,
  done: (piece: Numbered, digest: Uint8Array) => void,
): Promise<void> {
  const workers = Array.from({ length: threads }, () => new Worker(new URL('./digest-worker.js', import.meta.url)));
  try {
    await Promise.all(workers.map((worker) => workThrough(worker, pieces, done)));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

/** Gives a thread one piece after the other until there are none. */
function workThrough(
  worker: Worker,
  pieces: Generator<Numbered>,
  done: (piece: Numbered, digest: Uint8Array) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let current: Numbered;
    const next = () => {
      const { value } = pieces.next();
      if (!value) return resolve();
      current = value;
      worker.postMessage(current.piece);
    };
    worker.on('message', (answer: PieceAnswer) => {
      if ('failure' in answer) return reject(Object.assign(new Error(), answer.failure));
      done(current, answer.digest);
      next();
    });
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('a thread that reads files ended by itself')));
    next();
  });
}
