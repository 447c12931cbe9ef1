/**
 * Abstract execution of whole kernels against the simulator, one idea each: every answer must hold all bytes that are
 * written, and an `exact` one no other.
 */
import { describe, expect, it } from 'vitest';
import { subtract } from '../../scripts/judge/judge.mjs';
import { kernelsOfText } from '../../scripts/judge/kernels.mjs';
import { ShadowExecutor } from '../../src/shadow/index.js';
import { DeviceMemory } from '../../src/sim/index.js';
import { library } from '../judge/helpers.js';

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';
const REGISTERS = '.reg .pred %p<20>; .reg .b16 %rs<9>; .reg .b32 %r<60>; .reg .b64 %rd<60>;';
const OUT = 0x1000000n;
const TABLE = 0x2000000n;

interface Case {
  /** Parameters after `out` and `table`. */
  readonly numbers?: readonly number[];
  readonly threads?: number;
  readonly blocks?: number;
  /** Threads of a block in the second dimension. */
  readonly rows?: number;
  readonly table?: readonly number[];
  /** Content of the table is not told. */
  readonly secret?: boolean;
}

/** A kernel with parameters `out`, `table` and numbers `n0`, `n1`. */
const kernel = (body: string) =>
  `${HEAD}.visible .entry k(.param .u64 out, .param .u64 table, .param .u32 n0, .param .u32 n1) { ${REGISTERS}
  ld.param.u64 %rd1, [out]; ld.param.u64 %rd2, [table]; ld.param.u32 %r50, [n0]; ld.param.u32 %r51, [n1];
  mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; ${body} }\n`;

/** Stores one byte at out + r9 (signed). */
const STORE = 'cvt.s64.s32 %rd9, %r9; add.s64 %rd10, %rd1, %rd9; st.global.u8 [%rd10], 1;';

async function judge(body: string, cases: readonly Case[]): Promise<string[]> {
  const entry = (await kernelsOfText(library, kernel(body)))[0]!;
  expect(entry).toBeDefined();
  const verdicts: string[] = [];
  for (const { numbers = [], threads = 64, blocks = 1, rows = 1, table = [], secret } of cases) {
    const parameters = new Uint8Array(24);
    const view = new DataView(parameters.buffer);
    view.setBigUint64(0, OUT + 0x8000n, true);
    view.setBigUint64(8, TABLE, true);
    numbers.forEach((number, index) => {
      view.setInt32(16 + 4 * index, number, true);
    });
    const launch = { kernel: 'k', grid: [blocks, 1, 1] as const, block: [threads, rows, 1] as const, parameters };
    const content = new Uint8Array(Int32Array.from([...table, ...Array(64).fill(0)]).buffer);
    const memory = new DeviceMemory();
    memory.map(OUT, new Uint8Array(0x10000));
    memory.map(TABLE, content.slice());
    entry.compiled.launch({ ...launch, memory, outOfRange: 'ignore', maxSteps: 1e7 });
    const written = memory.written();
    for (const provenance of [true, false]) {
      const shadow = new ShadowExecutor(entry.templates, { provenance });
      shadow.allocate(OUT, 0x10000);
      shadow.allocate(TABLE, content.length);
      if (!secret) shadow.copyIn(TABLE, content.length, content);
      const set = shadow.launch(launch);
      const what = JSON.stringify({ numbers, threads, blocks, rows, table, provenance, verdict: set.verdict });
      expect(subtract(written, set.ranges()), `missed: ${what}`).toEqual([]);
      if (set.verdict === 'exact') expect(subtract(set.ranges(), written), `in excess: ${what}`).toEqual([]);
      verdicts.push(set.verdict);
    }
  }
  return verdicts;
}

describe('quotients and remainders', () => {
  it('of sums with gaps, by divisors that their steps come back to', async () => {
    const verdicts: string[] = [];
    for (const step of [64, 96, 128]) {
      for (const divisor of [12, 20, 24, 36, 40, 48, 72, 96]) {
        for (const first of [0, 3, 32]) {
          // Four threads' worth of every block's step, as vector stores leave it.
          const body = `mad.lo.s32 %r3, %r2, ${step}, ${first}; mad.lo.s32 %r3, %r1, 4, %r3; setp.ge.s32 %p1, %r3, %r50;
            @%p1 ret; div.s32 %r4, %r3, ${divisor}; rem.s32 %r5, %r3, ${divisor}; mad.lo.s32 %r9, %r5, 97, %r4; ${STORE} ret;`;
          const all = { numbers: [1 << 20], threads: 8, blocks: 13 };
          verdicts.push(...(await judge(body, [all, { ...all, numbers: [500] }])));
        }
      }
    }
    expect(verdicts.filter((verdict) => verdict === 'exact').length / verdicts.length).toBeGreaterThan(0.7);
  });
});

describe('a sum that was divided as a whole', () => {
  // The number of a thread among all, with 31 threads in a block: no digit nests in a power of two.
  const NUMBER = 'mad.lo.s32 %r3, %r2, 31, %r1;';
  const all = { threads: 31, blocks: 16 };

  it('keeps its bound for addresses that its terms make otherwise', async () => {
    const verdicts = await judge(
      `${NUMBER} setp.ge.s32 %p1, %r3, %r50; @%p1 ret; shr.u32 %r4, %r3, 2; setp.gt.u32 %p2, %r4, 1000; @%p2 ret;
       mad.lo.s32 %r9, %r1, 16, %r2; ${STORE} ret;`,
      [
        { ...all, numbers: [100] },
        { ...all, numbers: [1] },
        { ...all, numbers: [1000] },
      ],
    );
    expect(new Set(verdicts)).toEqual(new Set(['exact']));
  });

  it('narrows its terms by what is asked of its digits', async () => {
    for (const guard of [
      'setp.ge.s32 %p1, %r4, 20;',
      'setp.lt.s32 %p1, %r4, 20;',
      'setp.ne.s32 %p1, %r5, 2;',
      'setp.eq.s32 %p1, %r5, 2;',
      'and.b32 %r7, %r4, 1; setp.eq.s32 %p1, %r7, 0;',
    ])
      await judge(
        `${NUMBER} shr.u32 %r4, %r3, 2; and.b32 %r5, %r3, 3; ${guard} @%p1 ret; mad.lo.s32 %r9, %r1, 16, %r2; ${STORE} ret;`,
        [all],
      );
  });

  it('has the digits of those terms that a later guard leaves', async () => {
    await judge(
      `${NUMBER} shr.u32 %r4, %r3, 2; setp.gt.u32 %p1, %r4, 1000; @%p1 ret; mad.lo.s32 %r5, %r2, 2, %r1;
       setp.gt.s32 %p2, %r5, 30; @%p2 ret; mul.lo.s32 %r9, %r4, 8; ${STORE} ret;`,
      [all],
    );
  });

  it('is not there when its digits and its terms exclude each other', async () => {
    await judge(
      `${NUMBER} shr.u32 %r4, %r3, 2; setp.lt.u32 %p1, %r4, 122; @%p1 ret; mad.lo.s32 %r5, %r2, 2, %r1;
       setp.gt.s32 %p2, %r5, 30; @%p2 ret; mov.u32 %r9, %tid.y; ${STORE} ret;`,
      [{ ...all, rows: 2 }],
    );
  });

  it('is not apart from its terms when its digits are split further', async () => {
    await judge(`${NUMBER} shr.u32 %r4, %r3, 2; shr.u32 %r5, %r4, 2; mad.lo.s32 %r9, %r5, 100, %r1; ${STORE} ret;`, [
      all,
    ]);
  });

  it('narrows its terms as the number of a lane', async () => {
    await judge(
      `mov.u32 %r3, %laneid; setp.ne.u32 %p1, %r3, 0; @%p1 ret; mov.u32 %r4, %tid.y; mad.lo.s32 %r9, %r1, 32, %r4;
       ${STORE} ret;`,
      [{ threads: 31, rows: 32 }],
    );
  });
});

describe('constraints on a sum', () => {
  it('are seen to leave no members after its terms were narrowed', async () => {
    await judge(
      `add.s32 %r3, %r1, %r2; setp.lt.s32 %p1, %r3, 10; @%p1 ret; setp.gt.s32 %p2, %r1, 2; @%p2 ret;
       setp.gt.s32 %p3, %r2, 3; @%p3 ret; mov.u32 %r9, %tid.y; ${STORE} ret;`,
      [{ threads: 10, blocks: 10, rows: 2 }],
    );
  });

  it('do not move the places of a table whose index it is', async () => {
    await judge(
      `mad.lo.s32 %r3, %r2, 31, %r1; setp.lt.s32 %p1, %r3, 5; @%p1 ret; setp.ne.s32 %p2, %r2, 0; @%p2 ret;
       mul.wide.s32 %rd3, %r3, 4; add.s64 %rd4, %rd2, %rd3; ld.global.u32 %r9, [%rd4]; ${STORE} ret;`,
      [
        { threads: 31, blocks: 4, table: Array.from({ length: 31 }, (_, at) => at * 3) },
        { threads: 31, blocks: 4, table: Array.from({ length: 31 }, (_, at) => (at * at) % 64) },
      ],
    );
  });
});

describe('loops', () => {
  it('that threads return from leave the others', async () => {
    for (const guard of ['setp.eq.u32 %p1, %r1, 3;', 'setp.eq.u32 %p1, %r1, %r4;']) {
      // The way out is in the middle of a round; or at its end, for rounds that come to it.
      await judge(
        `mov.u32 %r3, 0; L: mul.lo.u32 %r4, %r3, 3; ${guard} @%p1 bra E; add.u32 %r3, %r3, 1; setp.lt.u32 %p2, %r3, 4;
         @%p2 bra L; mov.u32 %r9, %r1; ${STORE} E: ret;`,
        [{ threads: 33 }],
      );
      await judge(
        `mov.u32 %r3, %r2; setp.ge.u32 %p2, %r3, 4; @%p2 bra M; L: mul.lo.u32 %r4, %r3, 3; ${guard} @%p1 bra E;
         add.u32 %r3, %r3, 1; setp.lt.u32 %p3, %r3, 4; @%p3 bra L; M: mad.lo.u32 %r9, %r2, 64, %r1; ${STORE} E: ret;`,
        [{ threads: 33, blocks: 6 }],
      );
      await judge(
        `mov.u32 %r3, %r2; L: setp.ge.u32 %p2, %r3, 4; @%p2 bra M; mul.lo.u32 %r4, %r3, 3; ${guard} @%p1 bra E;
         add.u32 %r3, %r3, 1; bra L; M: mad.lo.u32 %r9, %r2, 64, %r1; ${STORE} E: ret;`,
        [{ threads: 33, blocks: 6 }],
      );
    }
  });

  it('whose step is decided by what guards the store', async () => {
    const verdicts = await judge(
      `mov.u32 %r3, 0; mov.u32 %r4, 0; L: setp.ge.s32 %p1, %r3, 3; selp.b32 %r5, 100, 1, %p1; @!%p1 bra N;
       mad.lo.s32 %r9, %r1, 1000, %r4; ${STORE} N: add.s32 %r4, %r4, %r5; add.s32 %r3, %r3, 1; setp.lt.s32 %p2, %r3, 6;
       @%p2 bra L; ret;`,
      [{ threads: 9 }],
    );
    expect(new Set(verdicts)).toEqual(new Set(['exact']));
    // Memory may say something else in each round.
    await judge(
      `mov.u32 %r3, 0; mov.u32 %r4, 0; L: mul.wide.s32 %rd3, %r3, 4; add.s64 %rd4, %rd2, %rd3; ld.global.u32 %r6, [%rd4];
       setp.ne.s32 %p1, %r6, 0; selp.b32 %r5, 100, 1, %p1; @!%p1 bra N; mad.lo.s32 %r9, %r1, 1000, %r4; ${STORE}
       N: add.s32 %r4, %r4, %r5; add.s32 %r3, %r3, 1; setp.lt.s32 %p2, %r3, 6; @%p2 bra L; ret;`,
      [
        { threads: 9, table: [0, 0, 1, 0, 1, 1] },
        { threads: 9, table: [0, 0, 1, 0, 1, 1], secret: true },
      ],
    );
  });

  it('that nobody comes to a second round of', async () => {
    await judge(
      `mov.u32 %r3, 2; mov.u32 %r4, %r2; div.u32 %r5, %r2, 31; L: setp.ge.s32 %p1, %r3, 16; @%p1 bra E;
       mad.lo.s32 %r9, %r2, 4, %r4; ${STORE} mov.u32 %r6, 5; setp.ge.u32 %p2, %r5, 123; @%p2 bra M;
       setp.lt.u32 %p3, %r1, %r5; @!%p3 bra E; bra N; M: mov.u32 %r6, %r4; N: add.s32 %r4, %r4, %r6; add.s32 %r3, %r3, 1;
       bra L; E: ret;`,
      [{ threads: 10, blocks: 2 }],
    );
  });

  it('whose last test only those come to who did not return after the store', async () => {
    await judge(
      `mov.u32 %r3, 0; L: mad.lo.s32 %r9, %r1, 64, %r3; ${STORE} setp.lt.s32 %p1, %r50, 10; @%p1 bra C; mov.u32 %r8, 6; bra D;
       C: setp.lt.s32 %p2, %r1, 5; @%p2 bra E; mov.u32 %r8, 4; D: add.s32 %r3, %r3, 1; setp.lt.s32 %p3, %r3, %r8; @%p3 bra L;
       E: ret;`,
      [
        { threads: 9, numbers: [3] },
        { threads: 9, numbers: [30] },
      ],
    );
  });

  it('that are left by several ways, on one of which some return', async () => {
    await judge(
      `mov.u32 %r3, 0; L: mul.wide.s32 %rd3, %r3, 4; add.s64 %rd4, %rd2, %rd3; ld.global.u32 %r6, [%rd4];
       setp.eq.s32 %p1, %r6, 7; @%p1 bra A; add.s32 %r3, %r3, 1; setp.lt.s32 %p2, %r3, 4; @%p2 bra L; mov.u32 %r8, 10; bra M;
       A: setp.lt.s32 %p3, %r1, 10; @%p3 bra B; mov.u32 %r8, 30; bra C;
       B: setp.lt.s32 %p4, %r1, 5; @%p4 bra E; mov.u32 %r8, 20; C: add.s32 %r8, %r8, 1; M: mad.lo.s32 %r9, %r1, 64, %r8; ${STORE} E: ret;`,
      [
        { threads: 16, secret: true },
        { threads: 16, secret: true, table: [1, 2, 7] },
      ],
    );
  });

  it('around others, as they were left in the round before', async () => {
    await judge(
      `mov.u32 %r3, 1; mov.u32 %r4, %r1; O: setp.ge.s32 %p1, %r3, %r50; @%p1 bra E; mov.u32 %r5, %r3; mov.u32 %r6, %r2;
       L: setp.ge.s32 %p2, %r5, 8; @%p2 bra N; mad.lo.s32 %r9, %r4, 4, %r3; ${STORE} add.s32 %r6, %r6, -1;
       add.s32 %r5, %r5, 31; bra L; N: add.s32 %r4, %r4, %r6; add.s32 %r3, %r3, 1; bra O; E: ret;`,
      [{ threads: 31, blocks: 4, numbers: [31] }],
    );
  });

  it('with a guarded store that is executed round by round after all', async () => {
    await judge(
      `mov.u32 %r3, 0; mov.u32 %r4, 0; mov.u32 %r5, %tid.y; L: setp.ge.s32 %p1, %r3, 8; @%p1 bra E;
       mad.lo.s32 %r9, %r4, 100, %r3; mad.lo.s32 %r9, %r1, 8, %r9; setp.lt.s32 %p2, %r5, 123; not.pred %p3, %p2;
       cvt.s64.s32 %rd9, %r9; add.s64 %rd10, %rd1, %rd9; @!%p3 st.global.u8 [%rd10], 1; add.s32 %r4, %r4, %r5;
       add.s32 %r3, %r3, 1; bra L; E: ret;`,
      [{ threads: 10, rows: 10 }],
    );
  });

  it('follow a table whose entries differ by thread', async () => {
    const chain = `add.s32 %r9, %r1, %r50; L: ${STORE} mul.wide.s32 %rd3, %r9, 4; add.s64 %rd4, %rd2, %rd3;
      ld.global.u32 %r9, [%rd4]; setp.gt.s32 %p1, %r9, -1; setp.lt.s32 %p2, %r9, %r51; and.pred %p3, %p1, %p2;
      @%p3 bra L; ret;`;
    const verdicts = await judge(chain, [
      { numbers: [0, 8], threads: 4, table: [5, -1, -1, -1, -1, 6, 7, -1] },
      { numbers: [0, 8], threads: 4, table: [3, 2, -1, 5, 4, -1, 6, 7].map((v, i) => (v > i ? v : -1)) },
      { numbers: [1, 8], threads: 2, table: [1, 2, 4, 7, 5, 6, -1, -1] },
    ]);
    expect(new Set(verdicts)).toEqual(new Set(['exact']));
  });

  it('whose step is another one for some threads', async () => {
    // The bound is chosen by the condition that also chooses the step.
    await judge(
      `setp.lt.u32 %p1, %r1, 5; @%p1 bra A; mov.u32 %r3, 40; bra B; A: mov.u32 %r3, 10; B:
       setp.ge.u32 %p2, %r1, %r3; @%p2 bra E; selp.b32 %r4, 7, 1, %p1; mov.u32 %r5, %r1;
       L: mul.lo.s32 %r9, %r5, 16; ${STORE} add.s32 %r5, %r5, %r4; setp.lt.s32 %p3, %r5, 60; @%p3 bra L; E: ret;`,
      [{ threads: 33 }, { threads: 5 }, { threads: 64 }],
    );
  });

  it('whose step is a variable of the loop around', async () => {
    await judge(
      `mov.u32 %r3, 1; O: mov.u32 %r4, %r1; setp.ge.u32 %p1, %r4, 60; @%p1 bra N;
       L: mad.lo.u32 %r9, %r3, 256, %r4; ${STORE} add.u32 %r4, %r4, %r3; setp.lt.u32 %p2, %r4, 60; @%p2 bra L;
       N: mul.lo.u32 %r3, %r3, 3; setp.lt.u32 %p3, %r3, 60; @%p3 bra O; ret;`,
      [{ threads: 1 }, { threads: 40 }],
    );
  });

  it('whose first test promises what only it bounds', async () => {
    // The first exit is on a number that grows and may wrap; the second one bounds the rounds.
    await judge(
      `mov.u32 %r5, 0; mov.u32 %r6, %r50; L: cvt.s64.s32 %rd5, %r6; setp.lt.s64 %p1, %rd5, -2147483640; @%p1 bra E;
       and.b32 %r9, %r6, 255; ${STORE} shr.u64 %rd6, %rd5, 25; cvt.u32.u64 %r9, %rd6; and.b32 %r9, %r9, 16383; ${STORE}
       add.s32 %r6, %r6, %r51; add.s32 %r5, %r5, 1; setp.lt.s32 %p2, %r5, 9; @%p2 bra L; E: ret;`,
      [
        { numbers: [0x7ffffff0, 5], threads: 1 },
        { numbers: [0, 3], threads: 1 },
        { numbers: [-40, 7], threads: 1 },
      ],
    );
  });

  it('are left with the variables of their last round', async () => {
    const counted = (after: string) =>
      `rem.u32 %r3, %r1, 7; mov.u32 %r9, 0; L: add.s32 %r9, %r9, 3; setp.lt.s32 %p1, %r9, %r3; @%p1 bra L; ${after} ret;`;
    await judge(counted(STORE), [{ threads: 1 }, { threads: 40 }]);
    await judge(counted(`mad.lo.s32 %r9, %r1, 32, %r9; ${STORE}`), [{ threads: 1 }, { threads: 40 }]);
  });
});

describe('values of other threads', () => {
  it('are not bounded by the guard of the access', async () => {
    await judge(`shfl.sync.down.b32 %r9, %r1, 16, 31, -1; setp.ge.u32 %p1, %r1, 4; @%p1 bra E; ${STORE} E: ret;`, [
      { threads: 32 },
    ]);
  });

  it('are not those of the branch that the thread took', async () => {
    await judge(
      `setp.lt.u32 %p1, %r1, 4; selp.b32 %r3, 8, 200, %p1; shfl.sync.bfly.b32 %r9, %r3, 31, 31, -1;
       not.pred %p2, %p1; @%p2 bra E; ${STORE} E: ret;`,
      [{ threads: 32 }],
    );
  });
});

describe('the upper half of a product', () => {
  const UPPER = [1, 5, 1000, 0x7fffffff, -1, -1000, -0x80000000];
  const numbers = UPPER.flatMap((a) => [3, 0x40000001, -1, 0x7fffffff, -5].map((b) => [a, b]));
  for (const [multiply, shift] of [
    ['s32', 's32'],
    ['s32', 'u32'],
    ['u32', 's32'],
    ['u32', 'u32'],
  ]) {
    it(`of ${multiply}, shifted right as ${shift}`, async () => {
      const cases = numbers.map((pair) => ({ numbers: pair, threads: 3 }));
      await judge(
        `add.u32 %r3, %r50, %r1; mul.hi.${multiply} %r4, %r3, -7; shr.${shift} %r5, %r4, 3; and.b32 %r9, %r5, 16383; ${STORE}
         mul.hi.${multiply} %r4, %r3, 0x55555556; shr.${shift} %r5, %r4, 1; shr.u32 %r9, %r5, 20; ${STORE}
         mul.hi.${multiply} %r4, %r3, 0x40000001; add.s32 %r4, %r4, %r3; shr.${shift} %r5, %r4, 2; shr.u32 %r9, %r5, 18; ${STORE}
         ret;`,
        cases,
      );
    });
  }
});
