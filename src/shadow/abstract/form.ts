/**
 * Affine forms: what a value is, for all threads at once. A form stands for an integer that is congruent to the value's
 * bits modulo 2^width; so sums and products need no thought about wrapping, and only operations that look at the number itself
 * (comparison, division, extension) must know in which window it lies (`Windows.window`).
 *
 * Coefficients and constants are whole numbers of at most {@link LIMIT}; whoever would leave that range gets `undefined` and
 * must widen. A pointer stays symbolic (`root`) as long as it is only added to, so that a result holds for other pointers too.
 */

/** Largest magnitude of a coefficient, a constant or a bound that is computed with exactly. */
export const LIMIT = 2 ** 52;

/** No pointer in the form. */
export const NO_ROOT = -1;

/** `root + big + constant + Σ coefs[i] · atom[i]`. Immutable; atoms ascending, coefficients never zero. */
export interface Form {
  readonly constant: number;
  readonly atoms: readonly number[];
  readonly coefs: readonly number[];
  /** Index into the execution's roots; {@link NO_ROOT} without. */
  readonly root: number;
  /** Part of the constant that is too large for a number; 0n as a rule. */
  readonly big: bigint;
  /** Whether there is such a part; quicker to ask than comparing large integers. */
  readonly isLarge: boolean;
  /** A pointer's number went into the constant: which allocation the form points into is no longer known. */
  readonly blurred: boolean;
}

const NONE: readonly number[] = [];

/** Where terms are put together: a copy of what is used has the right size, a list that grows does not. Fractions fix the layout. */
const ATOMS: number[] = [0];
const COEFS: number[] = [0.5];

/** Forms are made here alone, so that they all have one shape. */
class FormValue implements Form {
  constructor(
    readonly constant: number,
    readonly atoms: readonly number[],
    readonly coefs: readonly number[],
    readonly root: number,
    readonly big: bigint,
    readonly isLarge: boolean,
    readonly blurred: boolean,
  ) {}
}

function make(
  constant: number,
  atoms: readonly number[],
  coefs: readonly number[],
  root: number,
  blurred: boolean,
): Form {
  return new FormValue(constant, atoms, coefs, root, 0n, false, blurred);
}

/** With a part that is too large for a number, if it is not zero. */
function makeLarge(
  constant: number,
  atoms: readonly number[],
  coefs: readonly number[],
  root: number,
  big: bigint,
  blurred: boolean,
): Form {
  return new FormValue(constant, atoms, coefs, root, big, big !== 0n, blurred);
}

const SMALL = Array.from({ length: 257 }, (_, value) => make(value, NONE, NONE, NO_ROOT, false));

export function constantForm(value: number): Form {
  return value >= 0 && value <= 256 && Number.isInteger(value)
    ? SMALL[value]!
    : make(value, NONE, NONE, NO_ROOT, false);
}

/** A constant of any size, as the number of smallest magnitude that is congruent modulo 2^width. */
export function bigForm(bits: bigint, width: number, blurred = false): Form {
  const signed = BigInt.asIntN(width, bits);
  if (signed >= -BigInt(LIMIT) && signed <= BigInt(LIMIT)) {
    return blurred ? make(Number(signed), NONE, NONE, NO_ROOT, true) : constantForm(Number(signed));
  }
  return makeLarge(0, NONE, NONE, NO_ROOT, signed, blurred);
}

export function atomForm(atom: number): Form {
  return make(0, [atom], [1], NO_ROOT, false);
}

export function rootForm(root: number): Form {
  return make(0, NONE, NONE, root, false);
}

/** Whether the form is one number, the same for every thread, with nothing symbolic. */
export function isConstant(form: Form): boolean {
  return form.atoms.length === 0 && form.root === NO_ROOT;
}

/** A constant that is an ordinary number. */
export function isNumber(form: Form): boolean {
  return form.atoms.length === 0 && form.root === NO_ROOT && !form.isLarge;
}

/** The constant as an integer of any size. */
export function constantBits(form: Form, width: number): bigint {
  return BigInt.asUintN(width, form.big + BigInt(form.constant));
}

/** Coefficients of 32-bit values and narrower are kept small, which changes nothing modulo 2^width. */
function reduce(value: number, width: number): number {
  if (width > 32) return value;
  const size = width === 32 ? 4294967296 : 2 ** width;
  if (value < size && value > -size) return value;
  const rest = value % size;
  return rest > size / 2 ? rest - size : rest < -size / 2 ? rest + size : rest;
}

/**
 * `factor · value` modulo 2^width. Narrow products that a number does not hold are multiplied in words, as only their low bits
 * count; wide ones are no number at all, which {@link fits} refuses.
 */
function times(value: number, factor: number, width: number): number {
  const product = value * factor;
  if (Number.isSafeInteger(product)) return reduce(product, width);
  return width > 32 ? Number.NaN : reduce(Math.imul(value, factor), width);
}

function fits(value: number): boolean {
  return value <= LIMIT && value >= -LIMIT;
}

/**
 * `a + factor · b` modulo 2^width; undefined when it leaves {@link LIMIT}. Of two roots only one survives: the caller resolves
 * them first.
 */
export function addForms(a: Form, b: Form, factor: number, width: number): Form | undefined {
  const constant = reduce(a.constant + times(b.constant, factor, width), width);
  if (!fits(constant)) return undefined;
  const root = a.root !== NO_ROOT ? a.root : b.root;
  if (a.isLarge || b.isLarge) return addLarge(a, b, factor, width);
  const blurred = a.blurred || b.blurred;
  if (b.atoms.length === 0) {
    if (a.atoms.length === 0 && root === NO_ROOT && !blurred) return constantForm(constant);
    return make(constant, a.atoms, a.coefs, root, blurred);
  }
  if (a.atoms.length === 0 && factor === 1 && areReduced(b.coefs, width))
    return make(constant, b.atoms, b.coefs, root, blurred);
  return addTerms(a, b, factor, width, constant, root, blurred);
}

/** The part of {@link addForms} that puts terms together. */
function addTerms(
  a: Form,
  b: Form,
  factor: number,
  width: number,
  constant: number,
  root: number,
  blurred: boolean,
): Form | undefined {
  const lefts = a.atoms;
  const rights = b.atoms;
  let count = 0;
  let i = 0;
  let j = 0;
  while (i < lefts.length || j < rights.length) {
    let atom: number;
    let coefficient: number;
    if (j === rights.length || (i < lefts.length && lefts[i]! < rights[j]!)) {
      atom = lefts[i]!;
      coefficient = a.coefs[i++]!;
    } else {
      atom = rights[j]!;
      coefficient = times(b.coefs[j++]!, factor, width);
      if (i < lefts.length && lefts[i] === atom) coefficient = reduce(a.coefs[i++]! + coefficient, width);
    }
    if (!fits(coefficient)) return undefined;
    if (coefficient === 0) continue;
    ATOMS[count] = atom;
    COEFS[count++] = coefficient;
  }
  return make(constant, ATOMS.slice(0, count), COEFS.slice(0, count), root, blurred);
}

/** Whether coefficients are what they are modulo 2^width already. */
function areReduced(coefs: readonly number[], width: number): boolean {
  if (width > 32) return true;
  const size = width === 32 ? 4294967296 : 2 ** width;
  for (let i = 0; i < coefs.length; i++) if (coefs[i]! >= size || coefs[i]! <= -size) return false;
  return true;
}

/** {@link addForms} with large constants, which may have become small. */
function addLarge(a: Form, b: Form, factor: number, width: number): Form | undefined {
  const sum = addForms(withoutBig(a), withoutBig(b), factor, width);
  if (!sum) return undefined;
  const total = BigInt.asIntN(width, a.big + BigInt(factor) * b.big + BigInt(sum.constant));
  const small = total >= -BigInt(LIMIT) && total <= BigInt(LIMIT);
  return makeLarge(small ? Number(total) : 0, sum.atoms, sum.coefs, sum.root, small ? 0n : total, sum.blurred);
}

/** `factor · a` modulo 2^width; undefined when it leaves {@link LIMIT}. The form has no root. */
export function scaleForm(a: Form, factor: number, width: number): Form | undefined {
  if (factor === 0) return constantForm(0);
  if (factor === 1) return a;
  const constant = times(a.constant, factor, width);
  if (!fits(constant)) return undefined;
  const big = a.isLarge ? a.big * BigInt(factor) : 0n;
  if (a.atoms.length === 0) {
    if (a.isLarge) return makeLarge(constant, NONE, NONE, NO_ROOT, big, a.blurred);
    return a.blurred ? make(constant, NONE, NONE, NO_ROOT, true) : constantForm(constant);
  }
  let count = 0;
  for (let i = 0; i < a.atoms.length; i++) {
    const coefficient = times(a.coefs[i]!, factor, width);
    if (!fits(coefficient)) return undefined;
    if (coefficient === 0) continue;
    ATOMS[count] = a.atoms[i]!;
    COEFS[count++] = coefficient;
  }
  const atoms = count === a.atoms.length ? a.atoms : ATOMS.slice(0, count);
  const coefs = COEFS.slice(0, count);
  return a.isLarge
    ? makeLarge(constant, atoms, coefs, NO_ROOT, big, a.blurred)
    : make(constant, atoms, coefs, NO_ROOT, a.blurred);
}

/** `form + value`; undefined when it leaves {@link LIMIT}. */
export function addNumber(form: Form, value: number): Form | undefined {
  const constant = form.constant + value;
  if (!fits(constant)) return undefined;
  return new FormValue(constant, form.atoms, form.coefs, form.root, form.big, form.isLarge, form.blurred);
}

/** The form with another constant part. */
export function withConstant(form: Form, constant: number): Form {
  return new FormValue(constant, form.atoms, form.coefs, form.root, form.big, form.isLarge, form.blurred);
}

/** The form with another large part. */
export function withBig(form: Form, big: bigint): Form {
  return makeLarge(form.constant, form.atoms, form.coefs, form.root, big, form.blurred);
}

/** The form without its large part. */
export function withoutBig(form: Form): Form {
  return form.isLarge ? make(form.constant, form.atoms, form.coefs, form.root, form.blurred) : form;
}

/** The form without its root. */
export function withoutRoot(form: Form): Form {
  return form.root === NO_ROOT
    ? form
    : new FormValue(form.constant, form.atoms, form.coefs, NO_ROOT, form.big, form.isLarge, form.blurred);
}

/** The form with other terms. */
export function withTerms(form: Form, atoms: readonly number[], coefs: readonly number[]): Form {
  return new FormValue(form.constant, atoms, coefs, form.root, form.big, form.isLarge, form.blurred);
}

/** The form without its root, whose number is added. */
export function resolveRoot(form: Form, number: bigint): Form {
  const total = BigInt.asIntN(64, form.big + number);
  if (total >= -BigInt(LIMIT) && total <= BigInt(LIMIT)) {
    const constant = form.constant + Number(total);
    if (fits(constant)) return make(constant, form.atoms, form.coefs, NO_ROOT, true);
  }
  return makeLarge(form.constant, form.atoms, form.coefs, NO_ROOT, total, true);
}

/** Only the terms, as a form without constant or root. */
export function termsOf(atoms: readonly number[], coefs: readonly number[]): Form {
  return make(0, atoms, coefs, NO_ROOT, false);
}

export function coefficientOf(form: Form, atom: number): number {
  const index = form.atoms.indexOf(atom);
  return index < 0 ? 0 : form.coefs[index]!;
}

export function greatestCommonDivisor(a: number, b: number): number {
  // Remainders of small whole numbers are much quicker than those of doubles.
  let small = a | 0;
  let other = b | 0;
  if (small === a && other === b) {
    while (other !== 0) {
      const rest = (small % other) | 0;
      small = other;
      other = rest;
    }
    return Math.abs(small);
  }
  let left = Math.abs(a);
  let right = Math.abs(b);
  while (right !== 0) [left, right] = [right, left % right];
  return left;
}

/** The greatest number that divides all coefficients; 0 when there are none. */
export function contentOf(coefs: readonly number[]): number {
  let divisor = 0;
  for (let i = 0; i < coefs.length && divisor !== 1; i++) divisor = greatestCommonDivisor(divisor, coefs[i]!);
  return divisor;
}

/** Whether both have the same atoms with the same coefficients. */
export function sameTerms(a: Form, b: Form): boolean {
  if (a.atoms.length !== b.atoms.length) return false;
  for (let i = 0; i < a.atoms.length; i++) {
    if (a.atoms[i] !== b.atoms[i] || a.coefs[i] !== b.coefs[i]) return false;
  }
  return true;
}

/** The number `k` with `part = k · whole` on all atoms of `whole`; 0 when there is none. */
export function ratioOf(form: Form, whole: Form): number {
  const first = coefficientOf(form, whole.atoms[0]!);
  if (first === 0) return 0;
  const ratio = first / whole.coefs[0]!;
  if (!Number.isInteger(ratio)) return 0;
  for (let i = 1; i < whole.atoms.length; i++) {
    if (coefficientOf(form, whole.atoms[i]!) !== ratio * whole.coefs[i]!) return 0;
  }
  return ratio;
}

/**
 * Least value of `constant + sign · Σ coefs[i] · x[i]` with each `x[i]` between its bounds; minus infinity as soon as something on
 * the way is more than a number holds exactly, so that no bound is ever inside the real one.
 *
 * @param places where each term's bounds are in `lo` and `hi`; one after the other when undefined
 * @param except index of a term to leave out
 */
export function leastSum(
  constant: number,
  coefs: readonly number[],
  places: readonly number[] | undefined,
  lo: readonly number[],
  hi: readonly number[],
  sign: 1 | -1,
  except = -1,
): number {
  let total = constant;
  for (let i = 0; i < coefs.length; i++) {
    if (i === except) continue;
    const c = sign * coefs[i]!;
    const place = places === undefined ? i : places[i]!;
    const product = c === 0 ? 0 : c > 0 ? c * lo[place]! : c * hi[place]!;
    total += product;
    if (!Number.isSafeInteger(product) || !Number.isSafeInteger(total)) return Number.NEGATIVE_INFINITY;
  }
  return total;
}

/** A number that is certainly exact, or minus infinity: for lower bounds. */
export function exactOrLess(value: number): number {
  return Number.isSafeInteger(value) ? value : Number.NEGATIVE_INFINITY;
}

/** Whether a sum takes every whole number between its bounds: each coefficient is at most one more than what smaller ones cover. */
export function coversAll(coefs: readonly number[], lo: readonly number[], hi: readonly number[]): boolean {
  let covered = 0;
  // By size, those of one size together: there are few.
  for (let above = 0; ; ) {
    let least = Number.POSITIVE_INFINITY;
    let span = 0;
    for (let index = 0; index < coefs.length; index++) {
      const c = Math.abs(coefs[index]!);
      const own = hi[index]! - lo[index]!;
      if (own === 0 || c <= above || c > least) continue;
      span = c === least ? span + own : own;
      least = c;
    }
    if (least === Number.POSITIVE_INFINITY) return Number.isSafeInteger(covered);
    if (least > covered + 1) return false;
    covered += least * span;
    above = least;
  }
}
