/** Descriptors against the set of bytes they stand for, written out one by one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  chunkBitmapOf,
  clipDescriptor,
  coarsenDescriptor,
  exceedsRanges,
  expandDescriptors,
} from '../../src/shadow/descriptor.js';
import {
  type AccessDescriptor,
  type AddressRange,
  DirtySet,
  exactBytes,
  hullOf,
  normalizeDescriptor,
  rangeDescriptor,
} from '../../src/shadow/index.js';

const TOP = 1n << 64n;

function bytesOf(descriptor: AccessDescriptor): Set<bigint> {
  let starts = [descriptor.start];
  for (const { stride, count } of descriptor.dimensions) {
    starts = starts.flatMap((at) => Array.from({ length: Math.max(0, count) }, (_, i) => at + BigInt(i * stride)));
  }
  return new Set(
    starts.flatMap((at) => Array.from({ length: descriptor.width }, (_, i) => BigInt.asUintN(64, at + BigInt(i)))),
  );
}

function bytesOfRanges(ranges: readonly AddressRange[]): Set<bigint> {
  const bytes = new Set<bigint>();
  for (const { from, to } of ranges) for (let at = from; at < to; at++) bytes.add(at);
  return bytes;
}

const union = (descriptors: readonly AccessDescriptor[]) => {
  const all = new Set<bigint>();
  for (const descriptor of descriptors) for (const byte of bytesOf(descriptor)) all.add(byte);
  return all;
};

const dimension = fc.record({ stride: fc.integer({ min: -40, max: 40 }), count: fc.integer({ min: 0, max: 6 }) });
const descriptor: fc.Arbitrary<AccessDescriptor> = fc.record({
  start: fc.oneof(
    fc.bigInt({ min: 1000n, max: 1100n }),
    fc.bigInt({ min: 0n, max: 30n }),
    fc.bigInt({ min: TOP - 60n, max: TOP - 1n }),
  ),
  width: fc.integer({ min: 0, max: 12 }),
  dimensions: fc.array(dimension, { maxLength: 3 }),
});
const RUNS = { numRuns: 1500 };

describe('normalizeDescriptor', () => {
  it('keeps the bytes, with positive ascending strides', () => {
    fc.assert(
      fc.property(descriptor, (given) => {
        const normal = normalizeDescriptor(given);
        expect(normal ? bytesOf(normal) : new Set()).toEqual(bytesOf(given));
        const strides = normal?.dimensions.map(({ stride }) => stride) ?? [];
        expect(strides.every((stride, index) => stride > (strides[index - 1] ?? 0))).toBe(true);
      }),
      RUNS,
    );
  });

  it('finds a contiguous matrix behind its rows and columns', () => {
    const dimensions = [
      { stride: 4096, count: 100 },
      { stride: 4, count: 1024 },
    ];
    expect(normalizeDescriptor({ start: 64n, width: 4, dimensions })).toEqual({
      start: 64n,
      width: 409_600,
      dimensions: [],
    });
  });

  it('grows the width only where no gap is left', () => {
    const holes = { start: 0n, width: 4, dimensions: [{ stride: 5, count: 3 }] };
    expect(normalizeDescriptor(holes)).toEqual(holes);
  });
});

describe('expandDescriptors', () => {
  it('gives exactly the bytes, as disjoint sorted ranges that do not touch', () => {
    fc.assert(
      fc.property(fc.array(descriptor, { maxLength: 3 }), (given) => {
        const { ranges, widened } = expandDescriptors(given);
        expect(widened).toBe(false);
        expect(bytesOfRanges(ranges)).toEqual(union(given));
        for (const [index, { from, to }] of ranges.entries()) {
          expect(from < to && to <= TOP).toBe(true);
          if (index > 0) expect(from > ranges[index - 1]!.to).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it('gives a superset within the hull and says so when ranges are limited', () => {
    fc.assert(
      fc.property(
        fc.array(descriptor, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 3, max: 12 }),
        (given, limit) => {
          const { ranges, widened } = expandDescriptors(given, limit);
          expect(widened).toBe(exceedsRanges(given, limit));
          // A range that crosses the end of addresses is two.
          expect(ranges.length).toBeLessThanOrEqual(limit + given.length);
          const all = union(given);
          const got = bytesOfRanges(ranges);
          for (const byte of all) expect(got.has(byte)).toBe(true);
          if (!widened) expect(got.size).toBe(all.size);
        },
      ),
      RUNS,
    );
  });

  it('expands a billion ranges to their rows', () => {
    const dimensions = [
      { stride: 8, count: 1000 },
      { stride: 16_384, count: 1_000_000 },
    ];
    const { ranges, widened } = expandDescriptors([{ start: 0n, width: 4, dimensions }]);
    expect(widened).toBe(true);
    expect(ranges).toHaveLength(1_000_000);
    expect(ranges[1]).toEqual({ from: 16_384n, to: 16_384n + 7996n });
  });
});

describe('clipDescriptor', () => {
  it('keeps exactly the bytes inside', () => {
    const edge = fc.oneof(fc.bigInt({ min: 0n, max: 1200n }), fc.bigInt({ min: TOP - 100n, max: TOP }));
    fc.assert(
      fc.property(descriptor, edge, edge, (given, a, b) => {
        const [from, to] = a < b ? [a, b] : [b, a];
        const clipped = clipDescriptor(given, from, to);
        expect(clipped.widened).toBe(false);
        expect(union(clipped.descriptors)).toEqual(
          new Set([...bytesOf(given)].filter((byte) => byte >= from && byte < to)),
        );
      }),
      { numRuns: 4000 },
    );
  });

  it('clips a large tiled matrix without writing it out', () => {
    const dimensions = [
      { stride: 8, count: 1 << 20 },
      { stride: 2 ** 30, count: 1 << 20 },
    ];
    const clipped = clipDescriptor({ start: 0n, width: 4, dimensions }, 2n ** 31n + 2n, 2n ** 32n);
    expect(clipped.descriptors.length).toBeLessThan(5);
    expect(clipped.descriptors.reduce((sum, part) => sum + exactBytes(part)!, 0n)).toBe((2n << 22n) - 2n);
  });
});

describe('chunks', () => {
  it('are those that hold a byte', () => {
    const inside = fc.record({
      start: fc.bigInt({ min: 800n, max: 1100n }),
      width: fc.integer({ min: 1, max: 12 }),
      dimensions: fc.array(dimension, { maxLength: 3 }),
    });
    fc.assert(
      fc.property(
        fc.array(inside, { maxLength: 3 }),
        fc.bigInt({ min: 700n, max: 1000n }),
        fc.integer({ min: 1, max: 33 }),
        (given, from, chunk) => {
          const to = from + 250n;
          const bytes = [...union(given)];
          const bitmap = chunkBitmapOf(given, from, to, chunk);
          const expected = new Set(
            bytes.filter((byte) => byte >= from && byte < to).map((byte) => Number((byte - from) / BigInt(chunk))),
          );
          const got = Array.from({ length: bitmap.length * 8 }, (_, i) => i).filter(
            (i) => (bitmap[i >> 3]! >> (i & 7)) & 1,
          );
          expect(new Set(got)).toEqual(expected);
          const starts = [...new DirtySet('exact', [], given).chunks(chunk)];
          const aligned = new Set(bytes.map((byte) => byte - (byte % BigInt(chunk))));
          expect(starts).toEqual([...aligned].sort((a, b) => (a < b ? -1 : 1)));
        },
      ),
      RUNS,
    );
  });

  it('of a column come straight from the descriptor', () => {
    const column = { start: 4n, width: 4, dimensions: [{ stride: 4096, count: 1 << 24 }] };
    expect(coarsenDescriptor(column, 65_536)?.dimensions).toEqual([]);
    const bitmap = chunkBitmapOf([column], 0n, 1n << 36n, 65_536);
    expect(bitmap.every((byte) => byte === 0xff)).toBe(true);
  });
});

describe('sizes', () => {
  it('are those of the bytes', () => {
    fc.assert(
      fc.property(descriptor, (given) => {
        const bytes = bytesOf(given);
        const exact = exactBytes(given);
        if (exact !== undefined) expect(exact).toBe(BigInt(bytes.size));
        expect(new DirtySet('exact', [], [given]).bytes).toBe(BigInt(bytes.size));
        const hull = hullOf(given);
        for (const byte of bytes) {
          const [low, high] = [
            byte >= hull!.from && byte < hull!.to,
            byte + TOP >= hull!.from && byte + TOP < hull!.to,
          ];
          expect(low || high).toBe(true);
        }
      }),
      RUNS,
    );
  });

  it('may be anything up to the whole address space', () => {
    for (const to of [1n, 4096n, (1n << 53n) + 5n, TOP - 1n, TOP]) {
      const set = new DirtySet('unknown', [], [rangeDescriptor({ from: 0n, to })]);
      expect(set.ranges()).toEqual([{ from: 0n, to }]);
      expect(set.bytes).toBe(to);
      expect(set.widened).toBe(false);
    }
  });
});
