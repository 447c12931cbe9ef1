/**
 * Every instruction form with operands that do not fit it: too few, too many, of every kind. The parser takes them; the
 * lowering must widen and never break.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ModuleBuild } from '../../src/pipeline/module-build.js';

const HEAD = `.version 9.0\n.target sm_100a\n.address_size 64\n.visible .entry k(.param .u64 p)\n{
.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<9>; .reg .b64 %rd<9>; .reg .b128 %rq<9>; .shared .b8 s[16];\n`;
const KINDS = [
  '1',
  '{%r1,%r2}',
  '{%r1,%r2,%r3}',
  '[%rd1]',
  '[p]',
  '[%rd1,{%r1,%r2}]',
  '_',
  '!%p1',
  'foo',
  '%tid',
  '%r1|%p1',
  '(%r1)',
  '%rq1',
  '0fBF800000',
  '%r1.x',
  's[3]',
];

const instructions = readFileSync(join(import.meta.dirname, '../ptx/instruction-samples.txt'), 'latin1')
  .split('\n')
  .flatMap((line) => line.split(' | ')[2]?.match(/^(?:@\S+\s+)?([^\s;]+)/)?.[1] ?? []);

describe('operands that do not fit', () => {
  it('break nothing', () => {
    expect(instructions.length).toBeGreaterThan(200);
    for (const instruction of new Set(instructions)) {
      for (const kind of KINDS) {
        for (const count of [0, 1, 2, 3, 5]) {
          const operands = Array(count).fill(kind).join(', ');
          const text = `${HEAD}${instruction} ${operands};\nst.global.u32 [%rd1], %r1;\n}\n`;
          try {
            const build = new ModuleBuild({ name: 'operands.ptx', text, lineOffset: 0 });
            for (const node of build.kernels) build.build(node, 0);
          } catch (error) {
            throw new Error(`${instruction} ${operands}: ${(error as Error).stack}`);
          }
        }
      }
    }
  });
});
