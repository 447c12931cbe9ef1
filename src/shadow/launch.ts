/** What a launch hands to the device: all that shadow execution may know of it besides the memory's history. */

/** One kernel launch. */
export interface LaunchRecord {
  readonly kernel: string;
  /** Blocks in x, y, z. */
  readonly grid: readonly [number, number, number];
  /** Threads of a block in x, y, z. */
  readonly block: readonly [number, number, number];
  /** Blocks of a cluster; when absent what the kernel requires (`.reqnctapercluster`), else `[1, 1, 1]`. */
  readonly cluster?: readonly [number, number, number];
  /** Bytes of dynamic shared memory. */
  readonly sharedMemory?: number;
  /** The parameter block, as the driver gets it. */
  readonly parameters: Uint8Array;
}
