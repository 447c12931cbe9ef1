/** Locks that tell whether a file is still held by others: a shared lock lasts as long as its open file, in whichever process. */
import { addon } from './addon.js';

/**
 * Takes the exclusive lock (`flock`) for the open file behind a descriptor; never waits. False when another open file of the same
 * file has a lock. Throws an `Error` when the descriptor is none.
 */
export function tryExclusiveLock(fd: number): boolean {
  return addon().tryExclusiveLock(fd);
}
