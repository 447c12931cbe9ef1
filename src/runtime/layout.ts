/**
 * The memory of a process as one row of chunks: allocation behind allocation, those of one device together, in an order that stays the same while the
 * allocations do. Lists of chunks are flat arrays of numbers in this row; nothing here makes an object for each chunk.
 */
import { type Allocation, type AllocationKind, CHUNK_BYTES, chunksOf } from '../checkpoint/index.js';
import { NameTable } from './chain.js';
import type { MemoryRange } from './custody.js';
import type { LiveAllocation } from './event-bridge.js';
import type { SupervisedProcess } from './process.js';

export interface Part {
  readonly live: LiveAllocation;
  readonly stored: Allocation;
  /** The number of its first chunk, and how many it has. */
  readonly first: number;
  readonly count: number;
}

const kindOf = (live: LiveAllocation): AllocationKind => (live.kind === 'variable' ? 'variable' : 'device');

/** An allocation as checkpoints have it. */
function storedAllocation(process: SupervisedProcess, live: LiveAllocation): Allocation {
  const { address, size, label } = live;
  return { id: process.storeId(live), address, size, kind: kindOf(live), label };
}

export class MemoryLayout {
  readonly parts: readonly Part[];
  readonly chunks: number;
  readonly bytes: number;
  /** Who moves which chunks, in order: the recorder's (-1) come first. */
  readonly movers: readonly { readonly mover: number; readonly from: number; readonly to: number }[];

  constructor(process: SupervisedProcess, allocations: Iterable<LiveAllocation>) {
    const { custody } = process;
    const sorted = [...allocations]
      .map((live) => ({ live, mover: custody.moverOf(live) }))
      .sort((a, b) => a.mover - b.mover || a.live.handle - b.live.handle || a.live.number - b.live.number);
    let first = 0;
    let bytes = 0;
    const movers: { mover: number; from: number; to: number }[] = [];
    this.parts = sorted.map(({ live, mover }) => {
      const count = chunksOf(live.size);
      const part = { live, stored: storedAllocation(process, live), first, count };
      first += count;
      bytes += live.size;
      const last = movers.at(-1);
      if (last?.mover === mover) last.to = first;
      else movers.push({ mover, from: part.first, to: first });
      return part;
    });
    this.chunks = first;
    this.bytes = bytes;
    this.movers = movers;
  }

  /** The number of chunks that only the recorder reaches. */
  get recorderChunks(): number {
    const [first] = this.movers;
    return first && first.mover < 0 ? first.to : 0;
  }

  /** Positions `from … to` of an ascending list, cut by who moves its chunks. */
  byMover(list: Uint32Array, from: number, to: number): { readonly from: number; readonly to: number }[] {
    const cuts = this.movers.map(({ to: end }) => Math.min(to, Math.max(from, positionOf(list, end))));
    return cuts
      .map((end, index) => ({ from: index === 0 ? from : cuts[index - 1]!, to: end }))
      .filter((cut) => cut.from < cut.to);
  }

  /** Bytes of a chunk of a part. */
  static lengthOf({ live, first, count }: Part, chunk: number): number {
    return chunk === first + count - 1 ? live.size - (count - 1) * CHUNK_BYTES : CHUNK_BYTES;
  }

  /** The position in `parts` of the one that has a chunk. */
  partAt(chunk: number): number {
    let low = 0;
    let high = this.parts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.parts[middle]!.first <= chunk) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Runs of ascending chunks `list[from … to)` that lie in one part each: called with the part, the first chunk, their number and position. */
  eachRun(
    list: Uint32Array,
    from: number,
    to: number,
    run: (part: Part, chunk: number, count: number, at: number) => void,
  ): void {
    if (from >= to) return;
    let index = this.partAt(list[from]!);
    for (let at = from; at < to; ) {
      const chunk = list[at]!;
      while (chunk >= this.parts[index]!.first + this.parts[index]!.count) index++;
      const part = this.parts[index]!;
      const limit = Math.min(to - at, part.first + part.count - chunk);
      let count = 1;
      while (count < limit && list[at + count] === chunk + count) count++;
      run(part, chunk, count, at);
      at += count;
    }
  }

  /** What is moved for chunks `list[from … to)`. */
  ranges(list: Uint32Array, from = 0, to = list.length): MemoryRange[] {
    const ranges: MemoryRange[] = [];
    this.eachRun(list, from, to, (part, chunk, count) => {
      const start = (chunk - part.first) * CHUNK_BYTES;
      ranges.push({ live: part.live, from: start, bytes: Math.min(part.live.size - start, count * CHUNK_BYTES) });
    });
    return ranges;
  }

  /** Bytes of the chunks of a list. */
  bytesOf(list: Uint32Array): number {
    let bytes = list.length * CHUNK_BYTES;
    this.eachRun(list, 0, list.length, (part, chunk, count) => {
      if (chunk + count === part.first + part.count) bytes -= part.count * CHUNK_BYTES - part.live.size;
    });
    return bytes;
  }

  /** Lengths of chunks `list[from … to)`. */
  lengthsOf(list: Uint32Array, from: number, to: number): Uint32Array {
    const lengths = new Uint32Array(to - from).fill(CHUNK_BYTES);
    this.eachRun(list, from, to, (part, chunk, count, at) => {
      const last = chunk + count - 1;
      lengths[at + count - 1 - from] = MemoryLayout.lengthOf(part, last);
    });
    return lengths;
  }

  /** A table of names for this row. */
  tableOf(names: Uint8Array): NameTable {
    return new NameTable(
      names,
      new Map(this.parts.map(({ live, first, count }) => [live.number, { first, count, size: live.size }])),
    );
  }
}

/** How many numbers of an ascending list are smaller. */
export function positionOf(list: Uint32Array, number: number): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle]! < number) low = middle + 1;
    else high = middle;
  }
  return low;
}
