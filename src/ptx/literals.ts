/**
 * Values of number literals (PTX ISA 4.5.1, 4.5.2). Integers keep the value as written; small ones share one bigint each,
 * since nearly all literals are small.
 */
import { MAX_INTEGER_DIGITS } from './limits.js';

const SMALL = Array.from({ length: 1024 }, (_, i) => BigInt(i));

/** Why a literal has no value. */
export class LiteralError extends Error {}

/**
 * Value of an integer literal without its `U`.
 *
 * @throws LiteralError for an octal literal with digits 8 or 9, a hexadecimal, octal or binary literal of more than 64
 *   bits, or more than {@link MAX_INTEGER_DIGITS} digits. Long decimal literals are kept: ptxas accepts them.
 */
export function integerValue(image: string): bigint {
  const end = image.charCodeAt(image.length - 1) === 85 ? image.length - 1 : image.length;
  const first = image.charCodeAt(0);
  if (first !== 48 && end <= 15) {
    let value = 0;
    for (let i = 0; i < end; i++) value = value * 10 + image.charCodeAt(i) - 48;
    return value < 1024 ? SMALL[value]! : BigInt(value);
  }
  if (end === 1) return 0n;
  if (end > MAX_INTEGER_DIGITS) throw new LiteralError(`the integer has ${end} digits`);
  const digits = image.slice(0, end);
  if (first !== 48) return BigInt(digits);
  let value: bigint;
  if (/^0[xXbB]/.test(digits)) value = BigInt(digits);
  else if (/[89]/.test(digits)) throw new LiteralError('the octal integer has a digit above 7');
  else value = BigInt(`0o${digits}`);
  if (value >> 64n !== 0n) throw new LiteralError('the integer does not fit 64 bits');
  return value < 1024n ? SMALL[Number(value)]! : value;
}

const view = new DataView(new ArrayBuffer(8));

/** IEEE bits of a floating-point literal: 32 for `0f…`, 64 otherwise. */
export function floatBits(image: string): { readonly width: 32 | 64; readonly bits: bigint } {
  const second = image.charCodeAt(1) | 32;
  if (image.charCodeAt(0) === 48 && second === 102) return { width: 32, bits: BigInt(`0x${image.slice(2)}`) };
  if (image.charCodeAt(0) === 48 && second === 100) return { width: 64, bits: BigInt(`0x${image.slice(2)}`) };
  view.setFloat64(0, Number(image));
  return { width: 64, bits: view.getBigUint64(0) };
}
