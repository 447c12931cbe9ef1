// Hurts stores in every way that can be thought of and judges what is left: `node scripts/store-faults.mjs [--kills 500] [--flips 300]
// [--seed 1] [--folder DIR]`. After each case every committed checkpoint must restore to the exact bytes, or (damage only) be refused with
// an error that names a file and says what to do; and a later write and prune must work. Needs build/native/test/faults.so
// (`npm run build:native`, then `cmake --build build/native`). Prints a table of cases; exit code 1 when something was found.
import { spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { InputError, Store } from '../dist/index.js';
import { expected, random, restore, save, stepOf } from './store-faults/model.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const SHIM = join(here, '../build/native/test/faults.so');
const WORKER = join(here, 'store-faults/worker.mjs');

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '500' },
    flips: { type: 'string', default: '300' },
    seed: { type: 'string', default: '1' },
    folder: { type: 'string', default: existsSync('/dev/shm') ? '/dev/shm' : tmpdir() },
  },
});
if (!existsSync(SHIM)) {
  console.error(`${SHIM} is missing: run \`npm run build:native\` and \`cmake --build build/native\``);
  process.exit(2);
}
const seed = Number(values.seed);
const next = random(seed);
const root = mkdtempSync(join(values.folder, 'gcr-faults-'));
const table = new Map();
const findings = [];

function count(kind, outcome) {
  const row = table.get(kind) ?? { cases: 0, exact: 0, refused: 0, failed: 0 };
  table.set(kind, row);
  row.cases++;
  row[outcome]++;
}

function run(place, args, fault) {
  const env = fault && { ...process.env, LD_PRELOAD: SHIM, GCR_FAULT_ROOT: place, ...fault };
  return spawnSync(process.execPath, [WORKER, place, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
    ...(env && { env }),
  });
}

/** How many calls a command makes on a store; it is done afterwards. */
function calls(place, args) {
  const file = join(root, 'count');
  const { status, stderr } = run(place, args, { GCR_FAULT_COUNT: file });
  if (status !== 0) throw new Error(`${args.join(' ')} fails without a fault: ${stderr}`);
  return Number(readFileSync(file, 'utf8'));
}

const fresh = (base) => {
  const place = join(root, 'case');
  rmSync(place, { recursive: true, force: true });
  if (base) cpSync(base, place, { recursive: true });
  return place;
};

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/**
 * Looks at a store after a fault. `must`: ids that have to be there; `damage`: checkpoints may be refused, with a file and a remedy.
 * Says what is wrong, or `exact` or `refused`.
 */
async function judge(place, must, damage) {
  let refused = 0;
  const refuse = (error) => {
    if (!damage || !(error instanceof InputError)) throw error;
    const [{ source, hint }] = error.diagnostics;
    if (!source || !hint) throw new Error(`no file or remedy in: ${error.message}`);
    refused++;
  };
  let store;
  try {
    store = await Store.open({ directory: place }, { create: must.length === 0 });
  } catch (error) {
    refuse(error);
    return 'refused';
  }
  try {
    const { checkpoints, damaged } = await store.list();
    if (damaged.length > 0 && !damage) throw new Error(`damaged: ${damaged[0].file}: ${damaged[0].message}`);
    const ids = new Set([...checkpoints, ...damaged].map(({ id }) => id));
    const gone = must.filter((id) => !ids.has(id));
    if (gone.length > 0 && !damage) throw new Error(`lost: ${gone.join(', ')}`);
    refused += damaged.length;
    const good = [];
    for (const manifest of checkpoints) {
      try {
        if (!same(await restore(store, manifest.id), expected(...stepOf(manifest))))
          throw new Error(`${manifest.id} restores to other bytes`);
        good.push(manifest.id);
      } catch (error) {
        refuse(error);
      }
    }
    const { problems } = await store.verify({ readData: true });
    if (problems.length > 0 && !damage) throw new Error(`verify: ${problems[0].file}: ${problems[0].message}`);
    if (refused > 0 && problems.length === 0) throw new Error('verify finds nothing, but a checkpoint is refused');

    // Life goes on: a write, on what is there if it can be, and a prune that leaves a whole store.
    const parent = good.at(-1) ?? null;
    const made = await save(store, 77, 3, parent);
    if (!same(await restore(store, made.id), expected(77, 3))) throw new Error('a later write restores to other bytes');
    const { kept } = await store.prune({ rules: { last: 2 }, dropDamaged: damage });
    if (!kept.includes(made.id)) throw new Error('a later prune drops the newest');
    for (const manifest of (await store.list()).checkpoints)
      if (!same(await restore(store, manifest.id), expected(...stepOf(manifest))))
        throw new Error(`${manifest.id} restores to other bytes after a prune`);
    const after = await store.verify({ readData: true });
    // A pack whose own table is damaged stays while its chunks are needed: they were read above, by the index.
    const left = after.problems.filter(({ file }) => !damage || !file.startsWith('packs/'));
    if (left.length > 0) throw new Error(`after a prune: ${left[0].file}: ${left[0].message}`);
    if (after.unsound.length > 0) throw new Error(`after a prune: ${after.unsound} cannot be restored`);
    if (after.garbage.length > 0)
      throw new Error(`a prune leaves ${after.garbage[0].file}: ${after.garbage[0].message}`);
    return refused > 0 ? 'refused' : 'exact';
  } finally {
    store.close();
  }
}

async function check(kind, place, must, damage, what) {
  try {
    count(kind, await judge(place, must, damage));
  } catch (error) {
    count(kind, 'failed');
    findings.push(`${kind}: ${what}: ${error.stack ?? error}`);
  }
}

/** A store with a history, and the ids of its checkpoints. */
async function base(name, history, steps) {
  const place = join(root, name);
  const store = await Store.open({ directory: place }, { create: true });
  const made = [];
  for (let step = 0; step < steps; step++) made.push(await save(store, history, step, made.at(-1)?.id ?? null));
  store.close();
  // What is pruned to has to be merged, or the order of deleting would not matter.
  if ([made.at(-1), made.at(-5)].some((manifest) => manifest?.map.depth === 0 && manifest !== made[0]))
    throw new Error('the history has no increments where they are needed: take another seed or number of steps');
  return { place, ids: made.map(({ id }) => id) };
}

async function exported({ place, ids }) {
  const file = join(root, 'exported');
  const store = await Store.open({ directory: place });
  const stream = createWriteStream(file);
  await store.exportTo(ids.at(-1), stream);
  await new Promise((resolve) => stream.end(resolve));
  store.close();
  return file;
}

/** The commands that are disturbed: what they start from, and which checkpoints must be there whatever happens. */
async function scenarios() {
  const short = await base('short', seed, 3);
  const long = await base('long', seed + 1, 8);
  const other = await base('other', seed + 2, 2);
  const file = await exported(other);
  return [
    { name: 'first write', from: undefined, args: ['create', String(seed)], must: [] },
    { name: 'write', from: short.place, args: ['write', String(seed), '3'], must: short.ids },
    { name: 'write, long chain', from: long.place, args: ['write', String(seed + 1), '8'], must: long.ids },
    { name: 'prune to 1', from: long.place, args: ['prune', '1'], must: long.ids.slice(-1) },
    { name: 'prune to 5', from: long.place, args: ['prune', '5'], must: long.ids.slice(-5) },
    { name: 'import', from: short.place, args: ['import', file], must: short.ids },
  ];
}

/** Every position of every command, or as many of them as are wanted, spread evenly. */
async function positions(all, actions, wanted) {
  const cases = [];
  for (const scenario of all) {
    const total = calls(fresh(scenario.from), scenario.args);
    for (let at = 1; at <= total; at++) for (const action of actions) cases.push({ scenario, at, action });
  }
  const chosen = [];
  for (let i = 0; i < wanted; i++) {
    // More than there are: again from the start, where timing of threads differs.
    chosen.push(
      wanted < cases.length
        ? cases[Math.floor(((i + next(1000) / 1000) * cases.length) / wanted)]
        : cases[i % cases.length],
    );
  }
  return chosen;
}

async function kills(all) {
  for (const { scenario, at, action } of await positions(all, ['kill', 'kill-after'], Number(values.kills))) {
    const place = fresh(scenario.from);
    run(place, scenario.args, { GCR_FAULT_AT: String(at), GCR_FAULT_ACTION: action });
    await check(
      `${action === 'kill' ? 'killed before' : 'killed after'} a call: ${scenario.name}`,
      place,
      scenario.must,
      false,
      `${action} at ${at}`,
    );
  }
}

async function failures(all) {
  const wanted = Math.ceil(Number(values.kills) / 5);
  for (const [action, sticky] of [
    ['enospc', true],
    ['eio', false],
    ['erofs', true],
    ['short', false],
  ]) {
    for (const { scenario, at } of await positions(all, [action], wanted)) {
      const place = fresh(scenario.from);
      const fault = { GCR_FAULT_AT: String(at), GCR_FAULT_ACTION: action, ...(sticky && { GCR_FAULT_STICKY: '1' }) };
      const { status, signal, stderr } = run(place, scenario.args, fault);
      const kind = `${{ enospc: 'disk full', eio: 'I/O error', erofs: 'read-only', short: 'short write' }[action]}: ${scenario.name}`;
      if (
        (status !== 0 && status !== 65) ||
        signal ||
        (status === 65 && !stderr.includes('hint:')) ||
        (action === 'short' && status !== 0)
      ) {
        count(kind, 'failed');
        findings.push(`${kind}: ${action} at ${at}: exit ${status ?? signal}: ${stderr}`);
      } else await check(kind, place, scenario.must, false, `${action} at ${at}`);
    }
  }
}

const filesOf = (place) =>
  ['', 'packs', 'index', 'manifests'].flatMap((folder) =>
    readdirSync(join(place, folder))
      .map((name) => join(folder, name))
      .filter((name) => statSync(join(place, name)).isFile()),
  );

const kindOf = (name) => (name === 'store.json' ? name : name.endsWith('.json') ? 'manifest' : name.split('.').at(-1));

/** Places in a file of a kind: its head, its end, and everywhere between. */
function placesIn(name, bytes) {
  const kinds = {
    pack: [0, 8, 16, 4096, -4096, -4090, -4072, -16],
    index: [0, 12, 16, 32, 64, 4080, 4096, 8192, 12288, 12304],
    map: [0, 12, 16, 32, 64, 80, 88, 128, 136],
  };
  const fixed = (kinds[kindOf(name)] ?? [])
    .map((at) => (at < 0 ? bytes + at : at))
    .filter((at) => at >= 0 && at < bytes);
  return [...fixed, bytes - 1, next(bytes), next(bytes), next(bytes)];
}

async function damages() {
  const { place: from, ids } = await base('damaged', seed + 3, 6);
  const files = filesOf(from);
  const cases = [];
  for (const name of files) {
    const bytes = statSync(join(from, name)).size;
    for (const at of placesIn(name, bytes)) cases.push({ name, bytes, at });
  }
  const wanted = Math.min(Number(values.flips), cases.length);
  for (let i = 0; i < wanted; i++) {
    const { name, at } = cases[Math.floor(((i + next(1000) / 1000) * cases.length) / wanted)];
    const place = fresh(from);
    const content = readFileSync(join(place, name));
    const bit = next(8);
    content[at] ^= 1 << bit;
    writeFileSync(join(place, name), content);
    await check(`flipped bit: ${kindOf(name)}`, place, ids, true, `${name}, byte ${at}, bit ${bit}`);
  }
  const step = Math.max(1, Math.floor((files.length * 4) / Math.max(1, wanted)));
  for (const [i, name] of files.entries()) {
    if (i % step !== 0) continue;
    const { size } = statSync(join(from, name));
    for (const length of [0, Math.floor(size / 2), size - 1]) {
      const place = fresh(from);
      truncateSync(join(place, name), length);
      await check(`cut off: ${kindOf(name)}`, place, ids, true, `${name} to ${length}`);
    }
    const place = fresh(from);
    renameSync(join(place, name), join(root, 'elsewhere'));
    await check(`missing: ${kindOf(name)}`, place, ids, true, name);
  }
}

async function together() {
  const { place: from, ids } = await base('together', seed + 4, 3);
  for (let round = 0; round < 5; round++) {
    const place = fresh(from);
    const writers = [0, 1].map(
      (i) =>
        new Promise((resolve) =>
          spawn(process.execPath, [WORKER, place, 'write', String(seed + 10 + i), String(round)]).on('exit', resolve),
        ),
    );
    const codes = await Promise.all(writers);
    const store = await Store.open({ directory: place });
    const { checkpoints } = await store.list();
    store.close();
    const kind = 'two writers at once';
    if (codes.some((code) => code !== 0) || checkpoints.length !== ids.length + 2) {
      count(kind, 'failed');
      findings.push(`${kind}: exit codes ${codes}, ${checkpoints.length} checkpoints`);
    } else
      await check(
        kind,
        place,
        checkpoints.map(({ id }) => id),
        false,
        `round ${round}`,
      );
  }
}

async function clocks() {
  const place = fresh();
  const store = await Store.open({ directory: place }, { create: true });
  const ids = [];
  const RealDate = globalThis.Date;
  for (let step = 0; step < 6; step++) {
    const shift = -step * 90_000_000;
    globalThis.Date = class extends RealDate {
      constructor(...args) {
        super(...(args.length > 0 ? args : [RealDate.now() + shift]));
      }
    };
    try {
      ids.push((await save(store, seed, step, ids.at(-1) ?? null)).id);
    } finally {
      globalThis.Date = RealDate;
    }
  }
  const listed = (await store.list()).checkpoints.map(({ id }) => id);
  store.close();
  if (!same(listed, ids)) findings.push('clock going backwards: the order is another');
  await check('clock going backwards', place, ids, false, 'six days back');
}

try {
  mkdirSync(root, { recursive: true });
  const all = await scenarios();
  await kills(all);
  await failures(all);
  await damages();
  await together();
  await clocks();
} finally {
  rmSync(root, { recursive: true, force: true });
}
const rows = [
  ['case', 'cases', 'exact', 'refused', 'failed'],
  ...[...table].map(([kind, row]) => [kind, ...Object.values(row).map(String)]),
];
const sums = [...table.values()].reduce(
  (sum, row) => sum.map((value, i) => value + Object.values(row)[i]),
  [0, 0, 0, 0],
);
rows.push(['all', ...sums.map(String)]);
const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
for (const row of rows)
  console.log(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  '));
for (const finding of findings.slice(0, 20)) console.error(`\n${finding}`);
process.exitCode = findings.length > 0 ? 1 : 0;
