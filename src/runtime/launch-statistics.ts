/**
 * Launches since the last checkpoint, by verdict and by kernel: what a manifest says of how certain an increment is, and whom
 * to ask when a chunk changed that was called clean. Memory is bounded: beyond a number of kernels only the verdicts are counted.
 */
import { type KernelInfo, LAUNCH_VERDICTS, type LaunchVerdict } from '../checkpoint/index.js';
import type { AllocationMap, DirtySet, LaunchRecord } from '../shadow/index.js';

const MAX_KERNELS = 10_000;
const MAX_POINTED = 256;

interface Kernel {
  readonly name: string;
  verdict: LaunchVerdict;
  launches: number;
  bytes: bigint;
  reason: string;
  /** First addresses of allocations that its parameters pointed into. */
  readonly pointed: Set<bigint>;
}

const worseVerdict = (a: LaunchVerdict, b: LaunchVerdict): LaunchVerdict =>
  LAUNCH_VERDICTS.indexOf(a) > LAUNCH_VERDICTS.indexOf(b) ? a : b;

export class LaunchStatistics {
  #byVerdict: Record<LaunchVerdict, number> = { exact: 0, bounded: 0, allocation: 0, contract: 0, unknown: 0 };
  #kernels = new Map<string, Kernel>();
  /** Answers whose launch's parameters were looked at: a repeated launch costs a look-up. */
  #looked = new WeakSet<DirtySet>();

  /**
   * @param allocations as the launch found them
   * @param contract the library call whose documentation gave the answer
   */
  add(launch: LaunchRecord, set: DirtySet, allocations: AllocationMap, contract?: string): void {
    const verdict = contract === undefined ? set.verdict : 'contract';
    const name = contract === undefined ? launch.kernel : `${contract}: ${launch.kernel}`;
    const kernel = this.#count(name, verdict, set, 1);
    if (!kernel) return;
    // A launch that may have written anything is never one that was missed.
    if (set.verdict === 'unknown' || this.#looked.has(set) || kernel.pointed.size >= MAX_POINTED) return;
    this.#looked.add(set);
    const { buffer, byteOffset, byteLength } = launch.parameters;
    for (const { from } of allocations.pointedTo(new DataView(buffer, byteOffset, byteLength)))
      kernel.pointed.add(from);
  }

  /** Launches of kernels that were not told, each of which may have written all of `set`. */
  addUntold(launches: number, set: DirtySet): void {
    this.#count('launches that were not told', 'unknown', set, launches);
  }

  /** @returns the kernel, if there was room for it */
  #count(name: string, verdict: LaunchVerdict, set: DirtySet, launches: number): Kernel | undefined {
    this.#byVerdict[verdict] += launches;
    let kernel = this.#kernels.get(name);
    if (!kernel) {
      if (this.#kernels.size >= MAX_KERNELS) return undefined;
      kernel = { name, verdict: 'exact', launches: 0, bytes: 0n, reason: '', pointed: new Set() };
      this.#kernels.set(name, kernel);
    }
    kernel.launches += launches;
    kernel.bytes += launches === 1 ? set.bytes : set.bytes * BigInt(launches);
    const worse = worseVerdict(kernel.verdict, verdict);
    if (worse !== kernel.verdict || kernel.reason === '') kernel.reason = set.reasons[0]?.message ?? '';
    kernel.verdict = worse;
    return kernel;
  }

  get byVerdict(): Readonly<Record<LaunchVerdict, number>> {
    return this.#byVerdict;
  }

  get kernels(): readonly KernelInfo[] {
    return [...this.#kernels.values()].map(({ name, verdict, launches, bytes, reason }) => ({
      name,
      verdict,
      launches,
      bytes: Number(bytes),
      reason,
    }));
  }

  /** Kernels that were given a pointer into the allocation that begins at `address`; all when none was. */
  candidates(address: bigint): readonly string[] {
    const all = [...this.#kernels.values()];
    const pointed = all.filter((kernel) => kernel.pointed.has(address));
    return (pointed.length > 0 ? pointed : all).map(({ name }) => name);
  }

  /** Takes the counts of another, which is older, as if they had been counted here. */
  merge(older: LaunchStatistics): void {
    for (const verdict of LAUNCH_VERDICTS) this.#byVerdict[verdict] += older.#byVerdict[verdict];
    for (const [name, kernel] of older.#kernels) {
      const own = this.#kernels.get(name);
      if (!own) {
        this.#kernels.set(name, { ...kernel, pointed: new Set(kernel.pointed) });
        continue;
      }
      own.launches += kernel.launches;
      own.bytes += kernel.bytes;
      own.verdict = worseVerdict(own.verdict, kernel.verdict);
      own.reason ||= kernel.reason;
      for (const from of kernel.pointed) own.pointed.add(from);
    }
  }
}
