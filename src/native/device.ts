/**
 * An application's device memory as the supervisor reaches it: memory imported from the descriptors that the recorder sent, and the driver's
 * own checkpoint of a process. Copies run off this thread. Errors of the driver are `Error`s that name its code.
 */
import { addon, type NativeDevice, type NativeDeviceMemory } from './addon.js';

/** Where the driver is looked for unless told. */
const DRIVER = 'libcuda.so.1';

/** Memory of another process. `read` and `write` reject beyond its end; after `close` they throw, and what is under way is finished. */
export type DeviceMemory = NativeDeviceMemory;

/**
 * A device with a context of this process. `import` leaves the descriptor the caller's; `create` makes memory and answers with its descriptor,
 * the caller's, which alone keeps it; `close` leaves imported memory usable.
 */
export type Device = NativeDevice;

/** Opens the device with that uuid (16 bytes). Throws an `Error` when there is no driver or no such device. */
export function openDevice(options: { readonly driver?: string; readonly uuid: Uint8Array }): Device {
  return new (addon().NativeDevice)(options.driver ?? DRIVER, options.uuid);
}

/** In the order of the driver's own life of a checkpoint. */
const ACTIONS = ['lock', 'checkpoint', 'restore', 'unlock'] as const;
export type CheckpointAction = (typeof ACTIONS)[number];

const STATES = ['running', 'locked', 'checkpointed', 'failed'] as const;
export type ProcessState = (typeof STATES)[number];

/**
 * One step of the driver's own checkpoint of a process (CUDA 12.8). Rejects with an `Error`.
 *
 * @param options.timeoutMs of `lock`: how long to wait for the process's work, 0 for ever
 */
export async function checkpointProcess(
  pid: number,
  action: CheckpointAction,
  options: { readonly driver?: string; readonly timeoutMs?: number } = {},
): Promise<void> {
  await addon().processCheckpoint(options.driver ?? DRIVER, pid, ACTIONS.indexOf(action), options.timeoutMs ?? 0);
}

/** Throws an `Error`, also for a process without CUDA. */
export function processState(pid: number, options: { readonly driver?: string } = {}): ProcessState {
  const state = STATES[addon().processState(options.driver ?? DRIVER, pid)];
  if (state === undefined) throw new Error(`the driver says that process ${pid} is in a state that is not known`);
  return state;
}
