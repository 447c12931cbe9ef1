/**
 * Loads the addon. It is built apart from the rest (`npm run build:native`) because only the store and the runtime need it: the
 * analysis must work where there is no compiler. So it is loaded at the first use, and its absence is a user's error with a
 * remedy. The types here are what `native/addon` exports; `index.ts` is what everybody else uses.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InputError } from '../diagnostics/index.js';

export interface NativeLock {
  release(): void;
}

export interface NativeWriter {
  write(bytes: Uint8Array): Promise<Uint8Array>;
  writeNamed(slots: Uint8Array, names: Uint8Array, lengths: Uint32Array): Promise<void>;
  finish(): Promise<{ chunks: number; storedChunks: number; storedBytes: number; packs: number }>;
  abort(): Promise<void>;
}

export interface NativeReader {
  read(names: Uint8Array, target: Uint8Array): Promise<void>;
  has(names: Uint8Array, lastLength: number): Promise<Uint8Array>;
  close(): void;
}

export interface NativeCancellation {
  cancel(): void;
}

export type NativeProgress = ((done: number, total: number) => void) | undefined;

export interface NativeBackend {
  place(): string;
  get(name: string, limit: number): Promise<Uint8Array>;
  put(name: string, bytes: Uint8Array, mode: 'replace' | 'create'): Promise<void>;
  list(folder: string): Promise<string[]>;
  stat(name: string): Promise<{ bytes: number; modified: number } | undefined>;
  remove(name: string): Promise<void>;
  lock(mode: 'shared' | 'exclusive', timeoutMs: number): Promise<NativeLock>;
  /** Zero threads or bytes take the default. */
  writer(threads: number, packBytes: number): NativeWriter;
  reader(threads: number): NativeReader;
  compact(
    live: Uint8Array,
    minimumLiveShare: number,
    dryRun: boolean,
    progress: NativeProgress,
    cancellation: NativeCancellation,
  ): Promise<{
    packsRemoved: number;
    packsWritten: number;
    bytesFreed: number;
    bytesMoved: number;
    chunksLive: number;
  }>;
  check(
    readData: boolean,
    progress: NativeProgress,
    cancellation: NativeCancellation,
  ): Promise<{ file: string; message: string; remedy: string; harmless: boolean }[]>;
  rebuildIndex(): Promise<{ packs: number; chunks: number }>;
  close(): void;
}

export interface NativeConnection {
  readonly peer: { readonly pid: number; readonly uid: number };
  send(packet: Uint8Array, fds: readonly number[]): void;
  receive(onMessage: (packet: Buffer, fds: number[]) => void, onEnd: (reason: string) => void): void;
  close(): void;
}
type NativeConnectionClass = new (made: never) => NativeConnection;

export interface NativeRing {
  readonly position: bigint;
  readonly hasEvent: boolean;
  drain(maxBytes: number): Buffer;
  sleep(): boolean;
  awake(): void;
  close(): void;
}

export interface NativeMemory {
  /** What spans name it by; no other memory of this process ever has it. */
  readonly number: number;
  read(offset: number, target: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  close(): void;
}

export interface NativeHostArena {
  readonly slots: number;
  readonly pinned: boolean;
  readonly unpinnedBecause: string | undefined;
  segment(number: number): ArrayBuffer;
  grow(bytes: number, device: NativeDevice | undefined, progress: NativeProgress): Promise<void>;
  close(): Promise<void>;
}

/** Spans are three numbers each: the memory's number, offset and bytes. */
export interface NativeDevice {
  readonly namesOnDevice: boolean;
  importMemory(fd: number, bytes: number): Promise<NativeMemory>;
  createMemory(bytes: number): Promise<{ readonly memory: NativeMemory; readonly fd: number }>;
  names(spans: Float64Array): Promise<Uint8Array>;
  save(spans: Float64Array, arena: NativeHostArena, slots: Uint32Array): Promise<void>;
  load(spans: Float64Array, arena: NativeHostArena, slots: Uint32Array): Promise<void>;
}

export interface Addon {
  openDevice(driver: string, uuid: Uint8Array): Promise<NativeDevice>;
  readonly NativeHostArena: new () => NativeHostArena;
  processCheckpoint(driver: string, pid: number, action: number, timeoutMs: number): Promise<void>;
  processState(driver: string, pid: number): Promise<number>;
  freeMemory(driver: string, uuid: Uint8Array): Promise<number>;
  readonly NativeConnection: NativeConnectionClass;
  readonly NativeRing: new (ring: number, wake: number, onWake: () => void) => NativeRing;
  listenChannel(made: NativeConnectionClass, path: string, onConnection: (made: NativeConnection) => void): () => void;
  connectChannel(made: NativeConnectionClass, path: string): NativeConnection;
  peerCredentials(fd: number): { pid: number; uid: number };
  closeFd(fd: number): void;
  tryExclusiveLock(fd: number): boolean;
  mapFd(fd: number, offset: number, size: number): [buffer: ArrayBuffer, unmap: () => void];
  readonly NativeBackend: new (kind: 'directory' | 'mem', where: string, create: boolean) => NativeBackend;
  readonly NativeCancellation: new () => NativeCancellation;
  hashChunks(bytes: Uint8Array): Uint8Array;
  chunkHash(bytes: Uint8Array): Uint8Array;
  treeHash(bytes: Uint8Array): Uint8Array;
}

/** `build/native` of the package: two folders above `dist/native`. */
const ADDON = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'build', 'native', 'gcr_native.node');
let loaded: Addon | undefined;

/** The addon. Throws {@link InputError} GCR7001 when it is not built, GCR7002 when it cannot be loaded. */
export function addon(): Addon {
  if (loaded) return loaded;
  if (!existsSync(ADDON)) {
    throw new InputError({
      code: 'GCR7001',
      severity: 'error',
      message: 'the native part is not built',
      hint: 'run `npm run build:native` in the package; it needs cmake 3.20, a C++20 compiler and the headers of Node',
    });
  }
  try {
    loaded = createRequire(import.meta.url)(ADDON) as Addon;
  } catch (error) {
    throw new InputError({
      code: 'GCR7002',
      severity: 'error',
      message: `the native part cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
      hint: 'build it on this machine with this Node: remove build/native and run `npm run build:native`',
    });
  }
  return loaded;
}
