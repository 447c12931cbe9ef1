/**
 * Writing one checkpoint. The order of operations is the guarantee: the store's lock is held shared from before the first
 * chunk is looked up until after the commit; packs and index are on disk before the map, the map before the manifest, and the manifest's
 * appearance is the commit. Whatever fails before leaves at most garbage that `prune` removes.
 *
 * A list holds what differs from the parent, unless the lists since the last complete map have grown longer than a complete one:
 * so an increment costs in proportion to what changed, and a restore reads at most two maps' worth of lists.
 */
import { randomBytes } from 'node:crypto';
import { type Backend, type ChunkWriter, type StoreLock, treeHash } from '../native/index.js';
import { mapAhead } from './ahead.js';
import { applyMap, type Contents, totalChunks } from './chain.js';
import { hex } from './checked-json.js';
import { type ContentBytes, openSource } from './content.js';
import { invalid, StoreError } from './errors.js';
import { encodeManifest, leastCertain, MAX_MANIFEST_BYTES, MAX_MAP_BYTES, manifestFile, mapFile } from './manifest.js';
import { type ChunkList, countZero, encodeMap, sameName } from './map.js';
import {
  ALLOCATION_KINDS,
  type Allocation,
  CHUNK_BYTES,
  chunksOf,
  MAX_ALLOCATION_BYTES,
  type Manifest,
  NAME_BYTES,
  ORIGINS,
  type Origin,
} from './types.js';

/** Bytes that are read, hashed and written as one. */
const PIECE_BYTES = 4 << 20;
/** Pieces in flight. */
const WINDOW = 6;
/** A chain is at most this long, however little each checkpoint lists. */
const MAX_DEPTH = 64;

/** Chunks `from` to `from + count` of an allocation, and why they are looked at. */
export interface ChunkRange {
  readonly from: number;
  readonly count: number;
  readonly origin?: Origin;
}

/** What of an allocation is saved. */
export interface AllocationContent {
  /** Ascending, apart from each other; all chunks when absent. What is left out is as the parent has it. */
  readonly ranges?: readonly ChunkRange[];
  /** The bytes of the ranges, one behind the other. Not needed when there are none. */
  readonly bytes?: ContentBytes;
}

/** Chunks of an allocation that were stored by name, ascending; what is left out is as the parent has it. */
export interface StoredChunks {
  readonly chunks: Uint32Array;
  /** Positions in `ORIGINS`. */
  readonly origins: Uint8Array;
  /** 16 bytes each. */
  readonly names: Uint8Array;
}

/** What a manifest says beside what the session finds out itself. */
export type Description = Pick<
  Manifest,
  'kind' | 'device' | 'process' | 'templates' | 'launches' | 'kernels' | 'created'
> & { readonly note?: string };

/** The parent: its manifest's position in the chain and everything that it holds. */
export interface Parent {
  readonly id: string;
  readonly depth: number;
  /** Entries listed on the way to the complete map, that one's left out. */
  readonly listed: number;
  readonly contents: Contents;
}

export interface SessionParts {
  readonly backend: Backend;
  readonly lock: StoreLock;
  readonly writer: ChunkWriter;
  readonly parent: Parent | undefined;
  readonly description: Description;
  readonly signal?: AbortSignal;
  /** One more than the largest of the store. */
  readonly nextSequence: () => Promise<number>;
  /** Told what was committed, for the next increment. */
  readonly onCommit: (manifest: Manifest, contents: Contents) => void;
}

/** A session: `add` every allocation that is alive, then `commit` or `abort`. */
export class WriteSession {
  readonly #parts: SessionParts;
  readonly #lists = new Map<bigint, ChunkList>();
  #state: 'open' | 'failed' | 'closed' = 'open';
  #adding = 0;

  /** @internal made by `Store.begin` */
  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  get #place(): string {
    return this.#parts.backend.place;
  }

  /**
   * Takes an allocation that is alive. Bytes are read in pieces of at most 4 MiB, a few at a time. Allocations of the parent that
   * are not taken count as freed. Several allocations may be taken at once.
   *
   * @throws StoreError GCR7017 when ranges or bytes do not fit; the session can then only be aborted
   */
  async add(allocation: Allocation, content: AllocationContent): Promise<void> {
    if (this.#state !== 'open') throw invalid(this.#place, 'the session takes no more allocations');
    this.#adding++;
    try {
      await this.#add(allocation, content);
    } catch (error) {
      this.#state = 'failed';
      throw error;
    } finally {
      this.#adding--;
    }
  }

  /** Checks an allocation and takes it, for now with no chunks. @returns the names that the parent has of it */
  #reserve({ id, address, size, kind, label }: Allocation): Uint8Array | undefined {
    const fail = (message: string): never => {
      throw invalid(this.#place, `allocation ${id}: ${message}`);
    };
    if (id < 0n || id >> 64n !== 0n) fail('its id has more than 64 bits');
    if (this.#lists.has(id)) fail('was taken already');
    if (!Number.isSafeInteger(size) || size < 1 || size > MAX_ALLOCATION_BYTES) fail(`cannot have ${size} bytes`);
    if (address < 0n || address + BigInt(size) > 1n << 64n) fail('does not lie in a 64-bit address space');
    if (!ALLOCATION_KINDS.includes(kind)) fail(`kind ${kind} is not known`);
    const known = this.#parts.parent?.contents.get(id);
    // Reserved now, so that the same allocation is not taken twice at once.
    const empty = { chunks: new Uint32Array(0), origins: new Uint8Array(0), names: new Uint8Array(0) };
    this.#lists.set(id, { allocation: { id, address, size, kind, label }, complete: false, ...empty });
    return known?.allocation.size === size ? known.names : undefined;
  }

  /**
   * Stores chunks by names that are known from elsewhere; nothing is hashed. Chunk *i* is at 65,536 *i* of `slots` and has `lengths[i]` bytes. The
   * allocations that have them are then taken by {@link addStored}.
   */
  async store(slots: Uint8Array, names: Uint8Array, lengths: Uint32Array): Promise<void> {
    if (this.#state !== 'open') throw invalid(this.#place, 'the session takes no more chunks');
    try {
      this.#parts.signal?.throwIfAborted();
      await this.#parts.writer.writeNamed(slots, names, lengths);
    } catch (error) {
      this.#state = 'failed';
      throw error;
    }
  }

  /**
   * Takes an allocation that is alive, whose chunks were given to {@link store} (those with the zero name need not be).
   *
   * @throws StoreError GCR7017 when the chunks do not fit; the session can then only be aborted
   */
  addStored(allocation: Allocation, list: StoredChunks): void {
    if (this.#state !== 'open') throw invalid(this.#place, 'the session takes no more allocations');
    const { id, address, size, kind, label } = allocation;
    try {
      const before = this.#reserve(allocation);
      const fail = (message: string): never => {
        throw invalid(this.#place, `allocation ${id}: ${message}`);
      };
      const { chunks, origins, names } = list;
      const count = chunksOf(size);
      if (origins.length !== chunks.length || names.length !== NAME_BYTES * chunks.length)
        fail('its lists differ in length');
      for (let i = 0; i < chunks.length; i++) {
        if (chunks[i]! >= count || (i > 0 && chunks[i]! <= chunks[i - 1]!)) fail('its chunks are not ascending');
        if (origins[i]! >= ORIGINS.length) fail(`origin ${origins[i]} is not known`);
      }
      if (before === undefined && chunks.length !== count) fail('is not in the parent, so all its chunks are needed');
      this.#lists.set(id, {
        allocation: { id, address, size, kind, label },
        ...(before ? changedOnly(list, before) : { complete: true, ...list }),
      });
    } catch (error) {
      this.#state = 'failed';
      throw error;
    }
  }

  async #add(allocation: Allocation, content: AllocationContent): Promise<void> {
    const { writer, signal } = this.#parts;
    const { id, address, size, kind, label } = allocation;
    const fail = (message: string): never => {
      throw invalid(this.#place, `allocation ${id}: ${message}`);
    };
    const before = this.#reserve(allocation);
    const chunkCount = chunksOf(size);
    const ranges = content.ranges ?? [{ from: 0, count: chunkCount }];
    let end = 0;
    let wanted = 0;
    for (const { from, count, origin } of ranges) {
      if (!Number.isSafeInteger(from) || !Number.isSafeInteger(count) || from < end || count < 1)
        fail('its ranges are not ascending');
      if (from + count > chunkCount) fail(`range from chunk ${from} ends outside`);
      if (origin !== undefined && !ORIGINS.includes(origin)) fail(`origin ${origin} is not known`);
      end = from + count;
      wanted += count;
    }
    if (before === undefined && wanted !== chunkCount) fail('is not in the parent, so all its chunks are needed');
    if (wanted > 0 && content.bytes === undefined) fail('its bytes are missing');

    const list = {
      chunks: new Uint32Array(wanted),
      origins: new Uint8Array(wanted),
      names: new Uint8Array(NAME_BYTES * wanted),
    };
    const source = openSource(allocation, content.bytes ?? []);
    const save = async (run: Run): Promise<void> => {
      signal?.throwIfAborted();
      const from = run.chunk * CHUNK_BYTES;
      const to = Math.min(size, (run.chunk + run.count) * CHUNK_BYTES);
      const bytes = await source.take(from, to);
      if (bytes.length !== to - from) fail(`${bytes.length} bytes came where ${to - from} were asked for`);
      list.names.set(await writer.write(bytes), NAME_BYTES * run.at);
      for (let i = 0; i < run.count; i++) list.chunks[run.at + i] = run.chunk + i;
      list.origins.fill(run.origin, run.at, run.at + run.count);
    };
    for await (const _ of mapAhead(runsOf(ranges), WINDOW, save));
    if (!(await source.ended())) fail('more bytes came than its chunks have');
    this.#lists.set(id, {
      allocation: { id, address, size, kind, label },
      ...(before ? changedOnly(list, before) : { complete: true, ...list }),
    });
  }

  /**
   * Makes the checkpoint exist. Afterwards the session is over, whatever happened.
   *
   * @returns the manifest as it was written
   */
  async commit(): Promise<Manifest> {
    if (this.#state !== 'open' || this.#adding > 0) {
      await this.abort();
      throw invalid(this.#place, 'the session cannot be committed: an allocation failed or is still being taken');
    }
    this.#state = 'closed';
    const { backend, parent, description, lock, writer, signal, nextSequence, onCommit } = this.#parts;
    try {
      signal?.throwIfAborted();
      const { storedChunks, storedBytes } = await writer.finish();
      const changed = [...this.#lists.values()];
      const { lists, contents } = this.#decide(changed);
      const map = encodeMap(lists);
      if (map.length > MAX_MAP_BYTES) throw invalid(this.#place, 'the checkpoint has too many chunks for one map');
      const complete = lists.every((list) => list.complete);
      const { note, ...members } = description;
      const manifest: Manifest = {
        id: randomBytes(8).toString('hex'),
        sequence: await nextSequence(),
        parent: parent?.id ?? null,
        ...members,
        map: { hash: hex(treeHash(map)), bytes: map.length, complete, depth: complete ? 0 : parent!.depth + 1 },
        ...tally(lists, changed, { stored: storedChunks, storedBytes }),
        kernels: leastCertain(description.kernels),
        ...(note !== undefined && { note }),
      };
      if (encodeManifest(manifest).length > MAX_MANIFEST_BYTES)
        throw invalid(this.#place, 'its description is too long for a manifest');
      signal?.throwIfAborted();
      await backend.put(mapFile(manifest.map.hash), map, 'replace');
      const committed = await commitManifest(backend, manifest);
      onCommit(committed, contents);
      return committed;
    } catch (error) {
      await writer.abort().catch(() => {});
      throw error;
    } finally {
      lock.release();
    }
  }

  /** Ends the session without a checkpoint. */
  async abort(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    try {
      await this.#parts.writer.abort();
    } finally {
      this.#parts.lock.release();
    }
  }

  /** Whether to write what changed or complete lists; and what the checkpoint holds. */
  #decide(changed: readonly ChunkList[]): { lists: readonly ChunkList[]; contents: Contents } {
    const { parent } = this.#parts;
    const complete = changed.every((list) => list.complete);
    const contents = applyMap(parent?.contents ?? new Map(), { complete, lists: changed }, this.#place, '');
    const listed = changed.reduce((sum, { chunks }) => sum + chunks.length, 0) + (parent?.listed ?? 0);
    const short = listed <= totalChunks(changed) && (parent?.depth ?? 0) < MAX_DEPTH;
    if (complete || short) return { lists: changed, contents };
    return { lists: changed.map((list) => completed(list, contents.get(list.allocation.id)!.names)), contents };
  }
}

interface Run {
  readonly chunk: number;
  readonly count: number;
  readonly origin: number;
  /** Position of its first chunk among those wanted. */
  readonly at: number;
}

function* runsOf(ranges: readonly ChunkRange[]): Generator<Run> {
  const most = PIECE_BYTES / CHUNK_BYTES;
  let at = 0;
  for (const { from, count, origin } of ranges) {
    for (let chunk = from; chunk < from + count; chunk += most) {
      const part = Math.min(most, from + count - chunk);
      yield { chunk, count: part, origin: ORIGINS.indexOf(origin ?? 'none'), at };
      at += part;
    }
  }
}

type Entries = Pick<ChunkList, 'chunks' | 'origins' | 'names'>;

/** The entries whose names differ from those in `before`. */
export function changedOnly(entries: Entries, before: Uint8Array): Entries & { readonly complete: boolean } {
  const keep: number[] = [];
  for (let i = 0; i < entries.chunks.length; i++)
    if (!sameName(entries.names, NAME_BYTES * i, before, NAME_BYTES * entries.chunks[i]!)) keep.push(i);
  const complete = NAME_BYTES * keep.length === before.length;
  if (keep.length === entries.chunks.length) return { complete, ...entries };
  const names = new Uint8Array(NAME_BYTES * keep.length);
  for (const [i, from] of keep.entries())
    names.set(entries.names.subarray(NAME_BYTES * from, NAME_BYTES * (from + 1)), NAME_BYTES * i);
  return {
    complete,
    chunks: Uint32Array.from(keep, (i) => entries.chunks[i]!),
    origins: Uint8Array.from(keep, (i) => entries.origins[i]!),
    names,
  };
}

/** The same list with an entry for every chunk; what it did not list gets no origin. */
export function completed(list: ChunkList, names: Uint8Array): ChunkList {
  if (list.complete) return list;
  const count = names.length / NAME_BYTES;
  const origins = new Uint8Array(count);
  for (const [i, chunk] of list.chunks.entries()) origins[chunk] = list.origins[i]!;
  return {
    allocation: list.allocation,
    complete: true,
    chunks: Uint32Array.from({ length: count }, (_, i) => i),
    origins,
    names,
  };
}

/** What a manifest counts: `lists` are in the map, `changed` differs from the parent, `added` went into the packs. */
export function tally(
  lists: readonly ChunkList[],
  changed: readonly ChunkList[],
  added: { readonly stored: number; readonly storedBytes: number },
): Pick<Manifest, 'allocations' | 'chunks' | 'origins'> {
  const sum = (values: readonly ChunkList[], measure: (list: ChunkList) => number) =>
    values.reduce((total, list) => total + measure(list), 0);
  const byOrigin = new Array<number>(ORIGINS.length).fill(0);
  for (const { origins } of changed) for (const origin of origins) byOrigin[origin]!++;
  return {
    allocations: { count: lists.length, bytes: sum(lists, ({ allocation }) => allocation.size) },
    chunks: {
      listed: sum(lists, ({ chunks }) => chunks.length),
      changed: sum(changed, ({ chunks }) => chunks.length),
      zero: sum(lists, ({ names }) => countZero(names)),
      stored: added.stored,
      storedBytes: added.storedBytes,
    },
    origins: Object.fromEntries(ORIGINS.map((origin, i) => [origin, byOrigin[i]!])) as Manifest['origins'],
  };
}

/** Puts a new manifest; chooses another id when, against all odds, the id is taken. */
async function commitManifest(backend: Backend, manifest: Manifest): Promise<Manifest> {
  for (let next = manifest; ; next = { ...manifest, id: randomBytes(8).toString('hex') }) {
    try {
      await backend.put(manifestFile(next.id), encodeManifest(next), 'create');
      return next;
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === 'exists')) throw error;
    }
  }
}
