/**
 * Stores through tensor maps against the elements written down one by one: random tensors, boxes and coordinates. Elements outside of the
 * tensor are not written; rows are, in pieces of 16 bytes.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import {
  type AddressRange,
  RangeCollector,
  ShadowExecutor,
  type TensorMapRecord,
  TensorMaps,
} from '../../src/shadow/index.js';

const BASE = 0x7f00_0000_0000n;
/** CUtensorMapDataType of elements of 1, 2, 4 and 8 bytes. */
const TYPES: readonly (readonly [type: number, bytes: number])[] = [
  [0, 1],
  [6, 2],
  [7, 4],
  [8, 8],
];
const GRANULE = 16;

/** What a coordinate is: a sum over ctaid.x, ctaid.y and tid.x. */
type Coordinate = readonly [x: number, y: number, t: number, constant: number];

interface Case {
  readonly record: TensorMapRecord;
  readonly elementBytes: number;
  readonly coordinates: readonly Coordinate[];
  readonly grid: readonly [number, number, 1];
  readonly block: readonly [number, 1, 1];
  readonly inMemory: boolean;
}

function textOf({ coordinates, inMemory }: Case): string {
  const terms = coordinates.map(([x, y, t, constant], axis) =>
    [
      `mov.u32 %r${axis}, ${constant};`,
      ...[x, y, t].map((factor, index) => `mad.lo.s32 %r${axis}, %s${index}, ${factor}, %r${axis};`),
    ].join(' '),
  );
  const list = coordinates.map((_, axis) => `%r${axis}`).join(', ');
  const map = inMemory ? 'ld.param.u64 %rd1, [map];' : 'mov.b64 %rd0, map; cvta.param.u64 %rd1, %rd0;';
  return `.version 8.0
.target sm_90
.address_size 64
.visible .entry store(${inMemory ? '.param .u64 map' : '.param .align 64 .b8 map[128]'}) {
  .reg .b32 %r<8>; .reg .b32 %s<3>; .reg .b64 %rd<2>;
  .shared .align 128 .b8 tile[4096];
  mov.u32 %s0, %ctaid.x; mov.u32 %s1, %ctaid.y; mov.u32 %s2, %tid.x;
  ${terms.join('\n  ')}
  mov.u32 %r7, tile;
  ${map}
  cp.async.bulk.tensor.${coordinates.length}d.global.shared::cta.bulk_group [%rd1, {${list}}], [%r7];
}
`;
}

/** Bytes written, by the manual and by what a device was seen to do. */
function written({ record, elementBytes, coordinates, grid, block }: Case): readonly AddressRange[] {
  const { sizes, strides, box, elementStrides } = record;
  const all = new RangeCollector();
  const rowEnd = Math.ceil((Number(sizes[0]) * elementBytes) / GRANULE) * GRANULE;
  const place = (axis: number, corner: readonly number[], offset: bigint): void => {
    if (axis === 0) {
      const from = Math.max(0, corner[0]! * elementBytes);
      const to = Math.min(rowEnd, (corner[0]! + box[0]!) * elementBytes);
      if (to > from) all.add(BASE + offset + BigInt(from), BigInt(to - from));
      return;
    }
    for (let at = 0; at < box[axis]!; at += elementStrides[axis]!) {
      const index = corner[axis]! + at;
      if (index >= 0 && index < Number(sizes[axis]))
        place(axis - 1, corner, offset + BigInt(index) * strides[axis - 1]!);
    }
  };
  for (let x = 0; x < grid[0]; x++) {
    for (let y = 0; y < grid[1]; y++) {
      for (let t = 0; t < block[0]; t++) {
        const corner = coordinates.map(([a, b, c, constant]) => a * x + b * y + c * t + constant);
        place(corner.length - 1, corner, 0n);
      }
    }
  }
  return all.ranges();
}

async function told(one: Case): Promise<{ verdict: string; ranges: readonly AddressRange[] }> {
  const { product } = await buildTemplatesFromText(textOf(one));
  expect(product.missing).toEqual([]);
  const executor = new ShadowExecutor(product);
  executor.allocate(BASE, 1 << 24);
  executor.allocate(0x1000n, 4096);
  const map = new Uint8Array(128).fill(9);
  executor.maps.tell(map, one.record);
  let parameters = map;
  if (one.inMemory) {
    executor.copyIn(0x1080n, 128, map);
    parameters = new Uint8Array(8);
    new DataView(parameters.buffer).setBigUint64(0, 0x1080n, true);
  }
  const set = executor.launch({ kernel: 'store', grid: one.grid, block: one.block, parameters });
  return { verdict: set.verdict, ranges: set.ranges() };
}

const arbitrary: fc.Arbitrary<Case> = fc
  .record({
    type: fc.constantFrom(...TYPES),
    rank: fc.integer({ min: 1, max: 5 }),
    grid: fc.tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 3 })),
    threads: fc.integer({ min: 1, max: 4 }),
    inMemory: fc.boolean(),
  })
  .chain(({ type: [dataType, elementBytes], rank, grid, threads, inMemory }) => {
    const unit = GRANULE / elementBytes;
    const factor = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: -6, max: 12 }));
    const coordinate = fc.tuple(factor, factor, factor, fc.integer({ min: -9, max: 20 }));
    const axis = fc.record({
      size: fc.integer({ min: 1, max: 12 }),
      box: fc.integer({ min: 1, max: 6 }),
      step: fc.constantFrom(1, 1, 1, 2, 3),
      gap: fc.constantFrom(0, 0, 1, 3),
      coordinate,
    });
    return fc
      .record({
        row: fc.integer({ min: 1, max: 5 * unit }),
        width: fc.integer({ min: 1, max: 3 }),
        first: coordinate.map((parts) => parts.map((part) => part * unit) as unknown as Coordinate),
        axes: fc.array(axis, { minLength: rank - 1, maxLength: rank - 1 }),
      })
      .map(({ row, width, first, axes }) => {
        const strides: bigint[] = [];
        let stride = BigInt(Math.ceil((row * elementBytes) / GRANULE) * GRANULE);
        for (const { size, gap } of axes) {
          stride += BigInt(gap * GRANULE);
          strides.push(stride);
          stride *= BigInt(size);
        }
        return {
          record: {
            kind: 'tiled' as const,
            address: BASE,
            dataType,
            sizes: [BigInt(row), ...axes.map(({ size }) => BigInt(size))],
            strides,
            box: [width * unit, ...axes.map(({ box }) => box)],
            elementStrides: [1, ...axes.map(({ step }) => step)],
            interleave: 0,
          },
          elementBytes,
          coordinates: [first, ...axes.map(({ coordinate: own }) => own)],
          grid: [...grid, 1] as const,
          block: [threads, 1, 1] as const,
          inMemory,
        };
      });
  });

/** Ranges of `inner` that are not wholly in `outer`; both are sorted and disjoint. */
const outside = (inner: readonly AddressRange[], outer: readonly AddressRange[]) =>
  inner.filter(({ from, to }) => !outer.some((range) => range.from <= from && to <= range.to));

describe('a store through a tensor map', () => {
  it('is told with every byte, and exact answers with no other', async () => {
    const verdicts: Record<string, number> = {};
    await fc.assert(
      fc.asyncProperty(arbitrary, async (one) => {
        const truth = written(one);
        const { verdict, ranges } = await told(one);
        verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
        expect(outside(truth, ranges)).toEqual([]);
        if (verdict === 'exact') expect(ranges).toEqual(truth);
        // Rows that end in the middle of a piece are not called exact.
        else expect(verdict).toBe('bounded');
      }),
      { numRuns: 400 },
    );
    expect(verdicts['exact']).toBeGreaterThan(100);
  });

  it('that may begin anywhere in a row is told with whole pieces', async () => {
    const one: Case = {
      record: {
        kind: 'tiled',
        address: BASE,
        dataType: 7,
        sizes: [64n, 4n],
        strides: [256n],
        box: [8, 1],
        elementStrides: [1, 1],
        interleave: 0,
      },
      elementBytes: 4,
      coordinates: [
        [0, 0, 0, 6],
        [0, 0, 0, 1],
      ],
      grid: [1, 1, 1],
      block: [1, 1, 1],
      inMemory: false,
    };
    const { verdict, ranges } = await told(one);
    expect(verdict).toBe('bounded');
    expect(outside([{ from: BASE + 256n + 16n, to: BASE + 256n + 64n }], ranges)).toEqual([]);
  });
});

describe('TensorMaps', () => {
  const map = (fill: number) => new Uint8Array(128).fill(fill);
  const record = (address: bigint): TensorMapRecord => ({
    ...{ kind: 'tiled', address, dataType: 7, interleave: 0 },
    ...{ sizes: [4n], strides: [], box: [4], elementStrides: [1] },
  });

  it('forgets what was told or used longest ago, and what was told of is only what has its bytes', () => {
    const maps = new TensorMaps(2);
    maps.tell(map(1), record(1n));
    maps.tell(map(2), record(2n));
    expect(maps.find(map(1))?.address).toBe(1n);
    maps.tell(map(3), record(3n));
    expect(maps.find(map(2))).toBeUndefined();
    expect([maps.find(map(1))?.address, maps.find(map(3))?.address]).toEqual([1n, 3n]);
    maps.tell(map(1).subarray(1), record(9n));
    expect(maps.find(map(1).subarray(1))).toBeUndefined();
  });
});
