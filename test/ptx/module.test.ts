/** Module level (PTX ISA 5.4, chapter 11): the tree that each form gives, and skipped bodies. */
import { describe, expect, it } from 'vitest';
import { type FunctionDeclaration, outline, parse, parseBody } from '../../src/ptx/index.js';
import { fixtures, HEAD, parseClean, shape } from './helpers.js';

const itemsOf = (text: string) => shape(parseClean(HEAD + text).items.slice(3)) as Record<string, unknown>[];

describe('head directives', () => {
  it('reads them on one line as on several', () => {
    const expected = [
      { kind: 'version', major: 8, minor: 0 },
      { kind: 'target', targets: ['sm_90a', 'texmode_unified', 'debug'] },
      { kind: 'addressSize', bits: 64 },
    ];
    const spread = '// c\n\n.version 8.0\n.target\nsm_90a , texmode_unified\n,debug\n.address_size\n64';
    const joined = '.version 8.0 .target sm_90a, texmode_unified, debug .address_size 64\0';
    expect(shape(parseClean(spread).items)).toEqual(expected);
    expect(shape(parseClean(joined).items)).toEqual(expected);
  });

  it('reads old headers with CRLF', () => {
    expect(shape(parseClean('.version 1.4\r\n.target sm_10, map_f64_to_f32\r\n').items)).toMatchObject([
      { major: 1, minor: 4 },
      { targets: ['sm_10', 'map_f64_to_f32'] },
    ]);
  });

  it('passes over lines of the preprocessor, and over nothing else with a #', () => {
    expect(itemsOf('# 1 "a.cu"\n  #line 3 "{"\n.global .u32 x;')).toHaveLength(1);
    expect(parse(`${HEAD}.global .u32 x; # no comment\n`).diagnostics).not.toEqual([]);
  });
});

describe('variables', () => {
  it('reads linking, attributes, banks and types', () => {
    expect(itemsOf('.visible .global .attribute(.managed, .unified(1, 0x2)) .align 8 .v4 .f32 a, b[];')).toEqual([
      {
        kind: 'variable',
        linking: 'visible',
        space: 'global',
        align: 8,
        vector: 4,
        type: 'f32',
        attributes: ['managed', 'unified(1, 0x2)'],
        modifiers: [],
        declarators: [
          { name: 'a', dimensions: [] },
          { name: 'b', dimensions: [null] },
        ],
      },
    ]);
    expect(itemsOf('.const[2] .u32 c;')).toMatchObject([{ space: 'const', modifiers: ['[2]'] }]);
    expect(itemsOf('.reg .b32 %r<100>;')).toMatchObject([{ declarators: [{ name: '%r', count: 100 }] }]);
  });

  it('reads initialisers: nested, symbolic, masked, named', () => {
    const int = (value: number) => ({ kind: 'integer', value: `${value}n`, unsigned: false });
    const list = (...elements: unknown[]) => ({ kind: 'initializerList', elements });
    const name = (text: string) => ({ kind: 'name', name: text });
    const generic = (operand: unknown) => ({ kind: 'generic', operand });
    const sum = (left: unknown, right: unknown) => ({ kind: 'binary', operator: '+', left, right });
    const initializer = (text: string) => {
      const [item] = itemsOf(`.global .b8 x[] = ${text};`) as [{ declarators: [{ initializer: unknown }] }];
      return item.declarators[0].initializer;
    };
    expect(initializer('5')).toEqual(int(5));
    expect(initializer('{}')).toEqual(list());
    expect(initializer('{{1, 2}, {3}, 4}')).toEqual(list(list(int(1), int(2)), list(int(3)), int(4)));
    expect(initializer('{generic(g)+8, g, g+4}')).toEqual(
      list(sum(generic(name('g')), int(8)), name('g'), sum(name('g'), int(4))),
    );
    expect(initializer('{0xFF00(generic(p)+3)}')).toEqual(
      list({ kind: 'mask', mask: '65280n', operand: sum(generic(name('p')), int(3)) }),
    );
    expect(initializer('{ addr_mode_0 = wrap, filter_mode = nearest }')).toEqual({
      ...list(name('wrap'), name('nearest')),
      fields: ['addr_mode_0', 'filter_mode'],
    });
  });

  it('reads an initialiser that is cut into many slices', () => {
    const values = Array.from({ length: 100_000 }, (_, i) => i % 256);
    const [item] = itemsOf(`.global .b8 x[] = {${values.join(',')}}, y;`) as [
      { declarators: [{ initializer: { elements: { value: string }[] } }, { name: string }] },
    ];
    expect(item.declarators[0].initializer.elements.map(({ value }) => Number.parseInt(value, 10))).toEqual(values);
    expect(item.declarators[1].name).toBe('y');
  });
});

describe('functions', () => {
  it('reads heads of kernels', () => {
    expect(
      itemsOf(
        '.weak .entry k (.param .u64 .ptr.global.align 16 a, .param .align 8 .b8 b[16]) .maxntid 32, 1 .pragma "x"; .reqnctapercluster 2 { }',
      ),
    ).toEqual([
      {
        kind: 'function',
        entry: true,
        linking: 'weak',
        attributes: [],
        name: 'k',
        returns: [],
        parameters: [
          {
            space: 'param',
            name: 'a',
            type: 'u64',
            attributes: [],
            dimensions: [],
            pointer: { space: 'global', align: 16 },
          },
          {
            space: 'param',
            name: 'b',
            align: 8,
            type: 'b8',
            attributes: [],
            dimensions: [{ kind: 'integer', value: '16n', unsigned: false }],
          },
        ],
        variadic: false,
        directives: [
          {
            name: 'maxntid',
            arguments: [
              { kind: 'integer', value: '32n', unsigned: false },
              { kind: 'integer', value: '1n', unsigned: false },
            ],
          },
          { name: 'pragma', arguments: [{ kind: 'string', text: 'x' }] },
          { name: 'reqnctapercluster', arguments: [{ kind: 'integer', value: '2n', unsigned: false }] },
        ],
        body: [],
      },
    ]);
    expect(itemsOf('.entry k.maxntid 4 {ret;}')).toMatchObject([{ name: 'k', directives: [{ name: 'maxntid' }] }]);
    expect(itemsOf('.entry k{ret;}')).toMatchObject([{ name: 'k', parameters: [], body: [{ kind: 'instruction' }] }]);
  });

  it('reads functions and forward declarations', () => {
    const [forward, attributed, variadic] = itemsOf(
      '.extern .func (.param .b32 r) f (.param .b64 _, .reg .pred q) .noreturn; .func .attribute(.unified(1,2)) g() { ret; } .func h(.param .b32 a, ...);',
    );
    expect(forward).toMatchObject({
      entry: false,
      linking: 'extern',
      name: 'f',
      returns: [{ name: 'r' }],
      parameters: [{ name: '_' }, { name: 'q', space: 'reg' }],
      directives: [{ name: 'noreturn' }],
    });
    expect(forward).not.toHaveProperty('body');
    expect(attributed).toMatchObject({ attributes: ['unified(1, 2)'], body: [{}] });
    expect(variadic).toMatchObject({ variadic: true });
  });

  it('tells a body from an initialiser and from a section', () => {
    const { pieces } = outline(
      `${HEAD}.func f();\n.global .u32 x[] = {1};.section .debug_str {.b8 1}\n.func g() .pragma "a"; { ret; }`,
    );
    expect(pieces.map(({ kind }) => kind)).toEqual(['text', 'initializer', 'text', 'section', 'text', 'body']);
  });
});

describe('the rest', () => {
  it('reads alias, file, loc, prototypes and debug sections', () => {
    expect(
      itemsOf(
        '.alias a, b; .file 1 "C:\\x\\", 12, 0x10\n.file 2 "/* {"\n.section .debug_info { .b8 1 // }\n L: .b32 L-4 }\n@@DWARF .4byte {\np: .callprototype _ ();',
      ),
    ).toEqual([
      { kind: 'alias', name: 'a', target: 'b' },
      { kind: 'file', index: 1, name: 'C:\\x\\', timestamp: '12n', size: '16n' },
      { kind: 'file', index: 2, name: '/* {' },
      { kind: 'section', name: '.debug_info', content: ' .b8 1 // }\n L: .b32 L-4 ' },
      { kind: 'section', name: '@@DWARF', content: '.4byte {' },
      { kind: 'callPrototype', name: 'p', returns: [], parameters: [], variadic: false, directives: [] },
    ]);
  });
});

describe('skipped bodies', () => {
  it('gives the same statements, with the same offsets, when they are parsed later', () => {
    for (const { name, text } of fixtures()) {
      const whole = parse(text).product.items.filter((item) => item.kind === 'function');
      const skipped = parse(text, { bodies: 'skip' }).product.items.filter((item) => item.kind === 'function');
      const bodies = skipped.map((fn) => (fn.bodySpan === undefined ? undefined : parseBody(text, fn).product));
      expect(skipped.every((fn) => fn.body === undefined)).toBe(true);
      expect(bodies, name).toEqual(whole.map((fn: FunctionDeclaration) => fn.body));
    }
  });
});
