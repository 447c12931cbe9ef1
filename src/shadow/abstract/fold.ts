/**
 * Integer operations on constants of 32 bits, and extensions from them, on ordinary numbers: what `evaluateInteger` computes,
 * quicker. Undefined for whatever is not listed; a test holds every row against the definition.
 */
import type { IntegerOperation } from '../../templates/index.js';

/**
 * @param a, b operands as any numbers congruent to them modulo 2^operandWidth, below 2^53
 * @returns the result as a signed number
 */
export function foldNumbers(
  op: IntegerOperation,
  width: number,
  operandWidth: number,
  a: number,
  b: number,
): number | undefined {
  if (operandWidth !== 32) return undefined;
  if (width === 64) {
    if (op === 'signExtend') return a | 0;
    if (op === 'zeroExtend') return a >>> 0;
    return undefined;
  }
  if (width === 1) return compareNumbers(op, a, b);
  if (width !== 32) return undefined;
  switch (op) {
    case 'add':
      return ((a | 0) + (b | 0)) | 0;
    case 'sub':
      return ((a | 0) - (b | 0)) | 0;
    case 'mul':
      return Math.imul(a, b);
    case 'and':
      return a & b;
    case 'or':
      return a | b;
    case 'xor':
      return a ^ b;
    case 'not':
      return ~a;
    // Shift amounts are unsigned and end at the width.
    case 'shiftLeft':
      return b >>> 0 > 31 ? 0 : a << b;
    case 'shiftRightLogical':
      return b >>> 0 > 31 ? 0 : (a >>> b) | 0;
    case 'shiftRightArithmetic':
      return b >>> 0 > 31 ? a >> 31 : a >> b;
    case 'minSigned':
      return Math.min(a | 0, b | 0);
    case 'maxSigned':
      return Math.max(a | 0, b | 0);
    case 'minUnsigned':
      return Math.min(a >>> 0, b >>> 0) | 0;
    case 'maxUnsigned':
      return Math.max(a >>> 0, b >>> 0) | 0;
    // By zero there is another rule, and −2^31 / −1 wraps.
    case 'divSigned':
      return (b | 0) === 0 ? undefined : Math.trunc((a | 0) / (b | 0)) | 0;
    case 'remSigned':
      return (b | 0) === 0 ? undefined : ((a | 0) % (b | 0)) | 0;
    case 'divUnsigned':
      return b >>> 0 === 0 ? undefined : Math.floor((a >>> 0) / (b >>> 0)) | 0;
    case 'remUnsigned':
      return b >>> 0 === 0 ? undefined : ((a >>> 0) % (b >>> 0)) | 0;
    default:
      return undefined;
  }
}

function compareNumbers(op: IntegerOperation, a: number, b: number): number | undefined {
  switch (op) {
    case 'equal':
      return (a | 0) === (b | 0) ? 1 : 0;
    case 'notEqual':
      return (a | 0) !== (b | 0) ? 1 : 0;
    case 'lessSigned':
      return (a | 0) < (b | 0) ? 1 : 0;
    case 'lessEqualSigned':
      return (a | 0) <= (b | 0) ? 1 : 0;
    case 'lessUnsigned':
      return a >>> 0 < b >>> 0 ? 1 : 0;
    case 'lessEqualUnsigned':
      return a >>> 0 <= b >>> 0 ? 1 : 0;
    default:
      return undefined;
  }
}
