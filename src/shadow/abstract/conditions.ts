/**
 * Conditions: whether one holds for all threads of the domain, and narrowing to those for which it does.
 *
 * Soundness. A condition narrows only by what certainly holds for every thread for which it is as wanted; what cannot be narrowed by
 * leaves all threads in, and says so.
 */
import type { Domain } from './domain.js';
import { Evaluator } from './evaluator.js';
import {
  addForms,
  addNumber,
  constantForm,
  type Form,
  isNumber,
  NO_ROOT,
  scaleForm,
  withoutBig,
  withoutRoot,
} from './form.js';

export abstract class Conditions extends Evaluator {
  protected truth(id: number): number {
    const known = this.state.memo[id];
    if (known !== undefined && 'constant' in known && isNumber(known)) return known.constant === 0 ? 0 : 1;
    const op = this.plan.names[id]!;
    const args = this.plan.operands[id]!;
    switch (op) {
      case 'constant':
        return this.plan.values[id]![2] === '0' ? 0 : 1;
      case 'not': {
        const inner = this.truth(args[0]!);
        return inner < 0 ? -1 : 1 - inner;
      }
      case 'and':
      case 'or': {
        const decisive = op === 'and' ? 0 : 1;
        const left = this.truth(args[0]!);
        if (left === decisive) return decisive;
        const right = this.truth(args[1]!);
        if (right === decisive) return decisive;
        return left < 0 || right < 0 ? -1 : 1 - decisive;
      }
      case 'xor': {
        const left = this.truth(args[0]!);
        const right = this.truth(args[1]!);
        return left < 0 || right < 0 ? -1 : left ^ right;
      }
      case 'select': {
        const condition = this.truth(args[0]!);
        if (condition >= 0) return this.truth(args[condition ? 1 : 2]!);
        const left = this.truth(args[1]!);
        return left === this.truth(args[2]!) ? left : -1;
      }
      case 'phi': {
        const form = this.phi(id);
        return isNumber(form) ? (form.constant === 0 ? 0 : 1) : -1;
      }
      case 'truncate': {
        const bit = this.evaluate(args[0]!);
        return isNumber(bit) ? Math.abs(bit.constant % 2) : -1;
      }
      case 'carry':
        return this.#range(this.#carry(args));
      case 'floatCompare': {
        const bit = this.float(id);
        return bit ? bit.constant & 1 : -1;
      }
    }
    if (!this.plan.isComparison[id]) return -1;
    if (this.plan.widths[args[0]!]! === 1) {
      const left = this.truth(args[0]!);
      const right = this.truth(args[1]!);
      if (left < 0 || right < 0) return -1;
      return (op === 'equal' ? left === right : op === 'notEqual' ? left !== right : this.#orderBits(op, left, right))
        ? 1
        : 0;
    }
    if (op === 'equal' || op === 'notEqual') {
      const zero = this.#isZero(this.#difference(args));
      return zero < 0 ? -1 : op === 'equal' ? zero : 1 - zero;
    }
    return this.#range(this.order(id));
  }

  #orderBits(op: string, left: number, right: number): boolean {
    const [a, b] = op.endsWith('Signed') ? [-left, -right] : [left, right];
    return op.startsWith('lessEqual') ? a <= b : a < b;
  }

  /** Whether a form is not negative: one, zero, or −1 when members differ. */
  #range(form: Form | undefined): number {
    if (!form) return -1;
    const { domain } = this.state;
    if (domain.low(form) >= 0) return 1;
    return domain.high(form) < 0 ? 0 : -1;
  }

  #isZero(form: Form | undefined): number {
    if (!form) return -1;
    const { domain } = this.state;
    const low = domain.low(form);
    const high = domain.high(form);
    if (low > 0 || high < 0) return 0;
    return low === 0 && high === 0 ? 1 : -1;
  }

  /** Of an order comparison: the form that is not negative when it holds. */
  protected order(id: number): Form | undefined {
    const op = this.plan.names[id]!;
    const args = this.plan.operands[id]!;
    const width = this.plan.widths[args[0]!]!;
    const signed = op === 'lessSigned' || op === 'lessEqualSigned';
    const orEqual = op === 'lessEqualSigned' || op === 'lessEqualUnsigned';
    const a = this.window(this.evaluate(args[0]!), width, signed);
    const b = this.window(this.evaluate(args[1]!), width, signed);
    if ((a.isLarge || b.isLarge) && a.big !== b.big) {
      // Numbers far apart: the large parts decide, as the small ones are below 2^53.
      const gap = b.big - a.big;
      const { domain } = this.state;
      const rest = addForms(withoutBig(b), withoutBig(a), -1, 64);
      const low = rest ? domain.low(rest) : Number.NEGATIVE_INFINITY;
      const high = rest ? domain.high(rest) : Number.POSITIVE_INFINITY;
      if (!Number.isFinite(low) || !Number.isFinite(high)) return undefined;
      const least = gap + BigInt(low);
      const most = gap + BigInt(high);
      if (least > 0n) return constantForm(1);
      return most < 0n ? constantForm(-1) : undefined;
    }
    const difference = addForms(withoutBig(b), withoutBig(a), -1, 64);
    return difference && (orEqual ? difference : addNumber(difference, -1));
  }

  /** `a − b`, which is zero exactly when both are equal. */
  #difference(args: readonly number[]): Form | undefined {
    const width = this.plan.widths[args[0]!]!;
    let a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (a.root !== NO_ROOT && a.root === b.root) {
      a = withoutRoot(a);
      b = withoutRoot(b);
    }
    const difference = addForms(this.plain(a), this.plain(b), -1, width);
    if (!difference) return undefined;
    if (difference.isLarge) {
      if (isFiniteForm(this.state.domain, difference)) {
        const big = BigInt.asIntN(width, difference.big);
        const small = BigInt(
          Math.ceil(
            Math.max(Math.abs(this.state.domain.low(difference)), Math.abs(this.state.domain.high(difference))),
          ),
        );
        if ((big < 0n ? -big : big) > small) return constantForm(1);
      }
      return undefined;
    }
    return this.window(difference, width, true);
  }

  #carry(args: readonly number[]): Form | undefined {
    const width = this.plan.widths[args[0]!]!;
    if (width > 32) return undefined;
    const a = this.window(this.evaluate(args[0]!), width, false);
    const b = this.window(this.evaluate(args[1]!), width, false);
    const sum = addForms(a, b, 1, 64);
    const total = sum && addForms(sum, this.evaluate(args[2]!), 1, 64);
    return total && addNumber(total, -(2 ** width));
  }

  protected assume(id: number, want: boolean): boolean {
    const known = this.state.memo[id];
    if (known !== undefined && 'constant' in known && isNumber(known)) return (known.constant !== 0) === want;
    const op = this.plan.names[id]!;
    const args = this.plan.operands[id]!;
    // What all parts must hold for, and orders, are narrowed by at once.
    if (op === 'not') return this.assume(args[0]!, !want);
    if (op === (want ? 'and' : 'or')) return this.assume(args[0]!, want) && this.assume(args[1]!, want);
    if (this.plan.isOrder[id] && this.plan.widths[args[0]!]! > 1) {
      const form = this.order(id);
      if (form) {
        const range = this.#range(form);
        if (range >= 0) return range === (want ? 1 : 0);
        if (!this.#narrowSign(form, want)) return false;
        this.state.remember(id, constantForm(want ? 1 : 0));
        return true;
      }
    }
    const truth = this.truth(id);
    if (truth >= 0) return truth === (want ? 1 : 0);
    if (!this.#narrow(id, want)) return false;
    this.state.remember(id, constantForm(want ? 1 : 0));
    return true;
  }

  /** Narrows by a condition that differs between members, of a kind that {@link assume} does not narrow by at once. */
  #narrow(id: number, want: boolean): boolean {
    const { state } = this;
    const { domain } = state;
    const op = this.plan.names[id]!;
    const args = this.plan.operands[id]!;
    switch (op) {
      case 'and':
      case 'or': {
        // One of the two is not: the first, or the second after the first.
        if (this.truth(args[0]!) >= 0) return this.assume(args[1]!, want);
        if (this.truth(args[1]!) >= 0) return this.assume(args[0]!, want);
        state.fork(
          () => this.assume(args[0]!, want),
          () => this.assume(args[0]!, !want) && this.assume(args[1]!, want),
        );
        break;
      }
      case 'xor':
      case 'select': {
        const condition = args[0]!;
        if (this.truth(condition) < 0) {
          state.fork(
            () => this.assume(condition, true),
            () => this.assume(condition, false),
          );
        }
        const first = this.truth(condition) === 1;
        return op === 'xor' ? this.assume(args[1]!, want !== first) : this.assume(args[first ? 1 : 2]!, want);
      }
      case 'carry': {
        const form = this.#carry(args);
        if (form) return this.assumeSign(form, want);
        break;
      }
    }
    if (this.plan.isComparison[id]) {
      if (this.plan.widths[args[0]!]! === 1) {
        const left = args[0]!;
        if (this.truth(left) < 0) {
          state.fork(
            () => this.assume(left, true),
            () => this.assume(left, false),
          );
        }
        if (op === 'equal' || op === 'notEqual')
          return this.assume(args[1]!, (this.truth(left) === 1) === (want === (op === 'equal')));
      } else if (op === 'equal' || op === 'notEqual') {
        for (const arg of args) this.evaluate(arg);
        const atoms = domain.lo.length;
        const difference = this.#difference(args);
        // A number made for this question alone: whatever were assumed of it would be forgotten, and asked for again.
        const isRemembered = difference?.atoms.every((atom) => atom < atoms);
        if (difference && isRemembered) return this.#assumeZero(difference, want === (op === 'equal'));
      }
    }
    // Nothing to narrow by: both ways are possible for all.
    domain.inexact = true;
    return true;
  }

  protected assumeSign(form: Form, notNegative: boolean): boolean {
    const range = this.#range(form);
    return range < 0 ? this.#narrowSign(form, notNegative) : range === (notNegative ? 1 : 0);
  }

  /** The same for a form whose sign differs between members. */
  #narrowSign(form: Form, notNegative: boolean): boolean {
    const { domain } = this.state;
    if (notNegative) return domain.narrow(form);
    const opposite = scaleForm(form, -1, 64);
    const negative = opposite && addNumber(opposite, -1);
    if (negative) return domain.narrow(negative);
    domain.inexact = true;
    return true;
  }

  #assumeZero(form: Form, zero: boolean): boolean {
    const { domain } = this.state;
    if (domain.isDataForm(form)) domain.inexact = true;
    if (zero) return domain.assumeZero(form);
    const low = domain.low(form);
    const high = domain.high(form);
    if (low === 0) return domain.assumeNonNegative(addNumber(form, -1)!);
    if (high === 0) return this.assumeSign(form, false);
    this.state.fork(
      () => this.assumeSign(form, false),
      () => this.state.domain.assumeNonNegative(addNumber(form, -1)!),
    );
  }
}

function isFiniteForm(domain: Domain, form: Form): boolean {
  return Number.isFinite(domain.low(form)) && Number.isFinite(domain.high(form));
}
