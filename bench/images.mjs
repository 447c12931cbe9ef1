#!/usr/bin/env node
/**
 * How long a supervisor's own thread is away from everything else while it is given a large module image, what processor time that
 * thread takes, and how long the image's templates take: `node bench/images.mjs`. Runs on the built `dist`; a minute or two, 5 GB of memory.
 * Absences count what others do on the processor, too.
 *
 * The images: CUB sorts, scans and reductions as nvcc compiles them (bench/input.mjs), several times in one text; and a fatbin of 1 GB of
 * their machine code with the text beside it. What is kept between runs is measured by asking a second builder.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { TemplateBuilder } from '../dist/runtime/module-images.js';
import { benchmarkInput, withFolder } from './input.mjs';

const COPIES = 10;
const CODE_BYTES = 1 << 30;

const files = (folder) => ({ text: join(folder, 'large.ptx'), code: join(folder, 'large.fatbin') });

if (process.argv[2] === 'make') make(process.argv[3]);
else
  await withFolder(async (folder) => {
    // In a process of its own: what that leaves in memory is no business of the thread that is measured.
    const { status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), 'make', folder], {
      stdio: 'inherit',
    });
    process.exitCode = status;
    if (status !== 0) return;
    const { text, code } = files(folder);
    console.log('image                               size   kernels   longest absence   own time   templates after');
    for (const [what, path] of [
      ['text', text],
      ['machine code and text', code],
    ]) {
      const cache = join(folder, `cache of ${what}`);
      await measure(what, path, cache);
      await measure(`${what}, kept`, path, cache);
    }
  });

function make(folder) {
  const input = benchmarkInput(undefined, folder);
  if (!input) {
    console.error('nvcc is not installed');
    process.exitCode = 64;
    return;
  }
  const { text, code } = files(folder);
  writeFileSync(text, Array.from({ length: COPIES }, (_, i) => `${input.text}\n// copy ${i}\n`).join(''), 'latin1');
  writeFileSync(code, fatbin(input.text, machineCode(input.text, folder)));
}

async function measure(what, path, cache) {
  const builder = new TemplateBuilder(cache, { find: async () => undefined }, (message) => console.error(message));
  const fd = openSync(path, 'r');
  const bytes = statSync(path).size;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  // The builder keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  await new Promise((resolve) => setTimeout(resolve, 100));
  delay.enable();
  const own = ownTime();
  const start = performance.now();
  const templates = await builder.templates({ fd, bytes }, { pid: process.pid, devices: [90] }, () => {});
  const seconds = (performance.now() - start) / 1e3;
  const used = ownTime() - own;
  // The delay is seen by the turn after it.
  await new Promise((resolve) => setTimeout(resolve, 20));
  delay.disable();
  clearInterval(alive);
  closeSync(fd);
  builder.close();
  console.log(
    [
      what.padEnd(30),
      `${(bytes / 1e6).toFixed(0)} MB`.padStart(9),
      String(templates.size).padStart(9),
      `${(delay.max / 1e6).toFixed(1)} ms`.padStart(17),
      `${used.toFixed(0)} ms`.padStart(10),
      `${seconds.toFixed(1)} s`.padStart(17),
    ].join(' '),
  );
}

/** Processor time of this thread, in milliseconds. */
function ownTime() {
  const [nanoseconds] = readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ');
  return Number(nanoseconds) / 1e6;
}

/** The text's machine code for sm_90. */
function machineCode(text, folder) {
  const source = join(folder, 'code.ptx');
  const target = join(folder, 'code.cubin');
  writeFileSync(source, text, 'latin1');
  const { status, stderr } = spawnSync('nvcc', ['-arch=sm_90', '-cubin', source, '-o', target]);
  if (status !== 0) throw new Error(String(stderr));
  return readFileSync(target);
}

/** A text and machine code, as often as it takes (docs/formats/fatbin.md). */
function fatbin(text, cubin) {
  const entry = (kind, content) => {
    const padded = Math.ceil(content.length / 8) * 8;
    const bytes = Buffer.alloc(64 + padded);
    bytes.writeUInt16LE(kind, 0);
    bytes.writeUInt32LE(64, 4);
    bytes.writeBigUInt64LE(BigInt(padded), 8);
    bytes.writeUInt32LE(90, 28);
    content.copy(bytes, 64);
    return bytes;
  };
  const code = entry(2, cubin);
  const entries = [entry(1, Buffer.from(text, 'latin1'))];
  for (let size = 0; size < CODE_BYTES; size += code.length) entries.push(code);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(0xba55ed50, 0);
  head.writeUInt16LE(1, 4);
  head.writeUInt16LE(16, 6);
  head.writeBigUInt64LE(BigInt(entries.reduce((sum, { length }) => sum + length, 0)), 8);
  return Buffer.concat([head, ...entries]);
}
