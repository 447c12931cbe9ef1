#!/usr/bin/env node
/**
 * How fast templates are built, and in how much memory, beside ptxas on the same PTX in the same run:
 * `node bench/build.mjs [FILE.ptx]`. Runs on the built `dist`; takes a few minutes.
 *
 * Without a file, nvcc compiles CUB sorts, scans and reductions to some 5 MB of PTX. Larger inputs are that module several
 * times in one file, each copy with a comment of its own, so that none is taken for a text that was already built.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { benchmarkInput, withFolder } from './input.mjs';

const ROUNDS = 3;
const COPIES = [1, 2, 4, 8, 20];
const CLI = fileURLToPath(new URL('../bin/gcr-templates.js', import.meta.url));

let folder;
await withFolder(async (own) => {
  folder = own;
  await main();
});

async function main() {
  const input = benchmarkInput(process.argv[2], folder);
  if (!input) {
    console.error('nvcc is not installed: give a large PTX file');
    process.exitCode = 64;
    return;
  }
  const { text, origin } = input;
  console.log(`module: ${origin}, ${mb(text.length)}\n`);
  console.log('copies      input   jobs   best time        rate   peak memory   template file');
  const times = new Map();
  for (const copies of COPIES) {
    const file = join(folder, `input${copies}.ptx`);
    const parts = Array.from({ length: copies }, (_, index) => `${text}\n// copy ${index}\n`);
    writeFileSync(file, parts.join(''), 'latin1');
    const size = statSync(file).size;
    for (const jobs of [1, 2]) {
      let best;
      for (let round = 0; round < ROUNDS; round++) {
        const run = await build(file, jobs);
        if (!best || run.seconds < best.seconds) best = run;
      }
      times.set(`${copies}:${jobs}`, best.seconds);
      console.log(
        [
          String(copies).padStart(6),
          mb(size).padStart(10),
          String(jobs).padStart(6),
          `${best.seconds.toFixed(2)} s`.padStart(11),
          `${(size / 1e6 / best.seconds).toFixed(2)} MB/s`.padStart(11),
          mb(best.peak).padStart(13),
          mb(best.output).padStart(15),
        ].join(' '),
      );
    }
    rmSync(file);
  }
  const [small, large] = [COPIES[1], COPIES.at(-1)];
  const growth = times.get(`${large}:1`) / times.get(`${small}:1`);
  console.log(`\nlinear: ${large / small} times the input takes ${growth.toFixed(2)} times as long`);
  console.log(`two workers: ${(times.get(`${large}:1`) / times.get(`${large}:2`)).toFixed(2)} times as fast as one`);
  await machineLimit(text, times);
  await stages(text);
  ptxas(text);
}

/** How much two processes that share nothing get done at once: two workers cannot gain more than this machine gives. */
async function machineLimit(text, times) {
  const copies = COPIES.at(-1);
  const file = join(folder, 'both.ptx');
  writeFileSync(file, Array.from({ length: copies }, (_, index) => `${text}\n// copy ${index}\n`).join(''), 'latin1');
  const start = performance.now();
  await Promise.all([build(file, 1, 'a'), build(file, 1, 'b')]);
  const seconds = (performance.now() - start) / 1e3;
  console.log(
    `limit: two builds of one worker at once get ${((2 * times.get(`${copies}:1`)) / seconds).toFixed(2)} times as much done as one`,
  );
  rmSync(file);
}

/** Where the time goes: the stages one after the other in this thread, warmed up, and the share of garbage collection. */
async function stages(text) {
  const { ModuleBuild } = await import('../dist/pipeline/module-build.js');
  const { parseBody } = await import('../dist/ptx/index.js');
  let collected = 0;
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) collected += entry.duration;
  });
  const time = (action) => {
    const start = performance.now();
    action();
    return performance.now() - start;
  };
  const best = { parse: Infinity, lower: Infinity, build: Infinity, json: Infinity };
  observer.observe({ entryTypes: ['gc'] });
  const start = performance.now();
  for (let round = 0; round < 4; round++) {
    let module;
    const head = time(() => {
      module = new ModuleBuild({ name: 'bench', text, lineOffset: 0 });
    });
    const parse = time(() => {
      for (const item of module.module.items) if (item.bodySpan !== undefined) parseBody(text, item);
    });
    const lower = time(() => {
      for (const node of module.kernels) module.lower(node);
    });
    const built = [];
    const all = time(() => {
      for (const node of module.kernels) built.push(module.build(node, 0));
    });
    best.parse = Math.min(best.parse, head + parse);
    best.lower = Math.min(best.lower, lower - parse);
    best.build = Math.min(best.build, all - lower);
    best.json = Math.min(
      best.json,
      time(() => {
        for (const template of built) JSON.stringify(template);
      }),
    );
  }
  const elapsed = performance.now() - start;
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  const names = { parse: 'parsing', lower: 'lowering', build: 'deriving', json: 'JSON' };
  const total = Object.values(best).reduce((sum, value) => sum + value, 0);
  const parts = Object.entries(best).map(
    ([key, value]) => `${names[key]} ${value.toFixed(0)} ms (${((100 * value) / total).toFixed(0)} %)`,
  );
  console.log(
    `stages of one copy: ${parts.join(', ')}; ${((100 * collected) / elapsed).toFixed(0)} % is garbage collection`,
  );
}

function mb(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** One run of the command in a process of its own; its peak memory covers its threads. */
function build(file, jobs, name = '') {
  const output = join(folder, `templates${name}.json`);
  const peakFile = join(folder, `peak${name}`);
  const preload = `import { writeFileSync } from 'node:fs'; import { isMainThread } from 'node:worker_threads';
    if (isMainThread) process.on('exit', () => writeFileSync(${JSON.stringify(peakFile)}, String(process.resourceUsage().maxRSS)));`;
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const args = ['--import', `data:text/javascript,${encodeURIComponent(preload)}`, CLI, 'build', file];
    const child = spawn(process.execPath, [...args, '-o', output, '--jobs', String(jobs)], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    child.on('error', reject);
    child.on('exit', (code) => {
      const seconds = (performance.now() - start) / 1e3;
      if (code !== 0 && code !== 3) return reject(new Error(`build ended with ${code}`));
      resolve({ seconds, peak: Number(readFileSync(peakFile, 'utf8')) * 1024, output: statSync(output).size });
    });
  });
}

/** ptxas on one copy: parsing alone, compiling without optimisation, and as usual. */
function ptxas(text) {
  const good = join(folder, 'good.ptx');
  const broken = join(folder, 'broken.ptx');
  writeFileSync(good, text, 'latin1');
  // A syntax error at the end: everything is parsed, then it stops.
  writeFileSync(broken, `${text}\n.global .u32 ,;\n`, 'latin1');
  const arch = /\.target\s+(sm_\w+)/.exec(text)?.[1] ?? 'sm_90';
  const cases = [
    ['ptxas, parsing alone', broken, []],
    ['ptxas -O0', good, ['-O0']],
    ['ptxas', good, []],
  ];
  console.log('');
  for (const [what, file, flags] of cases) {
    const start = performance.now();
    const run = spawnSync('ptxas', [`-arch=${arch}`, ...flags, file, '-o', '/dev/null'], { encoding: 'utf8' });
    if (run.error) return console.log('ptxas is not installed: no comparison');
    const seconds = (performance.now() - start) / 1e3;
    console.log(
      `${what.padEnd(21)} ${seconds.toFixed(2).padStart(8)} s ${(text.length / 1e6 / seconds).toFixed(2).padStart(8)} MB/s`,
    );
  }
}
