/**
 * The meaning of the floating-point operations, on bits. The one definition: the simulated device calls it, or does faster
 * what its tests prove equal. Arithmetic is exact and rounded once. Functions that the hardware approximates (`ex2`, `sin`,
 * …) give the double's value rounded to the format, which lies within the error that PTX ISA 9.7.3 allows.
 */
import {
  bitLength,
  decode,
  type ExactNumber,
  encode,
  finite,
  fromDouble,
  infinity,
  isZero,
  NOT_A_NUMBER,
  roundShift,
  toDouble,
} from './float-format.js';
import { FLOAT_OPERATIONS, type FloatMode, type FloatOperation } from './program.js';

const FLOAT_SET: ReadonlySet<string> = new Set(FLOAT_OPERATIONS);

/** Whether an operation is one that {@link evaluateFloat} knows. */
export function isFloatOperation(op: string): op is FloatOperation {
  return FLOAT_SET.has(op);
}

/** Bits of a quotient or root beyond any format's precision; the last one stands for everything below. */
const EXTRA_BITS = 140;

function negate(number: ExactNumber): ExactNumber {
  return number.kind === 'nan' ? number : { ...number, negative: !number.negative };
}

function compare(a: ExactNumber, b: ExactNumber): number {
  const sign = (x: ExactNumber) => (isZero(x) ? 0 : x.negative ? -1 : 1);
  if (sign(a) !== sign(b)) return sign(a) - sign(b);
  if (sign(a) === 0) return 0;
  const direction = a.negative ? -1 : 1;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    return a.kind === b.kind ? 0 : a.kind === 'infinity' ? direction : -direction;
  }
  const low = Math.min(a.exponent, b.exponent);
  const left = a.mantissa << BigInt(a.exponent - low);
  const right = b.mantissa << BigInt(b.exponent - low);
  return left === right ? 0 : left > right ? direction : -direction;
}

function add(a: ExactNumber, b: ExactNumber, down: boolean): ExactNumber {
  if (a.kind === 'nan' || b.kind === 'nan') return NOT_A_NUMBER;
  if (a.kind === 'infinity') return b.kind === 'infinity' && a.negative !== b.negative ? NOT_A_NUMBER : a;
  if (b.kind === 'infinity') return b;
  const low = Math.min(a.exponent, b.exponent);
  const term = (x: ExactNumber) => {
    const magnitude = x.mantissa << BigInt(x.exponent - low);
    return x.negative ? -magnitude : magnitude;
  };
  const sum = term(a) + term(b);
  // An exact zero of unlike signs is positive, but rounding down makes it negative (IEEE 754, 6.3).
  if (sum === 0n) return finite(a.negative === b.negative && isZero(a) ? a.negative : down, 0n, low);
  return finite(sum < 0n, sum < 0n ? -sum : sum, low);
}

function multiply(a: ExactNumber, b: ExactNumber): ExactNumber {
  if (a.kind === 'nan' || b.kind === 'nan') return NOT_A_NUMBER;
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinity' || b.kind === 'infinity') {
    return isZero(a) || isZero(b) ? NOT_A_NUMBER : infinity(negative);
  }
  return finite(negative, a.mantissa * b.mantissa, a.exponent + b.exponent);
}

function divide(a: ExactNumber, b: ExactNumber): ExactNumber {
  if (a.kind === 'nan' || b.kind === 'nan') return NOT_A_NUMBER;
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinity') return b.kind === 'infinity' ? NOT_A_NUMBER : infinity(negative);
  if (b.kind === 'infinity') return finite(negative, 0n, 0);
  if (isZero(b)) return isZero(a) ? NOT_A_NUMBER : infinity(negative);
  const shift = EXTRA_BITS + bitLength(b.mantissa);
  const numerator = a.mantissa << BigInt(shift);
  const quotient = numerator / b.mantissa;
  const rest = numerator % b.mantissa === 0n ? 0n : 1n;
  return finite(negative, (quotient << 1n) | rest, a.exponent - b.exponent - shift - 1);
}

function integerRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let guess = 1n << BigInt((bitLength(value) + 1) >> 1);
  for (;;) {
    const next = (guess + value / guess) >> 1n;
    if (next >= guess) return guess;
    guess = next;
  }
}

function squareRoot(a: ExactNumber): ExactNumber {
  if (a.kind === 'nan' || isZero(a)) return a;
  if (a.negative) return NOT_A_NUMBER;
  if (a.kind === 'infinity') return a;
  const shift = 2 * EXTRA_BITS + (a.exponent & 1);
  const value = a.mantissa << BigInt(shift);
  const root = integerRoot(value);
  return finite(false, (root << 1n) | (root * root === value ? 0n : 1n), (a.exponent - shift) / 2 - 1);
}

const ONE = finite(false, 1n, 0);

/** Functions by way of doubles. */
const FUNCTIONS: Readonly<Partial<Record<FloatOperation, (value: number) => number>>> = {
  floatSine: Math.sin,
  floatCosine: Math.cos,
  floatLog2: Math.log2,
  floatExp2: (value) => 2 ** value,
  floatTanh: Math.tanh,
};

/** Smaller or larger of two (PTX ISA 9.7.3.11): a number before NaN, -0 before +0. */
function extreme(a: ExactNumber, b: ExactNumber, mode: FloatMode, larger: boolean): ExactNumber {
  const xor = a.negative !== b.negative;
  const [x, y] =
    mode.magnitude || mode.xorSign
      ? [
          { ...a, negative: false },
          { ...b, negative: false },
        ]
      : [a, b];
  let result: ExactNumber;
  if (x.kind === 'nan' || y.kind === 'nan') {
    result = mode.propagateNaN || x.kind === y.kind ? NOT_A_NUMBER : x.kind === 'nan' ? y : x;
  } else {
    const order = compare(x, y) || Number(y.negative) - Number(x.negative);
    result = (larger ? order >= 0 : order <= 0) ? x : y;
  }
  return mode.xorSign && result.kind !== 'nan' ? { ...result, negative: xor } : result;
}

function relation(name: string, a: ExactNumber, b: ExactNumber): boolean {
  const unordered = a.kind === 'nan' || b.kind === 'nan';
  if (name === 'num') return !unordered;
  if (name === 'nan') return unordered;
  if (unordered) return name.endsWith('u');
  const order = compare(a, b);
  switch (name.slice(0, 2)) {
    case 'eq':
      return order === 0;
    case 'ne':
      return order !== 0;
    case 'lt':
      return order < 0;
    case 'le':
      return order <= 0;
    case 'gt':
      return order > 0;
    default:
      return order >= 0;
  }
}

/** Rounds to an integral value (PTX ISA 9.7.9.21, `.rni` and the like). */
function integral(number: ExactNumber, mode: FloatMode): ExactNumber {
  if (number.kind !== 'finite' || number.exponent >= 0) return number;
  const { negative, mantissa, exponent } = number;
  return finite(negative, roundShift(mantissa, -exponent, negative, mode.rounding ?? 'zero'), 0);
}

/** Float to integer: rounded, clamped to the type; NaN as PTX ISA 9.7.9.21 says. */
function toInteger(number: ExactNumber, width: number, from: number, signed: boolean, mode: FloatMode): bigint {
  if (number.kind === 'nan') return from < 64 && width < 64 ? 0n : 1n << BigInt(width - 1);
  const least = signed ? -(1n << BigInt(width - 1)) : 0n;
  const most = (1n << BigInt(signed ? width - 1 : width)) - 1n;
  let value: bigint;
  if (number.kind === 'infinity') value = number.negative ? least : most;
  else {
    const whole = integral(number, mode);
    const magnitude = whole.mantissa << BigInt(Math.max(0, Math.min(whole.exponent, 2048)));
    value = whole.negative ? -magnitude : magnitude;
  }
  return BigInt.asUintN(width, value < least ? least : value > most ? most : value);
}

function isSubnormal(number: ExactNumber, format: FloatMode['format'], width: number): boolean {
  if (number.kind !== 'finite' || number.mantissa === 0n) return false;
  const lowest = width === 64 ? -1022 : width === 32 || format === 'bf16' ? -126 : -14;
  return number.exponent + bitLength(number.mantissa) - 1 < lowest;
}

function arithmetic(op: FloatOperation, mode: FloatMode, args: readonly ExactNumber[]): ExactNumber {
  const [a, b, c] = args as [ExactNumber, ExactNumber, ExactNumber];
  const down = mode.rounding === 'down';
  switch (op) {
    case 'floatAdd':
      return add(a, b, down);
    case 'floatSub':
      return add(a, negate(b), down);
    case 'floatMul':
      return multiply(a, b);
    case 'floatFma':
      return add(multiply(a, b), c, down);
    case 'floatDiv':
      return divide(a, b);
    case 'floatReciprocal':
      return divide(ONE, a);
    case 'floatSquareRoot':
      return squareRoot(a);
    case 'floatReciprocalSquareRoot': {
      if (isZero(a)) return infinity(a.negative);
      return divide(ONE, squareRoot(a));
    }
    case 'floatMin':
    case 'floatMax':
      return extreme(a, b, mode, op === 'floatMax');
    case 'floatAbs':
      return { ...a, negative: false };
    case 'floatNegate':
      return negate(a);
    case 'floatConvert':
      return mode.integral ? integral(a, mode) : a;
    default:
      return a.kind === 'nan' ? a : fromDouble(FUNCTIONS[op]!(toDouble(a)));
  }
}

function one(op: FloatOperation, width: number, mode: FloatMode, bits: readonly bigint[]): bigint {
  const format = mode.format ?? 'ieee';
  const rounding = mode.rounding ?? 'nearestEven';
  const finish = (number: ExactNumber): bigint => {
    let result = number;
    if (mode.saturate) {
      if (result.kind === 'nan' || result.negative) result = finite(false, 0n, 0);
      else if (compare(result, ONE) > 0) result = ONE;
    }
    if (mode.clampNegative && result.kind !== 'nan' && result.negative) result = finite(false, 0n, 0);
    const encoded = encode(format, width, result, rounding, mode.saturateFinite);
    if (!mode.flushSubnormals || !isSubnormal(decode(format, width, encoded), format, width)) return encoded;
    return encode(format, width, finite(result.negative, 0n, 0), rounding);
  };
  const from = mode.operandWidth ?? width;
  if (op === 'floatFromSigned' || op === 'floatFromUnsigned') {
    const value = op === 'floatFromSigned' ? BigInt.asIntN(from, bits[0]!) : bits[0]!;
    return finish(finite(value < 0n, value < 0n ? -value : value, 0));
  }
  const sourceFormat = op === 'floatConvert' ? (mode.operandFormat ?? 'ieee') : format;
  const args = bits.map((operand) => {
    const number = decode(sourceFormat, from, operand);
    const flushed = mode.flushSubnormals && isSubnormal(number, sourceFormat, from);
    return flushed ? finite(number.negative, 0n, 0) : number;
  });
  if (op === 'floatCompare') return relation(mode.relation ?? 'eq', args[0]!, args[1]!) ? 1n : 0n;
  if (op === 'floatToSigned' || op === 'floatToUnsigned') {
    return toInteger(args[0]!, width, from, op === 'floatToSigned', mode);
  }
  return finish(arithmetic(op, mode, args));
}

/**
 * Result of a floating-point operation, on bits.
 *
 * @param width of the result; all lanes of a packed one
 * @param args operands' bits, in `[0, 2^operand width)`
 */
export function evaluateFloat(op: FloatOperation, width: number, mode: FloatMode, args: readonly bigint[]): bigint {
  const lanes = mode.lanes ?? 1;
  if (lanes === 1) return one(op, width, mode, args);
  const part = width / lanes;
  const from = (mode.operandWidth ?? width) / lanes;
  const narrow: FloatMode = { ...mode, operandWidth: from };
  let result = 0n;
  for (let lane = lanes - 1; lane >= 0; lane--) {
    const parts = args.map((bits) => BigInt.asUintN(from, bits >> BigInt(lane * from)));
    result = (result << BigInt(part)) | one(op, part, narrow, parts);
  }
  return result;
}
