/** What `status` and `ps` tell of a process. */
import type { LaunchVerdict } from '../checkpoint/index.js';
import type { ImageStatus } from './host-images.js';
import type { ProcessState, SupervisedProcess } from './process.js';

export interface ProcessStatus {
  readonly pid: number;
  readonly supervisor: number;
  readonly command: readonly string[];
  readonly store: string;
  readonly state: ProcessState;
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
  /** Since the last checkpoint. */
  readonly launches: Readonly<Record<LaunchVerdict, number>>;
  /** Events that wait for templates. */
  readonly waiting: number;
}

export function statusOf(subject: SupervisedProcess, command: readonly string[], store: string): ProcessStatus {
  const { bridge, operation } = subject;
  const live = [...bridge.allocations.values()];
  return {
    pid: subject.pid,
    supervisor: process.pid,
    command,
    store,
    state: subject.state,
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
    launches: bridge.statistics.byVerdict,
    waiting: bridge.waiting,
  };
}
