/**
 * Stores and streams that lie. Hashes are made to fit, so that what is behind them is tried: everything must be refused with a message, at
 * bounded memory, and nothing may be written.
 */
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeCheckedJson, hex } from '../../src/checkpoint/checked-json.js';
import { CHUNK_BYTES, Store, StoreError, verifyStore } from '../../src/checkpoint/index.js';
import { decodeManifest } from '../../src/checkpoint/manifest.js';
import { decodeMap } from '../../src/checkpoint/map.js';
import { checkStoreFile } from '../../src/checkpoint/store-file.js';
import { InputError } from '../../src/diagnostics/index.js';
import { treeHash } from '../../src/native/index.js';
import { history, newPlace, Random, restore } from './helpers.js';

const ROOT = join(import.meta.dirname, '../..');
const BIN = join(ROOT, 'bin/gcr-templates.js');
const one = { id: 1n, address: 0x1000n, size: 3 * CHUNK_BYTES, kind: 'device', label: 'x' } as const;

let folder: string;
let place: string;
/** A full checkpoint, and two increments, one on the other. */
let ids: string[];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gcr-hostile-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

beforeEach(async () => {
  place = join(mkdtempSync(join(folder, 'case-')), 'store');
  const store = await Store.open({ directory: place }, { create: true });
  ids = [];
  for (let step = 0; step < 3; step++) {
    const session = await store.begin({ kind: step === 0 ? 'full' : 'increment', parent: ids.at(-1) ?? null });
    const ranges = step === 0 ? {} : { ranges: [{ from: step, count: 1 }] };
    const bytes = Buffer.alloc(step === 0 ? one.size : CHUNK_BYTES, step + 1);
    await session.add(one, { ...ranges, bytes });
    ids.push((await session.commit()).id);
  }
  store.close();
});

type Json = Record<string, unknown>;
const manifestPath = (id: string) => join(place, 'manifests', `${id}.json`);
const readJson = (id: string) => JSON.parse(readFileSync(manifestPath(id), 'utf8')) as Json & { map: Json };

/** Changes a manifest, and makes its check fit. */
function lie(id: string, change: (manifest: Json & { map: Json }) => void): void {
  const { check: _, ...manifest } = readJson(id);
  change(manifest as Json & { map: Json });
  writeFileSync(manifestPath(id), encodeCheckedJson(manifest));
}

/** Changes a map, and makes its name and its manifest fit. */
function lieInMap(id: string, change: (map: Buffer) => Buffer | undefined): void {
  const path = join(place, 'manifests', `${readJson(id).map['hash']}.map`);
  const before = readFileSync(path);
  const map = change(before) ?? before;
  const hash = hex(treeHash(map));
  writeFileSync(join(place, 'manifests', `${hash}.map`), map);
  lie(id, (manifest) => Object.assign(manifest.map, { hash, bytes: map.length }));
}

/** Gives a manifest an image whose file is in pieces of a size that is none. */
function lieInPieces(id: string, pieceBytes: unknown): void {
  const folder = '0123456789abcdef';
  mkdirSync(join(place, 'images', folder), { recursive: true });
  writeFileSync(join(place, 'images', folder, 'a.img'), '');
  truncateSync(join(place, 'images', folder, 'a.img'), 2 ** 40);
  const files = [{ name: 'a.img', bytes: 2 ** 40, sha256: '0'.repeat(64) }];
  const machine = { criu: '4.2', kernel: '6.1', machine: 'x64', module: null, root: 1, numbers: [1], stdio: [] };
  const where = { socket: '/s', driver: null, simulatedDevice: null };
  lie(id, (manifest) => Object.assign(manifest, { image: { folder, files, pieceBytes, ...machine, ...where } }));
}

const u64 = (at: number, value: bigint) => (map: Buffer) => {
  map.writeBigUInt64LE(value, at);
  return undefined;
};
const u32 = (at: number, value: number) => (map: Buffer) => {
  map.writeUInt32LE(value, at);
  return undefined;
};

/** Names and contents of everything around the store. */
function everything(): string {
  const names = (readdirSync(join(place, '..'), { recursive: true }) as string[]).sort();
  return names.join('\n');
}

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [BIN, ...args], {
    encoding: 'utf8',
    timeout: 50_000,
    killSignal: 'SIGKILL',
  });
  return { status, stdout, stderr };
}

const lies: [string, () => void][] = [
  ['a chain that is a cycle', () => lie(ids[1]!, (manifest) => Object.assign(manifest, { parent: ids[2] }))],
  ['its own parent', () => lie(ids[2]!, (manifest) => Object.assign(manifest, { parent: ids[2] }))],
  ['a depth that does not fall', () => lie(ids[1]!, ({ map }) => Object.assign(map, { depth: 2 }))],
  ['depth 0 of an increment', () => lie(ids[2]!, ({ map }) => Object.assign(map, { depth: 0 }))],
  ['a huge depth that is no number', () => lie(ids[2]!, ({ map }) => Object.assign(map, { depth: 1e300 }))],
  ['a parent that is not there', () => rmSync(manifestPath(ids[1]!))],
  [
    'a parent outside the store',
    () => lie(ids[2]!, (manifest) => Object.assign(manifest, { parent: '../../../etc/x' })),
  ],
  [
    'a map outside the store',
    () => lie(ids[2]!, ({ map }) => Object.assign(map, { hash: '../../../../../../etc/passwd' })),
  ],
  ['another id than its name', () => lie(ids[2]!, (manifest) => Object.assign(manifest, { id: ids[0] }))],
  ['a map of 2^53 bytes', () => lie(ids[2]!, ({ map }) => Object.assign(map, { bytes: 2 ** 53 - 1 }))],
  ['more allocations than there are', () => lieInMap(ids[2]!, u32(12, 0xffff_ffff))],
  ['more entries than there are', () => lieInMap(ids[2]!, u64(16, 1n << 60n))],
  ['more text than there is', () => lieInMap(ids[2]!, u64(24, (1n << 64n) - 1n))],
  ['an allocation of 2^63 bytes', () => lieInMap(ids[2]!, u64(64 + 16, 1n << 63n))],
  ['an allocation of nothing', () => lieInMap(ids[2]!, u64(64 + 16, 0n))],
  ['another size than its parent', () => lieInMap(ids[2]!, u64(64 + 16, BigInt(CHUNK_BYTES * 300)))],
  ['another size, huge', () => lieInMap(ids[2]!, u64(64 + 16, 1n << 48n))],
  ['an address at the end of all', () => lieInMap(ids[2]!, u64(64 + 8, (1n << 64n) - 5n))],
  ['a list that claims to be complete', () => lieInMap(ids[2]!, u32(64 + 36, 1))],
  ['a chunk outside its allocation', () => lieInMap(ids[2]!, u32(128, 0xffff_fff0))],
  ['an origin that is none', () => lieInMap(ids[2]!, u32(132, 77))],
  ['a label outside the text', () => lieInMap(ids[2]!, u32(64 + 40, 0xffff_ffff))],
  ['a name that no index has', () => lieInMap(ids[2]!, u64(136, 0x0123_4567_89ab_cdefn))],
  ['a map that goes on', () => lieInMap(ids[2]!, (map) => Buffer.concat([map, Buffer.alloc(7)]))],
  ['an empty map', () => lieInMap(ids[2]!, () => Buffer.alloc(0))],
  [
    'counts that its map does not have',
    () => lie(ids[2]!, (manifest) => Object.assign(manifest['chunks'] as Json, { listed: 5 })),
  ],
  ...[0, 1, -1, 2 ** 20 - 1, 2 ** 20 + 0.5, 2 ** 30 + 1, 2 ** 53, 1e300, '8388608', null, [], {}].map(
    (bytes): [string, () => void] => [
      `an image in pieces of ${JSON.stringify(bytes)} bytes`,
      () => lieInPieces(ids[2]!, bytes),
    ],
  ),
  [
    'a manifest that is a link',
    () => {
      renameSync(manifestPath(ids[2]!), join(place, '../outside.json'));
      symlinkSync('../../outside.json', manifestPath(ids[2]!));
    },
  ],
  [
    'a map that is a link',
    () => {
      const path = join(place, 'manifests', `${readJson(ids[2]!).map['hash']}.map`);
      renameSync(path, join(place, '../outside.map'));
      symlinkSync(join(place, '../outside.map'), path);
    },
  ],
  [
    'packs that are links',
    () => {
      for (const name of readdirSync(join(place, 'packs'))) {
        renameSync(join(place, 'packs', name), join(place, '..', name));
        symlinkSync(join(place, '..', name), join(place, 'packs', name));
      }
    },
  ],
  [
    'a manifest that is a folder',
    () => {
      rmSync(manifestPath(ids[1]!));
      mkdirSync(manifestPath(ids[1]!));
    },
  ],
  [
    'a folder that is a link',
    () => {
      renameSync(join(place, 'manifests'), join(place, '../moved'));
      symlinkSync(join(place, '../moved'), join(place, 'manifests'));
    },
  ],
  ['a manifest that is a sparse terabyte', () => truncateSync(manifestPath(ids[2]!), 2 ** 40)],
  [
    'a map that is a sparse terabyte',
    () => truncateSync(join(place, 'manifests', `${readJson(ids[2]!).map['hash']}.map`), 2 ** 40),
  ],
  [
    'packs that are sparse terabytes',
    () => {
      for (const name of readdirSync(join(place, 'packs'))) truncateSync(join(place, 'packs', name), 2 ** 40);
    },
  ],
];

describe('a store that lies', () => {
  it.each(lies)('is refused with exit code 65: %s', (what, prepare) => {
    prepare();
    const before = everything();
    const extracted = run('extract', place, ids[2]!, '-a', '1', '-o', join(place, '../out'));
    // Terabytes of nothing behind a pack's content harm nobody who knows where the content is.
    if (!what.startsWith('packs that are sparse')) expect(extracted).toMatchObject({ status: 65, stdout: '' });
    expect(extracted.stderr).not.toContain('internal error');
    const verified = run('verify', place, ...(what.startsWith('an image') ? ['--read-data'] : []));
    expect([65, 66]).toContain(verified.status);
    expect(verified.stderr).toMatch(/error GCR70\d\d/);
    expect(verified.stderr).toContain('hint:');
    rmSync(join(place, '../out'), { force: true });
    expect(everything()).toBe(before);
  });

  it('is read with bounded memory', () => {
    lieInMap(ids[2]!, u64(64 + 16, 1n << 48n));
    truncateSync(manifestPath(ids[1]!), 2 ** 40);
    const script = `
      import { Store, verifyStore } from 'gcr-templates/checkpoint';
      const directory = ${JSON.stringify(place)};
      await verifyStore({ directory }, { readData: true });
      const store = await Store.open({ directory });
      for (const id of ${JSON.stringify(ids)}) await store.restorePlan(id).then((plan) => plan.close(), () => {});
      console.log(process.resourceUsage().maxRSS);`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(Number(stdout)).toBeLessThan(250_000);
  });

  it('shows no control characters of it', async () => {
    lie(ids[2]!, (manifest) => Object.assign(manifest, { note: 'evil\u001b]0;x\u0007\u202e<script>' }));
    for (const args of [
      ['list', place],
      ['show', place, ids[2]!],
    ]) {
      const { status, stdout } = run(...args);
      expect(status).toBe(0);
      expect(stdout).toContain('evil·');
      expect(stdout).not.toMatch(/[\u001b\u0007\u202e]/);
    }
    expect(run('report', place, '-o', '-').stdout).not.toMatch(/[\u001b\u0007\u202e]|<script/);
  });

  it('keeps what is whole usable', async () => {
    lieInMap(ids[2]!, u64(16, 1n << 60n));
    const store = await Store.open({ directory: place });
    expect((await restore(store, ids[1]!)).get(1n)!.bytes[CHUNK_BYTES]).toBe(2);
    await expect(store.prune({ rules: { last: 1 } })).rejects.toThrow('nothing was deleted');
    expect((await store.list()).checkpoints).toHaveLength(3);
    const { kept, removed } = await store.prune({ rules: { last: 5 }, dropDamaged: true });
    expect([kept, removed]).toEqual([ids.slice(0, 2), [ids[2]]]);
    expect((await store.verify({ readData: true })).problems).toEqual([]);
    store.close();
  });

  it('without a store.json says what is missing', async () => {
    linkSync(join(place, 'store.json'), join(place, '../kept'));
    rmSync(join(place, 'store.json'));
    await expect(Store.open({ directory: place }, { create: true })).rejects.toThrow(/store\.json.*GCR7012[\s\S]*hint/);
    expect(existsSync(join(place, 'store.json'))).toBe(false);
    const { problems } = await verifyStore({ directory: place });
    expect(problems.map(({ file }) => file)).toEqual(['store.json']);
  });
});

/** Bytes with some of them changed, cut off, doubled or put elsewhere. */
function mutated(bytes: Uint8Array, random: Random): Buffer {
  const copy = Buffer.from(bytes);
  if (copy.length === 0) return copy;
  switch (random.below(5)) {
    case 0:
      return copy.subarray(0, random.below(copy.length));
    case 1:
      return Buffer.concat([copy, copy.subarray(random.below(copy.length))]);
    case 2: {
      const at = random.below(copy.length);
      return Buffer.concat([copy.subarray(0, at), copy.subarray(Math.min(copy.length, at + 1 + random.below(40)))]);
    }
    case 3:
      copy.fill(random.pick([0, 0xff, 0x80]), random.below(copy.length), random.below(copy.length + 1));
      return copy;
    default:
      for (let i = 1 + random.below(3); i > 0; i--) copy[random.below(copy.length)]! ^= 1 << random.below(8);
      return copy;
  }
}

describe('parsers, with bytes changed at random', () => {
  const ROUNDS = 4000;

  /** What a parser makes of bytes: a value, or `undefined` where it refused them. Any other error fails the test. */
  function attempt<T>(parse: () => T): T | undefined {
    try {
      return parse();
    } catch (error) {
      if (error instanceof StoreError) return undefined;
      throw error;
    }
  }

  const files = (suffix: string) =>
    readdirSync(join(place, 'manifests'))
      .filter((name) => name.endsWith(suffix))
      .map((name) => readFileSync(join(place, 'manifests', name)));

  it('maps: accepted ones are consistent', () => {
    const random = new Random(11);
    const maps = files('.map');
    let accepted = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const map = attempt(() => decodeMap(mutated(random.pick(maps), random), 'p', 'f'));
      if (!map) continue;
      accepted++;
      for (const { allocation, chunks, names, complete } of map.lists) {
        const count = Math.ceil(allocation.size / CHUNK_BYTES);
        expect(names.length).toBe(16 * chunks.length);
        expect(chunks.every((chunk, at) => chunk < count && (at === 0 || chunk > chunks[at - 1]!))).toBe(true);
        if (complete) expect(chunks.length).toBe(count);
      }
    }
    // Names and addresses may be any.
    expect(accepted).toBeGreaterThan(0);
  });

  it('manifests and store.json: no change passes the check', () => {
    const random = new Random(12);
    const manifests = files('.json');
    const storeFile = readFileSync(join(place, 'store.json'));
    for (let i = 0; i < ROUNDS; i++) {
      const original = random.pick(manifests);
      const bytes = mutated(original, random);
      const manifest = attempt(() => decodeManifest(bytes, 'p', 'f'));
      if (manifest) expect(manifest).toEqual(decodeManifest(original, 'p', 'f'));
      attempt(() => checkStoreFile(mutated(storeFile, random), 'p'));
    }
  });

  it('manifests whose check fits: shape and ranges hold', () => {
    const random = new Random(13);
    const manifests = files('.json').map((bytes) => bytes.toString().replace(/,"check":.*$/s, '}'));
    for (let i = 0; i < ROUNDS; i++) {
      const text = mutated(Buffer.from(random.pick(manifests)), random).toString('latin1');
      const head = Buffer.from(text.replace(/\}$/, ''), 'latin1');
      const bytes = Buffer.concat([head, Buffer.from(`,"check":"${hex(treeHash(head))}"}\n`)]);
      const manifest = attempt(() => decodeManifest(bytes, 'p', 'f'));
      if (!manifest) continue;
      expect(manifest.id).toMatch(/^[0-9a-f]{16}$/);
      expect(Number.isSafeInteger(manifest.map.bytes) && manifest.map.bytes >= 0).toBe(true);
      expect(manifest.map.complete).toBe(manifest.map.depth === 0);
    }
  });

  it('exported checkpoints: taken as they were, or refused and nothing written', async () => {
    const { place: memory } = newPlace('mem');
    const { store, snapshots } = await history(memory, 21, 4);
    const id = [...snapshots.keys()].at(-1)!;
    const parts: Buffer[] = [];
    const stream = new Writable({
      write(chunk, _, done) {
        parts.push(Buffer.from(chunk));
        done();
      },
    });
    await store.exportTo(id, stream);
    const bytes = Buffer.concat(parts);
    const random = new Random(14);
    const target = await Store.open(newPlace('mem').place, { create: true });
    let refused = 0;
    for (let i = 0; i < 300; i++) {
      // Half of the changes go to the beginning, where the structure is.
      const head = random.below(2) === 0 ? 2000 : bytes.length;
      const changed = Buffer.concat([mutated(bytes.subarray(0, head), random), bytes.subarray(head)]);
      if (changed.equals(bytes)) continue;
      await expect(target.importFrom(Readable.from([changed]), 'stream')).rejects.toThrow(InputError);
      refused++;
    }
    expect(refused).toBeGreaterThan(250);
    expect(await target.list()).toEqual({ checkpoints: [], damaged: [] });
    expect(await target.importFrom(Readable.from([bytes]), 'stream')).toMatchObject({ known: false });
    await restore(target, id);
  });

  it('an exported checkpoint that promises more than it brings costs no memory', async () => {
    const target = await Store.open(newPlace('mem').place, { create: true });
    const head = Buffer.alloc(32);
    head.write('GCREXPRT');
    head.writeUInt32LE(1, 8);
    for (const [manifest, map] of [
      [1n << 62n, 1n],
      [16n << 20n, 1n << 30n],
    ] as const) {
      head.writeBigUInt64LE(manifest, 16);
      head.writeBigUInt64LE(map, 24);
      await expect(target.importFrom(Readable.from([head]), 'stream')).rejects.toThrow('GCR7016');
    }
  });
});
