/**
 * What one driver has mapped, as memory for launches. Memory is mapped through the device's own open file and unmapped at once when
 * the driver says so; nothing of it survives the thread that holds it.
 */
import { closeSync } from 'node:fs';
import { mapFd } from '../native/index.js';
import { DeviceMemory } from '../sim/index.js';

/** Larger mappings are put together from pieces: views of more than 2 GiB are slow, and of more than 4 GiB impossible. */
const PIECE_BYTES = 2 ** 30;

interface Piece {
  readonly address: bigint;
  unmap(): void;
}

export class AddressSpace {
  readonly memory = new DeviceMemory();
  readonly #pieces = new Map<bigint, { readonly size: bigint; readonly pieces: readonly Piece[] }>();

  /**
   * Maps `size` bytes from `offset` of a file at an address. The descriptor is closed.
   *
   * @throws InputError GCR6002 when the place is taken; RangeError when the file has no such part
   */
  map(fd: number, address: bigint, size: bigint, offset: bigint): void {
    const pieces: Piece[] = [];
    try {
      for (let done = 0; done < Number(size); done += PIECE_BYTES) {
        const bytes = Math.min(PIECE_BYTES, Number(size) - done);
        const { buffer, unmap } = mapFd(fd, Number(offset) + done, bytes);
        const place = address + BigInt(done);
        this.memory.map(place, new Uint8Array(buffer), false);
        pieces.push({ address: place, unmap });
      }
    } finally {
      closeSync(fd);
    }
    this.#pieces.set(address, { size, pieces });
  }

  /** Undoes exactly one {@link map}; false when there was none of that place and size. */
  unmap(address: bigint, size: bigint): boolean {
    const found = this.#pieces.get(address);
    if (found?.size !== size) return false;
    for (const piece of found.pieces) {
      this.memory.unmap(piece.address);
      piece.unmap();
    }
    this.#pieces.delete(address);
    return true;
  }
}
