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
    ['an empty body', '.entry k() { }'],
    ['a loop without anything in it', '.entry k() { L: bra L; }'],
  ])('%s', async (_, body) => {
    const { product } = await buildTemplatesFromText(HEAD + body);
    expect(product.kernels.length + product.missing.length).toBe(1);
    expect(parseTemplateFile(encodeTemplateFile(product))).toEqual(product);
  });
});
