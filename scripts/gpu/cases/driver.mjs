// driver.mjs PID STEP…: steps of the driver's own checkpoint of a process: lock, checkpoint, restore, unlock; the milliseconds of each.
import { checkpointProcess } from '../../../dist/native/index.js';

const [pid, ...steps] = process.argv.slice(2);
for (const step of steps) {
  const start = performance.now();
  await checkpointProcess('libcuda.so.1', Number(pid), step, step === 'lock' ? 10_000 : 0);
  console.log(step, Math.round(performance.now() - start));
}
