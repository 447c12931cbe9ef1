/** Sets of device addresses as disjoint, sorted, half-open ranges `[from, to)`; adjacent ranges are one. */

export interface AddressRange {
  readonly from: bigint;
  /** Exclusive. */
  readonly to: bigint;
}

/** Collects ranges in any order. Appending in ascending order is cheap; everything else is sorted when asked for. */
export class RangeCollector {
  #ranges: { from: bigint; to: bigint }[] = [];
  #limit = 1024;

  add(from: bigint, bytes: bigint): void {
    if (bytes <= 0n) return;
    const last = this.#ranges[this.#ranges.length - 1];
    if (last && from >= last.from && from <= last.to) {
      if (from + bytes > last.to) last.to = from + bytes;
      return;
    }
    this.#ranges.push({ from, to: from + bytes });
    if (this.#ranges.length > this.#limit) {
      this.#merge();
      this.#limit = Math.max(1024, this.#ranges.length * 2);
    }
  }

  #merge(): void {
    this.#ranges.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
    const merged: { from: bigint; to: bigint }[] = [];
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
