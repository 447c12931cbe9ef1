/**
 * Planted faults: each one loses bytes, and a fixed set of judged launches must notice every one of them. Templates are
 * changed as data, the executor by replacing methods for the time of a test; the code has no hooks for it.
 */
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { judgeSession } from '../../scripts/judge/judge.mjs';
import { kernelsOfText, loadKernels } from '../../scripts/judge/kernels.mjs';
import { buffer } from '../../scripts/truth/recipes/builder.mjs';
import { Domain } from '../../src/shadow/abstract/domain.js';
import { Evaluator } from '../../src/shadow/abstract/evaluator.js';
import { addNumber } from '../../src/shadow/abstract/form.js';
import { Ground, History } from '../../src/shadow/abstract/ground.js';
import { Places } from '../../src/shadow/abstract/places.js';
import { Plan } from '../../src/shadow/abstract/plan.js';
import { routeTo } from '../../src/shadow/abstract/routes.js';
import { KernelCache } from '../../src/shadow/kernel-cache.js';
import { KnownMemory } from '../../src/shadow/known-memory.js';
import type { KernelTemplate, SliceValue } from '../../src/templates/index.js';
import { type Entry, library } from './helpers.js';

const FILES =
  /nvcc\/(elementwise|strided|atomics|gemm_wmma|transpose|optimizer|control)\.sm_80\.ptx|ideas\/(bulk-copy-length-parameter|index-signed-wraps|loop-[a-z-]+|index-magic-division)\.ptx/;
const SLOW = /call_by_table|hash_insert|by_table/;
/** Sessions of each kernel. */
const ROUNDS = 4;

let kernels: Entry[];

beforeAll(async () => {
  ({ kernels } = await loadKernels(library, (file: string) => FILES.test(file)));
  kernels = kernels.filter(({ name }) => !SLOW.test(name));
}, 60_000);

afterEach(() => {
  vi.restoreAllMocks();
});

/** Whether the judge finds anything, with templates changed. */
function isCaught(
  change: (template: KernelTemplate) => KernelTemplate | undefined = (same) => same,
  rounds = ROUNDS,
): boolean {
  for (let index = 0; index < rounds; index++) {
    for (const entry of kernels) {
      const template = change(entry.template);
      if (!template) continue;
      const mutant = Object.create(entry, {
        template: { value: template },
        templates: { value: { ...entry.templates, kernels: [template] } },
      });
      const session = { seed: 'mutants', index, maxThreads: 256, maxSteps: 50_000 };
      for (const { findings } of judgeSession(library, mutant, session)) {
        if (findings.some(({ kind }: { kind: string }) => kind === 'missed')) return true;
      }
    }
  }
  return false;
}

/** Changes the first value of an operation. */
const withValue =
  (op: string, change: (value: SliceValue) => SliceValue) =>
  (template: KernelTemplate): KernelTemplate | undefined => {
    const at = template.values.findIndex((value) => value[0] === op);
    if (at < 0) return undefined;
    return { ...template, values: template.values.map((value, index) => (index === at ? change(value) : value)) };
  };

const renamed = (to: string) => (value: SliceValue) => [to, ...value.slice(1)] as unknown as SliceValue;

const TEMPLATES: Readonly<Record<string, (template: KernelTemplate) => KernelTemplate | undefined>> = {
  'a site is dropped': (template) => ({ ...template, writes: template.writes.slice(1) }),
  'atomics are forgotten': (template) => ({
    ...template,
    writes: template.writes.filter(({ kind }) => kind !== 'atomic' && kind !== 'reduction'),
  }),
  'accesses are a byte shorter': (template) => ({
    ...template,
    writes: template.writes.map((site) => ({ ...site, bytes: Math.max(0, site.bytes - 1) })),
  }),
  'fragments lack their last row': (template) => ({
    ...template,
    writes: template.writes.map((site) =>
      site.rows ? { ...site, rows: { ...site.rows, count: site.rows.count - 1 } } : site,
    ),
  }),
  'a multiplication is an addition': withValue('mul', renamed('add')),
  'signs are not extended': withValue('signExtend', renamed('zeroExtend')),
  'a comparison is strict': withValue('lessEqualSigned', renamed('lessSigned')),
  'a branch goes one way': (template) => {
    const at = template.blocks.findIndex(({ end }) => end[0] === 'branch');
    if (at < 0) return undefined;
    const blocks = template.blocks.map((block, index) =>
      index === at && block.end[0] === 'branch' ? { ...block, end: ['jump', block.end[2]] as const } : block,
    );
    return { ...template, blocks };
  },
  'a condition is turned round': withValue('lessSigned', (value) => {
    const [op, width, a, b] = value;
    return [op, width, b!, a!];
  }),
};

describe('the judge', () => {
  it('finds nothing in what is right', () => {
    expect(isCaught()).toBe(false);
  }, 120_000);

  for (const [name, change] of Object.entries(TEMPLATES)) {
    it(`notices when ${name}`, () => {
      expect(isCaught(change)).toBe(true);
    }, 120_000);
  }

  it('notices when a guard narrows one too far', () => {
    const original = Domain.prototype.narrow;
    vi.spyOn(Domain.prototype, 'narrow').mockImplementation(function (this: Domain, form) {
      return original.call(this, addNumber(form, -1) ?? form);
    });
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when nobody looks whether a value wraps', () => {
    vi.spyOn(Evaluator.prototype, 'window').mockImplementation(function (this: Evaluator, form, width) {
      return this.plain(form, width);
    });
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when an upper bound is one too low', () => {
    const original = Domain.prototype.atom;
    vi.spyOn(Domain.prototype, 'atom').mockImplementation(function (this: Domain, lo, hi, isData) {
      return original.call(this, lo, Math.max(lo, hi - 1), isData);
    });
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when the cache does not look at parameters', () => {
    vi.spyOn(KernelCache.prototype, 'dependOn').mockReturnValue(false);
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when what is kept between launches does not look at parameters', () => {
    vi.spyOn(Ground.prototype, 'holds').mockReturnValue(true);
    // A number has to change late, after launches of the same threads.
    expect(isCaught(undefined, 8 * ROUNDS)).toBe(true);
  }, 120_000);

  it('notices when what is kept between launches does not look at the threads', () => {
    const original = History.prototype.follow;
    const seen = new WeakSet<History>();
    vi.spyOn(History.prototype, 'follow').mockImplementation(function (this: History, launch, parameters, consulted) {
      const same = original.call(this, launch, parameters, consulted) || seen.has(this);
      seen.add(this);
      return same;
    });
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when sites that are taken together lose one', () => {
    const original = Places.prototype.add;
    vi.spyOn(Places.prototype, 'add').mockImplementation(function (this: Places, root, big, descriptors) {
      original.call(this, root, big, this.all.length > 0 ? descriptors.slice(1) : descriptors);
    });
    expect(isCaught()).toBe(true);
  }, 120_000);

  it('notices when known memory is not forgotten', async () => {
    // Entry n of a table says where a byte goes, and entry m gets another number.
    const text = `.version 8.0\n.target sm_80\n.address_size 64\n
      .visible .entry k(.param .u64 table, .param .u32 n, .param .u32 m) { .reg .b32 %r<4>; .reg .b64 %rd<9>;
      ld.param.u64 %rd1, [table]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [m]; mul.wide.s32 %rd2, %r1, 4;
      add.s64 %rd3, %rd1, %rd2; ld.global.u32 %r3, [%rd3]; cvt.s64.s32 %rd4, %r3; add.s64 %rd5, %rd1, %rd4;
      st.global.u8 [%rd5+256], 1; mul.wide.s32 %rd6, %r2, 4; add.s64 %rd7, %rd1, %rd6; st.global.u32 [%rd7], 40; ret; }`;
    const one: [number, number, number] = [1, 1, 1];
    const table = () => buffer(512).i32(0, new Array(64).fill(0));
    const k = () => [{ name: 'a table', grid: one, block: one, args: [table(), 3, 2] }];
    const own = kernels;
    kernels = await kernelsOfText(library, text, { k });
    try {
      expect(isCaught(undefined, 200)).toBe(false);
      vi.spyOn(KnownMemory.prototype, 'forgetAll').mockImplementation(() => {});
      vi.spyOn(KnownMemory.prototype, 'forgetEverything').mockImplementation(() => {});
      expect(isCaught(undefined, 200)).toBe(true);
    } finally {
      kernels = own;
    }
  });

  it('notices when loops lead nowhere else', () => {
    vi.spyOn(Plan.prototype, 'ways').mockImplementation(function (this: Plan) {
      return new Int8Array(this.successors.length);
    });
    // Nothing that was found before.
    vi.spyOn(Plan.prototype, 'route').mockImplementation(function (this: Plan, block) {
      return routeTo(this, block);
    });
    expect(isCaught()).toBe(true);
  }, 120_000);
});
