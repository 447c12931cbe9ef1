/**
 * Scalar types by their names in the source: width in bits and how their bits are read. One table for register
 * declarations, instruction types and parameter layout (PTX ISA 5.2).
 */

export type Interpretation = 'bits' | 'unsigned' | 'signed' | 'float' | 'predicate' | 'packed' | 'object';

export interface ScalarType {
  readonly name: string;
  /** Bits; of a packed type all of it. */
  readonly width: number;
  readonly as: Interpretation;
}

const ROWS: readonly (readonly [string, number, Interpretation])[] = [
  ['pred', 1, 'predicate'],
  ['b8', 8, 'bits'],
  ['b16', 16, 'bits'],
  ['b32', 32, 'bits'],
  ['b64', 64, 'bits'],
  ['b128', 128, 'bits'],
  ['u8', 8, 'unsigned'],
  ['u16', 16, 'unsigned'],
  ['u32', 32, 'unsigned'],
  ['u64', 64, 'unsigned'],
  ['s8', 8, 'signed'],
  ['s16', 16, 'signed'],
  ['s32', 32, 'signed'],
  ['s64', 64, 'signed'],
  ['f16', 16, 'float'],
  ['f32', 32, 'float'],
  ['f64', 64, 'float'],
  ['bf16', 16, 'packed'],
  ['tf32', 32, 'packed'],
  ['f16x2', 32, 'packed'],
  ['bf16x2', 32, 'packed'],
  ['f32x2', 64, 'packed'],
  ['u16x2', 32, 'packed'],
  ['s16x2', 32, 'packed'],
  ['u8x4', 32, 'packed'],
  ['s8x4', 32, 'packed'],
  ['e4m3', 8, 'packed'],
  ['e5m2', 8, 'packed'],
  ['e4m3x2', 16, 'packed'],
  ['e5m2x2', 16, 'packed'],
  ['e2m3x2', 16, 'packed'],
  ['e3m2x2', 16, 'packed'],
  ['e2m1x2', 8, 'packed'],
  ['ue8m0x2', 16, 'packed'],
  ['ue4m3x2', 16, 'packed'],
  ['e4m3x4', 32, 'packed'],
  ['e5m2x4', 32, 'packed'],
  ['e2m3x4', 32, 'packed'],
  ['e3m2x4', 32, 'packed'],
  ['e2m1x4', 16, 'packed'],
  ['s2f6x2', 16, 'packed'],
  ['b1024', 1024, 'bits'],
  ['texref', 64, 'object'],
  ['samplerref', 64, 'object'],
  ['surfref', 64, 'object'],
];

const TYPES: ReadonlyMap<string, ScalarType> = new Map(ROWS.map(([name, width, as]) => [name, { name, width, as }]));

/** The type of that name, without the dot; undefined when it is not a type. */
export function scalarType(name: string): ScalarType | undefined {
  return TYPES.get(name);
}
