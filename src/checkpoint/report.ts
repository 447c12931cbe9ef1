/**
 * What the report page shows, computed from manifests and maps; no content is read. Work and memory follow the lists of the
 * checkpoints that are shown, one checkpoint's names at a time, and the result is bounded whatever the store holds.
 */
import type { Contents } from './chain.js';
import { diffContents } from './diff.js';
import { leastCertain } from './manifest.js';
import { renderPage } from './report-page.js';
import type { Store } from './store.js';
import { type Allocation, chunksOf, type KernelInfo, type Manifest, type OnProgress } from './types.js';

/** Checkpoints in the table, and those whose changes are drawn; the newest. */
const LISTED = 1000;
const DRAWN = 100;
/** Allocations that are drawn: those in which most changed. */
const ALLOCATIONS = 40;
/** Pieces that an allocation is divided into across the page. */
const BUCKETS = 160;
const KERNELS = 50;

/** How an allocation changed: one row for each drawn checkpoint. */
export interface AllocationHistory {
  readonly allocation: Allocation;
  /** Parts of the width, at most {@link BUCKETS}. */
  readonly buckets: number;
  /** The share of each bucket's chunks that changed, 0 to 1; `undefined` where the allocation was not there. */
  readonly rows: readonly (Float32Array | undefined)[];
  readonly changedBytes: number;
}

export interface ReportData {
  readonly place: string;
  /** The newest first. */
  readonly checkpoints: readonly Manifest[];
  /** All that the store has, and how many manifests of it cannot be read. */
  readonly total: number;
  readonly damaged: number;
  readonly storedBytes: number;
  /** The first of `checkpoints`, in the same order. */
  readonly drawn: readonly Manifest[];
  readonly histories: readonly AllocationHistory[];
  /** Allocations that are not drawn. */
  readonly omitted: number;
  readonly kernels: readonly KernelInfo[];
}

export interface ReportOptions {
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

interface Growing {
  allocation: Allocation;
  readonly rows: Map<number, Float32Array>;
  changedBytes: number;
}

/** The page for a store, and how many checkpoints it shows. */
export async function reportPage(
  store: Store,
  options: ReportOptions = {},
): Promise<{ page: string; checkpoints: number }> {
  const data = await collectReport(store, options);
  return { page: renderPage(data), checkpoints: data.checkpoints.length };
}

export async function collectReport(store: Store, { onProgress, signal }: ReportOptions): Promise<ReportData> {
  const { checkpoints: all, damaged } = await store.list();
  const checkpoints = all.slice(-LISTED).reverse();
  const drawn = checkpoints.slice(0, DRAWN);
  const growing = new Map<string, Growing>();
  let done = 0;
  // The oldest first, so that each parent was usually the one before.
  for await (const { manifest, contents, parent } of store.walk(drawn.toReversed())) {
    signal?.throwIfAborted();
    addRows(growing, contents, parent, drawn.indexOf(manifest));
    onProgress?.(++done, drawn.length);
  }
  const ordered = [...growing.values()].sort(
    (a, b) => b.changedBytes - a.changedBytes || (a.allocation.id < b.allocation.id ? -1 : 1),
  );
  return {
    place: store.place,
    checkpoints,
    total: all.length,
    damaged: damaged.length,
    storedBytes: all.reduce((sum, { chunks }) => sum + chunks.storedBytes, 0),
    drawn,
    histories: ordered.slice(0, ALLOCATIONS).map(({ allocation, rows, changedBytes }) => ({
      allocation,
      buckets: bucketsOf(allocation),
      rows: drawn.map((_, row) => rows.get(row)),
      changedBytes,
    })),
    omitted: Math.max(0, ordered.length - ALLOCATIONS),
    kernels: leastCertain(checkpoints.flatMap(({ kernels }) => kernels)).slice(0, KERNELS),
  };
}

const bucketsOf = ({ size }: Allocation): number => Math.min(BUCKETS, chunksOf(size));

/** Adds what one checkpoint changed. Without a parent everything is new. */
function addRows(growing: Map<string, Growing>, contents: Contents, parent: Contents | undefined, row: number): void {
  const { allocations } = diffContents(parent ?? new Map(), contents);
  for (const { allocation, change, ranges, changedBytes } of allocations) {
    if (change === 'removed') continue;
    // An allocation of another size is drawn by itself.
    const key = `${allocation.id}:${allocation.size}`;
    const entry = growing.get(key) ?? { allocation, rows: new Map<number, Float32Array>(), changedBytes: 0 };
    growing.set(key, entry);
    entry.allocation = allocation;
    entry.changedBytes += changedBytes;
    entry.rows.set(row, shares(ranges, chunksOf(allocation.size), bucketsOf(allocation)));
  }
}

function shares(ranges: readonly (readonly [number, number])[], chunks: number, buckets: number): Float32Array {
  const share = new Float32Array(buckets);
  const edge = (bucket: number) => Math.floor((bucket * chunks) / buckets);
  for (const [from, count] of ranges) {
    let bucket = Math.floor((from * buckets) / chunks);
    while (edge(bucket + 1) <= from) bucket++;
    for (; bucket < buckets && edge(bucket) < from + count; bucket++) {
      const [low, high] = [edge(bucket), edge(bucket + 1)];
      share[bucket]! += (Math.min(high, from + count) - Math.max(low, from)) / (high - low);
    }
  }
  return share;
}
