/** The quick folding of constants against the one definition of the operations. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { foldNumbers } from '../../src/shadow/abstract/fold.js';
import { evaluateInteger, INTEGER_OPERATIONS } from '../../src/templates/index.js';

const EDGES = [
  0,
  1,
  -1,
  2,
  31,
  32,
  33,
  255,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 40 + 7,
  -(2 ** 40),
];
const operand = fc.oneof(fc.constantFrom(...EDGES), fc.integer(), fc.integer({ min: -(2 ** 45), max: 2 ** 45 }));
const bits = (value: number) => BigInt.asUintN(32, BigInt(value));

describe('folding on ordinary numbers', () => {
  for (const op of INTEGER_OPERATIONS) {
    for (const width of [1, 32, 64]) {
      it(`${op}, ${width} bits, is what evaluateInteger says`, () => {
        fc.assert(
          fc.property(operand, operand, (a, b) => {
            const folded = foldNumbers(op, width, 32, a, b);
            if (folded === undefined) return;
            const defined = evaluateInteger(op, width, 32, [bits(a), bits(b)]);
            expect(BigInt.asUintN(width, BigInt(folded))).toBe(defined);
          }),
          { numRuns: 300 },
        );
      });
    }
  }
});
