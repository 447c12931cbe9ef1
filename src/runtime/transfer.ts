/** Chunks of a process's memory to slots of host memory and back: in large pieces, a few under way, several devices at once. */
import { CHUNK_BYTES, mapAhead } from '../checkpoint/index.js';
import { checkCancelled } from './errors.js';
import type { HostMemory } from './host-memory.js';
import type { MemoryLayout } from './layout.js';
import type { OperationContext, SupervisedProcess } from './process.js';

/** Chunks that are moved by one call: large enough for full speed, small enough to tell progress and to be cancelled. */
const AT_ONCE = 16_384;
const WINDOW = 2;

export interface Transfer {
  readonly process: SupervisedProcess;
  readonly layout: MemoryLayout;
  /** Ascending numbers of chunks. */
  readonly list: Uint32Array;
  readonly memory: HostMemory;
  /** The slot of each chunk of the list. */
  readonly slots: Uint32Array;
}

/**
 * Moves chunks `list[from … to)`. When it rejects, nothing is under way any more. Only while the application is held, or with memory that it does not have.
 *
 * @param told called with the bytes that have been moved since the last call
 */
export async function move(
  direction: 'save' | 'load',
  { process, layout, list, memory, slots }: Transfer,
  from: number,
  to: number,
  signal: OperationContext['signal'] | undefined,
  told: (bytes: number) => void = () => {},
): Promise<void> {
  const devices = layout.byMover(list, from, to).map(async (own) => {
    const starts: number[] = [];
    for (let at = own.from; at < own.to; at += AT_ONCE) starts.push(at);
    const run = async (at: number) => {
      if (signal) checkCancelled(signal);
      const end = Math.min(own.to, at + AT_ONCE);
      await process.custody[direction](layout.ranges(list, at, end), memory.arena, slots.subarray(at, end));
      return end - at;
    };
    for await (const chunks of mapAhead(starts, WINDOW, run)) told(chunks * CHUNK_BYTES);
  });
  await Promise.allSettled(devices);
  await Promise.all(devices);
}

/** Tells what has been done of `total` bytes: at once, and with each number of bytes that are added. */
export function progressOf(
  report: OperationContext['report'],
  step: string,
  total: number,
  start = 0,
): (bytes: number) => void {
  let done = start;
  const add = (bytes: number) => {
    done += bytes;
    report({ step, done, total });
  };
  add(0);
  return add;
}
