/**
 * Live increments of a program that decodes: how long the device stands still, and what is stored against what changed, as a comparison of all memory by
 * the program itself tells. Time stamps of the device's, one behind each of the model's smallest modules, tell how long nothing was computed: a kernel
 * ends and another one starts between any two of them, so the longest time between two neighbours is at least as long as the device stood
 * still, and longer by what it computed between them (some kernels of a layer). Every second row of steps has no checkpoint.
 */
import { median, row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';

const MEGA = 1e6;
const CHUNK = 65_536;
/**
 * Steps of a row. All rows and what comes before them stay under the 512 positions of keys and values that a chunk holds, so that each increment
 * has as much to copy as one step changes, and not twice as much because a chunk's end was passed.
 */
const STEPS = 36;

export async function run(bench) {
  const { programs, log, add } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const program = await programs.recorded(llama(bench), { arguments: hostMemory(bench.quick ? 512 : 4096) });
  await program.ask('prepare decode');
  await program.ask('decode 10');
  await program.toMemory('checkpoint');
  const found = { stop: [], quiet: [], held: [], live: [], stored: [], changed: [], share: [] };
  const stamped = `stamped decode ${STEPS}`;
  for (let round = -1; round < bench.rounds; round++) {
    program.write(stamped);
    const [, , , seconds, quiet, usual] = (await program.line()).split(' ').map(Number);
    program.write(stamped);
    await new Promise((resolve) => setTimeout(resolve, 500 * seconds));
    const { heldMs, manifest, totalBytes, timings } = await program.toMemory('checkpoint');
    const stop = Number((await program.line()).split(' ')[4]);
    log(
      `stands still ${stop.toFixed(1)} ms (${quiet.toFixed(1)} without, ${usual.toFixed(2)} as a rule), held ${heldMs.toFixed(1)} ms; ${JSON.stringify(timings)}`,
    );
    if (round < 0) continue;
    found.stop.push(stop);
    found.quiet.push(quiet);
    found.held.push(heldMs);
    found.live.push((100 * CHUNK * manifest.chunks.changed) / totalBytes);
  }
  for (let round = 0; round < bench.rounds; round++) {
    await program.toMemory('checkpoint');
    await program.ask('snapshot');
    await program.ask('decode 1');
    const { manifest } = await program.toMemory('checkpoint');
    const [, changed, total] = await program.ask('changed');
    found.stored.push((manifest.chunks.changed * CHUNK) / MEGA);
    found.changed.push(Number(changed) / MEGA);
    found.share.push((100 * Number(changed)) / Number(total));
    log(`${changed} bytes of ${total} changed, ${manifest.chunks.changed * CHUNK} stored`);
  }
  add(
    row({
      what: 'live increment of a decoding program: the device stands still',
      unit: 'ms',
      ours: found.stop,
      atMost: 25,
      note: `${Math.max(...found.stop).toFixed(1)} ms at most; the supervisor held it for ${median(found.held).toFixed(1)} ms`,
    }),
  );
  add(row({ what: '… the longest time between two kernels without a checkpoint', unit: 'ms', ours: found.quiet }));
  add(row({ what: '… memory changed since the one before', unit: '%', ours: found.live, within: [4, 6] }));
  add(row({ what: '… memory that one step changes', unit: '%', ours: found.share }));
  add(
    row({
      what: '… bytes stored',
      unit: 'MB',
      ours: found.stored,
      reference: { name: 'changed, in chunks of 64 KiB', samples: found.changed },
      ratio: 'ours/reference',
      atMost: 1.05,
    }),
  );
  await program.end();
}
