/**
 * How much more is told than written: every case of every recipe as it is, its tables known, at granules of 512 bytes. Launches
 * that the simulator declines or that leave their allocations on purpose do not count.
 */
import { judgeSession } from './judge.mjs';

/** Threads of a launch at most; larger grids are cut down to it. */
const MAX_THREADS = 2048;
const MAX_STEPS = 3_000_000;

/**
 * @returns granules told for each one written; undefined when no case of the kernel writes
 */
export function ratioOfKernel(library, entry) {
  let told = 0n;
  let wrote = 0n;
  const cases = entry.recipe?.(entry.template) ?? [];
  for (const [index, chosen] of cases.entries()) {
    if (chosen.only && !entry.file.includes(`${chosen.only}.`)) continue;
    const session = { seed: 'tightness', index, maxThreads: MAX_THREADS, maxSteps: MAX_STEPS };
    for (const result of judgeSession(library, entry, session, { chosen, modes: [true] })) {
      told += result.told;
      wrote += result.wrote;
    }
  }
  return wrote > 0n ? Number(told) / Number(wrote) : undefined;
}
