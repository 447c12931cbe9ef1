/**
 * What a real GPU wrote, against what templates say: every byte that changed must be in the ranges of the thread-by-thread
 * execution. The launches and their bytes were recorded by `scripts/truth/record.py`; each ran twice over complementary
 * contents, so a byte is missing from the record only if both runs happened to write what was there.
 */
import { readFileSync } from 'node:fs';
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
function groups(launches: readonly Launch[]): Map<string, Launch[]> {
  const found = new Map<string, Launch[]>();
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
