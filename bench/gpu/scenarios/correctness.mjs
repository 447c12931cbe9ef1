/**
 * Increments that are right: every program takes an increment after each of its steps, with all memory compared by `--verify`; each is then
 * held, byte for byte, against a copy of its memory that the program made itself, and in the end its result against that of an undisturbed run.
 * Programs whose whole state is on the device are rolled back before, and do the last steps once more. What templates and contracts say is judged where
 * no launch was without one: a launch that may write everything leaves nothing that is called clean.
 */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { Store } from '../../../dist/checkpoint/index.js';
import { app, ROOT } from '../programs.mjs';
import { row } from '../rows.mjs';

const LLAMA = join(ROOT, 'bench/gpu/llama.py');
const READ_BYTES = 16 << 20;

/** Increments of a program: together well over a thousand, should one program not get through. */
const OF_A_SAMPLE = 110;
const OF_PYTORCH = 20;
/** Share of the limit after which no program takes another increment, and after which those that are not through are given up. */
const ENOUGH = 0.75;
const LAST = 0.95;

/**
 * Name, command and environment of each program, how a step is asked for, and how many increments it takes, in two rows that go on beside each other:
 * samples, and programs in PyTorch, most of whose time is their start. Those that take longest come first in each.
 */
function programsOf({ quick, python, simulated }) {
  const samples = quick
    ? ['graphs', 'pools', 'training']
    : ['holder', 'training', 'leaks', 'streams', 'graphs', 'pools', 'pointers', 'threads', 'variables'];
  const sizes = quick ? ['--mib', '2', '--buffers', '2', '--size', '32'] : [];
  const found = samples.map((name) => ({
    name,
    command: [app(name), '--pace', '--steps', '100000', ...sizes],
    step: '',
    count: quick ? 3 : OF_A_SAMPLE,
  }));
  for (const form of ['static', 'shared'])
    if (!simulated && existsSync(app(`runtime-${form}`)))
      found.push({
        name: `CUDA runtime, ${form}`,
        command: [app(`runtime-${form}`), '--pace', '--steps', '100000'],
        step: '',
        count: quick ? 3 : OF_A_SAMPLE,
      });
  if (!python) return [found];
  const torch = (name, mode, environment = {}) => ({
    name: `PyTorch ${name}`,
    command: [python, LLAMA, '--small', '--pace'],
    environment,
    step: `${mode} 1`,
    count: quick ? 3 : OF_PYTORCH,
  });
  const inPytorch = [
    torch('torch.compile', 'compiled'),
    torch('training', 'train'),
    torch('expandable segments', 'train', { PYTORCH_CUDA_ALLOC_CONF: 'expandable_segments:True' }),
    torch('cudaMallocAsync', 'train', { PYTORCH_CUDA_ALLOC_CONF: 'backend:cudaMallocAsync' }),
    torch('training of one layer', 'last'),
    torch('eager decode', 'decode'),
    torch('graph replay', 'replay'),
    torch('two streams', 'streams'),
    torch('products', 'products'),
    torch('Triton kernels', 'triton'),
  ];
  return [found, inPytorch];
}

/** Adds numbers of one table to another. */
function addTo(table, more) {
  for (const [key, value] of Object.entries(more)) table[key] = (table[key] ?? 0) + value;
}

/** What the launches before an increment were judged by. */
function judge(total, { launches, kernels }) {
  addTo(total.launches, launches);
  for (const { verdict, bytes } of kernels) addTo(total.bytes, { [verdict]: bytes });
  const { exact, bounded, allocation, contract, unknown } = launches;
  if (unknown > 0) return;
  total.judged += exact + bounded + allocation;
  total.contracts += contract;
}

/** How many bytes of a checkpoint are not what the program wrote to a file. */
async function differing(store, id, file, ranges) {
  const copy = readFileSync(file);
  const plan = await store.restorePlan(id);
  let differ = 0;
  try {
    let at = 0;
    for (const [address, size] of ranges) {
      for (let done = 0; done < size; ) {
        const place = BigInt(address) + BigInt(done);
        const found = plan.allocations.find((one) => one.address <= place && place < one.address + BigInt(one.size));
        if (!found) throw new Error(`${file}: the checkpoint has no memory at 0x${place.toString(16)}`);
        const from = Number(place - found.address);
        const bytes = Buffer.alloc(Math.min(size - done, found.size - from, READ_BYTES));
        await plan.read(found.id, from, from + bytes.length, bytes);
        const own = copy.subarray(at + done, at + done + bytes.length);
        if (bytes.compare(own) !== 0) for (let i = 0; i < bytes.length; i++) if (bytes[i] !== own[i]) differ++;
        done += bytes.length;
      }
      at += size;
    }
  } finally {
    plan.close();
  }
  return differ;
}

async function follow(bench, { name, command, environment, step, count }, total) {
  const { programs, log } = bench;
  const at = (where) => total.at.set(name, where);
  at('its start');
  const directory = join(programs.memory, `correct-${name.replaceAll(' ', '-')}`);
  const [plain, recorded] = await Promise.all([
    programs.plain(command, environment),
    programs.recorded(command, { store: directory, environment }),
  ]);
  const word = step === '' ? 'step' : 'did';
  const both = () =>
    Promise.all(
      [plain, recorded].map((program) => {
        program.write(step);
        return program.until(word);
      }),
    );
  at('its first step');
  await both();
  at('its first checkpoint');
  await recorded.operate('checkpoint', { full: true });
  const { recordingStopped } = await recorded.operate('status');
  if (recordingStopped) total.stopped.push(`${name}: ${recordingStopped}`);
  const store = await Store.open({ directory });
  const file = join(programs.memory, `${name.replaceAll(' ', '-')}.bytes`);
  const ids = [];
  let done = 0;
  try {
    for (; done < count && !total.late(); done++) {
      at(`step ${done}`);
      await both();
      at(`checkpoint ${done}`);
      const { manifest, missedCount } = await recorded.operate('checkpoint', { verify: true });
      at(`copy ${done}`);
      recorded.write(`dump ${file}`);
      const ranges = JSON.parse((await recorded.until('dumped'))[0].slice('dumped '.length));
      at(`comparison ${done}`);
      total.missed += missedCount;
      total.differing += await differing(store, manifest.id, file, ranges);
      judge(total, manifest);
      if (manifest.kind === 'increment') total.increments++;
      else total.full++;
      ids.push(manifest.id);
    }
    if (step === '') {
      const back = Math.min(3, ids.length - 1);
      await recorded.operate('restore', { id: ids.at(-1 - back) });
      for (let again = 0; again < back; again++) {
        recorded.write(step);
        await recorded.until(word);
      }
    }
  } finally {
    rmSync(file, { force: true });
  }
  at('its end');
  const digests = [await plain.end(), await recorded.end()];
  if (digests[0] !== digests[1]) total.results.push(name);
  total.at.delete(name);
  rmSync(directory, { recursive: true, force: true });
  log(`${name}: ${done} increments`);
}

export async function run(bench) {
  const rows = programsOf(bench);
  const all = rows.flat().length;
  const end = Date.now() + ENOUGH * bench.limit * 1000;
  const total = {
    increments: 0,
    full: 0,
    missed: 0,
    differing: 0,
    launches: {},
    bytes: {},
    judged: 0,
    contracts: 0,
    results: [],
    stopped: [],
    failed: [],
    at: new Map(),
    late: () => Date.now() > end,
  };
  const work = async (waiting) => {
    for (let one = waiting.shift(); one; one = waiting.shift())
      try {
        await follow(bench, one, total);
      } catch (error) {
        total.failed.push(`${one.name} at ${total.at.get(one.name)}: ${error.message}`);
        total.at.delete(one.name);
      }
  };
  // What hangs must not take the rest with it.
  const deadline = new Promise((resolve) => setTimeout(resolve, LAST * bench.limit * 1000).unref());
  // Three processes each (one alone, one recorded, a supervisor), which wait for each other most of the time.
  const atOnce = Math.max(1, Math.floor(cpus().length / 3));
  const workers = rows.flatMap((waiting) => Array.from({ length: atOnce }, () => work(waiting)));
  await Promise.race([deadline, Promise.all(workers)]);
  for (const [name, where] of total.at) total.failed.push(`${name}: not done in time, at ${where}`);
  for (const { name } of rows.flatMap((waiting) => waiting.splice(0))) total.failed.push(`${name}: not begun in time`);
  const { increments, full, missed, differing: bytes, results, stopped, failed } = total;
  const notes = [
    `${all} programs`,
    ...(full > 0 ? [`${full} of the checkpoints were full ones instead`] : []),
    ...stopped.map((one) => `recording stopped in ${one}`),
    ...failed.map((one) => `failed in ${one}`),
  ];
  bench.add(
    row({
      what: 'verified increments, compared with copies of the programs’ own',
      unit: 'increments',
      ours: [increments],
      atLeast: bench.quick ? 1 : 1000,
      note: notes.join('; '),
    }),
  );
  bench.add(row({ what: 'bytes that differ in them', unit: 'bytes', ours: [bytes], atMost: 0 }));
  bench.add(
    row({
      what: 'chunks that changed though templates or contracts called them clean',
      unit: 'chunks',
      ours: [missed],
      atMost: 0,
    }),
  );
  const verdicts = Object.entries(total.launches).map(
    ([verdict, launches]) => `${verdict} ${launches} (${((total.bytes[verdict] ?? 0) / 1e6).toFixed(1)} MB)`,
  );
  bench.add(
    row({
      what: '… launches with PTX before increments in which every launch was judged',
      unit: 'launches',
      ours: [total.judged],
      note: `and ${total.contracts} by contracts; launches (and bytes that they may have written) before all increments: ${verdicts.join(', ')}`,
    }),
  );
  bench.add(
    row({
      what: 'programs that end with another result than undisturbed ones',
      unit: 'programs',
      ours: [results.length + failed.length],
      atMost: 0,
      note: results.length > 0 ? `different: ${results.join(', ')}` : undefined,
    }),
  );
}
