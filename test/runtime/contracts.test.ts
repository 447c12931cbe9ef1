/** What docs/support.md says of contracts is what the table of contracts has, for every entry point that the libraries' headers declare. */
import { describe, expect, it } from 'vitest';
import { contracts, coverage, documented, entryPoints, reasonsOf } from '../../scripts/contracts.mjs';

interface Library {
  readonly version: string;
  readonly functions: readonly string[];
}

const libraries = Object.values(entryPoints() as Record<string, Library>);
const functions = libraries.flatMap((library) => library.functions);
const described = new Set<string>(contracts());

describe('the table of contracts', () => {
  it('has functions of the libraries alone, each once', () => {
    expect(described.size).toBe(contracts().length);
    expect(contracts().filter((name: string) => !functions.includes(name))).toEqual([]);
  });

  it('leaves none out without one reason that is said', () => {
    const without = functions.filter((name) => !described.has(name));
    expect(without.length).toBeGreaterThan(100);
    expect(without.filter((name) => reasonsOf(name).length !== 1)).toEqual([]);
  });

  it('is what the document says', () => {
    expect(documented()).toBe(coverage());
  });
});
