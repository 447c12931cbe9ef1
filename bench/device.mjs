// What the data path costs as the supervisor calls it, on a real GPU (nvidia-smi must be there): node bench/device.mjs. Medians of 21 calls, in
// milliseconds as JavaScript sees them.
import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { createHostArena, openDevice, SLOT_BYTES } from '../dist/native/index.js';

const MIB = 2 ** 20;
const uuid = Buffer.from(
  execFileSync('nvidia-smi', ['--query-gpu=uuid', '--format=csv,noheader'], { encoding: 'utf8' })
    .split('\n')[0]
    .replace('GPU-', '')
    .replaceAll('-', ''),
  'hex',
);

async function time(run, times = 21) {
  const taken = [];
  for (let i = 0; i < times; i++) {
    const begin = performance.now();
    await run();
    taken.push(performance.now() - begin);
  }
  return taken.sort((a, b) => a - b)[Math.floor(times / 2)];
}
const result = {};
const tell = (name, ms, more = {}) => {
  result[name] = { ms: Number(ms.toFixed(3)), ...more };
};

let device;
tell(
  'open_device',
  await time(async () => {
    device = await openDevice('libcuda.so.1', uuid);
  }, 1),
);
result.names_on_device = device.namesOnDevice;

// 3 GiB in allocations of 4 MiB.
const made = [];
tell(
  'create_768_of_4_mib',
  await time(async () => {
    made.push(...(await Promise.all(Array.from({ length: 768 }, () => device.createMemory(4 * MIB)))));
  }, 1),
);
const imported = [];
tell(
  'import_768',
  await time(async () => {
    imported.push(...(await Promise.all(made.map(({ fd }) => device.importMemory(fd, 4 * MIB)))));
  }, 1),
);
tell(
  'close_768',
  await time(async () => {
    for (const memory of imported) memory.close();
  }, 1),
);
for (const { fd } of made) closeSync(fd);
let arena;
tell(
  'arena_of_3_gib',
  await time(async () => {
    arena = await createHostArena(3072 * MIB, { device });
  }, 1),
  { pinned: arena.pinned },
);

const all = made.map(({ memory }) => ({ memory, offset: 0, bytes: 4 * MIB }));
tell('names_of_3_gib', await time(() => device.names(all)));
tell('names_of_one_chunk', await time(() => device.names([{ memory: made[0].memory, offset: 0, bytes: SLOT_BYTES }])));
tell(
  'save_of_one_chunk',
  await time(() => device.save([{ memory: made[0].memory, offset: 0, bytes: SLOT_BYTES }], arena, Uint32Array.of(5))),
);
const whole = Uint32Array.from({ length: 3072 * 16 }, (_, i) => i);
for (const [name, run] of [
  ['save_of_3_gib', () => device.save(all, arena, whole)],
  ['load_of_3_gib', () => device.load(all, arena, whole)],
]) {
  const ms = await time(run, 9);
  tell(name, ms, { rate: Number(((3072 * MIB) / ms / 1e6).toFixed(2)) });
}
// What a step of decoding changes: 137 MB in single chunks.
const some = [];
for (let chunk = 0; some.length < 2090; chunk += 23)
  some.push({ memory: made[Math.floor(chunk / 64)].memory, offset: (chunk % 64) * SLOT_BYTES, bytes: SLOT_BYTES });
const slots = whole.subarray(0, some.length);
for (const [name, run] of [
  ['save_of_137_mb', () => device.save(some, arena, slots)],
  ['load_of_137_mb', () => device.load(some, arena, slots)],
]) {
  const ms = await time(run);
  tell(name, ms, { rate: Number(((some.length * SLOT_BYTES) / ms / 1e6).toFixed(2)) });
}
tell(
  'small_save_beside_a_large_one',
  await time(async () => {
    const large = device.save(all, arena, whole);
    const begin = performance.now();
    await device.save([some[0]], arena, Uint32Array.of(5));
    result.small_beside_large_ms = Number((performance.now() - begin).toFixed(3));
    await large;
  }, 3),
);
console.log(JSON.stringify(result, null, 1));
arena.close();
