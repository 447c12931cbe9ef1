/**
 * Names, saves and loads over the simulated device: what comes back is what was there, names are the store's, nothing beside a chunk is written, and
 * what is not inside memory or arena is refused before anything is copied.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createHostArena,
  type DeviceSpan,
  type HostArena,
  hashChunks,
  type MappedMemory,
  type OpenDevice,
  openDevice,
  SEGMENT_SLOTS,
  SLOT_BYTES,
} from '../../src/native/index.js';
import { DeviceProcess } from '../simdevice/programs.js';
import { DRIVER, startDevice } from './simulated.js';

const MEMORY_BYTES = 4 << 20;
const process_ = new DeviceProcess();
let uuid: Uint8Array;
let device: OpenDevice;
let arena: HostArena;
const memories: { memory: MappedMemory; content: Uint8Array }[] = [];

beforeAll(async () => {
  uuid = await startDevice(process_);
  device = await openDevice(DRIVER, uuid);
  arena = await createHostArena(2 * SEGMENT_SLOTS * SLOT_BYTES, { device });
  for (let i = 0; i < 3; i++) memories.push(await filled());
});
afterAll(async () => {
  await arena.close();
  for (const { memory } of memories) memory.close();
  await process_.stop();
});

async function filled(): Promise<{ memory: MappedMemory; content: Uint8Array }> {
  const { memory, fd } = await device.createMemory(MEMORY_BYTES);
  closeSync(fd);
  const content = randomFillSync(new Uint8Array(MEMORY_BYTES));
  content.fill(0, 5 * SLOT_BYTES, 9 * SLOT_BYTES);
  await memory.write(0, content);
  return { memory, content };
}

const chunksOf = (bytes: number): number => Math.ceil(bytes / SLOT_BYTES);

/** Spans that do not overlap, and slots that differ from each other, whole runs of them and single ones. */
const moves = fc
  .record({
    cuts: fc.array(
      fc.record({
        memory: fc.nat(2),
        gap: fc.nat(40).map((steps) => 4096 * steps),
        bytes: fc.oneof(
          fc.integer({ min: 1, max: 5 * SLOT_BYTES }),
          fc.integer({ min: 1, max: 40 }).map((n) => n * SLOT_BYTES),
        ),
      }),
      { maxLength: 8 },
    ),
    first: fc.nat(2 * SEGMENT_SLOTS - 1),
    step: fc.constantFrom(1, 1, 1, 3, 2 * SEGMENT_SLOTS - 1),
  })
  .map(({ cuts, first, step }) => {
    const at = [0, 0, 0];
    const spans: { memory: number; offset: number; bytes: number }[] = [];
    for (const { memory, gap, bytes } of cuts) {
      const offset = at[memory]! + gap;
      const fits = Math.min(bytes, MEMORY_BYTES - offset);
      if (fits < 1) continue;
      spans.push({ memory, offset, bytes: fits });
      at[memory] = Math.ceil((offset + fits) / 16) * 16;
    }
    const chunks = spans.reduce((sum, { bytes }) => sum + chunksOf(bytes), 0);
    const slots = Uint32Array.from({ length: chunks }, (_, i) => (first + i * step) % (2 * SEGMENT_SLOTS));
    return { spans, slots };
  });

/** Chunks of spans: where they are and what slot is theirs. */
function* chunksIn(spans: readonly { memory: number; offset: number; bytes: number }[], slots: Uint32Array) {
  let i = 0;
  for (const { memory, offset, bytes } of spans)
    for (let at = 0; at < bytes; at += SLOT_BYTES)
      yield { memory, offset: offset + at, bytes: Math.min(SLOT_BYTES, bytes - at), slot: slots[i++]! };
}

const spansOf = (spans: readonly { memory: number; offset: number; bytes: number }[]): DeviceSpan[] =>
  spans.map((span) => ({ ...span, memory: memories[span.memory]!.memory }));

describe('chunks of device memory', () => {
  it('go to their slots and come back, not a byte beside them', async () => {
    await fc.assert(
      fc.asyncProperty(moves, async ({ spans, slots }) => {
        await device.save(spansOf(spans), arena, slots);
        const chunks = [...chunksIn(spans, slots)];
        for (const { memory, offset, bytes, slot } of chunks)
          expect(
            Buffer.compare(
              arena.view(slot, 1).subarray(0, bytes),
              memories[memory]!.content.subarray(offset, offset + bytes),
            ),
          ).toBe(0);
        // Other bytes in the slots, brought back: the memory is as before but for the chunks.
        const expected = memories.map(({ content }) => content.slice());
        for (const { memory, offset, bytes, slot } of chunks) {
          const view = arena.view(slot, 1);
          randomFillSync(view, 0, 64);
          expected[memory]!.set(view.subarray(0, bytes), offset);
        }
        await device.load(spansOf(spans), arena, slots);
        for (const [i, { memory, content }] of memories.entries()) {
          await memory.read(0, content);
          expect(Buffer.compare(content, expected[i]!)).toBe(0);
        }
      }),
      { numRuns: 40 },
    );
  });

  it('have the names that the store gives them', async () => {
    await fc.assert(
      fc.asyncProperty(moves, async ({ spans }) => {
        const names = await device.names(spansOf(spans));
        const expected = spans.map(({ memory, offset, bytes }) =>
          hashChunks(memories[memory]!.content.subarray(offset, offset + bytes)),
        );
        expect(Buffer.compare(names, Buffer.concat(expected))).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  it('are read from one slot as often as asked', async () => {
    const { memory, content } = memories[0]!;
    arena.view(7, 1).fill(77);
    await device.load([{ memory, offset: 0, bytes: 3 * SLOT_BYTES }], arena, Uint32Array.of(7, 7, 7));
    await memory.read(0, content);
    expect(content.subarray(0, 3 * SLOT_BYTES).every((byte) => byte === 77)).toBe(true);
  });

  it('are moved by several calls at once', async () => {
    const all = memories.map(({ memory }, i) => ({
      spans: [{ memory, offset: 0, bytes: MEMORY_BYTES }],
      first: 64 * i,
    }));
    const slots = (first: number) => Uint32Array.from({ length: 64 }, (_, i) => first + i);
    const [names] = await Promise.all([
      device.names(all.flatMap(({ spans }) => spans)),
      ...all.map(({ spans, first }) => device.save(spans, arena, slots(first))),
      ...all.map(({ spans, first }) => device.save(spans, arena, slots(first + 512))),
    ]);
    expect(names).toEqual(new Uint8Array(Buffer.concat(memories.map(({ content }) => hashChunks(content)))));
    for (const [i, { content }] of memories.entries())
      for (const first of [64 * i, 64 * i + 512]) expect(Buffer.compare(arena.view(first, 64), content)).toBe(0);
  });

  it('may lie in memory that is closed while they are copied', async () => {
    const { memory, content } = await filled();
    const saved = device.save(
      [{ memory, offset: 0, bytes: MEMORY_BYTES }],
      arena,
      Uint32Array.from({ length: 64 }, (_, i) => i),
    );
    memory.close();
    await saved;
    expect(Buffer.compare(arena.view(0, 64), content)).toBe(0);
    await expect(device.names([{ memory, offset: 0, bytes: 1 }])).rejects.toThrow('closed');
  });

  it('are refused when they or their slots are not there', async () => {
    const { memory } = memories[0]!;
    const one = Uint32Array.of(0);
    for (const [offset, bytes] of [
      [MEMORY_BYTES, 1],
      [MEMORY_BYTES - 16, 17],
      [8, 16],
      [0, 0],
      [-16, 16],
      [0.5, 16],
      [0, Number.NaN],
      [0, 2 ** 60],
    ] as const) {
      await expect(device.names([{ memory, offset, bytes }]), `${offset} ${bytes}`).rejects.toThrow(RangeError);
      await expect(device.save([{ memory, offset, bytes }], arena, one), `${offset} ${bytes}`).rejects.toThrow(
        RangeError,
      );
    }
    const span = { memory, offset: 0, bytes: SLOT_BYTES };
    for (const slots of [
      Uint32Array.of(),
      Uint32Array.of(0, 1),
      Uint32Array.of(2 * SEGMENT_SLOTS),
      Uint32Array.of(2 ** 32 - 1),
    ]) {
      await expect(device.save([span], arena, slots)).rejects.toThrow(RangeError);
      await expect(device.load([span], arena, slots)).rejects.toThrow(RangeError);
    }
    expect(() => arena.view(SEGMENT_SLOTS - 1, 2)).toThrow(RangeError);
    expect(() => arena.view(2 * SEGMENT_SLOTS, 1)).toThrow(RangeError);
    expect(() => arena.view(-1, 1)).toThrow(RangeError);
  });

  it('need no chunk at all', async () => {
    expect(await device.names([])).toHaveLength(0);
    await device.save([], arena, new Uint32Array());
  });
});

describe('a host arena', () => {
  it('grows while what is there is used, and tells how far it is', async () => {
    const own = await createHostArena(1, { device });
    expect([own.slots, own.pinned, own.unpinnedBecause]).toEqual([SEGMENT_SLOTS, true, undefined]);
    const first = own.view(0, SEGMENT_SLOTS);
    expect(Buffer.compare(first, new Uint8Array(first.length))).toBe(0);
    const told: number[] = [];
    const { memory, content } = memories[1]!;
    const slots = Uint32Array.from({ length: 64 }, (_, i) => i);
    await Promise.all([
      own.grow(2 * SEGMENT_SLOTS * SLOT_BYTES, ({ bytes, total }) => told.push(bytes / total)),
      device.save([{ memory, offset: 0, bytes: MEMORY_BYTES }], own, slots),
    ]);
    expect(own.slots).toBe(3 * SEGMENT_SLOTS);
    expect(told.at(-1)).toBe(1);
    expect(Buffer.compare(first.subarray(0, MEMORY_BYTES), content)).toBe(0);
    own.close();
    expect(first).toHaveLength(0);
    expect(own.slots).toBe(0);
    await expect(device.save([{ memory, offset: 0, bytes: 1 }], own, Uint32Array.of(0))).rejects.toThrow('closed');
  });

  it('stays until copies from it have ended', async () => {
    const own = await createHostArena(1);
    const { memory, content } = memories[2]!;
    own.view(0, 64).fill(99);
    const loaded = device.load(
      [{ memory, offset: 0, bytes: MEMORY_BYTES }],
      own,
      Uint32Array.from({ length: 64 }, (_, i) => i),
    );
    own.close();
    await loaded;
    await memory.read(0, content);
    expect(content.every((byte) => byte === 99)).toBe(true);
  });

  it('is the system’s again when closing it has ended', async () => {
    const segments = 4;
    const own = await createHostArena(segments * SEGMENT_SLOTS * SLOT_BYTES);
    const before = process.memoryUsage.rss();
    await own.close();
    expect(before - process.memoryUsage.rss()).toBeGreaterThan((segments - 1) * SEGMENT_SLOTS * SLOT_BYTES);
    await own.close();
  });

  it('is refused where there is no such memory', async () => {
    await expect(createHostArena(2 ** 50)).rejects.toThrow('host memory');
  });
});

it('a device that is not there is an error', async () => {
  await expect(openDevice(DRIVER, new Uint8Array(16))).rejects.toThrow('not visible');
  await expect(openDevice('/nowhere/libcuda.so.1', uuid)).rejects.toThrow('no driver');
});
