/**
 * Division of affine forms by a constant, rounding down, by splitting atoms: `b·256 + t` by 32 is `8·b + t₁` with
 * `t = 32·t₁ + t₀`. Where digits do not nest, the whole dense sum becomes a new pair of atoms. Everything that addressing does with
 * division, remainder, shifts right and masks comes through here.
 */

import type { Domain } from './domain.js';
import {
  addForms,
  addNumber,
  atomForm,
  constantForm,
  type Form,
  greatestCommonDivisor,
  scaleForm,
  termsOf,
  withConstant,
} from './form.js';
import type { State } from './state.js';

export interface Division {
  readonly quotient: Form;
  /** In `[0, divisor)`. */
  readonly remainder: Form;
}

/** Steps after which remainders repeat, for an atom to be split by them. */
const MAX_PERIOD = 64;
/** Multiples of the divisor that a sum is cut at where nothing else tells its quotient. */
const MAX_CUTS = 6;

function floorDivide(a: number, b: number): number {
  return Math.floor(a / b);
}

/**
 * `floor(form / divisor)` and the remainder. The form is a plain integer: no root, no large constant, its window already chosen.
 * The divisor is positive.
 */
export function divide(state: State, form: Form, divisor: number): Division {
  if (divisor === 1) return { quotient: form, remainder: constantForm(0) };
  for (let rounds = 0; rounds < 16; rounds++) {
    const { domain } = state;
    const canonical = domain.canonical(form);
    if (!canonical) break;
    const result = step(state, canonical, divisor);
    if (result === 'again') continue;
    if (result) return result;
    break;
  }
  return widen(state, form, divisor);
}

function widen(state: State, form: Form, divisor: number): Division {
  const { domain } = state;
  domain.inexact = true;
  const low = floorDivide(domain.low(form), divisor);
  const high = floorDivide(domain.high(form), divisor);
  return {
    quotient: atomForm(domain.atom(low, high, true)),
    remainder: atomForm(domain.atom(0, divisor - 1, true)),
  };
}

function step(state: State, form: Form, divisor: number): Division | 'again' | undefined {
  const { domain } = state;
  // What divides goes out as it is.
  const outAtoms: number[] = [];
  const outCoefs: number[] = [];
  const inAtoms: number[] = [];
  const inCoefs: number[] = [];
  for (let i = 0; i < form.atoms.length; i++) {
    const atom = form.atoms[i]!;
    const c = form.coefs[i]!;
    if (c % divisor === 0) {
      outAtoms.push(atom);
      outCoefs.push(c / divisor);
    } else {
      inAtoms.push(atom);
      inCoefs.push(c);
    }
  }
  const whole = floorDivide(form.constant, divisor);
  const out = withConstant(termsOf(outAtoms, outCoefs), whole);
  const rest = withConstant(termsOf(inAtoms, inCoefs), form.constant - whole * divisor);
  const low = domain.low(rest);
  const high = domain.high(rest);
  if (!Number.isFinite(low) || !Number.isFinite(high)) return undefined;
  const first = floorDivide(low, divisor);
  const last = floorDivide(high, divisor);
  const finish = (quotient: Form | undefined, remainder: Form | undefined): Division | undefined => {
    const sum = quotient && addForms(out, quotient, 1, 64);
    return sum && remainder ? { quotient: sum, remainder } : undefined;
  };
  if (first === last) return finish(constantForm(first), addNumber(rest, -first * divisor));
  // Negative digits are counted from their other end.
  for (let i = 0; i < inAtoms.length; i++) {
    if (inCoefs[i]! > 0) continue;
    const atom = inAtoms[i]!;
    if (domain.isRelated[atom]) return undefined;
    const span = domain.hi[atom]! - domain.lo[atom]!;
    const flipped = domain.atom(0, span, domain.isData[atom]);
    const replacement = scaleForm(atomForm(flipped), -1, 64);
    domain.substitute(atom, withConstant(replacement!, domain.hi[atom]!));
    return 'again';
  }
  // A common factor of all terms: floor((g·x + c) / (g·d)) = floor((x + floor(c/g)) / d).
  let common = divisor;
  for (const c of inCoefs) common = greatestCommonDivisor(common, c);
  if (common > 1) {
    const lower = rest.constant % common;
    const reduced = withConstant(
      termsOf(
        inAtoms,
        inCoefs.map((c) => c / common),
      ),
      (rest.constant - lower) / common,
    );
    const inner = divide(state, reduced, divisor / common);
    const scaled = scaleForm(inner.remainder, common, 64);
    return finish(inner.quotient, scaled && addNumber(scaled, lower));
  }
  // g·x / d where g·D is just above d: a multiplication by a reciprocal.
  let content = 0;
  for (const c of inCoefs) content = greatestCommonDivisor(content, c);
  if (content > 1 && rest.constant % content === 0 && low >= 0) {
    const reciprocal = Math.ceil(divisor / content);
    const error = content * reciprocal - divisor;
    if ((high / content) * error < divisor) {
      const reduced = withConstant(
        termsOf(
          inAtoms,
          inCoefs.map((c) => c / content),
        ),
        rest.constant / content,
      );
      const { quotient } = divide(state, reduced, reciprocal);
      const product = scaleForm(quotient, divisor, 64);
      return finish(quotient, product && addForms(rest, product, -1, 64));
    }
  }
  const largest = inCoefs.indexOf(Math.max(...inCoefs));
  const c = inCoefs[largest]!;
  const atom = inAtoms[largest]!;
  const others = addForms(rest, atomForm(atom), -c, 64)!;
  const othersLow = domain.low(others);
  const othersHigh = domain.high(others);
  if (divisor % c === 0 && !domain.isRelated[atom]) {
    // The digit nests in the divisor, and what is below it stays below it.
    const carry = floorDivide(othersLow, c);
    if (carry === floorDivide(othersHigh, c)) {
      splitAtom(state, atom, divisor / c, carry);
      return 'again';
    }
    if (floorDivide(othersHigh, c) - carry <= 2) {
      const bound = (carry + 1) * c;
      state.fork(
        () => state.domain.assumeNonNegative(negated(addNumber(others, 1 - bound)!)),
        () => state.domain.assumeNonNegative(addNumber(others, -bound)!),
      );
    }
  }
  if (last - first <= 1) {
    const bound = last * divisor;
    state.fork(
      () => state.domain.assumeNonNegative(negated(addNumber(rest, 1 - bound)!)),
      () => state.domain.assumeNonNegative(addNumber(rest, -bound)!),
    );
  }
  const dense = composite(state, rest, divisor, finish);
  if (dense) return dense;
  // Steps that come back to the same remainder after a few: `384·b + t` by 256 is `3·b₁ + (384·b₀ + t) / 256` with `b = 2·b₁ + b₀`.
  const period = divisor / greatestCommonDivisor(divisor, c);
  if (period <= MAX_PERIOD && !domain.isRelated[atom] && domain.hi[atom]! - domain.lo[atom]! >= period) {
    splitAtom(state, atom, period, 0);
    return 'again';
  }
  if (last - first > MAX_CUTS || domain.isDataForm(rest)) return undefined;
  const middle = (first + Math.ceil((last - first) / 2)) * divisor;
  state.fork(
    () => state.domain.assumeNonNegative(negated(addNumber(rest, 1 - middle)!)),
    () => state.domain.assumeNonNegative(addNumber(rest, -middle)!),
  );
}

function negated(form: Form): Form {
  return scaleForm(form, -1, 64)!;
}

/** `atom = radix · q + r − carry`, so that `atom + carry` divides. */
function splitAtom(state: State, atom: number, radix: number, carry: number): void {
  const { domain } = state;
  const lo = domain.lo[atom]! + carry;
  const hi = domain.hi[atom]! + carry;
  const isData = domain.isData[atom];
  const first = floorDivide(lo, radix);
  const last = floorDivide(hi, radix);
  const quotient = domain.atom(first, last, isData);
  const remainder = domain.atom(0, radix - 1, isData);
  const sum = addForms(scaleForm(atomForm(quotient), radix, 64)!, atomForm(remainder), 1, 64)!;
  domain.substitute(atom, withConstant(sum, -carry));
  // Ragged ends.
  if (lo !== first * radix) narrow(domain, withConstant(sum, -lo));
  if (hi !== last * radix + radix - 1) narrow(domain, withConstant(scaleForm(sum, -1, 64)!, hi));
}

/** States that a form is not negative; that there are no members then is not said, so the answer is a superset. */
function narrow(domain: Domain, form: Form): void {
  if (!domain.assumeNonNegative(form)) domain.inexact = true;
}

/** A dense sum as one number: `terms = divisor · q + r − constant`. */
function composite(
  state: State,
  rest: Form,
  divisor: number,
  finish: (quotient: Form | undefined, remainder: Form | undefined) => Division | undefined,
): Division | undefined {
  const { domain } = state;
  const terms = withConstant(rest, 0);
  if (!domain.isDense(terms)) return undefined;
  const lo = domain.low(terms) + rest.constant;
  const hi = domain.high(terms) + rest.constant;
  const isData = domain.isDataForm(terms);
  const first = floorDivide(lo, divisor);
  const last = floorDivide(hi, divisor);
  const quotient = domain.atom(first, last, isData);
  const remainder = domain.atom(0, divisor - 1, isData);
  const sum = addForms(scaleForm(atomForm(quotient), divisor, 64)!, atomForm(remainder), 1, 64)!;
  replaceTerms(state, terms, withConstant(sum, -rest.constant));
  if (lo !== first * divisor) narrow(domain, withConstant(sum, -lo));
  if (hi !== last * divisor + divisor - 1) narrow(domain, withConstant(scaleForm(sum, -1, 64)!, hi));
  return finish(atomForm(quotient), atomForm(remainder));
}

/** Replaces a sum of atoms by another form wherever the whole sum occurs. */
export function replaceTerms(state: State, terms: Form, replacement: Form): void {
  const { domain } = state;
  if (terms.atoms.length === 1 && terms.coefs[0] === 1) domain.substitute(terms.atoms[0]!, replacement);
  else domain.relate(terms, replacement);
}
