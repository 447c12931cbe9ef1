/**
 * The shipped kernels on the way that a real device goes: loaded by the driver, launched with lists in pinned memory. On the simulated device, where
 * each takes its time, so over few chunks.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createHostArena, hashChunks, openDevice, SLOT_BYTES } from '../../src/native/index.js';
import { DeviceProcess } from '../simdevice/programs.js';
import { DRIVER, startDevice } from './simulated.js';

const process_ = new DeviceProcess();
let uuid: Uint8Array;

beforeAll(async () => {
  uuid = await startDevice(process_);
});
afterAll(() => process_.stop());

it('name chunks as the store does, and leave copies right', async () => {
  process.env['GCR_SIM_KERNELS'] = '1';
  const device = await openDevice(DRIVER, uuid);
  expect(device.namesOnDevice).toBe(true);
  const { memory, fd } = await device.createMemory(2 << 20);
  closeSync(fd);
  const content = randomFillSync(new Uint8Array(6 * SLOT_BYTES));
  content.fill(0, 2 * SLOT_BYTES, 3 * SLOT_BYTES);
  await memory.write(0, content);
  const spans = [
    { memory, offset: 0, bytes: 2 * SLOT_BYTES },
    { memory, offset: 2 * SLOT_BYTES, bytes: SLOT_BYTES },
    { memory, offset: 4 * SLOT_BYTES + 48, bytes: 1_000 },
  ];
  const parts = spans.map(({ offset, bytes }) => content.subarray(offset, offset + bytes));
  expect(await device.names(spans)).toEqual(new Uint8Array(Buffer.concat(parts.map((part) => hashChunks(part)))));

  const arena = await createHostArena(1, { device });
  const slots = Uint32Array.of(9, 4, 5, 700);
  await device.save(spans, arena, slots);
  expect(Buffer.compare(arena.view(700, 1).subarray(0, 1_000), parts[2]!)).toBe(0);
  arena.view(700, 1).fill(1);
  await device.load(spans, arena, slots);
  content.fill(1, 4 * SLOT_BYTES + 48, 4 * SLOT_BYTES + 1_048);
  const after = new Uint8Array(content.length);
  await memory.read(0, after);
  expect(Buffer.compare(after, content)).toBe(0);
  arena.close();
  memory.close();
});
