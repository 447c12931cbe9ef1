/**
 * What was written since some moment: the set a checkpoint runtime saves. Launches add their dirty sets, the driver's own
 * writes add ranges, a free drops what lay there. A set is only noted when it is added, and the same descriptors again cost
 * nothing, because a repeated launch adds every microsecond; ranges are made when somebody asks, or when much was noted.
 *
 * Memory is bounded: where the ranges of a stretch grow too many, small gaps are filled, which gives a superset. Nothing
 * but {@link DirtyAccumulator.remove} ever takes a byte out.
 */
import { type AccessDescriptor, expandDescriptors, hullOf } from './descriptor.js';
import type { DirtySet } from './dirty-set.js';
import { type AddressRange, fillGaps, holdsRange, insertRange, removeRange, unionRanges } from './ranges.js';

/** A moment: what is added later is since then. */
export interface Mark {
  readonly id: number;
}

/** What was added between two marks, or since the last. */
interface Stretch {
  readonly mark: Mark;
  ranges: AddressRange[];
  /** Gaps of less than this many bytes are filled. */
  granule: bigint;
}

const DEFAULT_LIMIT = 65_536;
/** Sets, and descriptors of sets, noted before they become ranges. */
const MAX_PENDING = 1024;
const MAX_DESCRIPTORS = 65_536;
const FIRST_GRANULE = 512n;
const GRANULE_STEP = 8n;
/** A list this many times shorter than another is inserted range by range. */
const FEW = 64;

export class DirtyAccumulator {
  /** Oldest first; the last one is open. Empty when nobody asks: then nothing is kept. */
  #stretches: Stretch[] = [];
  /** Noted since the last time ranges were made; all belong to the open stretch. */
  #pending: DirtySet['descriptors'][] = [];
  #descriptors = 0;
  /** Sets that carry this are in the open stretch already, noted or as ranges. */
  #token: object = {};
  /** The same for sets that are made anew for each launch, by the descriptors that they share. */
  #shared = new WeakSet<DirtySet['descriptors']>();
  #nextId = 0;

  /** @param limit ranges kept for each mark at most, once small gaps are filled */
  constructor(readonly limit = DEFAULT_LIMIT) {}

  add(set: DirtySet): void {
    if (set.addedTo === this.#token || this.#stretches.length === 0) return;
    set.addedTo = this.#token;
    const { descriptors } = set;
    if (set.verdict === 'unknown') {
      if (this.#shared.has(descriptors)) return;
      this.#shared.add(descriptors);
    }
    this.#pending.push(descriptors);
    this.#descriptors += descriptors.length;
    if (this.#pending.length >= MAX_PENDING || this.#descriptors >= MAX_DESCRIPTORS) this.#settle();
  }

  /** A write of the driver: a copy, a fill, or the new memory of an allocation. */
  addRange(from: bigint, to: bigint): void {
    const open = this.#stretches[this.#stretches.length - 1];
    if (!open || to <= from) return;
    insertRange(open.ranges, from, to);
    this.#bound(open);
  }

  /** Memory that is gone is no longer dirty, for any mark. */
  remove(from: bigint, to: bigint): void {
    if (this.#stretches.length === 0) return;
    this.#settle();
    for (const { ranges } of this.#stretches) removeRange(ranges, from, to);
    // A set of before may be written again, to new memory at the same place.
    this.#forgetSets();
  }

  /** From now on a set that was added before counts as new. */
  #forgetSets(): void {
    this.#token = {};
    this.#shared = new WeakSet();
  }

  mark(): Mark {
    this.#settle();
    this.#forgetSets();
    const mark = { id: this.#nextId++ };
    this.#stretches.push({ mark, ranges: [], granule: 0n });
    return mark;
  }

  /**
   * What was added since a mark, disjoint and sorted.
   *
   * @throws RangeError for a mark that was released
   */
  since(mark: Mark): readonly AddressRange[] {
    const first = this.#indexOf(mark);
    this.#settle();
    return this.#stretches
      .slice(first)
      .reduce<readonly AddressRange[]>((all, { ranges }) => unionRanges(all, ranges), []);
  }

  /** Says that nobody will ask for this mark again. */
  release(mark: Mark): void {
    const index = this.#indexOf(mark);
    this.#settle();
    const [gone] = this.#stretches.splice(index, 1);
    const before = this.#stretches[index - 1];
    // The marks before still want it; without any, it is nobody's.
    if (before && gone) this.#join(before, gone.ranges);
    if (this.#stretches.length === 0) this.#forgetSets();
  }

  #indexOf(mark: Mark): number {
    const index = this.#stretches.findIndex((stretch) => stretch.mark === mark);
    if (index < 0) throw new RangeError('this mark was released, or belongs to another accumulator');
    return index;
  }

  /** Makes ranges of what was noted. */
  #settle(): void {
    const open = this.#stretches[this.#stretches.length - 1];
    if (!open || this.#pending.length === 0) return;
    const descriptors: AccessDescriptor[] = [];
    for (const pending of this.#pending) {
      for (const descriptor of pending) {
        // What a long run writes was mostly written before.
        const hull = hullOf(descriptor);
        if (hull && !holdsRange(open.ranges, hull.from, hull.to)) descriptors.push(descriptor);
      }
    }
    this.#pending = [];
    this.#descriptors = 0;
    if (descriptors.length === 0) return;
    this.#join(open, expandDescriptors(descriptors, Math.max(2 * this.limit, descriptors.length)).ranges);
  }

  #join(into: Stretch, ranges: readonly AddressRange[]): void {
    if (ranges.length * FEW < into.ranges.length) {
      for (const { from, to } of ranges) insertRange(into.ranges, from, to);
    } else into.ranges = unionRanges(into.ranges, ranges);
    this.#bound(into);
  }

  #bound(stretch: Stretch): void {
    while (stretch.ranges.length > this.limit) {
      stretch.granule = stretch.granule === 0n ? FIRST_GRANULE : stretch.granule * GRANULE_STEP;
      stretch.ranges = fillGaps(stretch.ranges, stretch.granule);
    }
  }
}
