/**
 * One checkpoint as one stream, out and in. An import believes nothing: lengths are bounded before they are read, the manifest and map
 * are checked as in a store, chunks must come in the order the map gives and hash to their names, and only when the end
 * is there is anything committed.
 */
import type { Writable } from 'node:stream';
import { InputError } from '../diagnostics/index.js';
import { type Backend, treeHash } from '../native/index.js';
import { checkMap } from './chain.js';
import { hex } from './checked-json.js';
import { StoreError } from './errors.js';
import {
  decodeManifest,
  encodeManifest,
  MAX_MANIFEST_BYTES,
  MAX_MAP_BYTES,
  manifestFile,
  mapFile,
} from './manifest.js';
import { type ChunkList, countZero, decodeMap, encodeMap } from './map.js';
import { NameSet } from './name-set.js';
import type { RestorePlan } from './restore.js';
import { completed } from './session.js';
import { type Allocation, CHUNK_BYTES, lastLengthOf, type Manifest, NAME_BYTES, type OnProgress } from './types.js';

const HEAD_MAGIC = 'GCREXPRT';
const END_MAGIC = 'GCREXEND';
const VERSION = 1;
const HEAD_BYTES = 32;
const CHUNK_HEAD_BYTES = 24;
const END_BYTES = 32;
/** Chunks that are read or written as one. */
const BATCH = 64;

export interface TransferOptions {
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/** A chunk that a stream carries: where its content is, and its name. */
interface Carried {
  readonly allocation: Allocation;
  readonly chunk: number;
  readonly names: Uint8Array;
  readonly length: number;
}

/** Chunks in the order in which maps name them first; zero chunks and repetitions left out. */
function* carried(
  contents: Iterable<{ readonly allocation: Allocation; readonly names: Uint8Array }>,
): Generator<Carried> {
  const seen = new NameSet();
  for (const { allocation, names } of contents) {
    const last = names.length / NAME_BYTES - 1;
    for (let chunk = 0; chunk <= last; chunk++) {
      if (!seen.add(names, NAME_BYTES * chunk)) continue;
      const length = chunk === last ? lastLengthOf(allocation.size) : CHUNK_BYTES;
      yield { allocation, chunk, names, length };
    }
  }
}

/** The same in runs that can be read or written as one: only the last chunk of a run may be shorter. */
function* batches(chunks: Iterable<Carried>): Generator<readonly Carried[]> {
  let batch: Carried[] = [];
  for (const chunk of chunks) {
    batch.push(chunk);
    if (batch.length < BATCH && chunk.length === CHUNK_BYTES) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

const nameOf = ({ names, chunk }: Carried): Uint8Array => names.subarray(NAME_BYTES * chunk, NAME_BYTES * (chunk + 1));

function byteLength(chunks: Iterable<Carried>): number {
  let sum = 0;
  for (const { length } of chunks) sum += length;
  return sum;
}

function namesOf(batch: readonly Carried[]): Uint8Array {
  const names = new Uint8Array(NAME_BYTES * batch.length);
  for (const [i, chunk] of batch.entries()) names.set(nameOf(chunk), NAME_BYTES * i);
  return names;
}

/** Writes what a plan gives. The stream is not ended. */
export async function exportPlan(
  plan: RestorePlan,
  stream: Writable,
  { onProgress, signal }: TransferOptions,
): Promise<void> {
  const lists: ChunkList[] = [...plan.contents.values()].map(({ allocation, names }) => {
    const nothing = { chunks: new Uint32Array(0), origins: new Uint8Array(0), names };
    return completed({ allocation, complete: false, ...nothing }, names);
  });
  const map = encodeMap(lists);
  const { chunks } = plan.manifest;
  const listed = lists.reduce((sum, list) => sum + list.chunks.length, 0);
  const zero = lists.reduce((sum, { names }) => sum + countZero(names), 0);
  // The image of a process is of use on the machine that it is of; what goes out is memory.
  const { image: _image, ...described } = plan.manifest;
  const manifest = encodeManifest({
    ...described,
    map: { hash: hex(treeHash(map)), bytes: map.length, complete: true, depth: 0 },
    chunks: { ...chunks, listed, zero },
  });
  const head = Buffer.alloc(HEAD_BYTES);
  head.write(HEAD_MAGIC, 0, 'latin1');
  head.writeUInt32LE(VERSION, 8);
  head.writeBigUInt64LE(BigInt(manifest.length), 16);
  head.writeBigUInt64LE(BigInt(map.length), 24);

  // Without a listener an error of the stream ends the process before the callback of `write` is told.
  const ignore = () => {};
  stream.on('error', ignore);
  const write = (bytes: Uint8Array) =>
    new Promise<void>((resolve, reject) => {
      stream.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  try {
    await write(head);
    await write(manifest);
    await write(map);
    const source = [...plan.contents.values()];
    const total = byteLength(carried(source));
    let done = 0;
    let count = 0;
    const content = Buffer.alloc(BATCH * CHUNK_BYTES);
    const framed = Buffer.alloc(BATCH * (CHUNK_HEAD_BYTES + CHUNK_BYTES));
    for (const batch of batches(carried(source))) {
      signal?.throwIfAborted();
      const bytes = content.subarray(0, byteLength(batch));
      await plan.readChunks(namesOf(batch), bytes);
      let to = 0;
      for (const [i, chunk] of batch.entries()) {
        framed.set(nameOf(chunk), to);
        framed.writeUInt32LE(chunk.length, to + 16);
        framed.writeUInt32LE(0, to + 20);
        framed.set(bytes.subarray(i * CHUNK_BYTES, i * CHUNK_BYTES + chunk.length), to + CHUNK_HEAD_BYTES);
        to += CHUNK_HEAD_BYTES + chunk.length;
      }
      await write(framed.subarray(0, to));
      count += batch.length;
      done += bytes.length;
      onProgress?.(done, total);
    }
    const end = Buffer.alloc(END_BYTES);
    end.writeBigUInt64LE(BigInt(count), 16);
    end.write(END_MAGIC, 24, 'latin1');
    await write(end);
  } finally {
    stream.off('error', ignore);
  }
}

function damagedStream(source: string, message: string): InputError {
  const hint = 'export the checkpoint again; nothing was imported';
  return new InputError({ code: 'GCR7016', severity: 'error', message, source, hint });
}

/** Takes exact lengths out of pieces of any lengths; memory grows with what came, not with what was promised. */
class Input {
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(
    stream: AsyncIterable<Uint8Array>,
    readonly source: string,
  ) {
    this.#iterator = stream[Symbol.asyncIterator]();
  }

  async #next(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#iterator.next();
      if (done) return false;
      this.#rest = value;
    }
    return true;
  }

  async take(length: number, what: string): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      if (!(await this.#next())) throw damagedStream(this.source, `ends inside ${what}`);
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return Buffer.concat(parts, length);
  }

  async ended(): Promise<boolean> {
    return !(await this.#next());
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}

export interface Imported {
  readonly manifest: Manifest;
  /** The store had it already; nothing was written. */
  readonly known: boolean;
}

/** What the store does for an import: knows its checkpoints and gives numbers. */
export interface ImportParts {
  readonly has: (id: string) => Promise<boolean>;
  readonly nextSequence: () => Promise<number>;
}

/**
 * Reads one checkpoint into the store. The caller holds the lock shared.
 *
 * @param source the stream's name for messages
 * @throws InputError GCR7016 when the stream is not a whole checkpoint; nothing is then in the store
 */
export async function importStream(
  backend: Backend,
  stream: AsyncIterable<Uint8Array>,
  source: string,
  parts: ImportParts,
  options: TransferOptions,
): Promise<Imported> {
  const input = new Input(stream, source);
  try {
    const head = await input.take(HEAD_BYTES, 'its head');
    if (head.toString('latin1', 0, 8) !== HEAD_MAGIC) throw damagedStream(source, 'is not an exported checkpoint');
    if (head.readUInt32LE(8) !== VERSION)
      throw damagedStream(source, `is an exported checkpoint of version ${head.readUInt32LE(8)}`);
    const [manifestBytes, mapBytes] = [head.readBigUInt64LE(16), head.readBigUInt64LE(24)];
    if (manifestBytes > BigInt(MAX_MANIFEST_BYTES) || mapBytes > BigInt(MAX_MAP_BYTES))
      throw damagedStream(source, 'says that its manifest or map is larger than any');
    const manifestText = await input.take(Number(manifestBytes), 'its manifest');
    const manifest = fromStream(source, () => decodeManifest(manifestText, source, ''));
    if (!manifest.map.complete || manifest.map.bytes !== Number(mapBytes))
      throw damagedStream(source, 'its manifest does not fit its head');
    if (await parts.has(manifest.id)) return { manifest, known: true };
    const mapText = await input.take(Number(mapBytes), 'its map');
    if (hex(treeHash(mapText)) !== manifest.map.hash) throw damagedStream(source, 'its map was changed');
    const map = fromStream(source, () => {
      const decoded = decodeMap(mapText, source, '');
      checkMap(manifest, decoded, source, '');
      return decoded;
    });
    const added = await importChunks(backend, input, map.lists, options);
    options.signal?.throwIfAborted();
    await backend.put(mapFile(manifest.map.hash), mapText, 'replace');
    const { parent } = manifest;
    const imported: Manifest = {
      ...manifest,
      sequence: await parts.nextSequence(),
      parent: parent !== null && (await parts.has(parent)) ? parent : null,
      chunks: { ...manifest.chunks, stored: added.storedChunks, storedBytes: added.storedBytes },
    };
    try {
      await backend.put(manifestFile(manifest.id), encodeManifest(imported), 'create');
    } catch (error) {
      // Somebody else imported the same checkpoint at the same time.
      if (error instanceof StoreError && error.kind === 'exists') return { manifest: imported, known: true };
      throw error;
    }
    return { manifest: imported, known: false };
  } finally {
    await input.close();
  }
}

/** The findings of a parser that thinks it reads a file of a store. */
function fromStream<T>(source: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof StoreError) throw damagedStream(source, error.diagnostics[0]!.message);
    throw error;
  }
}

async function importChunks(
  backend: Backend,
  input: Input,
  lists: readonly ChunkList[],
  { onProgress, signal }: TransferOptions,
): Promise<{ readonly storedChunks: number; readonly storedBytes: number }> {
  const { source } = input;
  const writer = backend.writer();
  try {
    const total = onProgress ? byteLength(carried(lists)) : 0;
    let done = 0;
    let count = 0n;
    for (const batch of batches(carried(lists))) {
      signal?.throwIfAborted();
      const bytes = Buffer.allocUnsafe(byteLength(batch));
      for (const [i, chunk] of batch.entries()) {
        const what = `chunk ${count + BigInt(i)}`;
        const head = await input.take(CHUNK_HEAD_BYTES, what);
        if (!head.subarray(0, NAME_BYTES).equals(nameOf(chunk)) || head.readUInt32LE(16) !== chunk.length)
          throw damagedStream(source, `${what} is not the one that its map names next`);
        bytes.set(await input.take(chunk.length, what), i * CHUNK_BYTES);
      }
      const names = await writer.write(bytes);
      if (!Buffer.from(names).equals(namesOf(batch)))
        throw damagedStream(source, `was changed: a chunk near number ${count} does not have the hash that names it`);
      count += BigInt(batch.length);
      done += bytes.length;
      onProgress?.(done, total);
    }
    const end = await input.take(END_BYTES, 'its end');
    const zeros = end.subarray(0, 16).every((byte) => byte === 0);
    if (!zeros || end.readBigUInt64LE(16) !== count || end.toString('latin1', 24) !== END_MAGIC)
      throw damagedStream(source, 'its end is damaged');
    if (!(await input.ended())) throw damagedStream(source, 'goes on after its end');
    return await writer.finish();
  } catch (error) {
    await writer.abort().catch(() => {});
    throw error;
  }
}
