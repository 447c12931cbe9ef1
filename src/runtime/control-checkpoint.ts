/**
 * A checkpoint at which the application's control state leaves the device for a moment: what a host checkpoint of the process needs. Memory stays
 * on the device in custody meanwhile, and what is dirty of it is copied beside the driver's work; nothing clean moves.
 */
import type { Store } from '../checkpoint/index.js';
import { type CheckpointOptions, type CheckpointResult, checkpoint, type Timings } from './checkpoint.js';
import { type ControlHooks, type ControlTimings, withControlState } from './control-state.js';
import { RuntimeError } from './errors.js';
import type { OperationContext, SupervisedProcess } from './process.js';

export interface ControlCheckpointResult extends CheckpointResult {
  readonly timings: Timings & ControlTimings;
}

/**
 * @param checkpointed called while the control state is away
 * @throws RuntimeError, StoreError; the application then goes on
 */
export async function checkpointWithControl(
  process: SupervisedProcess,
  store: Store,
  options: CheckpointOptions,
  context: OperationContext,
  checkpointed?: ControlHooks['checkpointed'],
): Promise<ControlCheckpointResult> {
  process.checkSaveable(true);
  const refusal = await process.control.refusal();
  if (refusal !== undefined) {
    const hint = 'nothing was stopped; a checkpoint without --control needs nothing of the kind';
    throw new RuntimeError('refused', 'GCR8113', `its control state cannot be taken: ${refusal}`, hint);
  }
  let timings: ControlTimings = {};
  const around = async (copy: () => Promise<void>) => {
    ({ timings } = await withControlState(process, context, { during: copy, ...(checkpointed && { checkpointed }) }));
  };
  const result = await checkpoint(process, store, { ...options, around }, context);
  return { ...result, timings: { ...result.timings, ...timings } };
}
