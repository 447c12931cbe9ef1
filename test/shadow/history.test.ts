/**
 * An executor that has seen launches answers as one that has not: whatever is kept from launch to launch (results, what does not
 * vary between launches, joined sites) changes no answer. Recorded launches are varied a little at a time, as a run does it.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { kernelsOfText } from '../../scripts/judge/kernels.mjs';
import { buildTemplates } from '../../src/pipeline/index.js';
import type { RelativeDescriptor } from '../../src/shadow/abstract/boxes.js';
import { Ground } from '../../src/shadow/abstract/ground.js';
import { Places } from '../../src/shadow/abstract/places.js';
import { type LaunchRecord, ShadowExecutor } from '../../src/shadow/index.js';
import type { KernelTemplate, TemplateFile } from '../../src/templates/index.js';
import { library } from '../judge/helpers.js';

type Triple = readonly [number, number, number];

interface Recorded {
  readonly file: string;
  readonly kernel: string;
  readonly status: string;
  readonly grid: Triple;
  readonly block: Triple;
  readonly cluster?: Triple;
  readonly sharedMemory: number;
  readonly parameters: string;
  readonly allocations: readonly (readonly [address: string, bytes: number])[];
}

const ROOT = join(import.meta.dirname, '../..');
const FILES = /\/(nvcc|triton)\/.*sm_90\.ptx$/;
const SLOW = /hash_insert|append_positive|call_by_table|by_table|find_first/;
const LAUNCHES = 12;

const { launches }: { launches: Recorded[] } = JSON.parse(
  readFileSync(join(ROOT, 'fixtures/truth/h200-launches.json'), 'utf8'),
);

/** The same numbers each time. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Launches that follow each other: mostly one number changes, sometimes a pointer or the grid, sometimes nothing. */
function sequence(recorded: Recorded, template: KernelTemplate, seed: number): LaunchRecord[] {
  const random = numbers(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const integers = template.parameters.filter(({ type, size }) => size === 4 && !type.startsWith('f'));
  const wide = template.parameters.filter(({ size }) => size === 8);
  let parameters = Uint8Array.from(Buffer.from(recorded.parameters, 'hex'));
  let grid = recorded.grid;
  return Array.from({ length: LAUNCHES }, () => {
    parameters = parameters.slice();
    const view = new DataView(parameters.buffer);
    const what = random(10);
    if (what < 7 && integers.length > 0) {
      const { offset } = pick(integers.slice(0, seed % 2 === 0 ? 1 : undefined));
      view.setInt32(offset, view.getInt32(offset, true) + pick([1, 1, 2, 5, -1, -7, 32, seed < 4 ? 3 : 70_000]), true);
    } else if (what === 7 && wide.length > 0) {
      const { offset } = pick(wide);
      view.setBigUint64(offset, view.getBigUint64(offset, true) + 256n, true);
    } else if (what === 8) grid = [grid[0] + pick([0, 1, -1, 3]) || 1, grid[1], grid[2]];
    const { kernel, block, cluster, sharedMemory } = recorded;
    return { kernel, grid, block, ...(cluster && { cluster }), sharedMemory, parameters };
  }).filter(({ grid, cluster }) => !cluster || grid[0] % cluster[0] === 0);
}

function executorFor(templates: TemplateFile, { allocations }: Recorded): ShadowExecutor {
  const executor = new ShadowExecutor(templates);
  for (const [address, size] of allocations) executor.allocate(BigInt(address), size);
  return executor;
}

/** Launches that an executor with a past answers otherwise than a new one. */
async function differences(): Promise<string[]> {
  const found: string[] = [];
  const built = new Map<string, TemplateFile>();
  const seen = new Set<string>();
  for (const recorded of launches) {
    const name = `${recorded.file} ${recorded.kernel}`;
    if (recorded.status !== 'ok' || !FILES.test(recorded.file) || SLOW.test(name) || seen.has(name)) continue;
    seen.add(name);
    if (!built.has(recorded.file))
      built.set(recorded.file, (await buildTemplates([join(ROOT, recorded.file)])).product);
    const product = built.get(recorded.file)!;
    const template = product.kernels.find((kernel) => kernel.name === recorded.kernel)!;
    // Without a second look, thread by thread, which is given up after a while.
    const templates = {
      ...product,
      kernels: [template.verdict === 'exact' ? { ...template, verdict: 'bounded' as const } : template],
    };
    for (let seed = 0; seed < 6; seed++) {
      const old = executorFor(templates, recorded);
      for (const [index, launch] of sequence(recorded, template, seed).entries()) {
        const set = old.launch(launch);
        const fresh = executorFor(templates, recorded).launch(launch);
        const same =
          set.verdict === fresh.verdict &&
          set.ranges().length === fresh.ranges().length &&
          set.ranges().every(({ from, to }, at) => from === fresh.ranges()[at]!.from && to === fresh.ranges()[at]!.to);
        if (!same) found.push(`${name} seed ${seed} launch ${index}: ${set.verdict}, fresh ${fresh.verdict}`);
      }
    }
  }
  return found;
}

describe('an executor with a past', () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('answers as one without', async () => {
    expect(await differences()).toEqual([]);
  }, 120_000);

  it('would not if what is kept did not depend on parameters', async () => {
    vi.spyOn(Ground.prototype, 'holds').mockReturnValue(true);
    expect((await differences()).length).toBeGreaterThan(0);
  }, 120_000);
});

describe('what a round adds, kept from launch to launch', () => {
  const text = `.version 8.0\n.target sm_80\n.address_size 64\n
    .visible .entry k(.param .u64 out, .param .u32 n, .param .u32 step) { .reg .pred %p<3>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [out]; ld.param.u32 %r1, [n]; ld.param.u32 %r2, [step]; mov.u32 %r3, %tid.x;
    setp.ge.s32 %p1, %r3, %r1; @%p1 bra done;
    loop: cvt.s64.s32 %rd2, %r3; add.s64 %rd3, %rd1, %rd2; st.global.u8 [%rd3], 1;
    add.s32 %r3, %r3, %r2; setp.lt.s32 %p2, %r3, %r1; @%p2 bra loop; done: ret; }`;
  const OUT = 0x1000000n;

  async function written(rounds: readonly (readonly [n: number, step: number])[]): Promise<number[][]> {
    const entry = (await kernelsOfText(library, text))[0]!;
    const executor = new ShadowExecutor(entry.templates);
    executor.allocate(OUT, 0x10000);
    return rounds.map(([n, step]) => {
      const parameters = new Uint8Array(16);
      const view = new DataView(parameters.buffer);
      view.setBigUint64(0, OUT, true);
      view.setInt32(8, n, true);
      view.setInt32(12, step, true);
      const set = executor.launch({ kernel: 'k', grid: [1, 1, 1], block: [2, 1, 1], parameters });
      expect(set.verdict).toBe('exact');
      return set.ranges().flatMap(({ from, to }) => {
        const first = Number(from - OUT);
        return Array.from({ length: Number(to - from) }, (_, at) => first + at);
      });
    });
  }

  /** Two threads that go on by a step each. */
  const expected = ([n, step]: readonly [n: number, step: number]) =>
    Array.from({ length: n }, (_, at) => at).filter((at) => at % step < 2);

  // The bound changes first, so that a ground is laid while the step is as it was; then the step.
  const rounds = [
    [20, 8],
    [21, 8],
    [22, 8],
    [23, 8],
    [23, 5],
    [24, 5],
    [40, 8],
    [41, 9],
  ] as const;

  it('is found anew when the step is another', async () => {
    expect(await written(rounds)).toEqual(rounds.map(expected));
  });

  it('would not be if a ground did not depend on it', async () => {
    vi.spyOn(Ground.prototype, 'holds').mockReturnValue(true);
    try {
      expect(await written(rounds)).not.toEqual(rounds.map(expected));
    } finally {
      vi.restoreAllMocks();
    }
  });
});

describe('sites taken together', () => {
  const dimensions = fc
    .array(fc.record({ stride: fc.integer({ min: 1, max: 24 }), count: fc.integer({ min: 2, max: 4 }) }), {
      maxLength: 2,
    })
    .map((list) => list.sort((a, b) => a.stride - b.stride));
  const descriptor = fc.record({
    start: fc.integer({ min: -20, max: 20 }),
    width: fc.integer({ min: 1, max: 8 }),
    dimensions,
  });
  /** Neighbours more often than chance has them. */
  const family = fc
    .tuple(descriptor, fc.array(fc.tuple(fc.integer({ min: -2, max: 10 }), fc.integer({ min: 0, max: 2 }))))
    .map(([first, others]) => [
      first,
      ...others.map(([shift, more]) => ({
        ...first,
        start: first.start + shift,
        dimensions: first.dimensions.map((one, at) =>
          at === first.dimensions.length - 1 ? { ...one, count: one.count + more } : one,
        ),
      })),
    ]);

  /** With repetitions of others in it. */
  const wide = fc.record({
    start: fc.integer({ min: -20, max: 20 }),
    width: fc.integer({ min: 20, max: 100 }),
    dimensions: fc.constant([]),
  });

  const bytesOf = (list: readonly RelativeDescriptor[]) => {
    const bytes = new Set<number>();
    for (const { start, width, dimensions } of list) {
      let starts = [start];
      for (const { stride, count } of dimensions)
        starts = starts.flatMap((from) => Array.from({ length: count }, (_, at) => from + at * stride));
      for (const from of starts) for (let at = 0; at < width; at++) bytes.add(from + at);
    }
    return [...bytes].sort((a, b) => a - b);
  };

  it('have the bytes of each, and no other', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          family,
          fc.array(descriptor),
          fc.tuple(family, family).map((two) => two.flat()),
          fc.tuple(wide, family).map(([one, others]) => [one, ...others]),
        ),
        (list) => {
          const places = new Places();
          for (const one of list) places.add(undefined, 0n, [one]);
          const joined = places.all.flatMap(({ descriptors }) => descriptors);
          expect(bytesOf(joined)).toEqual(bytesOf(list));
          expect(joined.length).toBeLessThanOrEqual(list.length);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('are left out at once where one has a billion of them in it', () => {
    const repeated = (count: number) => ({ start: 512, width: 24, dimensions: [{ stride: 56, count }] });
    const joined = (count: number) => {
      const places = new Places();
      places.add(undefined, 0n, [{ start: 0, width: 2 ** 34, dimensions: [] }, repeated(count)]);
      return places.all[0]!.descriptors;
    };
    expect(joined(306_783_369)).toEqual([{ start: 0, width: 2 ** 34, dimensions: [] }]);
    // The last but one begins inside, the last one does not.
    expect(joined(306_783_371)).toEqual([
      { start: 0, width: 2 ** 34 + 16, dimensions: [] },
      { start: 2 ** 34 + 48, width: 24, dimensions: [] },
    ]);
  });

  it('are kept apart where their pointers differ', () => {
    const places = new Places();
    const one = { start: 0, width: 4, dimensions: [] };
    places.add({ kind: 'parameter', offset: 0 }, 0n, [one]);
    places.add({ kind: 'parameter', offset: 8 }, 0n, [one]);
    places.add({ kind: 'parameter', offset: 8 }, 1n << 60n, [one]);
    expect(places.all.length).toBe(3);
  });
});
