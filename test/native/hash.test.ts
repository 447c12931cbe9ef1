// The addon's hashes against the vectors of the independent implementation (scripts/hash-vectors.py).
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { chunkHash, hashChunks, treeHash } from '../../src/native/index.js';

interface Vector {
  readonly pattern: string;
  readonly length: number;
  readonly hash: string;
}

const vectors = JSON.parse(readFileSync('fixtures/hash/vectors.json', 'utf8')) as { chunk: Vector[]; tree: Vector[] };
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

function content({ pattern, length }: Vector): Uint8Array {
  const bytes = new Uint8Array(length);
  if (pattern === 'ones') bytes.fill(255);
  if (pattern === 'counter') for (let i = 0; i < length; i++) bytes[i] = i;
  if (pattern === 'last') bytes[length - 1] = 0x80;
  if (pattern === 'lcg') {
    let state = length;
    for (let i = 0; i < length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      bytes[i] = state >>> 24;
    }
  }
  return bytes;
}

describe('hashes', () => {
  test('chunk hashes are those of the independent implementation', () => {
    expect(vectors.chunk.length).toBeGreaterThan(60);
    for (const vector of vectors.chunk)
      expect(hex(chunkHash(content(vector))), JSON.stringify(vector)).toBe(vector.hash);
  });

  test('tree hashes are those of the independent implementation', () => {
    for (const vector of vectors.tree) expect(hex(treeHash(content(vector))), JSON.stringify(vector)).toBe(vector.hash);
  });

  test('chunks of a range are named one by one, zero chunks by the zero name', () => {
    const bytes = new Uint8Array(3 * 65_536 + 10);
    bytes[65_536 + 7] = 1;
    bytes[3 * 65_536] = 1;
    const names = hashChunks(bytes);
    expect(names.length).toBe(64);
    expect(hex(names.subarray(0, 16))).toBe('0'.repeat(32));
    expect(hex(names.subarray(32, 48))).toBe('0'.repeat(32));
    expect(names.subarray(16, 32)).toEqual(chunkHash(bytes.subarray(65_536, 131_072)));
    expect(names.subarray(48)).toEqual(chunkHash(bytes.subarray(3 * 65_536)));
  });

  test('more than a chunk is refused', () => {
    expect(() => chunkHash(new Uint8Array(65_537))).toThrow(RangeError);
    expect(() => chunkHash('text' as unknown as Uint8Array)).toThrow(TypeError);
  });
});
