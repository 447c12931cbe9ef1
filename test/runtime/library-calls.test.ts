/** What launches inside of library calls dirty: outputs that are device memory and the library's own memory, and only where nothing else is known. */
import { beforeEach, describe, expect, it } from 'vitest';
import { buildTemplatesFromText } from '../../src/pipeline/index.js';
import { EventBridge } from '../../src/runtime/event-bridge.js';
import type { GraphNode, Place, RecordedEvent } from '../../src/runtime/events.js';
import { ModuleImages } from '../../src/runtime/module-images.js';
import { PackedTemplates, packTemplates } from '../../src/templates/index.js';

/** Writes one word at its parameter, or where memory says. */
const TEXT = (name: string, load: string) => `.version 8.0
.target sm_90
.address_size 64
.visible .entry ${name}(.param .u64 p) {
  .reg .b64 %rd<2>; .reg .b32 %r<2>;
  ld.param.u64 %rd0, [p]; ${load}
  mov.u32 %r0, 1; st.global.u32 [%rd0], %r0; ret;
}
`;
const KNOWN = TEXT('known', '');
const UNKNOWN = TEXT('unknown', 'ld.global.u64 %rd0, [%rd0];');
const TWICE =
  TEXT('twice', '') + TEXT('twice', '').replace('sm_90', 'sm_80').replace('u64 p)', 'u64 p, .param .u32 q)');

const C = 0x10_0000n;
const OTHER = 0x20_0000n;
const OWN = 0x30_0000n;
const at = (address: bigint, width: number, height = 1, pitch = width): Place => ({
  address,
  pitch,
  width,
  height,
  depth: 1,
  slicePitch: 0,
});

let bridge: EventBridge;
const tell = (name: RecordedEvent['name'], body: object, flags = 0) =>
  bridge.push({ name, flags, stream: 0, body } as unknown as RecordedEvent);
const call = (number: number, outputs: readonly Place[]) => ({
  call: number,
  description: { family: 1, outputs, name: 'product' },
});
const launch = (kernel: number, inCall: number) => ({
  function: kernel,
  grid: [1, 1, 1],
  block: [1, 1, 1],
  cluster: [0, 0, 0],
  sharedMemory: 0,
  call: inCall,
  parameters: new Uint8Array(new BigUint64Array([OTHER]).buffer),
});
const node = (name: GraphNode['name'], body: object) => ({ name, flags: 0, stream: 0, body });
const alloc = (allocation: number, address: bigint, flags = 0) =>
  tell('alloc', { allocation, address, size: 65_536, handle: 0, offset: 0, kind: 0, saveable: 1 }, flags);

/** Dirty ranges by origin. */
function dirty(mark: ReturnType<typeof bridge.dirty.mark>): Record<string, readonly (readonly [bigint, bigint])[]> {
  bridge.pump();
  const all = [...bridge.dirty.since(mark)].filter(([, ranges]) => ranges.length > 0);
  return Object.fromEntries(all.map(([origin, ranges]) => [origin, ranges.map(({ from, to }) => [from, to] as const)]));
}

beforeEach(async () => {
  const built = await buildTemplatesFromText(KNOWN + UNKNOWN + TWICE);
  const templates = new PackedTemplates(packTemplates(built.product));
  const builder = { templates: async () => templates, templatesOf: async () => templates };
  const user = { pid: 1, devices: [] };
  const images = new ModuleImages(
    builder,
    user,
    () => {},
    () => {},
  );
  images.image(1, { fd: 0, bytes: 0 }, () => {});
  await new Promise((resolve) => setImmediate(resolve));
  bridge = new EventBridge(images);
  tell('module', { module: 1 });
  for (const [index, name] of ['known', 'unknown', 'twice', 'machine'].entries())
    tell('function', { function: index, module: 1, parameterBytes: 8, layout: [{ offset: 0, size: 8 }], name });
  alloc(1, C);
  alloc(2, OTHER);
  bridge.pump();
});

const UNKNOWN_KERNELS = [
  ['places are in memory', 1],
  ['takes different parameters in different texts', 2],
  ['is machine code', 3],
] as const;

describe('a launch inside of a call', () => {
  for (const [why, kernel] of UNKNOWN_KERNELS) {
    it(`dirties the call's outputs when its kernel ${why}`, () => {
      const mark = bridge.dirty.mark();
      tell('call', call(1, [at(C, 256, 2, 1024)]));
      tell('launch', launch(kernel, 1));
      expect(dirty(mark)).toEqual({
        contract: [
          [C, C + 256n],
          [C + 1024n, C + 1280n],
        ],
      });
      expect(bridge.statistics.byVerdict).toMatchObject({ contract: 1, unknown: 0 });
    });

    it(`is unknown outside of it when its kernel ${why}`, () => {
      const mark = bridge.dirty.mark();
      tell('call', call(1, [at(C, 256)]));
      tell('launch', launch(kernel, 0));
      tell('launch', launch(kernel, 2));
      expect(Object.keys(dirty(mark))).toEqual(['unknown']);
      expect(bridge.state.kind).toBe('recording');
      expect(bridge.statistics.byVerdict).toMatchObject({ contract: 0, unknown: 2 });
    });
  }

  it('that has a template is answered by that', () => {
    const mark = bridge.dirty.mark();
    tell('call', call(1, [at(C, 256)]));
    tell('launch', launch(0, 1));
    expect(dirty(mark)).toEqual({ exact: [[OTHER, OTHER + 4n]] });
  });

  it('dirties what the last call of its number said', () => {
    const mark = bridge.dirty.mark();
    tell('call', call(1, [at(C, 256)]));
    tell('call', call(2, [at(C + 512n, 16)]));
    tell('call', call(1, [at(C + 1024n, 16)]));
    tell('launch', launch(3, 1));
    expect(dirty(mark)).toEqual({ contract: [[C + 1024n, C + 1040n]] });
  });

  it('dirties nothing for outputs in host memory', () => {
    const mark = bridge.dirty.mark();
    tell('call', call(1, [at(0x7fff_0000_0000n, 4), at(C, 4)]));
    tell('launch', launch(3, 1));
    expect(dirty(mark)).toEqual({ contract: [[C, C + 4n]] });
  });

  it('dirties what the library allocated for itself, until it is freed', () => {
    alloc(3, OWN, 1);
    alloc(4, OWN + 65_536n, 2);
    bridge.pump();
    expect([1, 3, 4].map((number) => bridge.allocations.get(number)!.label)).toEqual(['', 'cuBLAS', 'NCCL']);
    const mark = bridge.dirty.mark();
    tell('call', call(1, []));
    tell('launch', launch(3, 1));
    expect(dirty(mark)).toEqual({ contract: [[OWN, OWN + 65_536n]] });
    tell('free', { allocation: 3 });
    bridge.pump();
    const after = bridge.dirty.mark();
    tell('launch', launch(3, 1));
    expect(dirty(after)).toEqual({});
  });

  it('counts again after the memory was freed and allocated anew', () => {
    tell('call', call(1, [at(C, 16)]));
    tell('launch', launch(3, 1));
    tell('free', { allocation: 1 });
    alloc(5, C);
    bridge.pump();
    const mark = bridge.dirty.mark();
    tell('call', call(1, [at(C, 16)]));
    tell('launch', launch(3, 1));
    expect(dirty(mark)).toEqual({ contract: [[C, C + 16n]] });
  });
});

describe('a graph', () => {
  it('has calls before the launches that were made in them', () => {
    const nodes = [
      node('call', call(1, [at(C, 16)])),
      node('launch', launch(3, 1)),
      node('call', call(1, [at(C + 256n, 16)])),
      node('launch', launch(3, 1)),
    ];
    tell('graph', { exec: 9, count: nodes.length, nodes });
    const mark = bridge.dirty.mark();
    tell('graph-launch', { exec: 9 });
    expect(dirty(mark)).toEqual({
      contract: [
        [C, C + 16n],
        [C + 256n, C + 272n],
      ],
    });
  });

  it('is unknown for launches outside of calls, also after one', () => {
    const nodes = [node('call', call(1, [at(C, 16)])), node('launch', launch(3, 1)), node('launch', launch(3, 0))];
    tell('graph', { exec: 9, count: nodes.length, nodes });
    const mark = bridge.dirty.mark();
    tell('graph-launch', { exec: 9 });
    expect(Object.keys(dirty(mark))).toEqual(['unknown', 'contract']);
  });
});
