/**
 * Floating-point formats: bits to exact numbers and back, with every rounding (IEEE 754; PTX ISA 5.2.3, 6.5.2). A number
 * is sign, integer and power of two, so arithmetic on it is exact and rounding happens once. `evaluate-float.ts` relies on
 * that: what it gives is the correctly rounded result.
 */
import type { FloatFormat, Rounding } from './program.js';

/** `±mantissa · 2^exponent`, infinity, or not a number. */
export interface ExactNumber {
  readonly kind: 'finite' | 'infinity' | 'nan';
  readonly negative: boolean;
  readonly mantissa: bigint;
  readonly exponent: number;
}

interface Layout {
  readonly exponentBits: number;
  readonly fractionBits: number;
  /** Bits below the fraction that are always zero. */
  readonly padding: number;
  /** What the highest exponent means: infinities and NaN, NaN at all ones only, or numbers like any other. */
  readonly special: 'ieee' | 'nanOnly' | 'none';
}

const IEEE: Readonly<Record<number, Layout>> = {
  16: { exponentBits: 5, fractionBits: 10, padding: 0, special: 'ieee' },
  32: { exponentBits: 8, fractionBits: 23, padding: 0, special: 'ieee' },
  64: { exponentBits: 11, fractionBits: 52, padding: 0, special: 'ieee' },
};

const LAYOUTS: Readonly<Record<Exclude<FloatFormat, 'ieee' | 'ue8m0'>, Layout>> = {
  bf16: { exponentBits: 8, fractionBits: 7, padding: 0, special: 'ieee' },
  tf32: { exponentBits: 8, fractionBits: 10, padding: 13, special: 'ieee' },
  e4m3: { exponentBits: 4, fractionBits: 3, padding: 0, special: 'nanOnly' },
  e5m2: { exponentBits: 5, fractionBits: 2, padding: 0, special: 'ieee' },
  e2m3: { exponentBits: 2, fractionBits: 3, padding: 0, special: 'none' },
  e3m2: { exponentBits: 3, fractionBits: 2, padding: 0, special: 'none' },
  e2m1: { exponentBits: 2, fractionBits: 1, padding: 0, special: 'none' },
};

function layoutOf(format: FloatFormat, width: number): Layout {
  const layout = format === 'ieee' || format === 'ue8m0' ? IEEE[width] : LAYOUTS[format];
  if (!layout) throw new RangeError(`no floating-point format of ${width} bits`);
  return layout;
}

export const NOT_A_NUMBER: ExactNumber = { kind: 'nan', negative: false, mantissa: 0n, exponent: 0 };

export function infinity(negative: boolean): ExactNumber {
  return { kind: 'infinity', negative, mantissa: 0n, exponent: 0 };
}

export function finite(negative: boolean, mantissa: bigint, exponent: number): ExactNumber {
  return { kind: 'finite', negative, mantissa, exponent };
}

export function isZero(number: ExactNumber): boolean {
  return number.kind === 'finite' && number.mantissa === 0n;
}

/** The number of a double. */
export function fromDouble(value: number): ExactNumber {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, value);
  return decode('ieee', 64, view.getBigUint64(0));
}

/** The double nearest to a number. */
export function toDouble(number: ExactNumber): number {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, encode('ieee', 64, number, 'nearestEven'));
  return view.getFloat64(0);
}

/** The number that bits mean. */
export function decode(format: FloatFormat, width: number, bits: bigint): ExactNumber {
  if (format === 'ue8m0') return bits === 0xffn ? NOT_A_NUMBER : finite(false, 1n, Number(bits) - 127);
  const { exponentBits, fractionBits, padding, special } = layoutOf(format, width);
  const plain = bits >> BigInt(padding);
  const fraction = plain & ((1n << BigInt(fractionBits)) - 1n);
  const top = (1 << exponentBits) - 1;
  const exponent = Number(plain >> BigInt(fractionBits)) & top;
  const negative = ((plain >> BigInt(fractionBits + exponentBits)) & 1n) === 1n;
  if (exponent === top) {
    if (special === 'ieee') return fraction === 0n ? infinity(negative) : NOT_A_NUMBER;
    if (special === 'nanOnly' && fraction === (1n << BigInt(fractionBits)) - 1n) return NOT_A_NUMBER;
  }
  const bias = (1 << (exponentBits - 1)) - 1;
  const implicit = exponent === 0 ? 0n : 1n << BigInt(fractionBits);
  return finite(negative, fraction | implicit, Math.max(exponent, 1) - bias - fractionBits);
}

/** Number of significant bits. */
export function bitLength(value: bigint): number {
  return value === 0n ? 0 : value.toString(2).length;
}

/** `value / 2^shift` as an integer, rounded. */
export function roundShift(value: bigint, shift: number, negative: boolean, rounding: Rounding): bigint {
  if (shift <= 0) return value << BigInt(-shift);
  const amount = BigInt(shift);
  const kept = value >> amount;
  const rest = value & ((1n << amount) - 1n);
  if (rest === 0n) return kept;
  const half = 1n << (amount - 1n);
  switch (rounding) {
    case 'zero':
      return kept;
    case 'down':
      return negative ? kept + 1n : kept;
    case 'up':
      return negative ? kept : kept + 1n;
    case 'nearestAway':
      return rest >= half ? kept + 1n : kept;
    default:
      return rest > half || (rest === half && (kept & 1n) === 1n) ? kept + 1n : kept;
  }
}

/** Bits of a number, rounded once. `saturateFinite`: the largest number stands for what lies beyond it. */
export function encode(
  format: FloatFormat,
  width: number,
  number: ExactNumber,
  rounding: Rounding,
  saturateFinite = false,
): bigint {
  if (format === 'ue8m0') return encodeScale(number, rounding);
  const { exponentBits, fractionBits, padding, special } = layoutOf(format, width);
  const top = (1n << BigInt(exponentBits)) - 1n;
  const ones = (1n << BigInt(fractionBits)) - 1n;
  const sign = number.negative ? 1n << BigInt(exponentBits + fractionBits) : 0n;
  const pad = (bits: bigint) => bits << BigInt(padding);
  const largest =
    special === 'ieee' ? ((top - 1n) << BigInt(fractionBits)) | ones : (top << BigInt(fractionBits)) | ones;
  const finiteMaximum = special === 'nanOnly' ? largest - 1n : largest;
  if (number.kind === 'nan') {
    if (special === 'none') return pad(finiteMaximum);
    if (special === 'nanOnly') return pad((top << BigInt(fractionBits)) | ones);
    // The canonical NaN of doubles is the quiet one without payload; narrower ones are all ones (PTX ISA 9.7.3).
    return width === 64 ? 0x7ff8000000000000n : pad((top << BigInt(fractionBits)) | ones);
  }
  const beyond = (): bigint => {
    if (special !== 'ieee' || saturateFinite) return pad(sign | finiteMaximum);
    const towardsZero =
      number.kind === 'finite' &&
      (rounding === 'zero' || (rounding === 'down' && !number.negative) || (rounding === 'up' && number.negative));
    return pad(sign | (towardsZero ? finiteMaximum : top << BigInt(fractionBits)));
  };
  if (number.kind === 'infinity') return beyond();
  if (number.mantissa === 0n) return pad(sign);
  const bias = (1 << (exponentBits - 1)) - 1;
  const highest = number.exponent + bitLength(number.mantissa) - 1;
  const quantum = Math.max(highest, 1 - bias) - fractionBits;
  const rounded = roundShift(number.mantissa, quantum - number.exponent, number.negative, rounding);
  // A carry out of the fraction raises the exponent by itself: the fields are adjacent.
  const normal = rounded >> BigInt(fractionBits) ? BigInt(quantum + fractionBits + bias - 1) : 0n;
  const magnitude = (normal << BigInt(fractionBits)) + rounded;
  return magnitude > finiteMaximum ? beyond() : pad(sign | magnitude);
}

/** A power of two without sign. */
function encodeScale(number: ExactNumber, rounding: Rounding): bigint {
  if (number.kind === 'nan') return 0xffn;
  if (number.kind === 'infinity') return 0xfen;
  if (number.mantissa === 0n) return 0n;
  const highest = number.exponent + bitLength(number.mantissa) - 1;
  const exact = (number.mantissa & (number.mantissa - 1n)) === 0n;
  const exponent = highest + (exact || rounding === 'zero' ? 0 : 1) + 127;
  return BigInt(Math.min(0xfe, Math.max(0, exponent)));
}
