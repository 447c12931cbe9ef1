/** Generated code against the general definitions: every integer and float operation, all widths, edge values and random ones. */
import { describe, expect, it } from 'vitest';
import { ProgramBuilder } from '../../src/ir/builder.js';
import {
  evaluateFloat,
  evaluateInteger,
  FLOAT_OPERATIONS,
  type FloatMode,
  type FloatOperation,
  INTEGER_OPERATIONS,
  type IntegerOperation,
  type KernelProgram,
  operandCount,
} from '../../src/ir/form.js';
import { compileKernel, DeviceMemory } from '../../src/sim/index.js';
import { random } from './helpers.js';

interface Case {
  readonly op: IntegerOperation | FloatOperation;
  readonly width: number;
  readonly operandWidths: readonly number[];
  readonly mode?: FloatMode;
}

const SLOT = 16;

/** A kernel that reads operands, 16 bytes each, computes all cases on them, and stores the results behind each other. */
function program(cases: readonly Case[]): KernelProgram {
  const builder = new ProgramBuilder();
  const input = builder.leaf('parameter', 64, { immediate: 0n });
  const output = builder.leaf('parameter', 64, { immediate: 8n });
  const origin = { offset: 0, instruction: 'test', inlined: [] };
  for (const [index, { op, width, operandWidths, mode }] of cases.entries()) {
    const args = operandWidths.map((bits, operand) => {
      const address = builder.value('add', 64, [input, builder.constant(64, operand * SLOT)]);
      const bytes = Math.max(8, bits) / 8;
      const access = { reads: 'load', space: 'global', bytes, elements: 1, origin } as const;
      const loaded = builder.value('load', bytes * 8, [address], { access, space: 'global' });
      return bits < 8 ? builder.value('truncate', bits, [loaded]) : loaded;
    });
    let result = builder.value(op, width, args, mode && { mode });
    if (width < 8) result = builder.value('zeroExtend', 8, [result]);
    const address = builder.value('add', 64, [output, builder.constant(64, index * SLOT)]);
    const bytes = Math.max(8, width) / 8;
    builder.value('access', 0, [address], {
      access: { writes: 'store', space: 'global', bytes, elements: 1, values: [result], origin },
    });
  }
  builder.terminate({ kind: 'exit' });
  const { values, blocks } = builder.finish();
  return {
    name: 'operations',
    offset: 0,
    parameters: [],
    parameterBytes: 16,
    bounds: {},
    objects: [],
    functions: [],
    values,
    blocks,
    spans: [],
    notes: [],
  };
}

/** Results of all cases on some operands. */
function runner(cases: readonly Case[]): (operands: readonly bigint[]) => bigint[] {
  const kernel = compileKernel(program(cases));
  const memory = new DeviceMemory();
  const [input, output] = [new Uint8Array(64 + SLOT), new Uint8Array(cases.length * SLOT)];
  memory.map(0x10000, input);
  memory.map(0x100000, output);
  const parameters = new Uint8Array(16);
  new DataView(parameters.buffer).setBigUint64(0, 0x10000n, true);
  new DataView(parameters.buffer).setBigUint64(8, 0x100000n, true);
  const [read, write] = [new DataView(output.buffer), new DataView(input.buffer)];
  return (operands) => {
    for (const [index, bits] of operands.entries()) {
      write.setBigUint64(index * SLOT, BigInt.asUintN(64, bits), true);
      write.setBigUint64(index * SLOT + 8, BigInt.asUintN(64, bits >> 64n), true);
    }
    output.fill(0);
    kernel.launch({ grid: [1, 1, 1], block: [1, 1, 1], parameters, memory });
    return cases.map(
      (_, index) => read.getBigUint64(index * SLOT, true) | (read.getBigUint64(index * SLOT + 8, true) << 64n),
    );
  };
}

const next = random(7);
function randomBits(width: number): bigint {
  let bits = 0n;
  for (let at = 0; at < width; at += 16) bits = (bits << 16n) | BigInt(Math.floor(next() * 65536));
  const shape = Math.floor(next() * 8);
  const edges = [0n, 1n, -1n, 1n << BigInt(width - 1), (1n << BigInt(width - 1)) - 1n];
  if (shape < 2) return BigInt.asUintN(width, edges[Math.floor(next() * edges.length)]!);
  if (shape < 4) return BigInt.asUintN(width, bits % 67n);
  return BigInt.asUintN(width, bits);
}

/** Widths of the operands of an integer operation with results of a width; undefined where there is none. */
function integerCases(op: IntegerOperation): Case[] {
  const count = operandCount(op)!;
  const same = (width: number) => ({ op, width, operandWidths: new Array<number>(count).fill(width) });
  switch (op) {
    case 'select':
      return [8, 16, 32, 64, 128].map((width) => ({ op, width, operandWidths: [1, width, width] }));
    case 'truncate':
      return [
        [64, 32],
        [64, 8],
        [32, 16],
        [32, 1],
        [128, 64],
      ].map(([from, width]) => ({ op, width: width!, operandWidths: [from!] }));
    case 'zeroExtend':
    case 'signExtend':
      return [
        [32, 64],
        [8, 64],
        [16, 32],
        [1, 32],
        [8, 16],
        [64, 128],
      ].map(([from, width]) => ({ op, width: width!, operandWidths: [from!] }));
    case 'concat':
      return [8, 16, 32, 64].map((width) => ({ op, width: 2 * width, operandWidths: [width, width] }));
    case 'carry':
      return [16, 32, 64].map((width) => ({ op, width: 1, operandWidths: [width, width, 1] }));
    case 'popCount':
    case 'leadingZeros':
      return [32, 64].map((width) => ({ op, width: 32, operandWidths: [width] }));
    case 'equal':
    case 'notEqual':
    case 'lessSigned':
    case 'lessEqualSigned':
    case 'lessUnsigned':
    case 'lessEqualUnsigned':
      return [8, 16, 32, 64].map((width) => ({ op, width: 1, operandWidths: [width, width] }));
    case 'funnelLeft':
    case 'funnelRight':
    case 'permuteBytes':
      return [same(32)];
    case 'logic3':
      return [{ op, width: 32, operandWidths: [32, 32, 32, 8] }];
    case 'shiftLeft':
    case 'shiftRightLogical':
    case 'shiftRightArithmetic':
      return [8, 16, 32, 64].map((width) => ({ op, width, operandWidths: [width, 32] }));
    case 'extractBitsSigned':
    case 'extractBitsUnsigned':
      return [32, 64].map((width) => ({ op, width, operandWidths: [width, 32, 32] }));
    case 'insertBits':
      return [32, 64].map((width) => ({ op, width, operandWidths: [width, width, 32, 32] }));
    default:
      return [8, 16, 32, 64].map(same);
  }
}

describe('integer operations', () => {
  it.each(INTEGER_OPERATIONS)('%s', (op) => {
    const cases = integerCases(op);
    const run = runner(cases);
    for (let round = 0; round < 120; round++) {
      const operands = [0, 1, 2, 3].map(() => randomBits(128));
      const results = run(operands);
      for (const [index, { width, operandWidths }] of cases.entries()) {
        const args = operandWidths.map((bits, operand) => BigInt.asUintN(bits, operands[operand]!));
        const expected = evaluateInteger(op, width, operandWidths[0]!, args);
        expect(results[index], `${op} ${width} of ${args.map((arg) => `0x${arg.toString(16)}`)}`).toBe(expected);
      }
    }
  });
});

const view = new DataView(new ArrayBuffer(8));
const singleOf = (x: number): bigint => {
  view.setFloat32(0, x);
  return BigInt(view.getUint32(0));
};
const doubleOf = (x: number): bigint => {
  view.setFloat64(0, x);
  return view.getBigUint64(0);
};
const EDGES = [
  0,
  -0,
  1,
  -1,
  0.5,
  1.5,
  2.5,
  -2.5,
  3e38,
  -3e38,
  1e-40,
  -1e-45,
  65504,
  65520,
  5.9e-8,
  Infinity,
  -Infinity,
  NaN,
  2147483648,
  4294967296,
  -129.5,
  255.5,
];

function randomFloat(width: number): bigint {
  const pick = next();
  const x =
    pick < 0.4 ? EDGES[Math.floor(next() * EDGES.length)]! : (next() * 2 - 1) * 2 ** Math.floor(next() * 40 - 20);
  if (width === 64) return pick > 0.9 ? randomBits(64) : doubleOf(x);
  if (width === 32) return pick > 0.9 ? randomBits(32) : singleOf(x);
  if (pick > 0.5) return randomBits(width);
  return evaluateFloat('floatConvert', 16, { operandWidth: 32 }, [singleOf(x)]);
}

const APPROXIMATED = ['floatSine', 'floatCosine', 'floatLog2', 'floatExp2', 'floatTanh', 'floatReciprocalSquareRoot'];

function floatCases(op: FloatOperation): Case[] {
  const count = operandCount(op)!;
  const make = (width: number, mode: FloatMode, from = width): Case => ({
    op,
    width,
    operandWidths: new Array<number>(count).fill(from),
    mode: { ...mode, ...(from !== width && { operandWidth: from }) },
  });
  if (op === 'floatCompare') {
    const relations = 'eq ne lt le gt ge equ neu ltu leu gtu geu num nan'.split(' ');
    return relations.flatMap((relation) => [
      make(1, { relation }, 32),
      make(1, { relation, flushSubnormals: true }, 32),
      make(1, { relation }, 64),
      make(1, { relation }, 16),
      make(1, { relation, format: 'bf16' }, 16),
    ]);
  }
  const roundings = ['nearestEven', 'zero', 'down', 'up'] as const;
  if (op === 'floatFromSigned' || op === 'floatFromUnsigned') {
    return [8, 16, 32, 64].flatMap((from) =>
      [16, 32, 64].flatMap((width) =>
        roundings.map((rounding) => ({ ...make(width, { rounding, operandWidth: from }), operandWidths: [from] })),
      ),
    );
  }
  if (op === 'floatToSigned' || op === 'floatToUnsigned') {
    return [16, 32, 64].flatMap((from) =>
      [8, 16, 32, 64].flatMap((width) =>
        roundings.map((rounding) => ({
          ...make(width, { rounding, integral: true, operandWidth: from }),
          operandWidths: [from],
        })),
      ),
    );
  }
  if (op === 'floatConvert') {
    return [
      ...roundings.flatMap((rounding) => [
        make(32, { rounding }, 64),
        make(16, { rounding }, 32),
        make(16, { rounding, format: 'bf16' }, 32),
        make(32, { rounding, integral: true, operandWidth: 32 }),
        make(8, { rounding, format: 'e4m3', saturateFinite: true }, 32),
      ]),
      make(64, {}, 32),
      make(32, {}, 16),
      make(32, { operandFormat: 'bf16' }, 16),
      make(16, { clampNegative: true }, 32),
      make(32, { saturate: true, operandWidth: 32 }),
      make(32, { format: 'tf32', rounding: 'nearestAway', operandWidth: 32 }),
      make(16, { operandFormat: 'e5m2' }, 8),
    ];
  }
  const single: FloatMode[] = [
    {},
    { flushSubnormals: true },
    { saturate: true },
    ...roundings.map((rounding) => ({ rounding })),
  ];
  const packed: FloatMode[] = [{ lanes: 2 }, { lanes: 2, format: 'bf16' }, { lanes: 2, clampNegative: true }];
  const bothWays: FloatMode[] =
    op === 'floatMin' || op === 'floatMax' ? [{ propagateNaN: true }, { magnitude: true, xorSign: true }] : [];
  return [
    ...[...single, ...bothWays].map((mode) => make(32, mode)),
    make(64, {}),
    make(16, {}),
    make(16, { format: 'bf16' }),
    ...packed.map((mode) => make(32, mode)),
    make(64, { lanes: 2 }),
  ];
}

describe('float operations', () => {
  it.each(FLOAT_OPERATIONS.filter((op) => !APPROXIMATED.includes(op)))('%s', (op) => {
    const cases = floatCases(op);
    const run = runner(cases);
    for (let round = 0; round < 100; round++) {
      const width = [16, 32, 64][round % 3]!;
      const integer = op.startsWith('floatFrom');
      const operands = [0, 1, 2].map(() => (integer ? randomBits(64) : randomFloat(width)));
      const results = run(operands);
      for (const [index, { width: bits, operandWidths, mode }] of cases.entries()) {
        const args = operandWidths.map((from, operand) => BigInt.asUintN(from, operands[operand]!));
        const expected = evaluateFloat(op, bits, { operandWidth: operandWidths[0]!, ...mode }, args);
        expect(
          results[index],
          `${op} ${bits} ${JSON.stringify(mode)} of ${args.map((arg) => `0x${arg.toString(16)}`)}`,
        ).toBe(expected);
      }
    }
  });
});

describe('fma of singles', () => {
  it('rounds once where a double would lie halfway', () => {
    const mode = {};
    const run = runner([{ op: 'floatFma', width: 32, operandWidths: [32, 32, 32], mode }]);
    const [a, b, c] = [2 ** -12 * (1 + 2 ** -23), 2 ** -12 * (1 - 2 ** -23), 1 + 2 ** -23];
    // The exact sum is a little less than halfway between c and the next single, which is the even one.
    expect(Math.fround(a * b + c)).not.toBe(c);
    expect(run([a, b, c].map(singleOf))).toEqual([singleOf(c)]);
    expect(run([-a, b, -c].map(singleOf))).toEqual([singleOf(-c)]);
    expect(evaluateFloat('floatFma', 32, mode, [a, b, c].map(singleOf))).toBe(singleOf(c));
  });
});

describe('the definition of floats', () => {
  const single = (bits: bigint): number => {
    view.setUint32(0, Number(bits));
    return view.getFloat32(0);
  };
  const hold: readonly (readonly [FloatOperation, (a: number, b: number) => number])[] = [
    ['floatAdd', (a, b) => a + b],
    ['floatSub', (a, b) => a - b],
    ['floatMul', (a, b) => a * b],
    ['floatDiv', (a, b) => a / b],
    ['floatSquareRoot', (a) => Math.sqrt(a)],
  ];

  it.each(hold)('%s of singles and doubles is what JavaScript computes', (op, compute) => {
    for (let round = 0; round < 2000; round++) {
      const [a, b] = [single(randomFloat(32)), single(randomFloat(32))];
      const args = op === 'floatSquareRoot' ? [a] : [a, b];
      const expected = Math.fround(compute(a, b));
      expect(single(evaluateFloat(op, 32, {}, args.map(singleOf))), `${op} ${a} ${b}`).toBe(expected);
      view.setBigUint64(0, evaluateFloat(op, 64, {}, args.map(doubleOf)));
      expect(view.getFloat64(0), `${op} ${a} ${b}`).toBe(compute(a, b));
    }
  });

  it('knows halves, bf16 and the narrow formats by their bits', () => {
    const to = (format: FloatMode['format'], width: number, x: number, more: FloatMode = {}) =>
      evaluateFloat('floatConvert', width, { operandWidth: 32, ...(format && { format }), ...more }, [singleOf(x)]);
    expect(to('ieee', 16, 1)).toBe(0x3c00n);
    expect(to('ieee', 16, 65504)).toBe(0x7bffn);
    expect(to('ieee', 16, 65520)).toBe(0x7c00n);
    expect(to('ieee', 16, 65520, { rounding: 'zero' })).toBe(0x7bffn);
    expect(to('ieee', 16, 2 ** -24)).toBe(1n);
    expect(to('ieee', 16, 2 ** -25)).toBe(0n);
    expect(to('ieee', 16, NaN)).toBe(0x7fffn);
    expect(to('bf16', 16, 1.00390625)).toBe(0x3f80n);
    expect(to('bf16', 16, 1.01171875)).toBe(0x3f82n);
    expect(to('e4m3', 8, 448, { saturateFinite: true })).toBe(0x7en);
    expect(to('e4m3', 8, 1000, { saturateFinite: true })).toBe(0x7en);
    expect(to('e5m2', 8, -57344)).toBe(0xfbn);
    expect(to('e2m1', 4, 6)).toBe(7n);
    expect(to('ue8m0', 8, 8)).toBe(130n);
    expect(to('tf32', 32, 1 + 2 ** -11, { rounding: 'nearestAway' })).toBe(0x3f802000n);
  });
});
