/** Shadow execution over sequences of events: which template, which memory, which content. */
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import {
  type DirtySet,
  executeConcretely,
  ShadowExecutor,
  type ShadowOptions,
  VerdictStatistics,
} from '../../src/shadow/index.js';
import type { TemplateFile } from '../../src/templates/index.js';

const HEAD = '.version 8.0\n.target sm_80\n.address_size 64\n';
const REGISTERS = '.reg .pred %p<9>; .reg .b32 %r<30>; .reg .b64 %rd<30>;';

async function templates(texts: Readonly<Record<string, string>>): Promise<TemplateFile> {
  const files = await Promise.all(
    Object.entries(texts).map(async ([source, text]) => {
      const { product, diagnostics } = await buildTemplatesFromText(HEAD + text, source);
      expect(diagnostics).toEqual([]);
      return product;
    }),
  );
  return {
    ...files[0]!,
    modules: files.flatMap(({ modules }) => modules),
    kernels: files.flatMap(({ kernels }, module) => kernels.map((kernel) => ({ ...kernel, module }))),
    missing: [],
  };
}

/** Stores at out[tid]; four bytes each. */
const VECTOR = `.visible .entry k(.param .u64 out) { ${REGISTERS} ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2; st.global.u32 [%rd3], %r1; ret; }\n`;
/** Stores at out[content of in[tid]]. */
const SCATTER = `.visible .entry scatter(.param .u64 out, .param .u64 in) { ${REGISTERS} ld.param.u64 %rd1, [out];
  ld.param.u64 %rd2, [in]; ld.global.u32 %r1, [%rd2]; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;
  st.global.u32 [%rd4], %r1; ret; }\n`;
/** Stores at a pointer that is in memory. */
const CHASE = `.visible .entry chase(.param .u64 in) { ${REGISTERS} ld.param.u64 %rd1, [in]; ld.global.u64 %rd2, [%rd1];
  st.global.u32 [%rd2], 1; ret; }\n`;
const VARIABLE = `.visible .global .align 4 .u32 g[4];
  .visible .entry v() { ${REGISTERS} mov.u64 %rd1, g; st.global.u32 [%rd1+4], 1; ret; }\n`;

const pointers = (...values: bigint[]): Uint8Array => new Uint8Array(BigUint64Array.from(values).buffer);
const launch = (kernel: string, ...values: bigint[]) => ({
  kernel,
  grid: [1, 1, 1] as const,
  block: [8, 1, 1] as const,
  parameters: pointers(...values),
});
const list = (set: DirtySet) => [set.verdict, set.ranges().map(({ from, to }) => [from, Number(to - from)])];

async function executor(texts: Readonly<Record<string, string>>, options?: ShadowOptions) {
  const shadow = new ShadowExecutor(await templates(texts), options);
  shadow.allocate(0x1000n, 256);
  shadow.allocate(0x2000n, 512);
  return shadow;
}

/** Stores a word a block: where depends on the cluster. */
const CLUSTERS = `.visible .entry k(.param .u64 out) .reqnctapercluster 4, 1, 1 { ${REGISTERS} ld.param.u64 %rd1, [out];
  mov.u32 %r1, %clusterid.x; mov.u32 %r2, %cluster_nctaid.x; mov.u32 %r3, %cluster_ctarank;
  mad.lo.u32 %r4, %r1, %r2, %r3; mul.lo.u32 %r4, %r4, %r2; mul.wide.u32 %rd2, %r4, 4; add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r1; ret; }\n`;

describe('a launch', () => {
  it('is in the cluster that its kernel requires, when it names none', async () => {
    const shadow = await executor({ 'a.ptx': CLUSTERS });
    const words = Array.from({ length: 8 }, (_, block) => [0x1000n + BigInt(16 * block), 4]);
    const [plain, named] = [{}, { cluster: [4, 1, 1] as const }].map((more) =>
      list(shadow.launch({ ...launch('k', 0x1000n), grid: [8, 1, 1], ...more })),
    );
    expect(plain).toEqual(['exact', words]);
    expect(named).toEqual(plain);
  });
  it('writes exactly what its threads write', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR });
    expect(list(shadow.launch(launch('k', 0x1010n)))).toEqual(['exact', [[0x1010n, 32]]]);
  });

  it('has the cluster that its kernel was compiled for, whatever the launch says', async () => {
    const text = `.visible .entry ranks(.param .u64 out) .reqnctapercluster 2, 1, 1 { ${REGISTERS}
      ld.param.u64 %rd1, [out]; mov.u32 %r1, %cluster_ctarank; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;
      st.global.u32 [%rd4], 1; ret; }\n`;
    const file = await templates({ 'a.ptx': text });
    const shadow = new ShadowExecutor(file);
    shadow.allocate(0x1000n, 256);
    for (const rest of [{}, { cluster: [1, 1, 1] as const }, { cluster: [2, 1, 1] as const }]) {
      const one = { ...launch('ranks', 0x1010n), grid: [4, 1, 1] as const, ...rest };
      expect(list(shadow.launch(one))).toEqual(['exact', [[0x1010n, 8]]]);
      const threads = executeConcretely(file.kernels[0]!, one);
      expect(threads.ranges).toEqual([{ from: 0x1010n, to: 0x1018n }]);
    }
    const odd = { ...launch('ranks', 0x1010n), grid: [3, 1, 1] as const };
    expect(() => shadow.launch(odd)).toThrow('clusters of 2, 1, 1 do not divide a grid of 3, 1, 1');
  });

  it('counts the whole allocation when only the pointer is known', async () => {
    const shadow = await executor({ 'a.ptx': SCATTER });
    const set = shadow.launch(launch('scatter', 0x1010n, 0x2000n));
    expect(list(set)).toEqual(['allocation', [[0x1000n, 256]]]);
    expect(set.reasons[0]?.code).toBe('GCR4002');
  });

  it('is unknown when that pointer is in no known allocation, or provenance is not relied on', async () => {
    const all = [
      [0x1000n, 256],
      [0x2000n, 512],
    ];
    const shadow = await executor({ 'a.ptx': SCATTER });
    const set = shadow.launch(launch('scatter', 0x9000n, 0x2000n));
    expect(list(set)).toEqual(['unknown', all]);
    expect(set.reasons.map(({ code }) => code)).toContain('GCR5016');
    const strict = await executor({ 'a.ptx': SCATTER }, { provenance: false });
    expect(list(strict.launch(launch('scatter', 0x1000n, 0x2000n)))).toEqual(['unknown', all]);
  });

  it('that is unknown counts every allocation, or those its arguments point into', async () => {
    const shadow = await executor({ 'a.ptx': CHASE });
    expect(list(shadow.launch(launch('chase', 0x2008n)))[1]).toHaveLength(2);
    const few = await executor({ 'a.ptx': CHASE }, { unknown: 'args' });
    expect(list(few.launch(launch('chase', 0x2008n)))).toEqual(['unknown', [[0x2000n, 512]]]);
  });

  it('of a kernel without a template is unknown, with one warning', async () => {
    const codes: string[] = [];
    const shadow = await executor({ 'a.ptx': VECTOR }, { onDiagnostic: ({ code }) => codes.push(code) });
    expect(shadow.launch(launch('other')).verdict).toBe('unknown');
    expect(shadow.launch(launch('other')).verdict).toBe('unknown');
    expect(codes).toEqual(['GCR5013']);
  });

  it('needs its parameters', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR });
    expect(() => shadow.launch(launch('k'))).toThrow(/GCR5001/);
  });
});

describe('a module', () => {
  const other = VECTOR.replace('%r1, 4;', '%r1, 8;');

  it('is found by its path, from the end, or by its hash', async () => {
    const shadow = await executor({ 'build/a.ptx': VECTOR, 'build/b.ptx': other });
    for (const [ptx, hash] of [
      ['build/b.ptx'],
      ['b.ptx'],
      ['/opt/run/build/b.ptx'],
      ['elsewhere/b.ptx'],
      ['a.ptx', (await templates({ 'b.ptx': other })).modules[0]!.hash],
    ] as const) {
      shadow.module(ptx, hash);
      expect(shadow.launch(launch('k', 0x1000n)).bytes).toBe(32n);
      expect(shadow.launch(launch('k', 0x1000n)).ranges()).toHaveLength(8);
    }
  });

  it('must be one of the templates, and only one', async () => {
    const shadow = await executor({ 'x/a.ptx': VECTOR, 'y/a.ptx': other });
    expect(() => shadow.module('c.ptx')).toThrow(/GCR5014.*is not among/);
    expect(() => shadow.module('a.ptx')).toThrow(/GCR5014.*x\/a\.ptx or y\/a\.ptx/);
    expect(() => shadow.module('x/a.ptx', '0'.repeat(64))).toThrow(/GCR5014/);
  });

  it('must be named when kernels of one name differ', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR, 'b.ptx': other });
    expect(() => shadow.launch(launch('k', 0x1000n))).toThrow(/GCR5015/);
    const same = await executor({ 'a.ptx': VECTOR, 'b.ptx': VECTOR });
    expect(same.launch(launch('k', 0x1000n)).verdict).toBe('exact');
  });

  it('has variables of its own', async () => {
    const shadow = await executor({ 'a.ptx': VARIABLE, 'b.ptx': VARIABLE.replace('.entry v', '.entry w') });
    shadow.module('a.ptx');
    shadow.variable('g', 0x5000n, 16);
    shadow.module('b.ptx');
    expect(shadow.launch(launch('w')).verdict).toBe('unknown');
    shadow.variable('g', 0x6000n, 16);
    expect(list(shadow.launch(launch('w')))).toEqual(['exact', [[0x6004n, 4]]]);
    shadow.module('a.ptx');
    expect(list(shadow.launch(launch('v')))).toEqual(['exact', [[0x5004n, 4]]]);
  });
});

describe('what is remembered of a launch', () => {
  it('does not outlive the place of a variable that was looked at', async () => {
    // The address is taken apart, so its number is in the answer.
    const text = `.visible .global .align 4 .u32 g[64];
      .visible .entry h(.param .u64 out) { ${REGISTERS} ld.param.u64 %rd1, [out]; mov.u64 %rd2, g; and.b64 %rd3, %rd2, 60;
      add.s64 %rd4, %rd1, %rd3; st.global.u32 [%rd4], 1; ret; }\n`;
    const shadow = await executor({ 'a.ptx': text });
    shadow.module('a.ptx');
    shadow.variable('g', 0x5010n, 256);
    expect(list(shadow.launch(launch('h', 0x1000n)))).toEqual(['exact', [[0x1010n, 4]]]);
    shadow.variable('g', 0x6020n, 256);
    expect(list(shadow.launch(launch('h', 0x1000n)))).toEqual(['exact', [[0x1020n, 4]]]);
  });

  it('is unknown when no pointer of a table in the parameters is in a known allocation', async () => {
    // Some pointer of a table, at an offset from memory.
    const text = `.visible .entry t(.param .align 8 .b8 table[32], .param .u64 in) { ${REGISTERS}
      ld.param.u64 %rd1, [in]; ld.global.u32 %r1, [%rd1]; and.b32 %r1, %r1, 3; mul.wide.u32 %rd2, %r1, 8; mov.b64 %rd3, table;
      add.s64 %rd4, %rd3, %rd2; ld.param.u64 %rd5, [%rd4]; ld.global.u64 %rd6, [%rd1+8]; add.s64 %rd7, %rd5, %rd6;
      st.global.u32 [%rd7], 1; ret; }\n`;
    const shadow = await executor({ 'a.ptx': text });
    const nowhere = [0x90000n, 0x90000n, 0x90000n, 0x90000n];
    expect(shadow.launch(launch('t', ...nowhere, 0x80000n)).verdict).toBe('unknown');
    expect(list(shadow.launch(launch('t', 0x1010n, ...nowhere.slice(1), 0x80000n)))[0]).not.toBe('exact');
  });
});

describe('known memory', () => {
  it('loses what a launch may have written', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR + SCATTER + CHASE });
    const known = () => [0x1000n, 0x1020n, 0x2000n].map((at) => shadow.memory.read(at, 4) !== undefined);
    const fill = () => {
      shadow.fill(0x1000n, 256, 7);
      shadow.copyIn(0x2000n, 4, Uint8Array.of(8, 0, 0, 0));
    };
    fill();
    expect(known()).toEqual([true, true, true]);
    shadow.launch(launch('k', 0x1000n));
    expect(known()).toEqual([false, true, true]);
    fill();
    // The index is known: eight elements from the pointer.
    expect(list(shadow.launch(launch('scatter', 0x1000n, 0x2000n)))).toEqual(['exact', [[0x1020n, 4]]]);
    expect(known()).toEqual([true, false, true]);
    fill();
    shadow.launch(launch('scatter', 0x1000n, 0x2010n));
    expect(known()).toEqual([false, false, true]);
    fill();
    shadow.launch(launch('chase', 0x2000n));
    expect(known()).toEqual([false, false, false]);
  });

  it('follows copies, fills and frees', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR });
    shadow.fill(0x1000n, 8, 0x0102, 2);
    expect(shadow.memory.read(0x1001n, 3)).toEqual(Uint8Array.of(1, 2, 1));
    shadow.copy(0x1000n, 0x2000n, 16);
    expect(shadow.memory.read(0x2000n, 2)).toEqual(Uint8Array.of(2, 1));
    expect(shadow.memory.read(0x2008n, 1)).toBeUndefined();
    shadow.copyIn(0x2000n, 1);
    expect(shadow.memory.read(0x2000n, 1)).toBeUndefined();
    shadow.free(0x1000n);
    expect(shadow.memory.read(0x1000n, 1)).toBeUndefined();
  });
});

describe('initial content', () => {
  const TABLE = `.global .align 4 .u32 data[4] = {1, 2};
    .const .align 8 .u64 table[3] = {data, generic(data)+8, f};
    .global .align 1 .b8 packed[2] = {0xFF00(generic(data)), 5};
    .visible .func f() { ret; }
    .visible .entry t() { ${REGISTERS} ld.const.u64 %rd1, [table]; st.global.u32 [%rd1], 1;
      ld.global.u8 %r1, [packed]; ld.global.u32 %r2, [data]; st.global.u32 [data+12], %r1; ret; }\n`;
  const words = (shadow: ShadowExecutor, at: bigint) => {
    const bytes = shadow.memory.read(at, 8);
    return bytes && new DataView(bytes.buffer).getBigUint64(0, true);
  };

  it('is known once a variable has its place; addresses once their variable has its own', async () => {
    const shadow = await executor({ 'a.ptx': TABLE + VECTOR });
    shadow.module('a.ptx');
    shadow.variable('table', 0x5000n, 24);
    expect(words(shadow, 0x5000n)).toBeUndefined();
    shadow.variable('packed', 0x5100n, 2);
    expect(shadow.memory.read(0x5101n, 1)).toEqual(Uint8Array.of(5));
    shadow.variable('data', 0x7abc0n, 16);
    expect(words(shadow, 0x5000n)).toBe(0x7abc0n);
    expect(words(shadow, 0x5008n)).toBe(0x7abc8n);
    expect(words(shadow, 0x5010n)).toBeUndefined();
    expect(shadow.memory.read(0x5100n, 2)).toEqual(Uint8Array.of(0xab, 5));
    expect(words(shadow, 0x7abc0n)).toBe(0x2_0000_0001n);
    expect(words(shadow, 0x7abc8n)).toBe(0n);
  });

  it('is not when something was written between the module and the place', async () => {
    const writes: ((shadow: ShadowExecutor) => unknown)[] = [
      (shadow) => shadow.launch(launch('k', 0x1000n)),
      (shadow) => shadow.copyIn(0x1000n, 4),
      (shadow) => shadow.fill(0x1000n, 4),
      (shadow) => shadow.copy(0x1000n, 0x2000n, 4),
    ];
    for (const write of writes) {
      const shadow = await executor({ 'a.ptx': TABLE + VECTOR });
      shadow.module('a.ptx');
      write(shadow);
      shadow.variable('data', 0x7abc0n, 16);
      expect(words(shadow, 0x7abc0n)).toBeUndefined();
    }
  });

  it('of an address is not filled in over what was written since', async () => {
    const shadow = await executor({ 'a.ptx': TABLE + VECTOR });
    shadow.module('a.ptx');
    shadow.variable('table', 0x5000n, 24);
    shadow.copyIn(0x5000n, 4);
    shadow.variable('data', 0x7abc0n, 16);
    expect(words(shadow, 0x5000n)).toBeUndefined();
    expect(words(shadow, 0x5008n)).toBe(0x7abc8n);
  });

  it('is forgotten when the module is entered again and the variable placed again', async () => {
    const shadow = await executor({ 'a.ptx': TABLE });
    shadow.module('a.ptx');
    shadow.variable('data', 0x7abc0n, 16);
    shadow.variable('data', 0x7abc0n, 16);
    expect(words(shadow, 0x7abc0n)).toBe(0x2_0000_0001n);
    shadow.module('a.ptx');
    expect(words(shadow, 0x7abc0n)).toBe(0x2_0000_0001n);
    shadow.variable('data', 0x7abc0n, 16);
    expect(words(shadow, 0x7abc0n)).toBeUndefined();
  });

  it('needs the size that the templates know', async () => {
    const shadow = await executor({ 'a.ptx': TABLE });
    shadow.module('a.ptx');
    shadow.variable('data', 0x7abc0n, 32);
    expect(words(shadow, 0x7abc0n)).toBeUndefined();
  });
});

describe('what is dirty since a mark', () => {
  it('has the writes of launches and driver, without what was freed', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR });
    const mark = shadow.mark();
    shadow.launch(launch('k', 0x1000n));
    shadow.copyIn(0x1040n, 8);
    shadow.allocate(0x3000n, 16);
    shadow.fill(0x2000n, 4);
    shadow.free(0x2000n);
    expect(shadow.since(mark).map(({ from, to }) => [from, Number(to - from)])).toEqual([
      [0x1000n, 32],
      [0x1040n, 8],
      [0x3000n, 16],
    ]);
    shadow.release(mark);
    expect(() => shadow.since(mark)).toThrow(RangeError);
  });
});

describe('statistics', () => {
  it('say how much each verdict and each allocation cost', async () => {
    const shadow = await executor({ 'a.ptx': VECTOR + SCATTER });
    const statistics = new VerdictStatistics();
    for (const one of [launch('k', 0x1000n), launch('scatter', 0x1000n, 0x2000n), launch('none')])
      statistics.add(shadow.launch(one), shadow.allocations);
    expect(statistics.byVerdict.get('exact')).toEqual({ launches: 1, bytes: 32n });
    expect(statistics.byVerdict.get('allocation')).toEqual({ launches: 1, bytes: 256n });
    expect(statistics.byVerdict.get('unknown')).toEqual({ launches: 1, bytes: 768n });
    expect(statistics.overApproximation(5)).toEqual([
      { address: 0x1000n, size: 256n, launches: 2, bytes: 512n },
      { address: 0x2000n, size: 512n, launches: 1, bytes: 512n },
    ]);
  });
});
