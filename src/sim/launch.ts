/** What a launch is, what it may be told, and what it tells. */
import type { DeviceMemory, OutOfRange } from './memory.js';

export type Extent = readonly [number, number, number];

export interface Launch {
  /** Blocks in x, y, z. */
  readonly grid: Extent;
  /** Threads of a block in x, y, z. */
  readonly block: Extent;
  /** Blocks of a cluster; absent: one. */
  readonly cluster?: Extent;
  /** Bytes of dynamic shared memory; absent: none. */
  readonly sharedMemory?: number;
  /** The parameter block. */
  readonly parameters: Uint8Array;
  readonly memory: DeviceMemory;
  /** Where module variables are, by name. */
  readonly symbols?: ReadonlyMap<string, bigint>;
  /** Instructions of all threads together before the launch is given up (GCR6004); absent: 4·10^9. */
  readonly maxSteps?: number;
  /**
   * Accesses where nothing is mapped: `refuse` (default) throws GCR6001; `ignore` reads noise and drops what is written,
   * after recording it.
   */
  readonly outOfRange?: OutOfRange;
  /** Values that nothing determines: `noise` (default) from `seed`, or `refuse` (GCR6003). */
  readonly undetermined?: 'noise' | 'refuse';
  readonly seed?: number;
}

export interface LaunchStatistics {
  /** Instructions executed by all threads together. */
  readonly instructions: number;
  readonly threads: number;
}

/** What generated code reads of a launch; `steps` is what it counts. */
export interface LaunchState {
  readonly grid: Extent;
  readonly block: Extent;
  readonly cluster: Extent;
  readonly parameters: DataView;
  /** Low and high words of the addresses of the program's objects. */
  readonly objects: Int32Array;
  readonly dynamicShared: number;
  readonly totalShared: number;
  steps: number;
}
