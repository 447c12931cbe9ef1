/** Which texts of an image give a kernel its templates, by the devices that may run it: fatbins as nvcc makes them (fixtures/containers). */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildTemplatesFromImage } from '../../src/pipeline/index.js';
import { type LaunchRecord, ShadowExecutor } from '../../src/shadow/index.js';
import { PackedTemplates, packTemplates, type TemplateFile } from '../../src/templates/index.js';

const image = (name: string) => readFileSync(new URL(`../../fixtures/containers/bin/${name}`, import.meta.url));
const OUT = 0x10_0000n;

async function built(bytes: Buffer, devices: readonly number[]): Promise<TemplateFile> {
  return (await buildTemplatesFromImage(bytes, 'image', { devices })).product;
}

/** What a launch of a kernel of an image writes: elements of four bytes from `out`. */
async function written(name: string, devices: readonly number[], kernel = 'place') {
  const executor = new ShadowExecutor({ format: 'gcr-templates', version: 2, modules: [], kernels: [], missing: [] });
  executor.allocate(OUT, 1 << 16);
  executor.enter(executor.load(new PackedTemplates(packTemplates(await built(image(name), devices)))));
  const parameters = new Uint8Array(16);
  new DataView(parameters.buffer).setBigUint64(0, OUT, true);
  new DataView(parameters.buffer).setInt32(8, 40, true);
  const launch: LaunchRecord = { kernel, grid: [2, 1, 1], block: [32, 1, 1], parameters };
  const set = executor.launch(launch);
  const elements = set.ranges().map(({ from, to }) => [Number(from - OUT) / 4, Number(to - OUT) / 4]);
  return set.verdict === 'unknown' ? set.reasons[0]!.message : { verdict: set.verdict, elements };
}

const exactly = (element: number) => ({ verdict: 'exact', elements: [[element, element + 1]] });
const oneOf = (...elements: number[]) => ({
  verdict: 'bounded',
  elements: elements.map((element) => [element, element + 1]),
});
const without = (target: string) =>
  `kernel place has no template: machine code for ${target} without PTX of the same target`;

describe('a kernel whose texts differ by target', () => {
  it.each([
    // A text is compiled for its own target and those above.
    ['targets.texts.fatbin', [80], exactly(80)],
    ['targets.texts.fatbin', [86], exactly(80)],
    ['targets.texts.fatbin', [90], oneOf(80, 90)],
    ['targets.texts.fatbin', [120], oneOf(80, 90)],
    ['targets.texts.fatbin', [], oneOf(80, 90)],
    // Nothing in it runs there, so the device is another than we think.
    ['targets.texts.fatbin', [75], oneOf(80, 90)],
    // Machine code, and the texts that it was compiled from.
    ['targets.both.fatbin', [80], exactly(80)],
    ['targets.both.fatbin', [89], exactly(80)],
    ['targets.both.fatbin', [90], oneOf(80, 90)],
    ['targets.both.fatbin', [80, 90], oneOf(80, 90)],
    // Compiled for sm_90 from the text for compute_80, which is not there, or is.
    ['targets.cross.fatbin', [90], without('sm_90')],
    ['targets.cross.fatbin', [100], exactly(90)],
    ['targets.cross-known.fatbin', [90], exactly(80)],
    ['targets.cross-known.fatbin', [], exactly(80)],
    // sm_90a comes from compute_90a, whose text is another than compute_90's.
    ['targets.accelerated.fatbin', [90], without('sm_90a')],
    ['targets.accelerated.fatbin', [100], exactly(90)],
    ['targets.accelerated-known.fatbin', [90], oneOf(90, 900)],
    ['targets.accelerated-known.fatbin', [103], exactly(90)],
    // The device's own machine code goes first; where there is none, any of its major version may run.
    ['targets.older.fatbin', [86], exactly(86)],
    ['targets.older.fatbin', [80], without('sm_80')],
    ['targets.older.fatbin', [89], without('sm_80')],
    ['targets.older.fatbin', [90], exactly(86)],
    ['targets.older.fatbin', [80, 90], without('sm_80')],
    ['targets.older.fatbin', [], without('sm_80')],
    ['targets.family.fatbin', [103], without('sm_103f')],
  ] as const)('%s on devices %j', async (name, devices, expected) => {
    expect(await written(name, devices)).toEqual(expected);
  });

  it('is exact where all of them write the same', async () => {
    const expected = { verdict: 'exact', elements: [[0, 40]] };
    expect(await written('targets.texts.fatbin', [90], 'common')).toEqual(expected);
    const { kernels } = await built(image('targets.texts.fatbin'), [90]);
    expect(kernels.filter(({ name }) => name === 'common')).toHaveLength(1);
    expect(kernels.filter(({ name }) => name === 'place')).toHaveLength(2);
  });

  it('has no template where a part of the image cannot be read: it may be what runs', async () => {
    const bytes = Buffer.from(image('targets.both.fatbin'));
    // The first entry's compressed size, or its machine code's head.
    bytes.fill(0xff, 16 + 64 + 48, 16 + 64 + 80);
    const { kernels, missing } = await built(bytes, [90]);
    expect(kernels).toEqual([]);
    expect(missing.map(({ name, code }) => [name, code])).toContainEqual(['place', 'GCR1005']);
  });

  it('has no template where one of the texts is not understood', async () => {
    const text = (target: string, body: string) =>
      `.version 8.0\n.target ${target}\n.address_size 64\n.visible .entry place(.param .u64 p)\n{\n${body}\nret;\n}\n`;
    const { kernels, missing } = await built(Buffer.from(text('sm_80', '') + text('sm_90', '  st.global [%rd1')), [90]);
    expect(kernels).toEqual([]);
    expect(missing.map(({ name }) => name)).toEqual(['place']);
  });
});
