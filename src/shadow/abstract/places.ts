/**
 * What all sites of a launch write exactly, together: a kernel writes a tile by many stores side by side, which are one descriptor
 * as soon as nobody asks any more which of them wrote what.
 *
 * The bytes are the union of what was added, no more and no less.
 */
import type { Dimension } from '../descriptor.js';
import type { RelativeDescriptor } from './boxes.js';
import type { Root } from './evaluator.js';

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
  readonly all: { readonly root: Root | undefined; readonly big: bigint; readonly descriptors: RelativeDescriptor[] }[] =
    [];

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
  for (let at = list.length - 1; at >= 0 && at >= list.length - LOOK_BACK; at--) {
    const joined = join(list[at]!, added);
    if (joined === undefined) continue;
    list[at] = joined;
    return;
  }
  list.push(added);
}

/** One descriptor for two whose repetitions are the same and whose widths touch; undefined for others. */
function join(a: RelativeDescriptor, b: RelativeDescriptor): RelativeDescriptor | undefined {
  if (b.start > a.start + a.width || a.start > b.start + b.width) return undefined;
  const { dimensions } = a;
  if (dimensions.length !== b.dimensions.length) return undefined;
  for (let i = 0; i < dimensions.length; i++) {
    const one = dimensions[i]!;
    const other = b.dimensions[i]!;
    if (one.stride !== other.stride || one.count !== other.count) return undefined;
  }
  const start = Math.min(a.start, b.start);
  const width = Math.max(a.start + a.width, b.start + b.width) - start;
  return withoutGaps(start, width, dimensions);
}

/** Dimensions ascend; those whose repetitions touch become part of the width. */
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
