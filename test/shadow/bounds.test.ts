/** Bounds of sums whose terms are beyond what a number holds exactly: never inside the real ones. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Domain } from '../../src/shadow/abstract/domain.js';
import { addForms, atomForm, constantForm, type Form, LIMIT } from '../../src/shadow/abstract/form.js';

const large = fc.oneof(fc.integer({ min: -40, max: 40 }), fc.integer({ min: -LIMIT, max: LIMIT }));
const term = fc.record({ coefficient: large, lo: large, span: fc.integer({ min: 0, max: 9 }) });
type Term = { readonly coefficient: number; readonly lo: number; readonly span: number };

function sum(domain: Domain, terms: readonly Term[], constant: number): Form {
  return terms.reduce<Form>((form, { coefficient, lo, span }) => {
    const atom = domain.atom(lo, lo + span);
    return coefficient === 0 ? form : addForms(form, atomForm(atom), coefficient, 64)!;
  }, constantForm(constant));
}

/** Least (`sign` 1) or greatest (−1) value, in integers of any size. */
function exactly(terms: readonly Term[], constant: number, sign: 1 | -1): bigint {
  return terms.reduce((total, { coefficient, lo, span }) => {
    const end = coefficient * sign > 0 ? lo : lo + span;
    return total + BigInt(coefficient) * BigInt(end);
  }, BigInt(constant));
}

describe('bounds of a sum', () => {
  it('hold its values, however large the terms are', () => {
    fc.assert(
      fc.property(fc.array(term, { minLength: 1, maxLength: 4 }), large, (terms, constant) => {
        const domain = new Domain();
        const form = sum(domain, terms, constant);
        const low = domain.low(form);
        const high = domain.high(form);
        if (Number.isFinite(low)) expect(BigInt(low) <= exactly(terms, constant, 1)).toBe(true);
        if (Number.isFinite(high)) expect(BigInt(high) >= exactly(terms, constant, -1)).toBe(true);
      }),
      { numRuns: 3000, seed: 7 },
    );
  });

  it('narrow no member away, however large the terms are', () => {
    const two = fc.tuple(term, term, large);
    fc.assert(
      fc.property(two, ([a, b, constant]) => {
        const domain = new Domain();
        const form = sum(domain, [a, b], constant);
        const holds = domain.assumeNonNegative(form);
        for (let x = a.lo; x <= a.lo + a.span; x++) {
          for (let y = b.lo; y <= b.lo + b.span; y++) {
            const value = BigInt(a.coefficient) * BigInt(x) + BigInt(b.coefficient) * BigInt(y) + BigInt(constant);
            if (value < 0n) continue;
            expect(holds && x >= domain.lo[0]! && x <= domain.hi[0]! && y >= domain.lo[1]! && y <= domain.hi[1]!).toBe(
              true,
            );
          }
        }
      }),
      { numRuns: 3000, seed: 7 },
    );
  });
});
