/**
 * How much memory of the device is in use. Drivers lock each memory shared before they register it; the lock belongs to the open file,
 * which every descriptor, message under way and mapping keeps open. So memory is free when the device's own open file of it gets
 * the exclusive lock. Nobody need tell that he has let go, and nobody can fail to, by being killed either.
 */
import { closeSync, openSync } from 'node:fs';
import { tryExclusiveLock } from '../native/index.js';

/** An open file of its own for what a descriptor names; the descriptor is closed. Throws where that cannot be opened. */
export function reopen(fd: number): number {
  try {
    return openSync(`/proc/self/fd/${fd}`, 'r+');
  } finally {
    closeSync(fd);
  }
}

export class MemoryLedger {
  readonly #held = new Map<number, number>();
  #used = 0;

  constructor(readonly total: number) {}

  /** Frees what nobody holds any more; the bytes that are not in use then. */
  free(): number {
    for (const [fd, size] of this.#held) {
      if (!tryExclusiveLock(fd)) continue;
      closeSync(fd);
      this.#held.delete(fd);
      this.#used -= size;
    }
    return this.total - this.#used;
  }

  /**
   * Takes memory into account. False when there is not enough; the descriptor, an open file of the device's own, is closed then.
   *
   * @param size bytes, not negative
   */
  add(fd: number, size: number): boolean {
    if (size > this.total - this.#used && size > this.free()) {
      closeSync(fd);
      return false;
    }
    this.#held.set(fd, size);
    this.#used += size;
    return true;
  }

  close(): void {
    for (const fd of this.#held.keys()) closeSync(fd);
    this.#held.clear();
    this.#used = 0;
  }
}
