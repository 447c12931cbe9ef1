/** Reading of the compiled fixtures (scripts/make-containers.sh) and short forms of what collecting gives. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { CODES, type Diagnostic } from '../../src/diagnostics/index.js';
import { collectSources, type SourceSet, sourcesFromBuffer } from '../../src/sources/index.js';
import { entryNames } from '../../src/sources/split.js';

export const CONTAINERS = new URL('../../fixtures/containers/', import.meta.url).pathname;

export const TRANSPOSE = '_Z9transposePfPKfii';
export const KERNELS: readonly string[] = [TRANSPOSE, 'fill', 'fill2'];

export interface Found {
  readonly product: SourceSet;
  readonly diagnostics: readonly Diagnostic[];
}

export function container(name: string): Buffer {
  return readFileSync(join(CONTAINERS, 'bin', name));
}

export function collect(...inputs: string[]): Promise<Found> {
  return collectSources(inputs.map((input) => join(CONTAINERS, input)));
}

export function fromBytes(bytes: Buffer): Found {
  return sourcesFromBuffer('input', bytes);
}

/** Every entry of every text. */
export function entries({ product }: Found): string[] {
  return [...new Set(product.sources.flatMap(({ text }) => [...entryNames(text)]))].sort();
}

/** Kernels that exist as machine code, without doubles; those without text when `hasPtx` is false. */
export function machineCode({ product }: Found, hasPtx?: boolean): string[] {
  const kernels = product.machineCode.filter((kernel) => hasPtx === undefined || kernel.hasPtx === hasPtx);
  return [...new Set(kernels.map(({ name }) => name))].sort();
}

/** Codes without doubles, after checking the form of each diagnostic. */
export function codes({ diagnostics }: Found): string[] {
  for (const diagnostic of diagnostics) {
    expect(CODES, diagnostic.message).toHaveProperty(diagnostic.code);
    expect(diagnostic.message).not.toBe('');
    expect(diagnostic.source, diagnostic.message).toBeTruthy();
    if (diagnostic.code !== 'GCR1002') expect(diagnostic.hint, diagnostic.message).toBeTruthy();
  }
  return [...new Set(diagnostics.map(({ code }) => code))].sort();
}
