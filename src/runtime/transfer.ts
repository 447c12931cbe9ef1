/** Chunks of a process's memory to slots of host memory and back: in large pieces, a few under way, several devices at once. */
import { CHUNK_BYTES, mapAhead, NAME_BYTES } from '../checkpoint/index.js';
import { hashChunks } from '../native/index.js';
import { checkCancelled, RuntimeError } from './errors.js';
import type { HostMemory } from './host-memory.js';
import type { MemoryLayout } from './layout.js';
import { gathered } from './names.js';
import type { OperationContext, SupervisedProcess } from './process.js';

/** Chunks that are moved by one call: large enough for full speed, small enough to tell progress and to be cancelled. */
const AT_ONCE = 16_384;
/** Calls under way: two that move, and one whose chunks are named meanwhile. */
const WINDOW = 3;

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
 * With names, what was moved is held against them, while the next chunks move. A chunk that is saved under another's name would spoil every checkpoint that
 * has one of that name, so what somebody wrote in between is not let through: on a device nobody may write then; managed memory, which the host may change
 * even while the application is held, gets the name of what was copied, and so does memory whose device computes no names.
 *
 * @param told called with the bytes that have been moved since the last call
 * @param names of all chunks of the layout
 * @throws RuntimeError GCR8105 when device memory changed while it was saved, GCR8109 when it is not what was copied to it
 */
export async function move(
  direction: 'save' | 'load',
  transfer: Transfer,
  from: number,
  to: number,
  signal: AbortSignal | undefined,
  told: (bytes: number) => void = () => {},
  names?: Uint8Array,
): Promise<void> {
  const { process, layout, list, memory, slots } = transfer;
  const { custody } = process;
  const devices = layout.byMover(list, from, to).map(async (own) => {
    const starts: number[] = [];
    for (let at = own.from; at < own.to; at += AT_ONCE) starts.push(at);
    const run = async (at: number) => {
      if (signal) checkCancelled(signal);
      const end = Math.min(own.to, at + AT_ONCE);
      const ranges = layout.ranges(list, at, end);
      await custody[direction](ranges, memory.arena, slots.subarray(at, end));
      if (names && own.mover >= 0 && custody.namesOnDevice) {
        const now = await custody.names(ranges);
        if (Buffer.compare(now, gathered(names, list, at, end)) !== 0) throw differs(direction, process.pid);
      } else if (names && direction === 'save') nameCopied(transfer, at, end, names);
      return end - at;
    };
    for await (const chunks of mapAhead(starts, WINDOW, run)) told(chunks * CHUNK_BYTES);
  });
  await Promise.allSettled(devices);
  await Promise.all(devices);
}

function differs(direction: 'save' | 'load', pid: number): RuntimeError {
  const hint = 'something writes it that is not recorded; see docs/support.md';
  return direction === 'save'
    ? new RuntimeError('failed', 'GCR8105', `memory of process ${pid} changed while it was held`, hint)
    : new RuntimeError('failed', 'GCR8109', `memory of process ${pid} is not what was copied to it`, hint);
}

function nameCopied({ layout, list, memory, slots }: Transfer, from: number, to: number, names: Uint8Array): void {
  const lengths = layout.lengthsOf(list, from, to);
  for (let at = from; at < to; at++) {
    const bytes = memory.view(slots[at]!, 1).subarray(0, lengths[at - from]);
    names.set(hashChunks(bytes), NAME_BYTES * list[at]!);
  }
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
