/**
 * How much host memory this process may still take without being ended for it: the least of what the system has free and of what its control group
 * allows. Page cache counts as free in both, since the system gives it up before it ends anybody.
 */
import { readFileSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';

/** Where a group's numbers are, by the lines of /proc/self/cgroup (cgroups(7)): of version 1 the memory controller's, of version 2 the only one. */
const STATISTICS: readonly { readonly line: RegExp; readonly folder: string; readonly member: RegExp }[] = [
  { line: /^\d+:memory:(.*)$/m, folder: '/sys/fs/cgroup/memory', member: /^total_inactive_file (\d+)$/m },
  { line: /^0::(.*)$/m, folder: '/sys/fs/cgroup', member: /^inactive_file (\d+)$/m },
];

/**
 * Bytes of page cache that this process's control group would give up first; 0 where its numbers are not to be had.
 *
 * @param read a file's text; throws when there is none
 */
export function pageCacheBytes(read: (path: string) => string): number {
  for (const { line, folder, member } of STATISTICS)
    try {
      const place = line.exec(read('/proc/self/cgroup'))?.[1];
      const bytes = place !== undefined && member.exec(read(`${folder}${place === '/' ? '' : place}/memory.stat`))?.[1];
      if (bytes) return Number(bytes);
    } catch {
      // Another mount, or another version.
    }
  return 0;
}

/** Bytes. */
export function availableBytes(): number {
  const system = freemem();
  const limit = process.constrainedMemory?.() ?? 0;
  // Without a limit it is said to be 0, or more than there is.
  if (!(limit > 0 && limit < totalmem()) || !process.availableMemory) return system;
  return Math.min(system, process.availableMemory() + pageCacheBytes((path) => readFileSync(path, 'latin1')));
}
