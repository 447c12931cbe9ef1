/**
 * A checkpoint put back into the application that it was taken from, while that goes on living. Everything that can be found
 * wrong is found before the first byte is written: every allocation of the checkpoint must still be there, and what differs is read from
 * the store, and its hashes checked, while memory is untouched. When writing itself fails it is tried again, and if it fails
 * again the application is ended, by the recorder when the supervisor itself is gone: half restored and running it never is.
 *
 * What the application allocated since stays as it is. Afterwards nothing of memory's content counts as known, and everything restored as written.
 */
import { type Allocation, CHUNK_BYTES, type RestorePlan, type Store } from '../checkpoint/index.js';
import { hashChunks } from '../native/index.js';
import { storedAllocation } from './checkpoint.js';
import { checkCancelled, RuntimeError } from './errors.js';
import type { LiveAllocation } from './event-bridge.js';
import type { OperationContext, SupervisedProcess } from './process.js';

export interface RestoreResult {
  readonly id: string;
  /** Chunks that differed and were written. */
  readonly chunks: number;
  readonly bytes: number;
  /** Allocations that are younger than the checkpoint, and stayed. */
  readonly younger: number;
  readonly heldMs: number;
}

const PIECE_BYTES = 4 << 20;
/** What is read from the store before the first byte is written; more is read twice, the first time to check it. */
const ASIDE_BYTES = 1 << 30;
const TRIES = 2;
const GUARD_MS = 10_000;

interface Target {
  readonly live: LiveAllocation;
  readonly stored: Allocation;
}

/** Bytes of an allocation that differ from the checkpoint. */
interface Difference extends Target {
  readonly from: number;
  readonly to: number;
  bytes?: Uint8Array;
}

/** @throws RuntimeError GCR8109 that names the first allocation that is not there any more */
function targetsOf(process: SupervisedProcess, plan: RestorePlan): Target[] {
  const alive = new Map([...process.bridge.allocations.values()].map((live) => [process.storeId(live), live]));
  return plan.allocations.map((stored) => {
    const live = alive.get(stored.id);
    if (live && live.size === stored.size && live.address === stored.address) return { live, stored };
    const name = stored.label === '' ? '' : ` (${stored.label})`;
    const place = `0x${stored.address.toString(16)} of ${stored.size} bytes`;
    const message = `allocation ${stored.id & 0xffffffffn}${name} at ${place} does not exist any more in process ${process.pid}`;
    const hint =
      'only a process that still has all memory of a checkpoint can go back to it; `gcr-templates extract` reads its content';
    throw new RuntimeError('refused', 'GCR8109', message, hint);
  });
}

/** Runs of chunks whose content is not the checkpoint's. */
async function differences(
  process: SupervisedProcess,
  plan: RestorePlan,
  targets: readonly Target[],
  { report, signal }: OperationContext,
): Promise<Difference[]> {
  const found: Difference[] = [];
  const total = targets.reduce((sum, { live }) => sum + live.size, 0);
  let done = 0;
  for (const { live, stored } of targets) {
    const { names } = plan.contents.get(stored.id)!;
    for (let from = 0; from < live.size; from += PIECE_BYTES) {
      checkCancelled(signal);
      const bytes = new Uint8Array(Math.min(PIECE_BYTES, live.size - from));
      await process.custody.read(live, from, bytes);
      const own = hashChunks(bytes);
      const first = from / CHUNK_BYTES;
      for (let chunk = 0; chunk * 16 < own.length; chunk++) {
        const at = 16 * (first + chunk);
        if (Buffer.compare(own.subarray(16 * chunk, 16 * chunk + 16), names.subarray(at, at + 16)) === 0) continue;
        const start = from + chunk * CHUNK_BYTES;
        const end = Math.min(live.size, start + CHUNK_BYTES);
        const last = found.at(-1);
        if (last?.live === live && last.to === start && end - last.from <= PIECE_BYTES)
          found[found.length - 1] = { ...last, to: end };
        else found.push({ live, stored, from: start, to: end });
      }
      done += bytes.length;
      report({ step: 'compare', done, total });
    }
  }
  return found;
}

async function load(plan: RestorePlan, { stored, from, to, bytes }: Difference): Promise<Uint8Array> {
  if (bytes) return bytes;
  const target = new Uint8Array(to - from);
  await plan.read(stored.id, from, to, target);
  return target;
}

/** Writes everything, from the beginning again when something fails. */
async function writeAll(
  process: SupervisedProcess,
  plan: RestorePlan,
  found: readonly Difference[],
  { report }: OperationContext,
): Promise<void> {
  const total = found.reduce((sum, { from, to }) => sum + to - from, 0);
  for (let attempt = 1; ; attempt++) {
    try {
      let done = 0;
      report({ step: 'write', done, total });
      for (const difference of found) {
        await process.custody.write(difference.live, difference.from, await load(plan, difference));
        done += difference.to - difference.from;
        report({ step: 'write', done, total });
      }
      return;
    } catch (error) {
      if (attempt < TRIES) continue;
      process.kill('its memory could be restored in part only');
      const message = `process ${process.pid} was ended, because its memory could be restored in part only: ${(error as Error).message}`;
      throw new RuntimeError('failed', 'GCR8109', message, 'the checkpoint is as it was; start the application anew');
    }
  }
}

/** @throws RuntimeError, StoreError; unless it says that the application was ended, that goes on as if nothing had been asked */
export async function restore(
  process: SupervisedProcess,
  store: Store,
  name: string,
  context: OperationContext,
): Promise<RestoreResult> {
  const { report, signal } = context;
  report({ step: 'check' });
  const plan = await store.restorePlan(await store.find(name));
  try {
    process.checkSaveable();
    await process.catchUp(signal);
    targetsOf(process, plan);
    report({ step: 'hold' });
    await process.hold(context);
    const heldSince = performance.now();
    try {
      process.checkSaveable();
      const targets = targetsOf(process, plan);
      const found = await differences(process, plan, targets, context);
      const bytes = found.reduce((sum, { from, to }) => sum + to - from, 0);
      for (const difference of found) {
        checkCancelled(signal);
        report({ step: 'read' });
        const content = await load(plan, difference);
        if (bytes <= ASIDE_BYTES) difference.bytes = content;
      }
      await process.link.request('guard', { on: 1 }, GUARD_MS);
      await writeAll(process, plan, found, context);
      await process.link.request('guard', { on: 0 }, GUARD_MS);
      settle(process, plan, targets);
      const chunks = found.reduce((sum, { from, to }) => sum + Math.ceil((to - from) / CHUNK_BYTES), 0);
      const younger = process.bridge.allocations.size - targets.length;
      return { id: plan.manifest.id, chunks, bytes, younger, heldMs: performance.now() - heldSince };
    } finally {
      await process.release();
    }
  } finally {
    plan.close();
  }
}

/** From now on the checkpoint is the parent of the next increment, which looks at everything that was restored. */
function settle(process: SupervisedProcess, plan: RestorePlan, targets: readonly Target[]): void {
  const { bridge } = process;
  bridge.executor.memory.forgetEverything();
  const mark = bridge.dirty.mark();
  if (process.last) bridge.dirty.release(process.last.mark);
  process.last = { id: plan.manifest.id, mark };
  process.saved = new Set(targets.map(({ live }) => live.number));
  for (const { live } of targets) bridge.dirty.addRange('copy', live.address, live.address + BigInt(live.size));
}

/** Content for memory that was made anew: everything that a checkpoint has of allocations with a handle. */
export async function fillAll(
  process: SupervisedProcess,
  plan: RestorePlan,
  { report }: OperationContext,
): Promise<number> {
  const wanted = [...process.bridge.allocations.values()].filter(({ handle }) => handle !== 0);
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const live of wanted) {
    const stored = storedAllocation(process, live);
    for (let from = 0; from < live.size; from += PIECE_BYTES) {
      const to = Math.min(live.size, from + PIECE_BYTES);
      const bytes = new Uint8Array(to - from);
      await plan.read(stored.id, from, to, bytes);
      await process.custody.write(live, from, bytes);
      done += bytes.length;
      report({ step: 'fill', done, total });
    }
  }
  return total;
}
