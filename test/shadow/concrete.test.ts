import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { executeConcretely, type LaunchRecord } from '../../src/shadow/index.js';
import type { KernelTemplate } from '../../src/templates/index.js';

async function kernel(body: string, parameters: string, module = ''): Promise<KernelTemplate> {
  const text = `.version 8.0\n.target sm_80\n.address_size 64\n${module}\n.visible .entry k(${parameters})\n{\n${body}\n}\n`;
  const { product, diagnostics } = await buildTemplatesFromText(text);
  expect(diagnostics).toEqual([]);
  return product.kernels[0]!;
}

function parameters(...values: (readonly [bytes: number, value: bigint])[]): Uint8Array {
  const out: number[] = [];
  for (const [bytes, value] of values) {
    while (out.length % bytes) out.push(0);
    for (let i = 0; i < bytes; i++) out.push(Number((value >> BigInt(8 * i)) & 0xffn));
  }
  return Uint8Array.from(out);
}

const launch = (params: Uint8Array, grid: [number, number, number], block: [number, number, number]): LaunchRecord => ({
  kernel: 'k',
  grid,
  block,
  parameters: params,
});

const GLOBAL_INDEX = `
  mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x;
  mad.lo.s32 %r4, %r1, %r2, %r3;`;
const REGISTERS = '.reg .pred %p<9>; .reg .b32 %r<30>; .reg .b64 %rd<30>;';

describe('executeConcretely', () => {
  it('writes exactly the guarded elements', async () => {
    const template = await kernel(
      `${REGISTERS} ld.param.u64 %rd1, [out]; ld.param.u32 %r5, [n]; ${GLOBAL_INDEX}
      setp.ge.s32 %p1, %r4, %r5; @%p1 bra END;
      mul.wide.s32 %rd2, %r4, 4; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r4;
      END: ret;`,
      '.param .u64 out, .param .u32 n',
    );
    const result = executeConcretely(template, launch(parameters([8, 0x1000n], [4, 1000n]), [4, 1, 1], [256, 1, 1]));
    expect(result).toMatchObject({ verdict: 'exact', ranges: [{ from: 0x1000n, to: 0x1000n + 4000n }], reasons: [] });
  });

  it('follows a grid-stride loop to its end', async () => {
    const template = await kernel(
      `${REGISTERS} ld.param.u64 %rd1, [out]; ld.param.u32 %r5, [n]; ${GLOBAL_INDEX}
      mov.u32 %r6, %nctaid.x; mul.lo.s32 %r7, %r6, %r2; bra CHECK;
      LOOP: mul.wide.s32 %rd2, %r4, 8; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r4;
      add.s32 %r4, %r4, %r7;
      CHECK: setp.lt.s32 %p1, %r4, %r5; @%p1 bra LOOP; ret;`,
      '.param .u64 out, .param .u32 n',
    );
    const result = executeConcretely(template, launch(parameters([8, 0n], [4, 100n]), [2, 1, 1], [32, 1, 1]));
    expect(result.verdict).toBe('exact');
    expect(result.ranges).toEqual(
      Array.from({ length: 100 }, (_, i) => ({ from: BigInt(8 * i), to: BigInt(8 * i + 4) })),
    );
  });

  it('wraps 32-bit arithmetic', async () => {
    const template = await kernel(
      `${REGISTERS} ld.param.u64 %rd1, [out]; ld.param.u32 %r5, [n];
      mov.u32 %r3, %tid.x; add.u32 %r4, %r3, %r5; cvt.u64.u32 %rd2, %r4; add.s64 %rd3, %rd1, %rd2;
      st.global.u8 [%rd3], %r4; ret;`,
      '.param .u64 out, .param .u32 n',
    );
    const result = executeConcretely(template, launch(parameters([8, 16n], [4, 0xffffffffn]), [1, 1, 1], [2, 1, 1]));
    expect(result.ranges).toEqual([
      { from: 16n, to: 17n },
      { from: 16n + 0xffffffffn, to: 16n + 0x100000000n },
    ]);
  });

  it('says unknown when a branch depends on memory, and never gives a part as the whole', async () => {
    const template = await kernel(
      `${REGISTERS} ld.param.u64 %rd1, [out]; ld.global.u32 %r1, [%rd1]; setp.eq.s32 %p1, %r1, 0;
      @%p1 bra END; st.global.u32 [%rd1+4], %r1; END: ret;`,
      '.param .u64 out',
    );
    expect(template.verdict).toBe('bounded');
    const result = executeConcretely(template, launch(parameters([8, 64n]), [1, 1, 1], [1, 1, 1]));
    expect(result.verdict).toBe('unknown');
    expect(result.reasons.length).toBeGreaterThan(0);
  });

  it('needs the place of a module variable', async () => {
    const template = await kernel(
      `${REGISTERS} mov.u64 %rd1, g; st.global.u32 [%rd1+8], 5; ret;`,
      '',
      '.visible .global .align 4 .b8 g[64];',
    );
    const where = launch(new Uint8Array(), [1, 1, 1], [1, 1, 1]);
    expect(executeConcretely(template, where).verdict).toBe('unknown');
    const placed = executeConcretely(template, where, { symbols: new Map([['g', 0x500n]]) });
    expect(placed).toMatchObject({ verdict: 'exact', ranges: [{ from: 0x508n, to: 0x50cn }], reasons: [] });
  });

  it('refuses a parameter block that is too short, and too many threads', async () => {
    const template = await kernel('ret;', '.param .u64 out');
    expect(() => executeConcretely(template, launch(new Uint8Array(4), [1, 1, 1], [1, 1, 1]))).toThrow(/GCR5001/);
    const large = executeConcretely(template, launch(new Uint8Array(8), [1 << 20, 1, 1], [1024, 1, 1]));
    expect(large.verdict).toBe('unknown');
    expect(large.reasons[0]?.code).toBe('GCR5002');
  });
});
