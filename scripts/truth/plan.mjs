#!/usr/bin/env node
/**
 * Writes the launch plan for the recorder of truth: `node scripts/truth/plan.mjs [OUTPUT]`, by default
 * fixtures/truth/plan.jsonl. Needs `npm run build`. Every fixture kernel is either launched or listed as left out with the
 * reason; what the thread-by-thread execution can tell about a launch is checked against its buffers, writes and reads.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { buildTemplatesFromText, executeConcretely } from '../../dist/index.js';
import { parse } from '../../dist/ptx/index.js';
import { splitVersions } from '../../dist/sources/index.js';
import { ARENA, encode, random } from './recipes/builder.mjs';
import { GEOMETRY } from './recipes/geometry.mjs';
import { IDEAS, LEFT_OUT } from './recipes/ideas.mjs';
import { NVCC } from './recipes/nvcc.mjs';
import { TRITON } from './recipes/triton.mjs';

const ROOT = join(import.meta.dirname, '../..');
const OUTPUT = process.argv[2] ?? join(ROOT, 'fixtures/truth/plan.jsonl');
const FOLDERS = { nvcc: { ...NVCC, ...GEOMETRY }, triton: TRITON, ideas: IDEAS };
/** What the recording device runs: compute capability 9.0. */
const DEVICE = 90;
const MAX_THREADS = 4096;
const MAX_STEPS = 20_000;
/** Where variables are taken to be when a launch is checked; far from the arena. */
const FAKE_VARIABLES = 0x7000000000n;

const below = random(20_240_229);
const lines = [];
const leftOut = [];
const problems = [];
const figures = { launches: 0, kernels: 0, checked: 0 };

/** Why a module cannot run on the device, or nothing. */
function refusal(text) {
  const target = /^\s*\.target\s+(sm_(\d+)([af]?))/m.exec(text);
  const version = Number(/^\s*\.version\s+([\d.]+)/m.exec(text)?.[1]);
  const architecture = Number(target?.[2]);
  if (/^\s*\.address_size\s+32/m.test(text) || architecture < 30) return `${target?.[1]}: addresses of 32 bits`;
  if (architecture > DEVICE) return `needs ${target[1]}`;
  if (version > 9) return `ISA ${version}: newer than the driver's`;
  return undefined;
}

/** Module variables that may be asked for by name. */
function variablesOf(text) {
  const { product } = parse(text);
  const known = [];
  let next = FAKE_VARIABLES;
  for (const item of product.items) {
    if (item.kind !== 'variable' || (item.space !== 'global' && item.space !== 'const')) continue;
    if (item.type.endsWith('ref') || item.linking === 'extern') continue;
    for (const { name, initializer } of item.declarators) {
      known.push({ name, initialised: initializer !== undefined, fake: next });
      next += 1n << 24n;
    }
  }
  return known;
}

function recipeOf(recipes, name) {
  if (recipes[name]) return recipes[name];
  const part = name.startsWith('_Z') && Object.keys(recipes).find((key) => name.includes(key) && /[A-Z]/.test(key[0]));
  return part ? recipes[part] : undefined;
}

/** Ranges of writes or reads that leave the launch's buffers, by the thread-by-thread execution. */
function outside(kernel, sites, launch, parameters, symbols, buffers) {
  const template = { ...kernel, writes: sites };
  const record = { ...launch, parameters };
  const { verdict, ranges } = executeConcretely(template, record, {
    maxThreads: MAX_THREADS,
    maxSteps: MAX_STEPS,
    symbols,
  });
  if (verdict !== 'exact' && verdict !== 'bounded') return undefined;
  const base = BigInt(ARENA.base);
  const holds = ({ from, to }) =>
    (from >= FAKE_VARIABLES && from < FAKE_VARIABLES + (1n << 32n)) ||
    buffers.some(([offset, size]) => from >= base + BigInt(offset) && to <= base + BigInt(offset + size));
  return ranges.filter((range) => !holds(range)).map(({ from, to }) => `0x${from.toString(16)}+${to - from}`);
}

function check(kernel, recipe, { launch, parameters, buffers }, known) {
  const symbols = new Map(known.map(({ name, fake }) => [name, fake]));
  const what = `${kernel.name} "${recipe.name}"`;
  for (const kind of ['writes', 'reads']) {
    const sites = kernel[kind].filter(({ space }) => space === 'global' || space === 'generic');
    if (sites.length === 0) continue;
    const found = outside(kernel, sites, launch, parameters, symbols, buffers);
    if (found && kind === 'writes') figures.checked++;
    if (found?.length > 0 && !recipe.outside)
      problems.push(`${what}: ${kind} outside of buffers: ${found.slice(0, 4)}`);
  }
}

async function planModule(file, folder, text, slice) {
  const why = refusal(text);
  const { product } = await buildTemplatesFromText(text.replace(/\0+$/, ''), file);
  const known = why ? [] : variablesOf(text.replace(/\0+$/, ''));
  const isSample = /sm_75/.test(basename(file));
  for (const kernel of product.kernels) {
    const reason = why ?? LEFT_OUT[kernel.name];
    const recipe = recipeOf(FOLDERS[folder], kernel.name);
    if (reason) {
      leftOut.push({ file, kernel: kernel.name, reason });
      continue;
    }
    if (!recipe) {
      problems.push(`${file} ${kernel.name}: no recipe`);
      continue;
    }
    figures.kernels++;
    let cases = recipe(kernel).filter(({ only }) => !only || file.includes(`${only}.`));
    if (isSample) cases = cases.slice(0, 2);
    for (const one of cases) {
      const block = one.block === 'maximum' ? kernel.bounds.maximumBlock : one.block;
      const made = encode(kernel, { ...one, block }, below, known);
      check(kernel, one, made, known);
      lines.push(JSON.stringify({ file, ...(slice && { slice }), ...made.launch }));
      figures.launches++;
    }
  }
}

for (const folder of Object.keys(FOLDERS)) {
  for (const name of readdirSync(join(ROOT, 'fixtures/ptx', folder)).sort()) {
    if (!name.endsWith('.ptx')) continue;
    const file = `fixtures/ptx/${folder}/${name}`;
    const text = readFileSync(join(ROOT, file), 'latin1');
    const blocks = splitVersions(text);
    let start = 0;
    for (const block of blocks) {
      const end = start + block.text.length;
      await planModule(file, folder, block.text, blocks.length > 1 ? [start, end] : undefined);
      start = end;
    }
  }
}
if (problems.length > 0) {
  console.error(problems.join('\n'));
  process.exit(1);
}
const head = { format: 'gcr-truth-plan', version: 1, arena: ARENA, leftOut };
writeFileSync(OUTPUT, `${[JSON.stringify(head), ...lines].join('\n')}\n`);
const kernels = new Set(lines.map((line) => JSON.parse(line)).map(({ file, kernel }) => `${file} ${kernel}`));
console.log(
  `${figures.launches} launches of ${kernels.size} kernels (${figures.checked} checked against their buffers), ` +
    `${leftOut.length} kernels left out`,
);
