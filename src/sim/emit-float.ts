/**
 * Floating-point operations as JavaScript. Singles and doubles are computed as numbers: a double's operation rounded to a
 * single is the single's operation (2p + 2 bits suffice for +, -, *, / and square root; `fma` checks for the one case in
 * which they do not). Halves and bf16 go by functions on bits. Everything else goes through `evaluateFloat`.
 */
import type { FloatMode, FloatOperation, ValueId } from '../ir/form.js';
import { assignBig, type Names } from './names.js';

const RELATIONS: Readonly<Record<string, (a: string, b: string) => string>> = {
  eq: (a, b) => `${a}===${b}`,
  ne: (a, b) => `${a}<${b}||${a}>${b}`,
  lt: (a, b) => `${a}<${b}`,
  le: (a, b) => `${a}<=${b}`,
  gt: (a, b) => `${a}>${b}`,
  ge: (a, b) => `${a}>=${b}`,
  equ: (a, b) => `!(${a}<${b}||${a}>${b})`,
  neu: (a, b) => `${a}!==${b}`,
  ltu: (a, b) => `!(${a}>=${b})`,
  leu: (a, b) => `!(${a}>${b})`,
  gtu: (a, b) => `!(${a}<=${b})`,
  geu: (a, b) => `!(${a}<${b})`,
  num: (a, b) => `${a}===${a}&&${b}===${b}`,
  nan: (a, b) => `${a}!==${a}||${b}!==${b}`,
};

/** Operations on numbers, before rounding to the format. */
const ARITHMETIC: Readonly<
  Partial<Record<FloatOperation, (a: string, b: string, c: string, single: boolean) => string>>
> = {
  floatAdd: (a, b) => `${a}+${b}`,
  floatSub: (a, b) => `${a}-${b}`,
  floatMul: (a, b) => `${a}*${b}`,
  floatFma: (a, b, c, single) => (single ? `X.fma(${a},${b},${c})` : ''),
  floatDiv: (a, b) => `${a}/${b}`,
  floatSquareRoot: (a) => `Math.sqrt(${a})`,
  floatReciprocal: (a) => `1/${a}`,
  floatMin: (a, b) => `X.min(${a},${b})`,
  floatMax: (a, b) => `X.max(${a},${b})`,
  floatAbs: (a) => `Math.abs(${a})`,
  floatNegate: (a) => `-${a}`,
  floatReciprocalSquareRoot: (a) => `1/Math.sqrt(${a})`,
  floatSine: (a) => `Math.sin(${a})`,
  floatCosine: (a) => `Math.cos(${a})`,
  floatLog2: (a) => `Math.log2(${a})`,
  floatExp2: (a) => `2**${a}`,
  floatTanh: (a) => `Math.tanh(${a})`,
};

const INTEGRAL: Readonly<Partial<Record<string, string>>> = {
  zero: 'Math.trunc',
  down: 'Math.floor',
  up: 'Math.ceil',
  nearestEven: 'X.nearest',
};

/** What an operation needs of its operands and gives: numbers (`float`) or bits. */
export interface FloatPlan {
  readonly operands: 'float' | 'bits';
  readonly result: 'float' | 'bits';
  /** The expression of the result. */
  readonly expression: (n: Names, id: ValueId) => string;
}

function isPlain(mode: FloatMode): boolean {
  const { format, lanes, clampNegative, saturateFinite, propagateNaN, magnitude, xorSign } = mode;
  return (
    (format ?? 'ieee') === 'ieee' &&
    (lanes ?? 1) === 1 &&
    !(clampNegative || saturateFinite || propagateNaN || magnitude || xorSign)
  );
}

function planArithmetic(op: FloatOperation, width: number, mode: FloatMode): FloatPlan | undefined {
  const compute = ARITHMETIC[op];
  const nearest = (mode.rounding ?? 'nearestEven') === 'nearestEven';
  const single = width === 32;
  if (!compute || !isPlain(mode) || !nearest || mode.integral || (width !== 32 && width !== 64)) return undefined;
  if (op === 'floatFma' && !single) return undefined;
  const flush = mode.flushSubnormals === true;
  return {
    operands: 'float',
    result: 'float',
    expression: (n, id) => {
      const [a, b, c] = n.value(id).args.map((arg) => (flush ? `X.flush(${n.float(arg)})` : n.float(arg)));
      let text = compute(a ?? '', b ?? '', c ?? '', single);
      if (single) text = `Math.fround(${text})`;
      if (flush) text = `X.flush(${text})`;
      return mode.saturate ? `X.saturate(${text})` : text;
    },
  };
}

function planHalf(op: FloatOperation, width: number, mode: FloatMode): FloatPlan | undefined {
  const lanes = mode.lanes ?? 1;
  const format = mode.format ?? 'ieee';
  const known = ['floatAdd', 'floatSub', 'floatMul', 'floatFma'].includes(op);
  const { flushSubnormals, saturate, clampNegative, rounding } = mode;
  if (!known || flushSubnormals || saturate || clampNegative || (rounding ?? 'nearestEven') !== 'nearestEven') {
    return undefined;
  }
  if (width / lanes !== 16 || (format !== 'ieee' && format !== 'bf16')) return undefined;
  const name = `X.${format === 'bf16' ? 'brain' : 'half'}${op.slice('float'.length)}`;
  return {
    operands: 'bits',
    result: 'bits',
    expression: (n, id) => {
      const args = n.value(id).args.map((arg) => n.word(arg));
      if (lanes === 1) return `${name}(${args.join()})`;
      const low = `${name}(${args.map((arg) => `${arg}&65535`).join()})`;
      return `${low}|${name}(${args.map((arg) => `${arg}>>>16`).join()})<<16`;
    },
  };
}

function planConversion(op: FloatOperation, width: number, from: number, mode: FloatMode): FloatPlan | undefined {
  const rounding = mode.rounding ?? 'nearestEven';
  const numbers = (bits: number) => bits === 32 || bits === 64;
  const finish = (text: string) => (mode.saturate ? `X.saturate(${text})` : text);
  const plain = isPlain(mode) && (mode.operandFormat ?? 'ieee') === 'ieee';
  if (op === 'floatCompare') {
    const relation = RELATIONS[mode.relation ?? ''];
    if (!relation || !plain || !numbers(from)) return undefined;
    return {
      operands: 'float',
      result: 'bits',
      expression: (n, id) => {
        const [a, b] = n
          .value(id)
          .args.map((arg) => (mode.flushSubnormals ? `X.flush(${n.float(arg)})` : n.float(arg)));
        return `(${relation(a!, b!)})?1:0`;
      },
    };
  }
  if (op === 'floatFromSigned' || op === 'floatFromUnsigned') {
    if (!plain || from > 32 || !numbers(width) || rounding !== 'nearestEven') return undefined;
    return {
      operands: 'bits',
      result: 'float',
      expression: (n, id) => {
        const arg = n.value(id).args[0]!;
        const text = op === 'floatFromSigned' ? n.signed(arg) : n.unsigned(arg);
        return finish(width === 32 ? `Math.fround(${text})` : `+${text}`);
      },
    };
  }
  if (op === 'floatToSigned' || op === 'floatToUnsigned') {
    const round = INTEGRAL[mode.rounding ?? 'zero'];
    if (!plain || !round || !numbers(from) || width > 32) return undefined;
    const signed = op === 'floatToSigned';
    const least = signed ? -(2 ** (width - 1)) : 0;
    const most = signed ? 2 ** (width - 1) - 1 : 2 ** width - 1;
    const invalid = from === 64 ? 2 ** (width - 1) : 0;
    const cut = width === 32 ? '|0' : `&${2 ** width - 1}`;
    return {
      operands: 'float',
      result: 'bits',
      expression: (n, id) => {
        const a = n.float(n.value(id).args[0]!);
        const value = mode.flushSubnormals ? `X.flush(${a})` : a;
        return `X.clamp(${round}(${value}),${least},${most},${invalid})${cut}`;
      },
    };
  }
  if (op !== 'floatConvert') return undefined;
  const { format, operandFormat, lanes, clampNegative, saturateFinite, saturate, flushSubnormals, integral } = mode;
  if ((lanes ?? 1) !== 1 || clampNegative || saturateFinite) return undefined;
  if (numbers(width) && numbers(from) && plain) {
    const round = integral ? INTEGRAL[rounding] : '';
    if (round === undefined || (!integral && width < from && rounding !== 'nearestEven')) return undefined;
    return {
      operands: 'float',
      result: 'float',
      expression: (n, id) => {
        const a = n.float(n.value(id).args[0]!);
        const value = flushSubnormals ? `X.flush(${a})` : a;
        return finish(width < from ? `Math.fround(${round}(${value}))` : `${round}(${value})`);
      },
    };
  }
  if (saturate || flushSubnormals || integral) return undefined;
  const target = format ?? 'ieee';
  const source = operandFormat ?? 'ieee';
  if (width === 16 && from === 32 && source === 'ieee' && rounding === 'nearestEven') {
    if (target !== 'ieee' && target !== 'bf16') return undefined;
    const name = target === 'bf16' ? 'X.toBrain' : 'X.toHalf';
    return { operands: 'float', result: 'bits', expression: (n, id) => `${name}(${n.float(n.value(id).args[0]!)})` };
  }
  if (from === 16 && width === 32 && target === 'ieee' && (source === 'ieee' || source === 'bf16')) {
    const name = source === 'bf16' ? 'X.fromBrain' : 'X.fromHalf';
    return { operands: 'bits', result: 'float', expression: (n, id) => `${name}(${n.word(n.value(id).args[0]!)})` };
  }
  return undefined;
}

/** How an operation is computed fast; undefined when the general definition has to. */
export function floatPlan(n: Names, id: ValueId): FloatPlan | undefined {
  const { op, width, mode = {}, args } = n.value(id);
  const from = n.width(args[0]!);
  const name = op as FloatOperation;
  return planArithmetic(name, width, mode) ?? planHalf(name, width, mode) ?? planConversion(name, width, from, mode);
}

/** A statement by way of the general definition. */
export function slowFloatStatement(n: Names, id: ValueId, index: number): string {
  const { width, args } = n.value(id);
  return assignBig(id, width, `X.float(${index},[${args.map((arg) => n.big(arg)).join()}])`);
}
