/**
 * Sums, products and shifts of forms, with what compilers make of a division: a product too large for a form, whose upper part is
 * the quotient ({@link ScaledFloor}).
 */
import { divide } from './divide.js';
import {
  addForms,
  addNumber,
  bigForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  isNumber,
  LIMIT,
  NO_ROOT,
  scaleForm,
  withoutBig,
} from './form.js';
import { isScaledFloor, ScaledFloor } from './state.js';
import { Windows } from './windows.js';

export abstract class Products extends Windows {
  protected add(args: readonly number[], width: number): Form | ScaledFloor | undefined {
    if (this.plan.isHalf[args[0]!] || this.plan.isHalf[args[1]!]) {
      const average = this.#average(args);
      if (average) return average;
    }
    const left = this.raw(args[0]!);
    const right = this.raw(args[1]!);
    const sum = isScaledFloor(left)
      ? this.#addOperand(left, right, width)
      : isScaledFloor(right)
        ? this.#addOperand(right, left, width)
        : undefined;
    if (sum) return sum;
    const a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (a.root !== NO_ROOT && b.root !== NO_ROOT) b = this.plain(b);
    return addForms(a, b, 1, width);
  }

  /** `x + floor(s·x / 2^n) = floor((s + 2^n)·x / 2^n)` */
  #addOperand(scaled: ScaledFloor, other: Form | ScaledFloor, width: number): ScaledFloor | undefined {
    if (isScaledFloor(other) || !isSameForm(this.window(other, width, true), scaled.operand)) return undefined;
    return new ScaledFloor(scaled.operand, scaled.scale + (1n << BigInt(scaled.shift)), scaled.shift);
  }

  /** `((x − t) >> 1) + t` is `(x + t) >> 1`: how compilers divide by numbers whose reciprocal does not fit. */
  #average(args: readonly number[]): ScaledFloor | undefined {
    for (const [half, other] of [
      [args[0]!, args[1]!],
      [args[1]!, args[0]!],
    ] as const) {
      const shift = this.plan.values[half]!;
      if (shift[0] !== 'shiftRightLogical') continue;
      const [difference, amount] = this.plan.operands[half]!;
      const minus = this.plan.values[difference!]!;
      if (minus[0] !== 'sub' || this.plan.operands[difference!]![1] !== other) continue;
      const one = this.evaluate(amount!);
      if (!isNumber(one) || one.constant !== 1) continue;
      const scaled = this.raw(other);
      if (!isScaledFloor(scaled) || scaled.scale < 0n || scaled.scale >= 1n << BigInt(scaled.shift)) continue;
      const x = this.window(this.evaluate(this.plan.operands[difference!]![0]!), shift[1], false);
      if (!isSameForm(x, scaled.operand)) continue;
      return new ScaledFloor(x, scaled.scale + (1n << BigInt(scaled.shift)), scaled.shift + 1);
    }
    return undefined;
  }

  protected scale(form: Form, factor: number, width: number): Form | undefined {
    if (factor === 1) return form;
    return scaleForm(this.plain(form), factor, width);
  }

  protected multiply(args: readonly number[], width: number): Form | ScaledFloor | undefined {
    let a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (!isConstant(b)) [a, b] = [b, a];
    b = this.plain(b);
    a = this.plain(a);
    if (isNumber(a) && !isNumber(b)) [a, b] = [b, a];
    if (isNumber(b)) {
      const product = scaleForm(a, b.constant, width);
      if (product && (width <= 32 || this.#isSmall(product))) return product;
      return this.#product(a, b, width);
    }
    if (isConstant(b)) {
      if (isConstant(a)) return bigForm(constantBits(a, width) * constantBits(b, width), width, a.blurred || b.blurred);
      return this.#product(a, b, width);
    }
    const { domain } = this.state;
    const spanA = domain.high(a) - domain.low(a);
    const spanB = domain.high(b) - domain.low(b);
    const settled = this.settled(spanA <= spanB ? a : b);
    return settled && scaleForm(spanA <= spanB ? b : a, settled.constant, width);
  }

  #isSmall(form: Form): boolean {
    const { domain } = this.state;
    const low = domain.low(form);
    const high = domain.high(form);
    // Unknown numbers are no less known when scaled.
    return (low >= -LIMIT && high <= LIMIT) || !Number.isFinite(low) || !Number.isFinite(high);
  }

  /** A 64-bit product too large for a form, of a number that is not negative and a constant. */
  #product(a: Form, b: Form, width: number): ScaledFloor | undefined {
    if (width !== 64 || a.isLarge) return undefined;
    const { domain } = this.state;
    const high = domain.high(a);
    const scale = constantBits(b, 64);
    if (domain.low(a) < 0 || !(high <= LIMIT) || BigInt(high) * scale >= 1n << 64n) return undefined;
    return new ScaledFloor(a, scale, 0);
  }

  protected multiplyHigh(args: readonly number[], width: number, signed: boolean): Form | ScaledFloor | undefined {
    let a = this.window(this.evaluate(args[0]!), width, signed);
    let b = this.window(this.evaluate(args[1]!), width, signed);
    if (!isConstant(b)) [a, b] = [b, a];
    if (!isConstant(b)) return undefined;
    const scale = b.big + BigInt(b.constant);
    if (isConstant(a)) return bigForm(((a.big + BigInt(a.constant)) * scale) >> BigInt(width), width);
    return !a.isLarge ? new ScaledFloor(a, scale, width) : undefined;
  }

  /** A product shifted down, as a division: `floor(s·x / 2^n)` is `floor(x / d)` when `s·d` is just above 2^n. */
  protected floor({ operand, scale, shift }: ScaledFloor, width: number): Form {
    const { domain } = this.state;
    const low = domain.low(operand);
    const high = domain.high(operand);
    const power = 1n << BigInt(shift);
    if (scale > 0n && low >= -LIMIT && high <= LIMIT) {
      const divisor = (power + scale - 1n) / scale;
      const error = divisor * scale - power;
      const reach = BigInt(Math.max(Math.abs(low), Math.abs(high)));
      if (divisor <= BigInt(LIMIT) && reach * error < power) {
        const d = Number(divisor);
        if (low >= 0 || error === 0n) return divide(this.state, operand, d).quotient;
        const negative = scaleForm(operand, -1, 64)!;
        if (high < 0) {
          // −ceil(s·y / 2^n), and s·y / 2^n lies just above y / d.
          const { quotient } = divide(this.state, negative, d);
          const result = scaleForm(quotient, -1, 64);
          return (result && addNumber(result, -1)) ?? this.unknown(width);
        }
        this.state.fork(
          () => this.state.domain.assumeNonNegative(operand),
          () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
        );
      }
      domain.inexact = true;
      const ends = [BigInt(low), BigInt(high)].map((end) => (scale * end) >> BigInt(shift));
      if (ends.every((end) => end >= -BigInt(LIMIT) && end <= BigInt(LIMIT)))
        return this.between(Number(ends[0]), Number(ends[1]));
    }
    domain.inexact = true;
    return this.unknown(width);
  }

  /** An amount of bits to shift by, unsigned and clamped at the width (PTX ISA 9.7.8.8); undefined when it varies too much. */
  protected shiftAmount(id: number, width: number): number | undefined {
    const amount = this.settled(this.window(this.evaluate(id), this.plan.widths[id]!, false));
    return amount && Math.min(amount.constant, width);
  }

  protected shiftRight(args: readonly number[], width: number, arithmetic: boolean): Form | ScaledFloor | undefined {
    const bits = this.shiftAmount(args[1]!, width);
    if (bits === undefined) return undefined;
    const raw = this.raw(args[0]!);
    if (isScaledFloor(raw) && bits < width) {
      const shifted = new ScaledFloor(raw.operand, raw.scale, raw.shift + bits);
      if (this.isInWindow(raw, width, arithmetic)) return shifted;
      // Compilers take the sign of a quotient by a logical shift: the large number is 2^width more than the negative one.
      if (raw.scale > 0n && width <= 32 && this.isInWindow(raw, width, true)) {
        const { domain } = this.state;
        const negative = scaleForm(raw.operand, -1, 64)!;
        if (domain.high(raw.operand) < 0) return addNumber(this.floor(shifted, 64), 2 ** (width - bits));
        this.state.fork(
          () => this.state.domain.assumeNonNegative(raw.operand),
          () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
        );
      }
    }
    const form = this.window(this.evaluate(args[0]!), width, arithmetic);
    if (form.isLarge) {
      if (!isConstant(form)) return undefined;
      return bigForm((form.big + BigInt(form.constant)) >> BigInt(bits), width, form.blurred);
    }
    if (bits === 0) return form;
    if (bits > 51) {
      const { domain } = this.state;
      if (domain.low(form) >= 0) return constantForm(0);
      return domain.high(form) < 0 ? constantForm(-1) : undefined;
    }
    return divide(this.state, form, 2 ** bits).quotient;
  }

  /** Whether a product shifted down is the number that its bits stand for. */
  protected isInWindow({ operand, scale, shift }: ScaledFloor, width: number, signed: boolean): boolean {
    const { domain } = this.state;
    const ends = [domain.low(operand), domain.high(operand)];
    if (!ends.every((end) => end >= -LIMIT && end <= LIMIT)) return false;
    return ends.every((end) => {
      const value = (scale * BigInt(end)) >> BigInt(shift);
      return value === (signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value));
    });
  }

  protected truncate(arg: number, width: number): Form | ScaledFloor | undefined {
    const raw = this.raw(arg);
    if (isScaledFloor(raw)) {
      const high = this.state.domain.high(raw.operand);
      const fits =
        raw.scale > 0n &&
        this.state.domain.low(raw.operand) >= 0 &&
        high <= LIMIT &&
        (raw.scale * BigInt(high)) >> BigInt(raw.shift) < 1n << BigInt(width);
      if (fits) return raw;
    }
    const form = this.plain(this.evaluate(arg));
    if (form.isLarge) {
      const small = bigForm(form.big, width, form.blurred);
      return addForms(small, withoutBig(form), 1, width);
    }
    return width <= 32 ? addForms(constantForm(0), form, 1, width) : form;
  }
}

function isSameForm(a: Form, b: Form): boolean {
  return (
    a.constant === b.constant &&
    a.big === b.big &&
    a.root === b.root &&
    a.atoms.length === b.atoms.length &&
    a.atoms.every((atom, i) => atom === b.atoms[i] && a.coefs[i] === b.coefs[i])
  );
}
