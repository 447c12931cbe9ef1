/**
 * Deleting. Everything that can go wrong is found before anything is changed: which checkpoints stay, that they are sound, and the
 * maps of those whose parents go. Then, in this order, each step complete on disk before the next: merged maps, manifests
 * that name them, removal of manifests (increments before what they are increments of), packs and index, maps that nothing
 * names. So at any instant every manifest can be restored, and a crash leaves garbage that the next prune removes.
 */
import { type Backend, type CompactStatistics, treeHash } from '../native/index.js';
import { readCatalogue } from './catalogue.js';
import { readMap } from './chain.js';
import { hex } from './checked-json.js';
import { damaged } from './errors.js';
import { inspect } from './inspect.js';
import { type KeepRules, kept } from './keep-rules.js';
import { encodeManifest, leastCertain, manifestFile, mapFile } from './manifest.js';
import { type ChunkList, encodeMap } from './map.js';
import { NameSet } from './name-set.js';
import { removeStrayImages } from './process-image.js';
import { tally } from './session.js';
import { byteProgress, LAUNCH_VERDICTS, type Manifest, NAME_BYTES, type OnProgress } from './types.js';

export interface PruneOptions {
  readonly rules: KeepRules;
  /** Only say what would be done. */
  readonly dryRun?: boolean;
  /** Read every chunk, and give up checkpoints that cannot be restored; without it they are an error. */
  readonly dropDamaged?: boolean;
  readonly lockTimeoutMs?: number;
  readonly onProgress?: OnProgress;
  /** Looked at until the first change; from then on a prune ends by itself. */
  readonly signal?: AbortSignal;
}

export interface Pruned {
  readonly kept: readonly string[];
  readonly removed: readonly string[];
  /** Checkpoints that stay and got a merged map or another parent. */
  readonly rewritten: readonly string[];
  readonly packs: CompactStatistics;
}

/** A checkpoint that stays, as it will be. `map` is absent where only the manifest changes. */
interface Rewrite {
  readonly manifest: Manifest;
  readonly map?: Uint8Array;
}

/** @internal `Store.prune` */
export async function pruneBackend(backend: Backend, options: PruneOptions): Promise<Pruned> {
  const { rules, dryRun = false, signal } = options;
  const lock = await backend.lock(dryRun ? 'shared' : 'exclusive', options.lockTimeoutMs ?? 0);
  try {
    const { checkpoints, broken } = await assess(backend, options);
    const stay = kept(checkpoints, rules);
    const live = new NameSet();
    const rewrites: Rewrite[] = [];
    const byId = new Map(checkpoints.map((manifest) => [manifest.id, manifest]));
    const maps = new Set<string>();
    for (const manifest of checkpoints) {
      signal?.throwIfAborted();
      if (!stay.has(manifest.id)) continue;
      const { rewrite, lists } = await merge(backend, manifest, byId, stay);
      for (const { names } of lists) live.addAll(names);
      maps.add((rewrite?.manifest ?? manifest).map.hash);
      if (!rewrite) continue;
      rewrites.push(rewrite);
      // A map that nothing names yet: an interruption leaves the store as it was.
      if (rewrite.map && !dryRun) await backend.put(mapFile(rewrite.manifest.map.hash), rewrite.map, 'replace');
    }
    const going = checkpoints.filter(({ id }) => !stay.has(id)).map(({ id }) => id);
    signal?.throwIfAborted();
    if (!dryRun) {
      for (const { manifest } of rewrites)
        await backend.put(manifestFile(manifest.id), encodeManifest(manifest), 'replace');
      for (const id of [...broken, ...going.toReversed()]) await backend.remove(manifestFile(id));
    }
    const packs = await backend.compact(live.bytes(), {
      dryRun,
      ...byteProgress(options.onProgress),
    });
    if (!dryRun) {
      await removeMaps(backend, maps);
      await removeStrayImages(
        backend.place,
        checkpoints.filter(({ id }) => stay.has(id)),
      );
    }
    return {
      kept: checkpoints.filter(({ id }) => stay.has(id)).map(({ id }) => id),
      removed: [...going, ...broken],
      rewritten: rewrites.map(({ manifest }) => manifest.id),
      packs,
    };
  } finally {
    lock.release();
  }
}

/** The sound checkpoints; the others, children before parents, when they may be given up. */
async function assess(
  backend: Backend,
  { dropDamaged = false, signal }: PruneOptions,
): Promise<{ checkpoints: readonly Manifest[]; broken: readonly string[] }> {
  const { checkpoints, damaged: unreadable } = await readCatalogue(backend);
  const broken: string[] = [];
  const give = (file: string, message: string) => {
    if (!dropDamaged) throw damaged(backend.place, file, `${message}; nothing was deleted`);
  };
  for (const { id, file, message } of unreadable) {
    give(file, message);
    broken.push(id);
  }
  const unsound = new Set<string>();
  const reader = backend.reader();
  try {
    for await (const { manifest, problems, sound } of inspect(backend, reader, checkpoints, dropDamaged)) {
      signal?.throwIfAborted();
      for (const { file, message } of problems) give(file, message);
      if (!sound) unsound.add(manifest.id);
    }
  } finally {
    reader.close();
  }
  return {
    checkpoints: checkpoints.filter(({ id }) => !unsound.has(id)),
    broken: [...broken, ...checkpoints.filter(({ id }) => unsound.has(id)).map(({ id }) => id)].reverse(),
  };
}

/** What a checkpoint that stays lists afterwards, and its new manifest when that differs. */
async function merge(
  backend: Backend,
  manifest: Manifest,
  byId: ReadonlyMap<string, Manifest>,
  stay: ReadonlySet<string>,
): Promise<{ rewrite?: Rewrite; lists: readonly ChunkList[] }> {
  let { lists } = await readMap(backend, manifest);
  const going: Manifest[] = [];
  let open = lists.some((list) => !list.complete);
  let parent = manifest.parent;
  while (parent !== null && !stay.has(parent)) {
    const next = byId.get(parent);
    // A checkpoint with a complete map may name a parent that is not there any more.
    if (!next) {
      parent = null;
      break;
    }
    if (going.length > byId.size) throw damaged(backend.place, manifestFile(manifest.id), 'is its own ancestor');
    going.push(next);
    if (open) {
      const older = new Map((await readMap(backend, next)).lists.map((list) => [list.allocation.id, list]));
      lists = lists.map((list) => (list.complete ? list : mergeLists(list, older.get(list.allocation.id)!)));
      open = lists.some((list) => !list.complete);
    }
    parent = next.parent;
  }
  if (parent === manifest.parent) return { lists };
  const changes = [manifest, ...going];
  const launches = changes.map((change) => change.launches).filter((counts) => counts !== null);
  const described: Manifest = {
    ...manifest,
    parent,
    launches:
      launches.length === 0
        ? null
        : (Object.fromEntries(
            LAUNCH_VERDICTS.map((verdict) => [verdict, launches.reduce((sum, counts) => sum + counts[verdict], 0)]),
          ) as NonNullable<Manifest['launches']>),
    kernels: leastCertain(changes.flatMap(({ kernels }) => kernels)),
  };
  if (manifest.map.complete) return { rewrite: { manifest: described }, lists };
  const map = encodeMap(lists);
  const depth = open ? byId.get(parent!)!.map.depth + 1 : 0;
  return {
    rewrite: {
      manifest: {
        ...described,
        map: { hash: hex(treeHash(map)), bytes: map.length, complete: !open, depth },
        ...tally(lists, lists, manifest.chunks),
      },
      map,
    },
    lists,
  };
}

/** The newer of two lists of the same allocation, and what only the older one has. */
function mergeLists(newer: ChunkList, older: ChunkList): ChunkList {
  const at = new Map<number, number>();
  for (const [i, chunk] of newer.chunks.entries()) at.set(chunk, i);
  const added = older.chunks.filter((chunk) => !at.has(chunk));
  const chunks = new Uint32Array(newer.chunks.length + added.length);
  chunks.set(newer.chunks);
  chunks.set(added, newer.chunks.length);
  chunks.sort();
  const origins = new Uint8Array(chunks.length);
  const names = new Uint8Array(NAME_BYTES * chunks.length);
  let old = 0;
  for (const [i, chunk] of chunks.entries()) {
    const from = at.get(chunk);
    while (from === undefined && older.chunks[old] !== chunk) old++;
    const [list, position] = from === undefined ? [older, old] : [newer, from];
    origins[i] = list.origins[position]!;
    names.set(list.names.subarray(NAME_BYTES * position, NAME_BYTES * (position + 1)), NAME_BYTES * i);
  }
  return { allocation: newer.allocation, complete: older.complete, chunks, origins, names };
}

async function removeMaps(backend: Backend, needed: ReadonlySet<string>): Promise<void> {
  for (const name of await backend.list('manifests')) {
    const hash = /^manifests\/([0-9a-f]{32})\.map$/.exec(name)?.[1];
    if ((hash !== undefined && !needed.has(hash)) || name.endsWith('.tmp')) await backend.remove(name);
  }
}
