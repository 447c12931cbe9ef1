/**
 * Mutated fixtures: never an exception, bounded time, findings within the text; and where ptxas is installed, a sample of
 * mutants that it accepts must be accepted. Fixed seed, fixed budget.
 */
import { describe, expect, it } from 'vitest';
import { parse } from '../../src/ptx/index.js';
import { processorTime } from '../processor-time.js';
import { fixtures, hasPtxas, ptxasAccepts, randomNumbers, withFolder } from './helpers.js';
import { mutator } from './mutate.js';

const SEED = 20_240_607;
const BUDGET_MS = 6000;
const MUTANTS = 6000;
const random = randomNumbers(SEED);
const below = (limit: number) => Math.floor(random() * limit);
const mutate = mutator(random);

const originals = fixtures()
  .map(({ text }) => text)
  .filter((text) => text.length < 20_000);

describe('mutated fixtures', () => {
  it('never throw, and give findings inside the text', () => {
    const start = processorTime();
    let parsed = 0;
    let rejected = 0;
    let slowest = 0;
    while (parsed < MUTANTS && processorTime() - start < BUDGET_MS) {
      const mutant = mutate(originals[below(originals.length)]!);
      const before = processorTime();
      const { product, diagnostics } = parse(mutant);
      slowest = Math.max(slowest, processorTime() - before);
      parsed++;
      if (diagnostics.length > 0) rejected++;
      expect(product.kind).toBe('module');
      const lines = mutant.split('\n').length;
      for (const { line, column } of diagnostics) {
        expect(line).toBeGreaterThanOrEqual(1);
        expect(line).toBeLessThanOrEqual(lines);
        expect(column).toBeGreaterThanOrEqual(1);
      }
    }
    expect(parsed).toBeGreaterThan(100);
    // Mutation breaks most texts; if hardly any is rejected, errors go unnoticed.
    expect(rejected / parsed).toBeGreaterThan(0.3);
    expect(slowest).toBeLessThan(10_000);
  });

  it.skipIf(!hasPtxas)('are accepted where ptxas accepts them', () => {
    withFolder((folder) => {
      let agreed = 0;
      for (let i = 0; i < 250; i++) {
        const mutant = mutate(originals[below(originals.length)]!);
        const { diagnostics } = parse(mutant);
        // ptxas silently drops everything from an unclosed string on; the parser must not.
        if (diagnostics.some(({ message }) => message.startsWith('the string that is opened here'))) continue;
        if (diagnostics.length > 0) expect(ptxasAccepts(mutant, folder), `ptxas accepts:\n${mutant}`).toBe(false);
        agreed++;
      }
      expect(agreed).toBeGreaterThan(20);
    });
  });

  it('cut off at every offset, the head of a text never throws', () => {
    const text = originals.find((candidate) => candidate.length > 800)!;
    for (let end = 0; end <= Math.min(text.length, 2500); end++) parse(text.slice(0, end));
    const last = text.lastIndexOf('}');
    expect(parse(text.slice(0, last)).diagnostics.map(({ code }) => code)).toContain('GCR2003');
  });
});
