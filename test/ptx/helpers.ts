/** Shared by the tests of the parser: fixtures, comparison of trees, and ptxas as an oracle. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Diagnostic } from '../../src/diagnostics/index.js';
import { type Instruction, type Module, type Operand, parse, type Statement } from '../../src/ptx/index.js';

export const HEAD = '.version 8.8\n.target sm_90a\n.address_size 64\n';

/** A whole module around statements; the statements begin at line 11. */
export function moduleWithBody(statements: string): string {
  return (
    `${HEAD}.visible .global .b32 g[16];\n.visible .entry k(.param .u64 p) {\n.reg .pred p1, p2;\n.reg .b32 %r<9>;\n` +
    `.reg .b64 %rd<9>;\n.reg .f32 %f<9>;\n.reg .f64 %d<9>;\n${statements}\nret;\n}\n`
  );
}

/** Drops offsets and lengths, and writes bigints as text: two trees are equal when their shapes are. */
export function shape(value: unknown): unknown {
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return value.map(shape);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => key !== 'offset' && key !== 'length' && key !== 'bodySpan')
      .map(([key, inner]) => [key, shape(inner)]),
  );
}

/** Parses text that must be free of errors. */
export function parseClean(text: string): Module {
  const { product, diagnostics } = parse(text);
  if (diagnostics.length > 0) throw new Error(`unexpected finding: ${JSON.stringify(diagnostics[0])}`);
  return product;
}

/** The statements of the only body of a module around `statements`, without the five declarations and the `ret`. */
export function bodyOf(statements: string): readonly Statement[] {
  const fn = parseClean(moduleWithBody(statements)).items.find((item) => item.kind === 'function');
  return fn?.body?.slice(5, -1) ?? [];
}

export function instructionOf(text: string): Instruction {
  const [statement] = bodyOf(text);
  if (statement?.kind !== 'instruction') throw new Error(`no instruction: ${text}`);
  return statement;
}

/** The shape of the operand at an index. */
export function operandOf(text: string, index = 1): unknown {
  return shape(instructionOf(text).operands[index] as Operand);
}

/** `CODE line:column` of each finding. */
export function places(diagnostics: readonly Diagnostic[]): string[] {
  return diagnostics.map(({ code, line, column }) => `${code} ${line}:${column}`);
}

const FIXTURES = new URL('../../fixtures/ptx/', import.meta.url).pathname;

/** Fixtures that are valid PTX: everything but the folder `invalid`. */
export function fixtures(): { readonly name: string; readonly text: string }[] {
  if (!existsSync(FIXTURES)) return [];
  return readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ptx') && !name.startsWith('invalid'))
    .sort()
    .map((name) => ({ name, text: readFileSync(join(FIXTURES, name), 'latin1') }));
}

const version = spawnSync('ptxas', ['--version'], { encoding: 'utf8' });
export const hasPtxas = version.status === 0;
/** The installed ptxas' release, 13 for 13.0; older ones refuse newer instructions. */
export const ptxasRelease = Number(/release (\d+)\./.exec(version.stdout ?? '')?.[1] ?? 0);

/** Runs an action with a folder that is removed afterwards. */
export function withFolder<Result>(action: (folder: string) => Result): Result {
  const folder = mkdtempSync(join(tmpdir(), 'gcr-ptx-'));
  try {
    return action(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether ptxas accepts a text, for the target that the text names (sm_75 for older ones). */
export function ptxasAccepts(text: string, folder: string): boolean {
  const file = join(folder, 'probe.ptx');
  writeFileSync(file, text, 'latin1');
  const target = /\.target\s+(sm_(\d+)\w*)/.exec(text);
  const arch = target === null || Number(target[2]) < 75 ? 'sm_75' : target[1];
  // Some text is accepted as a whole program only, some as a part of one only.
  return [[], ['-c']].some(
    (mode) => spawnSync('ptxas', [`-arch=${arch}`, ...mode, file, '-o', join(folder, 'out')]).status === 0,
  );
}

/** Repeatable random numbers in [0, 1) (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
