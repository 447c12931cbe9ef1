/**
 * What a checkpoint looks at, and what of it has changed. Both are found out while the application is held, so this is flat arrays: a byte for each chunk
 * says why it is looked at, a list of numbers which ones have another name than in the parent.
 *
 * Where the device computes names, everything on it is looked at: an increment then holds every chunk that has changed, whatever a template said.
 */
import { CHUNK_BYTES, NAME_BYTES, ORIGINS } from '../checkpoint/index.js';
import type { Chain, LastCheckpoint, NameTable } from './chain.js';
import { type DirtyMark, markDirty } from './dirty.js';
import { checkCancelled } from './errors.js';
import { LaunchStatistics } from './launch-statistics.js';
import { MemoryLayout } from './layout.js';
import { differing } from './names.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { progressOf } from './transfer.js';

/** `all`: every chunk is looked at; `device`: those whose names a device computes; `none`: only what may have changed. */
export type Verify = 'all' | 'device' | 'none';

/** In place of an origin: the parent does not have it, so it is saved whoever wrote it. */
const NEW = 255;
const CLEAN = 0;
/** Chunks that are named as one where it takes long, so that progress is told. */
const NAMED_AT_ONCE = 4096;

export interface Plan {
  readonly kind: 'full' | 'increment';
  readonly parent: LastCheckpoint | undefined;
  readonly fullBecause: string | undefined;
  readonly layout: MemoryLayout;
  /** For each chunk the position of its origin in `ORIGINS`; 0 where nothing is thought to have written it. */
  readonly origins: Uint8Array;
  readonly verify: Verify;
  /** The moment it is of. */
  readonly mark: DirtyMark;
  /** Launches since the last plan, of whichever chain. */
  readonly counted: LaunchStatistics;
}

/** What has changed. */
export interface Delta {
  readonly table: NameTable;
  /** Ascending numbers of chunks that the parent does not have so. */
  readonly changed: Uint32Array;
}

export function makePlan(
  process: SupervisedProcess,
  chain: Chain,
  fullBecause: string | undefined,
  verify: Verify,
): Plan {
  const { bridge } = process;
  const parent = fullBecause === undefined ? chain.last : undefined;
  const mark = bridge.dirty.mark();
  const dirty = parent && bridge.dirty.since(parent.mark);
  const counted = bridge.statistics;
  bridge.statistics = new LaunchStatistics();
  const layout = new MemoryLayout(process, bridge.allocations.values());
  const origins = new Uint8Array(layout.chunks);
  for (const { live, first, count } of layout.parts) {
    const own = origins.subarray(first, first + count);
    // What appeared since is not in the parent, so all of it is needed.
    if (!dirty || !parent.names.of(live.number, live.size)) own.fill(NEW);
    // The host may have changed managed memory without anybody's seeing it.
    else if (live.kind === 'managed') own.fill(ORIGINS.indexOf('unknown'));
    else markDirty(own, live.address, live.size, dirty);
  }
  return { kind: parent ? 'increment' : 'full', parent, fullBecause, layout, origins, verify, mark, counted };
}

/** Ascending numbers of the chunks that something may have written, and of all from `all` on. */
function chunksWhere(origins: Uint8Array, all: number): Uint32Array {
  const list = new Uint32Array(origins.length);
  let count = 0;
  for (let chunk = 0; chunk < all; chunk++) if (origins[chunk] !== CLEAN) list[count++] = chunk;
  for (let chunk = all; chunk < origins.length; chunk++) list[count++] = chunk;
  return list.subarray(0, count);
}

export function everyChunk({ chunks }: Pick<MemoryLayout, 'chunks'>): Uint32Array {
  const list = new Uint32Array(chunks);
  for (let chunk = 0; chunk < chunks; chunk++) list[chunk] = chunk;
  return list;
}

/** Names what is looked at, and compares it with the parent. Only while the application is held. */
export async function findDelta(process: SupervisedProcess, plan: Plan, context: OperationContext): Promise<Delta> {
  const { layout, origins, verify, parent } = plan;
  // From here on everything is looked at, before only what may have changed.
  const all = verify === 'all' ? 0 : verify === 'device' ? layout.recorderChunks : layout.chunks;
  const looked = all === 0 || !parent ? undefined : chunksWhere(origins, all);
  const fresh = await namesOf(process, layout, looked, context);
  if (!parent) return { table: layout.tableOf(fresh), changed: everyChunk(layout) };
  const names = !looked || looked.length === layout.chunks ? fresh : mergedNames(layout, parent.names, looked, fresh);
  const changed = new Uint32Array(layout.chunks);
  let count = 0;
  for (const { live, first, count: chunks } of layout.parts) {
    const before = parent.names.of(live.number, live.size);
    if (before) {
      const own = names.subarray(NAME_BYTES * first, NAME_BYTES * (first + chunks));
      count = differing(own, before, first, changed, count);
    } else for (let chunk = first; chunk < first + chunks; chunk++) changed[count++] = chunk;
  }
  return { table: layout.tableOf(names), changed: changed.slice(0, count) };
}

/** Names of chunks, of all when there is no list, 16 bytes each. Only while the application is held. */
export async function namesOf(
  process: SupervisedProcess,
  layout: MemoryLayout,
  list: Uint32Array | undefined,
  { report, signal }: OperationContext,
): Promise<Uint8Array> {
  const { custody } = process;
  const atOnce = custody.namesOnDevice ? layout.chunks : NAMED_AT_ONCE;
  if (!list && layout.chunks <= atOnce) return custody.names(layout.allRanges());
  const looked = list ?? everyChunk(layout);
  if (looked.length <= atOnce) return custody.names(layout.ranges(looked));
  const names = new Uint8Array(NAME_BYTES * looked.length);
  const told = progressOf(report, 'compare', looked.length * CHUNK_BYTES);
  for (let from = 0; from < looked.length; from += atOnce) {
    checkCancelled(signal);
    const to = Math.min(looked.length, from + atOnce);
    names.set(await custody.names(layout.ranges(looked, from, to)), NAME_BYTES * from);
    told((to - from) * CHUNK_BYTES);
  }
  return names;
}

/** The parent's names, with those of the chunks that were looked at in their places. */
function mergedNames(layout: MemoryLayout, before: NameTable, looked: Uint32Array, fresh: Uint8Array): Uint8Array {
  const names = new Uint8Array(NAME_BYTES * layout.chunks);
  for (const { live, first } of layout.parts) {
    const known = before.of(live.number, live.size);
    if (known) names.set(known, NAME_BYTES * first);
  }
  layout.eachRun(looked, 0, looked.length, (_, chunk, count, at) =>
    names.set(fresh.subarray(NAME_BYTES * at, NAME_BYTES * (at + count)), NAME_BYTES * chunk),
  );
  return names;
}

/** The chunks that something may have written: how many, and their bytes. */
export function dirtyOf({ layout, origins }: Plan): { readonly chunks: number; readonly bytes: number } {
  const list = chunksWhere(origins, layout.chunks);
  return { chunks: list.length, bytes: layout.bytesOf(list) };
}

/** The origins of chunks as checkpoints have them. */
export function storedOrigins({ origins }: Plan, list: Uint32Array): Uint8Array {
  const own = new Uint8Array(list.length);
  for (let i = 0; i < list.length; i++) {
    const origin = origins[list[i]!]!;
    own[i] = origin === NEW ? 0 : origin;
  }
  return own;
}

/** Chunks that changed though nothing was thought to write them. */
export function missedOf({ origins }: Plan, { changed }: Delta): Uint32Array {
  return changed.filter((chunk) => origins[chunk] === CLEAN);
}
