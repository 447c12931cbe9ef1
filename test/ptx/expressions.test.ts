/** Operands and constant expressions (PTX ISA 4.5, chapter 6): the tree that each form gives. */
import { describe, expect, it } from 'vitest';
import { instructionOf, operandOf, shape } from './helpers.js';

const name = (text: string) => ({ kind: 'name', name: text });
const int = (value: number) => ({ kind: 'integer', value: `${value}n`, unsigned: false });

describe('numbers', () => {
  it.each([
    ['0', '0n'],
    ['1023', '1023n'],
    ['1024', '1024n'],
    ['0x1F', '31n'],
    ['0X1f', '31n'],
    ['017', '15n'],
    ['0b101', '5n'],
    ['18446744073709551615', '18446744073709551615n'],
    ['0xFFFFFFFFFFFFFFFF', '18446744073709551615n'],
    ['36893488147419103237', '5n'],
    ['0x1FFFFFFFFFFFFFFFF', '18446744073709551615n'],
    ['0x0000000000000000000000000000000000A', '10n'],
  ])('reads %s', (text, value) => {
    expect(operandOf(`mov.b64 %rd1, ${text};`)).toEqual({ kind: 'integer', value, unsigned: false });
    expect(operandOf(`mov.b64 %rd1, ${text}U;`)).toEqual({ kind: 'integer', value, unsigned: true });
  });

  it.each([
    ['1.5', 64, 0x3ff8000000000000n],
    ['.5', 64, 0x3fe0000000000000n],
    ['1.', 64, 0x3ff0000000000000n],
    ['1e3', 64, 0x408f400000000000n],
    ['1.e+3', 64, 0x408f400000000000n],
    ['0f3F800000', 32, 0x3f800000n],
    ['0F3f800000', 32, 0x3f800000n],
    ['0d3FF0000000000000', 64, 0x3ff0000000000000n],
  ])('reads %s as IEEE bits', (text, width, bits) => {
    expect(operandOf(`mov.f64 %d1, ${text};`)).toEqual({ kind: 'float', text, width, bits: `${bits}n` });
  });
});

describe('plain operands', () => {
  it('takes opcode names, dollars and the sink as names', () => {
    expect(shape(instructionOf('foo add, $L, _, %p;').operands)).toEqual(['add', '$L', '_', '%p'].map(name));
  });

  it('splits components, glued or set off', () => {
    const x = { kind: 'component', name: '%tid', component: 'x' };
    expect(operandOf('mov.u32 %r1, %tid.x;')).toEqual(x);
    expect(operandOf('mov.u32 %r1, %tid .x;')).toEqual(x);
  });

  it('reads pairs, also of a vector and a predicate', () => {
    expect(operandOf('setp.eq.s32 p1|p2, %r1, %r2;', 0)).toEqual({
      kind: 'pair',
      first: name('p1'),
      second: name('p2'),
    });
    expect(operandOf('tex.1d {%f1, _}|p1, [%rd1];', 0)).toEqual({
      kind: 'pair',
      first: { kind: 'vector', elements: [name('%f1'), name('_')] },
      second: name('p1'),
    });
  });

  it('reads | after WARP_SZ as an operator', () => {
    expect(operandOf('mov.u32 %r1, WARP_SZ|x;')).toMatchObject({ kind: 'binary', operator: '|' });
  });
});

describe('addresses', () => {
  const address = (base: unknown, displacement?: unknown, rest: unknown[] = []) => ({
    kind: 'address',
    base,
    ...(displacement === undefined ? {} : { displacement }),
    rest,
  });

  it.each([
    ['[%rd1]', address(name('%rd1'))],
    ['[%rd1+8]', address(name('%rd1'), int(8))],
    ['[ g + 0x10 ]', address(name('g'), int(16))],
    ['[%rd1+-16]', address(name('%rd1'), { kind: 'unary', operator: '-', operand: int(16) })],
    ['[%rd1+4*2]', address(name('%rd1'), { kind: 'binary', operator: '*', left: int(4), right: int(2) })],
    ['[16]', address(int(16))],
    [
      '[%rd1, {%r1, %r2}]',
      address(name('%rd1'), undefined, [{ kind: 'vector', elements: [name('%r1'), name('%r2')] }]),
    ],
    ['g[%r2]', { kind: 'element', name: 'g', index: name('%r2') }],
    [
      'g[%r2+4]',
      { kind: 'element', name: 'g', index: { kind: 'binary', operator: '+', left: name('%r2'), right: int(4) } },
    ],
  ])('reads %s', (text, tree) => {
    expect(operandOf(`ld.global.b32 %r1, ${text};`)).toEqual(tree);
  });

  it('keeps a word behind the bracket', () => {
    expect(operandOf('ld.global.b32 %r1, [g].unified;')).toEqual({ ...address(name('g')), qualifiers: ['unified'] });
  });
});

describe('constant expressions', () => {
  const text = (source: string): string => {
    const show = (tree: Record<string, unknown>): string => {
      const inner = (key: string) => show(tree[key] as Record<string, unknown>);
      switch (tree['kind']) {
        case 'integer':
          return String(tree['value']).slice(0, -1);
        case 'unary':
          return `(${tree['operator']}${inner('operand')})`;
        case 'cast':
          return `(${tree['type']})${inner('operand')}`;
        case 'binary':
          return `(${inner('left')}${tree['operator']}${inner('right')})`;
        case 'conditional':
          return `(${inner('condition')}?${inner('whenTrue')}:${inner('whenFalse')})`;
        default:
          return String(tree['name']);
      }
    };
    return show(operandOf(`mov.b32 %r1, ${source};`) as Record<string, unknown>);
  };

  it.each([
    ['1+2*3', '(1+(2*3))'],
    ['1-2-3', '((1-2)-3)'],
    ['(1+2)*3', '((1+2)*3)'],
    ['1<<2+3', '(1<<(2+3))'],
    ['1|2^3&4', '(1|(2^(3&4)))'],
    ['1<2==3', '((1<2)==3)'],
    ['1&&2||3', '((1&&2)||3)'],
    ['1?2:3?4:5', '(1?2:(3?4:5))'],
    ['-~!+1', '(-(~(!(+1))))'],
    ['(.s64)-1', '(s64)(-1)'],
    ['5 % 3', '(5%3)'],
    ['WARP_SZ*2', '(WARP_SZ*2)'],
  ])('groups %s as C does', (source, grouped) => {
    expect(text(source)).toBe(grouped);
  });
});
