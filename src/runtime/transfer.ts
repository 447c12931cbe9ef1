/** Chunks of a process's memory to slots of host memory and back: in large pieces, a few under way, several devices at once. */
import { CHUNK_BYTES, mapAhead, NAME_BYTES } from '../checkpoint/index.js';
import { hashChunks } from '../native/index.js';
import { RuntimeError } from './errors.js';
import type { HostMemory } from './host-memory.js';
import { type MemoryLayout, positionOf } from './layout.js';
import { gathered } from './names.js';
import { checkCancelled, type OperationContext, type SupervisedProcess } from './process.js';

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

/**
 * Saves chunks `list[from … to)` that were named before, and makes sure that their names are those of what was copied. A chunk under another's name would
 * spoil every checkpoint that has one of that name, so what somebody wrote in between is not let through: managed memory, which the host may change even
 * while the application is held, gets the name of what was copied; on a device nobody may write then.
 *
 * @param names of all chunks of the layout
 * @throws RuntimeError GCR8105 when device memory changed meanwhile
 */
export async function saveNamed(
  transfer: Transfer,
  from: number,
  to: number,
  names: Uint8Array,
  signal: AbortSignal,
  told: (bytes: number) => void,
): Promise<void> {
  await move('save', transfer, from, to, signal, told);
  const { process, layout, list } = transfer;
  const { namesOnDevice } = process.custody;
  const device = namesOnDevice ? Math.min(to, Math.max(from, positionOf(list, layout.recorderChunks))) : to;
  if (from < device) nameCopied(transfer, from, device, names);
  if (device === to) return;
  const now = await process.custody.names(layout.ranges(list, device, to));
  if (Buffer.compare(now, gathered(names, list, device, to)) === 0) return;
  const message = `memory of process ${process.pid} changed while it was held`;
  throw new RuntimeError('failed', 'GCR8105', message, 'something writes it that is not recorded; see docs/support.md');
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
