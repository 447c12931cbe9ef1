/**
 * In which form each single or double is needed: as bits, as a number, or both. A number keeps no payload of a NaN, so
 * values that are only moved stay bits; values that are only computed with are never turned into bits.
 */
import { accessOperands, actionOperands, isFloatOperation, type KernelProgram, type ValueId } from '../ir/form.js';
import { type FloatPlan, floatPlan } from './emit-float.js';
import type { Names } from './names.js';

export interface Demand {
  readonly bits: Uint8Array;
  readonly float: Uint8Array;
  /** By value: how a float operation is computed; undefined for what the general definition does. */
  readonly plans: readonly (FloatPlan | undefined)[];
}

export function findDemand(program: KernelProgram, n: Names): Demand {
  const { values, blocks } = program;
  const bits = new Uint8Array(values.length);
  const float = new Uint8Array(values.length);
  const plans = values.map(({ op }, id) => (isFloatOperation(op) ? floatPlan(n, id) : undefined));
  const moves = (id: ValueId): readonly ValueId[] | undefined => {
    const { op, args, width } = values[id]!;
    if (width !== 32 && width !== 64) return undefined;
    return op === 'phi' ? args : op === 'select' ? args.slice(1) : undefined;
  };
  const work: [ValueId, Uint8Array][] = [];
  const need = (id: ValueId, form: Uint8Array): void => {
    if (form[id]) return;
    form[id] = 1;
    work.push([id, form]);
  };
  for (const [id, { op, args, access, action }] of values.entries()) {
    const form = plans[id]?.operands === 'float' ? float : bits;
    if (!moves(id)) for (const arg of args) need(arg, form);
    else if (op === 'select') need(args[0]!, bits);
    if (access) for (const arg of accessOperands(access)) need(arg, bits);
    if (action) for (const arg of actionOperands(action)) need(arg, bits);
  }
  for (const { terminator } of blocks) {
    if (terminator.kind === 'branch') need(terminator.condition, bits);
    else if (terminator.kind === 'switch') need(terminator.index, bits);
  }
  while (work.length > 0) {
    const [id, form] = work.pop()!;
    for (const arg of moves(id) ?? []) need(arg, form);
  }
  return { bits, float, plans };
}
