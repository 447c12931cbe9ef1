/**
 * All memory to host memory and back, the program suspended: against the driver's own checkpoint (scenario `driver`) and against pinned copies.
 * The program must end as one that was not disturbed.
 */
import { spawnSync } from 'node:child_process';
import { copyRates } from '../copies.mjs';
import { row } from '../rows.mjs';
import { holder, hostMemory } from '../sizes.mjs';

/** MiB of the device that the driver counts as a process's. */
function deviceMib(pid) {
  const query = ['--query-compute-apps=pid,used_memory', '--format=csv,noheader,nounits'];
  const { stdout } = spawnSync('nvidia-smi', query, { encoding: 'utf8' });
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(', ').map(Number));
  return lines.filter(([of]) => of === pid).reduce((sum, [, mib]) => sum + mib, 0);
}

const seconds = (values) => values.map((value) => value / 1000);

export async function run(bench) {
  const { programs, log, reference, heldMib, add } = bench;
  const rates = copyRates(bench);
  const command = holder(heldMib);
  const [plain, program] = await Promise.all([
    programs.plain(command),
    programs.recorded(command, { arguments: hostMemory(heldMib) }),
  ]);
  const found = { save: [], saveRate: [], resume: [], loadRate: [], mib: [] };
  const runningMib = bench.simulated ? heldMib : deviceMib(program.pid);
  const bytes = heldMib * 2 ** 20;
  // The first round makes the host memory, and is not counted.
  for (let round = -1; round < bench.rounds; round++) {
    await Promise.all([plain.ask(''), program.ask('')]);
    const saved = await program.toMemory('suspend');
    const mib = bench.simulated ? 0 : deviceMib(program.pid);
    const resumed = await program.operate('resume');
    await program.drop();
    log(
      `suspended in ${(saved.took / 1000).toFixed(2)} s, resumed in ${(resumed.took / 1000).toFixed(2)} s; ${JSON.stringify(saved.timings)} ${JSON.stringify(resumed.timings)}`,
    );
    if (round < 0) continue;
    found.save.push(saved.took);
    found.saveRate.push(bytes / saved.timings.copy / 1e6);
    found.resume.push(resumed.took);
    found.loadRate.push(bytes / resumed.timings.load / 1e6);
    found.mib.push(mib);
  }
  const digests = [await plain.end(), await program.end()];
  const size = `${(heldMib / 1024).toFixed(heldMib < 1024 ? 3 : 0)} GiB`;
  const own = (way) =>
    reference.full
      ? { reference: { name: 'driver’s own', samples: reference.full[way] }, ratio: 'reference/ours' }
      : {};
  const judged = (target) => (reference.full ? { atLeast: target } : {});
  add(
    row({
      what: `full checkpoint of ${size} to host memory, program suspended`,
      unit: 's',
      ours: seconds(found.save),
      ...own('save'),
      ...judged(8),
    }),
  );
  add(
    row({
      what: '… its copies',
      unit: 'GB/s',
      ours: found.saveRate,
      reference: { name: 'pinned copy', samples: rates.out },
      ratio: 'ours/reference',
      atLeast: 0.9,
    }),
  );
  add(
    row({
      what: `restore of ${size} from host memory`,
      unit: 's',
      ours: seconds(found.resume),
      ...own('restore'),
      ...judged(4),
    }),
  );
  add(
    row({
      what: '… its copies',
      unit: 'GB/s',
      ours: found.loadRate,
      reference: { name: 'pinned copy', samples: rates.in },
      ratio: 'ours/reference',
      atLeast: 0.9,
    }),
  );
  add(
    row({
      what: '… all of it, control state included',
      unit: 'GB/s',
      ours: found.resume.map((took) => bytes / took / 1e6),
      reference: { name: 'pinned copy', samples: rates.in },
      ratio: 'ours/reference',
      atLeast: 0.9,
    }),
  );
  add(
    row({
      what: 'device memory of the suspended program',
      unit: 'MiB',
      ours: found.mib,
      atMost: 0,
      note: `${runningMib} MiB while it runs, as the driver counts`,
    }),
  );
  add(
    row({
      what: 'suspended programs that end with another result',
      unit: 'programs',
      ours: [digests[0] === digests[1] ? 0 : 1],
      atMost: 0,
    }),
  );
}
