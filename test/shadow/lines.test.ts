/**
 * Values that are linear in the one number that changes between launches are what they would be if they were computed anew, also
 * where the number leaves the range that they were made for, or a value its type's.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { kernelsOfText } from '../../scripts/judge/kernels.mjs';
import { Domain } from '../../src/shadow/abstract/domain.js';
import { addForms, atomForm, constantForm } from '../../src/shadow/abstract/form.js';
import { fixedLine, Lines, NUMBER_LINE } from '../../src/shadow/abstract/lines.js';
import { ShadowExecutor } from '../../src/shadow/index.js';
import { library } from '../judge/helpers.js';

const OUT = 1n << 40n;
const THREADS = 48;
const CONSTANT = 5;

/** A kernel that stores one byte at `out` plus what `body` makes of `n` (%r1), `m` (%r4) and the thread (%r3), in %rd2. */
const kernel = (body: string) => `.version 8.0\n.target sm_80\n.address_size 64\n
  .visible .entry k(.param .u64 out, .param .u32 n, .param .u32 m) { .reg .b32 %r<9>; .reg .b64 %rd<9>;
  ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n]; ld.param.u32 %r4, [m]; mov.u32 %r3, %tid.x;
  ${body} add.s64 %rd3, %rd1, %rd2; st.global.u8 [%rd3], 1; ret; }`;

interface Case {
  readonly body: string;
  readonly place: (n: number, thread: number) => bigint;
}

const CASES: Readonly<Record<string, Case>> = {
  'a product, extended by its sign': {
    body: 'mad.lo.s32 %r5, %r1, %r3, %r4; cvt.s64.s32 %rd2, %r5;',
    place: (n, thread) => BigInt((Math.imul(n, thread) + CONSTANT) | 0),
  },
  'a product, extended by zeros': {
    body: 'mul.lo.s32 %r5, %r3, %r1; shl.b32 %r5, %r5, 2; cvt.u64.u32 %rd2, %r5;',
    place: (n, thread) => BigInt((Math.imul(n, thread) << 2) >>> 0),
  },
  'a difference': {
    body: 'sub.s32 %r5, %r3, %r1; cvt.u64.u32 %rd2, %r5;',
    place: (n, thread) => BigInt((thread - n) >>> 0),
  },
  'a wide product': {
    body: 'cvt.s64.s32 %rd4, %r1; cvt.u64.u32 %rd5, %r3; mul.lo.s64 %rd2, %rd4, %rd5; sub.s64 %rd2, %rd2, %rd4;',
    place: (n, thread) => BigInt(n) * BigInt(thread) - BigInt(n),
  },
  'its square': {
    body: 'mul.lo.s32 %r5, %r1, %r1; mad.lo.s32 %r5, %r5, %r3, %r1; cvt.s64.s32 %rd2, %r5;',
    place: (n, thread) => BigInt((Math.imul(Math.imul(n, n), thread) + n) | 0),
  },
};

const NUMBERS = [
  ...[3, 4, 5, 6, 100, 4101, 4102, 9000, 70_000, 70_001, 1, 0, -1, -2, -5000, -70_000, 7],
  ...[40_000_000, 44_739_240, 44_739_243, 45_691_141, 45_691_142, 45_691_150, 91_382_283, 91_382_284],
  ...[0x7fffffff, 0x7ffffffe, -0x80000000, -0x7fffffff, -45_691_141, -45_691_143, 12, 13],
];

/** Numbers for which a byte that is written is missing from the answer, or one too many is in an exact one. */
async function wrong({ body, place }: Case): Promise<number[]> {
  const entry = (await kernelsOfText(library, kernel(body)))[0]!;
  const executor = new ShadowExecutor(entry.templates);
  executor.allocate(OUT, 1 << 20);
  const found: number[] = [];
  for (const n of NUMBERS) {
    const parameters = new Uint8Array(16);
    const view = new DataView(parameters.buffer);
    view.setBigUint64(0, OUT, true);
    view.setInt32(8, n, true);
    view.setInt32(12, CONSTANT, true);
    const set = executor.launch({ kernel: 'k', grid: [1, 1, 1], block: [THREADS, 1, 1], parameters });
    const expected = new Set(Array.from({ length: THREADS }, (_, thread) => OUT + place(n, thread)));
    const ranges = set.ranges();
    const holds = [...expected].every((at) => ranges.some(({ from, to }) => from <= at && at < to));
    const isTight = set.verdict !== 'exact' || set.bytes === BigInt(expected.size);
    if (set.verdict !== 'unknown' && !(holds && isTight)) found.push(n);
  }
  return found;
}

describe('what is linear in a number that changes', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  for (const [name, one] of Object.entries(CASES)) {
    it(`is right for ${name}`, async () => {
      const take = vi.spyOn(Lines.prototype, 'take');
      expect(await wrong(one)).toEqual([]);
      expect(take.mock.results.map(({ value }) => value)).toContain(true);
    });
  }

  it('would not be if the number were not taken up', async () => {
    vi.spyOn(Lines.prototype, 'take').mockReturnValue(true);
    expect(await wrong(CASES['a difference']!)).not.toEqual([]);
  });

  it('is extended only where one window holds for all numbers and threads', () => {
    const domain = new Domain();
    const thread = fixedLine(atomForm(domain.atom(0, 99)));
    const near = new Lines(domain, 0, 10, undefined);
    const scaled = near.apply('mul', 32, 32, [thread, NUMBER_LINE])!;
    const extended = near.apply('signExtend', 64, 32, [scaled])!;
    const at = 3000;
    expect(addForms(extended.base, extended.slope, at, 64)).toEqual(addForms(constantForm(0), thread.base, at, 64));
    const far = new Lines(domain, 0, 30_000_000, undefined);
    expect(far.apply('mul', 32, 32, [thread, NUMBER_LINE])).toBeDefined();
    expect(far.apply('signExtend', 64, 32, [far.apply('mul', 32, 32, [thread, NUMBER_LINE])!])).toBeUndefined();
    // Below zero for some.
    const less = near.apply('sub', 32, 32, [NUMBER_LINE, thread])!;
    expect(near.apply('zeroExtend', 64, 32, [less])).toBeUndefined();
    expect(near.apply('signExtend', 64, 32, [less])).toBeDefined();
    // Products of two lines are none.
    expect(near.apply('mul', 32, 32, [NUMBER_LINE, NUMBER_LINE])).toBeUndefined();
  });
});
