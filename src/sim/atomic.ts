/** Atomic functions in general: any width, numbers of any kind, packed ones (PTX ISA 9.7.13.5). */
import {
  type Access,
  type ElementType,
  evaluateFloat,
  evaluateInteger,
  type FloatMode,
  type FloatOperation,
  type IntegerOperation,
} from '../ir/form.js';

const FLOATS: Readonly<Record<string, FloatOperation>> = { add: 'floatAdd', min: 'floatMin', max: 'floatMax' };
const PLAIN: Readonly<Record<string, IntegerOperation>> = { add: 'add', and: 'and', or: 'or', xor: 'xor' };

function integer(name: string, width: number, type: ElementType, old: bigint, value: bigint): bigint | undefined {
  if (name === 'min' || name === 'max') {
    const op = `${name}${type.signed ? 'Signed' : 'Unsigned'}` as const;
    return evaluateInteger(op, width, width, [old, value]);
  }
  if (name === 'inc') return old >= value ? 0n : old + 1n;
  if (name === 'dec') return old === 0n || old > value ? value : old - 1n;
  const op = PLAIN[name];
  return op && evaluateInteger(op, width, width, [old, value]);
}

/** What an atomic function makes of the old bits; undefined when it is not known. */
export function atomicFunction(
  access: Access,
  width: number,
  old: bigint,
  operands: readonly bigint[],
): bigint | undefined {
  const { atomic = '', elementType = {} } = access;
  const [a = 0n, b = 0n] = operands;
  if (atomic === 'exch') return a;
  if (atomic === 'cas') return old === a ? b : old;
  if (!elementType.float) return integer(atomic, width, elementType, old, a);
  const op = FLOATS[atomic];
  const { lanes, float } = elementType;
  const mode: FloatMode = { format: float, ...(lanes && { lanes }) };
  return op && evaluateFloat(op, width, mode, [old, a]);
}
