/** What `status` and `ps` tell of a process. */
import { LAUNCH_VERDICTS, type LaunchVerdict } from '../checkpoint/index.js';
import type { DriverState } from './control-state.js';
import type { ImageStatus } from './host-images.js';
import type { ProcessState, SupervisedProcess } from './process.js';

export interface ProcessStatus {
  readonly pid: number;
  readonly supervisor: number;
  readonly command: readonly string[];
  readonly store: string;
  readonly state: ProcessState;
  /** Where the driver's own checkpoint has it. */
  readonly driver: DriverState | 'unknown';
  /** Why it is suspended though nobody asked for it: a checkpoint could not bring it back. Null otherwise. */
  readonly problem: string | null;
  /** Why not everything is known any more; null while it is. */
  readonly recordingStopped: string | null;
  readonly operation: { readonly name: string; readonly step: string; readonly milliseconds: number } | null;
  readonly devices: readonly string[];
  readonly allocations: number;
  readonly bytes: number;
  readonly lastCheckpoint: string | null;
  /** Checkpoints in host memory, the oldest first. */
  readonly images: readonly ImageStatus[];
  /** Host memory for them, of all processes of this supervisor, in bytes. */
  readonly hostMemory: { readonly limit: number; readonly reserved: number; readonly free: number };
  /** Whether launches are only counted until the next checkpoint, since all memory counts as written already. */
  readonly quiet: boolean;
  /** Since the last checkpoint; while it is quiet, those before it became so. */
  readonly launches: Readonly<Record<LaunchVerdict, number>>;
  /** Events that wait for templates. */
  readonly waiting: number;
}

/** Launches since the last checkpoint, those included that one which failed meanwhile has counted. */
function launchesSince({ bridge, chains, lastTarget }: SupervisedProcess): Record<LaunchVerdict, number> {
  const [counted, now] = [chains[lastTarget].statistics.byVerdict, bridge.statistics.byVerdict];
  return Object.fromEntries(LAUNCH_VERDICTS.map((verdict) => [verdict, counted[verdict] + now[verdict]])) as Record<
    LaunchVerdict,
    number
  >;
}

/** How long the driver may take to say where a process is. */
const DRIVER_MS = 1_000;

export async function statusOf(subject: SupervisedProcess, store: string): Promise<ProcessStatus> {
  const driver = await subject.control.driverState(DRIVER_MS);
  const { bridge, operation } = subject;
  const live = [...bridge.allocations.values()];
  return {
    pid: subject.pid,
    supervisor: process.pid,
    command: subject.command,
    store,
    state: subject.state,
    driver,
    problem: subject.control.problem ?? null,
    recordingStopped: bridge.state.kind === 'recording' ? null : bridge.state.reason,
    operation: operation
      ? { name: operation.name, step: operation.step, milliseconds: Date.now() - operation.since }
      : null,
    devices: subject.hello.devices.map(({ name }) => name),
    allocations: live.length,
    bytes: live.reduce((sum, { size }) => sum + size, 0),
    lastCheckpoint: subject.chains[subject.lastTarget].last?.id ?? null,
    images: subject.hostImages.status(subject),
    hostMemory: subject.hostImages.memory.size,
    quiet: bridge.isQuiet,
    launches: launchesSince(subject),
    waiting: bridge.waiting,
  };
}
