/**
 * What a checkpoint is made of, in the words of docs/formats/store.md. Sizes and counts are in bytes and chunks; ids and
 * addresses of allocations are 64-bit, so `bigint`.
 */

/** Device memory is cut into chunks of this many bytes, counted from an allocation's start. */
export const CHUNK_BYTES = 65_536;
/** Bytes of a chunk's name; sixteen zero bytes name a chunk of zeros, which is not stored. */
export const NAME_BYTES = 16;
/** The largest allocation: chunk numbers have 32 bits. */
export const MAX_ALLOCATION_BYTES = 2 ** 48;

/** Kinds of allocations; the position is the number in a map. */
export const ALLOCATION_KINDS = ['device', 'variable', 'host'] as const;
export type AllocationKind = (typeof ALLOCATION_KINDS)[number];

/** Why a chunk was looked at: the verdict of the launch that dirtied it, a copy, or not said. The position is the number in a map. */
export const ORIGINS = ['none', 'exact', 'bounded', 'allocation', 'unknown', 'copy', 'contract'] as const;
export type Origin = (typeof ORIGINS)[number];

/** Verdicts of launches, the most certain first; `contract`: what the documentation of the library that made it says. */
export const LAUNCH_VERDICTS = ['exact', 'bounded', 'allocation', 'contract', 'unknown'] as const;
export type LaunchVerdict = (typeof LAUNCH_VERDICTS)[number];

/** A piece of memory that is saved and restored as one. */
export interface Allocation {
  /** The same in every checkpoint in which it is the same allocation; not used again after a free. */
  readonly id: bigint;
  readonly address: bigint;
  /** In bytes, 1 to 2^48. */
  readonly size: number;
  readonly kind: AllocationKind;
  /** For people; may be empty. */
  readonly label: string;
}

/** The number of chunks of an allocation of `size` bytes. */
export const chunksOf = (size: number): number => Math.ceil(size / CHUNK_BYTES);

/** The length of the last chunk of an allocation of `size` bytes. */
export const lastLengthOf = (size: number): number => size - (chunksOf(size) - 1) * CHUNK_BYTES;

/** The device that memory was saved from. */
export interface DeviceInfo {
  readonly name: string;
  readonly uuid: string;
  readonly driver: string;
  readonly memoryBytes: number;
}

/** The process that memory was saved from. */
export interface ProcessInfo {
  readonly pid: number;
  readonly command: readonly string[];
  readonly host: string;
}

/** Launches of one kernel since the parent, and why they are not more certain. */
export interface KernelInfo {
  readonly name: string;
  readonly verdict: LaunchVerdict;
  readonly launches: number;
  readonly bytes: number;
  readonly reason: string;
}

/** The host's side of a durable checkpoint: what CRIU wrote, and what must be as it was for the process to be brought back. */
export interface ProcessImage {
  /** Name of its folder in `images/`. */
  readonly folder: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly sha256: string }[];
  /** `sha256` is of the digests of a file's pieces, each so long but the last; absent: of all its bytes, as before there were pieces. */
  readonly pieceBytes?: number;
  /** Version of CRIU. */
  readonly criu: string;
  /** Release of the kernel, and the machine's architecture. */
  readonly kernel: string;
  readonly machine: string;
  /** Version of the device's kernel module; null where there is none (simulated device). */
  readonly module: string | null;
  /** The first process of the tree; the one that uses the device is the manifest's `process`. */
  readonly root: number;
  /** Numbers of all processes and threads, which must be free. */
  readonly numbers: readonly number[];
  /** What the first process has as standard input, output and error, as links of `/proc` say it. */
  readonly stdio: readonly string[];
  /** What the process was started with: sockets of supervisor and simulated device, path of the driver. */
  readonly socket: string;
  readonly driver: string | null;
  readonly simulatedDevice: string | null;
}

/** A manifest without `format`, `version` and `check`. Its members are explained in docs/formats/store.md. */
export interface Manifest {
  readonly id: string;
  readonly sequence: number;
  readonly created: string;
  readonly parent: string | null;
  readonly kind: 'full' | 'increment';
  readonly map: { readonly hash: string; readonly bytes: number; readonly complete: boolean; readonly depth: number };
  readonly allocations: { readonly count: number; readonly bytes: number };
  readonly chunks: {
    readonly listed: number;
    readonly changed: number;
    readonly zero: number;
    readonly stored: number;
    readonly storedBytes: number;
  };
  readonly origins: Readonly<Record<Origin, number>>;
  readonly device: DeviceInfo | null;
  readonly process: ProcessInfo | null;
  readonly templates: readonly string[];
  readonly launches: Readonly<Record<LaunchVerdict, number>> | null;
  readonly kernels: readonly KernelInfo[];
  readonly note?: string;
  /** Of a durable checkpoint. */
  readonly image?: ProcessImage;
}

/** Something wrong with a store: which file, what, and what to do about it. */
export interface Problem {
  readonly file: string;
  readonly message: string;
  readonly remedy: string;
}

/** The engine's way to tell progress, from ours. */
export const byteProgress = (onProgress: OnProgress | undefined) =>
  onProgress && { onProgress: ({ bytes, total }: { bytes: number; total: number }) => onProgress(bytes, total) };

/** Called now and then with the bytes that are done, and those to do. */
export type OnProgress = (done: number, total: number) => void;
