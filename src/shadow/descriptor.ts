/**
 * Linear memory access descriptors: a start, a width and repetitions, which say what a tile, a column or a strided batch
 * touches without a list of its rows. Everything here is exact; where the number of ranges has to be limited, the answer
 * is a superset and says so (`widened`), so that whoever reports it can lower the verdict.
 *
 * A descriptor is the Minkowski sum of one interval and one arithmetic progression a dimension. Sums commute, so
 * dimensions may be sorted and merged in any order; that is all that the normal form relies on.
 */
import { ADDRESS_SPACE, type AddressRange, RangeCollector } from './ranges.js';

export interface Dimension {
  /** Bytes from one repetition to the next; positive in the normal form. A safe integer. */
  readonly stride: number;
  readonly count: number;
}

/** Bytes `[a, a + width)` at every `a = start + Σ i·stride` with `0 ≤ i < count`, modulo 2^64. */
export interface AccessDescriptor {
  /** First address, below 2^64. */
  readonly start: bigint;
  /** Bytes; a safe integer. */
  readonly width: number;
  readonly dimensions: readonly Dimension[];
}

/** Descriptors that stand for what was asked, or (`widened`) for more than that. */
export interface Clipped {
  readonly descriptors: readonly AccessDescriptor[];
  readonly widened: boolean;
}

export interface Expansion {
  /** Disjoint and sorted. */
  readonly ranges: readonly AddressRange[];
  /** A superset: gaps inside some descriptor were filled to stay within the limit. */
  readonly widened: boolean;
}

/** Ranges that descriptors are expanded to at most. */
export const MAX_RANGES = 1 << 20;
/** Pieces that a descriptor may be cut into when it is clipped, about. */
const MAX_PIECES = 4096;

const wrap = (address: bigint): bigint => BigInt.asUintN(64, address);

/** A descriptor of one contiguous range; `bytes` may be anything up to 2^64. */
export function rangeDescriptor({ from, to }: AddressRange): AccessDescriptor {
  const bytes = to - from;
  if (bytes <= BigInt(Number.MAX_SAFE_INTEGER)) return { start: from, width: Number(bytes), dimensions: [] };
  // Blocks of 2^40 bytes, the last moved back so that it ends where the range ends: overlap does no harm.
  const block = 2 ** 40;
  const count = Number(bytes / BigInt(block));
  const rest = Number(bytes % BigInt(block));
  const dimensions: Dimension[] = [{ stride: block, count }];
  if (rest > 0) dimensions.push({ stride: rest, count: 2 });
  return { start: from, width: block, dimensions };
}

/**
 * Joins two progressions when their sum is one: the strides 8·{0…3} and 16·{0…9} give 8·{0…21}.
 *
 * @param inner the dimension of the smaller stride
 */
function joinDimensions(inner: Dimension, outer: Dimension): Dimension | undefined {
  const ratio = outer.stride / inner.stride;
  if (outer.stride % inner.stride !== 0 || ratio > inner.count) return undefined;
  const count = inner.count + ratio * (outer.count - 1);
  return Number.isSafeInteger(count) ? { stride: inner.stride, count } : undefined;
}

/** Widens by every dimension whose gaps are smaller than `gap` bytes; with 0 the bytes stay the same. */
function absorb(width: number, dimensions: readonly Dimension[], gap: number): { width: number; rest: Dimension[] } {
  const rest: Dimension[] = [];
  let total = width;
  // Strides ascend, so a dimension that is left never fits later: what widened came before it.
  for (const dimension of dimensions) {
    const grown = total + dimension.stride * (dimension.count - 1);
    if (dimension.stride - total <= gap && Number.isSafeInteger(grown)) total = grown;
    else rest.push(dimension);
  }
  return { width: total, rest };
}

/**
 * The normal form: strides positive and ascending, no dimension that could be part of another or of the width. The bytes
 * are the same. Undefined when there are none.
 */
export function normalizeDescriptor(descriptor: AccessDescriptor): AccessDescriptor | undefined {
  let { start } = descriptor;
  if (descriptor.width <= 0) return undefined;
  const dimensions: Dimension[] = [];
  for (const { stride, count } of descriptor.dimensions) {
    if (count <= 0) return undefined;
    if (count === 1 || stride === 0) continue;
    if (stride < 0) start += BigInt(stride) * BigInt(count - 1);
    dimensions.push({ stride: Math.abs(stride), count });
  }
  if (dimensions.length === 0) return { start: wrap(start), width: descriptor.width, dimensions };
  dimensions.sort((a, b) => a.stride - b.stride);
  const joined: Dimension[] = [];
  for (const dimension of dimensions) {
    const last = joined[joined.length - 1];
    const whole = last && joinDimensions(last, dimension);
    if (whole) joined[joined.length - 1] = whole;
    else joined.push(dimension);
  }
  const { width, rest } = absorb(descriptor.width, joined, 0);
  return { start: wrap(start), width, dimensions: rest };
}

/** Bytes from the first to past the last, of a descriptor in normal form. */
function extent({ width, dimensions }: Pick<AccessDescriptor, 'width' | 'dimensions'>): bigint {
  let bytes = BigInt(width);
  for (const { stride, count } of dimensions) bytes += BigInt(stride) * BigInt(count - 1);
  return bytes;
}

/** The smallest range that holds all bytes, not wrapped: `to` may lie past 2^64. Undefined when there are none. */
export function hullOf(descriptor: AccessDescriptor): AddressRange | undefined {
  // Mostly numbers suffice, and no normal form is needed.
  let below = 0;
  let above = descriptor.width;
  if (above <= 0) return undefined;
  for (const { stride, count } of descriptor.dimensions) {
    if (count <= 0) return undefined;
    const reach = stride * (count - 1);
    if (reach < 0) below -= reach;
    else above += reach;
  }
  if (Number.isSafeInteger(below + above)) {
    const from = below === 0 ? wrap(descriptor.start) : wrap(descriptor.start - BigInt(below));
    return { from, to: from + BigInt(below + above) };
  }
  const normal = normalizeDescriptor(descriptor);
  return normal && { from: normal.start, to: normal.start + extent(normal) };
}

/** The exact number of bytes where no dimension folds back into another; otherwise undefined. */
export function exactBytes(descriptor: AccessDescriptor): bigint | undefined {
  const normal = normalizeDescriptor(descriptor);
  if (!normal) return 0n;
  let bytes = BigInt(normal.width);
  let reach = bytes;
  for (const { stride, count } of normal.dimensions) {
    if (BigInt(stride) < reach) return undefined;
    bytes *= BigInt(count);
    reach += BigInt(stride) * BigInt(count - 1);
  }
  return reach <= ADDRESS_SPACE ? bytes : undefined;
}

/** A descriptor on its way to ranges: every dimension leaves gaps, and the width may be anything. */
interface Spread {
  readonly start: bigint;
  readonly width: bigint;
  readonly dimensions: readonly Dimension[];
  /** Ranges it is written out as, before those that touch are joined. */
  readonly count: number;
}

/** @param fill how many of the inner dimensions become part of the width, gaps and all */
function spread(start: bigint, width: bigint, dimensions: readonly Dimension[], fill = 0): Spread {
  let total = width;
  let first = 0;
  // Strides ascend: the first that leaves a gap ends it.
  for (; first < dimensions.length; first++) {
    const { stride, count } = dimensions[first]!;
    if (first >= fill && BigInt(stride) > total) break;
    total += BigInt(stride) * BigInt(count - 1);
  }
  const rest = dimensions.slice(first);
  return { start, width: total, dimensions: rest, count: rest.reduce((product, { count }) => product * count, 1) };
}

/** A superset of at most `limit` ranges: inner dimensions become part of the width, those of the smallest gaps first. */
function limitRanges(whole: Spread, limit: number): Spread {
  let current = whole;
  while (current.count > limit) current = spread(current.start, current.width, current.dimensions, 1);
  return current;
}

function addRanges(into: RangeCollector, start: bigint, of: Spread, level: number): void {
  if (level < 0) {
    into.add(wrap(start), of.width);
    return;
  }
  const { stride, count } = of.dimensions[level]!;
  const step = BigInt(stride);
  let at = start;
  for (let index = 0; index < count; index++) {
    addRanges(into, at, of, level - 1);
    at += step;
  }
}

function spreadAll(descriptors: readonly AccessDescriptor[]): Spread[] {
  const all: Spread[] = [];
  for (const descriptor of descriptors) {
    const normal = normalizeDescriptor(descriptor);
    if (normal) all.push(spread(normal.start, BigInt(normal.width), normal.dimensions));
  }
  return all;
}

/**
 * The bytes of several descriptors as ranges. Ranges are joined only where they touch.
 *
 * @param limit ranges written out at most; descriptors that need more share what is left equally and are widened
 */
export function expandDescriptors(descriptors: readonly AccessDescriptor[], limit = MAX_RANGES): Expansion {
  const collector = new RangeCollector();
  const all = spreadAll(descriptors).sort((a, b) => a.count - b.count);
  let left = limit;
  let widened = false;
  for (const [index, whole] of all.entries()) {
    const share = Math.max(1, Math.floor(left / (all.length - index)));
    const limited = limitRanges(whole, share);
    if (limited !== whole) widened = true;
    left -= limited.count;
    addRanges(collector, limited.start, limited, limited.dimensions.length - 1);
  }
  return { ranges: collector.ranges(), widened };
}

/** Whether {@link expandDescriptors} would widen. Costs no expansion. */
export function exceedsRanges(descriptors: readonly AccessDescriptor[], limit = MAX_RANGES): boolean {
  return spreadAll(descriptors).reduce((total, { count }) => total + count, 0) > limit;
}

/** Clips one window of the unwrapped address line; answers false when it had to keep more than asked. */
function clipWindow(normal: AccessDescriptor, from: bigint, to: bigint, into: AccessDescriptor[]): boolean {
  const reach = extent(normal);
  if (normal.start >= to || normal.start + reach <= from) return true;
  if (normal.start >= from && normal.start + reach <= to) {
    into.push({ ...normal, start: wrap(normal.start) });
    return true;
  }
  const outer = normal.dimensions[normal.dimensions.length - 1];
  if (!outer) {
    const low = normal.start > from ? normal.start : from;
    const high = normal.start + reach < to ? normal.start + reach : to;
    into.push({ start: wrap(low), width: Number(high - low), dimensions: [] });
    return true;
  }
  const inner = normal.dimensions.slice(0, -1);
  const step = BigInt(outer.stride);
  const piece = extent({ width: normal.width, dimensions: inner });
  const clamp = (index: bigint) => Number(index < 0n ? 0n : index > BigInt(outer.count) ? BigInt(outer.count) : index);
  // Pieces [touchFirst, touchEnd) meet the window, those in [wholeFirst, wholeEnd) lie inside it.
  const ceil = (value: bigint) => (value <= 0n ? 0n : (value + step - 1n) / step);
  const touchFirst = clamp(from < normal.start + piece ? 0n : (from - normal.start - piece) / step + 1n);
  const touchEnd = clamp(ceil(to - normal.start));
  const wholeFirst = clamp(ceil(from - normal.start));
  const wholeEnd = Math.max(wholeFirst, to < normal.start + piece ? 0 : clamp((to - normal.start - piece) / step + 1n));
  if (into.length + touchEnd - touchFirst - (wholeEnd - wholeFirst) > MAX_PIECES) {
    const low = normal.start > from ? normal.start : from;
    const high = normal.start + reach < to ? normal.start + reach : to;
    into.push(rangeDescriptor({ from: wrap(low), to: wrap(low) + (high - low) }));
    return false;
  }
  let exact = true;
  const cut = (index: number) => {
    const start = normal.start + BigInt(index) * step;
    exact = clipWindow({ start, width: normal.width, dimensions: inner }, from, to, into) && exact;
  };
  for (let index = touchFirst; index < Math.min(wholeFirst, touchEnd); index++) cut(index);
  if (wholeEnd > wholeFirst) {
    const dimensions = [...inner, { stride: outer.stride, count: wholeEnd - wholeFirst }];
    const start = wrap(normal.start + BigInt(wholeFirst) * step);
    into.push(normalizeDescriptor({ start, width: normal.width, dimensions })!);
  }
  for (let index = Math.max(wholeEnd, touchFirst); index < touchEnd; index++) cut(index);
  return exact;
}

/**
 * The bytes of a descriptor that lie in `[from, to)`. Exact, but for descriptors whose dimensions fold into each other so
 * often that the pieces at the edges are thousands: there a superset within `[from, to)`, and `widened`.
 */
export function clipDescriptor(descriptor: AccessDescriptor, from: bigint, to: bigint): Clipped {
  const normal = normalizeDescriptor(descriptor);
  const clipped: AccessDescriptor[] = [];
  if (!normal || to <= from) return { descriptors: clipped, widened: false };
  const turns = (normal.start + extent(normal) - 1n) / ADDRESS_SPACE;
  if (turns > BigInt(MAX_PIECES)) return { descriptors: [rangeDescriptor({ from, to })], widened: true };
  let exact = true;
  for (let turn = 0n; turn <= turns; turn++) {
    const shift = turn * ADDRESS_SPACE;
    exact = clipWindow(normal, from + shift, to + shift, clipped) && exact;
  }
  return { descriptors: clipped, widened: !exact };
}

/**
 * A superset with the same chunks: a gap that is shorter than a chunk leaves no aligned or unaligned chunk untouched, so
 * a dimension of such gaps may be filled.
 */
export function coarsenDescriptor(descriptor: AccessDescriptor, chunkBytes: number): AccessDescriptor | undefined {
  const normal = normalizeDescriptor(descriptor);
  if (!normal) return undefined;
  const { width, rest } = absorb(normal.width, normal.dimensions, chunkBytes - 1);
  return { start: normal.start, width, dimensions: rest };
}

/**
 * Which chunks of `[from, to)` are touched. Cost follows the number of chunks, not of ranges, where dimensions do not fold
 * into each other.
 *
 * @param chunkBytes a positive safe integer
 * @returns bit `i & 7` of byte `i >> 3` is the chunk from `from + i·chunkBytes` on; the last one ends at `to`
 */
export function chunkBitmapOf(
  descriptors: readonly AccessDescriptor[],
  from: bigint,
  to: bigint,
  chunkBytes: number,
): Uint8Array {
  const chunk = BigInt(chunkBytes);
  const count = to <= from ? 0 : Number((to - from + chunk - 1n) / chunk);
  const bitmap = new Uint8Array(Math.ceil(count / 8));
  for (const descriptor of descriptors) {
    // Clipped first: then a gap has a byte of the window on either side, and fills no chunk that is cut off at the end.
    const inside = clipDescriptor(descriptor, from, to).descriptors;
    const coarse = inside.flatMap((part) => coarsenDescriptor(part, chunkBytes) ?? []);
    for (const range of expandDescriptors(coarse).ranges) {
      const last = Number((range.to - 1n - from) / chunk);
      for (let index = Number((range.from - from) / chunk); index <= last; index++) {
        bitmap[index >> 3]! |= 1 << (index & 7);
      }
    }
  }
  return bitmap;
}
