/** Content that streams bring: who sees it, and that nobody sees what is not ordered before it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamMemory } from '../../src/shadow/index.js';

const LEGACY = 0;
const BLOCKING = [2, 4];
const OTHERS = [3, 5];

/** What a launch in a stream sees of a byte. */
function seen(memory: StreamMemory, stream: number, address: number): number | undefined {
  memory.select(stream);
  return memory.read(BigInt(address), 1)?.[0];
}

function put(memory: StreamMemory, stream: number, address: number, value: number): void {
  memory.select(stream);
  memory.write(BigInt(address), new Uint8Array([value]));
}

describe('content of the legacy default stream', () => {
  it('is seen by blocking streams at once, by others when it is ordered', () => {
    const memory = new StreamMemory();
    put(memory, LEGACY, 1, 7);
    expect([LEGACY, 2, 4, 3].map((stream) => seen(memory, stream, 1))).toEqual([7, 7, 7, undefined]);
    memory.order(LEGACY);
    expect(seen(memory, 3, 1)).toBe(7);
  });

  it('is forgotten by all when anybody writes there', () => {
    const memory = new StreamMemory();
    put(memory, LEGACY, 1, 7);
    put(memory, 3, 1, 8);
    expect([LEGACY, 2, 3].map((stream) => seen(memory, stream, 1))).toEqual([undefined, undefined, 8]);
  });
});

describe('content of a blocking stream', () => {
  it('is seen by the legacy stream, and by another one when that is told', () => {
    const memory = new StreamMemory();
    put(memory, 2, 1, 7);
    expect([2, LEGACY, 4, 3].map((stream) => seen(memory, stream, 1))).toEqual([7, 7, undefined, undefined]);
    memory.wait(4, 2);
    expect([4, 3].map((stream) => seen(memory, stream, 1))).toEqual([7, undefined]);
  });

  it('goes with an event that is recorded in the legacy stream', () => {
    const memory = new StreamMemory();
    put(memory, 2, 1, 7);
    put(memory, 3, 2, 8);
    memory.wait(9, LEGACY);
    memory.wait(5, 9);
    expect([seen(memory, 5, 1), seen(memory, 5, 2)]).toEqual([7, undefined]);
  });

  it('is copied by the legacy stream', () => {
    const memory = new StreamMemory();
    put(memory, 2, 1, 7);
    put(memory, 3, 2, 8);
    memory.select(LEGACY);
    memory.copy(1n, 11n, 2);
    expect([seen(memory, 4, 11), seen(memory, 4, 12)]).toEqual([7, undefined]);
  });
});

describe('whatever streams do', () => {
  const streams = [LEGACY, ...BLOCKING, ...OTHERS];
  const stream = fc.constantFrom(...streams);
  const place = fc.nat(2);
  const command = fc.oneof(
    fc.record({ what: fc.constant('write' as const), stream, place }),
    fc.record({ what: fc.constant('forget' as const), stream, place }),
    fc.record({ what: fc.constant('wait' as const), stream, other: stream }),
    fc.record({ what: fc.constant('record' as const), stream }),
    fc.record({ what: fc.constant('await' as const), stream }),
    fc.record({ what: fc.constant('order' as const), stream }),
    fc.record({ what: fc.constant('orderAll' as const) }),
  );

  it('a stream sees a byte only when its last write is ordered before', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 40 }), (commands) => {
        const memory = new StreamMemory();
        /** Numbers of writes that are in a stream, or that it waits for; waiting is work, too. */
        const done = new Map<number, Set<number>>(streams.map((one) => [one, new Set()]));
        const last = new Map<number, number>();
        let event: { readonly number: number; readonly carries: ReadonlySet<number> } | undefined;
        let count = 0;
        const comesAfter = (one: number): Set<number> => {
          const all = new Set(done.get(one)!);
          const implicit = one === LEGACY ? BLOCKING : BLOCKING.includes(one) ? [LEGACY] : [];
          for (const other of implicit) for (const number of done.get(other)!) all.add(number);
          return all;
        };
        for (const each of commands) {
          if (each.what === 'write' || each.what === 'forget') {
            const own = comesAfter(each.stream).add(++count);
            done.set(each.stream, own);
            if (each.what === 'write') {
              put(memory, each.stream, each.place, count);
              last.set(each.place, count);
            } else {
              memory.select(each.stream);
              memory.forget(BigInt(each.place), BigInt(each.place + 1));
              last.delete(each.place);
            }
          } else if (each.what === 'wait') {
            memory.wait(each.stream, each.other);
            for (const number of comesAfter(each.other)) done.get(each.stream)!.add(number);
          } else if (each.what === 'record') {
            event = { number: 101 + 2 * count++, carries: comesAfter(each.stream) };
            memory.wait(event.number, each.stream);
          } else if (each.what === 'await') {
            if (!event) continue;
            memory.wait(each.stream, event.number);
            for (const number of event.carries) done.get(each.stream)!.add(number);
          } else {
            memory.order(each.what === 'order' ? each.stream : undefined);
            for (const one of each.what === 'order' ? [each.stream] : streams)
              for (const number of [...done.get(one)!]) for (const set of done.values()) set.add(number);
          }
          for (const one of streams)
            for (const address of [0, 1, 2]) {
              const value = seen(memory, one, address);
              if (value === undefined) continue;
              expect(value).toBe(last.get(address)! & 0xff);
              expect(comesAfter(one).has(last.get(address)!)).toBe(true);
            }
        }
      }),
      { numRuns: 2000 },
    );
  });
});
