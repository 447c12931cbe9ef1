/**
 * Live increments of a program that decodes: how long the device stands still, as the program's own events on the device tell, and what is stored
 * against what changed, as a comparison of all memory by the program itself tells.
 */
import { row } from '../rows.mjs';
import { hostMemory, llama } from '../sizes.mjs';

const MEGA = 1e6;

export async function run(bench) {
  const { programs, log, add } = bench;
  if (!bench.python) return bench.skip('no PyTorch with a GPU');
  const program = await programs.recorded(llama(bench), { arguments: hostMemory(bench.quick ? 512 : 4096) });
  await program.ask('prepare decode');
  await program.ask('decode 20');
  await program.toMemory('checkpoint');
  const found = { stop: [], quiet: [], held: [], dirty: [], stored: [], changed: [], share: [] };
  const longestOf = ([, , , , longest, median]) => Number(longest) - Number(median);
  for (let round = -1; round < bench.rounds; round++) {
    program.write('decode 60');
    const quiet = (await program.line()).split(' ');
    program.write('decode 60');
    await new Promise((resolve) => setTimeout(resolve, 300 * Number(quiet[3])));
    const result = await program.toMemory('checkpoint');
    const stop = longestOf((await program.line()).split(' '));
    log(
      `stands still ${stop.toFixed(1)} ms (${longestOf(quiet).toFixed(1)} without), held ${result.heldMs.toFixed(1)} ms; ${JSON.stringify(result.timings)}`,
    );
    if (round < 0) continue;
    found.stop.push(stop);
    found.quiet.push(longestOf(quiet));
    found.held.push(result.heldMs);
  }
  for (let round = 0; round < bench.rounds; round++) {
    await program.toMemory('checkpoint');
    await program.ask('snapshot');
    await program.ask('decode 1');
    const { manifest } = await program.toMemory('checkpoint');
    const [, changed, total] = await program.ask('changed');
    found.stored.push((manifest.chunks.changed * 65_536) / MEGA);
    found.changed.push(Number(changed) / MEGA);
    found.share.push((100 * Number(changed)) / Number(total));
    log(`${changed} bytes of ${total} changed, ${manifest.chunks.changed * 65_536} stored`);
  }
  await program.end();
  const note = `the supervisor held it ${Math.max(...found.held).toFixed(1)} ms at most; the longest step without a checkpoint is longer than the median by ${Math.max(...found.quiet).toFixed(1)} ms at most`;
  add(
    row({
      what: 'live increment of a decoding program: the device stands still',
      unit: 'ms',
      ours: found.stop,
      atMost: 25,
      note,
    }),
  );
  add(row({ what: '… memory that a step changes', unit: '%', ours: found.share }));
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
}
