/** Threads, warps, blocks and clusters of a running launch. Generated code reads and writes the fields of a thread. */
import { plainRegion, type Region } from './memory.js';

/** `ready`: can go on. `spun`: can, and has used up its slice. The rest wait. */
export type ThreadState = 'ready' | 'spun' | 'warp' | 'barrier' | 'cluster' | 'done';

export const WARP_SIZE = 32;

export class Thread {
  state: ThreadState = 'ready';
  /** Site of what it waits for; -1 after a slice. */
  k = -1;
  /** Lanes that take part. */
  m = 0;
  /** Number of threads of a barrier; 0 for all. */
  count = 0;
  /** Words of the operands. */
  o: readonly number[] = [];
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  /** Number of values made from noise so far: each differs from the last. */
  noise = 0;
  /** Phase of the cluster barrier in which it arrived. */
  clusterPhase = 0;
  /** Bytes of local memory in use. */
  stack = 0;
  code: Iterator<undefined, undefined, undefined> | undefined;
  #local: Region | undefined;

  constructor(
    readonly cta: Cta,
    /** Number in the block. */
    readonly index: number,
    readonly x: number,
    readonly y: number,
    readonly z: number,
    readonly localBytes: number,
  ) {
    this.stack = localBytes;
  }

  get lane(): number {
    return this.index & (WARP_SIZE - 1);
  }

  /** Its local memory, made when it is first used. */
  get local(): Region {
    this.#local ??= plainRegion(new Uint8Array(this.localBytes));
    return this.#local;
  }

  /** Local memory of at least so many bytes, contents kept. */
  growLocal(bytes: number): void {
    const old = this.local.view;
    if (old.byteLength >= bytes) return;
    const larger = new Uint8Array(Math.max(bytes, 2 * old.byteLength));
    larger.set(new Uint8Array(old.buffer, old.byteOffset, old.byteLength));
    this.#local = plainRegion(larger);
  }
}

export interface Barrier {
  /** Threads that have arrived, waiting or not, in order. */
  readonly arrived: Thread[];
  count: number;
}

export class Cta {
  readonly threads: Thread[] = [];
  /** Threads by warp, in order of their lanes. */
  readonly warps: Thread[][] = [];
  readonly barriers = new Map<number, Barrier>();
  readonly shared: Region;
  live = 0;
  cluster!: Cluster;
  /** Rank in its cluster. */
  rank = 0;

  constructor(
    readonly x: number,
    readonly y: number,
    readonly z: number,
    /** Number in the grid. */
    readonly index: number,
    sharedBytes: number,
  ) {
    this.shared = plainRegion(new Uint8Array(sharedBytes));
  }
}

/** Blocks that run at the same time and see each other's shared memory; one block where there are no clusters. */
export class Cluster {
  phase = 0;
  arrived = 0;

  constructor(readonly ctas: readonly Cta[]) {
    for (const [rank, cta] of ctas.entries()) {
      cta.cluster = this;
      cta.rank = rank;
    }
  }

  get live(): number {
    return this.ctas.reduce((sum, cta) => sum + cta.live, 0);
  }
}
