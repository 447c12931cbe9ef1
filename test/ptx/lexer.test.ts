/** Tokens: what is one token, and that the lexer dispatches on the first character. */
import { describe, expect, it } from 'vitest';
import { PTX_LEXER, tokenize } from '../../src/ptx/tokens.js';

const images = (text: string) => tokenize(text, 0, text.length).tokens.map(({ image }) => image);
const types = (text: string) => tokenize(text, 0, text.length).tokens.map(({ tokenType }) => tokenType.name);

describe('lexer', () => {
  it('is optimised: every pattern has known first characters', () => {
    const { canModeBeOptimized, hasCustom } = PTX_LEXER as unknown as {
      canModeBeOptimized: Record<string, boolean>;
      hasCustom: boolean;
    };
    expect(canModeBeOptimized).toEqual({ defaultMode: true });
    expect(hasCustom).toBe(false);
    expect(PTX_LEXER.lexerDefinitionErrors).toEqual([]);
  });

  it('takes a word with its dotted suffixes as one token', () => {
    expect(images('ld.global.L2::128B.v4.u32{%r1,%tid.x}')).toEqual([
      'ld.global.L2::128B.v4.u32',
      '{',
      '%r1',
      ',',
      '%tid.x',
      '}',
    ]);
    expect(images('.param.u64.ptr.global')).toEqual(['.param', '.u64', '.ptr', '.global']);
  });

  it('tells numbers from modifiers', () => {
    expect(types('.5 .5e3 .1d .32x32b 8.0 1e3 0f3F800000 0x1FU 1.')).toEqual([
      'Float',
      'Float',
      'DotWord',
      'DotWord',
      'Float',
      'Float',
      'Float',
      'Int',
      'Float',
    ]);
  });

  it('passes over comments of all shapes', () => {
    expect(images('a/**/b/***/c// /*\nd/* // */e/* * / **/f')).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
  });

  it('gives offsets into the whole text, and reports what is no token', () => {
    const { tokens, errors } = tokenize('xxxx a ` b', 4, 10);
    expect(tokens.map(({ startOffset }) => startOffset)).toEqual([5, 9]);
    expect(errors).toEqual([{ offset: 7, length: 1 }]);
  });

  it('splits a directive off a function name', () => {
    expect(images('.entry k.maxntid 32')).toEqual(['.entry', 'k', '.maxntid', '32']);
  });
});
