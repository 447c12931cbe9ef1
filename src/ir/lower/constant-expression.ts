/**
 * Constant expressions (PTX ISA 4.5.5): 64-bit integers, signed unless an operand is unsigned; C rules. Anything that
 * is not an integer constant evaluates to undefined and the caller widens.
 */
import type { Expression } from '../../ptx/index.js';

interface Constant {
  readonly value: bigint;
  readonly unsigned: boolean;
}

const WARP_SIZE = 32n;

function wrap(value: bigint, unsigned: boolean): Constant {
  return { value: unsigned ? BigInt.asUintN(64, value) : BigInt.asIntN(64, value), unsigned };
}

function evaluate(expression: Expression): Constant | undefined {
  switch (expression.kind) {
    case 'integer':
      return wrap(expression.value, expression.unsigned || expression.value > 0x7fffffffffffffffn);
    case 'name':
      return expression.name === 'WARP_SZ' ? { value: WARP_SIZE, unsigned: false } : undefined;
    case 'unary': {
      const operand = evaluate(expression.operand);
      if (!operand) return undefined;
      if (expression.operator === '-') return wrap(-operand.value, operand.unsigned);
      if (expression.operator === '~') return wrap(~operand.value, operand.unsigned);
      if (expression.operator === '!') return { value: operand.value === 0n ? 1n : 0n, unsigned: false };
      return operand;
    }
    case 'conditional': {
      const condition = evaluate(expression.condition);
      if (!condition) return undefined;
      return evaluate(condition.value !== 0n ? expression.whenTrue : expression.whenFalse);
    }
    case 'cast': {
      const operand = evaluate(expression.operand);
      if (!operand) return undefined;
      return wrap(operand.value, expression.type.replace('.', '').startsWith('u'));
    }
    case 'binary': {
      const left = evaluate(expression.left);
      const right = evaluate(expression.right);
      if (!left || !right) return undefined;
      const unsigned = left.unsigned || right.unsigned;
      const a = wrap(left.value, unsigned).value;
      const b = wrap(right.value, unsigned).value;
      const truth = (value: boolean): Constant => ({ value: value ? 1n : 0n, unsigned: false });
      switch (expression.operator) {
        case '*':
          return wrap(a * b, unsigned);
        case '/':
          return b === 0n ? undefined : wrap(a / b, unsigned);
        case '%':
          return b === 0n ? undefined : wrap(a % b, unsigned);
        case '+':
          return wrap(a + b, unsigned);
        case '-':
          return wrap(a - b, unsigned);
        case '<<':
          return b < 0n || b > 63n ? undefined : wrap(left.value << b, left.unsigned);
        case '>>':
          return b < 0n || b > 63n ? undefined : wrap(left.value >> b, left.unsigned);
        case '<':
          return truth(a < b);
        case '>':
          return truth(a > b);
        case '<=':
          return truth(a <= b);
        case '>=':
          return truth(a >= b);
        case '==':
          return truth(a === b);
        case '!=':
          return truth(a !== b);
        case '&':
          return wrap(a & b, unsigned);
        case '^':
          return wrap(a ^ b, unsigned);
        case '|':
          return wrap(a | b, unsigned);
        case '&&':
          return truth(a !== 0n && b !== 0n);
        case '||':
          return truth(a !== 0n || b !== 0n);
      }
      return undefined;
    }
    default:
      return undefined;
  }
}

/** The value of an integer constant expression; undefined when it is not one. */
export function constantValue(expression: Expression): bigint | undefined {
  return evaluate(expression)?.value;
}
