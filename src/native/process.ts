/**
 * The driver's own checkpoint of a process (CUDA 12.8): what carries contexts, streams and modules, and whatever memory the supervisor does
 * not hold. Errors of the driver are `Error`s that name its code.
 */
import { addon } from './addon.js';

/** In the order in which a checkpoint and its restore go through them. */
const ACTIONS = ['lock', 'checkpoint', 'restore', 'unlock'] as const;
export type CheckpointAction = (typeof ACTIONS)[number];

/** `unsupported`: the driver is older than these calls. */
const STATES = ['running', 'locked', 'checkpointed', 'failed', 'unsupported'] as const;
export type ProcessState = (typeof STATES)[number];

/**
 * One step. Rejects with an `Error`.
 *
 * @param driver path of the driver library, or its name for the usual search
 * @param timeoutMs of `lock`: how long to wait for the process's work, 0 for ever
 */
export async function checkpointProcess(
  driver: string,
  pid: number,
  action: CheckpointAction,
  timeoutMs = 0,
): Promise<void> {
  await addon().processCheckpoint(driver, pid, ACTIONS.indexOf(action), timeoutMs);
}

/** Where a process is. Rejects with an `Error`, also for a process without CUDA. */
export async function processState(driver: string, pid: number): Promise<ProcessState> {
  const state = STATES[await addon().processState(driver, pid)];
  if (state === undefined) throw new Error(`the driver says that process ${pid} is in a state that is not known`);
  return state;
}

/** Bytes of a device that nobody uses. Rejects with an `Error`. Where this process has no context on the device it makes one for the question. */
export function freeMemory(driver: string, uuid: Uint8Array): Promise<number> {
  return addon().freeMemory(driver, uuid);
}
