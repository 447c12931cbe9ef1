/**
 * Sets of device addresses as disjoint, sorted, half-open ranges `[from, to)`; adjacent ranges are one. Addresses are
 * 64-bit and wrap: what runs past 2^64 goes on at zero, and is two ranges here.
 */

/** The number of addresses there are. */
export const ADDRESS_SPACE = 1n << 64n;

/** An address as people and files write it. */
export const hexAddress = (address: bigint): string => `0x${address.toString(16)}`;

export interface AddressRange {
  readonly from: bigint;
  /** Exclusive. */
  readonly to: bigint;
}

type Mutable = { from: bigint; to: bigint };

/** Collects ranges in any order. Appending in ascending order is cheap; everything else is sorted when asked for. */
export class RangeCollector {
  #ranges: Mutable[] = [];
  #limit = 1024;

  /** @param from below 2^64 */
  add(from: bigint, bytes: bigint): void {
    if (bytes <= 0n) return;
    let to = from + bytes;
    if (to > ADDRESS_SPACE) {
      this.add(0n, bytes >= ADDRESS_SPACE ? ADDRESS_SPACE : to - ADDRESS_SPACE);
      to = ADDRESS_SPACE;
    }
    const last = this.#ranges[this.#ranges.length - 1];
    if (last && from >= last.from && from <= last.to) {
      if (to > last.to) last.to = to;
      return;
    }
    this.#ranges.push({ from, to });
    if (this.#ranges.length > this.#limit) {
      this.#merge();
      this.#limit = Math.max(1024, this.#ranges.length * 2);
    }
  }

  #merge(): void {
    this.#ranges.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
    const merged: Mutable[] = [];
    for (const range of this.#ranges) {
      const last = merged[merged.length - 1];
      if (last && range.from <= last.to) {
        if (range.to > last.to) last.to = range.to;
      } else merged.push(range);
    }
    this.#ranges = merged;
  }

  /** The set, disjoint and sorted. */
  ranges(): readonly AddressRange[] {
    this.#merge();
    return this.#ranges.map(({ from, to }) => ({ from, to }));
  }
}

/** The number of addresses in disjoint ranges. */
export function countBytes(ranges: readonly AddressRange[]): bigint {
  let bytes = 0n;
  for (const { from, to } of ranges) bytes += to - from;
  return bytes;
}

/** Index of the first of sorted, disjoint ranges that ends after `address` (`orAt`: at or after it). */
function firstEndingAfter(ranges: readonly AddressRange[], address: bigint, orAt: boolean): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { to } = ranges[middle]!;
    if (orAt ? to < address : to <= address) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Whether one of sorted, disjoint ranges holds all of `[from, to)`. */
export function holdsRange(ranges: readonly AddressRange[], from: bigint, to: bigint): boolean {
  const range = ranges[firstEndingAfter(ranges, from, false)];
  return range !== undefined && range.from <= from && to <= range.to;
}

/** Adds a range to sorted, disjoint ranges, in place. */
export function insertRange(ranges: AddressRange[], from: bigint, to: bigint): void {
  const first = firstEndingAfter(ranges, from, true);
  let end = first;
  let [low, high] = [from, to];
  for (; end < ranges.length && ranges[end]!.from <= to; end++) {
    const range = ranges[end]!;
    if (range.from < low) low = range.from;
    if (range.to > high) high = range.to;
  }
  ranges.splice(first, end - first, { from: low, to: high });
}

/** Takes a range out of sorted, disjoint ranges, in place. */
export function removeRange(ranges: AddressRange[], from: bigint, to: bigint): void {
  const first = firstEndingAfter(ranges, from, false);
  let end = first;
  const left: AddressRange[] = [];
  for (; end < ranges.length && ranges[end]!.from < to; end++) {
    const range = ranges[end]!;
    if (range.from < from) left.push({ from: range.from, to: from });
    if (range.to > to) left.push({ from: to, to: range.to });
  }
  if (end > first) ranges.splice(first, end - first, ...left);
}

/** The union of two lists of sorted, disjoint ranges. */
export function unionRanges(a: readonly AddressRange[], b: readonly AddressRange[]): AddressRange[] {
  const merged: Mutable[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const next = j >= b.length || (i < a.length && a[i]!.from <= b[j]!.from) ? a[i++]! : b[j++]!;
    const last = merged[merged.length - 1];
    if (last && next.from <= last.to) {
      if (next.to > last.to) last.to = next.to;
    } else merged.push({ from: next.from, to: next.to });
  }
  return merged;
}

/** Sorted, disjoint ranges with the gaps below `granule` bytes filled: a superset. */
export function fillGaps(ranges: readonly AddressRange[], granule: bigint): AddressRange[] {
  const merged: Mutable[] = [];
  for (const { from, to } of ranges) {
    const last = merged[merged.length - 1];
    if (last && from - last.to < granule) last.to = to;
    else merged.push({ from, to });
  }
  return merged;
}
