/**
 * Speed of shadow execution: `node bench/shadow.mjs [rounds]`. Launches as recorded on a GPU (fixtures/truth), replayed on one core:
 * the first time a launch is met (compiled code warm, cache empty), the same launch again, and a decode loop that goes round
 * many layers with pointers that differ, a position that grows, and repeats. Memory is looked at over ten million launches.
 */
import { readFileSync } from 'node:fs';
import { buildTemplates, ShadowExecutor } from '../dist/index.js';

const ROUNDS = Number(process.argv[2] ?? 20);
const truth = JSON.parse(readFileSync('fixtures/truth/h200-launches.json', 'utf8'));
const launches = truth.launches.filter(({ status }) => status === 'ok');
const templates = new Map();
for (const { file } of launches) if (!templates.has(file)) templates.set(file, (await buildTemplates([file])).product);

const record = ({ kernel, grid, block, cluster, sharedMemory, parameters }) => ({
  kernel,
  grid,
  block,
  ...(cluster && { cluster }),
  sharedMemory,
  parameters: Uint8Array.from(Buffer.from(parameters, 'hex')),
});

/** An executor with the memory of a recorded launch. */
function prepared(launch) {
  const executor = new ShadowExecutor(templates.get(launch.file));
  executor.module(launch.file);
  for (const [address, size] of launch.allocations) executor.allocate(BigInt(address), size);
  for (const [name, address, size, kept] of launch.variables) {
    executor.variable(name, BigInt(address), size);
    if (!kept) executor.copyIn(BigInt(address), size);
  }
  for (const [address, hex] of launch.fixed)
    executor.copyIn(BigInt(address), hex.length / 2, Uint8Array.from(Buffer.from(hex, 'hex')));
  return executor;
}

const now = () => Number(process.hrtime.bigint()) / 1000;
const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
function line(name, times) {
  const sorted = Float64Array.from(times).sort();
  const show = (q) => quantile(sorted, q).toFixed(2);
  console.log(`${name}: ${times.length} launches, median ${show(0.5)} µs, p90 ${show(0.9)} µs, p99 ${show(0.99)} µs`);
}

// Recorded launches: new each round, then again.
const first = [];
const again = [];
const slowest = new Map();
for (let round = 0; round < ROUNDS; round++) {
  for (const launch of launches) {
    const executor = prepared(launch);
    const what = record(launch);
    const start = now();
    executor.launch(what);
    const middle = now();
    for (let index = 0; index < 4; index++) executor.launch(what);
    const end = now();
    if (round < ROUNDS / 2) continue;
    first.push(middle - start);
    again.push((end - middle) / 4);
    const name = `${launch.kernel.slice(0, 40)} (${launch.file.split('/').pop()})`;
    const least = Math.min(slowest.get(name)?.[0] ?? Number.POSITIVE_INFINITY, middle - start);
    slowest.set(name, [least]);
  }
}
line('recorded, new', first);
line('recorded, repeated', again);
const worst = [...slowest].sort((a, b) => b[1][0] - a[1][0]).slice(0, 8);
for (const [name, [time]] of worst) console.log(`  slowest: ${name} ${time.toFixed(0)} µs at best`);

// A decode loop of fixture kernels.
const FILES = ['add', 'rotary', 'softmax', 'layernorm', 'kv_scatter', 'matmul'].map(
  (name) => `fixtures/ptx/triton/${name}.sm_90.ptx`,
);
const LAYERS = 32;
const { product } = await buildTemplates(FILES);
const decode = new ShadowExecutor(product);
const BASE = 0x7f0000000000n;
const SLOT = 64n << 20n;
for (let slot = 0n; slot < 512n; slot++) decode.allocate(BASE + slot * SLOT, Number(SLOT));
const shapes = new Map();
for (const file of FILES) {
  const launch = launches.findLast((one) => one.file === file);
  if (launch) shapes.set(launch.kernel, launch);
}
/** One step's launches: the recorded shape of each kernel, pointers of the layer, and the step in one number. */
function step(position) {
  const list = [];
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const [kernel, launch] of shapes) {
      const template = product.kernels.find(({ name }) => name === kernel);
      const what = record(launch);
      const view = new DataView(what.parameters.buffer);
      const bases = new Set(template.writes.concat(template.reads).flatMap((s) => s.bases.map((b) => b.parameter)));
      let slot = BigInt(layer * 8);
      for (const { offset, size } of template.parameters) {
        if (size === 8 && bases.has(offset)) view.setBigUint64(offset, BASE + slot++ * SLOT, true);
      }
      if (kernel === 'add') {
        const number = template.parameters.find(({ size }) => size === 4);
        if (number) view.setInt32(number.offset, 1000 + position, true);
      }
      list.push(what);
    }
  }
  return list;
}
const steps = Array.from({ length: 200 }, (_, position) => step(position));
const mark = decode.mark();
const fresh = [];
for (const list of steps) {
  for (const what of list) {
    const start = now();
    decode.launch(what);
    fresh.push(now() - start);
  }
}
line('decode loop', fresh.slice(fresh.length / 2));
const one = steps[100];
const COUNT = 10_000_000;
const memory = [];
const start = now();
for (let done = 0; done < COUNT; ) {
  for (const what of one) decode.launch(what);
  done += one.length;
  if (done % 1_000_000 < one.length) memory.push(Math.round(process.memoryUsage().rss / 2 ** 20));
}
const seconds = (now() - start) / 1e6;
console.log(`replay of one step: ${(COUNT / seconds / 1e6).toFixed(2)} million launches/s on one core`);
console.log(`memory (MB) each million launches: ${memory.join(' ')}; dirty ranges since the mark: ${decode.since(mark).length}`);
