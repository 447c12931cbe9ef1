/** What tests of operations share: stores in memory, and the operations on a fake application. */
import { afterEach, expect } from 'vitest';
import { Store } from '../../src/checkpoint/index.js';
import { type CheckpointOptions, checkpoint } from '../../src/runtime/checkpoint.js';
import type { OperationContext } from '../../src/runtime/process.js';
import { restore } from '../../src/runtime/restore.js';
import { FakeApplication, type FakeOptions, PlainArena } from './fake-application.js';

const stores: Store[] = [];
let number = 0;

export async function memoryStore(): Promise<Store> {
  const store = await Store.open({ mem: `runtime-${process.pid}-${number++}` }, { create: true });
  stores.push(store);
  return store;
}

afterEach(() => {
  for (const store of stores.splice(0)) store.close();
});

export const context = (steps: string[] = []): OperationContext => ({
  signal: new AbortController().signal,
  report: ({ step }) => {
    if (steps.at(-1) !== step) steps.push(step);
  },
});

export const save = (app: FakeApplication, store: Store, options: Partial<CheckpointOptions> = {}, own = context()) =>
  app.process.operate('checkpoint', own, (inner) =>
    checkpoint(app.process, store, { command: ['fake'], ...options }, inner),
  );
export const goBack = (app: FakeApplication, store: Store, id: string, own = context()) =>
  app.process.operate('restore', own, (inner) => restore(app.process, store, id, inner));

/** What a checkpoint in the store holds is what memory was. */
export async function expectSaved(
  app: FakeApplication,
  store: Store,
  id: string,
  memory: ReadonlyMap<number, Uint8Array>,
) {
  const plan = await store.restorePlan(id);
  try {
    expect(plan.allocations.map(({ size }) => size).sort()).toEqual(
      [...memory.values()].map(({ length }) => length).sort(),
    );
    for (const [own, bytes] of memory) {
      const saved = new Uint8Array(bytes.length);
      await plan.read(app.process.storeId({ number: own }), 0, bytes.length, saved);
      expect(Buffer.compare(saved, bytes), `allocation ${own}`).toBe(0);
    }
  } finally {
    plan.close();
  }
}

export const MIB = 1 << 20;

/** An application with three allocations of 64, 16 and 1 chunks. */
export function started(options: FakeOptions = {}) {
  const app = new FakeApplication(options);
  const data = app.alloc(4 * MIB);
  const other = app.alloc(MIB);
  const index = app.alloc(65_536);
  const n = data.bytes.length / 4;
  app.launch('init', 64, 256, [data, n, 1]);
  app.launch('init', 16, 256, [other, other.bytes.length / 4, 2]);
  app.launch('init', 16, 256, [index, index.bytes.length / 4, 3]);
  return { app, data, other, index };
}

/** Templates derived from a kernel that returns at once. */
export const returnsAtOnce = (text: string) => text.replace(/(\.entry stir_part\([^)]*\)\s*\{)/, '$1 ret;');

export const plainArena = async (bytes: number) => {
  const arena = new PlainArena();
  await arena.grow(bytes);
  return arena;
};

export function expectMemory(app: FakeApplication, memory: ReadonlyMap<number, Uint8Array>) {
  for (const [own, bytes] of memory) expect(Buffer.compare(app.memory(own), bytes), `allocation ${own}`).toBe(0);
}

/** A store that counts the chunks that are read from it, and fails from the one of a number on, to another one. */
export function countedReads(store: Store, failsAt = Number.POSITIVE_INFINITY, failsTo = Number.POSITIVE_INFINITY) {
  const bound = <T extends object>(target: T, own: Partial<T>): T =>
    new Proxy(target, {
      get: (_, name) => {
        const value = Reflect.get(name in own ? own : target, name);
        return typeof value === 'function' && !(name in own) ? value.bind(target) : value;
      },
    });
  const counted = {
    chunks: 0,
    store: bound(store, {
      restorePlan: async (id) => {
        const plan = await store.restorePlan(id);
        return bound(plan, {
          readChunks: async (names, target) => {
            counted.chunks += names.length / 16;
            if (counted.chunks >= failsAt && counted.chunks < failsTo) throw new Error('planted');
            await plan.readChunks(names, target);
          },
        });
      },
    }),
  };
  return counted;
}
