/**
 * How values are held in generated code. Up to 32 bits: one number, signed for 32, else not negative (`v7`). 64 bits: two
 * signed halves (`l7`, `h7`), which V8 keeps in registers where a bigint would be allocated. Wider: a bigint (`b7`). A
 * single or double that is computed with is held as a number beside or instead (`f7`). Names hold numbers only, never
 * text of the source.
 */
import type { KernelProgram, Value, ValueId } from '../ir/form.js';

export interface Names {
  readonly program: KernelProgram;
  value(id: ValueId): Value;
  width(id: ValueId): number;
  /** Signed 32-bit number, or a narrower one that is not negative. */
  word(id: ValueId): string;
  /** The same as a number that is not negative. */
  unsigned(id: ValueId): string;
  /** The same with the sign of its width. */
  signed(id: ValueId): string;
  low(id: ValueId): string;
  high(id: ValueId): string;
  /** The bits as a bigint. */
  big(id: ValueId): string;
  /** The number that a single or double is. */
  float(id: ValueId): string;
  /** The bits of a constant. */
  constant(id: ValueId): bigint | undefined;
}

export function makeNames(program: KernelProgram): Names {
  const value = (id: ValueId): Value => program.values[id]!;
  const width = (id: ValueId): number => value(id).width;
  const constant = (id: ValueId): bigint | undefined => {
    const { op, immediate } = value(id);
    return op === 'constant' ? immediate! : undefined;
  };
  const literal = (bits: bigint): string => {
    const number = Number(BigInt.asIntN(32, bits));
    return number < 0 ? `(${number})` : String(number);
  };
  const word = (id: ValueId): string => {
    const bits = constant(id);
    return bits === undefined ? `v${id}` : literal(bits);
  };
  const half = (id: ValueId, name: string, shift: bigint): string => {
    const bits = constant(id);
    return bits === undefined ? `${name}${id}` : literal(bits >> shift);
  };
  return {
    program,
    value,
    width,
    constant,
    word,
    unsigned: (id) => {
      const bits = constant(id);
      if (bits !== undefined) return String(bits);
      return width(id) < 32 ? word(id) : `(v${id}>>>0)`;
    },
    signed: (id) => {
      const bits = constant(id);
      if (bits !== undefined) return `(${BigInt.asIntN(width(id), bits)})`;
      return width(id) < 32 ? `(v${id}<<${32 - width(id)}>>${32 - width(id)})` : word(id);
    },
    low: (id) => half(id, 'l', 0n),
    high: (id) => half(id, 'h', 32n),
    big: (id) => {
      const bits = constant(id);
      if (bits !== undefined) return `${bits}n`;
      if (width(id) <= 32) return `BigInt(v${id}>>>0)`;
      return width(id) === 64 ? `X.big(l${id},h${id})` : `b${id}`;
    },
    float: (id) => {
      const bits = constant(id);
      if (bits === undefined) return `f${id}`;
      const view = new DataView(new ArrayBuffer(8));
      if (width(id) === 32) view.setUint32(0, Number(bits));
      else view.setBigUint64(0, bits);
      const number = width(id) === 32 ? view.getFloat32(0) : view.getFloat64(0);
      if (Object.is(number, -0)) return '(-0)';
      return number < 0 ? `(${number})` : String(number);
    },
  };
}

/** Assigns bits given as a bigint expression to a value. */
export function assignBig(id: ValueId, width: number, expression: string): string {
  if (width === 32) return `v${id}=X.word(${expression});`;
  if (width < 32) return `v${id}=Number(${expression});`;
  if (width === 64) return `l${id}=X.split(${expression});h${id}=X.h;`;
  return `b${id}=${expression};`;
}
