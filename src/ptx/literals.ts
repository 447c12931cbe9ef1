/**
 * Values of number literals (PTX ISA 4.5.1, 4.5.2). Small integers share one bigint each,
 * since nearly all literals are small.
 */

const SMALL = Array.from({ length: 1024 }, (_, i) => BigInt(i));

/** Why a literal has no value. */
export class LiteralError extends Error {}

/**
 * Value of an integer literal, with or without `U`: 0 to 2^64 − 1.
 *
 * A literal of more than 64 bits means its value modulo 2^64 where ptxas accepts it, and ptxas judges digit by digit: it
 * rejects a literal when the shift for the next digit makes the value smaller.
 *
 * @throws LiteralError where ptxas reports an overflow, and for an octal literal with a digit 8 or 9.
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
  const { base, start } = first !== 48 ? DECIMAL : (PREFIXES[image.charCodeAt(1) | 32] ?? OCTAL);
  if (base === 16 && end - start <= 13) {
    const value = Number.parseInt(image.slice(start, end), 16);
    return value < 1024 ? SMALL[value]! : BigInt(value);
  }
  const factor = BigInt(base);
  let value = 0n;
  for (let i = start; i < end; i++) {
    const digit = Number.parseInt(image[i]!, base);
    if (Number.isNaN(digit)) throw new LiteralError('the octal integer has a digit above 7');
    const shifted = BigInt.asUintN(64, value * factor);
    if (shifted < value) throw new LiteralError('the integer does not fit 64 bits');
    value = BigInt.asUintN(64, shifted + BigInt(digit));
  }
  return value;
}

const DECIMAL = { base: 10, start: 0 };
const OCTAL = { base: 8, start: 1 };
/** By the second character in lower case. */
const PREFIXES: Readonly<Record<number, { readonly base: number; readonly start: number }>> = {
  [0x78]: { base: 16, start: 2 },
  [0x62]: { base: 2, start: 2 },
};

const view = new DataView(new ArrayBuffer(8));

/** IEEE bits of a floating-point literal: 32 for `0f…`, 64 otherwise. */
export function floatBits(image: string): { readonly width: 32 | 64; readonly bits: bigint } {
  const second = image.charCodeAt(1) | 32;
  if (image.charCodeAt(0) === 48 && second === 102) return { width: 32, bits: BigInt(`0x${image.slice(2)}`) };
  if (image.charCodeAt(0) === 48 && second === 100) return { width: 64, bits: BigInt(`0x${image.slice(2)}`) };
  view.setFloat64(0, Number(image));
  return { width: 64, bits: view.getBigUint64(0) };
}
