/** The printer is the inverse of the parser: over all fixtures and probes, and over every construct in odd layouts. */
import { describe, expect, it } from 'vitest';
import { parse, print, printStatement } from '../../src/ptx/index.js';
import { bodyOf, fixtures, hasPtxas, parseClean, ptxasAccepts, shape, withFolder } from './helpers.js';
import { probes } from './probes.js';

const texts = [...fixtures(), ...probes()];

describe('print', () => {
  it.each(texts.map(({ name, text }) => [name, text] as const))('%s parses to the same tree again', (_, text) => {
    const tree = parseClean(text);
    const printed = print(tree);
    expect(shape(parseClean(printed))).toEqual(shape(tree));
    expect(print(parse(printed).product)).toBe(printed);
  });

  it('prints parentheses only where they are needed', () => {
    const again = (text: string) => printStatement(bodyOf(text)[0]!);
    expect(again('mov.b32 %r1,((1+2))*(3)-(4-5);')).toBe('mov.b32 %r1, (1 + 2) * 3 - (4 - 5);');
    expect(again('@!p1 st.global.v2.b32[%rd1+-8],{1,%r2};')).toBe('@!p1 st.global.v2.b32 [%rd1+-8], {1, %r2};');
    expect(again('foo (1?2:3)+1, -(4+5);')).toBe('foo (1 ? 2 : 3) + 1, -(4 + 5);');
  });

  it.skipIf(!hasPtxas)('prints what ptxas accepts, where ptxas accepted the original', { timeout: 120_000 }, () => {
    withFolder((folder) => {
      const sample = texts.filter((_, index) => index % 7 === 0 && texts[index]!.text.length < 50_000);
      for (const { name, text } of sample) {
        if (ptxasAccepts(text, folder)) expect(ptxasAccepts(print(parseClean(text)), folder), name).toBe(true);
      }
    });
  });
});
