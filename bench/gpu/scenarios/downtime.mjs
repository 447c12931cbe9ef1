/**
 * How long a durable checkpoint stops a program that holds little memory and one that holds much, each with one percent written since the last increment: what of
 * that the driver, CRIU and the copy take. The store is on a tmpfs; writing it is not part of the stop.
 */
import { join } from 'node:path';
import { Apart, findCriu, pause, until } from '../apart.mjs';
import { median, row } from '../rows.mjs';
import { holder } from '../sizes.mjs';

/** MiB that are held. */
const SIZES = { quick: [8, 32], usual: [2048, 16_384] };
/** Between two steps of the program. An increment and the way to the stop take less. */
const SLEEP_MS = 400;
const MOST_GROWTH = 1.25;

const gib = (mib) => (mib < 1024 ? `${mib} MiB` : `${mib / 1024} GiB`);

/** The program without what would have it wait for lines. */
const standing = (mib) => [...holder(mib).filter((word) => word !== '--pace'), '--sleep', String(SLEEP_MS)];

async function measure(bench, criu, mib) {
  const { programs, log } = bench;
  const apart = new Apart(bench);
  const name = `holder-${mib}`;
  const found = { stop: [], criu: [], driver: [], copy: [], share: [] };
  const steps = () => apart.outputOf(name).split('\n').length;
  const nextStep = async () => {
    const before = steps();
    await until('a step', () => steps() > before, 5);
  };
  try {
    const pid = await apart.recorded(standing(mib), name, join(programs.memory, name));
    await until('its memory', () => apart.outputOf(name).includes('ready'));
    await apart.operate(pid, 'checkpoint');
    // One that is not counted: what it is copied to is not prepared.
    for (let round = -1; round < bench.rounds; round++) {
      await nextStep();
      await apart.operate(pid, 'checkpoint');
      await nextStep();
      const { heldMs, timings, host, image, manifest, totalBytes } = await apart.operate(pid, 'checkpoint', {
        durable: true,
        criu,
      });
      log(
        `${gib(mib)}: stopped ${(heldMs / 1000).toFixed(2)} s; ${JSON.stringify({ ...timings, ...host, image: image.bytes })}`,
      );
      if (round < 0) continue;
      const { lock = 0, checkpoint = 0, restore = 0, unlock = 0, copy } = timings;
      found.stop.push(heldMs / 1000);
      found.criu.push((host.park + host.dump + host.back) / 1000);
      found.driver.push((lock + checkpoint + restore + unlock) / 1000);
      found.copy.push(copy / 1000);
      found.share.push((100 * 65_536 * manifest.chunks.changed) / totalBytes);
    }
    await apart.end(pid);
    // Its supervisor ends with it.
    await until('its supervisor’s end', async () => !(await apart.supervised()));
  } catch (error) {
    for (const text of apart.said()) log(text);
    throw error;
  } finally {
    await apart.close();
    await pause(100);
  }
  return found;
}

export async function run(bench) {
  const { add } = bench;
  const criu = findCriu(bench);
  if (!criu) return bench.skip('no CRIU in PATH, and no --criu');
  const [little, much] = bench.quick ? SIZES.quick : SIZES.usual;
  const beside = await measure(bench, criu, little);
  const found = await measure(bench, criu, much);
  add(
    row({
      what: `durable checkpoint of a program that holds ${gib(much)}, ${median(found.share).toFixed(1)} % written since the last increment: stop`,
      unit: 's',
      ours: found.stop,
      reference: { name: `${gib(little)}, ${median(beside.share).toFixed(1)} % written`, samples: beside.stop },
      ratio: 'ours/reference',
      atMost: MOST_GROWTH,
    }),
  );
  for (const [what, part] of [
    ['… of it the driver, for its control state', 'driver'],
    ['… of it CRIU, for the process', 'criu'],
    ['… beside both, the copy of what changed', 'copy'],
  ])
    add(row({ what, unit: 's', ours: found[part], reference: { name: gib(little), samples: beside[part] } }));
}
