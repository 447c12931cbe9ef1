/** Messages, events and control requests: what is written is read again, and nothing that comes in does more than be refused. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { playClients, playRecorder } from '../../scripts/runtime/protocol-fuzz.mjs';
import { Store } from '../../src/checkpoint/index.js';
import { InputError } from '../../src/diagnostics/index.js';
import { buildTemplatesFromImage } from '../../src/pipeline/index.js';
import { checkpoint } from '../../src/runtime/checkpoint.js';
import { WireError } from '../../src/runtime/codec.js';
import { LineCutter, MAX_LINE, parseRequest } from '../../src/runtime/control-protocol.js';
import { ControlServer } from '../../src/runtime/control-server.js';
import { RuntimeError } from '../../src/runtime/errors.js';
import { decodeEvents, encodeEvent, type RecordedEvent } from '../../src/runtime/events.js';
import { HostImages } from '../../src/runtime/host-images.js';
import { HostMemory } from '../../src/runtime/host-memory.js';
import { decodeFromRecorder, decodeMessage, encodeMessage, type MessageName } from '../../src/runtime/messages.js';
import { SupervisedProcess } from '../../src/runtime/process.js';
import { RecorderLink } from '../../src/runtime/recorder-link.js';
import { StagingPool } from '../../src/runtime/staging.js';
import { PackedTemplates, packTemplates } from '../../src/templates/index.js';

const u32 = fc.nat({ max: 0xffffffff });
const id = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const address = fc.bigInt({ min: 0n, max: 2n ** 48n });
const bytes = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const text = fc.string({ maxLength: 40, unit: 'grapheme' });

const MESSAGES: { readonly [N in MessageName]?: fc.Arbitrary<object> } = {
  hello: fc.record({
    version: u32,
    pid: u32,
    startTime: address,
    ringBytes: id,
    driver: u32,
    greeting: fc.nat(2),
    devices: fc.array(fc.record({ uuid: bytes(16), memory: id, name: text, architecture: u32 }), { maxLength: 3 }),
  }),
  image: fc.record({ module: id, size: id, kind: u32 }),
  handle: fc.record({ handle: id, size: id, device: u32 }),
  'handle-gone': fc.record({ handle: id }),
  stopped: fc.record({ reason: text }),
  vacant: fc.record({ handle: id, size: id, device: u32 }),
  'known-image': fc.record({ module: id, image: bytes(32) }),
  kept: fc.record({ text }),
  'in-use': fc.record({ device: u32 }),
  keep: fc.record({ flags: u32, text }),
  'image-name': fc.record({ module: id, image: bytes(32) }),
  reply: fc.record({ status: u32, message: text, result: fc.uint8Array({ maxLength: 20 }) }),
  attach: fc.record({ more: fc.boolean(), handles: fc.array(id, { maxLength: 64 }) }),
  read: fc.record({ address, size: id }),
};
const FDS: Readonly<Record<string, number>> = { hello: 2, image: 1, handle: 1, read: 1 };

const place = fc.record({
  address,
  pitch: fc.nat(1 << 20),
  width: fc.nat(1 << 20),
  height: fc.nat(100),
  depth: fc.nat(100),
  slicePitch: fc.nat(1 << 20),
});
const triple = fc.tuple(u32, u32, u32);
const head = { flags: fc.nat(3), stream: fc.nat(100) };
const event = <N extends RecordedEvent['name']>(name: N, body: fc.Arbitrary<object>) =>
  fc.record({ name: fc.constant(name), ...head, body }) as fc.Arbitrary<RecordedEvent>;
const nodes = [
  event(
    'launch',
    fc.record({
      function: id,
      grid: triple,
      block: triple,
      cluster: triple,
      sharedMemory: u32,
      call: u32,
      parameters: fc.uint8Array({ maxLength: 100 }),
    }),
  ),
  event('copy', fc.record({ target: place, source: address })),
  event(
    'call',
    fc.record({
      call: u32,
      description: fc.record({ family: u32, outputs: fc.array(place, { maxLength: 5 }), name: text }),
    }),
  ),
  event('wrote', fc.record({ address, size: address, reason: text })),
];
const EVENT = fc.oneof(
  event('module', fc.record({ module: id })),
  event(
    'function',
    fc.record({
      function: id,
      module: id,
      parameterBytes: u32,
      layout: fc.array(fc.record({ offset: u32, size: u32 }), { maxLength: 5 }),
      name: text,
    }),
  ),
  event('variable', fc.record({ module: id, address, size: fc.nat(1 << 20), allocation: id, name: text })),
  event('free', fc.record({ allocation: id })),
  event('ordered', fc.constant({})),
  ...nodes,
  fc
    .array(fc.oneof(...nodes), { maxLength: 5 })
    .chain((list) =>
      event('graph', fc.record({ exec: id, count: fc.constant(list.length), nodes: fc.constant(list) })),
    ),
);

function decoded(input: Uint8Array): RecordedEvent[] {
  const events: RecordedEvent[] = [];
  decodeEvents(input, (one) => events.push(one));
  return events;
}

describe('messages', () => {
  for (const [name, body] of Object.entries(MESSAGES))
    it(`${name} is read as it was written`, () => {
      fc.assert(
        fc.property(body, fc.bigInt({ min: 1n, max: 1n << 60n }), (content, request) => {
          const packet = encodeMessage(name as MessageName, content as never, request);
          const fds = name === 'attach' ? (content as { handles: number[] }).handles.length : (FDS[name] ?? 0);
          expect(decodeMessage(packet, fds)).toEqual({ name, request, body: content });
          expect(() => decodeMessage(packet, fds + 1)).toThrow(WireError);
          if (packet.length > 16) expect(() => decodeMessage(packet.subarray(0, -1), fds)).toThrow(WireError);
        }),
        { numRuns: 50 },
      );
    });

  it('are refused when they are not for the supervisor, or answer nothing', () => {
    expect(() => decodeFromRecorder(encodeMessage('hold', { deadlineMs: 1 }, 1n), 0)).toThrow(/not for the supervisor/);
    expect(() => decodeFromRecorder(encodeMessage('stopped', { reason: '' }, 3n), 0)).toThrow(/request number/);
    expect(() =>
      decodeFromRecorder(encodeMessage('reply', { status: 0, message: '', result: new Uint8Array(0) }), 0),
    ).toThrow(/request number/);
  });

  it('of any bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(23), (input, type) => {
        if (input.length >= 16) {
          new DataView(input.buffer).setUint32(0, input.length, true);
          new DataView(input.buffer).setUint16(4, type, true);
        }
        try {
          decodeMessage(input, input[6] ?? 0);
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('events', () => {
  it('are read as they were written, one behind the other', () => {
    fc.assert(
      fc.property(fc.array(EVENT, { maxLength: 6 }), (events) => {
        const valid = events.filter((one) => one.name !== 'wrote' || one.body.address + one.body.size < 1n << 64n);
        expect(decoded(Buffer.concat(valid.map((one) => encodeEvent(one as never))))).toEqual(valid);
      }),
    );
  });

  it('of any bytes are read or refused, and what came before stays', () => {
    fc.assert(
      fc.property(EVENT, fc.nat(400), fc.nat(255), (one, at, value) => {
        const first = encodeEvent({ name: 'free', flags: 0, stream: 0, body: { allocation: 1 } });
        const changed = encodeEvent(one as never);
        changed[at % changed.length] = value;
        const events: RecordedEvent[] = [];
        try {
          decodeEvents(Buffer.concat([first, changed]), (own) => events.push(own));
        } catch (error) {
          expect(error).toBeInstanceOf(WireError);
        }
        expect(events[0]).toMatchObject({ name: 'free' });
      }),
      { numRuns: 3000 },
    );
  });

  it('are refused when sizes do not hold', () => {
    const alloc = { allocation: 1, handle: 0, offset: 0, kind: 0, saveable: 1 };
    const make = (body: object) => encodeEvent({ name: 'alloc', flags: 0, stream: 0, body } as never);
    expect(decoded(make({ ...alloc, address: 4096n, size: 1 }))).toHaveLength(1);
    expect(() => decoded(make({ ...alloc, address: 4096n, size: 0 }))).toThrow(WireError);
    expect(() => decoded(make({ ...alloc, address: (1n << 64n) - 1n, size: 2 }))).toThrow(WireError);
    expect(() => decoded(make({ ...alloc, address: 4096n, size: 1, kind: 99 }))).toThrow(WireError);
    const at = { address: (1n << 64n) - 4096n, pitch: 4096, width: 4096, height: 2 };
    const fill = (value: number, element: number, more = {}) =>
      encodeEvent({
        name: 'memset',
        flags: 0,
        stream: 0,
        body: { ...at, height: 1, value, element, ...more },
      } as never);
    expect(decoded(fill(255, 1))).toHaveLength(1);
    expect(() => decoded(fill(256, 1))).toThrow(WireError);
    expect(() => decoded(fill(1, 3))).toThrow(WireError);
    expect(() => decoded(fill(1, 1, { height: 2 }))).toThrow(WireError);
  });
});

describe('control requests', () => {
  it('of any text are read or refused', () => {
    const line = fc.oneof(
      fc.string({ maxLength: 100 }),
      fc.json(),
      fc
        .record(
          {
            version: fc.constantFrom(1, 2, '1'),
            number: fc.oneof(id, fc.string()),
            operation: fc.constantFrom('status', 'checkpoint', 'restore', 'constructor', '__proto__'),
            full: fc.oneof(fc.boolean(), fc.nat()),
            id: fc.string(),
          },
          { requiredKeys: [] },
        )
        .map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(line, (text) => {
        try {
          const { request } = parseRequest(text);
          expect(['status', 'checkpoint', 'restore']).toContain(request.operation);
        } catch (error) {
          expect(error).toBeInstanceOf(RuntimeError);
        }
      }),
      { numRuns: 2000 },
    );
    expect(parseRequest('{"version":1,"number":3,"operation":"checkpoint","full":true}')).toEqual({
      number: 3,
      request: { operation: 'checkpoint', full: true },
    });
    expect(() => parseRequest('{"version":1,"number":3,"operation":"restore"}')).toThrow(/needs id/);
  });

  it('come in lines of bounded length', () => {
    const lines: string[] = [];
    const cutter = new LineCutter();
    expect(cutter.push('a\nb', (line) => lines.push(line))).toBe(true);
    expect(cutter.push('c\n\n', (line) => lines.push(line))).toBe(true);
    expect(lines).toEqual(['a', 'bc', '']);
    expect(cutter.push('x'.repeat(MAX_LINE + 1), () => {})).toBe(false);
  });
});

// A sample of scripts/protocol-fuzz.mjs.
describe('whoever lies', () => {
  const library = {
    ...{ Store, InputError, buildTemplatesFromImage, PackedTemplates, packTemplates },
    ...{ checkpoint, ControlServer, encodeEvent, encodeMessage },
  };
  const folder = mkdtempSync(join(tmpdir(), 'gcr-liars-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('as a recorder harms nobody', async () => {
    for (let seed = 1; seed <= 60; seed++)
      expect(
        await playRecorder({ ...library, SupervisedProcess, RecorderLink, StagingPool, HostImages, HostMemory }, seed),
      ).toEqual([]);
  });

  it('to a control socket harms nobody', async () => {
    for (let seed = 1; seed <= 40; seed++) expect(await playClients(library, folder, seed)).toEqual([]);
  });
});
