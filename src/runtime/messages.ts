/**
 * The messages between recorder and supervisor (docs/formats/runtime-protocol.md): one table, from which both directions are read and
 * written. What does not fit the table is a {@link WireError}, and ends the connection.
 */
import {
  address,
  type ContentOf,
  fixedBytes,
  type Layout,
  list,
  reserved,
  rest,
  struct,
  text,
  u32,
  u64,
  WireError,
  WireReader,
  WireWriter,
} from './codec.js';

export const PROTOCOL_VERSION = 5;
export const MAX_MESSAGE = 65_536;
export const MAX_DESCRIPTORS = 64;
const HEAD_BYTES = 16;

/** `fds`: how many descriptors come along; a function when the content says. */
const MESSAGES = {
  hello: {
    type: 1,
    fds: 2,
    body: struct({
      version: u32,
      pid: u32,
      startTime: address,
      ringBytes: u64,
      driver: u32,
      greeting: u32,
      devices: list(struct({ uuid: fixedBytes(16), memory: u64, name: text, architecture: u32 }), 32),
    }),
  },
  image: { type: 2, fds: 1, body: struct({ module: u64, size: u64, kind: u32, reserved }) },
  handle: { type: 3, fds: 1, body: struct({ handle: u64, size: u64, device: u32, reserved }) },
  'handle-gone': { type: 4, fds: 0, body: struct({ handle: u64 }) },
  stopped: { type: 5, fds: 0, body: struct({ reason: text }) },
  reply: { type: 6, fds: 0, body: struct({ status: u32, message: text, result: rest }) },
  vacant: { type: 7, fds: 0, body: struct({ handle: u64, size: u64, device: u32, reserved }) },
  'known-image': { type: 8, fds: 0, body: struct({ module: u64, image: fixedBytes(32) }) },
  kept: { type: 9, fds: 0, body: struct({ text }) },
  'in-use': { type: 10, fds: 0, body: struct({ device: u32, reserved }) },
  welcome: { type: 16, fds: 0, body: struct({ version: u32, flags: u32 }) },
  hold: { type: 17, fds: 0, body: struct({ deadlineMs: u32 }) },
  release: { type: 18, fds: 0, body: struct({}) },
  detach: { type: 19, fds: 0, body: struct({}) },
  attach: {
    type: 20,
    fds: (body: { readonly handles: readonly number[] }) => body.handles.length,
    body: {
      read: (from) => {
        const count = from.u32();
        const more = from.u32() !== 0;
        if (count * 8 !== from.left) throw new WireError(`${count} handles do not fit`);
        return { more, handles: Array.from({ length: count }, () => u64.read(from)) };
      },
      write: (to, { more, handles }) => {
        to.u32(handles.length);
        to.u32(more ? 1 : 0);
        for (const handle of handles) u64.write(to, handle);
      },
    } as Layout<{ readonly more: boolean; readonly handles: readonly number[] }>,
  },
  ping: { type: 21, fds: 0, body: struct({}) },
  read: { type: 22, fds: 1, body: struct({ address, size: u64 }) },
  write: { type: 23, fds: 1, body: struct({ address, size: u64 }) },
  guard: { type: 25, fds: 0, body: struct({ on: u32 }) },
  locate: { type: 24, fds: 0, body: struct({ module: u64, names: list(text, 4) }) },
  keep: { type: 26, fds: 0, body: struct({ flags: u32, text }) },
  'image-name': { type: 27, fds: 0, body: struct({ module: u64, image: fixedBytes(32) }) },
  park: { type: 28, fds: 0, body: struct({}) },
  quiet: { type: 29, fds: 0, body: struct({}) },
} as const;

export type MessageName = keyof typeof MESSAGES;
export type MessageBody<N extends MessageName> = ContentOf<(typeof MESSAGES)[N]['body']>;
export type Message = {
  readonly [N in MessageName]: { readonly name: N; readonly request: bigint; readonly body: MessageBody<N> };
}[MessageName];

/** What a process is to the supervisor that it greets, by number: new, or one whose supervisor has gone and that went on or has no memory. */
export const GREETINGS = ['begins', 'runs', 'detached'] as const;
export type Greeting = (typeof GREETINGS)[number];
/** In `welcome`: nothing is to be told again. */
export const WELCOME_KNOWN = 1;
/** In `keep`: what the memory held is in a store. */
export const KEEP_SAVED = 1;

/** What the recorder may send. */
const FROM_RECORDER: ReadonlySet<MessageName> = new Set([
  'hello',
  'image',
  'handle',
  'handle-gone',
  'stopped',
  'reply',
  'vacant',
  'known-image',
  'kept',
  'in-use',
]);

const BY_TYPE = new Map(Object.entries(MESSAGES).map(([name, { type }]) => [type as number, name as MessageName]));

/**
 * One message.
 *
 * @param fds descriptors that came with it
 * @throws WireError
 */
export function decodeMessage(bytes: Uint8Array, fds: number): Message {
  const from = new WireReader(bytes);
  const length = from.u32();
  const type = from.u16();
  const count = from.u16();
  const request = from.u64();
  if (length !== bytes.length || length > MAX_MESSAGE)
    throw new WireError(`says ${length} bytes and has ${bytes.length}`);
  const name = BY_TYPE.get(type);
  if (name === undefined) throw new WireError(`message type ${type} is not known`);
  const entry = MESSAGES[name];
  const body = (entry.body as Layout<unknown>).read(from);
  if (from.left !== 0) throw new WireError(`${name} has ${from.left} bytes too many`);
  const expected = typeof entry.fds === 'number' ? entry.fds : entry.fds(body as { handles: number[] });
  if (count !== fds || fds !== expected) throw new WireError(`${name} came with ${fds} descriptors`);
  return { name, request, body } as Message;
}

/** As {@link decodeMessage}, of what the recorder sends. */
export function decodeFromRecorder(bytes: Uint8Array, fds: number): Message {
  const message = decodeMessage(bytes, fds);
  if (!FROM_RECORDER.has(message.name)) throw new WireError(`${message.name} is not for the supervisor`);
  if (message.name === 'reply' ? message.request === 0n : message.request !== 0n)
    throw new WireError(`${message.name} has request number ${message.request}`);
  return message;
}

export function encodeMessage<N extends MessageName>(name: N, body: MessageBody<N>, request = 0n): Buffer {
  const { type, fds, body: layout } = MESSAGES[name];
  const to = new WireWriter();
  (layout as Layout<unknown>).write(to, body);
  const content = to.finish();
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(HEAD_BYTES + content.length, 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(typeof fds === 'number' ? fds : fds(body as { handles: number[] }), 6);
  head.writeBigUInt64LE(request, 8);
  return Buffer.concat([head, content]);
}
