/**
 * The algebra below abstract execution against enumeration: what a domain says of a form, division, bitwise operations, and the
 * addresses of a form, over random small atoms with constraints and replaced atoms.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { andForms, orForms, tableFunction, xorForms } from '../../src/shadow/abstract/bitwise.js';
import { resolveAddresses } from '../../src/shadow/abstract/boxes.js';
import { divide } from '../../src/shadow/abstract/divide.js';
import type { Domain } from '../../src/shadow/abstract/domain.js';
import { addForms, addNumber, atomForm, constantForm, type Form, scaleForm } from '../../src/shadow/abstract/form.js';
import type { Plan } from '../../src/shadow/abstract/plan.js';
import { FORK, State } from '../../src/shadow/abstract/state.js';

/** A state with nothing but a domain. */
function emptyState(): State {
  const plan = { values: [] };
  return new State(plan as unknown as Plan);
}

interface Term {
  readonly lo: number;
  readonly span: number;
}
interface Sum {
  readonly constant: number;
  readonly coefs: readonly number[];
}
/** A constraint: the sum is not negative, or zero. */
interface Constraint extends Sum {
  readonly zero: boolean;
}
interface Setting {
  readonly atoms: readonly Term[];
  readonly constraints: readonly Constraint[];
}

const ATOMS = 3;
const coefficient = fc.constantFrom(0, 0, 1, 1, 2, 3, 4, 8, 16, 32, -1, -2, -4, 5, 7, 12, 17);
const sum = fc.record({
  constant: fc.integer({ min: -40, max: 40 }),
  coefs: fc.array(coefficient, { minLength: ATOMS, maxLength: ATOMS }),
});
const setting: fc.Arbitrary<Setting> = fc.record({
  atoms: fc.array(fc.record({ lo: fc.constantFrom(0, 0, 0, 1, -3), span: fc.constantFrom(0, 1, 3, 4, 6, 7, 15) }), {
    minLength: ATOMS,
    maxLength: ATOMS,
  }),
  constraints: fc.array(
    fc.record({
      constant: fc.integer({ min: -40, max: 40 }),
      coefs: fc.array(coefficient, { minLength: ATOMS, maxLength: ATOMS }),
      zero: fc.constantFrom(false, false, false, true),
    }),
    { maxLength: 2 },
  ),
});

function formOf({ constant, coefs }: Sum): Form {
  let form = constantForm(constant);
  for (const [atom, c] of coefs.entries()) if (c !== 0) form = addForms(form, atomForm(atom), c, 64)!;
  return form;
}

const valueAt = ({ constant, coefs }: Sum, member: readonly number[]) =>
  coefs.reduce((total, c, atom) => total + c * member[atom]!, constant);

/** `last − sum`, as far as its terms go. */
const negative = ({ coefs }: Sum, last: number): Sum => ({ constant: last, coefs: coefs.map((c) => -c) });

/** Every choice of the atoms that the constraints allow, by definition. */
function membersOf({ atoms, constraints }: Setting): number[][] {
  let members: number[][] = [[]];
  for (const { lo, span } of atoms) {
    members = members.flatMap((member) => Array.from({ length: span + 1 }, (_, at) => [...member, lo + at]));
  }
  return members.filter((member) =>
    constraints.every((one) => (one.zero ? valueAt(one, member) === 0 : valueAt(one, member) >= 0)),
  );
}

/** Forks one below the other at most; an evaluation that wants more is given up by abstract execution as well. */
const MAX_DEPTH = 24;

/**
 * Runs an evaluation in every case it forks into; what each gives, with the state it ends in. Undefined when that takes too
 * many.
 */
function everyCase<T>(state: State, evaluate: () => T, depth = 0): { value: T; domain: Domain }[] | undefined {
  try {
    return [{ value: evaluate(), domain: state.domain }];
  } catch (error) {
    if (error !== FORK) throw error;
    if (depth === MAX_DEPTH) return undefined;
    const found: { value: T; domain: Domain }[] = [];
    for (const option of state.options) {
      const snapshot = state.save();
      const cases = option() ? everyCase(state, evaluate, depth + 1) : [];
      state.restore(snapshot);
      if (!cases) return undefined;
      found.push(...cases);
    }
    return found;
  }
}

/** A state narrowed by the constraints; undefined when the domain says that there are no members. */
function narrowed({ atoms, constraints }: Setting): State | undefined {
  const state = emptyState();
  for (const { lo, span } of atoms) state.domain.atom(lo, lo + span);
  for (const one of constraints) {
    const form = formOf(one);
    if (!(one.zero ? state.domain.assumeZero(form) : state.domain.assumeNonNegative(form))) return undefined;
  }
  return state;
}

/** The members of a domain as it stands: bounds, sums, replaced atoms, relations, all atoms enumerated. */
function membersOfDomain(domain: Domain, limit = 20_000): number[][] | undefined {
  const count = domain.lo.length;
  const free = Array.from({ length: count }, (_, atom) => atom).filter((atom) => !domain.substitutes[atom]);
  let size = 1;
  for (const atom of free) size *= domain.hi[atom]! - domain.lo[atom]! + 1;
  if (!(size <= limit)) return undefined;
  const members: number[][] = [];
  const member = new Array<number>(count).fill(0);
  const value = (form: Form): number =>
    form.atoms.reduce((total, atom, i) => total + form.coefs[i]! * valueOfAtom(atom), form.constant);
  const valueOfAtom = (atom: number): number => {
    const substitute = domain.substitutes[atom];
    return substitute ? value(substitute) : member[atom]!;
  };
  const visit = (index: number) => {
    if (index === free.length) {
      const all = Array.from({ length: count }, (_, atom) => valueOfAtom(atom));
      const allowed =
        domain.groups.every(({ form, lo, hi }) => value(form) >= lo && value(form) <= hi) &&
        domain.relations.every(({ terms, replacement }) => value(terms) === value(replacement));
      if (allowed) members.push(all);
      return;
    }
    const atom = free[index]!;
    for (let at = domain.lo[atom]!; at <= domain.hi[atom]!; at++) {
      member[atom] = at;
      visit(index + 1);
    }
  };
  visit(0);
  return members;
}

const evaluateForm = (form: Form, member: readonly number[]) =>
  form.atoms.reduce((total, atom, i) => total + form.coefs[i]! * member[atom]!, form.constant);

/** Whether a set has all of some values. */
function holds<T>(set: ReadonlySet<T>, values: Iterable<T>): void {
  for (const value of values) if (!set.has(value)) expect.fail(`lacks ${value}`);
}

const RUNS = { numRuns: 600, seed: 42 };

describe('a domain', () => {
  it('keeps every member, and its ranges hold their values', () => {
    fc.assert(
      fc.property(setting, sum, (given, asked) => {
        const members = membersOf(given);
        const state = narrowed(given);
        if (!state) {
          expect(members).toEqual([]);
          return;
        }
        const { domain } = state;
        const form = formOf(asked);
        for (const member of members) {
          const value = valueAt(asked, member);
          const inside = member.every((one, atom) => domain.lo[atom]! <= one && one <= domain.hi[atom]!);
          if (!inside || domain.low(form) > value || domain.high(form) < value) expect.fail(`excludes ${member}`);
        }
        if (!domain.inexact) expect(membersOfDomain(domain)!.length).toBe(members.length);
      }),
      RUNS,
    );
  });
});

describe('division', () => {
  /** Checks that each member is in some case, with the quotient and remainder it has; and that exact cases have no others. */
  function check(given: Setting, sums: readonly Sum[], divisors: readonly number[]): void {
    const state = narrowed(given);
    const members = membersOf(given);
    if (!state) {
      expect(members).toEqual([]);
      return;
    }
    const cases = everyCase(state, () => sums.map((one, index) => divide(state, formOf(one), divisors[index]!)));
    if (!cases) return;
    const found = new Set<string>();
    const wanted = new Set(
      members.map((member) =>
        sums
          .map((one, index) => {
            const value = valueAt(one, member);
            const quotient = Math.floor(value / divisors[index]!);
            return `${quotient}:${value - quotient * divisors[index]!}`;
          })
          .join(' '),
      ),
    );
    let exact = true;
    for (const { value, domain } of cases) {
      const inside = membersOfDomain(domain);
      if (!inside) return;
      if (domain.inexact) exact = false;
      for (const member of inside) {
        found.add(
          value
            .map(({ quotient, remainder }) => `${evaluateForm(quotient, member)}:${evaluateForm(remainder, member)}`)
            .join(' '),
        );
      }
    }
    holds(found, wanted);
    if (exact) expect([...found].sort()).toEqual([...wanted].sort());
  }

  const divisor = fc.constantFrom(2, 3, 4, 5, 7, 8, 12, 16, 32, 64);

  it('of one sum gives every member its quotient and remainder', () => {
    fc.assert(
      fc.property(setting, sum, divisor, (given, one, by) => check(given, [one], [by])),
      RUNS,
    );
  });

  it('of two sums over the same atoms gives them together', () => {
    fc.assert(
      fc.property(setting, sum, sum, divisor, divisor, (given, one, two, a, b) => check(given, [one, two], [a, b])),
      { ...RUNS, numRuns: 300 },
    );
  });
});

describe('bitwise operations', () => {
  const settler = (state: State) => ({
    enumerate: (form: Form): Form | undefined => {
      const low = state.domain.low(form);
      const high = state.domain.high(form);
      if (low === high) return constantForm(low);
      if (high - low > 40) return undefined;
      const middle = Math.floor((low + high) / 2);
      return state.fork(
        () => state.domain.assumeNonNegative(addNumber(scaleForm(form, -1, 64)!, middle)!),
        () => state.domain.assumeNonNegative(addNumber(form, -middle - 1)!),
      );
    },
  });

  for (const width of [8, 32]) {
    it(`of ${width} bits give every member its bits`, () => {
      const mask = 2 ** width - 1;
      const operations = fc.constantFrom('and', 'or', 'xor', 'table');
      fc.assert(
        fc.property(setting, sum, sum, operations, fc.integer({ min: 0, max: 255 }), (given, one, two, op, table) => {
          const state = narrowed(given);
          const members = membersOf(given);
          if (!state) {
            expect(members).toEqual([]);
            return;
          }
          const a = formOf(one);
          const b = formOf(two);
          const run = {
            and: () => andForms(state, a, b, width, settler(state)),
            or: () => orForms(state, a, b, width, settler(state)),
            xor: () => xorForms(state, a, b, width, settler(state)),
            table: () => tableFunction(state, [a, b, constantForm(12)], table, width, settler(state)),
          }[op];
          const bitsOf = (x: number, y: number): number => {
            if (op === 'and') return x & y;
            if (op === 'or') return x | y;
            if (op === 'xor') return x ^ y;
            let bits = 0;
            for (let bit = 0; bit < 32; bit++) {
              const index = (((x >> bit) & 1) << 2) | (((y >> bit) & 1) << 1) | ((12 >> bit) & 1);
              bits |= ((table >> index) & 1) << bit;
            }
            return bits;
          };
          const cases = everyCase(state, run);
          if (!cases || cases.some(({ value }) => !value)) return;
          const found = new Set<number>();
          for (const { value, domain } of cases) {
            const inside = membersOfDomain(domain);
            if (!inside) return;
            for (const member of inside) {
              const total = evaluateForm(value!, member) + Number(value!.big);
              found.add(Number(BigInt.asUintN(width, BigInt(total))));
            }
          }
          const wanted = members.map((member) => (bitsOf(valueAt(one, member), valueAt(two, member)) & mask) >>> 0);
          holds(found, wanted);
        }),
        RUNS,
      );
    });
  }
});

describe('addresses', () => {
  const bytesOf = (domain: Domain, address: Form, width: number) => {
    const canonical = domain.canonical(address)!;
    const { descriptors, exact, unbounded } = resolveAddresses(domain, canonical, width, { boxes: 1e6 });
    expect(unbounded).toBe(false);
    const bytes = new Set<number>();
    for (const { start, width: size, dimensions } of descriptors) {
      let starts = [start];
      for (const { stride, count } of dimensions)
        starts = starts.flatMap((from) => Array.from({ length: count }, (_, at) => from + at * stride));
      for (const from of starts) for (let at = 0; at < size; at++) bytes.add(from + at);
    }
    return { bytes, exact };
  };
  const width = fc.constantFrom(1, 2, 4, 8);

  it('are those of every member, and of no other when exact', () => {
    fc.assert(
      fc.property(setting, sum, width, (given, one, size) => {
        const state = narrowed(given);
        const members = membersOf(given);
        if (!state) {
          expect(members).toEqual([]);
          return;
        }
        const { bytes, exact } = bytesOf(state.domain, formOf(one), size);
        const wanted = new Set(
          members.flatMap((member) => Array.from({ length: size }, (_, at) => valueAt(one, member) + at)),
        );
        holds(bytes, wanted);
        if (exact && !state.domain.inexact) expect(bytes.size).toBe(wanted.size);
      }),
      { ...RUNS, numRuns: 3000 },
    );
  });

  it('of quotients and remainders are those of every member', () => {
    const divisor = fc.constantFrom(2, 3, 4, 8, 16);
    fc.assert(
      fc.property(setting, sum, divisor, fc.constantFrom(1, 4, 10, 100), width, (given, one, by, factor, size) => {
        const state = narrowed(given);
        const members = membersOf(given);
        if (!state) {
          expect(members).toEqual([]);
          return;
        }
        const cases = everyCase(state, () => {
          const { quotient, remainder } = divide(state, formOf(one), by);
          return addForms(quotient, remainder, factor, 64)!;
        });
        if (!cases) return;
        const told = new Set<number>();
        let isExact = true;
        for (const { value, domain } of cases) {
          const { bytes, exact } = bytesOf(domain, value, size);
          if (!exact || domain.inexact) isExact = false;
          for (const byte of bytes) told.add(byte);
        }
        const wanted = new Set<number>();
        for (const member of members) {
          const value = valueAt(one, member);
          const quotient = Math.floor(value / by);
          const start = quotient + factor * (value - quotient * by);
          for (let at = 0; at < size; at++) wanted.add(start + at);
        }
        holds(told, wanted);
        if (isExact) expect(told.size).toBe(wanted.size);
      }),
      { ...RUNS, numRuns: 3000 },
    );
  });

  it('of sums, their quotients, remainders and quotients of quotients, narrowed afterwards, are those of every member', () => {
    const divisor = fc.constantFrom(2, 3, 4, 5, 8, 16);
    // Sums without gaps, of which nothing nests in the divisor, are replaced as a whole.
    const dense = fc
      .tuple(fc.constantFrom(2, 4, 6, 8), fc.constantFrom(1, 3, 4), fc.constantFrom(0, 1, 3))
      .chain(([a, b, c]) => {
        const one: Sum = { constant: 0, coefs: [1, a + 1, (a + 1) * (b + 1)] };
        const most = a + one.coefs[1]! * b + one.coefs[2]! * c;
        const bound = fc.integer({ min: 0, max: most }).map((last) => [{ ...negative(one, last), zero: false }]);
        return fc.record({
          given: fc.record({
            atoms: fc.constant([a, b, c].map((span) => ({ lo: 0, span }))),
            constraints: fc.oneof(fc.constant([]), bound),
          }),
          one: fc.constant(one),
        });
      });
    /** Sums of the atoms, of a sum's quotient and remainder, and of the quotient of that quotient. */
    interface Mixed {
      readonly terms: Sum;
      readonly digits: readonly [quotient: number, remainder: number, next: number];
    }
    const mixed = (factor: fc.Arbitrary<number>): fc.Arbitrary<Mixed> =>
      fc.record({ terms: sum, digits: fc.tuple(factor, factor, factor) });
    const asked = fc.record({
      what: mixed(fc.constantFrom(0, 0, 0, 1, -1, 5)),
      zero: fc.constantFrom(false, false, true),
    });
    fc.assert(
      fc.property(
        fc.oneof(dense, dense, fc.record({ given: setting, one: sum })),
        fc.tuple(divisor, divisor),
        fc.array(asked, { maxLength: 2 }),
        mixed(fc.constantFrom(0, 0, 1, 4, 10, 100)),
        ({ given, one }, [by, again], narrowings, place) => {
          const state = narrowed(given);
          const numberOf = ({ terms, digits }: Mixed, member: readonly number[]) => {
            const value = valueAt(one, member);
            const quotient = Math.floor(value / by);
            const all = [quotient, value - quotient * by, Math.floor(quotient / again)];
            return digits.reduce((total, factor, index) => total + factor * all[index]!, valueAt(terms, member));
          };
          const members = membersOf(given).filter((member) =>
            narrowings.every(({ what, zero }) => (zero ? numberOf(what, member) === 0 : numberOf(what, member) >= 0)),
          );
          if (!state) {
            expect(members).toEqual([]);
            return;
          }
          const ends = everyCase(state, () => {
            const { quotient, remainder } = divide(state, formOf(one), by);
            const all = [quotient, remainder, divide(state, quotient, again).quotient];
            const form = ({ terms, digits }: Mixed) =>
              digits.reduce((total, factor, index) => addForms(total, all[index]!, factor, 64)!, formOf(terms));
            const { domain } = state;
            const holds = narrowings.every(({ what, zero }) =>
              zero ? domain.assumeZero(form(what)) : domain.assumeNonNegative(form(what)),
            );
            return holds ? form(place) : undefined;
          });
          if (!ends) return;
          const told = new Set<number>();
          let isExact = true;
          for (const { value: address, domain } of ends) {
            if (!address) continue;
            const { bytes, exact } = bytesOf(domain, address, 1);
            if (!exact || domain.inexact) isExact = false;
            for (const byte of bytes) told.add(byte);
          }
          const wanted = new Set(members.map((member) => numberOf(place, member)));
          holds(told, wanted);
          if (isExact) expect([...told].sort()).toEqual([...wanted].sort());
        },
      ),
      { ...RUNS, numRuns: 6000 },
    );
  });
});
