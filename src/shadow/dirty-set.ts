/**
 * The answer for one launch: which bytes it may have written. Immutable, and cheap to make, because a repeated launch makes
 * one a microsecond; everything derived is computed when it is first asked for. Checkpoint runtimes take chunks from the
 * descriptors directly, so that a matrix of a million rows is never written out.
 */
import type { Reason, Verdict } from '../templates/index.js';
import {
  type AccessDescriptor,
  chunkBitmapOf,
  coarsenDescriptor,
  exactBytes,
  exceedsRanges,
  expandDescriptors,
} from './descriptor.js';
import { ADDRESS_SPACE, type AddressRange, countBytes, RangeCollector } from './ranges.js';

export class DirtySet {
  #ranges: readonly AddressRange[] | undefined;
  #bytes: bigint | undefined;
  #descriptors: readonly AccessDescriptor[] | (() => readonly AccessDescriptor[]);
  /** @internal Left by the accumulator that it was added to last, which so knows it again. */
  addedTo: object | undefined = undefined;

  /**
   * @param verdict how much is known of the set
   * @param reasons why it is not `exact`
   * @param descriptors hold every byte that may have been written; a function gives them when they are asked for
   * @param bytes their number, where it is known already
   */
  constructor(
    readonly verdict: Verdict,
    readonly reasons: readonly Reason[],
    descriptors: readonly AccessDescriptor[] | (() => readonly AccessDescriptor[]),
    bytes?: bigint,
  ) {
    this.#descriptors = descriptors;
    this.#bytes = bytes;
  }

  get descriptors(): readonly AccessDescriptor[] {
    if (typeof this.#descriptors === 'function') this.#descriptors = this.#descriptors();
    return this.#descriptors;
  }

  /** The bytes as disjoint, sorted ranges: byte-exact unless {@link widened}. */
  ranges(): readonly AddressRange[] {
    this.#ranges ??= expandDescriptors(this.descriptors).ranges;
    return this.#ranges;
  }

  /**
   * More than 2^20 ranges: {@link ranges} and {@link bytes} are of a superset, and the verdict that goes with them is
   * `bounded` at best. The descriptors keep theirs.
   */
  get widened(): boolean {
    return exceedsRanges(this.descriptors);
  }

  /** Number of bytes in {@link ranges}. */
  get bytes(): bigint {
    this.#bytes ??= this.#count();
    return this.#bytes;
  }

  #count(): bigint {
    // A single descriptor, the usual case, is counted without its ranges.
    const [descriptor, ...others] = this.descriptors;
    const bytes = descriptor && others.length === 0 && !this.widened ? exactBytes(descriptor) : undefined;
    return bytes ?? countBytes(this.ranges());
  }

  /**
   * The chunks that hold a dirty byte, as disjoint, sorted ranges of whole chunks, which start at multiples of `chunkBytes`.
   *
   * @param chunkBytes a positive safe integer
   */
  chunkRanges(chunkBytes: number): readonly AddressRange[] {
    const coarse = this.descriptors.flatMap((descriptor) => coarsenDescriptor(descriptor, chunkBytes) ?? []);
    const chunk = BigInt(chunkBytes);
    const collector = new RangeCollector();
    for (const { from, to } of expandDescriptors(coarse).ranges) {
      const first = from - (from % chunk);
      const end = to + ((chunk - (to % chunk)) % chunk);
      collector.add(first, (end < ADDRESS_SPACE ? end : ADDRESS_SPACE) - first);
    }
    return collector.ranges();
  }

  /** The first addresses of {@link chunkRanges}' chunks, ascending. */
  *chunks(chunkBytes: number): Generator<bigint, void, undefined> {
    const chunk = BigInt(chunkBytes);
    for (const { from, to } of this.chunkRanges(chunkBytes)) for (let at = from; at < to; at += chunk) yield at;
  }

  /**
   * Which chunks of `[from, to)` hold a dirty byte, counted from `from`.
   *
   * @param chunkBytes a positive safe integer
   * @returns bit `i & 7` of byte `i >> 3` is the chunk from `from + i·chunkBytes` on; the last one ends at `to`
   */
  chunkBitmap(from: bigint, to: bigint, chunkBytes: number): Uint8Array {
    return chunkBitmapOf(this.descriptors, from, to, chunkBytes);
  }
}
