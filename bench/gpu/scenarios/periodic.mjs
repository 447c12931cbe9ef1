/**
 * Periodic checkpoints that take the control state, too: much memory held, a hundredth of it written in every step. The stop is held against what
 * the driver takes for the control state alone (scenario `driver`), the bytes against what the program wrote.
 */
import { row } from '../rows.mjs';
import { holder, hostMemory } from '../sizes.mjs';

const CHUNK = 65_536;
const PERMILLE = 10;

export async function run(bench) {
  const { programs, log, reference, heldMib, add } = bench;
  const command = holder(heldMib, PERMILLE);
  const program = await programs.recorded(command, { arguments: hostMemory(1.1 * heldMib) });
  await program.ask('');
  log('the first one, full');
  await program.toMemory('checkpoint', { control: true });
  const found = { stop: [], copied: [], written: [] };
  const buffers = Number(command[command.indexOf('--buffers') + 1]);
  const words = Math.floor(heldMib / buffers) << 18;
  const count = Math.max(1, Math.floor((words * PERMILLE) / 1000));
  for (let round = 0; round < bench.rounds; round++) {
    const step = Number((await program.ask(''))[1]) - 1;
    const result = await program.toMemory('checkpoint', { control: true });
    const first = (step * count) % (words - count + 1);
    // Whole chunks of each buffer that the step wrote in; and the counter of steps.
    const chunks = Math.ceil((4 * (first + count)) / CHUNK) - Math.floor((4 * first) / CHUNK);
    found.stop.push(result.heldMs / 1000);
    found.copied.push(result.manifest.chunks.changed);
    found.written.push(buffers * chunks + 1);
    log(
      `held ${result.heldMs.toFixed(0)} ms, ${result.manifest.chunks.changed} chunks; ${JSON.stringify(result.timings)}`,
    );
  }
  await program.end();
  const control = reference.control?.save.map((save, at) => save + reference.control.restore[at]);
  const beside = control
    ? { reference: { name: 'driver, control alone', samples: control }, ratio: 'ours/reference', atMost: 1.25 }
    : {};
  const size = `${(heldMib / 1024).toFixed(heldMib < 1024 ? 3 : 0)} GiB`;
  add(
    row({
      what: `stop of a periodic checkpoint with control state, ${size} held, 1 % written`,
      unit: 's',
      ours: found.stop,
      ...beside,
    }),
  );
  add(
    row({
      what: '… chunks copied',
      unit: 'chunks',
      ours: found.copied,
      reference: { name: 'chunks written', samples: found.written },
      ratio: 'ours/reference',
      atMost: 1,
    }),
  );
}
