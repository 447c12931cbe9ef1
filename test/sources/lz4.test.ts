/** LZ4 blocks: the format's corners, made by hand, and blocks of a plain compressor. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decompressLz4 } from '../../src/sources/lz4.js';

/** A sequence: literals, then a match; without `distance` the last one. */
interface Sequence {
  readonly literals: string;
  readonly distance?: number;
  readonly match?: number;
}

function extension(length: number): number[] {
  if (length < 15) return [];
  const rest = length - 15;
  return [...new Array<number>(Math.floor(rest / 255)).fill(255), rest % 255];
}

function block(...sequences: readonly Sequence[]): Buffer {
  return Buffer.concat(
    sequences.map(({ literals, distance, match = 4 }) => {
      const low = distance === undefined ? 0 : Math.min(15, match - 4);
      return Buffer.from([
        (Math.min(15, literals.length) << 4) | low,
        ...extension(literals.length),
        ...Buffer.from(literals, 'latin1'),
        ...(distance === undefined ? [] : [distance & 255, distance >> 8, ...extension(match - 4)]),
      ]);
    }),
  );
}

/** Literals only, or greedy matches of the last four bytes seen: enough to round-trip. */
function compress(text: string): Buffer {
  const sequences: Sequence[] = [];
  const seen = new Map<string, number>();
  let from = 0;
  for (let at = 0; at + 4 <= text.length; ) {
    const word = text.slice(at, at + 4);
    const before = seen.get(word);
    seen.set(word, at);
    if (before === undefined || at - before > 65535) {
      at++;
      continue;
    }
    let match = 4;
    while (at + match < text.length && text[before + match] === text[at + match]) match++;
    sequences.push({ literals: text.slice(from, at), distance: at - before, match });
    at += match;
    from = at;
  }
  return block(...sequences, { literals: text.slice(from) });
}

const VALID: readonly (readonly [name: string, sequences: readonly Sequence[], text: string])[] = [
  ['nothing', [{ literals: '' }], ''],
  ['literals', [{ literals: 'abc' }], 'abc'],
  ['15 literals', [{ literals: 'x'.repeat(15) }], 'x'.repeat(15)],
  ['270 literals', [{ literals: 'x'.repeat(270) }], 'x'.repeat(270)],
  ['a match apart', [{ literals: 'abcdef', distance: 6, match: 4 }, { literals: '!' }], 'abcdefabcd!'],
  ['a match that overlaps by one', [{ literals: 'a', distance: 1, match: 9 }, { literals: 'b' }], `${'a'.repeat(10)}b`],
  ['a match that overlaps by three', [{ literals: 'abc', distance: 3, match: 7 }, { literals: '' }], 'abcabcabca'],
  ['a match of 19', [{ literals: 'ab', distance: 2, match: 19 }, { literals: '' }], `${'ab'.repeat(10)}a`],
  ['a match of 1000', [{ literals: 'z', distance: 1, match: 1000 }, { literals: 'end' }], `${'z'.repeat(1001)}end`],
];

const WELL_FORMED = block({ literals: 'abcdef', distance: 6, match: 24 }, { literals: 'tail' });
const WELL_FORMED_SIZE = 34;

describe('decompressLz4', () => {
  it.each(VALID)('%s', (_name, sequences, text) => {
    expect(decompressLz4(block(...sequences), text.length)?.toString('latin1')).toBe(text);
  });

  it.each([
    ['distance 0', block({ literals: 'abcd', distance: 0 }, { literals: '' }), 8],
    ['distance before the start', block({ literals: 'abcd', distance: 5 }, { literals: '' }), 8],
    ['match without anything before', block({ literals: '', distance: 1 }, { literals: '' }), 4],
    ['no sequence at all', Buffer.alloc(0), 0],
    ['match last', block({ literals: 'abcd', distance: 4 }), 8],
    ['literals beyond the input', Buffer.from([0x50, 0x61]), 5],
    ['endless literal length', Buffer.alloc(4096, 0xff), 1 << 20],
    ['endless match length', Buffer.concat([Buffer.from([0x1f, 0x61, 1, 0]), Buffer.alloc(4096, 0xff)]), 1 << 20],
  ])('refuses %s', (_name, input, size) => {
    expect(decompressLz4(input, size)).toBeUndefined();
  });

  it.each([0, 1, WELL_FORMED_SIZE - 1, WELL_FORMED_SIZE + 1, 1 << 20])('refuses %i as the size of another', (size) => {
    expect(decompressLz4(WELL_FORMED, WELL_FORMED_SIZE)).toHaveLength(WELL_FORMED_SIZE);
    expect(decompressLz4(WELL_FORMED, size)).toBeUndefined();
  });

  it('refuses every cut', () => {
    for (let length = 0; length < WELL_FORMED.length; length++)
      expect(decompressLz4(WELL_FORMED.subarray(0, length), WELL_FORMED_SIZE), `${length}`).toBeUndefined();
  });

  it('gives back what was compressed', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 2000 }),
      fc.string({ unit: 'binary-ascii', maxLength: 2000 }),
    );
    fc.assert(
      fc.property(text, (plain) => decompressLz4(compress(plain), plain.length)?.toString('latin1') === plain),
      { seed: 1, numRuns: 300 },
    );
  });

  it('gives the announced size or nothing, whatever the input', () => {
    const input = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(input, fc.nat(1000), (bytes, size) => {
        const output = decompressLz4(Buffer.from(bytes), size);
        return output === undefined || output.length === size;
      }),
      { seed: 1, numRuns: 2000 },
    );
  });
});
