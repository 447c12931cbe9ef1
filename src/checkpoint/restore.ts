/**
 * Reading a checkpoint. A plan exists only when everything that "Reading safely" asks before the first byte holds: store, manifest,
 * map, chain and sizes, and every chunk is in the index with its length. Hashes are checked as chunks are read. A plan
 * holds the store's lock shared until it is closed, so that nothing it needs is deleted under it.
 */
import type { Backend, ChunkReader, StoreLock } from '../native/index.js';
import { mapAhead } from './ahead.js';
import { type Contents, readChain, readContents, readManifest } from './chain.js';
import { invalid, StoreError } from './errors.js';
import { manifestFile } from './manifest.js';
import { type Allocation, CHUNK_BYTES, lastLengthOf, type Manifest, NAME_BYTES } from './types.js';

/** Bytes that `pieces` reads as one. */
const PIECE_BYTES = 4 << 20;
/** Pieces in flight. */
const WINDOW = 4;

/** A run of an allocation's bytes. `bytes` is valid until the next piece is asked for. */
export interface Piece {
  readonly allocation: Allocation;
  readonly from: number;
  readonly bytes: Uint8Array;
}

/** A chunk that no index names, or that is not there with its length. */
export interface MissingChunk {
  readonly allocation: Allocation;
  readonly chunk: number;
}

/** The chunks of a checkpoint that are not there, at most `limit` of them, and how many there are in all. */
export async function findMissing(
  reader: ChunkReader,
  contents: Contents,
  limit: number,
): Promise<{ readonly first: readonly MissingChunk[]; readonly count: number }> {
  const first: MissingChunk[] = [];
  let count = 0;
  for (const { allocation, names } of contents.values()) {
    const present = await reader.has(names, lastLengthOf(allocation.size));
    for (let chunk = present.indexOf(0); chunk >= 0; chunk = present.indexOf(0, chunk + 1)) {
      count++;
      if (first.length < limit) first.push({ allocation, chunk });
    }
  }
  return { first, count };
}

/** @throws StoreError GCR7012 that names the first chunk that is not there */
export async function demandPresent(
  backend: Backend,
  reader: ChunkReader,
  manifest: Manifest,
  contents: Contents,
): Promise<void> {
  const { first, count } = await findMissing(reader, contents, 1);
  if (first[0]) throw missingError(backend.place, manifest.id, first[0], count);
}

export function missingError(
  place: string,
  id: string,
  { allocation, chunk }: MissingChunk,
  count: number,
): StoreError {
  const name = allocation.label === '' ? '' : ` (${allocation.label})`;
  const which = `first chunk ${chunk} of allocation ${allocation.id}${name}`;
  const file = manifestFile(id);
  const message = `needs ${count} chunk${count === 1 ? '' : 's'} that no index and pack has, ${which}`;
  const hint =
    'run `gcr-templates verify STORE` to see which pack or index is damaged; a damaged index is rebuilt by `--repair-index`';
  return new StoreError('damaged', file, 'GCR7012', place, message, hint);
}

/** How to read a checkpoint whose parts are all there. Close it. */
export class RestorePlan {
  /** @internal made by `Store.restorePlan` */
  constructor(
    readonly manifest: Manifest,
    /** Allocations and the names of their chunks. */
    readonly contents: Contents,
    readonly place: string,
    private readonly reader: ChunkReader,
    private readonly lock: StoreLock,
  ) {}

  /** The allocations, ascending by id. */
  get allocations(): readonly Allocation[] {
    return [...this.contents.values()].map(({ allocation }) => allocation);
  }

  /**
   * Reads bytes `from` to `to` of an allocation into `target`, which has exactly that many.
   *
   * @throws StoreError GCR7012 when a chunk is damaged; `target` is then not to be used
   */
  async read(id: bigint, from: number, to: number, target: Uint8Array): Promise<void> {
    const found = this.contents.get(id);
    if (!found) throw invalid(this.place, `checkpoint ${this.manifest.id} has no allocation ${id}`);
    const { allocation, names } = found;
    if (!(from >= 0 && from <= to && to <= allocation.size) || target.length !== to - from)
      throw invalid(this.place, `bytes ${from} to ${to} of allocation ${id} cannot be read into ${target.length}`);
    const whole = (first: number, end: number, into: Uint8Array) =>
      this.readChunks(names.subarray(NAME_BYTES * first, NAME_BYTES * end), into);
    const chunkAt = (byte: number) => Math.floor(byte / CHUNK_BYTES);
    const endOf = (chunk: number) => Math.min(allocation.size, (chunk + 1) * CHUNK_BYTES);
    for (let at = from; at < to; ) {
      const chunk = chunkAt(at);
      if (at % CHUNK_BYTES === 0 && endOf(chunk) <= to) {
        const end = to === allocation.size ? names.length / NAME_BYTES : chunkAt(to);
        const stop = endOf(end - 1);
        await whole(chunk, end, target.subarray(at - from, stop - from));
        at = stop;
      } else {
        // Only a part of this chunk is wanted; its hash needs all of it.
        const start = chunk * CHUNK_BYTES;
        const bytes = new Uint8Array(endOf(chunk) - start);
        await whole(chunk, chunk + 1, bytes);
        const stop = Math.min(to, endOf(chunk));
        target.set(bytes.subarray(at - start, stop - start), at - from);
        at = stop;
      }
    }
  }

  /** Reads chunks of this checkpoint by name, chunk i to 65,536 i; all but the last must be whole. */
  readChunks(names: Uint8Array, target: Uint8Array): Promise<void> {
    return this.reader.read(names, target);
  }

  /** All bytes of one allocation, or of all, in order; a few pieces are read ahead. */
  async *pieces(only?: bigint): AsyncGenerator<Piece, void, undefined> {
    const wanted = only === undefined ? this.allocations : this.allocations.filter(({ id }) => id === only);
    const buffers: Uint8Array[] = [];
    function* runs() {
      for (const allocation of wanted)
        for (let from = 0; from < allocation.size; from += PIECE_BYTES) yield { allocation, from };
    }
    const load = async ({ allocation, from }: { allocation: Allocation; from: number }) => {
      const buffer = buffers.pop() ?? new Uint8Array(PIECE_BYTES);
      const bytes = buffer.subarray(0, Math.min(PIECE_BYTES, allocation.size - from));
      await this.read(allocation.id, from, from + bytes.length, bytes);
      return { allocation, from, bytes, buffer };
    };
    for await (const { buffer, ...piece } of mapAhead(runs(), WINDOW, load)) {
      yield piece;
      buffers.push(buffer);
    }
  }

  close(): void {
    this.reader.close();
    this.lock.release();
  }
}

/** Opens a plan under a lock that is held already; the plan takes the lock over. */
export async function openPlan(backend: Backend, lock: StoreLock, id: string): Promise<RestorePlan> {
  const manifest = await readManifest(backend, id);
  const contents = await readContents(backend, await readChain(backend, manifest));
  const reader = backend.reader();
  try {
    await demandPresent(backend, reader, manifest, contents);
    return new RestorePlan(manifest, contents, backend.place, reader, lock);
  } catch (error) {
    reader.close();
    throw error;
  }
}
