/**
 * Tightness: at granules of 512 bytes, what is told is at most 1.05 times what is written, for every fixture kernel whose
 * recipe the simulator executes. Kernels that are looser stand in the inventory with their ratio and the reason, and must be
 * as it says; of those whose addresses follow from the launch alone there is one.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loadKernels } from '../../scripts/judge/kernels.mjs';
import { ratioOfKernel } from '../../scripts/judge/tightness.mjs';
import { type Entry, library } from './helpers.js';

const LIMIT = 1.05;
/** Launches are the same every time; the record is rounded. */
const ROUNDING = 0.001;
const PTX = join(import.meta.dirname, '../../fixtures/ptx');

interface Loose {
  readonly ratio: number;
  readonly why: string;
}

const listed = new Map<string, Loose>();
for (const file of ['inventory-generated.json', 'inventory-ideas.json']) {
  const fixtures = JSON.parse(readFileSync(join(PTX, file), 'utf8')) as {
    file: string;
    kernels?: Record<string, { shadow?: Loose }>;
  }[];
  for (const { file: path, kernels = {} } of fixtures) {
    for (const [name, { shadow }] of Object.entries(kernels)) {
      if (shadow) listed.set(`fixtures/ptx/${path} ${name}`, shadow);
    }
  }
}

let kernels: Entry[];
beforeAll(async () => {
  ({ kernels } = await loadKernels(library));
}, 120_000);

describe('what is told for each granule written', () => {
  const judged = new Set<string>();

  it('is one, or nearly, or as the inventory says', { timeout: 300_000 }, () => {
    const wrong: string[] = [];
    for (const entry of kernels) {
      const key = `${entry.file} ${entry.name}`;
      const ratio = ratioOfKernel(library, entry);
      if (ratio === undefined) continue;
      judged.add(key);
      const expected = listed.get(key);
      const isRight = expected ? Math.abs(ratio - expected.ratio) <= ROUNDING : ratio >= 1 && ratio <= LIMIT;
      if (!isRight)
        wrong.push(`${key}: ${ratio.toFixed(3)}, ${expected ? `listed with ${expected.ratio}` : 'not listed'}`);
    }
    expect(wrong).toEqual([]);
    expect(judged.size).toBeGreaterThan(400);
  });

  it('is more only where the inventory has a reason, and data decides', () => {
    for (const [key, { ratio, why }] of listed) {
      expect(judged, key).toContain(key);
      expect(ratio, key).toBeGreaterThan(LIMIT);
      expect(why, key).not.toBe('');
    }
    const byLaunch = kernels.filter(
      ({ file, name, template }) => template.verdict === 'exact' && listed.has(`${file} ${name}`),
    );
    expect(byLaunch.map(({ name }) => name)).toEqual([]);
  });
});
