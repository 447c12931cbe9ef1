/** Traces: what is written reads back the same; what is not a trace is refused with its line, and nothing else ever happens. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Diagnostic, InputError } from '../../src/diagnostics/index.js';
import { formatTraceEvent, readTrace, type TraceEvent } from '../../src/shadow/index.js';
import { MAX_LINE } from '../../src/shadow/trace.js';

async function read(pieces: Iterable<Uint8Array>): Promise<{ line: number; event: TraceEvent }[]> {
  const events: { line: number; event: TraceEvent }[] = [];
  for await (const event of readTrace(pieces, 't.ndjson')) events.push(event);
  return events;
}

async function refusal(pieces: Iterable<Uint8Array>): Promise<Diagnostic> {
  try {
    await read(pieces);
  } catch (error) {
    if (error instanceof InputError) return error.diagnostics[0]!;
    throw error;
  }
  throw new Error('it was taken');
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const place = fc.bigInt({ min: 0n, max: (1n << 64n) - 4096n });
const size = fc.integer({ min: 0, max: 4096 });
const name = fc.string({ minLength: 1, unit: 'grapheme' });
const event: fc.Arbitrary<TraceEvent> = fc.oneof(
  fc.record({ event: fc.constant('module' as const), ptx: name }),
  fc.record({
    event: fc.constant('module' as const),
    ptx: name,
    hash: fc.string({ minLength: 64, maxLength: 64, unit: fc.constantFrom(...'0123456789abcdef') }),
  }),
  fc.record({ event: fc.constant('global' as const), name, address: place, size }),
  fc.record({ event: fc.constant('alloc' as const), address: place, size: fc.maxSafeNat() }),
  fc.record({ event: fc.constant('free' as const), address: place }),
  fc.record({ event: fc.constant('memcpyHtoD' as const), address: place, size }),
  fc.tuple(place, fc.uint8Array()).map(([address, content]) => {
    return { event: 'memcpyHtoD' as const, address, size: content.length, bytes: Buffer.from(content) };
  }),
  fc.record({ event: fc.constant('memset' as const), address: place, size }),
  fc.record({
    event: fc.constant('memset' as const),
    address: place,
    size: fc.integer({ min: 0, max: 1000 }).map((n) => 4 * n),
    value: fc.integer({ min: 0, max: 255 }),
    width: fc.constantFrom<1 | 2 | 4>(1, 2, 4),
  }),
  fc.record({ event: fc.constant('memcpyDtoD' as const), address: place, source: place, size }),
  fc.integer({ min: 1, max: 5 }).chain((rank) => {
    const numbers = <T>(element: fc.Arbitrary<T>, count: number) =>
      fc.array(element, { minLength: count, maxLength: count });
    const sizes = fc.bigInt({ min: 0n, max: 1n << 40n });
    return fc.record({
      event: fc.constant('tensorMap' as const),
      map: fc.uint8Array({ minLength: 128, maxLength: 128 }).map((content) => Buffer.from(content)),
      record: fc.record({
        kind: fc.constant('tiled' as const),
        address: place,
        dataType: fc.nat(20),
        sizes: numbers(sizes, rank),
        strides: numbers(sizes, rank - 1),
        box: numbers(fc.nat(256), rank),
        elementStrides: numbers(fc.nat(8), rank),
        interleave: fc.nat(2),
      }),
    });
  }),
  fc
    .record({
      grid: fc.tuple(fc.integer({ min: 1, max: 2 ** 31 - 1 }), fc.integer({ min: 1, max: 65535 }), fc.constant(4)),
      block: fc.constantFrom<[number, number, number]>([1024, 1, 1], [32, 32, 1], [1, 1, 64]),
      rest: fc.constantFrom({}, { cluster: [1, 1, 2] as [number, number, number] }, { sharedMemory: 1024 }),
      kernel: name,
      content: fc.uint8Array(),
    })
    .map(({ grid, block, rest, kernel, content }) => {
      return { event: 'launch' as const, launch: { kernel, grid, block, ...rest, parameters: Buffer.from(content) } };
    }),
);

describe('a trace', () => {
  it('reads back what was written, however it is cut into pieces', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 8 }), fc.integer({ min: 1, max: 100 }), async (events, piece) => {
        const all = bytes(events.map((one) => `${formatTraceEvent(one)}\n`).join(''));
        const pieces = Array.from({ length: Math.ceil(all.length / piece) }, (_, i) =>
          all.subarray(i * piece, (i + 1) * piece),
        );
        expect(await read(pieces)).toEqual(events.map((one, index) => ({ line: index + 1, event: one })));
      }),
      { numRuns: 300 },
    );
  });

  it('may have empty lines, carriage returns, a byte order mark and no last line feed', async () => {
    const text = '\uFEFF{"event":"free","address":"0x10"}\r\n\n  \n{"event":"free","address":"0XfF"}'.replace(
      '0X',
      '0x',
    );
    expect(await read([bytes(text)])).toEqual([
      { line: 1, event: { event: 'free', address: 0x10n } },
      { line: 4, event: { event: 'free', address: 0xffn } },
    ]);
  });

  it('does not keep the pieces it is given', async () => {
    const buffer = new Uint8Array(8);
    const text = bytes('{"event":"free","address":"0x10"}\n');
    function* pieces() {
      for (let at = 0; at < text.length; at += buffer.length) {
        const part = text.subarray(at, at + buffer.length);
        buffer.set(part);
        yield buffer.subarray(0, part.length);
        buffer.fill(0);
      }
    }
    expect(await read(pieces())).toHaveLength(1);
  });

  const launch = { event: 'launch', kernel: 'k', grid: [1, 1, 1], block: [1, 1, 1], params: '' };
  it.each([
    ['no JSON', '{event}', 'GCR5005'],
    ['an array', '[1]', 'GCR5005'],
    ['null', 'null', 'GCR5005'],
    ['an unknown event', '{"event":"memcpyDtoH"}', 'GCR5006'],
    ['no event', '{"address":"0x0"}', 'GCR5006'],
    ['an event that is a word of the language', '{"event":"constructor"}', 'GCR5006'],
    ['a number as address', '{"event":"free","address":16}', 'GCR5007'],
    ['an address without 0x', '{"event":"free","address":"10"}', 'GCR5007'],
    ['an address of 17 digits', '{"event":"free","address":"0x10000000000000000"}', 'GCR5007'],
    ['a missing address', '{"event":"free"}', 'GCR5007'],
    ['a negative size', '{"event":"alloc","address":"0x0","size":-1}', 'GCR5007'],
    ['a size that is no safe integer', '{"event":"alloc","address":"0x0","size":9007199254740992}', 'GCR5007'],
    ['a size as a string', '{"event":"alloc","address":"0x0","size":"8"}', 'GCR5007'],
    ['a copy past the end', '{"event":"memcpyHtoD","address":"0xffffffffffffffff","size":2}', 'GCR5007'],
    [
      'a source past the end',
      '{"event":"memcpyDtoD","address":"0x0","source":"0xffffffffffffffff","size":2}',
      'GCR5007',
    ],
    ['too few bytes', '{"event":"memcpyHtoD","address":"0x0","size":2,"bytes":"00"}', 'GCR5007'],
    ['half a byte', '{"event":"memcpyHtoD","address":"0x0","size":1,"bytes":"0"}', 'GCR5007'],
    ['bytes that are no digits', '{"event":"memcpyHtoD","address":"0x0","size":1,"bytes":"0g"}', 'GCR5007'],
    ['a value that is too large', '{"event":"memset","address":"0x0","size":4,"value":256}', 'GCR5007'],
    ['a width of three', '{"event":"memset","address":"0x0","size":3,"value":1,"width":3}', 'GCR5007'],
    ['a size that is no multiple', '{"event":"memset","address":"0x0","size":3,"value":1,"width":2}', 'GCR5007'],
    ['an empty name', '{"event":"global","name":"","address":"0x0","size":4}', 'GCR5007'],
    ['a hash that is too short', '{"event":"module","ptx":"a","hash":"00"}', 'GCR5007'],
    ['an empty grid', JSON.stringify({ ...launch, grid: [0, 1, 1] }), 'GCR5007'],
    ['a grid of two', JSON.stringify({ ...launch, grid: [1, 1] }), 'GCR5007'],
    ['a grid that is too high', JSON.stringify({ ...launch, grid: [1, 65536, 1] }), 'GCR5007'],
    ['a grid that is too wide', JSON.stringify({ ...launch, grid: [2 ** 31, 1, 1] }), 'GCR5007'],
    ['a block of too many threads', JSON.stringify({ ...launch, block: [1024, 2, 1] }), 'GCR5007'],
    ['half a thread', JSON.stringify({ ...launch, block: [0.5, 1, 1] }), 'GCR5007'],
    ['a cluster that does not divide', JSON.stringify({ ...launch, grid: [3, 1, 1], cluster: [2, 1, 1] }), 'GCR5007'],
    ['parameters that are no string', JSON.stringify({ ...launch, params: 5 }), 'GCR5007'],
  ])('is refused with its line: %s', async (_, line, code) => {
    const text = `{"event":"free","address":"0x10"}\n\n${line}\n`;
    expect(await refusal([bytes(text)])).toMatchObject({ code, source: 't.ndjson', line: 3, severity: 'error' });
  });

  it('that ends inside a line says so', async () => {
    const text = '{"event":"free","address":"0x10"}\n{"event":"fr';
    expect(await refusal([bytes(text)])).toMatchObject({ code: 'GCR5008', line: 2 });
  });

  it('with a line that is too long is refused before memory is full', async () => {
    function* endless() {
      const piece = new Uint8Array(1 << 20).fill(32);
      for (let sent = 0; sent <= 2 * MAX_LINE; sent += piece.length) yield piece;
      throw new Error('it read on');
    }
    expect(await refusal(endless())).toMatchObject({ code: 'GCR5009', line: 1 });
  });

  it('with damaged lines is either read or refused with a line', async () => {
    const damage = fc.array(fc.tuple(fc.nat(), fc.constantFrom('flip', 'cut', 'double'), fc.nat(255)), {
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 4 }), damage, async (events, changes) => {
        let data = [...bytes(events.map((one) => `${formatTraceEvent(one)}\n`).join(''))];
        for (const [at, how, byte] of changes) {
          const index = at % Math.max(1, data.length);
          if (how === 'flip') data[index] = byte;
          else if (how === 'cut') data = data.slice(0, index);
          else data = [...data.slice(0, index), ...data.slice(Math.max(0, index - 20))];
        }
        try {
          await read([Uint8Array.from(data)]);
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
          expect((error as InputError).diagnostics[0]!.line).toBeGreaterThan(0);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
