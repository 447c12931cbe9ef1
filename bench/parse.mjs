#!/usr/bin/env node
/**
 * How fast PTX is parsed, stage by stage, beside ptxas on the same file in the same run:
 * `node --expose-gc bench/parse.mjs [FILE.ptx]`. Runs on the built `dist`.
 *
 * Without a file, nvcc compiles algorithms of CUB to some 8 MB of PTX; without nvcc, the fixtures are repeated. ptxas gets
 * a copy with a syntax error at the end: it parses everything, then stops.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { outline, parse, parseBody } from '../dist/ptx/index.js';
import { tokenize } from '../dist/ptx/tokens.js';
import { benchmarkInput, withFolder } from './input.mjs';

const ROUNDS = 7;

let folder;
await withFolder(async (own) => {
  folder = own;
  await main();
});

async function main() {
  const { text, origin } = input();
  const megabytes = text.length / 1e6;
  console.log(`input: ${origin}, ${megabytes.toFixed(2)} MB\n`);

  const { product: skipped } = parse(text, { bodies: 'skip' });
  const functions = skipped.items.filter((item) => item.kind === 'function' && item.bodySpan !== undefined);
  let tokens = 0;
  report('outline', megabytes, () => outline(text));
  report('lexer', megabytes, () => {
    tokens = 0;
    for (let at = 0; at < text.length; at += 1 << 15) {
      tokens += tokenize(text, at, Math.min(text.length, at + (1 << 15))).tokens.length;
    }
  });
  report('parse, bodies skipped', megabytes, () => parse(text, { bodies: 'skip' }));
  const best = report('parse, whole tree', megabytes, () => parse(text));
  report('parse, tree by tree', megabytes, () => {
    for (const fn of functions) parseBody(text, fn);
  });
  console.log(`\n${tokens} tokens, ${(text.length / tokens).toFixed(1)} characters each; ${functions.length} bodies`);

  if (globalThis.gc) {
    globalThis.gc();
    const before = process.memoryUsage().heapUsed;
    const tree = parse(text);
    globalThis.gc();
    const bytes = process.memoryUsage().heapUsed - before;
    console.log(
      `tree: ${(bytes / text.length).toFixed(1)} bytes of memory a character (${tree.product.items.length} items)`,
    );
  } else console.log('run with --expose-gc to see the memory of the tree');

  const share = await garbageShare(text);
  console.log(
    `limit: ${(share * 100).toFixed(0)} % of parsing is garbage collection, of tokens and tree; ` +
      `${((best / megabytes) * 1e3).toFixed(0)} ms a MB in all`,
  );
  ptxas(text, megabytes);
}

/** Best and middle of some rounds; the first ones warm up. */
function report(what, megabytes, action) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const start = performance.now();
    action();
    times.push((performance.now() - start) / 1e3);
  }
  const sorted = times.slice(2).sort((a, b) => a - b);
  const rate = (seconds) => (megabytes / seconds).toFixed(1).padStart(7);
  console.log(`${what.padEnd(24)} best ${rate(sorted[0])} MB/s, median ${rate(sorted[sorted.length >> 1])} MB/s`);
  return sorted[0];
}

/** What share of the time of parsing is garbage collection. */
async function garbageShare(text) {
  let collected = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) collected += entry.duration;
  });
  observer.observe({ entryTypes: ['gc'] });
  const start = performance.now();
  for (let round = 0; round < 5; round++) parse(text);
  const elapsed = performance.now() - start;
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  return collected / elapsed;
}

function ptxas(text, megabytes) {
  const file = join(folder, 'broken.ptx');
  writeFileSync(file, `${text}\n.global .u32 ,;\n`, 'latin1');
  const arch = /\.target\s+(sm_\w+)/.exec(text)?.[1] ?? 'sm_90';
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    const run = spawnSync('ptxas', [`-arch=${arch}`, file, '-o', '/dev/null'], { encoding: 'utf8' });
    if (run.error) {
      console.log('ptxas is not installed: no comparison');
      return;
    }
    if (!run.stderr.includes('syntax error')) throw new Error(`ptxas did something else: ${run.stderr}`);
    best = Math.min(best, (performance.now() - start) / 1e3);
  }
  console.log(`${'ptxas, parsing alone'.padEnd(24)} best ${(megabytes / best).toFixed(1).padStart(7)} MB/s`);
}

function input() {
  const compiled = benchmarkInput(process.argv[2], folder);
  if (compiled) return compiled;
  const fixtures = new URL('../fixtures/ptx/', import.meta.url).pathname;
  const texts = readdirSync(fixtures, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ptx') && !name.startsWith('invalid'))
    .map((name) => readFileSync(join(fixtures, name), 'latin1'));
  // Bodies alone, under one head, until there are 5 MB.
  const bodies = texts.flatMap((text) => {
    const { pieces } = outline(text);
    return pieces.filter((piece) => piece.kind === 'body').map((piece) => text.slice(piece.offset, piece.end));
  });
  let all = '.version 8.8\n.target sm_90a\n.address_size 64\n';
  for (let i = 0; all.length < 5e6; i++) all += `.entry k${i}()\n${bodies[i % bodies.length]}\n`;
  return { text: all, origin: 'bodies of the fixtures, repeated' };
}
