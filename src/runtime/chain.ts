/**
 * What is remembered of the last checkpoint of each target, so that the next one can be an increment of it: the moment it is of, and the names of all
 * chunks. The store and host memory are separate chains, each with its own parent; what one saved says nothing of the other.
 */
import { NAME_BYTES } from '../checkpoint/index.js';
import type { DirtyMark } from './dirty.js';
import { LaunchStatistics } from './launch-statistics.js';

/** Where a checkpoint is kept. */
export const TARGETS = ['store', 'memory'] as const;
export type Target = (typeof TARGETS)[number];

/** Where an allocation's chunks are in a table. */
export interface TablePlace {
  readonly first: number;
  readonly count: number;
  /** Bytes. */
  readonly size: number;
}

/** Names of all chunks of several allocations, one behind the other. Never changed once it is made. */
export class NameTable {
  /** @param places by allocation number */
  constructor(
    readonly names: Uint8Array,
    readonly places: ReadonlyMap<number, TablePlace>,
  ) {}

  /** The names of an allocation, if it is there with this size. */
  of(number: number, size: number): Uint8Array | undefined {
    const place = this.places.get(number);
    if (place?.size !== size) return undefined;
    return this.names.subarray(NAME_BYTES * place.first, NAME_BYTES * (place.first + place.count));
  }
}

export interface LastCheckpoint {
  readonly id: string;
  readonly mark: DirtyMark;
  readonly names: NameTable;
}

export class Chain {
  last: LastCheckpoint | undefined;
  /** Launches since then, but for those that are still being counted. */
  statistics = new LaunchStatistics();
}

export type Chains = Readonly<Record<Target, Chain>>;

/** Hands launches that were counted to both chains. */
export function shareStatistics({ store, memory }: Chains, counted: LaunchStatistics): void {
  store.statistics.merge(counted);
  memory.statistics.merge(counted);
}
