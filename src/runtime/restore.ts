/**
 * A checkpoint put back into the application that it was taken from, while that goes on living. Everything that can be found
 * wrong is found before the first byte is written: every allocation of the checkpoint must still be there, and what differs is read from
 * the store, and its hashes checked, while memory is untouched. When writing itself fails it is tried again, and if it fails
 * again the application is ended, by the recorder when the supervisor itself is gone: half restored and running it never is.
 *
 * What the application allocated since stays as it is. Afterwards nothing of memory's content counts as known, and everything restored as written.
 */
import { NAME_BYTES, type RestorePlan, type Store } from '../checkpoint/index.js';
import { RuntimeError } from './errors.js';
import type { LiveAllocation } from './event-bridge.js';
import { MemoryLayout } from './layout.js';
import { differing, othersThan, withoutZero } from './names.js';
import { everyChunk, namesOf } from './plan.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import { contentOf, findSaved, type Loader, openSaved, type SavedContent, type SavedMemory } from './saved-memory.js';

export interface RestoreResult {
  readonly id: string;
  /** Chunks that differed and were written. */
  readonly chunks: number;
  readonly bytes: number;
  /** Allocations that are younger than the checkpoint, and stayed. */
  readonly younger: number;
  readonly heldMs: number;
}

const TRIES = 2;
const GUARD_MS = 10_000;

/** @throws RuntimeError GCR8109 that names the first allocation that is not there any more */
function targetsOf(process: SupervisedProcess, saved: SavedContent): LiveAllocation[] {
  const alive = new Map([...process.bridge.allocations.values()].map((live) => [process.storeId(live), live]));
  return saved.allocations.map((stored) => {
    const live = alive.get(stored.id);
    if (live && live.size === stored.size && live.address === stored.address) return live;
    const name = stored.label === '' ? '' : ` (${stored.label})`;
    const place = `0x${stored.address.toString(16)} of ${stored.size} bytes`;
    const message = `allocation ${stored.id & 0xffffffffn}${name} at ${place} does not exist any more in process ${process.pid}`;
    const hint =
      'only a process that still has all memory of a checkpoint can go back to it; `gcr-templates extract` reads its content';
    throw new RuntimeError('refused', 'GCR8109', message, hint);
  });
}

/** The names that a checkpoint has for the chunks of a layout. */
function wantedNames(layout: MemoryLayout, saved: SavedContent): Uint8Array {
  const names = new Uint8Array(NAME_BYTES * layout.chunks);
  for (const { stored, first } of layout.parts) names.set(saved.names(stored.id), NAME_BYTES * first);
  return names;
}

/** Chunks whose content is not the checkpoint's. */
async function differences(
  process: SupervisedProcess,
  layout: MemoryLayout,
  wanted: Uint8Array,
  context: OperationContext,
): Promise<Uint32Array> {
  const names = await namesOf(process, layout, undefined, context);
  const list = new Uint32Array(layout.chunks);
  return list.subarray(0, differing(names, wanted, 0, list, 0));
}

/** Writes everything, from the beginning again when something fails. */
async function writeAll(process: SupervisedProcess, loader: Loader, { report }: OperationContext): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await loader.load(report);
    } catch (error) {
      if (attempt < TRIES) continue;
      process.kill('its memory could be restored in part only');
      const message = `process ${process.pid} was ended, because its memory could be restored in part only: ${(error as Error).message}`;
      throw new RuntimeError('failed', 'GCR8109', message, 'the checkpoint is as it was; start the application anew');
    }
  }
}

/**
 * @param name as `findSaved` takes it
 * @throws RuntimeError, StoreError; unless it says that the application was ended, that goes on as if nothing had been asked
 */
export async function restore(
  process: SupervisedProcess,
  store: Store,
  name: string,
  context: OperationContext,
): Promise<RestoreResult> {
  const { report, signal } = context;
  report({ step: 'check' });
  const place = await findSaved(process, store, name);
  process.checkSaveable();
  await process.catchUp(signal);
  process.checkSaveable();
  await process.custody.prepare(process.bridge.allocations.values());
  const saved = await openSaved(process, store, place);
  try {
    targetsOf(process, saved);
    report({ step: 'hold' });
    const { since } = await process.hold(context);
    try {
      process.checkSaveable();
      const layout = new MemoryLayout(process, targetsOf(process, saved));
      const wanted = wantedNames(layout, saved);
      const list = await differences(process, layout, wanted, context);
      const loader = saved.loader(layout, list, wanted);
      await loader.check(context);
      await process.link.request('guard', { on: 1 }, GUARD_MS);
      await writeAll(process, loader, context);
      await process.link.request('guard', { on: 0 }, GUARD_MS);
      settle(process, saved, layout, wanted);
      const younger = process.bridge.allocations.size - layout.parts.length;
      const bytes = layout.bytesOf(list);
      return { id: saved.id, chunks: list.length, bytes, younger, heldMs: performance.now() - since };
    } finally {
      await process.release();
    }
  } finally {
    saved.close();
  }
}

/**
 * A process that waits for its memory: the checkpoint that holds it is the parent of the next one, as nothing has run since.
 *
 * @throws RuntimeError GCR8109 when it is not of this process
 */
export function takeUp(process: SupervisedProcess, plan: RestorePlan): void {
  const content = contentOf(plan);
  const { id } = plan.manifest;
  const targets = targetsOf(process, content);
  if (targets.length !== process.bridge.allocations.size)
    throw new RuntimeError('refused', 'GCR8109', `process ${process.pid} has memory that is not in checkpoint ${id}`);
  const layout = new MemoryLayout(process, targets);
  const names = layout.tableOf(wantedNames(layout, content));
  process.chains.store.last = { id, mark: process.bridge.dirty.mark(), names };
  process.lastTarget = 'store';
}

/** From now on the checkpoint is the parent of the next increment, which looks at everything that was restored. */
function settle(
  process: SupervisedProcess,
  { target, id }: SavedMemory,
  layout: MemoryLayout,
  wanted: Uint8Array,
): void {
  const { bridge } = process;
  const chain = process.chains[target];
  bridge.executor.memory.forgetEverything();
  const mark = bridge.dirty.mark();
  if (chain.last) bridge.dirty.release(chain.last.mark);
  chain.last = { id, mark, names: layout.tableOf(wanted) };
  process.lastTarget = target;
  // The other chain sees it, too: for both, what was restored may differ from their last checkpoint.
  for (const { live } of layout.parts) bridge.dirty.addRange('copy', live.address, live.address + BigInt(live.size));
}

/** Content for memory that is made anew: everything that a checkpoint has of allocations with a handle. */
export interface Filling {
  readonly layout: MemoryLayout;
  readonly wanted: Uint8Array;
  /** Ascending numbers of the chunks that have content, and of those that are to be zero. */
  readonly filled: Uint32Array;
  readonly zero: Uint32Array;
}

/** Needs no memory yet, so that it can be found out while that is made. */
export function planFilling(process: SupervisedProcess, saved: SavedMemory): Filling {
  const { bridge } = process;
  const layout = new MemoryLayout(
    process,
    [...bridge.allocations.values()].filter(({ handle }) => handle !== 0),
  );
  const wanted = wantedNames(layout, saved);
  const all = everyChunk(layout);
  const filled = withoutZero(wanted, all);
  return { layout, wanted, filled, zero: othersThan(filled, all.length) };
}

/**
 * Where the device computes names, zeros that new memory has already are not copied.
 *
 * @returns bytes of the allocations
 */
export async function fill(
  process: SupervisedProcess,
  saved: SavedMemory,
  { layout, wanted, filled, zero }: Filling,
  context: OperationContext,
): Promise<number> {
  const report: OperationContext['report'] = (now) => context.report({ ...now, step: 'fill' });
  const load = async (list: Uint32Array) => {
    if (list.length > 0) await saved.loader(layout, list, wanted).load(report);
  };
  // Nothing may be under way any more when this ends, and named is more quickly than copied.
  const [loaded, rest] = await Promise.allSettled([load(filled), notZero(process, layout, zero, context)]);
  if (loaded.status === 'rejected') throw loaded.reason;
  if (rest.status === 'rejected') throw rest.reason;
  await load(rest.value);
  return layout.bytes;
}

/** Of ascending numbers of chunks, those that may have other content than zeros. */
async function notZero(
  process: SupervisedProcess,
  layout: MemoryLayout,
  list: Uint32Array,
  context: OperationContext,
): Promise<Uint32Array> {
  if (!process.custody.namesOnDevice || list.length === 0) return list;
  const names = await namesOf(process, layout, list, context);
  const positions = Uint32Array.from(list, (_, at) => at);
  return withoutZero(names, positions).map((at) => list[at]!);
}
