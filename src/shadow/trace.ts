/**
 * Launch traces: one JSON object a line, written by recorders and read here (docs/formats/trace.md). Checked strictly,
 * because a line that is half understood becomes a wrong set of dirty bytes: a field that is not what the format says, or
 * an event that is not known, is an error with its line. Fields that are not known are ignored.
 */
import { type Diagnostic, type DiagnosticCode, InputError } from '../diagnostics/index.js';
import type { LaunchRecord } from './launch.js';
import { ADDRESS_SPACE, hexAddress } from './ranges.js';
import { TENSOR_MAP_BYTES, type TensorMapRecord } from './tensor-maps.js';

/** Addresses are below 2^64, sizes in bytes. */
export type TraceEvent =
  | { readonly event: 'module'; readonly ptx: string; readonly hash?: string }
  | { readonly event: 'global'; readonly name: string; readonly address: bigint; readonly size: number }
  | { readonly event: 'alloc'; readonly address: bigint; readonly size: number }
  | { readonly event: 'free'; readonly address: bigint }
  | { readonly event: 'memcpyHtoD'; readonly address: bigint; readonly size: number; readonly bytes?: Uint8Array }
  | {
      readonly event: 'memset';
      readonly address: bigint;
      readonly size: number;
      /** Each group of `width` bytes holds it, lowest byte first; absent when not known. */
      readonly value?: number;
      readonly width?: 1 | 2 | 4;
    }
  | { readonly event: 'memcpyDtoD'; readonly address: bigint; readonly source: bigint; readonly size: number }
  /** A tensor map was encoded. */
  | { readonly event: 'tensorMap'; readonly map: Uint8Array; readonly record: TensorMapRecord }
  | { readonly event: 'launch'; readonly launch: LaunchRecord };

/** Longest line in bytes. */
export const MAX_LINE = 64 * 1024 * 1024;
const LINE_FEED = 10;
const BYTE_ORDER_MARK = 0xfeff;
const MAX_GRID = [2 ** 31 - 1, 65_535, 65_535] as const;
const MAX_BLOCK = [1024, 1024, 64] as const;
const MAX_BLOCK_THREADS = 1024;

/** Gives the findings of an error the place in the trace that caused it. */
export function errorAt(error: InputError, source: string, line: number): InputError {
  return new InputError(error.diagnostics.map((diagnostic) => ({ ...diagnostic, source, line })));
}

function problem(code: DiagnosticCode, message: string, hint?: string): InputError {
  const diagnostic: Diagnostic = { code, severity: 'error', message, ...(hint && { hint }) };
  return new InputError(diagnostic);
}

/** What a user may need to see of a value that is wrong. */
function show(value: unknown): string {
  if (value === undefined) return 'missing';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}

/** The fields of one line. Each reader answers with a value of the format or throws GCR5007. */
class Fields {
  constructor(
    readonly event: string,
    readonly values: Readonly<Record<string, unknown>>,
  ) {}

  #wrong(name: string, expected: string): InputError {
    return problem('GCR5007', `"${name}" of ${this.event} is ${show(this.values[name])}`, `give ${expected}`);
  }

  has(name: string): boolean {
    return this.values[name] !== undefined;
  }

  text(name: string): string {
    const value = this.values[name];
    if (typeof value !== 'string' || value === '') throw this.#wrong(name, 'a string that is not empty');
    return value;
  }

  address(name: string): bigint {
    const value = this.values[name];
    if (typeof value !== 'string' || !/^0x[0-9a-fA-F]{1,16}$/.test(value))
      throw this.#wrong(name, 'an address below 2^64 as a string like "0x7f0000000000"');
    return BigInt(value);
  }

  size(name: string, most = Number.MAX_SAFE_INTEGER): number {
    const value = this.values[name];
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > most)
      throw this.#wrong(name, `a whole number from 0 to ${most}`);
    return value as number;
  }

  /** A size that does not lead past the end of addresses. */
  sizeAt(address: bigint): number {
    const size = this.size('size');
    if (address + BigInt(size) > ADDRESS_SPACE) throw this.#wrong('size', 'a place that ends below 2^64');
    return size;
  }

  bytes(name: string): Uint8Array {
    const value = this.values[name];
    const bytes = typeof value === 'string' ? Buffer.from(value, 'hex') : undefined;
    // Decoding stops at the first character that is no digit.
    if (!bytes || bytes.length * 2 !== (value as string).length)
      throw this.#wrong(name, 'hexadecimal digits, two a byte');
    return bytes;
  }

  hash(name: string): string {
    const value = this.values[name];
    if (typeof value !== 'string' || !/^[0-9a-fA-F]{64}$/.test(value))
      throw this.#wrong(name, 'a SHA-256 of 64 hexadecimal digits');
    return value.toLowerCase();
  }

  numbers(name: string): readonly number[] {
    const value = this.values[name];
    if (!Array.isArray(value) || !value.every((item) => Number.isSafeInteger(item) && item >= 0))
      throw this.#wrong(name, 'an array of whole numbers from 0');
    return value as number[];
  }

  triple(name: string, most: readonly [number, number, number]): [number, number, number] {
    const value = this.values[name];
    const fits = (size: number, axis: number) => Number.isInteger(size) && size >= 1 && size <= most[axis]!;
    if (!Array.isArray(value) || value.length !== 3 || !value.every(fits))
      throw this.#wrong(name, `three whole numbers from 1, at most ${most.join(', ')}`);
    return value as [number, number, number];
  }

  wrong(name: string, expected: string): never {
    throw this.#wrong(name, expected);
  }
}

function readLaunch(fields: Fields): TraceEvent {
  const grid = fields.triple('grid', MAX_GRID);
  const block = fields.triple('block', MAX_BLOCK);
  if (block[0] * block[1] * block[2] > MAX_BLOCK_THREADS)
    fields.wrong('block', `at most ${MAX_BLOCK_THREADS} threads in all`);
  const cluster = fields.has('cluster') ? fields.triple('cluster', grid) : undefined;
  if (cluster?.some((size, axis) => grid[axis]! % size !== 0)) fields.wrong('cluster', 'sizes that divide the grid');
  return {
    event: 'launch',
    launch: {
      kernel: fields.text('kernel'),
      grid,
      block,
      ...(cluster && { cluster }),
      ...(fields.has('sharedMemory') && { sharedMemory: fields.size('sharedMemory') }),
      parameters: fields.bytes('params'),
    },
  };
}

function readMemset(fields: Fields): TraceEvent {
  const address = fields.address('address');
  const size = fields.sizeAt(address);
  if (!fields.has('value')) return { event: 'memset', address, size };
  const width = fields.has('width') ? fields.size('width') : 1;
  if (width !== 1 && width !== 2 && width !== 4) return fields.wrong('width', '1, 2 or 4');
  if (size % width !== 0) fields.wrong('size', `a multiple of ${width}, as "width" says`);
  return { event: 'memset', address, size, value: fields.size('value', 2 ** (8 * width) - 1), width };
}

function readHostCopy(fields: Fields): TraceEvent {
  const address = fields.address('address');
  const size = fields.sizeAt(address);
  if (!fields.has('bytes')) return { event: 'memcpyHtoD', address, size };
  const bytes = fields.bytes('bytes');
  if (bytes.length !== size) fields.wrong('size', `${bytes.length}, the number of bytes given`);
  return { event: 'memcpyHtoD', address, size, bytes };
}

function readTensorMap(fields: Fields): TraceEvent {
  const map = fields.bytes('map');
  if (map.length !== TENSOR_MAP_BYTES) fields.wrong('map', `${TENSOR_MAP_BYTES} bytes`);
  const kind = fields.text('kind');
  if (kind !== 'tiled' && kind !== 'im2col') return fields.wrong('kind', '"tiled" or "im2col"');
  return {
    event: 'tensorMap',
    map,
    record: {
      kind,
      address: fields.address('address'),
      dataType: fields.size('dataType'),
      sizes: fields.numbers('dimensions').map(BigInt),
      strides: fields.numbers('strides').map(BigInt),
      box: kind === 'tiled' ? fields.numbers('box') : [],
      elementStrides: fields.numbers('elementStrides'),
      interleave: fields.size('interleave'),
    },
  };
}

/** The events, by name. */
const EVENTS: ReadonlyMap<string, (fields: Fields) => TraceEvent> = new Map([
  [
    'module',
    (fields): TraceEvent => ({
      event: 'module',
      ptx: fields.text('ptx'),
      ...(fields.has('hash') && { hash: fields.hash('hash') }),
    }),
  ],
  [
    'global',
    (fields): TraceEvent => {
      const address = fields.address('address');
      return { event: 'global', name: fields.text('name'), address, size: fields.sizeAt(address) };
    },
  ],
  [
    'alloc',
    (fields): TraceEvent => ({ event: 'alloc', address: fields.address('address'), size: fields.size('size') }),
  ],
  ['free', (fields): TraceEvent => ({ event: 'free', address: fields.address('address') })],
  ['memcpyHtoD', readHostCopy],
  ['memset', readMemset],
  [
    'memcpyDtoD',
    (fields): TraceEvent => {
      const [address, source] = [fields.address('address'), fields.address('source')];
      fields.sizeAt(source);
      return { event: 'memcpyDtoD', address, source, size: fields.sizeAt(address) };
    },
  ],
  ['tensorMap', readTensorMap],
  ['launch', readLaunch],
]);

/**
 * One line of a trace.
 *
 * @throws InputError GCR5005 to GCR5007, without a place
 */
export function parseTraceLine(text: string): TraceEvent {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw problem('GCR5005', (error as Error).message, 'a trace has one JSON object a line');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw problem('GCR5005', `line is ${show(value)}, not an object`, 'a trace has one JSON object a line');
  const values = value as Record<string, unknown>;
  const name = values['event'];
  const read = EVENTS.get(name as string);
  if (!read) {
    const known = [...EVENTS.keys()].join(', ');
    throw problem('GCR5006', `event is ${show(name)}`, `events are ${known}; an update of gcr-templates may know more`);
  }
  return read(new Fields(name as string, values));
}

/** An event and the line it stood on, one-based. */
export interface TraceLine {
  readonly line: number;
  readonly event: TraceEvent;
}

/**
 * Reads a trace piece by piece; memory is bounded by the longest line. Empty lines are skipped.
 *
 * @param source display name for messages
 * @throws InputError GCR5005 to GCR5009 with the line
 */
export async function* readTrace(
  input: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  source = 'trace',
): AsyncGenerator<TraceLine, void, undefined> {
  let line = 0;
  /** The line so far, of earlier pieces. */
  let parts: Uint8Array[] = [];
  let length = 0;
  const parse = (bytes: Uint8Array, ended: boolean): TraceLine | undefined => {
    line++;
    const { buffer, byteOffset, byteLength } = bytes;
    let text = Buffer.from(buffer, byteOffset, byteLength).toString('utf8');
    if (line === 1 && text.charCodeAt(0) === BYTE_ORDER_MARK) text = text.slice(1);
    if (text.trim() === '') return undefined;
    try {
      return { line, event: parseTraceLine(text) };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      const cut = !ended && error.diagnostics[0]?.code === 'GCR5005';
      const hint = 'the recorder was cut off; remove this line to use what came before';
      throw errorAt(cut ? problem('GCR5008', 'the last line is not complete', hint) : error, source, line);
    }
  };
  const take = (bytes: Uint8Array) => {
    length += bytes.length;
    if (length > MAX_LINE) {
      const hint = 'split large copies into several events, or leave "bytes" out';
      throw errorAt(problem('GCR5009', `line is longer than ${MAX_LINE} bytes`, hint), source, line + 1);
    }
    parts.push(bytes);
  };
  for await (const piece of input) {
    let start = 0;
    for (let end = piece.indexOf(LINE_FEED); end >= 0; end = piece.indexOf(LINE_FEED, start)) {
      take(piece.subarray(start, end));
      const event = parse(parts.length === 1 ? parts[0]! : Buffer.concat(parts), true);
      parts = [];
      length = 0;
      start = end + 1;
      if (event) yield event;
    }
    // Copied: whoever feeds us may use the piece's memory again.
    if (start < piece.length) take(new Uint8Array(piece.subarray(start)));
  }
  const event = length > 0 ? parse(Buffer.concat(parts), false) : undefined;
  if (event) yield event;
}

const digits = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex');

/** The line of an event, without the line feed. */
export function formatTraceEvent(event: TraceEvent): string {
  switch (event.event) {
    case 'launch': {
      const { parameters, ...launch } = event.launch;
      return JSON.stringify({ event: 'launch', ...launch, params: digits(parameters) });
    }
    case 'memcpyHtoD': {
      const { address, bytes, ...rest } = event;
      return JSON.stringify({ ...rest, address: hexAddress(address), ...(bytes && { bytes: digits(bytes) }) });
    }
    case 'tensorMap': {
      const { kind, address, dataType, sizes, strides, box, elementStrides, interleave } = event.record;
      const shape = { dimensions: sizes.map(Number), strides: strides.map(Number), box, elementStrides, interleave };
      return JSON.stringify({
        ...{ event: 'tensorMap', map: digits(event.map), kind, address: hexAddress(address), dataType },
        ...shape,
      });
    }
    default:
      return JSON.stringify(event, (_, value: unknown) => (typeof value === 'bigint' ? hexAddress(value) : value));
  }
}
