/** Tensor maps from the recorder's event to what launches through them dirty. */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { EventBridge } from '../../src/runtime/event-bridge.js';
import { decodeEvents, encodeEvent, type RecordedEvent } from '../../src/runtime/events.js';
import { ModuleImages } from '../../src/runtime/module-images.js';
import { PackedTemplates, packTemplates } from '../../src/templates/index.js';

const TEXT = readFileSync(new URL('../../fixtures/ptx/ideas/tensor-store-2d.ptx', import.meta.url), 'latin1');
const TENSOR = 0x10_0000n;
const OTHER = 0x20_0000n;
const ELSEWHERE = 0x30_0000n;
/** Where the driver has a parameter of this alignment, whose block begins at 0x210. */
const DRIVERS_OFFSET = 0x30;
const content = (fill: number) => new Uint8Array(128).fill(fill);

let bridge: EventBridge;
/** By way of the bytes in the ring. */
const tell = (name: RecordedEvent['name'], body: object, flags = 0) =>
  decodeEvents(encodeEvent({ name, flags, stream: 0, body } as unknown as RecordedEvent), (event) =>
    bridge.push(event),
  );

const encoded = {
  address: TENSOR,
  kind: 0,
  dataType: 7,
  rank: 2,
  interleave: 0,
  swizzle: 0,
  sizes: [40n, 20n, 0n, 0n, 0n],
  strides: [160n, 0n, 0n, 0n],
  box: [16, 8, 0, 0, 0],
  steps: [1, 1, 0, 0, 0],
  map: content(1),
  from: content(0),
};
const alloc = (allocation: number, address: bigint) =>
  tell('alloc', { allocation, address, size: 65_536, handle: 0, offset: 0, kind: 0, saveable: 1 });

function launch(map: Uint8Array) {
  const mark = bridge.dirty.mark();
  const parameters = new Uint8Array(DRIVERS_OFFSET + 128);
  parameters.set(map, DRIVERS_OFFSET);
  const one = [1, 1, 1];
  tell('launch', { function: 1, grid: one, block: one, cluster: [0, 0, 0], sharedMemory: 0, call: 0, parameters });
  bridge.pump();
  const all = [...bridge.dirty.since(mark)].filter(([, ranges]) => ranges.length > 0);
  return all.map(([origin, ranges]) => [origin, ranges.length, ranges[0]!.from, ranges.at(-1)!.to]);
}

/** Eight rows of 64 bytes, 160 apart. */
const tileAt = (address: bigint) => [['exact', 8, address, address + 7n * 160n + 64n]];
const anything = [['unknown', 1, 0n, 1n << 64n]];

beforeEach(async () => {
  const templates = new PackedTemplates(packTemplates((await buildTemplatesFromText(TEXT)).product));
  const builder = { templates: async () => templates, templatesOf: async () => templates };
  const images = new ModuleImages(
    builder,
    { pid: 1, devices: [] },
    () => {},
    () => {},
  );
  images.image(1, { fd: 0, bytes: 0 }, () => {});
  await new Promise((resolve) => setImmediate(resolve));
  bridge = new EventBridge(images);
  tell('module', { module: 1 });
  const layout = [{ offset: DRIVERS_OFFSET, size: 128 }];
  tell('function', { function: 1, module: 1, parameterBytes: DRIVERS_OFFSET + 128, layout, name: 'k_tensor_2d' });
  for (const [index, address] of [TENSOR, OTHER, ELSEWHERE].entries()) alloc(index + 1, address);
  bridge.pump();
});

describe('a launch with a tensor map in its parameters', () => {
  it('writes where the map says, which was told before', () => {
    tell('tensor-map', encoded);
    expect(launch(content(1))).toEqual(tileAt(TENSOR));
    // Encoded anew for other memory, while the first is still used.
    tell('tensor-map', { ...encoded, address: OTHER, map: content(2) });
    expect(launch(content(2))).toEqual(tileAt(OTHER));
    expect(launch(content(1))).toEqual(tileAt(TENSOR));
  });

  it('may write anything when nobody told of the map', () => {
    expect(launch(content(1))).toEqual(anything);
    tell('tensor-map', encoded);
    const changed = content(1);
    changed[127] = 3;
    expect(launch(changed)).toEqual(anything);
    expect(launch(content(1))).toEqual(tileAt(TENSOR));
  });

  it('follows a map to its new address, if it was known at the old one', () => {
    const moved = { ...encoded, kind: 3, address: ELSEWHERE, map: content(4), rank: 0 };
    tell('tensor-map', { ...moved, from: content(1) });
    expect(launch(content(4))).toEqual(anything);
    tell('tensor-map', encoded);
    tell('tensor-map', { ...moved, map: content(5), from: content(1) });
    expect(launch(content(5))).toEqual(tileAt(ELSEWHERE));
  });

  it.each([
    ['a layout that is not followed', { interleave: 1 }, [['allocation', 1, TENSOR, TENSOR + 65_536n]]],
    ['elements of less than a byte', { dataType: 13 }, [['allocation', 1, TENSOR, TENSOR + 65_536n]]],
    [
      'sizes that no coordinate has',
      { sizes: [1n << 60n, 20n, 0n, 0n, 0n] },
      [['allocation', 1, TENSOR, TENSOR + 65_536n]],
    ],
    ['another rank than the instruction’s', { rank: 1 }, anything],
    ['another kind than the instruction’s', { kind: 1 }, anything],
    ['a kind that is not known', { kind: 7 }, anything],
    ['no rank', { rank: 0 }, anything],
  ])('is bounded by what is certain for %s', (_what, change, expected) => {
    tell('tensor-map', { ...encoded, ...change });
    expect(launch(content(1))).toEqual(expected);
  });
});
