/**
 * The events of the ring (docs/formats/runtime-protocol.md): one table of types, from which events are read and written. Sizes and
 * ranges are checked here, so that what follows may compute with them; what does not fit is a {@link WireError}, and the recording
 * counts as stopped from there on.
 */
import {
  address,
  type ContentOf,
  countedBytes,
  fixedBytes,
  type Layout,
  list,
  paddedList,
  reserved,
  struct,
  text,
  times,
  triple,
  u32,
  u64,
  WireError,
  WireReader,
  WireWriter,
} from './codec.js';

const HEAD_BYTES = 16;
/** Events are padded to this, and what is inside may be padded to it once more. */
const MAX_PADDING = 32;
const ADDRESS_SPACE = 1n << 64n;

/** Rows of `width` bytes, `pitch` apart, `height` of them a slice; slices `slicePitch` apart. */
const place = struct({ address, pitch: u64, width: u64, height: u64, depth: u64, slicePitch: u64 });

const launchHead = struct({
  function: u64,
  grid: triple,
  block: triple,
  cluster: triple,
  sharedMemory: u32,
  parameterBytes: u32,
  call: u32,
});
/** `call`: number of the call that the launch was made in, 0 for none. */
type LaunchBody = Omit<ContentOf<typeof launchHead>, 'parameterBytes'> & { readonly parameters: Uint8Array };
const launchBody: Layout<LaunchBody> = {
  read: (from) => {
    const { parameterBytes, ...head } = launchHead.read(from);
    return { ...head, parameters: from.take(parameterBytes) };
  },
  write: (to, { parameters, ...head }) => {
    launchHead.write(to, { ...head, parameterBytes: parameters.length });
    to.put(parameters);
  },
};

const callDescription = struct({ family: u32, outputs: paddedList(place, 48), name: text });
/** What a library call may write; the same object for the same bytes, so that it is known again at the cost of a look-up. */
export type CallDescription = ContentOf<typeof callDescription>;
const MAX_DESCRIPTIONS = 10_000;
const descriptions = new Map<string, CallDescription>();
interface CallBody {
  readonly call: number;
  readonly description: CallDescription;
}
const callBody: Layout<CallBody> = {
  read: (from) => {
    const call = from.u32();
    const bytes = from.take(from.left);
    const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
    let description = descriptions.get(key);
    if (!description) {
      const reader = new WireReader(bytes);
      description = callDescription.read(reader);
      if (reader.left >= MAX_PADDING) throw new WireError(`call has ${reader.left} bytes too many`);
      for (const output of description.outputs) checkPlace(output);
      if (descriptions.size >= MAX_DESCRIPTIONS) descriptions.clear();
      descriptions.set(key, description);
    }
    return { call, description };
  },
  write: (to, { call, description }) => {
    to.u32(call);
    callDescription.write(to, description);
  },
};

const EVENTS = {
  filler: { type: 0, body: struct({}) },
  module: { type: 1, body: struct({ module: u64 }) },
  'module-gone': { type: 2, body: struct({ module: u64 }) },
  function: {
    type: 3,
    body: struct({
      function: u64,
      module: u64,
      parameterBytes: u32,
      layout: list(struct({ offset: u32, size: u32 }), 8),
      name: text,
    }),
  },
  variable: { type: 4, body: struct({ module: u64, address, size: u64, allocation: u64, name: text }) },
  alloc: {
    type: 5,
    body: struct({ allocation: u64, address, size: u64, handle: u64, offset: u64, kind: u32, saveable: u32 }),
  },
  free: { type: 6, body: struct({ allocation: u64 }) },
  launch: { type: 7, body: launchBody },
  memset: { type: 8, body: struct({ address, pitch: u64, width: u64, height: u64, value: u32, element: u32 }) },
  'copy-in': { type: 9, body: struct({ target: place, content: countedBytes }) },
  copy: { type: 10, body: struct({ target: place, source: address }) },
  wrote: { type: 11, body: struct({ address, size: address, reason: text }) },
  graph: {
    type: 12,
    body: struct({
      exec: u64,
      count: u32,
      reserved,
      nodes: { read: readNodes, write: writeNodes } as Layout<readonly GraphNode[]>,
    }),
  },
  'graph-launch': { type: 13, body: struct({ exec: u64 }) },
  'graph-gone': { type: 14, body: struct({ exec: u64 }) },
  ordered: { type: 15, body: struct({}) },
  stopped: { type: 16, body: struct({ reason: text }) },
  wait: { type: 17, body: struct({ stream: u64 }) },
  'tensor-map': {
    type: 18,
    body: struct({
      ...{ address, kind: u32, dataType: u32, rank: u32, interleave: u32, swizzle: u32, reserved },
      ...{ sizes: times(5, address), strides: times(4, address), box: times(5, u32), steps: times(5, u32) },
      ...{ map: fixedBytes(128), from: fixedBytes(128) },
    }),
  },
  call: { type: 19, body: callBody },
  shared: { type: 20, body: struct({ reason: text }) },
} as const;

export type EventName = Exclude<keyof typeof EVENTS, 'filler' | 'graph'> | 'graph';
type BodyOf<N extends keyof typeof EVENTS> = N extends 'graph'
  ? { readonly exec: number; readonly count: number; readonly nodes: readonly GraphNode[] }
  : ContentOf<(typeof EVENTS)[N]['body']>;
interface EventOf<N extends EventName> {
  readonly name: N;
  readonly flags: number;
  readonly stream: number;
  readonly body: BodyOf<N>;
}
export type RecordedEvent = { readonly [N in EventName]: EventOf<N> }[EventName];
/** What a graph may hold. */
export type GraphNode = { readonly [N in NodeName]: EventOf<N> }[NodeName];
type NodeName = 'launch' | 'memset' | 'copy-in' | 'copy' | 'wrote' | 'call';
export type LaunchEvent = EventOf<'launch'>;
export type CallEvent = EventOf<'call'>;
/** Where copies and fills write. */
export type Place = ContentOf<typeof place>;

export const LAUNCH_INCOMPLETE = 2;
export const COPY_SCATTERED = 1;
export const VARIABLE_OF_SEVERAL = 1;
export const ORDERED_ONE = 1;
export const STOPPED_BLIND = 1;

/** Kinds of tensor maps, by number; `moved`: another one with a new address. */
export const TENSOR_MAP_KINDS = ['tiled', 'im2col', 'im2col', 'moved'] as const;

/** Kinds of allocations, by number. */
/** Documented libraries by the number that calls and their own allocations have; 0 is the program. */
export const LIBRARY_FAMILIES = ['', 'cuBLAS', 'NCCL'] as const;
export const ALLOCATION_KINDS = ['device', 'variable', 'managed', 'imported', 'pool', 'mapped', 'array'] as const;

const BY_TYPE = new Map(
  Object.entries(EVENTS).map(([name, { type }]) => [type as number, name as keyof typeof EVENTS]),
);
const NODES: ReadonlySet<string> = new Set(['launch', 'memset', 'copy-in', 'copy', 'wrote', 'call']);

/** The end of a place, as a number of bytes that cannot wrap. */
export function extentOf({ pitch, width, height, depth, slicePitch }: Place): bigint {
  if (width === 0 || height === 0 || depth === 0) return 0n;
  return BigInt(slicePitch) * BigInt(depth - 1) + BigInt(pitch) * BigInt(height - 1) + BigInt(width);
}

function checkPlace(at: Place): void {
  if (at.address + extentOf(at) > ADDRESS_SPACE) throw new WireError('a copy ends outside of all addresses');
}

/** Checks what layouts alone do not say. */
function check(event: RecordedEvent): void {
  switch (event.name) {
    case 'alloc': {
      const { address: from, size, kind } = event.body;
      if (kind >= ALLOCATION_KINDS.length) throw new WireError(`allocation of kind ${kind}`);
      // An array has no address, so it has no size that would mean anything.
      if (ALLOCATION_KINDS[kind] === 'array') return;
      if (size < 1 || from + BigInt(size) > ADDRESS_SPACE) throw new WireError(`allocation of ${size} bytes`);
      return;
    }
    case 'variable':
      if (event.body.address + BigInt(event.body.size) > ADDRESS_SPACE) throw new WireError('variable of no place');
      return;
    case 'memset': {
      const { value, element, ...at } = event.body;
      checkPlace({ ...at, depth: 1, slicePitch: 0 });
      if (element !== 1 && element !== 2 && element !== 4)
        throw new WireError(`fill with elements of ${element} bytes`);
      if (value >= 2 ** (8 * element)) throw new WireError(`fill with ${value} in ${element} bytes`);
      return;
    }
    case 'copy-in': {
      const { target, content } = event.body;
      checkPlace(target);
      if (content.length > 0 && (content.length !== target.width || target.height !== 1 || target.depth !== 1))
        throw new WireError(`content of ${content.length} bytes is not what is copied`);
      return;
    }
    case 'copy':
      checkPlace(event.body.target);
      return;
    case 'wrote':
      if (event.body.address + event.body.size > ADDRESS_SPACE) throw new WireError('write outside of all addresses');
      return;
    case 'graph':
      if (event.body.count !== event.body.nodes.length)
        throw new WireError(`a graph of ${event.body.count} events holds ${event.body.nodes.length}`);
      return;
    default:
  }
}

/** One event from the beginning of `bytes`; undefined for a filler. */
function readEvent(bytes: Uint8Array): { readonly event: RecordedEvent | undefined; readonly size: number } {
  const head = new WireReader(bytes);
  const size = head.u32();
  const type = head.u16();
  const flags = head.u16();
  if (size < HEAD_BYTES || size % 16 !== 0 || size > bytes.length)
    throw new WireError(`event of ${size} bytes in ${bytes.length}`);
  const name = BY_TYPE.get(type);
  if (name === undefined) throw new WireError(`event type ${type} is not known`);
  if (name === 'filler') return { event: undefined, size };
  const stream = u64.read(head);
  const from = new WireReader(bytes.subarray(HEAD_BYTES, size));
  const body = (EVENTS[name].body as Layout<unknown>).read(from);
  if (from.left >= MAX_PADDING) throw new WireError(`${name} has ${from.left} bytes too many`);
  const event = { name, flags, stream, body } as RecordedEvent;
  check(event);
  return { event, size };
}

/**
 * All events of a piece of the ring, in order.
 *
 * @throws WireError at the first that does not fit; `decoded` gets those before it
 */
export function decodeEvents(bytes: Uint8Array, decoded: (event: RecordedEvent) => void): void {
  for (let at = 0; at < bytes.length; ) {
    const { event, size } = readEvent(bytes.subarray(at));
    if (event) decoded(event);
    at += size;
  }
}

function readNodes(from: WireReader): readonly GraphNode[] {
  const nodes: GraphNode[] = [];
  const bytes = from.take(from.left);
  let at = 0;
  // Their number stands in front, and is checked by whoever has both; what pads the event is zero.
  while (bytes.length - at >= HEAD_BYTES && (bytes[at] || bytes[at + 1] || bytes[at + 2] || bytes[at + 3])) {
    const { event, size } = readEvent(bytes.subarray(at));
    if (!event || !NODES.has(event.name)) throw new WireError(`a graph holds ${event?.name ?? 'a filler'}`);
    nodes.push(event as GraphNode);
    at += size;
  }
  return nodes;
}

function writeNodes(to: WireWriter, nodes: readonly GraphNode[]): void {
  for (const node of nodes) to.put(encodeEvent(node));
}

/** The bytes of an event, as a recorder writes them. */
export function encodeEvent<N extends EventName>(event: EventOf<N>): Buffer {
  const { type, body } = EVENTS[event.name];
  const to = new WireWriter();
  (body as Layout<unknown>).write(to, event.body);
  const content = to.finish();
  const bytes = Buffer.alloc(Math.ceil((HEAD_BYTES + content.length) / 16) * 16);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(event.flags, 6);
  bytes.writeBigUInt64LE(BigInt(event.stream), 8);
  bytes.set(content, HEAD_BYTES);
  return bytes;
}
