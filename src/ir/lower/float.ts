/**
 * Floating-point arithmetic, comparison and conversion (PTX ISA 9.7.3 to 9.7.7, 9.7.9.21): singles, doubles, halves, bf16,
 * pairs of them, and conversions of the narrower formats. Addresses rarely depend on it, but the program is executed too.
 * What is not described becomes opaque.
 */
import type { FloatFormat, FloatMode, FloatOperation, Rounding, ValueId } from '../program.js';
import type { Frame, View } from './frame.js';
import { COMPARISON_NAMES, combine, definePredicates } from './integer.js';
import type { ScalarType } from './types.js';

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

/** Variants that are not described: stochastic rounding, results beside an out-of-bounds NaN, scaled formats. */
const DECLINED: readonly string[] = ['oob', 'rs', 'scaled::n2::ue8m0'];

/** How the numbers of a type are read, and how many of them a value holds. */
interface Numbers {
  readonly format: FloatFormat;
  readonly lanes: number;
}

const FORMATS: Readonly<Record<string, Numbers>> = {
  f16: { format: 'ieee', lanes: 1 },
  f32: { format: 'ieee', lanes: 1 },
  f64: { format: 'ieee', lanes: 1 },
  f16x2: { format: 'ieee', lanes: 2 },
  f32x2: { format: 'ieee', lanes: 2 },
  bf16: { format: 'bf16', lanes: 1 },
  bf16x2: { format: 'bf16', lanes: 2 },
  tf32: { format: 'tf32', lanes: 1 },
  ...Object.fromEntries(
    (['e4m3', 'e5m2', 'ue8m0'] as const).map((format) => [`${format}x2`, { format, lanes: 2 }] as const),
  ),
};

function numbersOf(type: ScalarType | undefined): Numbers | undefined {
  return type && (Object.hasOwn(FORMATS, type.name) ? FORMATS[type.name] : undefined);
}

/** What a mode says of its type; nothing for plain singles, doubles and halves. */
function formatMode({ format, lanes }: Numbers): FloatMode {
  return { ...(format !== 'ieee' && { format }), ...(lanes > 1 && { lanes }) };
}

/** Lowers a floating-point form into the frame; false when this variant is not described here. */
export function lowerFloat(frame: Frame, view: View, form: string): boolean {
  const { node, m } = view;
  if (DECLINED.some((modifier) => m.has.has(modifier))) return false;
  if (form === 'cvt') return convert(frame, view);
  if (form === 'setp') return comparePredicates(frame, view);
  if (form === 'set') return compareValue(frame, view);
  if (form === 'testp') return testNumber(frame, view);
  if (form === 'copysign') return copySign(frame, view);
  const row = Object.hasOwn(OPERATIONS, form) ? OPERATIONS[form] : undefined;
  const type = m.types[0];
  const numbers = numbersOf(type);
  if (!row || !type || !numbers || node.operands.length !== row[1] + 1) return false;
  const minimum = form === 'min' || form === 'max';
  const mode: FloatMode = {
    ...modeOf(view),
    ...formatMode(numbers),
    ...(m.has.has('relu') && { clampNegative: true }),
    ...(minimum && m.has.has('NaN') && { propagateNaN: true }),
    ...(minimum && m.has.has('abs') && { magnitude: true }),
    ...(minimum && m.has.has('xorsign') && { xorSign: true }),
  };
  // Mixed precision: the second type is that of the operands but the last (PTX ISA 9.7.5).
  const narrow = m.types[1];
  if (m.types.length > 2 || (narrow && (type.name !== 'f32' || !['f16', 'bf16'].includes(narrow.name)))) return false;
  const args = Array.from({ length: row[1] }, (_, index) => {
    const operand = node.operands[index + 1];
    if (!narrow || (index === row[1] - 1 && index > 0)) return frame.use(view, operand, type.width);
    const operandFormat = numbersOf(narrow)!.format;
    return frame.builder.value('floatConvert', 32, [frame.use(view, operand, 16)], {
      mode: { operandWidth: 16, ...(operandFormat !== 'ieee' && { operandFormat }) },
    });
  });
  frame.define(view, node.operands[0], frame.builder.value(row[0], type.width, args, { mode }));
  return true;
}

/** The comparison of the first two operands; undefined when it is not one of floats. */
function comparison(frame: Frame, view: View, type: ScalarType | undefined, part?: number): ValueId | undefined {
  const { builder } = frame;
  const { node } = view;
  const numbers = numbersOf(type);
  const relation = node.mnemonic.modifiers.find((modifier) => COMPARISON_NAMES.has(modifier));
  if (!type || !numbers || !relation) return undefined;
  const width = type.width / numbers.lanes;
  const args = [1, 2].map((index) => {
    const whole = frame.use(view, node.operands[index], type.width);
    if (part === undefined) return whole;
    const shifted = builder.value('shiftRightLogical', type.width, [whole, builder.constant(32, part * width)]);
    return builder.value('truncate', width, [shifted]);
  });
  const { format } = numbers;
  const { flushSubnormals } = modeOf(view);
  const mode: FloatMode = {
    ...(flushSubnormals && { flushSubnormals }),
    relation,
    operandWidth: width,
    ...(format !== 'ieee' && { format }),
  };
  return builder.value('floatCompare', 1, args, { mode });
}

function comparePredicates(frame: Frame, view: View): boolean {
  const type = view.m.types[0];
  const numbers = numbersOf(type);
  const destination = view.node.operands[0];
  if (numbers?.lanes === 2) {
    // Two results, one of each half (PTX ISA 9.7.7.2).
    if (destination?.kind !== 'pair') return false;
    for (const [part, operand] of [destination.first, destination.second].entries()) {
      const result = comparison(frame, view, type, part)!;
      frame.define(view, operand, combine(frame, view, result, view.node.operands[3]));
    }
    return true;
  }
  const result = comparison(frame, view, type);
  if (result === undefined) return false;
  definePredicates(frame, view, result);
  return true;
}

/** `set` of floats: all ones, or 1.0 where the result is a float. */
function compareValue(frame: Frame, view: View): boolean {
  const { builder } = frame;
  const [to, from] = view.m.types;
  const numbers = numbersOf(from);
  const truth = !numbers || numbers.lanes > 1 ? undefined : comparison(frame, view, from);
  if (truth === undefined || !to) return false;
  const result = combine(frame, view, truth, view.node.operands[3]);
  const ones: Readonly<Record<string, bigint>> = { f32: 0x3f800000n, f16: 0x3c00n, bf16: 0x3f80n };
  const one = ones[to.name];
  if (one === undefined && (to.as === 'float' || to.as === 'packed')) return false;
  const value =
    one === undefined
      ? builder.value('signExtend', to.width, [result])
      : builder.value('select', to.width, [result, builder.constant(to.width, one), builder.constant(to.width, 0)]);
  frame.define(view, view.node.operands[0], value);
  return true;
}

/** testp: kinds of numbers are ranges of the bits without their sign (PTX ISA 9.7.3.1). */
function testNumber(frame: Frame, view: View): boolean {
  const { builder } = frame;
  const type = view.m.types[0];
  if (type?.name !== 'f32' && type?.name !== 'f64') return false;
  const { width } = type;
  const [infinity, smallest] = width === 32 ? [0x7f800000n, 0x00800000n] : [0x7ff0000000000000n, 0x0010000000000000n];
  const ranges: Readonly<Record<string, readonly [bigint, bigint]>> = {
    finite: [0n, infinity - 1n],
    infinite: [infinity, infinity],
    number: [0n, infinity],
    notanumber: [infinity + 1n, 2n ** BigInt(width - 1) - 1n],
    normal: [smallest, infinity - 1n],
    subnormal: [1n, smallest - 1n],
  };
  const name = view.node.mnemonic.modifiers.find((modifier) => Object.hasOwn(ranges, modifier));
  if (!name) return false;
  const [from, to] = ranges[name]!;
  const bits = builder.value('and', width, [
    frame.use(view, view.node.operands[1], width),
    builder.constant(width, 2n ** BigInt(width - 1) - 1n),
  ]);
  const least = builder.value('lessEqualUnsigned', 1, [builder.constant(width, from), bits]);
  const most = builder.value('lessEqualUnsigned', 1, [bits, builder.constant(width, to)]);
  frame.define(view, view.node.operands[0], builder.value('and', 1, [least, most]));
  return true;
}

/** copysign: the second operand with the first one's sign (PTX ISA 9.7.3.2). */
function copySign(frame: Frame, view: View): boolean {
  const { builder } = frame;
  const type = view.m.types[0];
  if (type?.as !== 'float') return false;
  const { width } = type;
  const sign = 2n ** BigInt(width - 1);
  const part = (index: number, mask: bigint) =>
    builder.value('and', width, [frame.use(view, view.node.operands[index], width), builder.constant(width, mask)]);
  frame.define(view, view.node.operands[0], builder.value('or', width, [part(1, sign), part(2, sign - 1n)]));
  return true;
}

function convert(frame: Frame, view: View): boolean {
  const { builder } = frame;
  const { node, m } = view;
  const [to, from] = m.types;
  if (!to || !from || m.types.length !== 2) return false;
  const whole = (type: ScalarType) => type.as === 'signed' || type.as === 'unsigned';
  const [target, source] = [numbersOf(to), numbersOf(from)];
  if ((!target && !whole(to)) || (!source && !whole(from)) || (!target && !source)) return false;
  const away = m.has.has('rna') && { rounding: 'nearestAway' as const };
  const mode: FloatMode = {
    ...modeOf(view),
    ...away,
    ...(m.has.has('relu') && { clampNegative: true }),
    ...(m.has.has('satfinite') && { saturateFinite: true }),
  };
  if ((target?.lanes ?? 1) > 1 || (source?.lanes ?? 1) > 1) return convertPair(frame, view, to, from, mode);
  if (node.operands.length !== 2) return false;
  const format = target?.format ?? source?.format ?? 'ieee';
  const operandFormat = source?.format ?? 'ieee';
  const own = target && source ? target.format : format;
  const full: FloatMode = {
    ...mode,
    operandWidth: from.width,
    ...(own !== 'ieee' && { format: own }),
    ...(target && source && operandFormat !== 'ieee' && { operandFormat }),
  };
  const op: FloatOperation =
    source === undefined
      ? from.as === 'signed'
        ? 'floatFromSigned'
        : 'floatFromUnsigned'
      : target
        ? 'floatConvert'
        : to.as === 'signed'
          ? 'floatToSigned'
          : 'floatToUnsigned';
  const value = frame.use(view, node.operands[1], from.width, from.as === 'signed');
  frame.define(view, node.operands[0], builder.value(op, to.width, [value], { mode: full }), to.as === 'signed');
  return true;
}

/** Two numbers at once: `d = {b, a}` of two singles, or a pair of another format (PTX ISA 9.7.9.21). */
function convertPair(frame: Frame, view: View, to: ScalarType, from: ScalarType, mode: FloatMode): boolean {
  const { builder } = frame;
  const { operands } = view.node;
  const [target, source] = [numbersOf(to), numbersOf(from)];
  if (!target || !source || target.lanes !== 2) return false;
  const one = (value: ValueId, width: number): ValueId =>
    builder.value('floatConvert', to.width / 2, [value], {
      mode: {
        ...mode,
        operandWidth: width,
        ...(target.format !== 'ieee' && { format: target.format }),
        ...(source.format !== 'ieee' && { operandFormat: source.format }),
      },
    });
  let low: ValueId;
  let high: ValueId;
  if (source.lanes === 1) {
    if (operands.length !== 3) return false;
    high = one(frame.use(view, operands[1], from.width), from.width);
    low = one(frame.use(view, operands[2], from.width), from.width);
  } else {
    if (operands.length !== 2) return false;
    const pair = frame.use(view, operands[1], from.width);
    const half = from.width / 2;
    const shifted = builder.value('shiftRightLogical', from.width, [pair, builder.constant(32, half)]);
    low = one(builder.value('truncate', half, [pair]), half);
    high = one(builder.value('truncate', half, [shifted]), half);
  }
  frame.define(view, operands[0], builder.value('concat', to.width, [low, high]));
  return true;
}
