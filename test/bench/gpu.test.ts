/** The GPU benchmark at small sizes on the simulated device: every scenario that needs no GPU gives rows that are figures, and a table. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { row, table } from '../../bench/gpu/rows.mjs';
import { isBuilt } from '../runtime/supervised.js';
import { ROOT } from '../sim/helpers.js';

const MAIN = join(ROOT, 'bench/gpu/main.mjs');

interface Figures {
  readonly median: number;
  readonly samples: readonly number[];
}
interface Row {
  readonly what: string;
  readonly unit: string;
  readonly ours: Figures;
  readonly reference?: Figures & { readonly name: string };
  readonly ratio?: number;
  readonly target?: string;
  readonly reached?: boolean;
}
interface Scenario {
  readonly name: string;
  readonly rows: readonly Row[];
  readonly failed?: string;
  readonly skipped?: string;
}

/** Scenarios that need what the simulated device or this machine does not have say so. */
const hasCriu = spawnSync('criu', ['--version']).status === 0;
const SKIPPED = [
  'decode',
  'hash',
  'overhead-training',
  'training',
  'start',
  ...(hasCriu ? [] : ['durable', 'downtime']),
];

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-bench-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function bench(...args: string[]) {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout: 240_000 });
}

describe.skipIf(!isBuilt)('bench/gpu', () => {
  it('measures on the simulated device', { timeout: 250_000 }, () => {
    const { status, stderr, stdout } = bench('--quick', '--simulated', '--limit', '200', '--output', folder);
    const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as { scenarios: Scenario[] };
    expect(
      results.scenarios.flatMap(({ name, failed }) => (failed === undefined ? [] : [`${name}: ${failed}`])),
      stderr,
    ).toEqual([]);
    expect(status).toBe(0);
    expect(results.scenarios.flatMap(({ name, skipped }) => (skipped === undefined ? [] : [name]))).toEqual(SKIPPED);
    for (const { name, rows, skipped } of results.scenarios) {
      if (skipped === undefined) expect(rows.length, name).toBeGreaterThan(0);
      for (const { what, ours, reference, ratio, target, reached } of rows) {
        for (const figure of [
          ours.median,
          ...ours.samples,
          ...(reference ? [reference.median, ...reference.samples] : []),
          ratio ?? 0,
        ])
          expect(figure, `${name}: ${what}`).toSatisfy(Number.isFinite);
        expect(reached === undefined, what).toBe(target === undefined);
        expect(stdout).toContain(`| ${what} |`);
      }
    }
    // What must hold on every device.
    const of = (what: string) => results.scenarios.flatMap(({ rows }) => rows).find((row) => row.what.startsWith(what));
    expect(of('verified increments')?.ours.median).toBeGreaterThanOrEqual(9);
    for (const what of [
      'bytes that differ',
      'chunks that changed though',
      'programs that end with another result',
      'suspended programs that end',
      'switched programs that end',
    ])
      expect(of(what)?.ours.median, what).toBe(0);
    expect(of('… chunks copied')?.ratio).toBeLessThanOrEqual(1);
    // The table can be made again from the results alone.
    const again = spawnSync(process.execPath, [join(ROOT, 'bench/gpu/table.mjs'), join(folder, 'results.json')], {
      encoding: 'utf8',
    });
    expect(again.stdout).toBe(stdout);
  });

  it('holds samples taken in pairs against each other, not their medians', () => {
    // The second pair ran while the machine was busy.
    const figures = {
      what: 'x',
      unit: 'ms',
      ours: [1.01, 8.2, 1.03],
      reference: { name: 'alone', samples: [1, 8, 1] },
    };
    expect(row({ ...figures, ratio: 'pairs', atMost: 1.02 })).toMatchObject({ ratio: 1.025, reached: false });
    expect(row({ ...figures, ratio: 'pairs', atMost: 1.03 })).toMatchObject({ target: '≤ 1.03', reached: true });
    expect(row({ what: 'x', unit: '%', ours: [5, 7, 6], within: [4, 6] })).toMatchObject({
      target: '4 to 6 %',
      reached: true,
    });
    expect(row({ what: 'x', unit: '%', ours: [5, 7, 8], within: [4, 6] })).toMatchObject({ reached: false });
  });

  it('takes scenarios of several runs together, the last time of each', () => {
    const run = (command: string, ...scenarios: [string, number][]) => ({
      machine: { device: 'device', driver: '1', date: 'today', processors: 'two' },
      command,
      scenarios: scenarios.map(([name, value]) => ({ name, rows: [row({ what: name, unit: 's', ours: [value] })] })),
    });
    const text = table([run('first', ['a', 1], ['b', 2]), run('old', ['c', 3]), run('last', ['c', 4], ['b', 5])]);
    expect(text).toContain('1. device, driver 1, today, two; `first`.\n2. device, driver 1, today, two; `last`.\n');
    expect(text).toContain('| a | 1 s |  |  |  |  | 1 |\n| b | 5 s |  |  |  |  | 2 |\n| c | 4 s |  |  |  |  | 2 |\n');
    expect(table([run('only', ['a', 1])])).toContain('today, two; `only`.\n\n| what | ours |');
  });

  it('tells what of its arguments cannot be', () => {
    for (const args of [['--rounds', '0'], ['--only', 'nothing'], ['--colour']]) {
      const { status, stderr, stdout } = bench(...args);
      expect([status, stdout]).toEqual([64, '']);
      expect(stderr).toMatch(/^bench\/gpu\/main\.mjs: /);
    }
  });
});
