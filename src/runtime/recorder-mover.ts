/**
 * Memory without a handle (module variables, managed memory): the recorder copies it to and from buffers that it is sent. The same three operations as
 * a device has, in pieces, a few of which are under way at a time, so that many small variables do not each cost a round trip.
 */
import { CHUNK_BYTES, NAME_BYTES } from '../checkpoint/index.js';
import { hashChunks } from '../native/index.js';
import type { MemoryRange } from './custody.js';
import type { HostArena, Parts, SharedBuffer } from './parts.js';
import type { RecorderLink } from './recorder-link.js';

const PIECE_BYTES = 4 << 20;
/** Pieces under way. */
const LANES = 8;
const COPY_DEADLINE_MS = 30_000;

interface Piece {
  readonly address: bigint;
  readonly bytes: number;
  /** The number of its first chunk among all chunks of the ranges. */
  readonly chunk: number;
}

function piecesOf(ranges: readonly MemoryRange[]): Piece[] {
  const pieces: Piece[] = [];
  let chunk = 0;
  for (const { live, from, bytes } of ranges) {
    for (let at = 0; at < bytes; at += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, bytes - at);
      pieces.push({ address: live.address + BigInt(from + at), bytes: length, chunk });
      chunk += Math.ceil(length / CHUNK_BYTES);
    }
  }
  return pieces;
}

export class RecorderMover {
  constructor(
    readonly parts: Parts,
    readonly link: () => RecorderLink,
  ) {}

  async names(ranges: readonly MemoryRange[]): Promise<Uint8Array> {
    const pieces = piecesOf(ranges);
    const last = pieces.at(-1);
    const names = new Uint8Array(last ? NAME_BYTES * (last.chunk + Math.ceil(last.bytes / CHUNK_BYTES)) : 0);
    await this.#each(pieces, async (piece, buffer) => {
      const content = new Uint8Array(piece.bytes);
      await this.#ask('read', piece, buffer);
      buffer.read(content);
      names.set(hashChunks(content), NAME_BYTES * piece.chunk);
    });
    return names;
  }

  async save(ranges: readonly MemoryRange[], arena: HostArena, slots: Uint32Array): Promise<void> {
    await this.#each(piecesOf(ranges), async (piece, buffer) => {
      const content = new Uint8Array(piece.bytes);
      await this.#ask('read', piece, buffer);
      buffer.read(content);
      for (let at = 0; at < piece.bytes; at += CHUNK_BYTES)
        arena.view(slots[piece.chunk + at / CHUNK_BYTES]!, 1).set(content.subarray(at, at + CHUNK_BYTES));
    });
  }

  async load(ranges: readonly MemoryRange[], arena: HostArena, slots: Uint32Array): Promise<void> {
    await this.#each(piecesOf(ranges), async (piece, buffer) => {
      const content = new Uint8Array(piece.bytes);
      for (let at = 0; at < piece.bytes; at += CHUNK_BYTES) {
        const length = Math.min(CHUNK_BYTES, piece.bytes - at);
        content.set(arena.view(slots[piece.chunk + at / CHUNK_BYTES]!, 1).subarray(0, length), at);
      }
      buffer.write(content);
      await this.#ask('write', piece, buffer);
    });
  }

  async #ask(direction: 'read' | 'write', { address, bytes }: Piece, { fd }: SharedBuffer): Promise<void> {
    await this.link().request(direction, { address, size: bytes }, COPY_DEADLINE_MS, [fd]);
  }

  /** Runs `work` for every piece with a buffer that is large enough; after a failure, when nothing is under way any more, it throws. */
  async #each(pieces: readonly Piece[], work: (piece: Piece, buffer: SharedBuffer) => Promise<void>): Promise<void> {
    const largest = pieces.reduce((most, { bytes }) => Math.max(most, bytes), 0);
    let next = 0;
    let failed = false;
    const lane = async () => {
      const buffer = this.parts.createBuffer(largest);
      try {
        for (let piece = pieces[next++]; piece && !failed; piece = pieces[next++]) await work(piece, buffer);
      } catch (error) {
        failed = true;
        throw error;
      } finally {
        buffer.close();
      }
    };
    const lanes = Array.from({ length: Math.min(LANES, pieces.length) }, lane);
    await Promise.allSettled(lanes);
    await Promise.all(lanes);
  }
}
