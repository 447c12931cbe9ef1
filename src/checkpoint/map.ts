/**
 * Maps: the allocations of a checkpoint and the names of their chunks (docs/formats/store.md). `decodeMap` checks every
 * count and place against the file's size before anything is made of it, so a map that lies costs no more memory than it
 * has bytes; whoever has an `AllocationMap` need check nothing in it again.
 */
import { damaged } from './errors.js';
import { ALLOCATION_KINDS, type Allocation, chunksOf, MAX_ALLOCATION_BYTES, NAME_BYTES, ORIGINS } from './types.js';

const MAGIC = 'GCRMAP\0\0';
const VERSION = 1;
const HEAD_BYTES = 64;
const ALLOCATION_BYTES = 64;
const ENTRY_BYTES = 24;

/** The chunks that a map lists of one allocation, ascending; `names` has 16 bytes for each. */
export interface ChunkList {
  readonly allocation: Allocation;
  /** Whether every chunk is listed; otherwise only those that differ from the parent's. */
  readonly complete: boolean;
  readonly chunks: Uint32Array;
  readonly origins: Uint8Array;
  readonly names: Uint8Array;
}

/** A map: lists ascending by the id of their allocation. */
export interface AllocationMap {
  readonly complete: boolean;
  readonly lists: readonly ChunkList[];
}

/** How many names are the zero name. */
export function countZero(names: Uint8Array): number {
  let zero = 0;
  for (let at = 0; at < names.length; at += NAME_BYTES) if (isZeroName(names, at)) zero++;
  return zero;
}

export function isZeroName(names: Uint8Array, at: number): boolean {
  for (let i = at; i < at + NAME_BYTES; i++) if (names[i] !== 0) return false;
  return true;
}

/** Whether the names at two places are the same. */
export function sameName(a: Uint8Array, at: number, b: Uint8Array, bt: number): boolean {
  for (let i = 0; i < NAME_BYTES; i++) if (a[at + i] !== b[bt + i]) return false;
  return true;
}

/** @param lists in any order, one an allocation */
export function encodeMap(lists: readonly ChunkList[]): Uint8Array {
  const sorted = [...lists].sort((a, b) => (a.allocation.id < b.allocation.id ? -1 : 1));
  const labels = sorted.map(({ allocation }) => Buffer.from(allocation.label, 'utf8'));
  const entries = sorted.reduce((sum, list) => sum + list.chunks.length, 0);
  const text = labels.reduce((sum, label) => sum + label.length, 0);
  const bytes = Buffer.alloc(HEAD_BYTES + ALLOCATION_BYTES * sorted.length + ENTRY_BYTES * entries + text);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32LE(VERSION, 8);
  bytes.writeUInt32LE(sorted.length, 12);
  bytes.writeBigUInt64LE(BigInt(entries), 16);
  bytes.writeBigUInt64LE(BigInt(text), 24);
  bytes.writeUInt32LE(sorted.every((list) => list.complete) ? 1 : 0, 32);
  let at = HEAD_BYTES;
  let labelAt = 0;
  for (const [index, { allocation, complete, chunks }] of sorted.entries()) {
    bytes.writeBigUInt64LE(allocation.id, at);
    bytes.writeBigUInt64LE(allocation.address, at + 8);
    bytes.writeBigUInt64LE(BigInt(allocation.size), at + 16);
    bytes.writeBigUInt64LE(BigInt(chunks.length), at + 24);
    bytes.writeUInt32LE(ALLOCATION_KINDS.indexOf(allocation.kind), at + 32);
    bytes.writeUInt32LE(complete ? 1 : 0, at + 36);
    bytes.writeUInt32LE(labelAt, at + 40);
    bytes.writeUInt32LE(labels[index]!.length, at + 44);
    labelAt += labels[index]!.length;
    at += ALLOCATION_BYTES;
  }
  for (const { chunks, origins, names } of sorted) {
    for (let i = 0; i < chunks.length; i++, at += ENTRY_BYTES) {
      bytes.writeUInt32LE(chunks[i]!, at);
      bytes.writeUInt32LE(origins[i]!, at + 4);
      bytes.set(names.subarray(NAME_BYTES * i, NAME_BYTES * (i + 1)), at + 8);
    }
  }
  for (const label of labels) {
    bytes.set(label, at);
    at += label.length;
  }
  return bytes;
}

/**
 * @param place the store, and `file` the map's name inside it, for messages
 * @throws StoreError GCR7012
 */
export function decodeMap(input: Uint8Array, place: string, file: string): AllocationMap {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.length);
  const fail = (message: string): never => {
    throw damaged(place, file, message);
  };
  if (bytes.length < HEAD_BYTES || bytes.toString('latin1', 0, 8) !== MAGIC) return fail('is not a map');
  if (bytes.readUInt32LE(8) !== VERSION) return fail(`is a map of version ${bytes.readUInt32LE(8)}`);
  /** A 64-bit count: beyond the file's size it is wrong, whatever it counts. */
  const count = (at: number) => {
    const value = bytes.readBigUInt64LE(at);
    return value > BigInt(bytes.length) ? fail(`count at byte ${at} is larger than the file`) : Number(value);
  };
  const flag = (at: number) => {
    const value = bytes.readUInt32LE(at);
    return value > 1 ? fail(`flag at byte ${at} is ${value}`) : value === 1;
  };
  const [allocations, entries, textBytes] = [bytes.readUInt32LE(12), count(16), count(24)];
  const entriesAt = HEAD_BYTES + ALLOCATION_BYTES * allocations;
  const textAt = entriesAt + ENTRY_BYTES * entries;
  if (textAt + textBytes !== bytes.length) return fail('size does not fit its counts');
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const lists: ChunkList[] = [];
  let entryAt = entriesAt;
  let before = -1n;
  for (let index = 0; index < allocations; index++) {
    const at = HEAD_BYTES + ALLOCATION_BYTES * index;
    const id = bytes.readBigUInt64LE(at);
    const address = bytes.readBigUInt64LE(at + 8);
    const size = bytes.readBigUInt64LE(at + 16);
    const listed = count(at + 24);
    const kind = ALLOCATION_KINDS[bytes.readUInt32LE(at + 32)];
    const complete = flag(at + 36);
    const [labelAt, labelBytes] = [bytes.readUInt32LE(at + 40), bytes.readUInt32LE(at + 44)];
    if (id <= before) return fail(`allocations are not ascending at allocation ${id}`);
    before = id;
    if (size < 1n || size > BigInt(MAX_ALLOCATION_BYTES) || address + size > 1n << 64n)
      return fail(`allocation ${id} has ${size} bytes`);
    if (kind === undefined) return fail(`kind of allocation ${id} is not known`);
    if (labelAt + labelBytes > textBytes) return fail(`label of allocation ${id} lies outside the text`);
    const chunkCount = chunksOf(Number(size));
    if (complete ? listed !== chunkCount : listed > chunkCount)
      return fail(`allocation ${id} lists ${listed} of ${chunkCount} chunks`);
    if (entryAt + ENTRY_BYTES * listed > textAt) return fail(`chunks of allocation ${id} lie outside the file`);
    let label: string;
    try {
      label = decoder.decode(bytes.subarray(textAt + labelAt, textAt + labelAt + labelBytes));
    } catch {
      return fail(`label of allocation ${id} is not UTF-8`);
    }
    const list: ChunkList = {
      allocation: { id, address, size: Number(size), kind, label },
      complete,
      chunks: new Uint32Array(listed),
      origins: new Uint8Array(listed),
      names: new Uint8Array(NAME_BYTES * listed),
    };
    for (let i = 0; i < listed; i++, entryAt += ENTRY_BYTES) {
      const chunk = bytes.readUInt32LE(entryAt);
      const origin = bytes.readUInt32LE(entryAt + 4);
      if (chunk >= chunkCount || (i > 0 && chunk <= list.chunks[i - 1]!))
        return fail(`chunk ${chunk} of allocation ${id} is out of order or range`);
      if (origin >= ORIGINS.length) return fail(`origin of chunk ${chunk} of allocation ${id} is not known`);
      list.chunks[i] = chunk;
      list.origins[i] = origin;
      list.names.set(bytes.subarray(entryAt + 8, entryAt + ENTRY_BYTES), NAME_BYTES * i);
    }
    lists.push(list);
  }
  if (entryAt !== textAt) return fail('has entries of no allocation');
  if (flag(32) !== lists.every((list) => list.complete)) return fail('completeness differs from its lists');
  return { complete: flag(32), lists };
}
