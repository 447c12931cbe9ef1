/**
 * The store's native part: files, packs, index files, hashes (`native/core`; formats: `docs/formats/store.md`). Everything that takes
 * time runs off this thread, and any number of calls may be under way. `src/checkpoint` builds manifests and maps on it.
 *
 * Failures are a {@link StoreError} with a `code` to decide by and the file; an addon that is not built is an `InputError` (GCR7001).
 */
import { addon, type NativeBackend, type NativeCancellation, type NativeProgress } from './addon.js';

/** A folder, or a store in this process's memory, which keeps its content until the process ends. */
export type StorePlace = { readonly directory: string } | { readonly mem: string };

/** What programs decide by. `locked`: held by somebody else until the deadline. `invalid`: a wrong argument, or cancelled. */
export type StoreErrorCode =
  | 'not-found'
  | 'damaged'
  | 'no-space'
  | 'read-only'
  | 'io'
  | 'locked'
  | 'exists'
  | 'invalid';

/** The error that every function here throws or rejects with. */
export interface StoreError extends Error {
  readonly code: StoreErrorCode;
  /** A name inside the store, or the store's place. */
  readonly file: string;
}

const CODES: ReadonlySet<unknown> = new Set<StoreErrorCode>([
  'not-found',
  'damaged',
  'no-space',
  'read-only',
  'io',
  'locked',
  'exists',
  'invalid',
]);

export function isStoreError(error: unknown): error is StoreError {
  return error instanceof Error && 'file' in error && 'code' in error && CODES.has(error.code);
}

/** A lock that is held. Ends with the process, too. */
export interface StoreLock {
  /** Lets the lock go; again is nothing. */
  release(): void;
}

/** Something that is wrong with a store. */
export interface Problem {
  readonly file: string;
  readonly message: string;
  /** What the user can do. */
  readonly remedy: string;
  /** Garbage that costs space, not damage. */
  readonly harmless: boolean;
}

/** What {@link ChunkWriter.finish} made durable. `chunks` counts all that were written, zero and known ones too. */
export interface WriteStatistics {
  readonly chunks: number;
  readonly storedChunks: number;
  readonly storedBytes: number;
  readonly packs: number;
}

export interface CompactStatistics {
  readonly packsRemoved: number;
  readonly packsWritten: number;
  /** Bytes of removed packs less those moved to new ones. */
  readonly bytesFreed: number;
  readonly bytesMoved: number;
  readonly chunksLive: number;
}

export type ByteProgress = (done: { readonly bytes: number; readonly total: number }) => void;

/** Stores chunks. Hold the store's lock shared from before the first write until after the commit. */
export interface ChunkWriter {
  /**
   * Stores chunks of `bytes` (64 KiB each, the last may be shorter); resolves to their names, 16 bytes each, once the bytes may be
   * reused. Several calls may be under way. After a failure every later call fails, too.
   */
  write(bytes: Uint8Array): Promise<Uint8Array>;
  /**
   * Stores chunks whose names are known from elsewhere; nothing is hashed. Chunk *i* is at 65,536 *i* of `slots` and has `lengths[i]` bytes.
   * Resolves once the bytes may be reused. A name that is wrong is found when the chunk is read.
   */
  writeNamed(slots: Uint8Array, names: Uint8Array, lengths: Uint32Array): Promise<void>;
  /** Waits for all writes; when it resolves, packs and index are durable. */
  finish(): Promise<WriteStatistics>;
  /** Gives up and removes what was written. Never fails; after finish() it does nothing. */
  abort(): Promise<void>;
}

/** Reads chunks, as the store is at the first use. Hold the store's lock shared. */
export interface ChunkReader {
  /**
   * Fills `target` with chunk *i* at 65,536 *i*; the last may be shorter. Every hash is checked; after an error the target's content is
   * undefined. `not-found`: no index names it; `damaged`: index, pack or content is not as it should be.
   */
  read(names: Uint8Array, target: Uint8Array): Promise<void>;
  /**
   * 1 for each name that an index has with this length (65,536 bytes, the last `lastLength`) and a pack that is there and large enough,
   * else 0. The zero name: 1.
   */
  has(names: Uint8Array, lastLength?: number): Promise<Uint8Array>;
  close(): void;
}

/** The files of a store. Names are relative to it, as in `docs/formats/store.md`. */
export interface Backend {
  /** For messages. */
  readonly place: string;
  /** A whole file; `invalid` when it has more than `limit` bytes (1 GiB unless told). */
  get(name: string, limit?: number): Promise<Uint8Array>;
  /** Durable and atomic; `create` fails with `exists` when there is such a file. */
  put(name: string, bytes: Uint8Array, mode?: 'replace' | 'create'): Promise<void>;
  /**
   * Files of `packs`, `index`, `manifests`, `locks` or the store itself (`''`), as names that the other functions take, sorted; those
   * that are not a store's, too, which the other functions refuse (`invalid`), but `remove` takes names that end in `.tmp`.
   */
  list(folder: string): Promise<string[]>;
  /** Size in bytes and time of the last change in milliseconds since 1970. */
  stat(name: string): Promise<{ bytes: number; modified: number } | undefined>;
  /** Durable. A file that is not there is as good as removed. */
  remove(name: string): Promise<void>;
  /** `locked` after `timeoutMs` (0: one attempt), naming the processes that hold it. */
  lock(mode: 'shared' | 'exclusive', timeoutMs: number): Promise<StoreLock>;
  writer(options?: { threads?: number; packBytes?: number }): ChunkWriter;
  reader(options?: { threads?: number }): ChunkReader;
  /**
   * Steps 3 and 4 of deleting, for packs and index files: keeps what `live` names (16 bytes each, any order, repetitions and zero
   * names allowed), writes anew packs of which less than `minimumLiveShare` (0.5) is live. Hold the lock exclusively. `damaged`, with
   * nothing removed, when a live chunk is missing or cannot be read.
   */
  compact(
    live: Uint8Array,
    options?: { minimumLiveShare?: number; dryRun?: boolean; onProgress?: ByteProgress; signal?: AbortSignal },
  ): Promise<CompactStatistics>;
  /** All that is wrong with packs and index files; with `readData` every chunk is read and hashed. Hold the lock shared. */
  check(options?: { readData?: boolean; onProgress?: ByteProgress; signal?: AbortSignal }): Promise<Problem[]>;
  /** Index files anew from the packs' own tables. Hold the lock exclusively. */
  rebuildIndex(): Promise<{ packs: number; chunks: number }>;
  /** Later calls fail; writers and readers that are there go on. */
  close(): void;
}

const GET_LIMIT = 2 ** 30;
const CHUNK_BYTES = 65_536;

/**
 * Opens a store's files. With `create`, makes the folders that are missing (not `store.json`, which `src/checkpoint` writes); without it,
 * `not-found` when there are none.
 */
export function openBackend(place: StorePlace, options: { create?: boolean } = {}): Backend {
  const { NativeBackend } = addon();
  const create = options.create ?? false;
  const native =
    'mem' in place
      ? new NativeBackend('mem', place.mem, create)
      : new NativeBackend('directory', place.directory, create);
  return wrap(native);
}

function wrap(native: NativeBackend): Backend {
  return {
    place: native.place(),
    get: async (name, limit = GET_LIMIT) => native.get(name, limit),
    put: async (name, bytes, mode = 'replace') => native.put(name, bytes, mode),
    list: async (folder) => native.list(folder),
    stat: async (name) => native.stat(name),
    remove: async (name) => native.remove(name),
    lock: async (mode, timeoutMs) => native.lock(mode, timeoutMs),
    writer: ({ threads = 0, packBytes = 0 } = {}) => {
      const writer = native.writer(threads, packBytes);
      return {
        write: async (bytes) => writer.write(bytes),
        writeNamed: async (slots, names, lengths) => writer.writeNamed(slots, names, lengths),
        finish: async () => writer.finish(),
        abort: async () => writer.abort(),
      };
    },
    reader: ({ threads = 0 } = {}) => {
      const reader = native.reader(threads);
      return {
        read: async (names, target) => reader.read(names, target),
        has: async (names, lastLength = CHUNK_BYTES) => reader.has(names, lastLength),
        close: () => reader.close(),
      };
    },
    compact: async (live, { minimumLiveShare = 0.5, dryRun = false, onProgress, signal } = {}) =>
      supervised(onProgress, signal, (progress, cancellation) =>
        native.compact(live, minimumLiveShare, dryRun, progress, cancellation),
      ),
    check: async ({ readData = false, onProgress, signal } = {}) =>
      supervised(onProgress, signal, (progress, cancellation) => native.check(readData, progress, cancellation)),
    rebuildIndex: async () => native.rebuildIndex(),
    close: () => native.close(),
  };
}

/** Long work that reports and can be cancelled: by the signal, and by a callback that throws, whose error it then rejects with. */
async function supervised<T>(
  onProgress: ByteProgress | undefined,
  signal: AbortSignal | undefined,
  start: (progress: NativeProgress, cancellation: NativeCancellation) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const cancellation = new (addon().NativeCancellation)();
  const cancel = () => cancellation.cancel();
  let failure: { readonly error: unknown } | undefined;
  const progress = (bytes: number, total: number) => {
    if (failure) return;
    try {
      onProgress?.({ bytes, total });
    } catch (error) {
      failure = { error };
      cancel();
    }
  };
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const result = await start(onProgress && progress, cancellation);
    if (failure) throw failure.error;
    return result;
  } catch (error) {
    signal?.throwIfAborted();
    throw failure ? failure.error : error;
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** Names of chunks of 64 KiB (the last may be shorter), 16 bytes each; the zero name for zero chunks. Blocks this thread. */
export function hashChunks(bytes: Uint8Array): Uint8Array {
  return addon().hashChunks(bytes);
}

/** Hash of at most 65,536 bytes (`docs/formats/chunk-hash.md`); more is a RangeError. */
export function chunkHash(bytes: Uint8Array): Uint8Array {
  return addon().chunkHash(bytes);
}

/** Tree hash of any number of bytes. */
export function treeHash(bytes: Uint8Array): Uint8Array {
  return addon().treeHash(bytes);
}

export { type Connection, closeFd, connect, listen, mapFd, peerCredentials } from './channel.js';
export {
  createHostArena,
  type DeviceSpan,
  type HostArena,
  type HostArenaOptions,
  type MappedMemory,
  type OpenDevice,
  openDevice,
  SEGMENT_SLOTS,
  SLOT_BYTES,
} from './device.js';
export { tryExclusiveLock } from './lock.js';
export { type CheckpointAction, checkpointProcess, type ProcessState, processState } from './process.js';
export { openRing, type Ring } from './ring.js';
