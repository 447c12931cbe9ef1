#!/usr/bin/env node
/**
 * How long the files of a durable checkpoint's process take to be digested: when they are written (made durable beside it) and when they are checked,
 * before the process is made again: `node bench/process-image.mjs [--gigabytes 3] [--folder DIR]`. Runs on the built `dist`, in DIR (the system's folder for
 * temporary files unless told), with files that are in the page cache. Each figure is the median of five; MB are 1,000,000 bytes.
 *
 * Beside it what reading the files one after the other in one thread takes, which is how images were checked before their files had pieces. The largest file
 * is most of the image, as CRIU writes it.
 */
import { createHash } from 'node:crypto';
import { closeSync, createReadStream, fsyncSync, mkdtempSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { checkImage, ImageWriter } from '../dist/checkpoint/index.js';

const ROUNDS = 5;
const LARGEST = 0.9;
const SMALL_FILES = 100;

const { values } = parseArgs({ options: { gigabytes: { type: 'string', default: '3' }, folder: { type: 'string' } } });
const bytes = Number(values.gigabytes) * 1e9;

function fill(path, size) {
  const block = Buffer.alloc(8 << 20, Math.random().toString());
  const fd = openSync(path, 'w');
  for (let at = 0; at < size; ) {
    block.writeDoubleLE(at, 0);
    at += writeSync(fd, block, 0, Math.min(block.length, size - at));
  }
  // So that what is measured is not how much of it the disk has already.
  fsyncSync(fd);
  closeSync(fd);
}

async function timed(what, run) {
  const times = [];
  const before = process.cpuUsage();
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    await run();
    times.push((performance.now() - start) / 1e3);
  }
  const { user, system } = process.cpuUsage(before);
  const median = times.sort((a, b) => a - b)[ROUNDS >> 1];
  const rate = `${(bytes / 1e6 / median).toFixed(0)} MB/s`.padStart(11);
  const own = ((user + system) / 1e6 / ROUNDS).toFixed(2).padStart(7);
  console.log(`${what.padEnd(34)} ${median.toFixed(2).padStart(7)} s ${rate} ${own} s of processors`);
}

const store = mkdtempSync(join(values.folder ?? tmpdir(), 'gcr-bench-image-'));
try {
  const writer = await ImageWriter.begin(store);
  fill(join(writer.path, 'pages-1.img'), Math.round(bytes * LARGEST));
  for (let i = 0; i < SMALL_FILES; i++)
    fill(join(writer.path, `core-${i}.img`), Math.round((bytes * (1 - LARGEST)) / SMALL_FILES));
  let image;
  console.log(`${values.gigabytes} GB in ${SMALL_FILES + 1} files, ${availableParallelism()} processors`);
  await timed('written: digests, and durable', async () => {
    if (image) renameSync(join(store, 'images', image.folder), writer.path);
    image = await writer.finish();
  });
  await timed('checked', async () => {
    if ((await checkImage(store, image, true)).length > 0) throw new Error('it is damaged');
  });
  await timed('one after the other, in one thread', async () => {
    for (const { name } of image.files) {
      const hash = createHash('sha256');
      const stream = createReadStream(join(store, 'images', image.folder, name), { highWaterMark: 1 << 20 });
      for await (const piece of stream) hash.update(piece);
      hash.digest();
    }
  });
} finally {
  rmSync(store, { recursive: true, force: true });
}
