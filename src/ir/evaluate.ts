/**
 * The meaning of the integer operations, on bigints in `[0, 2^width)`. One place: constant folding here, concrete
 * execution of template slices and the simulated device all call it, so they cannot disagree.
 */
import { INTEGER_OPERATIONS, type IntegerOperation } from './program.js';

const INTEGER_SET: ReadonlySet<string> = new Set(INTEGER_OPERATIONS);

/** Whether an operation is one that {@link evaluateInteger} knows. */
export function isIntegerOperation(op: string): op is IntegerOperation {
  return INTEGER_SET.has(op);
}

/** The bits of `value` as a two's complement number of `width` bits. */
export function toSigned(value: bigint, width: number): bigint {
  return BigInt.asIntN(width, value);
}

function divide(a: bigint, b: bigint, width: number): bigint {
  return b === 0n ? -1n : BigInt.asUintN(width, a / b);
}

function remainder(a: bigint, b: bigint): bigint {
  return b === 0n ? a : a % b;
}

/** Leading zero bits of a value of `width` bits. */
function leadingZeros(value: bigint, width: number): number {
  return value === 0n ? width : width - value.toString(2).length;
}

function popCount(value: bigint): bigint {
  let count = 0n;
  for (let rest = value; rest !== 0n; rest >>= 1n) count += rest & 1n;
  return count;
}

function bitReverse(value: bigint, width: number): bigint {
  let result = 0n;
  for (let bit = 0; bit < width; bit++) result = (result << 1n) | ((value >> BigInt(bit)) & 1n);
  return result;
}

/** PTX ISA 9.7.1.19: bits beyond the value are zero (unsigned) or copies of the sign bit of the field (signed). */
function extractBits(value: bigint, position: bigint, length: bigint, width: number, signed: boolean): bigint {
  const pos = Number(position & 0xffn);
  const len = Number(length & 0xffn);
  if (len === 0) return 0n;
  const top = Math.min(pos + len - 1, width - 1);
  const sign = signed ? (value >> BigInt(top)) & 1n : 0n;
  let result = 0n;
  for (let bit = width - 1; bit >= 0; bit--) {
    const inside = bit < len && pos + bit < width;
    result = (result << 1n) | (inside ? (value >> BigInt(pos + bit)) & 1n : sign);
  }
  return result;
}

/** PTX ISA 9.7.1.20. */
function insertBits(field: bigint, value: bigint, position: bigint, length: bigint, width: number): bigint {
  const pos = Number(position & 0xffn);
  const len = Number(length & 0xffn);
  let result = value;
  for (let bit = 0; bit < len && pos + bit < width; bit++) {
    const mask = 1n << BigInt(pos + bit);
    result = (field >> BigInt(bit)) & 1n ? result | mask : result & ~mask;
  }
  return BigInt.asUintN(width, result);
}

/** PTX ISA 9.7.9.7, default mode; the selector's fourth bit replicates the sign. */
function permuteBytes(low: bigint, high: bigint, selector: bigint): bigint {
  const bytes = (high << 32n) | low;
  let result = 0n;
  for (let byte = 0; byte < 4; byte++) {
    const select = (selector >> BigInt(byte * 4)) & 0xfn;
    let picked = (bytes >> ((select & 7n) * 8n)) & 0xffn;
    if (select & 8n) picked = picked & 0x80n ? 0xffn : 0n;
    result |= picked << BigInt(byte * 8);
  }
  return result;
}

function logic3(a: bigint, b: bigint, c: bigint, table: bigint, width: number): bigint {
  let result = 0n;
  for (let row = 0; row < 8; row++) {
    if (!((table >> BigInt(row)) & 1n)) continue;
    const x = row & 4 ? a : ~a;
    const y = row & 2 ? b : ~b;
    const z = row & 1 ? c : ~c;
    result |= x & y & z;
  }
  return BigInt.asUintN(width, result);
}

/**
 * Result of an integer operation. `width`: of the result; `operandWidth`: of the first operand (they differ for
 * comparisons, conversions, counts and `concat`). Operands and result are in `[0, 2^width)`.
 */
export function evaluateInteger(
  op: IntegerOperation,
  width: number,
  operandWidth: number,
  args: readonly bigint[],
): bigint {
  const a = args[0] ?? 0n;
  const b = args[1] ?? 0n;
  const c = args[2] ?? 0n;
  const wrap = (value: bigint) => BigInt.asUintN(width, value);
  const signedA = () => BigInt.asIntN(operandWidth, a);
  const signedB = () => BigInt.asIntN(operandWidth, b);
  const amount = () => (b > BigInt(width) ? BigInt(width) : b);
  switch (op) {
    case 'add':
      return wrap(a + b);
    case 'sub':
      return wrap(a - b);
    case 'mul':
      return wrap(a * b);
    case 'mulHighSigned':
      return wrap((signedA() * signedB()) >> BigInt(width));
    case 'mulHighUnsigned':
      return wrap((a * b) >> BigInt(width));
    case 'divSigned':
      return wrap(divide(signedA(), signedB(), width));
    case 'divUnsigned':
      return wrap(divide(a, b, width));
    case 'remSigned':
      return wrap(remainder(signedA(), signedB()));
    case 'remUnsigned':
      return wrap(remainder(a, b));
    case 'minSigned':
      return signedA() < signedB() ? a : b;
    case 'minUnsigned':
      return a < b ? a : b;
    case 'maxSigned':
      return signedA() > signedB() ? a : b;
    case 'maxUnsigned':
      return a > b ? a : b;
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'not':
      return wrap(~a);
    case 'shiftLeft':
      return wrap(a << amount());
    case 'shiftRightLogical':
      return a >> amount();
    case 'shiftRightArithmetic':
      return wrap(BigInt.asIntN(width, a) >> amount());
    case 'funnelLeft':
      return wrap(((b << 32n) | a) >> (32n - (c & 31n)));
    case 'funnelRight':
      return wrap(((b << 32n) | a) >> (c & 31n));
    case 'extractBitsSigned':
      return extractBits(a, b, c, width, true);
    case 'extractBitsUnsigned':
      return extractBits(a, b, c, width, false);
    case 'insertBits':
      return insertBits(a, b, c, args[3] ?? 0n, width);
    case 'popCount':
      return popCount(a);
    case 'leadingZeros':
      return BigInt(leadingZeros(a, operandWidth));
    case 'bitReverse':
      return bitReverse(a, width);
    case 'permuteBytes':
      return permuteBytes(a, b, c);
    case 'logic3':
      return logic3(a, b, c, args[3] ?? 0n, width);
    case 'equal':
      return a === b ? 1n : 0n;
    case 'notEqual':
      return a !== b ? 1n : 0n;
    case 'lessSigned':
      return signedA() < signedB() ? 1n : 0n;
    case 'lessEqualSigned':
      return signedA() <= signedB() ? 1n : 0n;
    case 'lessUnsigned':
      return a < b ? 1n : 0n;
    case 'lessEqualUnsigned':
      return a <= b ? 1n : 0n;
    case 'select':
      return a !== 0n ? b : c;
    case 'truncate':
      return wrap(a);
    case 'zeroExtend':
      return a;
    case 'signExtend':
      return wrap(signedA());
    case 'concat':
      return (b << BigInt(operandWidth)) | a;
    case 'carry':
      return (a + b + c) >> BigInt(operandWidth);
  }
}
