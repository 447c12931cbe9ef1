/**
 * Integer arithmetic, logic, shifts, comparisons, selections and moves, by instruction form (PTX ISA 9.7.1, 9.7.2, 9.7.6,
 * 9.7.8, 9.7.9). A variant that is not described exactly (saturation, packed types, rare modes) is declined, and its
 * results become opaque: never a guess.
 */
import type { Operand } from '../../ptx/index.js';
import type { ProgramBuilder } from '../builder.js';
import type { IntegerOperation, ValueId } from '../program.js';
import type { Frame, View } from './frame.js';
import type { ScalarType } from './types.js';

/** Lowers one form; false when this variant is not described here. */
type Handler = (frame: Frame, view: View, type: ScalarType) => boolean;

function isInteger(type: ScalarType | undefined): type is ScalarType {
  return type !== undefined && (type.as === 'bits' || type.as === 'unsigned' || type.as === 'signed');
}

function isIntegerOrPredicate(type: ScalarType): boolean {
  return type.as === 'predicate' || isInteger(type);
}

/** `d = op(a, b, …)` on operands of the instruction's type; the operation may depend on signedness. */
function plain(
  signed: IntegerOperation,
  unsigned: IntegerOperation,
  operands: number,
  rejects: readonly string[] = ['sat', 'relu'],
): Handler {
  return (frame, view, type) => {
    if (!isIntegerOrPredicate(type) || rejects.some((modifier) => view.m.has.has(modifier))) return false;
    const isSigned = type.as === 'signed';
    const args: ValueId[] = [];
    for (let i = 1; i <= operands; i++) args.push(frame.use(view, view.node.operands[i], type.width, isSigned));
    const value = frame.builder.value(isSigned ? signed : unsigned, type.width, args);
    frame.define(view, view.node.operands[0], value, isSigned);
    return true;
  };
}

/** Product as `.lo`, `.hi` or `.wide` says; of `.wide` twice as wide. */
function product(frame: Frame, view: View, type: ScalarType): ValueId | undefined {
  const { builder } = frame;
  const { has } = view.m;
  const signed = type.as === 'signed';
  const a = frame.use(view, view.node.operands[1], type.width, signed);
  const b = frame.use(view, view.node.operands[2], type.width, signed);
  if (has.has('wide')) {
    const width = type.width * 2;
    const extend = signed ? 'signExtend' : 'zeroExtend';
    return builder.value('mul', width, [builder.value(extend, width, [a]), builder.value(extend, width, [b])]);
  }
  if (has.has('hi')) return builder.value(signed ? 'mulHighSigned' : 'mulHighUnsigned', type.width, [a, b]);
  // PTX 1.x and compilers write `mul.lo`; without any, only floats are legal.
  return has.has('lo') ? builder.value('mul', type.width, [a, b]) : undefined;
}

function multiply(add: boolean): Handler {
  return (frame, view, type) => {
    if (!isInteger(type) || view.m.has.has('sat')) return false;
    let value = product(frame, view, type);
    if (value === undefined) return false;
    const width = frame.builder.width(value);
    if (add)
      value = frame.builder.value('add', width, [
        value,
        frame.use(view, view.node.operands[3], width, type.as === 'signed'),
      ]);
    frame.define(view, view.node.operands[0], value, type.as === 'signed');
    return true;
  };
}

/** 24-bit multiplication (PTX ISA 9.7.1.5): operands' lower 24 bits, lower 32 or bits 16…47 of the product. */
function multiply24(add: boolean): Handler {
  return (frame, view, type) => {
    const { builder } = frame;
    if (view.m.has.has('sat')) return false;
    const signed = type.as === 'signed';
    const cut = (operand: Operand | undefined) => {
      const low = builder.value('and', 32, [frame.use(view, operand, 32), builder.constant(32, 0xffffff)]);
      if (!signed) return builder.value('zeroExtend', 64, [low]);
      const eight = builder.constant(32, 8);
      const shifted = builder.value('shiftLeft', 32, [low, eight]);
      return builder.value('signExtend', 64, [builder.value('shiftRightArithmetic', 32, [shifted, eight])]);
    };
    const wide = builder.value('mul', 64, [cut(view.node.operands[1]), cut(view.node.operands[2])]);
    const shift = view.m.has.has('hi') ? 16 : 0;
    let value = builder.value('truncate', 32, [
      builder.value('shiftRightLogical', 64, [wide, builder.constant(32, shift)]),
    ]);
    if (add) value = builder.value('add', 32, [value, frame.use(view, view.node.operands[3], 32)]);
    frame.define(view, view.node.operands[0], value);
    return true;
  };
}

/** add.cc, addc, sub.cc, subc: with carry in and out (PTX ISA 9.7.2). Subtraction adds the complement. */
function extended(subtract: boolean, carryIn: boolean): Handler {
  return (frame, view, type) => {
    const { builder } = frame;
    const { width } = type;
    const a = frame.use(view, view.node.operands[1], width);
    let b = frame.use(view, view.node.operands[2], width);
    if (subtract) b = builder.value('not', width, [b]);
    const carry = carryIn ? frame.readCarry(subtract) : builder.constant(1, subtract ? 1 : 0);
    const sum = builder.value('add', width, [builder.value('add', width, [a, b]), frame.fit(carry, width, false)]);
    if (!carryIn || view.m.has.has('cc')) {
      frame.writeCarry(view, subtract, builder.value('carry', 1, [a, b, carry]));
    }
    frame.define(view, view.node.operands[0], sum);
    return true;
  };
}

/** mad.cc, madc: product plus addend with carry. */
function extendedMultiply(carryIn: boolean): Handler {
  return (frame, view, type) => {
    const { builder } = frame;
    const { width } = type;
    const value = product(frame, view, type);
    if (value === undefined) return false;
    const addend = frame.use(view, view.node.operands[3], width);
    const carry = carryIn ? frame.readCarry(false) : builder.constant(1, 0);
    const sum = builder.value('add', width, [
      builder.value('add', width, [value, addend]),
      frame.fit(carry, width, false),
    ]);
    if (!carryIn || view.m.has.has('cc')) {
      frame.writeCarry(view, false, builder.value('carry', 1, [value, addend, carry]));
    }
    frame.define(view, view.node.operands[0], sum);
    return true;
  };
}

/** An integer comparison by its name; undefined for names that only floats have. */
export function compare(
  builder: ProgramBuilder,
  name: string,
  signed: boolean,
  a: ValueId,
  b: ValueId,
): ValueId | undefined {
  const less = signed ? 'lessSigned' : 'lessUnsigned';
  const lessEqual = signed ? 'lessEqualSigned' : 'lessEqualUnsigned';
  switch (name) {
    case 'eq':
      return builder.value('equal', 1, [a, b]);
    case 'ne':
      return builder.value('notEqual', 1, [a, b]);
    case 'lt':
      return builder.value(less, 1, [a, b]);
    case 'le':
      return builder.value(lessEqual, 1, [a, b]);
    case 'gt':
      return builder.value(less, 1, [b, a]);
    case 'ge':
      return builder.value(lessEqual, 1, [b, a]);
    case 'lo':
      return builder.value('lessUnsigned', 1, [a, b]);
    case 'ls':
      return builder.value('lessEqualUnsigned', 1, [a, b]);
    case 'hi':
      return builder.value('lessUnsigned', 1, [b, a]);
    case 'hs':
      return builder.value('lessEqualUnsigned', 1, [b, a]);
    default:
      return undefined;
  }
}

export const COMPARISON_NAMES: ReadonlySet<string> = new Set(
  'eq ne lt le gt ge lo ls hi hs equ neu ltu leu gtu geu num nan'.split(' '),
);

/** Combines a comparison with the third operand: `.and`, `.or`, `.xor` (PTX ISA 9.7.6.2). */
export function combine(frame: Frame, view: View, value: ValueId, operand: Operand | undefined): ValueId {
  const op = (['and', 'or', 'xor'] as const).find((name) => view.m.has.has(name));
  if (!op || !operand) return value;
  return frame.builder.value(op, 1, [value, frame.use(view, operand, 1)]);
}

/** Writes `p` and, for `p|q`, `q`: the comparison and its complement, each combined. */
export function definePredicates(frame: Frame, view: View, result: ValueId): void {
  const destination = view.node.operands[0];
  const third = view.node.operands[3];
  if (destination?.kind === 'pair') {
    frame.define(view, destination.first, combine(frame, view, result, third));
    frame.define(view, destination.second, combine(frame, view, frame.builder.value('not', 1, [result]), third));
  } else frame.define(view, destination, combine(frame, view, result, third));
}

const setp: Handler = (frame, view) => {
  const type = view.m.types[0];
  const name = view.node.mnemonic.modifiers.find((modifier) => COMPARISON_NAMES.has(modifier));
  if (!isInteger(type) || !name) return false;
  const signed = type.as === 'signed';
  const a = frame.use(view, view.node.operands[1], type.width, signed);
  const b = frame.use(view, view.node.operands[2], type.width, signed);
  const result = compare(frame.builder, name, signed, a, b);
  if (result === undefined) return false;
  definePredicates(frame, view, result);
  return true;
};

/** `set.cmp.dtype.stype`: all ones (integer) when true; a float result is 1.0. */
const set: Handler = (frame, view) => {
  const [destination, type] = view.m.types;
  const name = view.node.mnemonic.modifiers.find((modifier) => COMPARISON_NAMES.has(modifier));
  if (!isInteger(destination) || !isInteger(type) || !name) return false;
  const signed = type.as === 'signed';
  const a = frame.use(view, view.node.operands[1], type.width, signed);
  const b = frame.use(view, view.node.operands[2], type.width, signed);
  const result = compare(frame.builder, name, signed, a, b);
  if (result === undefined) return false;
  const truth = combine(frame, view, result, view.node.operands[3]);
  frame.define(view, view.node.operands[0], frame.builder.value('signExtend', destination.width, [truth]));
  return true;
};

const selp: Handler = (frame, view, type) => {
  const [, a, b, c] = view.node.operands;
  const condition = frame.use(view, c, 1);
  const args = [condition, frame.use(view, a, type.width), frame.use(view, b, type.width)];
  frame.define(view, view.node.operands[0], frame.builder.value('select', type.width, args), type.as === 'signed');
  return true;
};

/** `slct.dtype.s32 d, a, b, c`: a when c ≥ 0. */
const slct: Handler = (frame, view) => {
  const [type, selector] = view.m.types;
  if (!type || selector?.name !== 's32') return false;
  const { builder } = frame;
  const negative = builder.value('lessSigned', 1, [
    frame.use(view, view.node.operands[3], 32),
    builder.constant(32, 0),
  ]);
  const a = frame.use(view, view.node.operands[1], type.width);
  const b = frame.use(view, view.node.operands[2], type.width);
  frame.define(view, view.node.operands[0], builder.value('select', type.width, [negative, b, a]));
  return true;
};

/** Moves bits: registers, addresses, and the packing and unpacking of vectors (PTX ISA 9.7.9.3, 9.7.9.4). */
const mov: Handler = (frame, view, type) => {
  const [destination, source] = view.node.operands;
  frame.define(view, destination, frame.use(view, source, type.width));
  return true;
};

/** Integer conversions (PTX ISA 9.7.9.21): chop or extend by the source's sign, then fill the register by the result's. */
const cvt: Handler = (frame, view) => {
  const [to, from] = view.m.types;
  if (!isInteger(to) || !isInteger(from)) return false;
  let source = frame.use(view, view.node.operands[1], from.width);
  if (view.m.has.has('sat')) source = saturated(frame.builder, source, from, to);
  const value = frame.fit(source, to.width, from.as === 'signed');
  frame.define(view, view.node.operands[0], value, to.as === 'signed');
  return true;
};

/** A number clamped to what another type holds (PTX ISA 9.7.9.21, `.sat`). */
function saturated(builder: ProgramBuilder, source: ValueId, from: ScalarType, to: ScalarType): ValueId {
  const { width } = from;
  const signed = from.as === 'signed';
  const most = 2n ** BigInt(to.as === 'signed' ? to.width - 1 : to.width) - 1n;
  const least = to.as === 'signed' ? -most - 1n : 0n;
  let value = source;
  const ownLeast = signed ? -(2n ** BigInt(width - 1)) : 0n;
  const ownMost = 2n ** BigInt(signed ? width - 1 : width) - 1n;
  if (least > ownLeast) {
    value = builder.value(signed ? 'maxSigned' : 'maxUnsigned', width, [value, builder.constant(width, least)]);
  }
  if (most < ownMost) {
    value = builder.value(signed ? 'minSigned' : 'minUnsigned', width, [value, builder.constant(width, most)]);
  }
  return value;
}

/** A mask of so many ones from a position on (PTX ISA 9.7.1.22). */
const bmsk: Handler = (frame, view) => {
  const { builder } = frame;
  const wrap = view.m.has.has('wrap');
  const [position, length] = [1, 2].map((index) =>
    builder.value(wrap ? 'and' : 'minUnsigned', 32, [
      frame.use(view, view.node.operands[index], 32),
      builder.constant(32, wrap ? 31 : 32),
    ]),
  ) as [ValueId, ValueId];
  const args = [builder.constant(32, -1), builder.constant(32, 0), position, length];
  frame.define(view, view.node.operands[0], builder.value('insertBits', 32, args));
  return true;
};

/** Products of four bytes, or two half-words with two bytes, added up (PTX ISA 9.7.1.23, 9.7.1.24). */
const dotProduct =
  (parts: 2 | 4): Handler =>
  (frame, view) => {
    const { builder } = frame;
    const [first, second] = view.m.types;
    if (!first || !second) return false;
    const [a, b, c] = [1, 2, 3].map((index) => frame.use(view, view.node.operands[index], 32));
    const field = (value: ValueId, type: ScalarType, at: number, bits: number) =>
      builder.value(type.as === 'signed' ? 'extractBitsSigned' : 'extractBitsUnsigned', 32, [
        value,
        builder.constant(32, at),
        builder.constant(32, bits),
      ]);
    const upper = parts === 2 && view.m.has.has('hi') ? 16 : 0;
    let sum = c!;
    for (let part = 0; part < parts; part++) {
      const left = field(a!, first, part * (32 / parts), 32 / parts);
      const right = field(b!, second, upper + part * 8, 8);
      sum = builder.value('add', 32, [sum, builder.value('mul', 32, [left, right])]);
    }
    frame.define(view, view.node.operands[0], sum);
    return true;
  };

const shift =
  (left: boolean): Handler =>
  (frame, view, type) => {
    const amount = frame.use(view, view.node.operands[2], 32);
    const value = frame.use(view, view.node.operands[1], type.width, type.as === 'signed');
    const op = left ? 'shiftLeft' : type.as === 'signed' ? 'shiftRightArithmetic' : 'shiftRightLogical';
    frame.define(
      view,
      view.node.operands[0],
      frame.builder.value(op, type.width, [value, amount]),
      type.as === 'signed',
    );
    return true;
  };

/** Funnel shift: `.wrap` takes the amount modulo 32; `.clamp` is the same below 32, and all of it from there on. */
const shf: Handler = (frame, view) => {
  const { builder } = frame;
  const amount = frame.use(view, view.node.operands[3], 32);
  const low = frame.use(view, view.node.operands[1], 32);
  const high = frame.use(view, view.node.operands[2], 32);
  const bits = builder.constantBits(amount);
  if (!view.m.has.has('wrap') && (bits === undefined || bits > 31n)) {
    const clamped = builder.value('minUnsigned', 32, [amount, builder.constant(32, 32)]);
    const both = builder.value('concat', 64, [low, high]);
    const left = view.m.has.has('l');
    const shifted = builder.value(left ? 'shiftLeft' : 'shiftRightLogical', 64, [both, clamped]);
    const word = left ? builder.value('shiftRightLogical', 64, [shifted, builder.constant(32, 32)]) : shifted;
    frame.define(view, view.node.operands[0], builder.value('truncate', 32, [word]));
    return true;
  }
  const op = view.m.has.has('l') ? 'funnelLeft' : 'funnelRight';
  frame.define(view, view.node.operands[0], builder.value(op, 32, [low, high, amount]));
  return true;
};

const bfe: Handler = (frame, view, type) => {
  const signed = type.as === 'signed';
  const [, a, b, c] = view.node.operands;
  const args = [frame.use(view, a, type.width, signed), frame.use(view, b, 32), frame.use(view, c, 32)];
  const value = frame.builder.value(signed ? 'extractBitsSigned' : 'extractBitsUnsigned', type.width, args);
  frame.define(view, view.node.operands[0], value, signed);
  return true;
};

const bfi: Handler = (frame, view, type) => {
  const [, a, b, c, d] = view.node.operands;
  const args = [
    frame.use(view, a, type.width),
    frame.use(view, b, type.width),
    frame.use(view, c, 32),
    frame.use(view, d, 32),
  ];
  frame.define(view, view.node.operands[0], frame.builder.value('insertBits', type.width, args));
  return true;
};

const prmt: Handler = (frame, view) => {
  if (['f4e', 'b4e', 'rc8', 'ecl', 'ecr', 'rc16'].some((mode) => view.m.has.has(mode))) return false;
  const args = [1, 2, 3].map((index) => frame.use(view, view.node.operands[index], 32));
  frame.define(view, view.node.operands[0], frame.builder.value('permuteBytes', 32, args));
  return true;
};

const lop3: Handler = (frame, view) => {
  if (view.node.operands.length !== 5) return false;
  const args = [1, 2, 3, 4].map((index) => frame.use(view, view.node.operands[index], 32));
  frame.define(view, view.node.operands[0], frame.builder.value('logic3', 32, args));
  return true;
};

/** `|a|`, of the most negative number itself (PTX ISA 9.7.1.10). */
const abs: Handler = (frame, view, type) => {
  if (!isInteger(type)) return false;
  const { builder } = frame;
  const a = frame.use(view, view.node.operands[1], type.width, true);
  const zero = builder.constant(type.width, 0);
  const negative = builder.value('lessSigned', 1, [a, zero]);
  const minus = builder.value('sub', type.width, [zero, a]);
  frame.define(view, view.node.operands[0], builder.value('select', type.width, [negative, minus, a]), true);
  return true;
};

const neg: Handler = (frame, view, type) => {
  if (!isInteger(type)) return false;
  const a = frame.use(view, view.node.operands[1], type.width, true);
  frame.define(
    view,
    view.node.operands[0],
    frame.builder.value('sub', type.width, [frame.builder.constant(type.width, 0), a]),
    true,
  );
  return true;
};

/** `c + |a - b|`. */
const sad: Handler = (frame, view, type) => {
  if (!isInteger(type)) return false;
  const { builder } = frame;
  const signed = type.as === 'signed';
  const [a, b, c] = [1, 2, 3].map((index) => frame.use(view, view.node.operands[index], type.width, signed)) as [
    ValueId,
    ValueId,
    ValueId,
  ];
  const high = builder.value(signed ? 'maxSigned' : 'maxUnsigned', type.width, [a, b]);
  const low = builder.value(signed ? 'minSigned' : 'minUnsigned', type.width, [a, b]);
  const sum = builder.value('add', type.width, [builder.value('sub', type.width, [high, low]), c]);
  frame.define(view, view.node.operands[0], sum, signed);
  return true;
};

/** Counts with a 32-bit result. */
const count =
  (op: 'popCount' | 'leadingZeros'): Handler =>
  (frame, view, type) => {
    const a = frame.use(view, view.node.operands[1], type.width);
    frame.define(view, view.node.operands[0], frame.builder.value(op, 32, [a]));
    return true;
  };

/** Position of the highest bit that differs from the sign; all ones when there is none (PTX ISA 9.7.1.16). */
const bfind: Handler = (frame, view, type) => {
  const { builder } = frame;
  const { width } = type;
  let a = frame.use(view, view.node.operands[1], width, type.as === 'signed');
  if (type.as === 'signed') {
    const sign = builder.value('shiftRightArithmetic', width, [a, builder.constant(32, width - 1)]);
    a = builder.value('xor', width, [a, sign]);
  }
  const zeros = builder.value('leadingZeros', 32, [a]);
  const none = builder.value('equal', 1, [zeros, builder.constant(32, width)]);
  const found = view.m.has.has('shiftamt') ? zeros : builder.value('sub', 32, [builder.constant(32, width - 1), zeros]);
  frame.define(view, view.node.operands[0], builder.value('select', 32, [none, builder.constant(32, -1), found]));
  return true;
};

const cnot: Handler = (frame, view, type) => {
  const { builder } = frame;
  const a = frame.use(view, view.node.operands[1], type.width);
  const zero = builder.value('equal', 1, [a, builder.constant(type.width, 0)]);
  frame.define(view, view.node.operands[0], builder.value('zeroExtend', type.width, [zero]));
  return true;
};

const HANDLERS: Readonly<Record<string, Handler>> = {
  add: plain('add', 'add', 2),
  sub: plain('sub', 'sub', 2),
  mul: multiply(false),
  mad: multiply(true),
  mul24: multiply24(false),
  mad24: multiply24(true),
  div: plain('divSigned', 'divUnsigned', 2),
  rem: plain('remSigned', 'remUnsigned', 2),
  min: plain('minSigned', 'minUnsigned', 2),
  max: plain('maxSigned', 'maxUnsigned', 2),
  and: plain('and', 'and', 2),
  or: plain('or', 'or', 2),
  xor: plain('xor', 'xor', 2),
  not: plain('not', 'not', 1),
  brev: plain('bitReverse', 'bitReverse', 1),
  shl: shift(true),
  shr: shift(false),
  'add.cc': extended(false, false),
  addc: extended(false, true),
  'sub.cc': extended(true, false),
  subc: extended(true, true),
  'mad.cc': extendedMultiply(false),
  madc: extendedMultiply(true),
  popc: count('popCount'),
  clz: count('leadingZeros'),
  bfind,
  cnot,
  abs,
  neg,
  sad,
  bmsk,
  dp4a: dotProduct(4),
  dp2a: dotProduct(2),
  bfe,
  bfi,
  prmt,
  lop3,
  shf,
  setp,
  set,
  selp,
  slct,
  mov,
  cvt,
};

/** Lowers an integer form into the frame; false when the form or this variant of it is not described here. */
export function lowerInteger(frame: Frame, view: View, form: string): boolean {
  const handler = Object.hasOwn(HANDLERS, form) ? HANDLERS[form] : undefined;
  const type = view.m.types[0];
  return handler !== undefined && type !== undefined && handler(frame, view, type);
}
