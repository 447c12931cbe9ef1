// The store beside dd and cp on the same disk: `node bench/store.mjs [--gigabytes 8] [--folder DIR] [--memory DIR]`
// DIR lies on the disk that is measured (the system's folder for temporary files unless told), --memory on a tmpfs. Content is
// incompressible and different in every chunk. Figures are in MB (1,000,000 bytes) a second, with data on disk (fsync) when writing.
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Store } from '../dist/checkpoint/index.js';
import { encodeManifest } from '../dist/checkpoint/manifest.js';
import { mapFd } from '../dist/native/index.js';

const MB = 1e6;
const CHUNK = 65_536;
const PIECE = 4 << 20;

/** Fills pieces with bytes that never come again: a random block, and a counter in every chunk of it. */
function content(seed) {
  const block = randomBytes(PIECE);
  // More than a session has in flight; what is measured is the store, not the making of content.
  const ring = Array.from({ length: 16 }, () => Buffer.from(block));
  let next = 0;
  return (_, from, to) => {
    const bytes = ring[next++ % ring.length].subarray(0, to - from);
    for (let at = 0; at < bytes.length; at += CHUNK) {
      bytes.writeDoubleLE(from + at, at);
      bytes.writeDoubleLE(seed, at + 8);
    }
    return bytes;
  };
}

async function timed(run) {
  const started = performance.now();
  await run();
  return (performance.now() - started) / 1000;
}

/** Pages of files leave the cache, so that reading reads. */
const dropCaches = (folder) =>
  spawnSync('sh', ['-c', `sync; find "${folder}" -type f -exec dd if={} iflag=nocache count=0 status=none \\;`]);

const peakMiB = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024;

async function write(place, bytes, parent, ranges, seed = 1) {
  const store = await Store.open({ directory: place }, { create: true });
  const session = await store.begin({ kind: parent ? 'increment' : 'full', parent: parent ?? null });
  await session.add(
    { id: 1n, address: 0x7f0000000000n, size: bytes, kind: 'device', label: '' },
    { ...(ranges && { ranges }), bytes: content(seed) },
  );
  const manifest = await session.commit();
  store.close();
  return manifest;
}

async function read(place, id) {
  const store = await Store.open({ directory: place });
  const plan = await store.restorePlan(id);
  let bytes = 0;
  for await (const piece of plan.pieces()) bytes += piece.bytes.length;
  plan.close();
  store.close();
  return bytes;
}

/** One measurement in a process of its own, so that its peak of memory is its own. */
function alone(command, ...args) {
  const text = execFileSync(process.execPath, [process.argv[1], '--only', JSON.stringify([command, ...args])], {
    encoding: 'utf8',
  });
  return JSON.parse(text);
}

const tasks = {
  async write(place, bytes) {
    let manifest;
    const seconds = await timed(async () => {
      manifest = await write(place, bytes);
    });
    return { seconds, id: manifest.id, peak: peakMiB() };
  },
  async read(place, id) {
    const seconds = await timed(() => read(place, id));
    return { seconds, peak: peakMiB() };
  },
  async increment(place, bytes, parent, changed, seed) {
    // Spread evenly: that is the costlier case.
    const chunks = Math.floor(changed / CHUNK);
    const stride = Math.floor(bytes / CHUNK / chunks);
    const ranges = Array.from({ length: chunks }, (_, i) => ({ from: i * stride, count: 1, origin: 'exact' }));
    let manifest;
    const seconds = await timed(async () => {
      manifest = await write(place, bytes, parent, ranges, seed);
    });
    return { seconds, id: manifest.id, map: manifest.map.bytes, stored: manifest.chunks.storedBytes, peak: peakMiB() };
  },
  async list(place) {
    const store = await Store.open({ directory: place });
    let count = 0;
    const seconds = await timed(async () => {
      count = (await store.list()).checkpoints.length;
    });
    store.close();
    return { seconds, count, peak: peakMiB() };
  },
};

function dd(...args) {
  const { stderr } = spawnSync('dd', [...args, 'bs=4M'], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  const [, bytes, seconds] = /^(\d+) bytes.*?, ([\d.e+-]+) s,/m.exec(stderr) ?? [];
  if (!bytes) throw new Error(`dd: ${stderr}`);
  return Number(bytes) / Number(seconds) / MB;
}

/** Two threads copying between memory: to warm buffers, or with a folder to new pages of files in it. */
async function memcpyRate(bytes, folder) {
  const flags = new Float64Array(new SharedArrayBuffer(16));
  const threads = [0, 1].map((index) => {
    const workerData = { bytes, flags, index, file: folder && join(folder, `copy${index}`) };
    return new Promise((done) => new Worker(new URL(import.meta.url), { workerData }).on('exit', done));
  });
  await Promise.all(threads);
  return (2 * bytes) / (Math.max(...flags) / 1000) / MB;
}

async function main() {
  const { values } = parseArgs({
    options: {
      gigabytes: { type: 'string', default: '8' },
      folder: { type: 'string', default: tmpdir() },
      memory: { type: 'string', default: '/dev/shm' },
      only: { type: 'string' },
    },
  });
  if (values.only) {
    const [command, ...args] = JSON.parse(values.only);
    console.log(JSON.stringify(await tasks[command](...args)));
    return;
  }
  const bytes = Math.round((Number(values.gigabytes) * 1e9) / PIECE) * PIECE;
  const rate = (seconds) => bytes / seconds / MB;
  const rows = [['what', 'MB/s', 'beside', 'peak MiB']];
  const row = (what, value, beside = '', peak = '') =>
    rows.push([what, Math.round(value).toString(), beside, peak && Math.round(peak).toString()]);
  const folder = mkdtempSync(join(values.folder, 'gcr-bench-'));
  const share = (value, other, name) => `${((100 * value) / other).toFixed(0)} % of ${name}`;
  try {
    const plain = join(folder, 'plain');
    const source = join(folder, 'source');
    // What dd and cp copy: not zeros, which some disks treat differently.
    const block = randomBytes(64 << 20);
    const file = openSync(source, 'w');
    for (let done = 0; done < bytes; done += block.length) {
      block.writeDoubleLE(done, 0);
      writeSync(file, block, 0, Math.min(block.length, bytes - done));
    }
    fsyncSync(file);
    closeSync(file);
    const count = `count=${bytes / PIECE}`;
    // In turns, the better of two rounds each: a shared disk is not equally fast at all times.
    const place = join(folder, 'store');
    const best = {};
    const keep = (name, value, peak) => {
      if (!(best[name]?.value > value)) best[name] = { value, peak: Math.max(peak ?? 0, best[name]?.peak ?? 0) };
    };
    for (let round = 0; round < 2; round++) {
      keep('write dd', dd('if=/dev/zero', `of=${plain}`, 'oflag=direct', 'conv=fsync', count));
      rmSync(plain);
      const written = alone('write', place, bytes);
      keep('write', rate(written.seconds), written.peak);
      dropCaches(folder);
      keep('read dd', dd(`if=${source}`, 'of=/dev/null', 'iflag=direct', count));
      const restored = alone('read', place, written.id);
      keep('read', rate(restored.seconds), restored.peak);
      rmSync(place, { recursive: true });
    }
    dropCaches(folder);
    const cp = rate(await timed(() => execFileSync('sh', ['-c', `cp "${source}" "${plain}" && sync "${plain}"`])));
    rmSync(plain);
    rmSync(source);
    row('dd, direct writes', best['write dd'].value);
    row('dd, direct reads', best['read dd'].value);
    row('cp and sync, reads and writes', cp);
    row('store: write', best.write.value, share(best.write.value, best['write dd'].value, 'dd'), best.write.peak);
    row('store: read and check', best.read.value, share(best.read.value, best['read dd'].value, 'dd'), best.read.peak);

    const { bavail, bsize } = statfsSync(values.memory);
    const fits = Math.min(bytes, Math.floor((bavail * bsize) / 2.5 / PIECE) * PIECE);
    const memory = mkdtempSync(join(values.memory, 'gcr-bench-'));
    try {
      const warm = await memcpyRate(4e9);
      row('memcpy between warm buffers, two threads', warm);
      const copy = await memcpyRate(Math.floor(fits / 2 / PIECE) * PIECE, memory);
      row('memcpy to new pages of the tmpfs, two threads', copy);
      const halves = [1, 2].map(
        (i) =>
          `dd if=/dev/zero of="${join(memory, `plain${i}`)}" bs=4M status=none ${`count=${Math.floor(fits / 2 / PIECE)}`}`,
      );
      const tmpfs = fits / (await timed(() => execFileSync('sh', ['-c', `${halves.join(' & ')} & wait`]))) / MB;
      row('two dd at once, new files on tmpfs', tmpfs);
      for (const i of [1, 2]) rmSync(join(memory, `plain${i}`));
      const there = alone('write', join(memory, 'store'), fits);
      const written = fits / there.seconds / MB;
      const beside = `${share(written, tmpfs, 'two dd')}, ${share(written, copy, 'memcpy to new pages')}`;
      row(`tmpfs, ${(fits / 1e9).toFixed(1)} GB: write`, written, beside, there.peak);
      const back = alone('read', join(memory, 'store'), there.id);
      row(
        'tmpfs: read and check',
        fits / back.seconds / MB,
        share(fits / back.seconds / MB, warm, 'memcpy between warm buffers'),
        back.peak,
      );
    } finally {
      rmSync(memory, { recursive: true });
    }

    const half = Math.round(bytes / 2 / PIECE) * PIECE;
    const base = alone('write', place, half);
    let parent = base.id;
    const increments = [
      [`changed of ${(half / 1e9).toFixed(1)} GB`, 'seconds', 'MB/s', 'stored bytes', 'map bytes', 'peak MiB'],
    ];
    for (const [i, megabytes] of [1, 10, 100, 1000].entries()) {
      const made = alone('increment', place, half, parent, Math.min(megabytes * MB, half / 2), i + 2);
      parent = made.id;
      increments.push([
        `${megabytes} MB`,
        made.seconds.toFixed(3),
        (made.stored / made.seconds / MB).toFixed(0),
        String(made.stored),
        String(made.map),
        made.peak.toFixed(0),
      ]);
    }
    rmSync(place, { recursive: true });

    const listed = await manyCheckpoints(join(folder, 'many'), 10_000);
    print(rows);
    print(increments);
    console.log(
      `listing ${listed.count} checkpoints: ${listed.seconds.toFixed(2)} s, peak ${listed.peak.toFixed(0)} MiB`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A store of many small checkpoints. A list reads manifests alone, so one checkpoint's stands for all. */
async function manyCheckpoints(place, count) {
  const manifest = await write(place, 100_000);
  for (let i = 1; i < count; i++) {
    const id = randomBytes(8).toString('hex');
    writeFileSync(join(place, 'manifests', `${id}.json`), encodeManifest({ ...manifest, id, sequence: i + 1 }));
  }
  return alone('list', place);
}

function print(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  for (const row of rows)
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i]))
        .join('  ')
        .trimEnd(),
    );
  console.log();
}

if (!isMainThread) {
  // One of the threads that copy memory, to compare a tmpfs with.
  const { bytes, flags, file, index } = workerData;
  const [from, to] = [Buffer.alloc(64 << 20, 1), Buffer.alloc(64 << 20, 2)];
  const fd = file && openSync(file, 'w+');
  if (file) ftruncateSync(fd, bytes);
  const started = performance.now();
  for (let done = 0; done < bytes; done += from.length) {
    const size = Math.min(from.length, bytes - done);
    if (!file) from.copy(to);
    else {
      const pages = mapFd(fd, done, size);
      from.copy(new Uint8Array(pages.buffer), 0, 0, size);
      pages.unmap();
    }
  }
  flags[index] = performance.now() - started;
  if (file) rmSync(file);
} else await main();
