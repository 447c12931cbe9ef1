/**
 * Long chains of checkpoints of one living program, at random moments and with random operations, against what its memory really was: at every
 * checkpoint between two steps, and after every way back, the program itself copies its memory out (`copy`), which shares
 * nothing with what is tested. A sample program computes the same in the same step, so memory after a step must be what it was
 * whenever that step was reached before; at the end its digest must be an undisturbed run's. A chain follows from its seed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random, seedOf } from '../judge/random.mjs';
import { Supervised } from './supervised.mjs';

/** The sample programs; `crashes` ends by a signal after half of its steps. */
export const SAMPLES = [
  'streams',
  'graphs',
  'pools',
  'variables',
  'pointers',
  'threads',
  'forks',
  'leaks',
  'devices',
  'training',
  'random',
  'crashes',
  'features',
];

/** Operations and how often each is drawn. */
const OPERATIONS = [
  ...Array(8).fill('increment'),
  ...Array(3).fill('verify'),
  'full',
  'suspend',
  'running',
  ...Array(3).fill('restore'),
];

const READER = join(import.meta.dirname, '../../examples/read_checkpoint.py');

/** What a report calls launches that were counted instead of told. */
const UNTOLD = 'launches that were not told';

const hashOf = (bytes) => createHash('sha1').update(bytes).digest('base64');

/** What a checkpoint holds: its allocations, and each one's bytes. */
async function contentOf(store, id) {
  const plan = await store.restorePlan(id);
  try {
    const contents = [];
    for (const { id: allocation } of plan.allocations) {
      const pieces = [];
      for await (const { bytes } of plan.pieces(allocation)) pieces.push(Buffer.from(bytes));
      contents.push(Buffer.concat(pieces));
    }
    return { allocations: plan.allocations, contents };
  } finally {
    plan.close();
  }
}

class Chain {
  constructor(library, place, { app, seed }, program, steps) {
    Object.assign(this, library, place, { app, program, limit: steps - 1 });
    this.sockets = join(place.folder, 'gcr-templates');
    this.random = new Random(seedOf(`${app} ${seed}`));
    this.step = 0;
    this.wrong = [];
    /** Checkpoints between two steps: id, step, and each allocation's place and hash. */
    this.saved = [];
    /** Hash of an allocation after a step, from the first time. */
    this.known = new Map();
    this.counts = {
      increments: 0,
      full: 0,
      restores: 0,
      suspends: 0,
      running: 0,
      gone: 0,
      compared: 0,
      bytes: 0,
      untold: 0,
    };
  }

  ask(request) {
    return this.call(this.sockets, this.program.pid, request);
  }

  complain(message) {
    this.wrong.push(message);
  }

  /** What the program sees in its memory, between two steps. */
  async memoryOf(allocations) {
    const places = new BigUint64Array(allocations.flatMap(({ address, size }) => [address, BigInt(size)]));
    const path = join(this.folder, `${this.program.pid}.copy`);
    writeFileSync(path, places);
    await this.program.copy(path);
    const all = readFileSync(path);
    const memory = [];
    let from = 0;
    for (const { size } of allocations) {
      memory.push(all.subarray(from, from + size));
      from += size;
    }
    return memory;
  }

  /** Compares memory with what it was when this step was reached before. */
  sameAsBefore(allocations, hashes) {
    for (const [index, { id, address, size }] of allocations.entries()) {
      const key = `${this.step} ${id} ${address} ${size}`;
      const before = this.known.get(key);
      if (before === undefined) this.known.set(key, hashes[index]);
      else if (before !== hashes[index])
        this.complain(`after step ${this.step} allocation ${id} is not what it was at that step before`);
    }
  }

  /** Holds a checkpoint that was taken between two steps against memory. */
  async compare({ manifest, missedCount }) {
    if (missedCount > 0) this.complain(`${manifest.id} (step ${this.step}): ${missedCount} chunks were missed`);
    const store = await this.Store.open({ directory: this.store });
    try {
      const { allocations, contents } = await contentOf(store, manifest.id);
      const memory = await this.memoryOf(allocations);
      for (const [index, bytes] of memory.entries()) {
        this.counts.bytes += bytes.length;
        if (Buffer.compare(bytes, contents[index]) !== 0)
          this.complain(
            `${manifest.id} (step ${this.step}): allocation ${allocations[index].id} is not what memory was`,
          );
      }
      const hashes = memory.map(hashOf);
      this.sameAsBefore(allocations, hashes);
      this.saved.push({ id: manifest.id, step: this.step, allocations, hashes });
      this.counts.compared++;
      this.counts[manifest.kind === 'increment' ? 'increments' : 'full']++;
      for (const { name, launches } of manifest.kernels) if (name === UNTOLD) this.counts.untold += launches;
    } finally {
      store.close();
    }
  }

  async checkpoint(options) {
    await this.compare(await this.ask({ operation: 'checkpoint', ...options }));
  }

  async suspend() {
    const result = await this.ask({ operation: 'suspend' });
    await this.ask({ operation: 'resume' });
    await this.compare(result);
    this.counts.suspends++;
  }

  /** In the middle of steps; memory at that moment is not known to us, so it is only held against the store after a way back to it. */
  async running() {
    const steps = Math.min(3, this.limit - this.step);
    const { step } = this.random.pick(this.saved);
    this.program.allow(steps);
    const { manifest, missedCount } = await this.ask({
      operation: 'checkpoint',
      full: step % 7 === 6,
      verify: step % 2 === 0,
    });
    if (missedCount > 0) this.complain(`${manifest.id}: ${missedCount} chunks were missed`);
    for (let left = steps; left > 0; left--) await this.program.expect('step');
    this.step += steps;
    await this.compareBack(manifest.id);
    this.counts.running++;
    if (manifest.kind === 'increment') this.counts.increments++;
    // Nobody knows in the middle of which step that was, so it goes on from a place that is known.
    await this.restore();
  }

  /** Goes back, and holds memory against the store. What a step had for itself (`pools`) is gone by now, and then there is no way back. */
  async compareBack(id) {
    try {
      await this.ask({ operation: 'restore', id });
    } catch (error) {
      if (!/GCR8109.*does not exist any more/.test(error.message)) throw error;
      this.counts.gone++;
      return;
    }
    const store = await this.Store.open({ directory: this.store });
    try {
      const { allocations, contents } = await contentOf(store, id);
      const memory = await this.memoryOf(allocations);
      if (memory.some((bytes, index) => Buffer.compare(bytes, contents[index]) !== 0))
        this.complain(`${id}: memory is not what the checkpoint holds`);
    } finally {
      store.close();
    }
  }

  async restore(saved = this.random.pick(this.saved)) {
    await this.ask({ operation: 'restore', id: saved.id });
    this.step = saved.step;
    for (const [index, bytes] of (await this.memoryOf(saved.allocations)).entries())
      if (hashOf(bytes) !== saved.hashes[index])
        this.complain(
          `back at ${saved.id} (step ${saved.step}): allocation ${saved.allocations[index].id} is not what it was`,
        );
    this.counts.restores++;
  }

  /** Reads a checkpoint by the program that was written from the store's specification alone. */
  readBySpecification(saved = this.saved.at(-1)) {
    const folder = `${this.store}-read`;
    mkdirSync(folder);
    const { error, status, stderr } = spawnSync('python3', [READER, this.store, saved.id, folder], {
      encoding: 'utf8',
    });
    if (error?.code === 'ENOENT') return;
    if (status !== 0) this.complain(`${saved.id}: ${stderr}`);
    for (const [index, { id }] of saved.allocations.entries())
      if (status === 0 && hashOf(readFileSync(join(folder, `${id}.bin`))) !== saved.hashes[index])
        this.complain(`${saved.id}: allocation ${id} is not what it was, as the specification reads it`);
  }

  async operate() {
    for (let left = this.random.below(3); left > 0 && this.step < this.limit; left--) {
      await this.program.step();
      this.step++;
    }
    const operation = this.step >= this.limit ? 'restore' : this.random.pick(OPERATIONS);
    if (operation === 'restore') await this.restore();
    else if (operation === 'suspend') await this.suspend();
    else if (operation === 'running') await this.running();
    else await this.checkpoint({ full: operation === 'full', verify: operation === 'verify' });
  }
}

/**
 * Plays one chain.
 *
 * @param library `{ Store, call, callAll }`, what was built or the sources
 * @param place `{ folder, store, device }`: for sockets, the store, and the device as `run` takes it (sim when nothing is said)
 * @param {{ app: string, seed: number, increments: number, size?: number, backTo?: number, options?: string[] }} chain
 *   sample, seed, how many increments there are to be, to how many checkpoints it goes back at the end (all: Infinity), and what `run` gets beside
 * @returns `wrong` (empty when nothing is), and `counts`
 */
export async function playChain(library, place, { app, seed, increments, size = 64, backTo = Infinity, options = [] }) {
  const steps = 60;
  const args = [
    '--steps',
    String(app === 'crashes' ? 2 * steps : steps),
    '--size',
    String(size),
    '--seed',
    String(seed),
  ];
  const end = async (program) => {
    const digest = await program.finish();
    const [code] = await program.exited;
    return `${digest}, exit code ${code}`;
  };
  const undisturbed = new Supervised(place.folder, `${place.store}-undisturbed`, app, args, place.device);
  const program = new Supervised(place.folder, place.store, app, args, place.device, options);
  const chain = new Chain(library, place, { app, seed }, program, steps);
  const began = performance.now();
  try {
    const [wanted] = await Promise.all([end(undisturbed), program.ready(library.callAll, chain.sockets)]);
    await chain.checkpoint({});
    while (chain.counts.increments < increments && chain.wrong.length === 0) await chain.operate();
    chain.readBySpecification();
    const left = [...chain.saved];
    for (let count = Math.min(left.length, backTo); count > 0 && chain.wrong.length === 0; count--) {
      const [saved] = left.splice(chain.random.below(left.length), 1);
      await chain.restore(saved);
    }
    const result = await end(program);
    if (result !== wanted) chain.complain(`ended with ${result} instead of ${wanted}`);
  } catch (error) {
    chain.complain(`${error.stack ?? error} ${program.messages}`);
  } finally {
    undisturbed.close();
    program.close();
  }
  const wrong = chain.wrong.map((message) => `${app}, seed ${seed}: ${message}`);
  return { wrong, counts: { ...chain.counts, seconds: (performance.now() - began) / 1000 } };
}
