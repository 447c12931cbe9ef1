/**
 * What generated code calls for arithmetic that is more than an expression. Words are signed 32-bit numbers; a result of
 * two words returns the low one and leaves the high one in `h`. Nothing here suspends, so one cell is enough.
 */
import {
  evaluateFloat,
  evaluateInteger,
  type FloatMode,
  type FloatOperation,
  type IntegerOperation,
} from '../ir/form.js';

const numbers = new DataView(new ArrayBuffer(8));
const singles = new Float32Array(1);
const singleBits = new Int32Array(singles.buffer);
const doubles = new Float64Array(1);
const doubleBits = new Int32Array(doubles.buffer);

/** Smallest normal single. */
const SMALLEST = 2 ** -126;
const halves = new Float64Array(65536);
for (let bits = 0; bits < 65536; bits++) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const magnitude =
    exponent === 31
      ? fraction === 0
        ? Infinity
        : Number.NaN
      : exponent === 0
        ? fraction * 2 ** -24
        : (1024 + fraction) * 2 ** (exponent - 25);
  halves[bits] = bits & 0x8000 ? -magnitude : magnitude;
}

function nearest(x: number): number {
  const magnitude = Math.abs(x);
  if (!(magnitude < 4503599627370496)) return x;
  const rounded = magnitude + 4503599627370496 - 4503599627370496;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

/** A number as bits of 16, with `fraction` bits and the least exponent of a normal number. */
function to16(x: number, fraction: number, least: number): number {
  // biome-ignore lint/suspicious/noSelfCompare: the test for NaN that the compiler knows
  if (x !== x) return 0x7fff;
  const sign = x < 0 || (x === 0 && 1 / x < 0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  const infinity = 0x7fff & -(1 << fraction);
  if (magnitude === Infinity) return sign | infinity;
  doubles[0] = magnitude;
  const exponent = Math.max((doubleBits[1]! >>> 20) - 1023, least);
  const scaled = nearest(magnitude * 2 ** (fraction - exponent));
  // The fields are adjacent: a carry out of the fraction raises the exponent.
  const bits = scaled + (exponent - least) * (1 << fraction);
  return sign | Math.min(bits, infinity);
}

const toHalf = (x: number): number => to16(x, 10, -14);
const toBrain = (x: number): number => to16(x, 7, -126);
function fromBrain(bits: number): number {
  singleBits[0] = bits << 16;
  return singles[0]!;
}

/** `a · b + c` to be rounded to a format of 16 bits; undefined when a double does not hold it well enough. */
function exactSum(product: number, c: number): number | undefined {
  const sum = product + c;
  const part = sum - product;
  const error = product - (sum - part) + (c - part);
  return error === 0 || !Number.isFinite(sum) ? sum : undefined;
}

function slow16(op: FloatOperation, mode: FloatMode, args: readonly number[]): number {
  return Number(evaluateFloat(op, 16, mode, args.map(BigInt)));
}

/** The definitions that `X.integer` and `X.float` call, by number. */
export interface SlowCalls {
  readonly integers: readonly (readonly [IntegerOperation, number, number])[];
  readonly floats: readonly (readonly [FloatOperation, number, FloatMode])[];
}

/** The functions of one compiled kernel. */
export class Arithmetic {
  /** High word of the last result of two words. */
  h = 0;

  constructor(readonly calls: SlowCalls) {}

  // --- general definitions ---

  integer(index: number, args: readonly bigint[]): bigint {
    const [op, width, operandWidth] = this.calls.integers[index]!;
    return evaluateInteger(op, width, operandWidth, args);
  }

  float(index: number, args: readonly bigint[]): bigint {
    const [op, width, mode] = this.calls.floats[index]!;
    return evaluateFloat(op, width, mode, args);
  }

  big(low: number, high: number): bigint {
    return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  }

  split(bits: bigint): number {
    this.h = Number(BigInt.asIntN(32, bits >> 32n));
    return Number(BigInt.asIntN(32, bits));
  }

  word(bits: bigint): number {
    return Number(BigInt.asIntN(32, bits));
  }

  // --- words ---

  popCount(x: number): number {
    let v = x - ((x >>> 1) & 0x55555555);
    v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
    return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
  }

  mulHigh(a: number, b: number): number {
    const a0 = a & 0xffff;
    const a1 = a >>> 16;
    const b0 = b & 0xffff;
    const b1 = b >>> 16;
    const middle = a1 * b0 + (Math.imul(a0, b0) >>> 16);
    const other = a0 * b1 + (middle & 0xffff);
    return (Math.imul(a1, b1) + (middle >>> 16) + (other >>> 16)) | 0;
  }

  mulHighSigned(a: number, b: number): number {
    return (this.mulHigh(a, b) - (a < 0 ? b : 0) - (b < 0 ? a : 0)) | 0;
  }

  funnelLeft(low: number, high: number, amount: number): number {
    const n = amount & 31;
    return n === 0 ? high : (high << n) | (low >>> (32 - n));
  }

  funnelRight(low: number, high: number, amount: number): number {
    const n = amount & 31;
    return n === 0 ? low : (low >>> n) | (high << (32 - n));
  }

  extract(value: number, position: number, length: number): number {
    const pos = position & 0xff;
    const len = length & 0xff;
    if (len === 0 || pos > 31) return 0;
    const field = value >>> pos;
    return (len > 31 ? field : field & ((1 << len) - 1)) | 0;
  }

  extractSigned(value: number, position: number, length: number): number {
    const pos = position & 0xff;
    const len = length & 0xff;
    if (len === 0) return 0;
    if (pos > 31) return value >> 31;
    const field = value >> pos;
    return len > 31 - pos ? field : (field << (32 - len)) >> (32 - len);
  }

  insert(field: number, value: number, position: number, length: number): number {
    const pos = position & 0xff;
    const len = length & 0xff;
    if (len === 0 || pos > 31) return value;
    const mask = (len > 31 ? -1 : (1 << len) - 1) << pos;
    return (value & ~mask) | ((field << pos) & mask);
  }

  permute(low: number, high: number, selector: number): number {
    let result = 0;
    for (let byte = 0; byte < 4; byte++) {
      const select = (selector >>> (byte * 4)) & 15;
      const source = select & 4 ? high : low;
      let picked = (source >>> ((select & 3) * 8)) & 0xff;
      if (select & 8) picked = picked & 0x80 ? 0xff : 0;
      result |= picked << (byte * 8);
    }
    return result;
  }

  reverse(x: number): number {
    let v = ((x >>> 1) & 0x55555555) | ((x & 0x55555555) << 1);
    v = ((v >>> 2) & 0x33333333) | ((v & 0x33333333) << 2);
    v = ((v >>> 4) & 0x0f0f0f0f) | ((v & 0x0f0f0f0f) << 4);
    v = ((v >>> 8) & 0x00ff00ff) | ((v & 0x00ff00ff) << 8);
    return (v >>> 16) | (v << 16);
  }

  // --- two words ---

  shiftLeft(low: number, high: number, amount: number): number {
    if (amount >= 64) {
      this.h = 0;
      return 0;
    }
    if (amount >= 32) {
      this.h = low << (amount - 32);
      return 0;
    }
    this.h = amount === 0 ? high : (high << amount) | (low >>> (32 - amount));
    return low << amount;
  }

  shiftRight(low: number, high: number, amount: number): number {
    this.h = amount >= 32 ? 0 : (high >>> amount) | 0;
    if (amount >= 64) return 0;
    if (amount >= 32) return (high >>> (amount - 32)) | 0;
    return amount === 0 ? low : (low >>> amount) | (high << (32 - amount));
  }

  shiftRightSigned(low: number, high: number, amount: number): number {
    this.h = high >> (amount > 31 ? 31 : amount);
    if (amount >= 32) return high >> Math.min(31, amount - 32);
    return amount === 0 ? low : (low >>> amount) | (high << (32 - amount));
  }

  divide(a: number, ah: number, b: number, bh: number): number {
    if (((ah | bh) & 0xffe00000) === 0 && (b | bh) !== 0) {
      const x = ah * 4294967296 + (a >>> 0);
      const y = bh * 4294967296 + (b >>> 0);
      // The quotient of integers below 2^53 may round up to the next integer: the remainder is exact.
      return this.#number((x - (x % y)) / y);
    }
    return this.split(evaluateInteger('divUnsigned', 64, 64, [this.big(a, ah), this.big(b, bh)]));
  }

  remainder(a: number, ah: number, b: number, bh: number): number {
    if (((ah | bh) & 0xffe00000) === 0 && (b | bh) !== 0) {
      return this.#number((ah * 4294967296 + (a >>> 0)) % (bh * 4294967296 + (b >>> 0)));
    }
    return this.split(evaluateInteger('remUnsigned', 64, 64, [this.big(a, ah), this.big(b, bh)]));
  }

  #number(value: number): number {
    this.h = (value / 4294967296) | 0;
    return value | 0;
  }

  // --- floats ---

  single(bits: number): number {
    singleBits[0] = bits;
    return singles[0]!;
  }

  singleBits(x: number): number {
    // biome-ignore lint/suspicious/noSelfCompare: the test for NaN that the compiler knows
    if (x !== x) return 0x7fffffff;
    singles[0] = x;
    return singleBits[0]!;
  }

  double(low: number, high: number): number {
    numbers.setInt32(0, low, true);
    numbers.setInt32(4, high, true);
    return numbers.getFloat64(0, true);
  }

  doubleBits(x: number): number {
    // biome-ignore lint/suspicious/noSelfCompare: the test for NaN that the compiler knows
    if (x !== x) {
      this.h = 0x7ff80000;
      return 0;
    }
    doubles[0] = x;
    this.h = doubleBits[1]!;
    return doubleBits[0]!;
  }

  flush(x: number): number {
    return x < SMALLEST && x > -SMALLEST ? x * 0 : x;
  }

  saturate(x: number): number {
    return x > 0 ? (x < 1 ? x : 1) : 0;
  }

  min(a: number, b: number): number {
    // biome-ignore lint/suspicious/noSelfCompare: the test for NaN that the compiler knows
    return a !== a ? b : b !== b ? a : Math.min(a, b);
  }

  max(a: number, b: number): number {
    // biome-ignore lint/suspicious/noSelfCompare: the test for NaN that the compiler knows
    return a !== a ? b : b !== b ? a : Math.max(a, b);
  }

  nearest(x: number): number {
    return nearest(x);
  }

  clamp(x: number, least: number, most: number, invalid: number): number {
    return x >= least ? (x <= most ? x : most) : x < least ? least : invalid;
  }

  /**
   * `a · b + c` of singles, to be rounded to a single. The product is exact and the sum rounded to a double; that and the
   * second rounding differ from one only where the double lies halfway between singles, and then the sum's error decides.
   */
  fma(a: number, b: number, c: number): number {
    const product = a * b;
    const sum = product + c;
    const single = Math.fround(sum);
    const rest = sum - single;
    if (rest === 0 || Math.fround(single + 2 * rest) !== single + 2 * rest) return single;
    const part = sum - product;
    const error = product - (sum - part) + (c - part);
    if (error === 0) return single;
    const other = single + 2 * rest;
    return error > 0 ? Math.max(single, other) : Math.min(single, other);
  }

  toHalf(x: number): number {
    return toHalf(x);
  }

  fromHalf(bits: number): number {
    return halves[bits]!;
  }

  toBrain(x: number): number {
    return toBrain(x);
  }

  fromBrain(bits: number): number {
    return fromBrain(bits);
  }

  halfAdd(a: number, b: number): number {
    return toHalf(halves[a]! + halves[b]!);
  }

  halfSub(a: number, b: number): number {
    return toHalf(halves[a]! - halves[b]!);
  }

  halfMul(a: number, b: number): number {
    return toHalf(halves[a]! * halves[b]!);
  }

  halfFma(a: number, b: number, c: number): number {
    const sum = exactSum(halves[a]! * halves[b]!, halves[c]!);
    return sum === undefined ? slow16('floatFma', {}, [a, b, c]) : toHalf(sum);
  }

  brainAdd(a: number, b: number): number {
    const sum = exactSum(fromBrain(a), fromBrain(b));
    return sum === undefined ? slow16('floatAdd', { format: 'bf16' }, [a, b]) : toBrain(sum);
  }

  brainSub(a: number, b: number): number {
    return this.brainAdd(a, b ^ 0x8000);
  }

  brainMul(a: number, b: number): number {
    return toBrain(fromBrain(a) * fromBrain(b));
  }

  brainFma(a: number, b: number, c: number): number {
    const sum = exactSum(fromBrain(a) * fromBrain(b), fromBrain(c));
    return sum === undefined ? slow16('floatFma', { format: 'bf16' }, [a, b, c]) : toBrain(sum);
  }
}
