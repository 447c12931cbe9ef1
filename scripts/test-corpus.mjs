#!/usr/bin/env node
/**
 * Parses every .ptx file below the given folders and reports failures by cause, so that a corpus of real files can be
 * held against the parser: `npm run test:corpus -- DIR…`. Runs on the built `dist`.
 *
 * With `--ptxas` each file is also given to ptxas: a file that ptxas accepts and the parser rejects is a failure, a file
 * that both reject is not. `--print` also checks that the printed tree parses to the same tree.
 *
 * Exit code: 0 all files parse, 1 some do not, 64 wrong usage.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatDiagnostic } from '../dist/diagnostics/index.js';
import { parse, print } from '../dist/ptx/index.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { ptxas: { type: 'boolean' }, print: { type: 'boolean' } },
});
if (positionals.length === 0) {
  console.error('usage: test-corpus.mjs [--ptxas] [--print] DIR…');
  process.exit(64);
}

function* ptxFiles(path) {
  if (!statSync(path).isDirectory()) {
    yield path;
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const child = join(path, entry.name);
    if (entry.isDirectory()) yield* ptxFiles(child);
    else if (entry.name.endsWith('.ptx')) yield child;
  }
}

/** The tree without offsets, as text. */
function shape(product) {
  return JSON.stringify(product, (key, value) => {
    if (key === 'offset' || key === 'length') return undefined;
    return typeof value === 'bigint' ? `${value}n` : value;
  });
}

/** Whether ptxas accepts a file, for the architecture that the file names. */
function ptxasAccepts(file, text) {
  const target = /\.target\s+(sm_(\d+)\w*)/.exec(text);
  // ptxas 13 starts at sm_75; older code is accepted for it.
  const arch = target === null || Number(target[2]) < 75 ? 'sm_75' : target[1];
  // Some text is accepted as a whole program only, some as a part of one only.
  for (const mode of [[], ['-c']]) {
    const run = spawnSync('ptxas', [`-arch=${arch}`, ...mode, file, '-o', '/dev/null']);
    if (run.error) throw new Error('--ptxas was given, but ptxas cannot be run');
    if (run.status === 0) return true;
  }
  return false;
}

const causes = new Map();
function fail(cause, file, detail) {
  const list = causes.get(cause) ?? [];
  list.push(`${file}\n      ${detail.replaceAll('\n', '\n      ')}`);
  causes.set(cause, list);
}

let files = 0;
let characters = 0;
let milliseconds = 0;
let rejectedByBoth = 0;
for (const path of positionals) {
  for (const file of ptxFiles(path)) {
    const text = readFileSync(file, 'latin1');
    const start = performance.now();
    const { product, diagnostics } = parse(text, { name: file });
    milliseconds += performance.now() - start;
    files++;
    characters += text.length;
    const [first] = diagnostics;
    if (first !== undefined) {
      if (values.ptxas && !ptxasAccepts(file, text)) rejectedByBoth++;
      else
        fail(
          `${first.code}, expected ${first.expected?.join(', ') ?? 'something else'}`,
          file,
          formatDiagnostic(first),
        );
    } else if (values.print) {
      const again = parse(print(product), { name: `${file}, printed` });
      if (again.diagnostics.length > 0)
        fail('printed text does not parse', file, formatDiagnostic(again.diagnostics[0]));
      else if (shape(again.product) !== shape(product)) fail('printed text parses to another tree', file, '');
    }
  }
}

const failures = [...causes.values()].reduce((sum, list) => sum + list.length, 0);
const megabytes = characters / 1e6;
console.log(
  `${files} files, ${megabytes.toFixed(1)} MB, ${(megabytes / (milliseconds / 1e3)).toFixed(1)} MB/s, ` +
    `${failures} failures${values.ptxas ? `, ${rejectedByBoth} rejected by ptxas too` : ''}`,
);
for (const [cause, list] of [...causes].sort((a, b) => b[1].length - a[1].length)) {
  console.log(`\n${list.length} × ${cause}`);
  for (const line of list.slice(0, 5)) console.log(`    ${line}`);
  if (list.length > 5) console.log(`    … and ${list.length - 5} more`);
}
process.exit(failures > 0 ? 1 : 0);
