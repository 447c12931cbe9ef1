/**
 * Which checkpoints there are, and what a user means by a name. Manifests appear and vanish whole, so this needs no lock. A
 * damaged manifest is a finding here: the others stay usable.
 */
import type { Backend } from '../native/index.js';
import { mapAhead } from './ahead.js';
import { readManifest } from './chain.js';
import { StoreError } from './errors.js';
import { bySequence, idOfFile, manifestFile } from './manifest.js';
import type { Manifest, Problem } from './types.js';

const WINDOW = 32;

export interface Catalogue {
  /** The oldest first, in the order of their sequence numbers. */
  readonly checkpoints: readonly Manifest[];
  /** Manifests that cannot be read. */
  readonly damaged: readonly (Problem & { readonly id: string })[];
}

/** The ids that have a manifest, in no order. */
export async function listIds(backend: Backend): Promise<string[]> {
  return (await backend.list('manifests')).map((name) => idOfFile(name)).filter((id) => id !== undefined);
}

export async function readCatalogue(
  backend: Backend,
  onProgress?: (done: number, total: number) => void,
): Promise<Catalogue> {
  const ids = await listIds(backend);
  const checkpoints: Manifest[] = [];
  const damaged: (Problem & { id: string })[] = [];
  const read = async (id: string) => {
    try {
      return { id, manifest: await readManifest(backend, id) };
    } catch (error) {
      if (error instanceof StoreError) return { id, error };
      throw error;
    }
  };
  let done = 0;
  for await (const { id, manifest, error } of mapAhead(ids, WINDOW, read)) {
    if (manifest) checkpoints.push(manifest);
    // One that vanished meanwhile was pruned.
    else if (error.kind === 'locked' || error.kind === 'io') throw error;
    else if (error.kind !== 'not-found') damaged.push({ id, ...error.problem() });
    onProgress?.(++done, ids.length);
  }
  return { checkpoints: checkpoints.sort(bySequence), damaged: damaged.sort((a, b) => (a.id < b.id ? -1 : 1)) };
}

function noCheckpoint(place: string, name: string, why: string): StoreError {
  const hint = '`gcr-templates list` shows the checkpoints of a store';
  return new StoreError('not-found', '', 'GCR7011', place, `no checkpoint ${JSON.stringify(name)}: ${why}`, hint);
}

/**
 * The id that a name means: the beginning of one id only, `latest`, or `latest~2` for the second before it in the store's order.
 *
 * @throws StoreError GCR7011
 */
export async function findId(backend: Backend, name: string): Promise<string> {
  const { place } = backend;
  const steps = /^latest(?:~(\d{1,9}))?$/.exec(name);
  if (steps) {
    const { checkpoints, damaged } = await readCatalogue(backend);
    const found = checkpoints.at(-1 - Number(steps[1] ?? 0));
    if (found) return found.id;
    const unreadable = damaged.length > 0 ? `, ${damaged.length} cannot be read (${manifestFile(damaged[0]!.id)})` : '';
    throw noCheckpoint(place, name, `the store has ${checkpoints.length}${unreadable}`);
  }
  if (!/^[0-9a-f]{1,16}$/.test(name))
    throw noCheckpoint(place, name, 'give the beginning of an id, latest, or latest~N');
  const found = (await listIds(backend)).filter((id) => id.startsWith(name)).sort();
  if (found.length > 1) throw noCheckpoint(place, name, `it may be ${found.slice(0, 3).join(', ')}`);
  if (found[0] === undefined) throw noCheckpoint(place, name, 'no id begins so');
  return found[0];
}
