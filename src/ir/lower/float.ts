/**
 * Scalar floating-point arithmetic on f16, f32 and f64 (PTX ISA 9.7.3, 9.7.4). Addresses rarely depend on it, but the
 * program is executed too. Packed and alternate formats are declined and become opaque.
 */
import type { FloatMode, FloatOperation, Rounding } from '../program.js';
import type { Frame, View } from './frame.js';
import { COMPARISON_NAMES, definePredicates } from './integer.js';

const ROUNDINGS: Readonly<Record<string, Rounding>> = {
  rn: 'nearestEven',
  rz: 'zero',
  rm: 'down',
  rp: 'up',
  rni: 'nearestEven',
  rzi: 'zero',
  rmi: 'down',
  rpi: 'up',
};
const INTEGRAL: ReadonlySet<string> = new Set(['rni', 'rzi', 'rmi', 'rpi']);

function modeOf(view: View): FloatMode {
  const { has } = view.m;
  const name = view.node.mnemonic.modifiers.find((modifier) => ROUNDINGS[modifier] !== undefined);
  return {
    ...(name && { rounding: ROUNDINGS[name]! }),
    ...(name && INTEGRAL.has(name) && { integral: true }),
    ...(has.has('ftz') && { flushSubnormals: true }),
    ...(has.has('sat') && { saturate: true }),
    ...((has.has('approx') || has.has('full')) && { approximate: true }),
  };
}

const OPERATIONS: Readonly<Record<string, readonly [FloatOperation, number]>> = {
  add: ['floatAdd', 2],
  sub: ['floatSub', 2],
  mul: ['floatMul', 2],
  mad: ['floatFma', 3],
  fma: ['floatFma', 3],
  div: ['floatDiv', 2],
  min: ['floatMin', 2],
  max: ['floatMax', 2],
  abs: ['floatAbs', 1],
  neg: ['floatNegate', 1],
  sqrt: ['floatSquareRoot', 1],
  rcp: ['floatReciprocal', 1],
  rsqrt: ['floatReciprocalSquareRoot', 1],
  sin: ['floatSine', 1],
  cos: ['floatCosine', 1],
  lg2: ['floatLog2', 1],
  ex2: ['floatExp2', 1],
  tanh: ['floatTanh', 1],
};

const DECLINED: readonly string[] = ['NaN', 'xorsign', 'abs', 'relu', 'oob', 'satfinite', 'rs', 'rna'];

/** Lowers a floating-point form into the frame; false when this variant is not described here. */
export function lowerFloat(frame: Frame, view: View, form: string): boolean {
  const { builder } = frame;
  const { node, m } = view;
  if (DECLINED.some((modifier) => m.has.has(modifier))) return false;
  if (form === 'cvt') return convert(frame, view);
  if (form === 'setp') {
    const type = m.types[0];
    const relation = node.mnemonic.modifiers.find((modifier) => COMPARISON_NAMES.has(modifier));
    if (type?.as !== 'float' || !relation) return false;
    const args = [frame.use(view, node.operands[1], type.width), frame.use(view, node.operands[2], type.width)];
    const mode: FloatMode = { ...modeOf(view), relation, operandWidth: type.width };
    definePredicates(frame, view, builder.value('floatCompare', 1, args, { mode }));
    return true;
  }
  const row = Object.hasOwn(OPERATIONS, form) ? OPERATIONS[form] : undefined;
  const type = m.types[0];
  // Mixed precision has two types; only one is described here.
  if (!row || type?.as !== 'float' || m.types.length !== 1 || node.operands.length !== row[1] + 1) return false;
  const args = Array.from({ length: row[1] }, (_, index) => frame.use(view, node.operands[index + 1], type.width));
  frame.define(view, node.operands[0], builder.value(row[0], type.width, args, { mode: modeOf(view) }));
  return true;
}

function convert(frame: Frame, view: View): boolean {
  const { builder } = frame;
  const { node, m } = view;
  const [to, from] = m.types;
  if (!to || !from || m.types.length !== 2 || node.operands.length !== 2) return false;
  const usable = (as: string) => as === 'float' || as === 'signed' || as === 'unsigned';
  if (!usable(to.as) || !usable(from.as) || (to.as !== 'float' && from.as !== 'float')) return false;
  const source = frame.use(view, node.operands[1], from.width, from.as === 'signed');
  const mode: FloatMode = { ...modeOf(view), operandWidth: from.width };
  const op: FloatOperation =
    from.as !== 'float'
      ? from.as === 'signed'
        ? 'floatFromSigned'
        : 'floatFromUnsigned'
      : to.as === 'float'
        ? 'floatConvert'
        : to.as === 'signed'
          ? 'floatToSigned'
          : 'floatToUnsigned';
  frame.define(view, node.operands[0], builder.value(op, to.width, [source], { mode }), to.as === 'signed');
  return true;
}
