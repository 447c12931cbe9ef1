/**
 * Suspending an application: its memory is saved, unmapped and given up, and its control state taken off by the driver, so that the device has
 * everything back; the application waits. Resuming makes new memory, fills it from the checkpoint beside the driver's work, and hands it over at the
 * addresses of before.
 *
 * Until the checkpoint is committed nothing has happened. Once memory is given up the checkpoint is all there is of it, so a resume that
 * fails leaves the application suspended, to be tried again.
 */
import type { Store } from '../checkpoint/index.js';
import { type CheckpointOptions, type CheckpointResult, checkpoint, type Timings } from './checkpoint.js';
import { type ControlOutcome, type ControlTimings, timed, withControlState, withProblem } from './control-state.js';
import { RuntimeError } from './errors.js';
import type { OperationContext, SupervisedProcess } from './process.js';
import type { ReadAhead } from './read-ahead.js';
import { type Filling, fill, planFilling } from './restore.js';
import { openSaved, type SavedMemory } from './saved-memory.js';

export interface SuspendOptions extends CheckpointOptions {
  /** Leave contexts, streams and modules on the device. */
  readonly keepContext?: boolean;
}

export interface SuspendResult extends CheckpointResult {
  readonly timings: Timings & ControlTimings;
  /** Why contexts, streams and modules stay on the device though they were to leave it. */
  readonly warning?: string;
}

export interface ResumeResult {
  /** The checkpoint that memory came from; null when it had been kept on the device. */
  readonly id: string | null;
  readonly bytes: number;
  readonly handles: number;
  readonly timings: ResumeTimings;
}

/** `load` goes on beside `restore` and `unlock`. */
export type ResumeTimings = ControlTimings & { recreate?: number; load?: number };

/** @throws RuntimeError, StoreError; the application then goes on */
export async function suspend(
  process: SupervisedProcess,
  store: Store,
  { keepContext, ...options }: SuspendOptions,
  context: OperationContext,
): Promise<SuspendResult> {
  if (process.state === 'suspended')
    throw new RuntimeError('refused', 'GCR8105', `process ${process.pid} is suspended already`, 'resume it first');
  const refusal = keepContext ? undefined : await process.control.refusal();
  const driver = keepContext || refusal !== undefined ? 'none' : 'optional';
  let outcome: ControlOutcome = { timings: {} };
  const around = async (copy: () => Promise<void>) => {
    outcome = await withControlState(process, context, { during: copy, checkpointed: async () => 'stay', driver });
  };
  // What fails once the process is away brings it back; that may fail, too.
  const result = await checkpoint(process, store, { ...options, keepHeld: true, around }, context).catch((error) => {
    throw withProblem(process, error);
  });
  // From here on another supervisor can bring it back, should this one end; from this one's memory it could not.
  if (result.target === 'store') process.keep(result.manifest.id);
  process.suspendedAs = { target: result.target, id: result.manifest.id };
  process.state = 'suspended';
  process.custody.releaseAll();
  const { timings, refused = refusal } = outcome;
  return { ...result, timings: { ...result.timings, ...timings }, ...(refused !== undefined && { warning: refused }) };
}

/**
 * @param ahead of the checkpoint that holds its memory; its owner closes it afterwards
 * @throws RuntimeError, StoreError; the application then stays suspended
 */
export async function resume(
  process: SupervisedProcess,
  store: Store,
  context: OperationContext,
  ahead?: ReadAhead,
): Promise<ResumeResult> {
  if (process.state !== 'suspended')
    throw new RuntimeError('refused', 'GCR8108', `process ${process.pid} is not suspended`);
  const { control, custody } = process;
  const place = process.suspendedAs;
  const timings: ResumeTimings = {};
  let bytes = 0;
  if (place === undefined) await control.unlock(context, timings);
  else bytes = await bringBack(process, () => openSaved(process, store, place, ahead), context, timings);
  // From here on memory is what it was: whatever fails now, custody holds it, and nothing has to be filled again.
  process.suspendedAs = undefined;
  await control.leave(context, timings);
  process.keep();
  process.state = 'held';
  context.report({ step: 'release' });
  await process.release();
  return { id: place?.id ?? null, bytes, handles: custody.handles.size, timings };
}

/** New memory with the checkpoint's content, and the control state beside it. Gives the memory up again when something fails. */
async function bringBack(
  process: SupervisedProcess,
  open: () => Promise<SavedMemory>,
  context: OperationContext,
  timings: ResumeTimings,
): Promise<number> {
  const { custody, control } = process;
  context.report({ step: 'check' });
  const saved = await open();
  try {
    context.report({ step: 'recreate' });
    const recreated = timed(timings, 'recreate', () => custody.recreateAll());
    let filling: Filling;
    try {
      filling = planFilling(process, saved);
    } finally {
      await recreated;
    }
    let bytes = 0;
    const [filled, unlocked] = await Promise.allSettled([
      timed(timings, 'load', async () => {
        bytes = await fill(process, saved, filling, context);
      }),
      control.unlock(context, timings),
    ]);
    if (unlocked.status === 'rejected') throw unlocked.reason;
    if (filled.status === 'rejected') throw filled.reason;
    return bytes;
  } catch (error) {
    custody.releaseAll();
    throw error;
  } finally {
    saved.close();
  }
}
