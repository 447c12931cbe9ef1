/**
 * From a checkpoint to the names of all its chunks. The chain (the checkpoint, its parent, … up to the first complete map)
 * is walked by manifests first, which are small; maps are then applied from the oldest on, one in memory at a time. Depths
 * fall strictly on the way, so a cycle is found at once. What this file returns was checked against manifests, maps and
 * the chain; that chunks are there is asked where they are needed (restore.ts, verify.ts).
 */

import type { Backend } from '../native/index.js';
import { treeHash } from '../native/index.js';
import { hex } from './checked-json.js';
import { damaged, StoreError } from './errors.js';
import { decodeManifest, MAX_MANIFEST_BYTES, manifestFile, mapFile } from './manifest.js';
import { type AllocationMap, countZero, decodeMap } from './map.js';
import { type Allocation, chunksOf, type Manifest, NAME_BYTES } from './types.js';

/** An allocation with the names of all its chunks, 16 bytes each. */
export interface NamedAllocation {
  readonly allocation: Allocation;
  readonly names: Uint8Array;
}

/** All allocations of a checkpoint by id, ascending. */
export type Contents = ReadonlyMap<bigint, NamedAllocation>;

/** @throws StoreError GCR7012 (kind `not-found` when there is none) */
export async function readManifest(backend: Backend, id: string): Promise<Manifest> {
  const file = manifestFile(id);
  return decodeManifest(await backend.get(file, MAX_MANIFEST_BYTES), backend.place, file, id);
}

/** Whether a map is what its manifest says of it. */
export function checkMap(manifest: Manifest, map: AllocationMap, place: string, file: string): void {
  const bytes = map.lists.reduce((sum, { allocation }) => sum + allocation.size, 0);
  const listed = map.lists.reduce((sum, { chunks }) => sum + chunks.length, 0);
  const zero = map.lists.reduce((sum, { names }) => sum + countZero(names), 0);
  const { allocations, chunks } = manifest;
  const fits =
    map.complete === manifest.map.complete &&
    map.lists.length === allocations.count &&
    bytes === allocations.bytes &&
    listed === chunks.listed &&
    zero === chunks.zero;
  if (!fits) throw damaged(place, file, `differs from what the manifest of checkpoint ${manifest.id} says`);
}

/** The map of a checkpoint, its hash checked before it is looked into. */
export async function readMap(backend: Backend, manifest: Manifest): Promise<AllocationMap> {
  const file = mapFile(manifest.map.hash);
  const stat = await backend.stat(file);
  if (!stat) throw damaged(backend.place, file, `is missing; checkpoint ${manifest.id} needs it`);
  if (stat.bytes !== manifest.map.bytes)
    throw damaged(backend.place, file, `has ${stat.bytes} bytes instead of ${manifest.map.bytes}`);
  const bytes = await backend.get(file, manifest.map.bytes);
  if (hex(treeHash(bytes)) !== manifest.map.hash)
    throw damaged(backend.place, file, 'was changed: its hash does not fit');
  const map = decodeMap(bytes, backend.place, file);
  checkMap(manifest, map, backend.place, file);
  return map;
}

/** The manifests from a checkpoint to the nearest one with a complete map, newest first. */
export async function readChain(backend: Backend, manifest: Manifest): Promise<readonly Manifest[]> {
  const chain = [manifest];
  for (let last = manifest; !last.map.complete; ) {
    let parent: Manifest;
    try {
      parent = await readManifest(backend, last.parent!);
    } catch (error) {
      if (!(error instanceof StoreError && error.kind === 'not-found')) throw error;
      throw damaged(
        backend.place,
        manifestFile(last.parent!),
        `is missing; checkpoint ${last.id} is an increment of it`,
      );
    }
    if (parent.map.depth >= last.map.depth)
      throw damaged(backend.place, manifestFile(last.id), `depth is not larger than that of its parent ${parent.id}`);
    chain.push(parent);
    last = parent;
  }
  return chain;
}

/** What a checkpoint holds after its map, from what its parent holds. Names of the parent's are not changed in place. */
export function applyMap(parent: Contents, map: AllocationMap, place: string, file: string): Contents {
  const contents = new Map<bigint, NamedAllocation>();
  for (const { allocation, complete, chunks, names } of map.lists) {
    const before = parent.get(allocation.id);
    if (complete) {
      contents.set(allocation.id, { allocation, names });
      continue;
    }
    if (before?.allocation.size !== allocation.size)
      throw damaged(place, file, `allocation ${allocation.id} is an increment, but its parent has none of this size`);
    if (chunks.length === 0) {
      contents.set(allocation.id, { allocation, names: before.names });
      continue;
    }
    const merged = before.names.slice();
    for (let i = 0; i < chunks.length; i++)
      merged.set(names.subarray(NAME_BYTES * i, NAME_BYTES * (i + 1)), NAME_BYTES * chunks[i]!);
    contents.set(allocation.id, { allocation, names: merged });
  }
  return contents;
}

/** The allocations of a checkpoint and the names of all their chunks. */
export async function readContents(backend: Backend, chain: readonly Manifest[]): Promise<Contents> {
  let contents: Contents = new Map();
  for (const manifest of [...chain].reverse()) {
    contents = applyMap(contents, await readMap(backend, manifest), backend.place, mapFile(manifest.map.hash));
  }
  return contents;
}

/** A checkpoint with what it holds, and what its parent holds where there is one. */
export interface Step {
  readonly manifest: Manifest;
  readonly contents: Contents;
  readonly parent: Contents | undefined;
}

/** The contents of several checkpoints, one after the other; cheap where each is the parent of the next. */
export async function* walkContents(
  backend: Backend,
  manifests: readonly Manifest[],
): AsyncGenerator<Step, void, undefined> {
  let last: Step | undefined;
  for (const manifest of manifests) {
    const parent = await parentContents(backend, manifest, last);
    const contents =
      manifest.map.complete || parent === undefined
        ? await readContents(backend, await readChain(backend, manifest))
        : applyMap(parent, await readMap(backend, manifest), backend.place, mapFile(manifest.map.hash));
    last = { manifest, contents, parent };
    yield last;
  }
}

async function parentContents(backend: Backend, manifest: Manifest, last: Step | undefined) {
  if (manifest.parent === null) return undefined;
  if (last?.manifest.id === manifest.parent) return last.contents;
  // One with a complete map may name a parent that was never here.
  if (manifest.map.complete && (await backend.stat(manifestFile(manifest.parent))) === undefined) return undefined;
  return readContents(backend, await readChain(backend, await readManifest(backend, manifest.parent)));
}

/** The number of chunks of all allocations. */
export function totalChunks(allocations: Iterable<{ readonly allocation: Allocation }>): number {
  let total = 0;
  for (const { allocation } of allocations) total += chunksOf(allocation.size);
  return total;
}
