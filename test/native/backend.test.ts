// The binding over both kinds of place. What the store does with bytes is tested in native/core; here: that calls, errors, memory
// and many calls at once come through unharmed.
import { randomFillSync } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Backend, hashChunks, isStoreError, openBackend, type StorePlace } from '../../src/native/index.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-native-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let stores = 0;
const places: [string, () => StorePlace][] = [
  ['directory', () => ({ directory: join(folder, `store-${stores++}`) })],
  ['mem', () => ({ mem: `store-${stores++}` })],
];

const CHUNK = 65_536;
const MANIFEST = 'manifests/00112233445566aa.json';

function randomBytes(length: number): Uint8Array {
  return randomFillSync(new Uint8Array(length));
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isStoreError(error)) return error.code;
    throw error;
  }
  return 'no error';
}

async function stored(backend: Backend, bytes: Uint8Array): Promise<Uint8Array> {
  const writer = backend.writer();
  const names = await writer.write(bytes);
  await writer.finish();
  return names;
}

describe.each(places)('a store in a %s', (_, place) => {
  test('files: put, get, list, stat, remove', async () => {
    const where = place();
    expect(() => openBackend(where)).toThrow(/is not a store|cannot open the store/);
    const backend = openBackend(where, { create: true });
    const bytes = new TextEncoder().encode('{"a":1}');
    expect(await backend.stat(MANIFEST)).toBeUndefined();
    await backend.put(MANIFEST, bytes, 'create');
    expect(await codeOf(backend.put(MANIFEST, bytes, 'create'))).toBe('exists');
    expect(await backend.get(MANIFEST)).toEqual(bytes);
    expect(await codeOf(backend.get(MANIFEST, 3))).toBe('invalid');
    expect(await backend.list('manifests')).toEqual([MANIFEST]);
    const stat = await backend.stat(MANIFEST);
    expect(stat?.bytes).toBe(7);
    expect(Math.abs((stat?.modified ?? 0) - Date.now())).toBeLessThan(600_000);
    // Whoever opens it again sees the same.
    expect(await openBackend(where).get(MANIFEST)).toEqual(bytes);
    await backend.remove(MANIFEST);
    await backend.remove(MANIFEST);
    expect(await codeOf(backend.get(MANIFEST))).toBe('not-found');
    expect(await codeOf(backend.get('../outside'))).toBe('invalid');
    backend.close();
    expect(await codeOf(backend.get(MANIFEST))).toBe('invalid');
  });

  test('chunks with given names: from slots, the same bytes back, equal ones once, and a wrong name found when it is read', async () => {
    const backend = openBackend(place(), { create: true });
    const count = 150;
    const slots = randomBytes(count * CHUNK);
    const lengths = new Uint32Array(count).map((_, i) => (i % 7 === 3 ? 100 + i : CHUNK));
    slots.fill(0, 9 * CHUNK, 10 * CHUNK);
    slots.copyWithin(20 * CHUNK, 0, CHUNK);
    const contentOf = (i: number) => slots.subarray(i * CHUNK, i * CHUNK + lengths[i]!);
    const names = Buffer.concat(Array.from({ length: count }, (_, i) => hashChunks(contentOf(i))));
    const writer = backend.writer({ threads: 3 });
    await Promise.all([writer.writeNamed(slots, names, lengths), writer.writeNamed(slots, names, lengths)]);
    await writer.writeNamed(new Uint8Array(0), new Uint8Array(0), new Uint32Array(0));
    await expect(writer.writeNamed(slots, names, new Uint32Array([CHUNK]))).rejects.toThrow(RangeError);
    expect(await writer.finish()).toMatchObject({ chunks: 2 * count, storedChunks: count - 2 });
    const reader = backend.reader();
    for (let i = 0; i < count; i++) {
      const target = new Uint8Array(lengths[i]!);
      await reader.read(names.subarray(16 * i, 16 * i + 16), target);
      expect(Buffer.compare(target, contentOf(i))).toBe(0);
    }
    reader.close();
    const liar = backend.writer();
    await liar.writeNamed(slots.subarray(0, CHUNK), new Uint8Array(16).fill(5), new Uint32Array([CHUNK]));
    await liar.finish();
    const later = backend.reader();
    expect(await codeOf(later.read(new Uint8Array(16).fill(5), new Uint8Array(CHUNK)))).toBe('damaged');
    later.close();
  });

  test('chunks: many writes and reads under way, the same bytes back', async () => {
    const backend = openBackend(place(), { create: true });
    const parts = Array.from({ length: 12 }, (_, i) => randomBytes(20 * CHUNK + (i % 2 ? 0 : 100 + i)));
    parts[3]!.fill(0, 5 * CHUNK, 9 * CHUNK);
    const writer = backend.writer({ threads: 3 });
    const names = await Promise.all([...parts, ...parts].map((part) => writer.write(part)));
    const statistics = await writer.finish();
    expect(statistics.chunks).toBe(2 * (12 * 20 + 6));
    expect(statistics.storedChunks).toBe(12 * 20 + 6 - 4);
    expect(await codeOf(writer.write(parts[0]!))).toBe('invalid');
    await writer.abort();
    const reader = backend.reader();
    // A view into a larger buffer, at an odd place, between guards.
    const targets = parts.map((part) => new Uint8Array(part.length + 20).fill(7));
    await Promise.all(targets.map((target, i) => reader.read(names[i]!, target.subarray(3, 3 + parts[i]!.length))));
    for (const [i, target] of targets.entries()) {
      expect(Buffer.compare(target.subarray(3, 3 + parts[i]!.length), parts[i]!)).toBe(0);
      expect([...target.subarray(0, 3), ...target.subarray(3 + parts[i]!.length)]).toEqual(Array(20).fill(7));
    }
    expect(await reader.has(names[1]!)).toEqual(new Uint8Array(20).fill(1));
    expect((await reader.has(names[0]!, 100)).at(-1)).toBe(1);
    expect((await reader.has(names[0]!, 101)).at(-1)).toBe(0);
    expect(await reader.has(new Uint8Array(16).fill(3))).toEqual(new Uint8Array(1));
    expect(await codeOf(reader.read(new Uint8Array(16).fill(3), new Uint8Array(5)))).toBe('not-found');
    expect(await codeOf(reader.read(names[0]!, new Uint8Array(5)))).toBe('invalid');
    reader.close();
    expect(await codeOf(reader.read(names[0]!, new Uint8Array(5)))).toBe('invalid');
    expect(await backend.check({ readData: true })).toEqual([]);
  });

  test('locks: shared together, exclusive alone, released twice', async () => {
    const where = place();
    const backend = openBackend(where, { create: true });
    const shared = await backend.lock('shared', 0);
    const other = await openBackend(where).lock('shared', 0);
    expect(await codeOf(backend.lock('exclusive', 20))).toBe('locked');
    const waiting = backend.lock('exclusive', 20_000);
    shared.release();
    shared.release();
    other.release();
    const exclusive = await waiting;
    expect(await codeOf(backend.lock('shared', 0))).toBe('locked');
    exclusive.release();
  });

  test('maintenance: compact, check with progress and cancellation, rebuild', async () => {
    const backend = openBackend(place(), { create: true });
    const kept = randomBytes(30 * CHUNK);
    const names = await stored(backend, kept);
    await stored(backend, randomBytes(50 * CHUNK));
    const planned = await backend.compact(names, { dryRun: true });
    expect(planned.packsRemoved).toBeGreaterThan(0);
    expect(await backend.compact(names, {})).toEqual(planned);
    expect(planned.chunksLive).toBe(30);
    for (const name of await backend.list('index')) await backend.remove(name);
    const found = await backend.check();
    expect(found.length).toBeGreaterThan(0);
    expect(found.every((problem) => problem.harmless)).toBe(true);
    expect(await backend.rebuildIndex()).toMatchObject({ chunks: 30 });
    const progress: number[] = [];
    expect(await backend.check({ readData: true, onProgress: ({ bytes }) => progress.push(bytes) })).toEqual([]);
    expect(progress.length).toBeGreaterThan(0);
    await expect(backend.check({ signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
    const stop = new AbortController();
    const running = backend.check({
      readData: true,
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('later')),
    });
    // It may have ended before the first report arrived.
    await running.catch((error: Error) => expect(error.message).toBe('later'));
    const failing = backend.check({
      readData: true,
      onProgress: () => {
        throw new Error('from the callback');
      },
    });
    await expect(failing).rejects.toThrow('from the callback');
    const target = new Uint8Array(kept.length);
    await backend.reader().read(names, target);
    expect(Buffer.compare(target, kept)).toBe(0);
  });
});

describe('errors', () => {
  test('name the file and say what is wrong', async () => {
    const directory = join(folder, 'errors');
    const backend = openBackend({ directory }, { create: true });
    const names = await stored(backend, randomBytes(CHUNK));
    const [pack] = await backend.list('packs');
    const path = join(directory, pack!);
    const bytes = readFileSync(path);
    bytes[5000]! ^= 1;
    writeFileSync(path, bytes);
    const error = await backend
      .reader()
      .read(names, new Uint8Array(CHUNK))
      .catch((thrown: unknown) => thrown);
    expect(isStoreError(error) && [error.code, error.file]).toEqual(['damaged', pack]);
    expect(await backend.check({ readData: true })).toMatchObject([{ file: pack, harmless: false }]);
    rmSync(path);
    symlinkSync('/etc/passwd', path);
    expect(await codeOf(backend.get(pack!))).toBe('damaged');
  });

  test('a folder that cannot be written to is not left half made', async () => {
    writeFileSync(join(folder, 'file'), 'x');
    expect(() => openBackend({ directory: join(folder, 'file', 'store') }, { create: true })).toThrow(/file/);
    expect(existsSync(join(folder, 'file', 'store'))).toBe(false);
    expect(readdirSync(folder)).toContain('file');
  });
});
