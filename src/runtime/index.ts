import type { ReviveOptions } from './revive.js';
import type { RunOptions, RunOutcome } from './supervisor.js';
import type { AdoptOptions } from './takeover.js';

export { type BridgeOptions, QUIET_AFTER } from './bridge-options.js';
export { TARGETS, type Target } from './chain.js';
export type { CheckpointResult, MissedChunk, Timings } from './checkpoint.js';
export type { ControlCheckpointResult } from './control-checkpoint.js';
export { type CallOptions, ControlError, call, callAll } from './control-client.js';
export type { ControlRequest } from './control-protocol.js';
export type { ControlTimings } from './control-state.js';
export type { DurableResult } from './durable.js';
export { RuntimeError } from './errors.js';
export type { DropResult, ImageStatus } from './host-images.js';
export type { OperationReport } from './process.js';
export type { RestoreResult } from './restore.js';
export type { ReviveResult } from './revive.js';
export { runtimeFolder } from './runtime-folder.js';
export type { ProcessStatus } from './status.js';
export type { RunOptions, RunOutcome } from './supervisor.js';
export type { ResumeResult, SuspendResult } from './suspend.js';
export type { AdoptedProcess } from './takeover.js';

// What supervises a process is loaded when it is asked for: commands that speak to a supervisor begin without it.
export const run = async (options: RunOptions): Promise<RunOutcome> => (await import('./supervisor.js')).run(options);
export const adopt = async (options: AdoptOptions): Promise<void> => (await import('./takeover.js')).adopt(options);
export const revive = async (options: ReviveOptions): Promise<void> => (await import('./revive.js')).revive(options);
