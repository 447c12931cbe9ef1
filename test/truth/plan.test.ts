/**
 * The launch plan against the fixtures: every kernel of the inventory is launched or left out with a reason, and the plan
 * is what the recipes give.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const text = readFileSync(join(ROOT, 'fixtures/truth/plan.jsonl'), 'utf8');
const [head, ...launches] = text
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line));

describe('the launch plan', () => {
  it('launches every fixture kernel or says why not', () => {
    const planned = new Set(launches.map(({ file, kernel }) => `${file} ${kernel}`));
    const leftOut = new Set(head.leftOut.map(({ file, kernel }: Record<string, string>) => `${file} ${kernel}`));
    for (const { reason } of head.leftOut) expect(reason).not.toBe('');
    const folder = join(ROOT, 'fixtures/ptx');
    for (const name of readdirSync(folder).filter((name) => /^inventory.*\.json$/.test(name))) {
      for (const { file, kernels, error } of JSON.parse(readFileSync(join(folder, name), 'utf8'))) {
        if (error) continue;
        for (const kernel of Object.keys(kernels ?? {})) {
          const key = `fixtures/ptx/${file} ${kernel}`;
          expect(planned.has(key) !== leftOut.has(key), key).toBe(true);
        }
      }
    }
    expect(launches.length).toBeGreaterThan(1000);
  });

  it('gives every launch a name of its own', () => {
    const names = launches.map(({ file, kernel, case: name }) => `${file} ${kernel} ${name}`);
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  });

  it.skipIf(!existsSync(join(ROOT, 'dist/index.js')))(
    'is what the recipes give',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'gcr-plan-'));
      const output = join(folder, 'plan.jsonl');
      execFileSync(process.execPath, [join(ROOT, 'scripts/truth/plan.mjs'), output]);
      const isSame = readFileSync(output, 'utf8') === text;
      rmSync(folder, { recursive: true });
      expect(isSame, 'npm run build && node scripts/truth/plan.mjs').toBe(true);
    },
    170_000,
  );
});
