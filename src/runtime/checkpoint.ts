/**
 * A checkpoint of a running application, to a store or to host memory. The application is held while what may have changed is named, compared with the parent
 * and copied to host memory; writing and the commit come after it was released, unless there is too much to be held aside. At any failure before the
 * commit the application goes on, nothing was saved, and what was dirty still is.
 */
import { CHUNK_BYTES, type ProcessImage, type Store, StoreError } from '../checkpoint/index.js';
import { shareStatistics, type Target } from './chain.js';
import { ImageSink } from './image-sink.js';
import { LaunchStatistics } from './launch-statistics.js';
import { dirtyOf, findDelta, makePlan, missedOf, type Plan, type Verify } from './plan.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import type { Saved, Sink } from './sink.js';
import { StoreSink } from './store-sink.js';

export interface CheckpointOptions {
  /** Where it is kept; in the store when nothing is said. */
  readonly to?: Target;
  /** Look at all memory, and depend on no other checkpoint. */
  readonly full?: boolean;
  /**
   * Look at all memory, and report what changed though it was called clean. When nothing is said this happens where the device computes names, which
   * costs next to nothing; elsewhere only what may have changed is looked at.
   */
  readonly verify?: boolean;
  readonly note?: string;
  readonly command: readonly string[];
  /** Makes the process's image durable; called right before the commit. */
  readonly image?: () => Promise<ProcessImage>;
  /** Keep the application held when the checkpoint is written. */
  readonly keepHeld?: boolean;
  /**
   * Called when the application is held and what only it can reach (memory without a handle) is in host memory; `copy` brings the rest. Has to wait for it.
   */
  readonly around?: (copy: () => Promise<void>) => Promise<void>;
}

/** A chunk that changed though no launch and no copy was thought to write it. */
export interface MissedChunk {
  readonly allocation: string;
  readonly address: string;
  readonly chunk: number;
  /** Kernels that may have written it. */
  readonly kernels: readonly string[];
}

/**
 * Milliseconds of each step. `hold` is from the request to the application's being held with its queues empty; `drain`, `plan`, `names` (with the comparison),
 * `save` (with what control state takes; `copy` is the copy out of custody alone) and `release` follow while it is held; `write` and `commit` come after that, unless there is more than fits aside.
 */
export type Timings = Readonly<
  Record<'hold' | 'drain' | 'plan' | 'names' | 'save' | 'copy' | 'release' | 'write' | 'commit', number>
>;

export interface CheckpointResult {
  readonly target: Target;
  readonly manifest: Saved;
  /** Why it is a full one, when an increment was possible in principle. */
  readonly fullBecause?: string;
  /** Chunks that something may have written. */
  readonly dirtyChunks: number;
  readonly dirtyBytes: number;
  readonly totalBytes: number;
  /** Which memory was looked at beyond that. */
  readonly verified: Verify;
  /** How long the application was held, in milliseconds, from its empty queues on. */
  readonly heldMs: number;
  readonly timings: Timings;
  readonly missed: readonly MissedChunk[];
  readonly missedCount: number;
}

const MAX_MISSED = 20;
/** Host memory that is made ready for an increment before the application is held. */
const AHEAD_BYTES = 256 << 20;

/** Why a checkpoint has to be a full one; undefined when it need not. */
export async function whyFull(
  process: SupervisedProcess,
  store: Store,
  { full, to = 'store' }: CheckpointOptions,
): Promise<string | undefined> {
  if (full) return 'asked for';
  const { last } = process.chains[to];
  if (!last) return to === 'store' ? 'the first one of this process' : 'the first one in memory';
  const { state } = process.bridge;
  if (state.kind !== 'recording') return `recording stopped: ${state.reason}`;
  if (to === 'memory') return process.hostImages.get(last.id) ? undefined : 'the parent was dropped';
  try {
    await store.manifest(last.id);
    return undefined;
  } catch (error) {
    if (error instanceof StoreError) return `the parent cannot be used: ${error.diagnostics[0]!.message}`;
    throw error;
  }
}

function verifyOf(process: SupervisedProcess, { verify }: CheckpointOptions): Verify {
  if (verify !== undefined) return verify ? 'all' : 'none';
  return process.custody.namesOnDevice ? 'device' : 'none';
}

/** How many chunks there are now; an application that runs may make it more. */
const chunksNow = (process: SupervisedProcess): number => {
  let chunks = 0;
  for (const { size } of process.bridge.allocations.values()) chunks += Math.ceil(size / CHUNK_BYTES);
  return chunks;
};

/** Takes the time of steps. */
class Clock {
  readonly timings = { hold: 0, drain: 0, plan: 0, names: 0, save: 0, copy: 0, release: 0, write: 0, commit: 0 };

  async time<T>(step: keyof Timings, run: () => Promise<T> | T): Promise<T> {
    const start = performance.now();
    try {
      return await run();
    } finally {
      this.timings[step] += performance.now() - start;
    }
  }
}

/** Runs with a place for the checkpoint, for which there is room; refuses before anything is stopped. */
async function withSink<T>(
  process: SupervisedProcess,
  store: Store,
  { to = 'store', command, note, image }: CheckpointOptions,
  full: boolean,
  context: OperationContext,
  run: (sink: Sink) => Promise<T>,
): Promise<T> {
  const chunks = chunksNow(process);
  if (to === 'memory') {
    const { hostImages: images, custody } = process;
    // How much an increment takes is known when it is made; what this makes ready is not made while the application is held.
    const guess = full ? chunks : Math.min(chunks, AHEAD_BYTES / CHUNK_BYTES);
    try {
      await images.memory.ensureFree(guess, custody.anyDevice);
    } catch (error) {
      if (full || images.memory.freeSlots === 0) throw error;
    }
    const sink = new ImageSink(process, images, note, context);
    return run(sink).finally(() => sink.close());
  }
  const memory = await process.staging.take(chunks, process.custody.anyDevice);
  const sink = new StoreSink(
    process,
    store,
    memory,
    { command, ...(note !== undefined && { note }), ...(image && { image }) },
    context,
  );
  return run(sink).finally(async () => {
    await sink.close();
    process.staging.back(memory);
  });
}

/** @throws RuntimeError, StoreError; the application then goes on as if nothing had been asked */
export async function checkpoint(
  process: SupervisedProcess,
  store: Store,
  options: CheckpointOptions,
  context: OperationContext,
): Promise<CheckpointResult> {
  const { report, signal } = context;
  report({ step: 'check' });
  const leaves = options.around !== undefined;
  process.checkSaveable(leaves);
  await whyFull(process, store, options);
  report({ step: 'catch-up' });
  await process.catchUp(signal);
  // Memory that was told meanwhile may be of a kind that cannot be saved: better known before anything stops.
  process.checkSaveable(leaves);
  await process.custody.prepare(process.bridge.allocations.values());
  // Recording may have stopped since.
  const fullBecause = await whyFull(process, store, options);
  return withSink(process, store, options, fullBecause !== undefined, context, (sink) =>
    save(process, sink, fullBecause, options, context),
  );
}

async function save(
  process: SupervisedProcess,
  sink: Sink,
  fullBecause: string | undefined,
  options: CheckpointOptions,
  context: OperationContext,
): Promise<CheckpointResult> {
  const { to = 'store', keepHeld, around } = options;
  const { report } = context;
  const clock = new Clock();
  report({ step: 'hold' });
  const held = await process.hold(context);
  clock.timings.hold = held.holdMs;
  clock.timings.drain = held.drainMs;
  const chain = process.chains[to];
  let plan: Plan | undefined;
  let added = false;
  const statistics = (): LaunchStatistics => {
    if (!added) shareStatistics(process.chains, plan!.counted);
    added = true;
    return chain.statistics;
  };
  let heldMs = 0;
  const letGo = async () => {
    if (keepHeld || heldMs > 0) return;
    await clock.time('release', () => process.release());
    heldMs = performance.now() - held.since;
  };
  try {
    process.checkSaveable(around !== undefined);
    report({ step: 'plan' });
    const { state } = process.bridge;
    const stopped = state.kind === 'recording' ? undefined : `recording stopped: ${state.reason}`;
    const made = await clock.time('plan', () =>
      makePlan(process, chain, fullBecause ?? stopped, verifyOf(process, options)),
    );
    plan = made;
    const delta = await clock.time('names', () => findDelta(process, made, context));
    const copy = () => clock.time('copy', () => sink.copyFromDevices());
    await clock.time('save', async () => {
      await sink.begin(made, delta, statistics);
      await sink.copyFromRecorder();
      await (around ? around(copy) : copy());
    });
    await letGo();
    await clock.time('write', () => sink.write());
    const manifest = await clock.time('commit', () => sink.commit());
    if (chain.last) process.bridge.dirty.release(chain.last.mark);
    chain.last = { id: manifest.id, mark: made.mark, names: delta.table };
    process.lastTarget = to;
    const missed = missedOf(made, delta);
    const { chunks, bytes } = dirtyOf(made);
    const result: CheckpointResult = {
      target: to,
      manifest,
      ...(made.fullBecause !== undefined && { fullBecause: made.fullBecause }),
      dirtyChunks: chunks,
      dirtyBytes: bytes,
      totalBytes: made.layout.bytes,
      verified: made.kind === 'full' ? 'all' : made.verify,
      heldMs: heldMs || performance.now() - held.since,
      timings: clock.timings,
      missed: describeMissed(made, missed, statistics()),
      missedCount: missed.length,
    };
    chain.statistics = new LaunchStatistics();
    return result;
  } catch (error) {
    if (plan && chain.last?.mark !== plan.mark) {
      process.bridge.dirty.release(plan.mark);
      statistics();
    }
    await process.release();
    throw error;
  }
}

function describeMissed({ layout }: Plan, missed: Uint32Array, statistics: LaunchStatistics): MissedChunk[] {
  return [...missed.subarray(0, MAX_MISSED)].map((chunk) => {
    const { live, first } = layout.parts[layout.partAt(chunk)]!;
    return {
      allocation: live.label === '' ? String(live.number) : `${live.number} (${live.label})`,
      address: `0x${(live.address + BigInt((chunk - first) * CHUNK_BYTES)).toString(16)}`,
      chunk: chunk - first,
      kernels: statistics.candidates(live.address).slice(0, MAX_MISSED),
    };
  });
}
