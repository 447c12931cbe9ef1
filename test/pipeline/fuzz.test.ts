/**
 * Mutated fixtures through the whole build: never an exception, every finding has a code and a line of the text, every
 * template is one that the schema allows, and none takes long. Fixed seed, fixed number of mutants.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CODES } from '../../src/diagnostics/index.js';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { encodeTemplateFile, FormulaPrinter, parseTemplateFile } from '../../src/templates/index.js';
import { processorTime } from '../processor-time.js';
import { randomNumbers } from '../ptx/helpers.js';

const SEED = 11_235_813;
const MUTANTS = Number(process.env['GCR_MUTANTS'] ?? 600);
const SLOWEST_MS = 2000;

const IDEAS = join(import.meta.dirname, '../../fixtures/ptx/ideas');
const originals = readdirSync(IDEAS)
  .filter((name) => name.endsWith('.ptx'))
  .sort()
  .map((name) => ({ name, text: readFileSync(join(IDEAS, name), 'latin1') }));

const random = randomNumbers(Number(process.env['GCR_SEED'] ?? SEED));
const below = (limit: number) => Math.floor(random() * limit);

const MUTATIONS: readonly ((text: string) => string)[] = [
  function flipBit(text) {
    const at = below(text.length);
    const flipped = String.fromCharCode(text.charCodeAt(at) ^ (1 << below(8)));
    return text.slice(0, at) + flipped + text.slice(at + 1);
  },
  function deleteLine(text) {
    const lines = text.split('\n');
    lines.splice(below(lines.length), 1);
    return lines.join('\n');
  },
  function swapLines(text) {
    const lines = text.split('\n');
    const a = below(lines.length);
    const b = below(lines.length);
    [lines[a], lines[b]] = [lines[b]!, lines[a]!];
    return lines.join('\n');
  },
  function cutOff(text) {
    return text.slice(0, below(text.length));
  },
  function doubleChunk(text) {
    const from = below(text.length);
    const to = from + below(200);
    return text.slice(0, to) + text.slice(from);
  },
  function exchangeWords(text) {
    const words = [...text.matchAll(/[%$.\w]+/g)];
    const a = words[below(words.length)];
    const b = words[below(words.length)];
    return a && b ? text.slice(0, a.index) + b[0] + text.slice(a.index + a[0].length) : text;
  },
  function changeNumber(text) {
    const numbers = [...text.matchAll(/\b\d+\b/g)];
    const chosen = numbers[below(numbers.length)];
    const other = ['0', '1', '64', '4294967295', '18446744073709551615', '99999999999999999999', '1000000'][below(7)];
    return chosen ? text.slice(0, chosen.index) + other + text.slice(chosen.index + chosen[0].length) : text;
  },
];

describe('mutated fixtures through the whole build', () => {
  it('never throw and give valid templates in bounded time', { timeout: 600_000 }, async () => {
    let templates = 0;
    let rejected = 0;
    for (let mutant = 0; mutant < MUTANTS; mutant++) {
      const { name, text: original } = originals[below(originals.length)]!;
      let text = original;
      const applied: string[] = [];
      for (let changes = 1 + below(3); changes > 0 && text.length > 0; changes--) {
        const mutation = MUTATIONS[below(MUTATIONS.length)]!;
        applied.push(mutation.name);
        text = mutation(text);
      }
      const label = `mutant ${mutant} of ${name} (${applied.join(', ')}):\n${text}`;
      const start = processorTime();
      const { product, diagnostics } = await buildTemplatesFromText(text, 'mutant').catch((error: Error) => {
        throw new Error(`${error.stack}\n${label}`);
      });
      const took = processorTime() - start;
      if (took > SLOWEST_MS) throw new Error(`took ${took.toFixed(0)} ms: ${label}`);
      const lines = text.split('\n').length;
      for (const { code, line, message } of diagnostics) {
        expect(Object.hasOwn(CODES, code), `${code} of ${label}`).toBe(true);
        if (!(line !== undefined && line >= 1 && line <= lines))
          throw new Error(`${code} ${message} at ${line}: ${label}`);
      }
      if (diagnostics.length > 0) rejected++;
      templates += product.kernels.length;
      const encoded = encodeTemplateFile(product);
      try {
        const parsed = parseTemplateFile(encoded);
        expect(encodeTemplateFile(parsed)).toBe(encoded);
        for (const kernel of parsed.kernels) {
          const printer = new FormulaPrinter(kernel);
          for (const site of [...kernel.writes, ...kernel.reads]) printer.site(site);
        }
      } catch (error) {
        throw new Error(`${(error as Error).stack}\n${label}`);
      }
    }
    // Both sides are exercised.
    expect(templates).toBeGreaterThan(MUTANTS / 4);
    expect(rejected).toBeGreaterThan(MUTANTS / 4);
  });
});
