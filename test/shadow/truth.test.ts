/**
 * What a real GPU wrote, against what templates say: every byte that changed must be in the ranges of the thread-by-thread
 * execution. Launches were recorded as docs/formats/truth.md says, each run twice over complementary contents, so a byte is
 * missing from the record only if both runs happened to write what was there. `h200.json` is the first record, of launches
 * that memory has no part in; `h200-launches.json` is that of the plan in `plan.jsonl`.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildTemplates } from '../../src/pipeline/index.js';
import { executeConcretely, RangeCollector } from '../../src/shadow/index.js';
import type { KernelTemplate } from '../../src/templates/index.js';

interface Launch {
  readonly file: string;
  readonly kernel: string;
  readonly grid: [number, number, number];
  readonly block: [number, number, number];
  readonly parameters: string;
  readonly written: readonly (readonly [address: string, bytes: number])[];
}
interface Truth {
  readonly device: string;
  readonly launches: readonly Launch[];
}

const ROOT = join(import.meta.dirname, '../..');
const truth = JSON.parse(readFileSync(join(ROOT, 'fixtures/truth/h200.json'), 'utf8')) as Truth;
const byFile = groups(truth.launches);

/** Launches by file. */
function groups<One extends { readonly file: string }>(launches: readonly One[]): Map<string, One[]> {
  const found = new Map<string, One[]>();
  for (const launch of launches) found.set(launch.file, [...(found.get(launch.file) ?? []), launch]);
  return found;
}

/** Bytes of `written` that no range covers. */
function missed(launch: Launch, ranges: readonly { readonly from: bigint; readonly to: bigint }[]): string[] {
  return launch.written
    .map(([address, bytes]) => ({ from: BigInt(address), to: BigInt(address) + BigInt(bytes) }))
    .filter(({ from, to }) => !ranges.some((range) => range.from <= from && to <= range.to))
    .map(({ from, to }) => `0x${from.toString(16)}+${to - from}`);
}

/** A run of the second format: equal runs at equal distances are one entry. */
type Run = readonly [address: string, bytes: number, stride?: number, count?: number];
interface PlannedLaunch extends Omit<Launch, 'written'> {
  readonly case: string;
  readonly status: 'ok' | 'faulted' | 'hung' | 'refused';
  readonly cluster?: [number, number, number];
  readonly sharedMemory: number;
  readonly allocations: readonly (readonly [address: string, bytes: number])[];
  readonly variables: readonly (readonly [name: string, address: string, bytes: number, kept: boolean])[];
  readonly written: readonly Run[];
}
const PLANNED = join(ROOT, 'fixtures/truth/h200-launches.json');
const planned = existsSync(PLANNED)
  ? (JSON.parse(readFileSync(PLANNED, 'utf8')) as { device: string; launches: PlannedLaunch[] })
  : undefined;

function flat(runs: readonly Run[]): [string, number][] {
  return runs.flatMap(([address, bytes, stride = 0, count = 1]) =>
    Array.from({ length: count }, (_, index): [string, number] => [
      `0x${(BigInt(address) + BigInt(stride) * BigInt(index)).toString(16)}`,
      bytes,
    ]),
  );
}

/** Whether sorted, disjoint ranges hold a run; by bisection, since records have many runs. */
function holds(
  ranges: readonly { readonly from: bigint; readonly to: bigint }[],
  address: string,
  bytes: number,
): boolean {
  const from = BigInt(address);
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ranges[middle]!.to > from) high = middle;
    else low = middle + 1;
  }
  const range = ranges[low];
  return range !== undefined && range.from <= from && from + BigInt(bytes) <= range.to;
}

describe('the recorded form of runs', () => {
  it('is taken apart', () => {
    const parts = flat([
      ['0x10', 4],
      ['0x20', 2, 16, 3],
    ]);
    expect(parts.map((part) => part.join('+'))).toEqual(['0x10+4', '0x20+2', '0x30+2', '0x40+2']);
    const ranges = [
      { from: 0n, to: 8n },
      { from: 16n, to: 20n },
    ];
    expect(holds(ranges, '0x0', 8)).toBe(true);
    expect(holds(ranges, '0x10', 5)).toBe(false);
    expect(holds(ranges, '0x8', 1)).toBe(false);
    expect(holds(ranges, '0x14', 1)).toBe(false);
  });
});

describe.skipIf(!planned)('launches of the plan', () => {
  const launches = planned?.launches.filter(({ status }) => status === 'ok') ?? [];
  const sums = { decided: 0, told: 0n, written: 0n };

  it('are most of it', () => {
    expect(launches.length).toBeGreaterThan(0.9 * (planned?.launches.length ?? 0));
  });

  it('write nothing outside of allocations and module variables', () => {
    for (const { kernel, case: name, allocations, variables, written } of launches) {
      const collector = new RangeCollector();
      for (const [address, bytes] of allocations) collector.add(BigInt(address), BigInt(bytes));
      for (const [, address, bytes] of variables) collector.add(BigInt(address), BigInt(bytes));
      const ranges = collector.ranges();
      const stray = flat(written).filter(([address, bytes]) => !holds(ranges, address, bytes));
      expect(stray, `${kernel} ${name}`).toEqual([]);
    }
  });

  for (const [file, ofFile] of groups(launches)) {
    it(`${file}: no byte is missed`, async () => {
      const { product } = await buildTemplates([join(ROOT, file)]);
      for (const launch of ofFile) {
        const kernel = product.kernels.find(({ name }) => name === launch.kernel) as KernelTemplate;
        const parameters = new Uint8Array(Buffer.from(launch.parameters, 'hex'));
        const symbols = new Map(launch.variables.map(([name, address]) => [name, BigInt(address)]));
        const options = { maxThreads: 4096, maxSteps: 20_000, symbols };
        const { verdict, ranges } = executeConcretely(kernel, { ...launch, parameters }, options);
        if (verdict !== 'exact' && verdict !== 'bounded') continue;
        const runs = flat(launch.written);
        const what = `${launch.kernel} ${launch.case}`;
        expect(
          runs.filter(([address, bytes]) => !holds(ranges, address, bytes)),
          what,
        ).toEqual([]);
        sums.decided++;
        for (const { from, to } of ranges) sums.told += to - from;
        for (const [, bytes] of runs) sums.written += BigInt(bytes);
      }
    });
  }

  it('are decided for the most part, and little more is told than was written', () => {
    expect(sums.decided).toBeGreaterThan(600);
    expect(Number(sums.told) / Number(sums.written)).toBeLessThan(1.5);
  });
});

describe(`launches recorded on ${truth.device}`, () => {
  const sums = { launches: 0, told: 0n, written: 0n };
  for (const [file, launches] of byFile) {
    it(`${file}: no byte is missed`, async () => {
      const { product } = await buildTemplates([join(ROOT, file)]);
      for (const launch of launches) {
        const kernel = product.kernels.find(({ name }) => name === launch.kernel) as KernelTemplate;
        const parameters = new Uint8Array(Buffer.from(launch.parameters, 'hex'));
        const { verdict, ranges } = executeConcretely(kernel, { ...launch, parameters }, { maxThreads: 4096 });
        const what = `${launch.kernel} ${launch.grid} ${launch.block} ${launch.parameters}`;
        expect(['exact', 'bounded'], what).toContain(verdict);
        expect(missed(launch, ranges), what).toEqual([]);
        sums.launches++;
        for (const { from, to } of ranges) sums.told += to - from;
        for (const [, bytes] of launch.written) sums.written += BigInt(bytes);
      }
    });
  }

  it('were many, wrote much, and little more than that was told', () => {
    expect(sums.launches).toBeGreaterThan(600);
    expect(sums.written).toBeGreaterThan(300_000n);
    expect(Number(sums.told) / Number(sums.written)).toBeLessThan(1.25);
  });

  it('would show a byte that is left out', () => {
    const launch = truth.launches.find(({ written }) => written.length > 0)!;
    const collector = new RangeCollector();
    for (const [address, bytes] of launch.written) collector.add(BigInt(address), BigInt(bytes));
    expect(missed(launch, collector.ranges())).toEqual([]);
    const [first, ...rest] = collector.ranges();
    expect(missed(launch, [{ from: first!.from + 1n, to: first!.to }, ...rest])).not.toEqual([]);
  });
});
