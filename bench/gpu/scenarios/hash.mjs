/** How fast all memory is named on the device, through the library as the supervisor does it. */
import { execFileSync } from 'node:child_process';
import { closeSync } from 'node:fs';
import { openDevice } from '../../../dist/native/index.js';
import { row } from '../rows.mjs';

export async function run(bench) {
  if (bench.simulated) return bench.skip('the simulated device has its names computed by the processor');
  const uuid = execFileSync('nvidia-smi', ['--query-gpu=uuid', '--format=csv,noheader', '--id=0'], {
    encoding: 'utf8',
  });
  const device = await openDevice(
    bench.driver,
    Buffer.from(uuid.trim().replace(/^GPU-/, '').replaceAll('-', ''), 'hex'),
  );
  const bytes = bench.heldMib * 2 ** 20;
  const { memory, fd } = await device.createMemory(bytes);
  closeSync(fd);
  const rates = [];
  for (let round = -1; round < bench.rounds; round++) {
    const start = performance.now();
    await device.names([{ memory, offset: 0, bytes }]);
    const rate = bytes / (performance.now() - start) / 1e9;
    if (round >= 0) rates.push(rate);
  }
  memory.close();
  bench.add(
    row({ what: `names of all chunks of ${bench.heldMib / 1024} GiB`, unit: 'TB/s', ours: rates, atLeast: 3.5 }),
  );
}
