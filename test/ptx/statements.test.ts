/** Statements of a body (PTX ISA 4.3, 11.3–11.5): the tree that each form gives. */
import { describe, expect, it } from 'vitest';
import { internMnemonic } from '../../src/ptx/index.js';
import { bodyOf, instructionOf, moduleWithBody, parseClean, shape } from './helpers.js';

const name = (text: string) => ({ kind: 'name', name: text });

describe('instructions', () => {
  it('keeps opcode and modifiers in order, whatever they are', () => {
    const { mnemonic } = instructionOf('cp.async.bulk.tensor.2d.global.shared::cta.tile [%rd1], [%r1];');
    expect(mnemonic.opcode).toBe('cp');
    expect(mnemonic.modifiers).toEqual(['async', 'bulk', 'tensor', '2d', 'global', 'shared::cta', 'tile']);
    expect(instructionOf('frobnicate.32x32b.L2::128B;').mnemonic.modifiers).toEqual(['32x32b', 'L2::128B']);
  });

  it('joins a mnemonic written with spaces, comments and line ends between its words', () => {
    const spaced = instructionOf('ld /* a */ .global\n.v2 // b\n .u32 {%r1, %r2}, [%rd1];').mnemonic;
    expect(spaced).toBe(internMnemonic('ld.global.v2.u32'));
    expect(instructionOf('cp.async.bulk.prefetch.tensor .1d .L2 [%rd1, {%r1}];').mnemonic.text).toBe(
      'cp.async.bulk.prefetch.tensor.1d.L2',
    );
  });

  it('interns mnemonics', () => {
    expect(instructionOf('st.global.u32 [%rd1], 1;').mnemonic).toBe(instructionOf('st.global.u32 [%rd2], 2;').mnemonic);
  });

  it('reads guards', () => {
    expect(instructionOf('@p1 ret;').guard).toEqual({ register: 'p1', negated: false });
    expect(instructionOf('@ ! p1\nret;').guard).toEqual({ register: 'p1', negated: true });
    expect(instructionOf('ret;').guard).toBeUndefined();
  });

  it('takes a brace right behind the opcode', () => {
    expect(shape(instructionOf('mov.b64{%r1,%r2},%rd1;').operands)).toEqual([
      { kind: 'vector', elements: [name('%r1'), name('%r2')] },
      name('%rd1'),
    ]);
  });

  it.each([
    ['call f;', [name('f')]],
    ['call f, ();', [name('f'), { kind: 'list', elements: [] }]],
    ['call.uni (%r1), f, (%r2, 5);', 'list'],
    ['call (q), %rd1, (a), proto;', 'list'],
  ])('reads %s', (text, expected) => {
    const operands = shape(instructionOf(text).operands) as { kind: string }[];
    if (expected === 'list')
      expect([operands[0]?.kind, operands[1]?.kind, operands[2]?.kind]).toEqual(['list', 'name', 'list']);
    else expect(operands).toEqual(expected);
  });

  it('reads a parenthesis as an expression outside calls, and as a list when it holds a comma', () => {
    expect(instructionOf('mov.b32 %r1, (4+4)*2;').operands[1]?.kind).toBe('binary');
    expect(instructionOf('newcall (%r1, %r2);').operands[0]?.kind).toBe('list');
  });

  it('gives offsets into the whole text', () => {
    const text = moduleWithBody('  @p1 add.u32 %r1, %r2, 3;');
    const fn = parseClean(text).items.find((item) => item.kind === 'function');
    const add = fn?.body?.[5];
    expect(add?.kind === 'instruction' && text.slice(add.offset, add.offset + 7)).toBe('@p1 add');
    expect(add?.kind === 'instruction' && text.slice(add.operands[2]?.offset).startsWith('3;')).toBe(true);
    expect(fn?.bodySpan && text.slice(fn.bodySpan.offset, fn.bodySpan.offset + fn.bodySpan.length)).toMatch(
      /^\{[\s\S]*\}$/,
    );
    expect(fn && text.slice(fn.offset, fn.offset + fn.length)).toMatch(/^\.visible \.entry[\s\S]*\}$/);
  });
});

describe('labels and what stands on them', () => {
  it('reads labels before anything', () => {
    expect(shape(bodyOf('$Lt_0_15106: add: A : bra A;'))).toMatchObject([
      { kind: 'label', name: '$Lt_0_15106' },
      { kind: 'label', name: 'add' },
      { kind: 'label', name: 'A' },
      { kind: 'instruction' },
    ]);
  });

  it('reads branch and call targets', () => {
    expect(shape(bodyOf('t: .branchtargets A, B<4>, C; u: .calltargets f, g;'))).toEqual([
      { kind: 'branchTargets', name: 't', labels: ['A', 'B<4>', 'C'] },
      { kind: 'callTargets', name: 'u', functions: ['f', 'g'] },
    ]);
  });

  it('reads prototypes', () => {
    const [full, bare] = bodyOf(
      'r : .callprototype (.param .align 16 .b8 _[16]) _ (.param .b64 _, .reg .u32 a, ...) .abi_preserve 3; q: .callprototype _ .noreturn;',
    );
    expect(shape(full)).toMatchObject({
      kind: 'callPrototype',
      name: 'r',
      returns: [{ space: 'param', align: 16, type: 'b8', name: '_', dimensions: [{ value: '16n' }] }],
      parameters: [
        { space: 'param', type: 'b64', name: '_' },
        { space: 'reg', type: 'u32', name: 'a' },
      ],
      variadic: true,
      directives: [{ name: 'abi_preserve', arguments: [{ value: '3n' }] }],
    });
    expect(shape(bare)).toMatchObject({ name: 'q', returns: [], parameters: [], directives: [{ name: 'noreturn' }] });
  });
});

describe('other statements', () => {
  it('nests scopes', () => {
    expect(shape(bodyOf('{ L: { bra L; } } { L: }'))).toMatchObject([
      { kind: 'scope', statements: [{ kind: 'label' }, { kind: 'scope', statements: [{ kind: 'instruction' }] }] },
      { kind: 'scope', statements: [{ kind: 'label' }] },
    ]);
  });

  it('reads .loc up to its last token, however it is laid out', () => {
    expect(shape(bodyOf('.loc 1\n2 3 ret; .loc 1 2 3, function_name $L_s+16, inlined_at 4 5 6'))).toEqual([
      { kind: 'loc', file: 1, line: 2, column: 3 },
      { kind: 'instruction', mnemonic: { text: 'ret', opcode: 'ret', modifiers: [] }, operands: [] },
      { kind: 'loc', file: 1, line: 2, column: 3, attributes: 'function_name $L_s+16, inlined_at 4 5 6' },
    ]);
  });

  it('reads pragmas, and declarations of every space', () => {
    expect(
      shape(bodyOf('.pragma "nounroll", "x"; .shared .align 8 .v2 .b32 s[2][3], u; .param .b64 q;')),
    ).toMatchObject([
      { kind: 'pragma', strings: ['nounroll', 'x'] },
      {
        kind: 'variable',
        space: 'shared',
        align: 8,
        vector: 2,
        type: 'b32',
        declarators: [
          { name: 's', dimensions: [{ value: '2n' }, { value: '3n' }] },
          { name: 'u', dimensions: [] },
        ],
      },
      { kind: 'variable', space: 'param', type: 'b64' },
    ]);
  });

  it('carries a directive that it does not know', () => {
    expect(shape(bodyOf('.frobnicate 1, %r2;'))).toEqual([{ kind: 'unknownDirective', text: '.frobnicate 1 , %r2' }]);
  });
});
