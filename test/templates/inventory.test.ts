/** The inventory is the oracle of the analysis: every fixture's verdicts, judged by hand, against what is derived. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { splitVersions } from '../../src/sources/index.js';
import { countsAsWrite, type KernelTemplate } from '../../src/templates/index.js';

interface Expected {
  readonly verdict?: string;
  readonly writes?: readonly {
    readonly kind: string;
    readonly verdict?: string;
    readonly count?: number;
    readonly window?: string;
  }[];
}
interface Fixture {
  readonly file: string;
  readonly idea: string;
  readonly ptxas: string;
  readonly kernels?: Readonly<Record<string, Expected>>;
  readonly error?: { readonly line: number };
}

const ROOT = join(import.meta.dirname, '../../fixtures/ptx');
const fixtures = readdirSync(ROOT)
  .filter((name) => /^inventory.*\.json$/.test(name))
  .flatMap((name) => JSON.parse(readFileSync(join(ROOT, name), 'utf8')) as Fixture[]);

async function kernelsOf(file: string): Promise<KernelTemplate[]> {
  const text = readFileSync(join(ROOT, file), 'latin1').replace(/\0+$/, '');
  const kernels: KernelTemplate[] = [];
  for (const block of splitVersions(text)) {
    const { product } = await buildTemplatesFromText(block.text, file);
    kernels.push(...product.kernels);
  }
  return kernels;
}

/** `store exact`, `store exact ~shared`, … with counts, sorted. */
function summary(
  sites: readonly { kind: string; verdict?: string | undefined; window?: string | undefined; count?: number }[],
): string[] {
  const counts = new Map<string, number>();
  for (const { kind, verdict, window, count } of sites) {
    const key = window ? `${kind} ~${window}` : `${kind} ${verdict}`;
    counts.set(key, (counts.get(key) ?? 0) + (count ?? 1));
  }
  return [...counts].map(([key, count]) => `${count} × ${key}`).sort();
}

describe('inventory', () => {
  it('lists every fixture, and nothing that is not there', () => {
    const files = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ptx'));
    expect(fixtures.map((fixture) => fixture.file).sort()).toEqual(files.sort());
    expect(fixtures.length).toBeGreaterThan(100);
    for (const fixture of fixtures) expect(existsSync(join(ROOT, fixture.file)), fixture.file).toBe(true);
  });

  for (const fixture of fixtures) {
    if (!fixture.kernels || fixture.error) continue;
    it(`${fixture.file}: ${fixture.idea}`, async () => {
      const kernels = await kernelsOf(fixture.file);
      for (const [name, expected] of Object.entries(fixture.kernels!)) {
        const candidates = kernels.filter((candidate) => candidate.name === name);
        expect(candidates.length, name).toBeGreaterThan(0);
        for (const kernel of candidates) {
          if (expected.verdict) expect(`${name}: ${kernel.verdict}`).toBe(`${name}: ${expected.verdict}`);
          if (expected.writes) expect(summary(kernel.writes), name).toEqual(summary(expected.writes));
          // Whatever is not exact says why; what counts is no better than the kernel's verdict.
          for (const site of kernel.writes) {
            if (site.verdict !== 'exact') expect(site.reasons.length, `${name} line ${site.line}`).toBeGreaterThan(0);
            if (countsAsWrite(site) && kernel.verdict === 'exact') expect(site.verdict).toBe('exact');
          }
        }
      }
    });
  }
});
