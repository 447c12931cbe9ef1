/**
 * Looks at many checkpoints at once, each map once: is every one of them whole, as far as can be said without reading
 * chunks? `verify` reports what is found; `prune` must know before it deletes anything.
 *
 * A checkpoint is sound when its map is what the manifest says, every chunk that the map lists is there with its length, and, unless
 * the map is complete, its parent is sound and has the same allocations. Parents come before children: depths fall strictly.
 */
import type { Backend, ChunkReader } from '../native/index.js';
import { readMap } from './chain.js';
import { damaged, StoreError } from './errors.js';
import { bySequence, manifestFile } from './manifest.js';
import type { AllocationMap } from './map.js';
import { missingError } from './restore.js';
import { CHUNK_BYTES, chunksOf, lastLengthOf, type Manifest, NAME_BYTES, type Problem } from './types.js';

/** Chunks that are read as one. */
const BATCH = 64;

export interface Inspected {
  readonly manifest: Manifest;
  /** What is wrong with its own files. */
  readonly problems: readonly Problem[];
  /** Whether it can be restored: nothing is wrong with it or with what it is an increment of. */
  readonly sound: boolean;
}

type Sizes = ReadonlyMap<bigint, number>;

/**
 * Expects `checkpoints` to hold the parents of increments, too; one that is not there is a problem. With `readData` every chunk
 * that a map lists is read, too.
 */
export async function* inspect(
  backend: Backend,
  reader: ChunkReader,
  checkpoints: readonly Manifest[],
  readData = false,
): AsyncGenerator<Inspected, void, undefined> {
  const ordered = [...checkpoints].sort((a, b) => a.map.depth - b.map.depth || bySequence(a, b));
  const byId = new Map(ordered.map((manifest) => [manifest.id, manifest]));
  /** How many increments still have to be compared with a checkpoint's sizes. */
  const waiting = new Map<string, number>();
  for (const { map, parent } of ordered) if (!map.complete) waiting.set(parent!, (waiting.get(parent!) ?? 0) + 1);
  /** Of those that others wait for; `undefined` where a checkpoint is not sound. */
  const sizes = new Map<string, Sizes | undefined>();
  for (const manifest of ordered) {
    const { id, map, parent } = manifest;
    const problems: Problem[] = [];
    let sound = true;
    let own: Sizes | undefined;
    try {
      const lists = await readMap(backend, manifest);
      if (!map.complete) {
        const above = byId.get(parent!);
        if (!above)
          throw damaged(backend.place, manifestFile(parent!), `is missing; checkpoint ${id} is an increment of it`);
        if (above.map.depth >= map.depth)
          throw damaged(backend.place, manifestFile(id), `depth is not larger than that of its parent ${parent}`);
        const before = sizes.get(parent!);
        if (before) compareSizes(backend.place, id, lists, before);
        else sound = false;
      }
      await demandListed(backend, reader, manifest, lists);
      if (readData) await readListed(reader, lists);
      own = new Map(lists.lists.map(({ allocation }) => [allocation.id, allocation.size]));
    } catch (error) {
      if (!(error instanceof StoreError) || error.kind === 'io') throw error;
      problems.push(error.problem());
    }
    sound &&= problems.length === 0;
    if (waiting.has(id)) sizes.set(id, sound ? own : undefined);
    if (!map.complete) {
      const left = waiting.get(parent!)! - 1;
      waiting.set(parent!, left);
      if (left === 0) sizes.delete(parent!);
    }
    yield { manifest, problems, sound };
  }
}

function compareSizes(place: string, id: string, map: AllocationMap, before: Sizes): void {
  for (const { allocation, complete } of map.lists) {
    if (complete || before.get(allocation.id) === allocation.size) continue;
    const message = `allocation ${allocation.id} is an increment, but its parent has none of this size`;
    throw damaged(place, manifestFile(id), message);
  }
}

/** Reads every chunk that a map lists; a damaged one is an error that names its pack. */
async function readListed(reader: ChunkReader, map: AllocationMap): Promise<void> {
  const target = new Uint8Array(BATCH * CHUNK_BYTES);
  for (const { allocation, chunks, names } of map.lists) {
    const last = chunksOf(allocation.size) - 1;
    for (let from = 0; from < chunks.length; from += BATCH) {
      const to = Math.min(chunks.length, from + BATCH);
      const short = chunks[to - 1] === last ? CHUNK_BYTES - lastLengthOf(allocation.size) : 0;
      const bytes = target.subarray(0, (to - from) * CHUNK_BYTES - short);
      await reader.read(names.subarray(NAME_BYTES * from, NAME_BYTES * to), bytes);
    }
  }
}

/** @throws StoreError GCR7012 when a chunk that the map lists is not there */
async function demandListed(
  backend: Backend,
  reader: ChunkReader,
  manifest: Manifest,
  map: AllocationMap,
): Promise<void> {
  let count = 0;
  let first: Parameters<typeof missingError>[2] | undefined;
  for (const { allocation, chunks, names } of map.lists) {
    if (chunks.length === 0) continue;
    const listsEnd = chunks.at(-1) === chunksOf(allocation.size) - 1;
    const present = await reader.has(names, listsEnd ? lastLengthOf(allocation.size) : CHUNK_BYTES);
    for (let at = present.indexOf(0); at >= 0; at = present.indexOf(0, at + 1)) {
      count++;
      first ??= { allocation, chunk: chunks[at]! };
    }
  }
  if (first) throw missingError(backend.place, manifest.id, first, count);
}
