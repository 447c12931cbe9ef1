/** Which checkpoints `prune` keeps. Order is by sequence; clocks only say to which hour or day one belongs. */
import type { Manifest } from './types.js';

/** A checkpoint stays when any rule keeps it. */
export interface KeepRules {
  /** The newest ones. */
  readonly last?: number;
  /** Of each of this many newest hours (UTC) that have any, the newest. */
  readonly hourly?: number;
  /** The same by day (UTC). */
  readonly daily?: number;
}

/**
 * @param checkpoints the oldest first
 * @returns the ids that stay; never none when there are any and some rule is above 0
 */
export function kept(checkpoints: readonly Manifest[], rules: KeepRules): ReadonlySet<string> {
  const newest = [...checkpoints].reverse();
  const ids = new Set(newest.slice(0, rules.last ?? 0).map(({ id }) => id));
  const keepPer = (milliseconds: number, most: number) => {
    const seen = new Set<number>();
    for (const { id, created } of newest) {
      if (seen.size >= most) return;
      const period = Math.floor(Date.parse(created) / milliseconds);
      if (seen.has(period)) continue;
      seen.add(period);
      ids.add(id);
    }
  };
  keepPer(3_600_000, rules.hourly ?? 0);
  keepPer(86_400_000, rules.daily ?? 0);
  return ids;
}
