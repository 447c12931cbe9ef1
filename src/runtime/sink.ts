/** Where a checkpoint goes: a store (store-sink.ts) or host memory (image-sink.ts). The steps of one, in the order of checkpoint.ts. */
import type { KernelInfo, Manifest } from '../checkpoint/index.js';
import type { LaunchStatistics } from './launch-statistics.js';
import type { Delta, Plan } from './plan.js';

/** What is told of a checkpoint, wherever it is kept. */
export type Saved = Pick<
  Manifest,
  'id' | 'created' | 'parent' | 'kind' | 'allocations' | 'chunks' | 'origins' | 'launches' | 'note'
> & { readonly kernels: readonly KernelInfo[] };

export interface Sink {
  /**
   * Held; what has changed is known, nothing is copied.
   *
   * @param statistics launches since the parent; asked for late, because adding them up takes time
   */
  begin(plan: Plan, delta: Delta, statistics: () => LaunchStatistics): Promise<void>;
  /** Held: memory that only the recorder reaches. */
  copyFromRecorder(): Promise<void>;
  /** Held: all the rest. When it resolves the memory may change. */
  copyFromDevices(): Promise<void>;
  /** The application may have gone on. */
  write(): Promise<void>;
  /** Makes the checkpoint exist. */
  commit(): Promise<Saved>;
  /** At any time, also after the commit: waits for what is under way, and lets go what is not needed any more. Never fails. */
  close(): Promise<void>;
}
