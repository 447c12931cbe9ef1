/**
 * Bitwise operations on affine forms. Everything is reduced to conjunction: for bits, `a | b = a + b − (a & b)` and `a ^ b = a +
 * b − 2·(a & b)`, and so for every function of two or three inputs. Conjunction with a constant cuts out runs of bits by division;
 * of two forms that share no bit it is zero.
 */
import { divide } from './divide.js';
import {
  addForms,
  bigForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  isNumber,
  scaleForm,
  withConstant,
  withoutBig,
} from './form.js';
import type { State } from './state.js';

/** Runs of ones in a constant that are cut out one by one. */
const MAX_RUNS = 6;

/** Powers of two that are divided by exactly. */
const MAX_SHIFT = 51;

/** Ways of making a form constant, provided by the evaluator. */
export interface Settler {
  /** The form as a plain number by forking over its values; undefined when there are too many. */
  enumerate(form: Form): Form | undefined;
}

/** Position of the lowest one, and of the zero after it, from a bit on; `[width, width]` when there is none. */
function nextRun(mask: Form, width: number, from: number): readonly [number, number] {
  if (width <= 32) {
    // As 32 bits, bits above the width left out.
    const bits = width === 32 ? mask.constant | 0 : mask.constant & (2 ** width - 1);
    const above = from >= 32 ? 0 : (bits >>> from) << from;
    if (above === 0) return [width, width];
    const start = 31 - Math.clz32(above & -above);
    const zeros = ~(bits >> start);
    const length = zeros === 0 ? 32 : 31 - Math.clz32(zeros & -zeros);
    return [start, Math.min(width, start + length)];
  }
  const bits = constantBits(mask, width);
  let start = from;
  while (start < width && ((bits >> BigInt(start)) & 1n) === 0n) start++;
  let end = start;
  while (end < width && ((bits >> BigInt(end)) & 1n) === 1n) end++;
  return [start, end];
}

/** `form & mask` for a constant mask, modulo 2^width. */
export function andConstant(state: State, form: Form, mask: Form, width: number): Form | undefined {
  if (isConstant(form)) {
    if (width === 32 && !form.isLarge && !mask.isLarge && !form.blurred)
      return constantForm(form.constant & mask.constant);
    return bigForm(constantBits(form, width) & constantBits(mask, width), width, form.blurred);
  }
  if (isNumber(mask) && mask.constant === 0) return mask;
  if (isNumber(mask) && mask.constant === -1) return form;
  let result: Form | undefined;
  let runs = 0;
  for (let [from, to] = nextRun(mask, width, 0); from < width; [from, to] = nextRun(mask, width, to)) {
    runs++;
    if (!form.isLarge && to < MAX_SHIFT && leavesOut(state, form, from, to)) continue;
    if (runs > MAX_RUNS) return undefined;
    const run = bitsFrom(state, form, from, to, width);
    if (!run) return undefined;
    result = result ? addForms(result, run, 1, width) : run;
    if (!result) return undefined;
  }
  return result ?? constantForm(0);
}

/** Bits `from … to − 1` of a form, in place. Floor division makes the choice of window unimportant. */
function bitsFrom(state: State, form: Form, from: number, to: number, width: number): Form | undefined {
  let rest: Form | undefined = form;
  if (from > 0) {
    const low = lowBits(state, form, from);
    rest = low && addForms(form, low, -1, width);
  }
  if (!rest || to === width) return rest;
  if (!rest.isLarge && to <= MAX_SHIFT) return divide(state, rest, 2 ** to).remainder;
  // Above, everything must be the same for all.
  const { domain } = state;
  const low = domain.low(form);
  const high = domain.high(form);
  if (!Number.isFinite(low) || !Number.isFinite(high)) return undefined;
  const total = BigInt.asUintN(width, form.big + BigInt(low));
  const top = total >> BigInt(to);
  if ((total + BigInt(high - low)) >> BigInt(to) !== top) return undefined;
  return addForms(rest, bigForm(top << BigInt(to), width), -1, width);
}

/** Whether bits `from … to − 1` are certainly zero: every term is a multiple of what is above them, or stays below. */
function leavesOut(state: State, form: Form, from: number, to: number): boolean {
  const { domain } = state;
  const above = 2 ** to;
  let high = form.constant % above;
  if (high < 0) high += above;
  for (let i = 0; i < form.atoms.length; i++) {
    const c = form.coefs[i]!;
    if (c % above === 0) continue;
    const atom = form.atoms[i]!;
    // A replaced atom's own bounds are no longer narrowed, and wider than they could be.
    if (c < 0 || domain.lo[atom]! < 0) return false;
    high += c * domain.hi[atom]!;
  }
  return high < 2 ** from;
}

function lowBits(state: State, form: Form, count: number): Form | undefined {
  if (count > MAX_SHIFT) return undefined;
  const size = 2 ** count;
  const constant = (form.constant % size) + Number(BigInt.asUintN(count, form.big));
  return divide(state, withoutBig(withConstant(form, constant)), size).remainder;
}

/** Number of low bits that are certainly zero. */
function trailingZeros(form: Form): number {
  let zeros = 53;
  for (const part of [form.constant, ...form.coefs]) {
    if (part === 0) continue;
    let rest = Math.abs(part);
    let count = 0;
    while (rest % 2 === 0) {
      rest /= 2;
      count++;
    }
    zeros = Math.min(zeros, count);
  }
  return zeros;
}

/** `a & b`, modulo 2^width; undefined when it cannot be expressed. */
export function andForms(state: State, a: Form, b: Form, width: number, settler: Settler): Form | undefined {
  if (isConstant(b)) return andConstant(state, a, b, width);
  if (isConstant(a)) return andConstant(state, b, a, width);
  if (a.isLarge || b.isLarge) return undefined;
  const { domain } = state;
  const left = domain.canonical(a);
  const right = domain.canonical(b);
  if (!left || !right) return undefined;
  if (isBelow(state, right, trailingZeros(left)) || isBelow(state, left, trailingZeros(right))) return constantForm(0);
  const span = (form: Form) => domain.high(form) - domain.low(form);
  const [small, large] = span(left) <= span(right) ? [left, right] : [right, left];
  const settled = settler.enumerate(small);
  return settled && andConstant(state, large, settled, width);
}

function isBelow(state: State, form: Form, bits: number): boolean {
  return state.domain.low(form) >= 0 && state.domain.high(form) < 2 ** bits;
}

/**
 * A function of three inputs given by its table of eight bits (bit `4a + 2b + c`), modulo 2^width. As a sum: the coefficient
 * of each product of inputs follows from the table by inclusion and exclusion, and all ones are −1.
 */
export function tableFunction(
  state: State,
  inputs: readonly [Form, Form, Form],
  table: number,
  width: number,
  settler: Settler,
): Form | undefined {
  const bit = (index: number) => (table >> index) & 1;
  let result: Form | undefined = constantForm(0);
  // Products by the set of inputs in them: 4 = a, 2 = b, 1 = c.
  for (let set = 0; set < 8; set++) {
    let coefficient = 0;
    for (let subset = 0; subset < 8; subset++) {
      if ((subset & ~set) !== 0) continue;
      coefficient += (parity(set ^ subset) ? -1 : 1) * bit(subset);
    }
    if (coefficient === 0) continue;
    let product: Form | undefined = constantForm(-1);
    for (const [mask, index] of [
      [4, 0],
      [2, 1],
      [1, 2],
    ] as const) {
      if ((set & mask) === 0) continue;
      product = isAllOnes(product!) ? inputs[index] : andForms(state, product!, inputs[index], width, settler);
      if (!product) return undefined;
    }
    result = addForms(result, product!, coefficient, width);
    if (!result) return undefined;
  }
  return result;
}

function isAllOnes(form: Form): boolean {
  return isNumber(form) && form.constant === -1;
}

function parity(value: number): boolean {
  let odd = false;
  for (let rest = value; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}

/** `a | b`. */
export function orForms(state: State, a: Form, b: Form, width: number, settler: Settler): Form | undefined {
  const common = andForms(state, a, b, width, settler);
  const sum = addForms(a, b, 1, width);
  return common && sum && addForms(sum, common, -1, width);
}

/** `a ^ b`. */
export function xorForms(state: State, a: Form, b: Form, width: number, settler: Settler): Form | undefined {
  const common = andForms(state, a, b, width, settler);
  const sum = addForms(a, b, 1, width);
  const twice = common && scaleForm(common, 2, width);
  return twice && sum && addForms(sum, twice, -1, width);
}
