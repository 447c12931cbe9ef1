/**
 * Abstract execution against the thread-by-thread one, on short texts that each turn on one thing. The abstract answer
 * must hold every byte, and where it says `exact`, no other.
 */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { executeConcretely, type LaunchRecord, ShadowExecutor } from '../../src/shadow/index.js';

const OUT = 0x7f0000000000n;

/** @param body computes `%rd2`, an offset in bytes, from `%r1`, the thread's number, and `%r2`, the parameter `n` */
async function agree(body: string, n: number, verdict = 'exact', grid = 3, block = 37): Promise<void> {
  const text = `.version 8.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out, .param .u32 n)
{
  .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .pred %p<8>;
  mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mov.u32 %r12, %tid.x;
  mad.lo.s32 %r1, %r10, %r11, %r12;
  ld.param.u32 %r2, [n];
  ld.param.u64 %rd1, [out];
  ${body}
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r1;
  ret;
}
`;
  const { product } = await buildTemplatesFromText(text, 'k.ptx');
  const parameters = new Uint8Array(12);
  new DataView(parameters.buffer).setBigUint64(0, OUT, true);
  new DataView(parameters.buffer).setInt32(8, n, true);
  const launch: LaunchRecord = { kernel: 'k', grid: [grid, 1, 1], block: [block, 1, 1], parameters };
  // A template that does not claim to be exact gets no second look, thread by thread.
  const kernels = product.kernels.map((kernel) => ({ ...kernel, verdict: 'bounded' as const }));
  const set = new ShadowExecutor({ ...product, kernels }).launch(launch);
  const threads = executeConcretely(product.kernels[0]!, launch);
  expect(threads.verdict).toBe('exact');
  expect(set.verdict).toBe(verdict);
  if (verdict === 'exact') expect(set.ranges()).toEqual(threads.ranges);
}

describe('both ways of execution', () => {
  it('extend the upper half of a negative product by zeros', () =>
    agree('sub.s32 %r3, %r1, 50; mul.hi.s32 %r4, %r3, 0x55555556; cvt.u64.u32 %rd2, %r4; shl.b64 %rd2, %rd2, 2;', 0));
  it('extend the upper half of a negative product by its sign', () =>
    agree('sub.s32 %r3, %r1, 50; mul.hi.s32 %r4, %r3, 0x55555556; mul.wide.s32 %rd2, %r4, 4;', 0));
  it('divide negative numbers by a magic number', () =>
    agree(
      `sub.s32 %r3, %r1, 50; mul.hi.s32 %r4, %r3, -1840700269; add.s32 %r4, %r4, %r3; shr.u32 %r5, %r4, 31;
       shr.s32 %r6, %r4, 2; add.s32 %r6, %r6, %r5; mul.wide.s32 %rd2, %r6, 4;`,
      0,
    ));
  it('divide large unsigned numbers by a magic number that does not fit', () =>
    agree(
      `add.u32 %r3, %r1, %r2; mul.hi.u32 %r4, %r3, 613566757; sub.u32 %r5, %r3, %r4; shr.u32 %r5, %r5, 1;
       add.u32 %r5, %r5, %r4; shr.u32 %r5, %r5, 2; and.b32 %r5, %r5, 1023; mul.wide.u32 %rd2, %r5, 4;`,
      -60,
    ));
  it('wrap 32-bit indices', () => agree('add.u32 %r3, %r1, %r2; mul.wide.u32 %rd2, %r3, 4;', -50));
  it('wrap products of 32 bits', () => agree('mul.lo.u32 %r3, %r1, %r2; mul.wide.u32 %rd2, %r3, 4;', 0x1000_0000));
  it('multiply large odd numbers, low bits included', () =>
    agree(
      `add.s32 %r3, %r1, 0x40000001; mul.lo.s32 %r4, %r3, -1640531535; mul.wide.u32 %rd2, %r4, 4;`,
      0,
      'exact',
      1,
      5,
    ));
  it('shift pairs of words with large upper halves', () =>
    agree(
      `add.u32 %r3, %r1, 0x40000001; add.u32 %r5, %r1, 6; shf.l.wrap.b32 %r4, %r5, %r3, 31; mul.wide.u32 %rd2, %r4, 4;`,
      0,
      'exact',
      1,
      5,
    ));
  it('shift by an amount that wraps to a small one', () =>
    agree(
      `and.b32 %r3, %r1, 1; add.u32 %r3, %r3, 0x80000000; add.u32 %r3, %r3, %r2; shl.b32 %r4, %r1, %r3;
       mul.wide.u32 %rd2, %r4, 4;`,
      -2147483645,
      'exact',
      1,
      8,
    ));
  it('shift right arithmetically across zero', () =>
    agree('sub.s32 %r3, %r1, 50; shr.s32 %r4, %r3, 3; mul.wide.s32 %rd2, %r4, 4;', 0));
  it('divide and take remainders of negative numbers', () =>
    agree(
      `sub.s32 %r3, %r1, 50; div.s32 %r4, %r3, %r2; rem.s32 %r5, %r3, %r2; mad.lo.s32 %r6, %r4, 64, %r5;
       mul.wide.s32 %rd2, %r6, 4;`,
      7,
    ));
  it('index by elements', () => agree('div.u32 %r3, %r1, %r2; mul.wide.u32 %rd2, %r3, 256;', 10));
  it('swizzle', () =>
    agree(
      'shr.u32 %r3, %r1, 3; and.b32 %r4, %r1, 7; xor.b32 %r5, %r3, %r4; and.b32 %r5, %r5, 63; mul.wide.u32 %rd2, %r5, 4;',
      0,
    ));
  it('count down', () =>
    agree(
      `mov.u32 %r3, %r2; mov.u32 %r4, 0;
       $loop: add.u32 %r4, %r4, 3; add.s32 %r3, %r3, -2; setp.gt.s32 %p1, %r3, 0; @%p1 bra $loop;
       mad.lo.u32 %r5, %r4, 128, %r1; mul.wide.u32 %rd2, %r5, 4;`,
      11,
    ));
});
