/**
 * The meaning of each integer operation on forms. Each keeps that the real bits are congruent to the form's value modulo 2^width for
 * every thread of the domain; what is not expressible becomes an atom over the whole type.
 */
import { evaluateInteger, type IntegerOperation } from '../../templates/index.js';
import { andForms, orForms, tableFunction, xorForms } from './bitwise.js';
import { type Division, divide } from './divide.js';
import { foldNumbers } from './fold.js';
import {
  addForms,
  addNumber,
  bigForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  isNumber,
  NO_ROOT,
  scaleForm,
  withoutRoot,
} from './form.js';
import { Products } from './products.js';
import { isScaledFloor, type ScaledFloor } from './state.js';

export abstract class Integers extends Products {
  protected integer(id: number, op: IntegerOperation, width: number): Form | ScaledFloor {
    const args = this.plan.operands[id]!;
    if (this.plan.uniform[id]) {
      const constant = this.#constantFold(op, width, args);
      if (constant) return constant;
    }
    const result =
      op === 'add' ? this.add(args, width) : op === 'mul' ? this.multiply(args, width) : this.#apply(op, width, args);
    return result ?? this.#widened(id, op, width);
  }

  /** Everything constant: the one definition of the operations, and what is quick of them on ordinary numbers. */
  #constantFold(op: IntegerOperation, width: number, args: readonly number[]): Form | undefined {
    const { values } = this.plan;
    const pointers = op === 'add' || op === 'sub';
    const first = this.#constant(args[0]!, pointers);
    if (first === undefined) return undefined;
    const operandWidth = values[args[0]!]![1];
    const second = args.length > 1 ? this.#constant(args[1]!, pointers) : undefined;
    if (args.length > 1 && second === undefined) return undefined;
    if (args.length <= 2 && !first.isLarge && !first.blurred && (!second || (!second.isLarge && !second.blurred))) {
      const quick = foldNumbers(op, width, operandWidth, first.constant, second?.constant ?? 0);
      if (quick !== undefined) return constantForm(quick);
    }
    const bits: bigint[] = [];
    let blurred = false;
    for (const arg of args) {
      const form = this.#constant(arg, pointers);
      if (form === undefined) return undefined;
      blurred ||= form.blurred;
      bits.push(constantBits(form, values[arg]![1]));
    }
    return bigForm(evaluateInteger(op, width, operandWidth, bits), width, blurred);
  }

  /** A value as a constant. An addition leaves pointers symbolic, everything else looks at their number. */
  #constant(id: number, pointers: boolean): Form | undefined {
    const raw = this.raw(id);
    if (isScaledFloor(raw)) return undefined;
    const form = pointers ? raw : this.plain(raw);
    return isConstant(form) ? form : undefined;
  }

  #widened(id: number, op: string, width: number): Form {
    this.state.domain.inexact = true;
    const operand = this.plan.operands[id]![0];
    const operandWidth = operand === undefined ? width : this.plan.widths[operand]!;
    if (op === 'popCount' || op === 'leadingZeros') return this.between(0, operandWidth);
    return this.unknown(width);
  }

  #apply(op: IntegerOperation, width: number, args: readonly number[]): Form | ScaledFloor | undefined {
    const { state } = this;
    const operandWidth = this.plan.widths[args[0]!]!;
    switch (op) {
      case 'sub': {
        const a = this.evaluate(args[0]!);
        const b = this.evaluate(args[1]!);
        if (a.root !== NO_ROOT && a.root === b.root) return addForms(withoutRoot(a), withoutRoot(b), -1, width);
        return addForms(a, this.plain(b), -1, width);
      }
      case 'shiftLeft': {
        const bits = this.shiftAmount(args[1]!, width);
        if (bits === undefined) return undefined;
        if (bits === width) return constantForm(0);
        if (bits > 50) return this.#constantOnly(op, width, args);
        return this.scale(this.evaluate(args[0]!), 2 ** bits, width);
      }
      case 'shiftRightLogical':
      case 'shiftRightArithmetic':
        return this.shiftRight(args, width, op === 'shiftRightArithmetic');
      case 'and':
        return andForms(
          state,
          this.plain(this.evaluate(args[0]!)),
          this.plain(this.evaluate(args[1]!)),
          width,
          this.#settler,
        );
      case 'or':
        return orForms(
          state,
          this.plain(this.evaluate(args[0]!)),
          this.plain(this.evaluate(args[1]!)),
          width,
          this.#settler,
        );
      case 'xor':
        return xorForms(
          state,
          this.plain(this.evaluate(args[0]!)),
          this.plain(this.evaluate(args[1]!)),
          width,
          this.#settler,
        );
      case 'not': {
        const negative = scaleForm(this.plain(this.evaluate(args[0]!)), -1, width);
        return negative && addNumber(negative, -1);
      }
      case 'logic3': {
        const table = this.evaluate(args[3]!);
        if (!isNumber(table)) return undefined;
        const inputs = [
          this.plain(this.evaluate(args[0]!)),
          this.plain(this.evaluate(args[1]!)),
          this.plain(this.evaluate(args[2]!)),
        ] as const;
        return tableFunction(state, inputs, table.constant & 255, width, this.#settler);
      }
      case 'truncate':
        return this.truncate(args[0]!, width);
      case 'zeroExtend': {
        const raw = this.raw(args[0]!);
        if (isScaledFloor(raw)) {
          if (this.isInWindow(raw, operandWidth, false)) return raw;
          return this.window(this.evaluate(args[0]!), operandWidth, false);
        }
        return operandWidth === 1 ? raw : this.window(raw, operandWidth, false);
      }
      case 'signExtend':
        return operandWidth === 1
          ? scaleForm(this.evaluate(args[0]!), -1, width)
          : this.window(this.evaluate(args[0]!), operandWidth, true);
      case 'concat': {
        const low = this.window(this.evaluate(args[0]!), operandWidth, false);
        const high = scaleForm(this.plain(this.evaluate(args[1]!)), 2 ** operandWidth, width);
        return high && addForms(low, high, 1, width);
      }
      case 'minSigned':
      case 'minUnsigned':
      case 'maxSigned':
      case 'maxUnsigned':
        return this.#extreme(
          this.evaluate(args[0]!),
          this.evaluate(args[1]!),
          width,
          op.endsWith('Signed'),
          op.startsWith('min'),
        );
      case 'divUnsigned':
      case 'remUnsigned': {
        const quotient = this.#divide(
          this.window(this.evaluate(args[0]!), width, false),
          this.window(this.evaluate(args[1]!), width, false),
        );
        return op === 'divUnsigned' ? quotient?.quotient : quotient?.remainder;
      }
      case 'divSigned':
      case 'remSigned': {
        const quotient = this.#divideSigned(
          this.window(this.evaluate(args[0]!), width, true),
          this.window(this.evaluate(args[1]!), width, true),
        );
        return op === 'divSigned' ? quotient?.quotient : quotient?.remainder;
      }
      case 'mulHighUnsigned':
      case 'mulHighSigned':
        return this.multiplyHigh(args, width, op === 'mulHighSigned');
      case 'extractBitsUnsigned':
      case 'extractBitsSigned':
        return this.#extract(
          this.evaluate(args[0]!),
          this.evaluate(args[1]!),
          this.evaluate(args[2]!),
          width,
          op === 'extractBitsSigned',
        );
      case 'insertBits':
        return this.#insert(
          this.evaluate(args[0]!),
          this.evaluate(args[1]!),
          this.evaluate(args[2]!),
          this.evaluate(args[3]!),
          width,
        );
      case 'funnelLeft':
      case 'funnelRight':
        return this.#funnel(
          this.evaluate(args[0]!),
          this.evaluate(args[1]!),
          this.evaluate(args[2]!),
          op === 'funnelLeft',
        );
      case 'permuteBytes':
        return this.#permute(this.evaluate(args[0]!), this.evaluate(args[1]!), this.evaluate(args[2]!));
      case 'select': {
        const truth = this.truth(args[0]!);
        if (truth >= 0) return this.raw(args[truth ? 1 : 2]!);
        state.fork(
          () => this.assume(args[0]!, true),
          () => this.assume(args[0]!, false),
        );
        return undefined;
      }
      case 'popCount':
      case 'leadingZeros':
      case 'bitReverse':
        return this.#constantOnly(op, width, args);
      default:
        return undefined;
    }
  }

  /** Operations on numbers only: forks over the values of the operands when they are few. */
  #constantOnly(op: IntegerOperation, width: number, args: readonly number[]): Form | undefined {
    const bits: bigint[] = [];
    for (const arg of args) {
      const form = this.plain(this.evaluate(arg));
      const settled = isConstant(form) ? form : this.settled(form);
      if (!settled) return undefined;
      bits.push(constantBits(settled, this.plan.widths[arg]!));
    }
    return bigForm(evaluateInteger(op, width, this.plan.widths[args[0]!]!, bits), width);
  }

  readonly #settler = { enumerate: (form: Form) => this.settled(form) };

  #extreme(left: Form, right: Form, width: number, signed: boolean, least: boolean): Form | undefined {
    const a = this.window(left, width, signed);
    const b = this.window(right, width, signed);
    if (a.isLarge || b.isLarge) return undefined;
    const difference = addForms(b, a, -1, 64);
    if (!difference) return undefined;
    const { domain } = this.state;
    if (domain.low(difference) >= 0) return least ? a : b;
    if (domain.high(difference) <= 0) return least ? b : a;
    const opposite = scaleForm(difference, -1, 64)!;
    this.state.fork(
      () => this.state.domain.assumeNonNegative(difference),
      () => this.state.domain.assumeNonNegative(addNumber(opposite, -1)!),
    );
  }

  /** Of numbers that are not negative. */
  #divide(dividend: Form, divisor: Form): Division | undefined {
    if (dividend.isLarge || divisor.isLarge) return this.#divideBig(dividend, divisor);
    const number = this.settled(divisor);
    if (!number || number.constant <= 0) {
      // Division by zero gives all ones, and the dividend as remainder.
      return number?.constant === 0 ? { quotient: constantForm(-1), remainder: dividend } : undefined;
    }
    return divide(this.state, dividend, number.constant);
  }

  #divideBig(dividend: Form, divisor: Form): Division | undefined {
    if (!isConstant(dividend) || !isConstant(divisor)) return undefined;
    const a = dividend.big + BigInt(dividend.constant);
    const b = divisor.big + BigInt(divisor.constant);
    if (a < 0n || b <= 0n) return undefined;
    return { quotient: bigForm(a / b, 64), remainder: bigForm(a % b, 64) };
  }

  #divideSigned(dividend: Form, divisor: Form): Division | undefined {
    if (dividend.isLarge || divisor.isLarge) return undefined;
    const number = this.settled(divisor);
    if (!number) return undefined;
    if (number.constant === 0) return { quotient: constantForm(-1), remainder: dividend };
    const { domain } = this.state;
    const low = domain.low(dividend);
    const size = Math.abs(number.constant);
    const sign = Math.sign(number.constant);
    if (low >= 0) {
      const { quotient, remainder } = divide(this.state, dividend, size);
      const signedQuotient = scaleForm(quotient, sign, 64);
      return signedQuotient && { quotient: signedQuotient, remainder };
    }
    const negative = scaleForm(dividend, -1, 64);
    if (!negative || !Number.isFinite(low)) return undefined;
    if (domain.high(dividend) <= 0) {
      const { quotient, remainder } = divide(this.state, negative, size);
      const signedQuotient = scaleForm(quotient, -sign, 64);
      const signedRemainder = scaleForm(remainder, -1, 64);
      return signedQuotient && signedRemainder && { quotient: signedQuotient, remainder: signedRemainder };
    }
    this.state.fork(
      () => this.state.domain.assumeNonNegative(dividend),
      () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
    );
  }

  #extract(value: Form, position: Form, length: Form, width: number, signed: boolean): Form | undefined {
    const from = this.settled(position);
    const count = this.settled(length);
    if (!from || !count) return undefined;
    const start = from.constant & 255;
    const bits = count.constant & 255;
    if (bits === 0) return constantForm(0);
    if (start >= width || start > 51) return signed ? undefined : constantForm(0);
    const end = Math.min(start + bits, width);
    // Bits above the value are copies of its sign: only a signed window has them.
    const source = end === width ? this.window(value, width, signed) : this.plain(value);
    if (source.isLarge) return undefined;
    const shifted = start === 0 ? source : divide(this.state, source, 2 ** start).quotient;
    if (end === width) return shifted;
    if (end - start > 51) return undefined;
    const field = divide(this.state, shifted, 2 ** (end - start)).remainder;
    return signed ? this.window(field, end - start, true) : field;
  }

  #insert(field: Form, base: Form, position: Form, length: Form, width: number): Form | undefined {
    const from = this.settled(position);
    const count = this.settled(length);
    if (!from || !count) return undefined;
    const start = from.constant & 255;
    const bits = Math.min(count.constant & 255, Math.max(0, width - start));
    const plainBase = this.plain(base);
    if (bits === 0) return plainBase;
    if (bits > 50 || start > 50) return undefined;
    const { state } = this;
    const old = divide(state, divide(state, plainBase, 2 ** start).quotient, 2 ** bits).remainder;
    const fresh = divide(state, this.plain(field), 2 ** bits).remainder;
    const change = addForms(fresh, old, -1, 64);
    return change && addForms(plainBase, change, 2 ** start, width);
  }

  /** Shifts of a 64-bit pair, one half of it. */
  #funnel(low: Form, high: Form, amount: Form, left: boolean): Form | undefined {
    const count = this.settled(amount);
    if (!count) return undefined;
    const bits = count.constant & 31;
    if (bits === 0) return left ? high : low;
    const down = left ? 32 - bits : bits;
    const lower = divide(this.state, this.window(low, 32, false), 2 ** down).quotient;
    return addForms(lower, this.plain(high), 2 ** (32 - down), 32);
  }

  #permute(low: Form, high: Form, selector: Form): Form | undefined {
    const picks = this.settled(selector);
    if (!picks) return undefined;
    let result: Form | undefined = constantForm(0);
    for (let byte = 0; byte < 4 && result; ) {
      const pick = (picks.constant >> (byte * 4)) & 15;
      if (pick & 8) return undefined;
      // Neighbouring bytes of one source go together.
      let count = 1;
      while (
        byte + count < 4 &&
        ((picks.constant >> ((byte + count) * 4)) & 15) === pick + count &&
        (pick & 4) === ((pick + count) & 4)
      )
        count++;
      const source = this.plain(pick & 4 ? high : low);
      const { quotient } = divide(this.state, source, 2 ** (8 * (pick & 3)));
      const part = count === 4 ? source : divide(this.state, quotient, 2 ** (8 * count)).remainder;
      result = addForms(result, part, 2 ** (8 * byte), 32);
      byte += count;
    }
    return result;
  }
}
