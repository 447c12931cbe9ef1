/**
 * What a real GPU wrote, against what shadow execution says: every byte that changed must be in the dirty set, with provenance
 * and without, with the fixed contents known and not known. Launches were recorded as docs/formats/truth.md says, each run
 * twice over complementary contents, so a byte is missing from the record only if both runs happened to write what was
 * there. `h200.json` is the first record, of launches that memory has no part in and whose memory is not described;
 * `h200-launches.json` is that of the plan in `plan.jsonl`.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildTemplates } from '../../src/pipeline/index.js';
import {
  type AddressRange,
  executeConcretely,
  type LaunchRecord,
  RangeCollector,
  ShadowExecutor,
  TENSOR_MAP_BYTES,
} from '../../src/shadow/index.js';
import type { TemplateFile, Verdict } from '../../src/templates/index.js';

/** Equal runs at equal distances are one entry. */
type Run = readonly [address: string, bytes: number, stride?: number, count?: number];
type Triple = readonly [number, number, number];

interface RecordedMap {
  readonly parameter?: number;
  readonly place?: string;
  readonly address: string;
  readonly dataType: number;
  readonly dimensions: readonly number[];
  readonly strides: readonly number[];
  readonly box: readonly number[];
  readonly elementStrides: readonly number[];
  readonly interleave: number;
  readonly lower?: readonly number[];
}

interface RecordedLaunch {
  readonly file: string;
  readonly kernel: string;
  readonly case?: string;
  readonly status?: 'ok' | 'faulted' | 'hung' | 'refused';
  readonly grid: Triple;
  readonly block: Triple;
  readonly cluster?: Triple;
  readonly sharedMemory: number;
  readonly parameters: string;
  readonly allocations?: readonly (readonly [address: string, bytes: number])[];
  readonly variables?: readonly (readonly [name: string, address: string, bytes: number, kept: boolean])[];
  readonly fixed?: readonly (readonly [address: string, hex: string])[];
  readonly maps?: readonly RecordedMap[];
  readonly written: readonly Run[];
}

const ROOT = join(import.meta.dirname, '../..');
const GRANULE = 512n;

function read(name: string): { device: string; launches: readonly RecordedLaunch[] } {
  return JSON.parse(readFileSync(join(ROOT, 'fixtures/truth', name), 'utf8'));
}

function byFile(launches: readonly RecordedLaunch[]): Map<string, RecordedLaunch[]> {
  const found = new Map<string, RecordedLaunch[]>();
  for (const launch of launches) {
    const list = found.get(launch.file);
    if (list) list.push(launch);
    else found.set(launch.file, [launch]);
  }
  return found;
}

function rangesOf(runs: readonly Run[]): readonly AddressRange[] {
  const collector = new RangeCollector();
  for (const [address, bytes, stride = 0, count = 1] of runs) {
    for (let index = 0; index < count; index++) {
      collector.add(BigInt(address) + BigInt(stride) * BigInt(index), BigInt(bytes));
    }
  }
  return collector.ranges();
}

/** Ranges of `written` that are not wholly in `told`; both are sorted and disjoint. */
function missed(written: readonly AddressRange[], told: readonly AddressRange[]): string[] {
  const found: string[] = [];
  let at = 0;
  for (const { from, to } of written) {
    while (at < told.length && told[at]!.to <= from) at++;
    const range = told[at];
    if (!range || range.from > from || range.to < to) found.push(`0x${from.toString(16)}+${to - from}`);
  }
  return found;
}

function granules(ranges: readonly AddressRange[]): number {
  let count = 0n;
  let last = -1n;
  for (const { from, to } of ranges) {
    const first = from / GRANULE > last ? from / GRANULE : last + 1n;
    const end = (to - 1n) / GRANULE;
    if (end >= first) count += end - first + 1n;
    if (end > last) last = end;
  }
  return Number(count);
}

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

function recordOf({ kernel, grid, block, cluster, sharedMemory, parameters }: RecordedLaunch): LaunchRecord {
  return { kernel, grid, block, ...(cluster && { cluster }), sharedMemory, parameters: bytesOf(parameters) };
}

/** The tensor maps of a launch, as its program encoded them. */
function tellMaps({ maps }: ShadowExecutor, { parameters, fixed = [], maps: recorded = [] }: RecordedLaunch): void {
  for (const { parameter, place, ...map } of recorded) {
    const [address, hex] = fixed.find(([at, content]) => {
      const offset = place === undefined ? -1 : Number(BigInt(place) - BigInt(at));
      return offset >= 0 && offset + TENSOR_MAP_BYTES <= content.length / 2;
    }) ?? ['0x0', parameters];
    const offset = parameter ?? Number(BigInt(place!) - BigInt(address));
    maps.tell(bytesOf(hex).subarray(offset, offset + TENSOR_MAP_BYTES), {
      kind: map.lower ? 'im2col' : 'tiled',
      address: BigInt(map.address),
      dataType: map.dataType,
      sizes: map.dimensions.map(BigInt),
      strides: map.strides.map(BigInt),
      box: map.lower ? [] : map.box,
      elementStrides: map.elementStrides,
      interleave: map.interleave,
    });
  }
}

interface Mode {
  readonly provenance: boolean;
  /** Whether the fixed contents are told. */
  readonly known: boolean;
}
const MODES: readonly Mode[] = [
  { provenance: true, known: true },
  { provenance: false, known: true },
  { provenance: true, known: false },
];

function shadow(templates: TemplateFile, launch: RecordedLaunch, mode: Mode) {
  const executor = new ShadowExecutor(templates, { provenance: mode.provenance });
  executor.module(launch.file);
  for (const [address, bytes] of launch.allocations ?? []) executor.allocate(BigInt(address), bytes);
  for (const [name, address, bytes, kept] of launch.variables ?? []) {
    executor.variable(name, BigInt(address), bytes);
    // Noise was put there, which the trace does not tell.
    if (!kept) executor.copyIn(BigInt(address), bytes);
  }
  if (mode.known) tellMaps(executor, launch);
  if (mode.known)
    for (const [address, hex] of launch.fixed ?? []) executor.copyIn(BigInt(address), hex.length / 2, bytesOf(hex));
  return executor.launch(recordOf(launch));
}

describe('the comparison', () => {
  it('takes runs apart, and would show a byte that is left out', () => {
    const ranges = rangesOf([
      ['0x10', 4],
      ['0x20', 2, 16, 3],
    ]);
    expect(ranges.map(({ from, to }) => [Number(from), Number(to - from)])).toEqual([
      [16, 4],
      [32, 2],
      [48, 2],
      [64, 2],
    ]);
    expect(missed(ranges, ranges)).toEqual([]);
    expect(missed(ranges, [{ from: 17n, to: 20n }, ...ranges.slice(1)])).toEqual(['0x10+4']);
    expect(missed(ranges, ranges.slice(0, 3))).toEqual(['0x40+2']);
    expect(
      granules([
        { from: 0n, to: 513n },
        { from: 600n, to: 601n },
        { from: 2048n, to: 2049n },
      ]),
    ).toBe(3);
  });
});

const planned = read('h200-launches.json');

/** Stores through maps whose tile is the same for every launch of the kernel: what is told is what was written, in full. */
const THROUGH_MAPS: Readonly<Record<string, Verdict>> = {
  'k_tensor_1d overlapping boxes': 'exact',
  'k_tensor_1d clipped at the end': 'exact',
  'k_tensor_2d tiles': 'exact',
  // Rows of 148 bytes, written in pieces of 16.
  'k_tensor_2d clipped': 'bounded',
  'k_tensor_2d every second row': 'exact',
  'k_tensor_2d swizzled bytes': 'exact',
  'k_tensor_2d stepping elements': 'exact',
  'k_tensor_5d tiles': 'exact',
  'k_tensor_5d clipped': 'exact',
};

describe('stores through tensor maps', () => {
  const rows = planned.launches.filter(({ status, maps }) => status === 'ok' && maps);

  it.each(Object.entries(THROUGH_MAPS))('%s: %s, and all of it was written', async (name, verdict) => {
    const launch = rows.find((row) => `${row.kernel} ${row.case}` === name)!;
    const { product } = await buildTemplates([join(ROOT, launch.file)]);
    const templates = { ...product, modules: product.modules.map((module) => ({ ...module, source: launch.file })) };
    const set = shadow(templates, launch, MODES[0]!);
    expect(set.verdict).toBe(verdict);
    expect(set.ranges()).toEqual(rangesOf(launch.written));
    // Without pointers that keep to their allocations as well.
    expect(shadow(templates, launch, MODES[1]!).ranges()).toEqual(rangesOf(launch.written));
    // A map that differs in a bit, and one that nobody told.
    const flipped = bytesOf(launch.parameters);
    flipped[100]! ^= 1;
    const other = { ...launch, parameters: Buffer.from(flipped).toString('hex') };
    const executor = new ShadowExecutor(templates);
    executor.module(launch.file);
    tellMaps(executor, launch);
    expect(executor.launch(recordOf(other)).verdict).toBe('unknown');
    expect(shadow(templates, launch, MODES[2]!).verdict).toBe('unknown');
  });

  it('of real kernels keep to the tensor', async () => {
    for (const launch of rows.filter(({ kernel }) => kernel === 'matmul_tma' || kernel === 'k_im2col')) {
      const { product } = await buildTemplates([join(ROOT, launch.file)]);
      const templates = { ...product, modules: product.modules.map((module) => ({ ...module, source: launch.file })) };
      const set = shadow(templates, launch, MODES[0]!);
      expect(['exact', 'bounded']).toContain(set.verdict);
      const { address, dimensions, strides } = launch.maps!.at(-1)!;
      const rows = dimensions.reduce(
        (size, count, axis) => (axis === 0 ? size : size + strides[axis - 1]! * (count - 1)),
        0,
      );
      const size = rows + dimensions[0]! * (launch.kernel === 'k_im2col' ? 4 : 2);
      expect(set.ranges().at(0)!.from).toBe(BigInt(address));
      expect(set.ranges().at(-1)!.to).toBe(BigInt(address) + BigInt(size));
    }
  });
});

describe(`launches of the plan, recorded on ${planned.device}`, () => {
  const launches = planned.launches.filter(({ status }) => status === 'ok');
  const sums = new Map(MODES.map((mode) => [mode, { launches: 0, exact: 0, told: 0, written: 0 }]));
  const verdicts = new Set<Verdict>();

  it('are nearly all of it', () => {
    expect(launches.length).toBeGreaterThan(0.97 * planned.launches.length);
    expect(new Set(launches.map(({ file, kernel }) => `${file} ${kernel}`)).size).toBeGreaterThan(440);
  });

  it('wrote nothing outside of allocations and module variables', () => {
    for (const launch of launches) {
      const places = [
        ...(launch.allocations ?? []),
        ...(launch.variables ?? []).map(([, at, size]) => [at, size] as const),
      ];
      expect(missed(rangesOf(launch.written), rangesOf(places)), `${launch.kernel} ${launch.case}`).toEqual([]);
    }
  });

  for (const [file, ofFile] of byFile(launches)) {
    it(`${file}: no byte is missed`, async () => {
      const { product } = await buildTemplates([join(ROOT, file)]);
      const templates = { ...product, modules: product.modules.map((module) => ({ ...module, source: file })) };
      for (const launch of ofFile) {
        const written = rangesOf(launch.written);
        for (const mode of MODES) {
          const set = shadow(templates, launch, mode);
          const what = `${launch.kernel} ${launch.case} ${JSON.stringify(mode)} ${set.verdict}`;
          expect(missed(written, set.ranges()), what).toEqual([]);
          verdicts.add(set.verdict);
          const sum = sums.get(mode)!;
          sum.launches++;
          if (set.verdict !== 'exact') continue;
          sum.exact++;
          sum.told += granules(set.ranges());
          sum.written += granules(written);
        }
      }
    });
  }

  it('are exact for the most part, and then tell hardly more than was written', () => {
    expect([...verdicts].sort()).toEqual(['allocation', 'bounded', 'exact', 'unknown']);
    for (const [mode, { launches: all, exact, told, written }] of sums) {
      expect(exact / all, JSON.stringify(mode)).toBeGreaterThan(mode.known ? 0.84 : 0.75);
      // Equal values, and atomics that change nothing, leave no trace in the record.
      expect(told / written, JSON.stringify(mode)).toBeLessThan(1.05);
    }
  });
});

const first = read('h200.json');

describe(`launches without memory, recorded on ${first.device}`, () => {
  const sums = { launches: 0, exact: 0, told: 0, written: 0 };
  for (const [file, launches] of byFile(first.launches)) {
    it(`${file}: no byte is missed, and both ways of execution agree`, async () => {
      const { product } = await buildTemplates([join(ROOT, file)]);
      for (const launch of launches) {
        const set = shadow(
          { ...product, modules: product.modules.map((m) => ({ ...m, source: file })) },
          launch,
          MODES[0]!,
        );
        const what = `${launch.kernel} ${launch.grid} ${launch.block} ${launch.parameters}`;
        const written = rangesOf(launch.written);
        expect(missed(written, set.ranges()), what).toEqual([]);
        const template = product.kernels.find(({ name }) => name === launch.kernel)!;
        const threads = executeConcretely(template, recordOf(launch), { maxThreads: 4096 });
        expect(['exact', 'bounded'], what).toContain(threads.verdict);
        expect(missed(threads.ranges, set.ranges()), what).toEqual([]);
        if (set.verdict === 'exact' && threads.verdict === 'exact') expect(set.ranges(), what).toEqual(threads.ranges);
        sums.launches++;
        if (set.verdict === 'exact') sums.exact++;
        sums.told += granules(set.ranges());
        sums.written += granules(written);
      }
    });
  }

  it('were many, and little more than they wrote is told', () => {
    expect(sums.launches).toBeGreaterThan(600);
    expect(sums.exact / sums.launches).toBeGreaterThan(0.98);
    expect(sums.told / sums.written).toBeLessThan(1.05);
  });
});
