/**
 * What all sites of a launch write exactly, together: a kernel writes a tile by many stores side by side, which are one descriptor
 * as soon as nobody asks any more which of them wrote what.
 *
 * The bytes are the union of what was added, no more and no less.
 */
import type { Dimension } from '../descriptor.js';
import type { RelativeDescriptor } from './boxes.js';
import type { Root } from './leaves.js';

/** Exact places from one pointer. */
export interface Place {
  /** Undefined: addresses are absolute. */
  readonly root: Root | undefined;
  readonly big: bigint;
  readonly descriptors: readonly RelativeDescriptor[];
}

/** Neighbours of a descriptor are looked for among this many of those before it: stores of a tile come in order. */
const LOOK_BACK = 4;

export class Places {
  readonly all: {
    readonly root: Root | undefined;
    readonly big: bigint;
    readonly descriptors: RelativeDescriptor[];
  }[] = [];

  add(root: Root | undefined, big: bigint, descriptors: readonly RelativeDescriptor[]): void {
    let place = this.all.find((known) => known.root === root && known.big === big);
    if (place === undefined) {
      place = { root, big, descriptors: [] };
      this.all.push(place);
    }
    for (const descriptor of descriptors) insert(place.descriptors, descriptor);
  }
}

function insert(list: RelativeDescriptor[], added: RelativeDescriptor): void {
  let next = added;
  // Joining two leaves fewer pieces than there were, so this ends.
  for (let at = neighbourOf(list, next); at >= 0; at = neighbourOf(list, next)) {
    const known = at === list.length - 1 ? list.pop()! : list.splice(at, 1)[0]!;
    const rest = restOf(known, next);
    next = join(known, next);
    if (rest === undefined) continue;
    // The longer one's rest comes after what both have in common.
    insert(list, next);
    next = rest;
  }
  list.push(next);
}

function neighbourOf(list: readonly RelativeDescriptor[], added: RelativeDescriptor): number {
  const first = Math.max(0, list.length - LOOK_BACK);
  for (let at = list.length - 1; at >= first; at--) if (areNeighbours(list[at]!, added)) return at;
  return -1;
}

/** Whether widths touch, and repetitions are the same but for the number of the outermost. */
function areNeighbours(a: RelativeDescriptor, b: RelativeDescriptor): boolean {
  if (b.start > a.start + a.width || a.start > b.start + b.width) return false;
  const [short, long] =
    a.dimensions.length <= b.dimensions.length ? [a.dimensions, b.dimensions] : [b.dimensions, a.dimensions];
  if (long.length - short.length > 1) return false;
  for (let i = 0; i < short.length; i++) {
    const one = short[i]!;
    const other = long[i]!;
    if (one.stride !== other.stride) return false;
    if (one.count !== other.count && !(i === long.length - 1)) return false;
  }
  return true;
}

/** What two neighbours repeat together. */
function join(a: RelativeDescriptor, b: RelativeDescriptor): RelativeDescriptor {
  const few = outerCount(a, b) <= outerCount(b, a) ? a : b;
  const start = Math.min(a.start, b.start);
  const width = Math.max(a.start + a.width, b.start + b.width) - start;
  return withoutGaps(start, width, few.dimensions);
}

/** What is left of the one of two neighbours that is repeated more often, behind what both have in common; undefined when nothing is. */
function restOf(a: RelativeDescriptor, b: RelativeDescriptor): RelativeDescriptor | undefined {
  const ofA = outerCount(a, b);
  const ofB = outerCount(b, a);
  if (ofA === ofB) return undefined;
  const [few, many] = ofA < ofB ? [a, b] : [b, a];
  const { stride, count } = many.dimensions[many.dimensions.length - 1]!;
  let common = Math.min(ofA, ofB);
  // One alone may be so wide that it has many repetitions in it. They are left out at once: one after the other could be a billion.
  if (common === 1) common = 1 + Math.max(0, Math.floor((few.start + few.width - many.start - many.width) / stride));
  const left = count - common;
  if (left <= 0) return undefined;
  const inner = many.dimensions.slice(0, -1);
  const dimensions = left > 1 ? [...inner, { stride, count: left }] : inner;
  return { start: many.start + stride * common, width: many.width, dimensions };
}

/** Repetitions in the outermost dimension that one of two neighbours has. */
function outerCount(one: RelativeDescriptor, other: RelativeDescriptor): number {
  const outermost = Math.max(one.dimensions.length, other.dimensions.length) - 1;
  return outermost < 0 ? 1 : (one.dimensions[outermost]?.count ?? 1);
}

/** Dimensions whose repetitions touch become part of the width, from the innermost on. */
function withoutGaps(start: number, width: number, dimensions: readonly Dimension[]): RelativeDescriptor {
  let total = width;
  let kept = 0;
  while (kept < dimensions.length && dimensions[kept]!.stride <= total) {
    const { stride, count } = dimensions[kept]!;
    total += stride * (count - 1);
    kept++;
  }
  return { start, width: total, dimensions: kept === 0 ? dimensions : dimensions.slice(kept) };
}
