/** The maps of memory against naive ones: a byte map for content, a list for allocations, a set for what is dirty. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../src/diagnostics/index.js';
import type { Allocation, Everything } from '../../src/shadow/allocations.js';
import { rangeDescriptor } from '../../src/shadow/descriptor.js';
import { type AddressRange, AllocationMap, DirtyAccumulator, DirtySet, KnownMemory } from '../../src/shadow/index.js';

const SPACE = 200;
const at = fc.integer({ min: 0, max: SPACE });
const size = fc.integer({ min: 0, max: 60 });

describe('KnownMemory', () => {
  const steps = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant('write' as const), at, bytes: fc.uint8Array({ maxLength: 60 }) }),
      fc.record({ do: fc.constant('fill' as const), at, size, bytes: fc.uint8Array({ minLength: 1, maxLength: 4 }) }),
      fc.record({ do: fc.constant('forget' as const), at, size }),
      fc.record({ do: fc.constant('copy' as const), at, from: at, size }),
      fc.record({ do: fc.constant('stride' as const), at, stride: fc.integer({ min: 1, max: 20 }), count: size }),
    ),
    { maxLength: 30 },
  );

  it('knows what a map of bytes knows', () => {
    fc.assert(
      fc.property(steps, (sequence) => {
        const memory = new KnownMemory();
        const bytes = new Map<number, number>();
        for (const step of sequence) {
          const before = memory.version;
          const shown = JSON.stringify([...bytes]);
          switch (step.do) {
            case 'write':
              memory.write(BigInt(step.at), step.bytes);
              for (const [index, byte] of step.bytes.entries()) bytes.set(step.at + index, byte);
              break;
            case 'fill':
              memory.fill(BigInt(step.at), step.size, step.bytes);
              for (let i = 0; i < step.size; i++) bytes.set(step.at + i, step.bytes[i % step.bytes.length]!);
              break;
            case 'forget':
              memory.forget(BigInt(step.at), BigInt(step.at + step.size));
              for (let i = 0; i < step.size; i++) bytes.delete(step.at + i);
              break;
            case 'copy': {
              memory.copy(BigInt(step.from), BigInt(step.at), step.size);
              const overlap = step.from < step.at + step.size && step.at < step.from + step.size;
              const moved = Array.from({ length: step.size }, (_, i) => bytes.get(step.from + i));
              for (const [i, byte] of moved.entries()) {
                if (byte === undefined || overlap) bytes.delete(step.at + i);
                else bytes.set(step.at + i, byte);
              }
              break;
            }
            case 'stride': {
              const dimensions = [{ stride: step.stride, count: step.count }];
              memory.forgetAll([{ start: BigInt(step.at), width: 2, dimensions }]);
              for (let i = 0; i < step.count; i++) {
                bytes.delete(step.at + i * step.stride);
                bytes.delete(step.at + i * step.stride + 1);
              }
              break;
            }
          }
          if (JSON.stringify([...bytes]) !== shown) expect(memory.version).toBeGreaterThan(before);
        }
        for (let from = 0; from < SPACE + 70; from++) {
          if (memory.read(BigInt(from), 1)?.[0] !== bytes.get(from)) expect.fail(`byte ${from}`);
          const eight = Array.from({ length: 8 }, (_, i) => bytes.get(from + i));
          const read = memory.read(BigInt(from), 8);
          expect(read && [...read]).toEqual(eight.includes(undefined) ? undefined : eight);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('keeps its own copy of what was written', () => {
    const memory = new KnownMemory();
    const bytes = Uint8Array.of(1, 2);
    memory.write(0n, bytes);
    const buffer = Buffer.from([3, 4]);
    memory.write(8n, buffer);
    buffer[0] = 9;
    expect(memory.read(8n, 2)).toEqual(Uint8Array.of(3, 4));
    bytes[0] = 9;
    expect(memory.read(0n, 2)).toEqual(Uint8Array.of(1, 2));
  });

  it('forgets large old blocks first when there is too much', () => {
    const memory = new KnownMemory(1 << 20);
    memory.write(0n, Uint8Array.of(7));
    for (let i = 1; i < 40; i++) memory.write(BigInt(i) << 20n, new Uint8Array(100_000));
    expect(memory.read(0n, 1)).toEqual(Uint8Array.of(7));
    expect(memory.read(1n << 20n, 1)).toBeUndefined();
    expect(memory.read(39n << 20n, 1)).toEqual(Uint8Array.of(0));
  });

  it('knows a fill of any size for the price of its pattern', () => {
    const memory = new KnownMemory(1 << 20);
    memory.fill(0n, 2 ** 40, Uint8Array.of(1, 2, 3, 4));
    memory.forget(16n, 17n);
    expect(memory.read(BigInt(2 ** 39) + 2n, 4)).toEqual(Uint8Array.of(3, 4, 1, 2));
    expect(memory.read(14n, 4)).toBeUndefined();
  });

  it('keeps nothing past the end of addresses', () => {
    const memory = new KnownMemory();
    memory.write((1n << 64n) - 1n, Uint8Array.of(1, 2));
    expect(memory.read((1n << 64n) - 1n, 1)).toBeUndefined();
  });
});

describe('AllocationMap', () => {
  it('agrees with a list', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('allocate' as const), at, size }),
      fc.record({ do: fc.constant('variable' as const), at, size }),
      fc.record({ do: fc.constant('free' as const), at }),
      fc.record({ do: fc.constant('freeOne' as const), at }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (sequence) => {
        const map = new AllocationMap();
        let list: Allocation[] = [];
        const earlier: { readonly everything: Everything; readonly list: readonly Allocation[] }[] = [];
        for (const action of sequence) {
          const epoch = map.epoch;
          const before = [...map.all()];
          let ok = true;
          try {
            if (action.do === 'allocate') map.allocate(BigInt(action.at), action.size);
            else if (action.do === 'variable') map.variable('v', BigInt(action.at), action.size);
            else map.free(action.do === 'free' ? BigInt(action.at) : (list[action.at % list.length]?.from ?? 999n));
          } catch (error) {
            expect(error).toBeInstanceOf(InputError);
            ok = false;
          }
          if (action.do === 'free' || action.do === 'freeOne') {
            const from = action.do === 'free' ? BigInt(action.at) : list[action.at % list.length]?.from;
            const found = list.find((entry) => entry.from === from && entry.name === undefined);
            expect(ok).toBe(found !== undefined);
            if (found) list = list.filter((entry) => entry !== found);
          } else {
            const from = BigInt(action.at);
            const to = from + BigInt(action.size);
            const there = list.filter((entry) => entry.from < to && from < entry.to);
            const same = action.do === 'variable' && there.some((e) => e.name && e.from === from && e.to === to);
            const fits = action.size > 0 && there.every((entry) => entry.name !== undefined);
            expect(ok).toBe(fits || same);
            if (fits && !same) {
              list = list.filter((entry) => !there.includes(entry));
              list.push({
                from,
                to,
                ...(action.do === 'variable' && { name: 'v' }),
                whole: rangeDescriptor({ from, to }),
              });
            }
          }
          list.sort((a, b) => (a.from < b.from ? -1 : 1));
          expect(map.all()).toEqual(list);
          if (JSON.stringify(before.map(String)) !== JSON.stringify(list.map(String)))
            expect(map.epoch).toBeGreaterThan(epoch);
          expect(map.all()).toBe(map.all());
          earlier.push({ everything: map.everything(), list: [...list] });
        }
        // What was alive then, whatever happened since.
        for (const { everything, list: then } of earlier) {
          expect(everything.descriptors()).toEqual(then.map(({ whole }) => whole));
          expect(everything.descriptors()).toBe(everything.descriptors());
          expect(everything.bytes).toBe(then.reduce((sum, { from, to }) => sum + to - from, 0n));
        }
        for (let i = 0n; i < BigInt(SPACE + 70); i += 3n) {
          expect(map.find(i)).toEqual(list.find((entry) => i >= entry.from && i < entry.to));
          const end = i + 10n;
          expect(map.overlapping(i, end)).toEqual(list.filter((entry) => entry.from < end && i < entry.to));
        }
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['a size of zero', (map: AllocationMap) => map.allocate(0n, 0), 'GCR5010'],
    ['a place past the end', (map: AllocationMap) => map.allocate((1n << 64n) - 1n, 2), 'GCR5010'],
    ['an overlap', (map: AllocationMap) => map.allocate(0x1080n, 4), 'GCR5011'],
    ['a variable in live memory', (map: AllocationMap) => map.variable('w', 0x1080n, 4), 'GCR5011'],
    ['a free of nothing', (map: AllocationMap) => map.free(0x9000n), 'GCR5012'],
    ['a free inside', (map: AllocationMap) => map.free(0x1010n), 'GCR5012'],
    ['a free of a variable', (map: AllocationMap) => map.free(0x5000n), 'GCR5012'],
    ['a double free', (map: AllocationMap) => [map.free(0x1000n), map.free(0x1000n)], 'GCR5012'],
  ])('refuses %s', (_, act, code) => {
    const map = new AllocationMap();
    map.allocate(0x1000n, 256);
    map.variable('v', 0x5000n, 8);
    expect(() => act(map)).toThrow(new RegExp(code));
  });
});

describe('DirtyAccumulator', () => {
  const set = fc
    .record({ start: at, width: fc.integer({ min: 1, max: 5 }), stride: fc.integer({ min: 1, max: 9 }), count: size })
    .map(({ start, width, stride, count }) => {
      return new DirtySet('exact', [], [{ start: BigInt(start), width, dimensions: [{ stride, count }] }]);
    });
  const bytes = (ranges: readonly AddressRange[]) => {
    const all = new Set<number>();
    for (const { from, to } of ranges) for (let i = from; i < to; i++) all.add(Number(i));
    return all;
  };

  it('answers each mark with what a set of bytes says, and with more only when it is full', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('add' as const), which: fc.nat() }),
      fc.record({ do: fc.constant('range' as const), at, size }),
      fc.record({ do: fc.constant('remove' as const), at, size }),
      fc.record({ do: fc.constant('mark' as const) }),
      fc.record({ do: fc.constant('release' as const), which: fc.nat() }),
    );
    const sets = fc.array(set, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), sets, fc.constantFrom(4, 1000), (sequence, known, limit) => {
        const accumulator = new DirtyAccumulator(limit);
        let marks = [{ mark: accumulator.mark(), model: new Set<number>() }];
        for (const action of sequence) {
          if (action.do === 'mark') marks.push({ mark: accumulator.mark(), model: new Set() });
          else if (action.do === 'release') {
            const gone = marks[action.which % Math.max(1, marks.length)];
            if (gone) accumulator.release(gone.mark);
            if (gone) expect(() => accumulator.since(gone.mark)).toThrow(RangeError);
            marks = marks.filter((entry) => entry !== gone);
          } else if (action.do === 'add') {
            const one = known[action.which % known.length]!;
            accumulator.add(one);
            for (const { model } of marks) for (const byte of bytes(one.ranges())) model.add(byte);
          } else {
            const [from, to] = [action.at, action.at + action.size];
            if (action.do === 'range') accumulator.addRange(BigInt(from), BigInt(to));
            else accumulator.remove(BigInt(from), BigInt(to));
            for (const { model } of marks)
              for (let i = from; i < to; i++) action.do === 'range' ? model.add(i) : model.delete(i);
          }
        }
        for (const { mark, model } of marks) {
          const ranges = accumulator.since(mark);
          for (const [index, { from, to }] of ranges.entries()) {
            expect(from < to).toBe(true);
            if (index > 0) expect(from > ranges[index - 1]!.to).toBe(true);
          }
          const got = bytes(ranges);
          for (const byte of model) expect(got.has(byte)).toBe(true);
          if (limit === 1000) expect(got.size).toBe(model.size);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('adds the same descriptors again for nothing, but not after they were freed', () => {
    const accumulator = new DirtyAccumulator();
    const mark = accumulator.mark();
    const descriptors = [{ start: 64n, width: 8, dimensions: [] }];
    const whole = [{ from: 64n, to: 72n }];
    for (let i = 0; i < 3; i++) accumulator.add(new DirtySet('unknown', [], descriptors));
    expect(accumulator.since(mark)).toEqual(whole);
    accumulator.remove(0n, 128n);
    expect(accumulator.since(mark)).toEqual([]);
    accumulator.add(new DirtySet('unknown', [], descriptors));
    expect(accumulator.since(mark)).toEqual(whole);
  });

  it('keeps few ranges by filling small gaps first', () => {
    const accumulator = new DirtyAccumulator(100);
    const mark = accumulator.mark();
    for (let i = 0n; i < 1000n; i++) accumulator.addRange(i * 1024n, i * 1024n + 600n);
    accumulator.addRange(1n << 40n, (1n << 40n) + 8n);
    const ranges = accumulator.since(mark);
    expect(ranges.length).toBeLessThanOrEqual(101);
    expect(ranges[ranges.length - 1]).toEqual({ from: 1n << 40n, to: (1n << 40n) + 8n });
  });
});
