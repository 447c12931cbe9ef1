/**
 * Local memory as values: a pointer kept in a slot is followed exactly where the slot certainly holds it, and nowhere else.
 * Each kernel stores through a pointer that it took from a slot; the verdict tells whether the pass knew it.
 */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { executeConcretely } from '../../src/shadow/index.js';

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';
const OUT = 0x1000n;
const OTHER = 0x9000n;

async function kernel(body: string, module = '') {
  const text = `${HEAD}${module}
.visible .entry k(.param .u64 out, .param .u64 other, .param .u32 n)
{
.reg .pred %p<5>; .reg .b16 %rs<5>; .reg .b32 %r<10>; .reg .b64 %rd<20>; .reg .b64 %SP;
.local .align 16 .b8 d[64]; .local .align 8 .b8 e[16];
mov.u64 %rd10, d; cvta.local.u64 %SP, %rd10; mov.u64 %rd11, e; cvta.local.u64 %rd12, %rd11;
ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [other]; ld.param.u32 %r1, [n];
${body}
ret;
}
`;
  const { product, diagnostics } = await buildTemplatesFromText(text);
  expect(diagnostics).toEqual([]);
  return product.kernels.find(({ name }) => name === 'k')!;
}

/** Verdict, and the ranges written by one thread with n = 5 when they are exact. */
async function outcome(body: string, module = ''): Promise<string> {
  const template = await kernel(body, module);
  if (template.verdict !== 'exact') return template.verdict;
  const parameters = new DataView(new ArrayBuffer(20));
  parameters.setBigUint64(0, OUT, true);
  parameters.setBigUint64(8, OTHER, true);
  parameters.setUint32(16, 5, true);
  const launch = {
    kernel: 'k',
    grid: [1, 1, 1],
    block: [1, 1, 1],
    parameters: new Uint8Array(parameters.buffer),
  } as const;
  const { verdict, ranges } = executeConcretely(template, launch);
  return `${verdict} ${ranges.map(({ from, to }) => `${from.toString(16)}+${to - from}`).join(' ')}`;
}

const THROUGH = 'st.global.u32 [%rd5], 1;';

describe('a slot holds what was stored there', () => {
  it.each<readonly [string, string, string]>([
    ['by local addresses', `st.local.u64 [d+8], %rd1; ld.local.u64 %rd5, [d+8]; ${THROUGH}`, 'exact 1000+4'],
    ['by generic addresses', `st.u64 [%SP+8], %rd1; ld.u64 %rd5, [%SP+8]; ${THROUGH}`, 'exact 1000+4'],
    ['by both', `st.local.u64 [d+8], %rd1; ld.u64 %rd5, [%SP+8]; ${THROUGH}`, 'exact 1000+4'],
    ['by vectors', `st.local.v2.u64 [d+16], {%rd2, %rd1}; ld.local.u64 %rd5, [d+24]; ${THROUGH}`, 'exact 1000+4'],
    [
      'read as a vector',
      `st.local.u64 [d], %rd2; st.local.u64 [d+8], %rd1; ld.local.v2.u64 {%rd4, %rd5}, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'the last store wins',
      `st.local.u64 [d], %rd2; st.local.u64 [d], %rd1; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'another slot is another',
      `st.local.u64 [d], %rd1; st.local.u64 [d+8], %rd2; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'another variable is another',
      `st.local.u64 [d], %rd1; st.local.u64 [e], %rd2; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'a store under a guard',
      `st.local.u64 [d], %rd2; setp.eq.u32 %p1, %r1, 5; @%p1 st.local.u64 [d], %rd1; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'a store under a guard that fails',
      `st.local.u64 [d], %rd2; setp.ne.u32 %p1, %r1, 5; @%p1 st.local.u64 [d], %rd1; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 9000+4',
    ],
    [
      'on two ways',
      `setp.eq.u32 %p1, %r1, 5; @%p1 bra A; st.local.u64 [d], %rd2; bra B; A: st.local.u64 [d], %rd1; B: ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
    [
      'around a loop',
      `st.local.u64 [d], %rd1; mov.u32 %r2, 0;
       L: ld.local.u64 %rd5, [d]; ${THROUGH} add.s64 %rd5, %rd5, 16; st.local.u64 [d], %rd5;
       add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, %r1; @%p1 bra L;`,
      'exact 1000+4 1010+4 1020+4 1030+4 1040+4',
    ],
    [
      'a counter in a slot',
      `mov.u32 %r2, 0; st.local.u32 [d+4], %r2; bra C;
       L: ld.local.u32 %r3, [d+4]; mul.wide.u32 %rd6, %r3, 8; add.s64 %rd5, %rd1, %rd6; ${THROUGH}
       add.u32 %r3, %r3, 1; st.local.u32 [d+4], %r3;
       C: ld.local.u32 %r4, [d+4]; setp.lt.u32 %p1, %r4, 3; @%p1 bra L;`,
      'exact 1000+4 1008+4 1010+4',
    ],
    [
      'a store through a parameter does not reach it',
      `st.u64 [%SP], %rd1; st.u64 [%rd2], %rd2; ld.u64 %rd5, [%SP]; st.u32 [%rd5], 1;`,
      'exact 1000+4 9000+8',
    ],
    [
      'an index that is not constant reads another slot',
      `st.local.u64 [d], %rd1; cvt.u64.u32 %rd6, %r1; add.s64 %rd7, %rd10, %rd6; ld.local.u64 %rd8, [%rd7]; ld.local.u64 %rd5, [d]; ${THROUGH}`,
      'exact 1000+4',
    ],
  ])('%s', async (_, body, expected) => {
    expect(await outcome(body)).toBe(expected);
  });

  it('follows a callee that stores through the pointer it is given', async () => {
    const callee =
      '.func set(.param .b64 place, .param .b64 what)\n{ .reg .b64 %rd<3>; ld.param.u64 %rd1, [place]; ld.param.u64 %rd2, [what]; st.u64 [%rd1], %rd2; ret; }\n';
    const body = `st.u64 [%SP], %rd2; { .param .b64 a; .param .b64 b; st.param.b64 [a], %SP; st.param.b64 [b], %rd1; call set, (a, b); } ld.u64 %rd5, [%SP]; ${THROUGH}`;
    expect(await outcome(body, callee)).toBe('exact 1000+4');
  });
});

describe('a slot is not known', () => {
  it.each<readonly [string, string]>([
    ['before it was stored to', `ld.local.u64 %rd5, [d]; ${THROUGH}`],
    [
      'when one way does not store',
      `setp.eq.u32 %p1, %r1, 5; @%p1 bra B; st.local.u64 [d], %rd1; B: ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'when half of it was overwritten',
      `st.local.u64 [d], %rd1; st.local.u32 [d+4], %r1; ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'when a byte of it was overwritten',
      `st.local.u64 [d], %rd1; st.local.u8 [d+7], %r1; ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'when a wider store covered it',
      `st.local.u64 [d+8], %rd1; st.local.v4.u32 [d], {%r1, %r1, %r1, %r1}; ld.local.u64 %rd5, [d+8]; ${THROUGH}`,
    ],
    [
      'behind a store at an index that is not constant',
      `st.local.u64 [d], %rd1; cvt.u64.u32 %rd6, %r1; add.s64 %rd7, %rd10, %rd6; st.local.u64 [%rd7], %rd2; ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'behind a store at an index that memory gave',
      `st.local.u64 [d], %rd1; ld.global.u64 %rd6, [%rd2]; add.s64 %rd7, %rd10, %rd6; st.local.u64 [%rd7], %rd2; ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'behind a store through a pointer that memory gave, once its address got there',
      `st.u64 [%SP], %rd1; st.global.u64 [%rd2], %SP; ld.global.u64 %rd7, [%rd2]; st.u64 [%rd7], %rd2; ld.u64 %rd5, [%SP]; ${THROUGH}`,
    ],
    [
      'behind a store through one of two places',
      `st.u64 [%SP], %rd1; setp.eq.u32 %p1, %r1, 5; selp.b64 %rd7, %SP, %rd12, %p1; st.u64 [%rd7], %rd2; ld.u64 %rd5, [%SP]; ${THROUGH}`,
    ],
    ['behind an atomic', `st.u64 [%SP], %rd1; atom.add.u64 %rd7, [%SP], %rd2; ld.u64 %rd5, [%SP]; ${THROUGH}`],
    [
      'behind an address in local memory that is no variable',
      `st.local.u64 [d], %rd1; cvt.u64.u32 %rd7, %r1; st.local.u64 [%rd7], %rd2; ld.local.u64 %rd5, [d]; ${THROUGH}`,
    ],
    [
      'when the loop overwrites it with what memory holds',
      `st.local.u64 [d], %rd1; mov.u32 %r2, 0; L: ld.local.u64 %rd5, [d]; ${THROUGH} ld.global.u64 %rd6, [%rd2]; st.local.u64 [d], %rd6; add.u32 %r2, %r2, 1; setp.lt.u32 %p1, %r2, %r1; @%p1 bra L;`,
    ],
    [
      'when a masked pointer overwrote it',
      `st.u64 [%SP+16], %rd1; or.b64 %rd7, %SP, 16; st.u64 [%rd7], %rd2; ld.u64 %rd5, [%SP+16]; ${THROUGH}`,
    ],
  ])('%s', async (_, body) => {
    expect(await outcome(body)).toBe('unknown');
  });

  it('behind a call that is not expanded', async () => {
    const module = '.extern .func foreign(.param .b64 place);\n';
    const body = `st.u64 [%SP], %rd1; { .param .b64 a; st.param.b64 [a], %SP; call foreign, (a); } ld.u64 %rd5, [%SP]; ${THROUGH}`;
    const template = await kernel(body, module);
    expect(template.writes.find(({ instruction }) => instruction === 'st.global.u32')!.verdict).toBe('unknown');
  });

  it('behind a recursive call that writes no global memory', async () => {
    const module = `.func down(.param .b64 place, .param .b32 depth);
.func down(.param .b64 place, .param .b32 depth)
{ .reg .pred %p1; .reg .b32 %r<3>; .reg .b64 %rd<4>; ld.param.u64 %rd1, [place]; ld.param.u32 %r1, [depth];
  cvta.to.local.u64 %rd2, %rd1; mov.u64 %rd3, 64; st.local.u64 [%rd2], %rd3;
  setp.eq.u32 %p1, %r1, 0; @%p1 ret; sub.u32 %r2, %r1, 1;
  { .param .b64 a; .param .b32 b; st.param.b64 [a], %rd1; st.param.b32 [b], %r2; call down, (a, b); } ret; }
`;
    const body = `st.u64 [%SP], %rd1; { .param .b64 a; .param .b32 b; st.param.b64 [a], %SP; st.param.b32 [b], %r1; call down, (a, b); } ld.u64 %rd5, [%SP]; ${THROUGH}`;
    const template = await kernel(body, module);
    expect(template.writes.find(({ instruction }) => instruction === 'st.global.u32')!.verdict).toBe('unknown');
  });
});
