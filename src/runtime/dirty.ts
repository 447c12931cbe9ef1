/**
 * What was written since the last checkpoint, with why it is thought so, and the chunks that follow. One accumulator an
 * origin; a chunk that several touched is told with the most certain of them, because that one alone would have made it dirty: what
 * `unknown` is told with is what only unknown launches cost.
 */
import { CHUNK_BYTES, ORIGINS, type Origin } from '../checkpoint/index.js';
import { ADDRESS_SPACE, type AddressRange, DirtyAccumulator, type DirtySet, type Mark } from '../shadow/index.js';

/** From the least certain to the most: later ones win. */
export const DIRTY_ORIGINS = [
  'unknown',
  'contract',
  'allocation',
  'bounded',
  'exact',
  'copy',
] as const satisfies readonly Origin[];
export type DirtyOrigin = (typeof DIRTY_ORIGINS)[number];

export interface DirtyMark {
  readonly marks: ReadonlyMap<DirtyOrigin, Mark>;
  /** Launches that may have written anything, until then. */
  readonly anything: number;
}
export type DirtyRanges = ReadonlyMap<DirtyOrigin, readonly AddressRange[]>;

export class DirtyOrigins {
  readonly #accumulators = new Map(DIRTY_ORIGINS.map((origin) => [origin, new DirtyAccumulator()]));

  #anything = 0;

  /** @param unknownIsAnything whether an unknown launch may have written everything alive; then its set is not looked at */
  constructor(readonly unknownIsAnything: boolean) {}

  add(origin: DirtyOrigin, set: DirtySet): void {
    if (origin === 'unknown' && this.unknownIsAnything) {
      this.#anything++;
      return;
    }
    this.#accumulators.get(origin)!.add(set);
  }

  addRange(origin: DirtyOrigin, from: bigint, to: bigint): void {
    this.#accumulators.get(origin)!.addRange(from, to);
  }

  /** The memory is gone. */
  remove(from: bigint, to: bigint): void {
    for (const accumulator of this.#accumulators.values()) accumulator.remove(from, to);
  }

  /** Writes that may have gone anywhere, since the start; 0 where such writes have sets that are looked at. */
  get anything(): number {
    return this.#anything;
  }

  mark(): DirtyMark {
    const marks = new Map([...this.#accumulators].map(([origin, accumulator]) => [origin, accumulator.mark()]));
    return { marks, anything: this.#anything };
  }

  since({ marks, anything }: DirtyMark): DirtyRanges {
    const ranges = new Map([...marks].map(([origin, at]) => [origin, this.#accumulators.get(origin)!.since(at)]));
    // What was alive then and is alive now; what is younger than the mark is saved whole anyway.
    if (this.#anything > anything) ranges.set('unknown', [{ from: 0n, to: ADDRESS_SPACE }]);
    return ranges;
  }

  release({ marks }: DirtyMark): void {
    for (const [origin, at] of marks) this.#accumulators.get(origin)!.release(at);
  }
}

/** The first of sorted, disjoint ranges that ends after an address. */
function firstAfter(ranges: readonly AddressRange[], address: bigint): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.to > address) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * Notes which chunks of memory at `address` hold a dirty byte.
 *
 * @param origins a byte for each chunk of the memory, which becomes the origin's position in `ORIGINS`
 */
export function markDirty(origins: Uint8Array, address: bigint, size: number, dirty: DirtyRanges): void {
  const end = address + BigInt(size);
  for (const origin of DIRTY_ORIGINS) {
    const ranges = dirty.get(origin) ?? [];
    for (let at = firstAfter(ranges, address); at < ranges.length && ranges[at]!.from < end; at++) {
      const { from, to } = ranges[at]!;
      const first = from > address ? Math.floor(Number(from - address) / CHUNK_BYTES) : 0;
      const last = to < end ? Math.ceil(Number(to - address) / CHUNK_BYTES) : origins.length;
      origins.fill(ORIGINS.indexOf(origin), first, last);
    }
  }
}
