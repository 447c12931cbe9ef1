// What the fault campaign does to a store, and what it must give back afterwards: contents follow from a seed, so that expectations
// are digests. Used by the process that is killed (worker.mjs) and by the one that judges (../store-faults.mjs).
import { createHash } from 'node:crypto';

const CHUNK = 65_536;

/** Numbers that are the same in every run. */
export function random(seed) {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) % limit;
  };
}

/** Large against what a step changes, so that increments stay increments. */
const sizes = [30 * CHUNK + 17, 3 * CHUNK, 100];

/** Content of allocation `index` after `step` steps of a history: every step changes some chunks. */
export function content(seed, index, step) {
  const bytes = Buffer.alloc(sizes[index]);
  for (let at = 0; at <= step; at++) {
    const next = random(seed * 7919 + index * 104_729 + at);
    for (let writes = at === 0 ? 30 : 1; writes > 0; writes--) {
      const from = next(bytes.length);
      bytes.fill(next(5) === 0 ? 0 : next(255) + 1, from, Math.min(bytes.length, from + next(CHUNK)));
    }
  }
  return bytes;
}

export const digest = (bytes) => createHash('sha1').update(bytes).digest('hex');

const known = new Map();

/** What a checkpoint of a step must give back, by allocation. */
export function expected(seed, step) {
  const key = `${seed} ${step}`;
  if (!known.has(key))
    known.set(
      key,
      sizes.map((_, index) => digest(content(seed, index, step))),
    );
  return known.get(key);
}

/** Saves a step; every chunk is looked at, so unchanged ones are there to be found equal. */
export async function save(store, seed, step, parent) {
  const session = await store.begin({ kind: parent ? 'increment' : 'full', parent, note: `${seed} ${step}` });
  for (const [index, size] of sizes.entries()) {
    const bytes = content(seed, index, step);
    const allocation = {
      id: BigInt(index + 1),
      address: BigInt(index) << 32n,
      size,
      kind: 'device',
      label: `a${index}`,
    };
    await session.add(allocation, { ranges: [{ from: 0, count: Math.ceil(size / CHUNK), origin: 'exact' }], bytes });
  }
  return session.commit();
}

/** Reads a checkpoint and gives its digests, by allocation. */
export async function restore(store, id) {
  const plan = await store.restorePlan(id);
  try {
    const digests = [];
    for (const { id: allocation, size } of plan.allocations) {
      const bytes = Buffer.alloc(size);
      await plan.read(allocation, 0, size, bytes);
      digests.push(digest(bytes));
    }
    return digests;
  } finally {
    plan.close();
  }
}

/** The seed and step that a checkpoint was made from, which its note says. */
export const stepOf = ({ note }) => (note ?? '').split(' ').map(Number);
