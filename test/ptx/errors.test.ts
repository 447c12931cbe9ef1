/** What the parser says about bad text: code, place, expectation; and what it still delivers. */
import { describe, expect, it } from 'vitest';
import { formatDiagnostic } from '../../src/diagnostics/index.js';
import { parse } from '../../src/ptx/index.js';
import { HEAD, moduleWithBody, places } from './helpers.js';

/** Statements at line 11, so findings of the first line read `CODE 11:column`. */
const inBody = (statements: string) => parse(moduleWithBody(statements));
const atModule = (text: string) => parse(HEAD + text);

describe('places and expectations', () => {
  it.each([
    ['add.u32 %r1, %r2', 'GCR2002', 12, 1, ["','", "';'"]],
    ['add.u32 %r1, %r2 %r3;', 'GCR2002', 11, 18, ["','", "';'"]],
    ['add.u32 %r1, ;', 'GCR2002', 11, 14, ['an operand']],
    ['ld.global.u32 %r1, [%rd1;', 'GCR2002', 11, 25, ["']'", "'+'", "','"]],
    ['ld.global.u32 %r1, [%rd1-16];', 'GCR2002', 11, 25, ["']'", "'+'", "','"]],
    ['@ ret;', 'GCR2002', 11, 6, ['an instruction']],
    ['@%p1;', 'GCR2002', 11, 5, ['an instruction']],
    ['@5 ret;', 'GCR2002', 11, 2, ['a predicate register']],
    ['.reg %r1;', 'GCR2002', 11, 6, ["a type such as '.b32'"]],
    ['.loc 1 2', 'GCR2002', 12, 1, ['an integer']],
    ['mov.u32 %r1, 089;', 'GCR2009', 11, 14, undefined],
    ['mov.u64 %rd1, 0xFFFFFFFFFFFFFFFFF;', 'GCR2009', 11, 15, undefined],
    ['mov.u32 %r1, `5;', 'GCR2001', 11, 14, undefined],
    ['.reg .b32 %r1;', 'GCR2006', 11, 11, undefined],
    ['L: L:', 'GCR2006', 11, 4, undefined],
    ['a.b: ret;', 'GCR2002', 11, 1, ['a name']],
    [';', 'GCR2002', 11, 1, ['an instruction', 'a directive', 'a label', "'}'"]],
  ] as const)('%s', (text, code, line, column, expected) => {
    const [first] = inBody(text).diagnostics;
    expect(first).toMatchObject({ code, line, column, severity: 'error' });
    expect(first?.expected).toEqual(expected);
  });

  it.each([
    ['add.u32 %r1;', 'GCR2002 4:1'],
    ['.global .u32 x = 0x;', 'GCR2002 4:19'],
    ['.global .u32 x[] = {1,,2};', 'GCR2002 4:23'],
    ['.global .u32 x[] = {1 2};', 'GCR2002 4:23'],
    ['.global .u32 x[] = {1,};', 'GCR2002 4:23'],
    ['.entry k(.param .u64 a .param .u64 b) {}', 'GCR2002 4:24'],
    ['.entry k(.shared .u64 a) {}', 'GCR2002 4:10'],
    ['.func f() { .func g() { } }', 'GCR2002 4:13'],
    ['}', 'GCR2002 4:1'],
    ['.func f() {} }', 'GCR2002 4:14'],
    ['.func f(); .func f(.param .b32 a) {}', 'GCR2006 4:12'],
    ['.func f() {} .func f() {}', 'GCR2006 4:14'],
    ['.global .u32 x; .func x() {}', 'GCR2006 4:17'],
    ['.global .u32 x; .global .u64 x;', 'GCR2006 4:30'],
    ['.global .u32 x; /* no end', 'GCR2003 4:17'],
    ['.file 1 "no end', 'GCR2003 4:9'],
    ['.func f() { { ret; }', 'GCR2003 4:11'],
    ['.func f() { ret; { ', 'GCR2003 4:18'],
    ['.section .debug_str { .b8 1', 'GCR2003 4:21'],
    ['.global .u32 x', 'GCR2002 4:15'],
  ])('%s', (text, place) => {
    expect(places(atModule(text).diagnostics)[0]).toBe(place);
  });

  it('asks for .version at the beginning, after comments only', () => {
    expect(places(parse('').diagnostics)).toEqual(['GCR2007 1:1']);
    expect(places(parse('// .version 8.0\n').diagnostics)).toEqual(['GCR2007 1:1']);
    expect(places(parse('.target sm_80\n.version 8.0\n').diagnostics)).toEqual(['GCR2007 1:1']);
    expect(parse('/* a */ // b\n# 1 "x"\n.version 8.0\n').diagnostics).toEqual([]);
  });

  it('knows binary data at once', () => {
    const { product, diagnostics } = parse(`${HEAD}.global .u32 x;\x01`);
    expect(places(diagnostics)).toEqual(['GCR2008 4:16']);
    expect(product.items).toEqual([]);
  });

  it('shows place, line and expectation', () => {
    const { diagnostics } = parse(moduleWithBody('add.u32 %r1 %r2;'), { name: 'a.ptx' });
    expect(formatDiagnostic(diagnostics[0]!)).toBe(
      "a.ptx:11:13: error GCR2002: found '%r2'\n    add.u32 %r1 %r2;\n                ^\n    expected ',', ';'",
    );
  });
});

describe('going on after errors', () => {
  it('reports several errors, in the order of the text', () => {
    const text = 'add.u32 %r1 %r2;\nmov.u32 %r1, 5;\nld.u32 %r1, [;\n{ sub.u32 ,; ret; }\n.reg .b32;\n';
    expect(places(inBody(text).diagnostics)).toEqual(['GCR2002 11:13', 'GCR2002 13:14', 'GCR2002 14:11']);
    expect(
      places(atModule('.global u32 x;\n.func f() { foo bar baz; }\n.alias a;\n.global .u32 y;').diagnostics),
    ).toEqual(['GCR2002 4:9', 'GCR2002 5:21', 'GCR2002 6:9']);
  });

  it('keeps everything else, and leaves a gap where text was lost', () => {
    const { product } = inBody('mov.u32 %r1, 1;\nadd.u32 %r1 %r2;\n{ mov.u32 %r1, 2; ld [; }\nmov.u32 %r1, 3;');
    const fn = product.items.find((item) => item.kind === 'function');
    expect(fn?.body?.slice(5)).toMatchObject([
      { kind: 'instruction' },
      { kind: 'unknownDirective', text: 'add.u32 %r1 %r2;' },
      { kind: 'scope', statements: [{ kind: 'instruction' }, { kind: 'unknownDirective' }] },
      { kind: 'instruction' },
      { kind: 'instruction' },
    ]);
  });

  it('takes a brace behind a statement without semicolon for the end of its scope', () => {
    const { product, diagnostics } = inBody('{ mov.u32 %r1, 1 }\n{ mov.b64 {%r1, %r2} }\nmov.u32 %r1, 3;');
    expect(places(diagnostics)).toEqual(['GCR2002 11:18', 'GCR2002 12:22']);
    const fn = product.items.find((item) => item.kind === 'function');
    expect(fn?.body?.slice(5).map(({ kind }) => kind)).toEqual(['scope', 'scope', 'instruction', 'instruction']);
  });

  it('leaves a gap for a character that cannot stand in PTX', () => {
    const { product } = inBody('mov.u32 %r1, `5;');
    const fn = product.items.find((item) => item.kind === 'function');
    expect(fn?.body?.some(({ kind }) => kind === 'unknownDirective')).toBe(true);
  });

  it('keeps the functions before an unclosed one, and marks the unclosed one', () => {
    const { product, diagnostics } = atModule('.func f() { ret; }\n.func g() { ret; mov.u32 ');
    expect(places(diagnostics)).toEqual(['GCR2003 5:11']);
    const bodies = product.items.flatMap((item) => (item.kind === 'function' ? [item.body] : []));
    expect(bodies[0]).toMatchObject([{ kind: 'instruction' }]);
    expect(bodies[1]?.[0]?.kind).toBe('instruction');
    expect(bodies[1]?.at(-1)?.kind).toBe('unknownDirective');
  });

  it('stops at the limit of errors', () => {
    expect(inBody('foo bar baz;\n'.repeat(100)).diagnostics).toHaveLength(20);
    expect(parse(moduleWithBody('foo bar baz;\n'.repeat(100)), { maxErrors: 3 }).diagnostics).toHaveLength(3);
  });
});
