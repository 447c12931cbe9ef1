/** Full checkpoints to a disk and back, beside dd with direct writes and reads of as much there. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { row } from '../rows.mjs';
import { holder } from '../sizes.mjs';

const BLOCK_MIB = 16;

function dd(...operands) {
  const { status, stderr } = spawnSync('dd', [`bs=${BLOCK_MIB}M`, ...operands], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`dd: ${stderr}`);
}

/** GB/s of something that moves so many bytes. */
async function rate(bytes, run) {
  const start = performance.now();
  await run();
  return bytes / (performance.now() - start) / 1e6;
}

export async function run(bench) {
  const { programs, log, add } = bench;
  const mib = bench.quick ? 16 : 3072;
  const bytes = mib * 2 ** 20;
  const folder = mkdtempSync(join(bench.folder, 'gcr-disk-'));
  // Random content out of memory, so that nothing but the disk limits dd.
  const source = join(programs.memory, 'content');
  const file = join(folder, 'dd');
  const found = { ddOut: [], ddIn: [], out: [], in: [] };
  const drop = () =>
    spawnSync('sh', ['-c', `sync; find "${folder}" -type f -exec dd if={} iflag=nocache count=0 status=none \\;`]);
  try {
    dd('if=/dev/urandom', `of=${source}`, `count=${mib / BLOCK_MIB}`);
    // Every step writes all memory, so that nothing is in the store already.
    const program = await programs.recorded(holder(mib, 1000), { store: join(folder, 'store') });
    for (let round = 0; round < bench.rounds; round++) {
      found.ddOut.push(await rate(bytes, async () => dd(`if=${source}`, `of=${file}`, 'oflag=direct', 'conv=fsync')));
      drop();
      found.ddIn.push(await rate(bytes, async () => dd(`if=${file}`, 'of=/dev/null', 'iflag=direct')));
      rmSync(file);
      await program.ask('');
      let manifest;
      found.out.push(
        await rate(bytes, async () => ({ manifest } = await program.operate('checkpoint', { full: true }))),
      );
      await program.ask('');
      drop();
      found.in.push(await rate(bytes, () => program.operate('restore', { id: manifest.id })));
      log(['ddOut', 'out', 'ddIn', 'in'].map((name) => `${name} ${found[name].at(-1).toFixed(2)} GB/s`).join(', '));
    }
  } finally {
    await programs.close();
    rmSync(folder, { recursive: true, force: true });
  }
  const size = `${(mib / 1024).toFixed(mib < 1024 ? 3 : 0)} GiB`;
  const beside = (name, samples) => ({ reference: { name, samples }, ratio: 'ours/reference', atLeast: 0.8 });
  add(
    row({
      what: `full checkpoint of ${size} to disk, committed`,
      unit: 'GB/s',
      ours: found.out,
      ...beside('dd, direct writes', found.ddOut),
    }),
  );
  add(
    row({
      what: `restore of ${size} from disk`,
      unit: 'GB/s',
      ours: found.in,
      ...beside('dd, direct reads', found.ddIn),
    }),
  );
}
