/** What changed between two checkpoints, by allocation: names of chunks are compared, no content is read. */
import type { Contents } from './chain.js';
import { sameName } from './map.js';
import { type Allocation, CHUNK_BYTES, chunksOf, lastLengthOf, NAME_BYTES } from './types.js';

export interface AllocationDiff {
  /** As in the second checkpoint; as in the first when it is gone. */
  readonly allocation: Allocation;
  /** `resized`: same id, other size; all of it counts as changed. */
  readonly change: 'same' | 'changed' | 'added' | 'removed' | 'resized';
  /** Runs of chunks that differ: the first, and how many. */
  readonly ranges: readonly (readonly [from: number, count: number])[];
  readonly changedChunks: number;
  readonly changedBytes: number;
}

export interface Diff {
  readonly allocations: readonly AllocationDiff[];
  readonly changedChunks: number;
  readonly changedBytes: number;
}

function whole(allocation: Allocation, change: AllocationDiff['change']): AllocationDiff {
  const chunks = chunksOf(allocation.size);
  return { allocation, change, ranges: [[0, chunks]], changedChunks: chunks, changedBytes: allocation.size };
}

function compare(allocation: Allocation, before: Uint8Array, after: Uint8Array): AllocationDiff {
  const ranges: [number, number][] = [];
  let changedChunks = 0;
  const count = chunksOf(allocation.size);
  for (let chunk = 0; chunk < count; chunk++) {
    if (sameName(before, NAME_BYTES * chunk, after, NAME_BYTES * chunk)) continue;
    changedChunks++;
    const last = ranges.at(-1);
    if (last && last[0] + last[1] === chunk) last[1]++;
    else ranges.push([chunk, 1]);
  }
  const last = ranges.at(-1);
  const short = last && last[0] + last[1] === count ? CHUNK_BYTES - lastLengthOf(allocation.size) : 0;
  const change = changedChunks === 0 ? 'same' : 'changed';
  return { allocation, change, ranges, changedChunks, changedBytes: changedChunks * CHUNK_BYTES - short };
}

/** @returns allocations ascending by id; a removed one counts nothing in the sums */
export function diffContents(a: Contents, b: Contents): Diff {
  const allocations: AllocationDiff[] = [];
  for (const { allocation } of a.values()) if (!b.has(allocation.id)) allocations.push(whole(allocation, 'removed'));
  for (const { allocation, names } of b.values()) {
    const before = a.get(allocation.id);
    if (!before) allocations.push(whole(allocation, 'added'));
    else if (before.allocation.size !== allocation.size) allocations.push(whole(allocation, 'resized'));
    else allocations.push(compare(allocation, before.names, names));
  }
  allocations.sort((x, y) => (x.allocation.id < y.allocation.id ? -1 : 1));
  const there = allocations.filter(({ change }) => change !== 'removed');
  return {
    allocations,
    changedChunks: there.reduce((sum, { changedChunks }) => sum + changedChunks, 0),
    changedBytes: there.reduce((sum, { changedBytes }) => sum + changedBytes, 0),
  };
}
