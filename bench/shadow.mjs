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

// A decode loop of fixture kernels: many layers with pointers of their own, a length that grows with each step.
const FILES = [
  ...['add', 'rotary', 'softmax', 'layernorm', 'kv_scatter', 'matmul'].map((name) => `triton/${name}.sm_90.ptx`),
  ...['elementwise', 'rotary', 'layernorm', 'kv_cache', 'transpose', 'strided'].map((name) => `nvcc/${name}.sm_90.ptx`),
].map((name) => `fixtures/ptx/${name}`);
const LAYERS = 32;
const STEPS = 200;
const BASE = 0x7f0000000000n;
const SLOT = 64n << 20n;
const decode = new ShadowExecutor((await buildTemplates(FILES)).product);
for (let slot = 0n; slot < 512n; slot++) decode.allocate(BASE + slot * SLOT, Number(SLOT));
/** The last recorded launch of each kernel, where its pointers are, and one number that grows. */
const shapes = FILES.flatMap((file) =>
  templates.get(file).kernels.flatMap((template) => {
    const launch = launches.findLast((one) => one.file === file && one.kernel === template.name);
    if (!launch) return [];
    const bases = new Set(
      [...template.writes, ...template.reads].flatMap((site) => site.bases.map((b) => b.parameter)),
    );
    const pointers = template.parameters.filter(({ offset, size }) => size === 8 && bases.has(offset));
    const number = template.parameters.find(({ type, size }) => size === 4 && !type.startsWith('f'));
    return [{ file, launch, pointers, number, name: `${template.name} (${file.split('/').slice(-2).join('/')})` }];
  }),
);
function decodeLaunch({ launch, pointers, number }, layer, position) {
  const what = record(launch);
  const view = new DataView(what.parameters.buffer);
  let slot = BigInt(layer * 8);
  for (const { offset } of pointers) view.setBigUint64(offset, BASE + slot++ * SLOT, true);
  if (number) view.setInt32(number.offset, view.getInt32(number.offset, true) + position, true);
  return what;
}
const mark = decode.mark();
const timesNew = new Map(shapes.map((shape) => [shape, []]));
const timesOther = [];
for (let position = 0; position < STEPS; position++) {
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const shape of shapes) {
      decode.module(shape.file);
      const what = decodeLaunch(shape, layer, position);
      const start = now();
      decode.launch(what);
      const time = now() - start;
      if (position < STEPS / 2) continue;
      // The first layer meets a length for the first time; the others differ in their pointers only.
      if (layer === 0) timesNew.get(shape).push(time);
      else timesOther.push(time);
    }
  }
}
line('decode loop, new lengths', [...timesNew.values()].flat());
for (const [{ name }, times] of timesNew) line(`  ${name}`, times);
line('decode loop, known lengths, other pointers', timesOther);
line('decode loop, all new launches', [...[...timesNew.values()].flat(), ...timesOther]);

const step = shapes
  .slice(0, 6)
  .flatMap((shape) => Array.from({ length: LAYERS }, (_, layer) => decodeLaunch(shape, layer, 1)));
decode.module(FILES[0]);
const replay = new ShadowExecutor((await buildTemplates(FILES.slice(0, 6))).product);
for (let slot = 0n; slot < 512n; slot++) replay.allocate(BASE + slot * SLOT, Number(SLOT));
const since = replay.mark();
const COUNT = 10_000_000;
const memory = [];
const start = now();
for (let done = 0; done < COUNT; ) {
  for (const what of step) replay.launch(what);
  done += step.length;
  if (done % 1_000_000 < step.length) memory.push(Math.round(process.memoryUsage().rss / 2 ** 20));
}
const seconds = (now() - start) / 1e6;
console.log(`replay of one step: ${(COUNT / seconds / 1e6).toFixed(2)} million launches/s on one core`);
console.log(`memory (MB) after each million launches: ${memory.join(' ')}`);
console.log(`dirty ranges since the marks: ${decode.since(mark).length}, ${replay.since(since).length}`);

// The grid's size does not matter.
for (const blocks of [1, 1_000, 1_000_000, 1_000_000_000]) {
  const shape = shapes.find(({ launch }) => launch.kernel === 'saxpy');
  const times = [];
  for (let index = 0; index < 2000; index++) {
    const what = { ...decodeLaunch(shape, 0, index), grid: [blocks, 1, 1] };
    decode.module(shape.file);
    const begin = now();
    decode.launch(what);
    times.push(now() - begin);
  }
  line(`saxpy, ${blocks} blocks, new`, times.slice(1000));
}
