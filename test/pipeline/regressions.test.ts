/** Texts that once crashed the build, hung it, or made a file that its own reader refused. */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { splitVersions } from '../../src/sources/index.js';
import { encodeTemplateFile, parseTemplateFile } from '../../src/templates/index.js';

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';

describe('once broken', () => {
  it('two .version directives on the first line but one', () => {
    const text = '\n.version 8.0 .version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k()\n{\nret;\n}\n';
    expect(
      splitVersions(text)
        .map((block) => block.text)
        .join(''),
    ).toBe(text);
  });

  it.each<[string, string]>([
    ['an instruction without operands', '.visible .entry k()\n{\nld.param;\n}\n'],
    [
      'an alignment of zero',
      '.entry k(.param .align 0 .b8 a[4], .param .u64 o) { .reg .b64 %rd<2>; ld.param.u64 %rd1, [o]; st.global.u32 [%rd1], 1; }',
    ],
    ['negative launch bounds', '.entry k() .maxntid 64, 2, -1 { ret; }'],
    [
      'a parameter of negative size',
      '.entry k(.param .b8 a[-1], .param .u64 o) { .reg .b64 %rd<2>; ld.param.u64 %rd1, [o]; st.global.u32 [%rd1], 1; }',
    ],
    ['a variable of negative size', '.entry k() { .shared .b8 t[-1]; st.u32 [t], 1; ret; }'],
    [
      'a variable of more than all memory',
      '.entry k() { .shared .b8 t[9223372036854775807][9223372036854775807]; st.u32 [t], 1; ret; }',
    ],
    [
      'a local store of three values where four belong',
      '.entry k() { .reg .b32 %r<4>; .local .align 16 .b8 d[16]; ld.local.u32 %r1, [d]; st.local.v4.u32 [d], {%r1, %r1, %r1}; ret; }',
    ],
    ['an empty body', '.entry k() { }'],
    ['a loop without anything in it', '.entry k() { L: bra L; }'],
  ])('%s', async (_, body) => {
    const { product } = await buildTemplatesFromText(HEAD + body);
    expect(product.kernels.length + product.missing.length).toBe(1);
    expect(parseTemplateFile(encodeTemplateFile(product))).toEqual(product);
  });

  it("a module's own function named like one of the device runtime is that function", async () => {
    const own =
      '.func free(.param .b64 a) { .reg .b64 %rd<2>; ld.param.u64 %rd1, [a]; st.global.u32 [%rd1+8], 1; ret; }';
    const body =
      '.entry k(.param .u64 o) { .reg .b64 %rd<2>; ld.param.u64 %rd1, [o]; { .param .b64 p; st.param.b64 [p], %rd1; call free, (p); } ret; }';
    const { product } = await buildTemplatesFromText(`${HEAD}${own}\n${body}`);
    expect(product.kernels[0]!.writes).toMatchObject([{ kind: 'store', verdict: 'exact', inlined: ['free'] }]);
  });

  it('registers of a range own names by all their trailing digits', async () => {
    const store = (name: string) =>
      buildTemplatesFromText(
        `${HEAD}.entry k(.param .u64 o) { .reg .b64 %r1<5>; .reg .b64 %r<20>; ld.param.u64 %r12, [o]; st.global.u32 [${name}], 1; ret; }`,
      ).then(({ product }) => product.kernels[0]!.writes[0]!.bases);
    expect(await store('%r12')).toEqual([{ parameter: 0 }]);
    expect(await store('%r012')).toEqual([{ parameter: 0 }]);
  });

  it('a name that nothing declares is an error at its place, in a later .version block too', async () => {
    const wrong = '.entry k2() {\n.reg .b32 %r<2>;\nadd.u32 %r1, %nobody, 1;\nret;\n}\n';
    const { diagnostics, product } = await buildTemplatesFromText(`${HEAD}.entry k1() { ret; }\n${HEAD}${wrong}`);
    expect(diagnostics).toMatchObject([{ code: 'GCR3002', severity: 'error', line: 10, column: 14 }]);
    expect(product.kernels.map(({ name, line }) => `${name} ${line}`)).toEqual(['k1 4', 'k2 8']);
  });

  it.each([
    ['add.cc.u32 %r2, %r1, 1; addc.u32 %r3, %r1, 0;', 'exact'],
    ['sub.cc.u32 %r2, %r1, 1; subc.u32 %r3, %r1, 0;', 'exact'],
    ['add.cc.u32 %r2, %r1, 1; subc.u32 %r3, %r1, 0;', 'bounded'],
    ['sub.cc.u32 %r2, %r1, 1; addc.u32 %r3, %r1, 0;', 'bounded'],
    ['add.cc.u32 %r2, %r1, 1; mad.cc.u32 %r2, %r1, %r1, 1; addc.u32 %r3, %r1, 0;', 'bounded'],
    ['add.cc.u32 %r2, %r1, 1; @%p1 add.cc.u32 %r2, %r1, 2; addc.u32 %r3, %r1, 0;', 'bounded'],
  ])('a carry is known only from what sets it: %s', async (arithmetic, verdict) => {
    const { product } = await buildTemplatesFromText(
      `${HEAD}.entry k(.param .u64 o) { .reg .pred %p<2>; .reg .b32 %r<5>; .reg .b64 %rd<4>; ld.param.u64 %rd1, [o];
      mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 3; ${arithmetic}
      mul.wide.u32 %rd2, %r3, 4; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], 1; ret; }`,
    );
    expect(product.kernels[0]!.verdict).toBe(verdict);
  });
});
