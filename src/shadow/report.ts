/**
 * What is told of launches: one line each, and sums over a run. The share of launches and bytes by verdict is the honest
 * measure of the whole tool, so it is kept here, next to the lines it sums up (docs/formats/trace.md).
 */
import { type Reason, VERDICTS, type Verdict, worseVerdict } from '../templates/index.js';
import type { AllocationMap } from './allocations.js';
import type { DirtySet } from './dirty-set.js';
import { type AddressRange, hexAddress } from './ranges.js';

/** One launch, as its line in the output. Key order is part of the format. */
export interface LaunchReport {
  /** Number of the launch in the trace, from zero. */
  readonly launch: number;
  readonly kernel: string;
  readonly verdict: Verdict;
  /** First address and bytes. */
  readonly ranges: readonly (readonly [address: string, bytes: number])[];
  /** First address of each run of touched chunks, and their number. */
  readonly chunks?: readonly (readonly [address: string, chunks: number])[];
  readonly reasons: readonly Reason[];
}

/** Verdict and reasons of what {@link DirtySet.ranges} lists, which may be less exact than the set. */
export function listedVerdict(set: DirtySet): Pick<DirtySet, 'verdict' | 'reasons'> {
  if (!set.widened) return set;
  const message = 'gaps between rows are counted as written, because there are too many rows to list';
  const reason: Reason = { code: 'GCR5004', message, line: 0, instruction: '' };
  return { verdict: worseVerdict(set.verdict, 'bounded'), reasons: [...set.reasons, reason] };
}

/** @param chunkBytes size of chunks to list as well */
export function reportLaunch(launch: number, kernel: string, set: DirtySet, chunkBytes?: number): LaunchReport {
  const { verdict, reasons } = listedVerdict(set);
  const pairs = (ranges: readonly AddressRange[], unit: number) =>
    ranges.map(({ from, to }) => [hexAddress(from), Math.ceil(Number(to - from) / unit)] as const);
  return {
    launch,
    kernel,
    verdict,
    ranges: pairs(set.ranges(), 1),
    ...(chunkBytes !== undefined && { chunks: pairs(set.chunkRanges(chunkBytes), chunkBytes) }),
    reasons: reasons.map(({ code, line, instruction, message }) => ({ code, line, instruction, message })),
  };
}

export interface Share {
  readonly launches: number;
  readonly bytes: bigint;
}

/** Bytes counted for an allocation by launches that were not known better. */
export interface OverApproximation {
  /** First address and size of the allocation, and the name of a variable. */
  readonly address: bigint;
  readonly size: bigint;
  readonly name?: string;
  readonly launches: number;
  readonly bytes: bigint;
}

const MAX_ENTRIES = 10_000;

/** Sums over the launches of a run. Memory is bounded whatever the run's length. */
export class VerdictStatistics {
  readonly #shares = new Map<Verdict, { launches: number; bytes: bigint }>(
    VERDICTS.map((verdict) => [verdict, { launches: 0, bytes: 0n }]),
  );
  readonly #reasons = new Map<string, number>();
  #entries = new Map<string, { -readonly [key in keyof OverApproximation]: OverApproximation[key] }>();

  /** @param allocations as the launch found them */
  add(set: DirtySet, allocations: AllocationMap): void {
    const { verdict, reasons } = listedVerdict(set);
    const share = this.#shares.get(verdict)!;
    share.launches++;
    share.bytes += set.bytes;
    for (const code of new Set(reasons.map((reason) => reason.code)))
      this.#reasons.set(code, (this.#reasons.get(code) ?? 0) + 1);
    if (verdict !== 'allocation' && verdict !== 'unknown') return;
    for (const range of set.ranges()) {
      for (const { from, to, name } of allocations.overlapping(range.from, range.to)) {
        const bytes = (to < range.to ? to : range.to) - (from > range.from ? from : range.from);
        const key = `${from}:${to}`;
        const entry = this.#entries.get(key);
        if (entry) {
          entry.launches++;
          entry.bytes += bytes;
        } else {
          const size = to - from;
          this.#entries.set(key, { address: from, size, ...(name !== undefined && { name }), launches: 1, bytes });
        }
      }
    }
    // Only the largest are ever told.
    if (this.#entries.size > 2 * MAX_ENTRIES)
      this.#entries = new Map(
        this.overApproximation(MAX_ENTRIES).map((e) => [`${e.address}:${e.address + e.size}`, e]),
      );
  }

  get byVerdict(): ReadonlyMap<Verdict, Share> {
    return this.#shares;
  }

  /** Launches that have a reason of this code. */
  get byReason(): ReadonlyMap<string, number> {
    return this.#reasons;
  }

  /** The allocations that `allocation` and `unknown` verdicts cost most, largest sum first. */
  overApproximation(most: number): OverApproximation[] {
    return [...this.#entries.values()]
      .sort((a, b) => (a.bytes > b.bytes ? -1 : a.bytes < b.bytes ? 1 : a.address < b.address ? -1 : 1))
      .slice(0, most);
  }
}
