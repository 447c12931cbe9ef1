/** Where a control socket comes to be, what was there before, and what is left of it. */
import { mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { call } from '../../src/runtime/control-client.js';
import { ControlServer } from '../../src/runtime/control-server.js';
import { controlSocket } from '../../src/runtime/runtime-folder.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-control-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const ask = () => call(folder, 7, { operation: 'status' });
const listen = (answer: string) => ControlServer.listen(controlSocket(folder, 7), async () => answer);

it('a control socket takes the place of a left-over, is private, and goes when it is closed', async () => {
  const before = createServer();
  await new Promise<void>((resolve) => before.listen(join(folder, 'before'), resolve));
  renameSync(join(folder, 'before'), controlSocket(folder, 7));
  await new Promise((resolve) => before.close(resolve));
  expect(readdirSync(folder)).toEqual(['7.sock']);
  await expect(ask()).rejects.toThrow(/GCR8102/);
  const server = await listen('here');
  expect(readdirSync(folder)).toEqual(['7.sock']);
  expect(statSync(controlSocket(folder, 7)).mode & 0o777).toBe(0o600);
  expect(await ask()).toBe('here');
  server.close();
  expect(readdirSync(folder)).toEqual([]);
});

it('a control socket on which somebody listens is not taken', async () => {
  const server = await listen('first');
  await expect(listen('second')).rejects.toThrow(/somebody else listens/);
  expect(await ask()).toBe('first');
  expect(readdirSync(folder)).toEqual(['7.sock']);
  server.close();
});
