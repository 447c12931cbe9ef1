/**
 * An application in memory: a recorder's end of the protocol, a ring, and a device on which kernels really run (src/sim). So every step of an
 * operation can be tested, and made to fail, without a process; what memory holds is what kernels wrote.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelProgram } from '../../src/ir/index.js';
import { type CheckpointAction, hashChunks } from '../../src/native/index.js';
import { buildTemplatesFromImage } from '../../src/pipeline/index.js';
import type { BridgeOptions } from '../../src/runtime/bridge-options.js';
import type { ContentOf } from '../../src/runtime/codec.js';
import type { DriverState } from '../../src/runtime/control-state.js';
import { encodeEvent, type RecordedEvent } from '../../src/runtime/events.js';
import { HostImages } from '../../src/runtime/host-images.js';
import { HostMemory } from '../../src/runtime/host-memory.js';
import { decodeMessage, encodeMessage, type Message, PROTOCOL_VERSION } from '../../src/runtime/messages.js';
import {
  type Connection,
  type Device,
  type DeviceSpan,
  type DriverControl,
  type HostArena,
  type Parts,
  SEGMENT_SLOTS,
  type DeviceMemory as SharedMemory,
} from '../../src/runtime/parts.js';
import { SupervisedProcess } from '../../src/runtime/process.js';
import { RecorderLink } from '../../src/runtime/recorder-link.js';
import { StagingPool } from '../../src/runtime/staging.js';
import { compileKernel, DeviceMemory } from '../../src/sim/index.js';
import { PackedTemplates, packTemplates } from '../../src/templates/index.js';
import { programsOfText, ROOT } from '../sim/helpers.js';

export type { ContentOf };
export const APP_KERNELS = join(ROOT, 'fixtures/apps/kernels/apps.ptx');

/** All bytes of the first device's number. */
const FIRST_UUID = 7;

type Body<N extends RecordedEvent['name']> = Extract<RecordedEvent, { readonly name: N }>['body'];

interface Allocation {
  readonly number: number;
  readonly address: bigint;
  readonly bytes: Uint8Array;
  readonly handle: number;
}

/** What the recorder's end answers with an error (having done half of it), or never. */
export type Fault = 'refuse' | 'half' | 'silence' | 'end';

/** The driver's own checkpoint, with a real one's rules about states; each step can be made to fail. */
export class FakeDriver implements DriverControl {
  at: DriverState = 'running';
  /** Called before a step is done; what it throws the driver answers, and a promise is waited for. */
  before: (action: CheckpointAction) => unknown = () => {};
  /** Called when a step is done, before it is answered. */
  after: (action: CheckpointAction) => unknown = () => {};
  readonly steps: CheckpointAction[] = [];
  /** A restore that found no memory cannot be repeated. */
  lost = false;

  constructor(readonly app: FakeApplication) {}

  async step(pid: number, action: CheckpointAction): Promise<void> {
    if (pid !== this.app.process.pid) throw new Error(`${action}: CUDA_ERROR_INVALID_VALUE`);
    this.steps.push(action);
    await this.before(action);
    const from = { lock: 'running', checkpoint: 'locked', restore: 'checkpointed', unlock: 'locked' } as const;
    const to = { lock: 'locked', checkpoint: 'checkpointed', restore: 'locked', unlock: 'running' } as const;
    if (this.at !== from[action]) throw new Error(`${action}: CUDA_ERROR_ILLEGAL_STATE`);
    // Memory that is mapped and was exported.
    if (action === 'checkpoint' && !this.app.detached) throw new Error(`${action}: CUDA_ERROR_NOT_SUPPORTED`);
    if (action === 'restore' && [this.free, ...this.elsewhere.values()].some((free) => free < this.controlBytes)) {
      this.lost = true;
      throw new Error('restore: CUDA_ERROR_OUT_OF_MEMORY');
    }
    if (action === 'restore' && this.lost) throw new Error('restore: CUDA_ERROR_OPERATING_SYSTEM');
    this.at = to[action];
    const given = action === 'checkpoint' ? this.controlBytes : action === 'restore' ? -this.controlBytes : 0;
    this.free += given;
    for (const [device, free] of this.elsewhere) this.elsewhere.set(device, free + given);
    await this.after(action);
  }

  /** Bytes that are free, and that the process's control state takes. */
  free = 2 ** 33;
  controlBytes = 24 << 20;
  /** The same of devices beside the first. */
  readonly elsewhere = new Map<number, number>();

  async freeMemory(uuid: Uint8Array): Promise<number> {
    return this.elsewhere.get(uuid[0]! - FIRST_UUID) ?? this.free;
  }

  async state(): Promise<DriverState> {
    return this.at;
  }
}

/** What memory has of an application, and how its device is. */
export interface FakeOptions {
  /** Kernels. */
  readonly file?: string;
  /** Changes what templates are made of. */
  readonly plant?: (text: string) => string;
  readonly namesOnDevice?: boolean;
  /** How many it has; memory is on the first when nothing else is said. */
  readonly devices?: number;
  /** Bytes of host memory for staging, and for images. */
  readonly staging?: number;
  readonly hostMemory?: number;
  /** Bytes that the system has beside those. */
  readonly systemFree?: number;
  readonly recording?: BridgeOptions;
}

const SLOT = 65_536;

/** Physical memory that a device's operations know. */
class PhysicalMemory implements SharedMemory {
  constructor(
    readonly bytes: Uint8Array,
    readonly device: number,
    readonly close: () => void = () => {},
  ) {}
}

/** Chunks of spans of a device, as views. */
function chunksOfSpans(spans: readonly DeviceSpan[], device: number): Uint8Array[] {
  return spans.flatMap(({ memory, offset, bytes }) => {
    const { bytes: all, device: own } = memory as PhysicalMemory;
    if (own !== device) throw new Error(`memory of device ${own} was given to device ${device}`);
    if (offset + bytes > all.length) throw new Error('a span ends outside of its memory');
    return Array.from({ length: Math.ceil(bytes / SLOT) }, (_, i) =>
      all.subarray(offset + i * SLOT, offset + Math.min(bytes, (i + 1) * SLOT)),
    );
  });
}

/** Host memory that nobody pinned. */
export class PlainArena implements HostArena {
  #bytes: Uint8Array[] = [];
  closed = false;

  get slots(): number {
    return this.#bytes.length * SEGMENT_SLOTS;
  }

  async grow(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; left -= SEGMENT_SLOTS * SLOT)
      this.#bytes.push(new Uint8Array(SEGMENT_SLOTS * SLOT));
  }

  view(first: number, count: number): Uint8Array {
    const at = first % SEGMENT_SLOTS;
    if (at + count > SEGMENT_SLOTS || first + count > this.slots) throw new RangeError('not in one segment');
    return this.#bytes[Math.floor(first / SEGMENT_SLOTS)]!.subarray(at * SLOT, (at + count) * SLOT);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.#bytes = [];
  }
}

/** One that its application knows of. */
class CountedArena extends PlainArena {
  #bytes = 0;

  constructor(readonly app: FakeApplication) {
    super();
  }

  override async grow(bytes: number): Promise<void> {
    this.app.onArena(bytes);
    await super.grow(bytes);
    const { hostBytes } = this.app;
    this.#bytes += bytes;
    hostBytes.now += bytes;
    hostBytes.most = Math.max(hostBytes.most, hostBytes.now);
  }

  override async close(): Promise<void> {
    await super.close();
    // The system takes its time.
    await new Promise((resolve) => setTimeout(resolve, 1));
    this.app.hostBytes.now -= this.#bytes;
    this.#bytes = 0;
  }
}

const MODULE = 1;
const templates = new Map<string, ReturnType<typeof buildTemplatesFromImage>>();

export class FakeApplication {
  readonly process: SupervisedProcess;
  readonly allocations = new Map<number, Allocation>();
  held = false;
  /** Launches are counted and not told. */
  quiet = false;
  untold = 0;
  detached = false;
  killed = false;
  /** Errors of the device: called before each of its operations. */
  onWrite: () => void = () => {};
  /** Called before memory is made; what it returns is waited for. */
  onCreate: (bytes: number) => unknown = () => {};
  onSave: () => void = () => {};
  /** What it returns is waited for. */
  onNames: () => unknown = () => {};
  /** Called before the application reads memory for the supervisor. */
  onRead: () => void = () => {};
  /** Called before host memory is made. */
  onArena: (bytes: number) => void = () => {};
  /** Bytes of host memory that were asked for and not given back, now and at most. */
  readonly hostBytes = { now: 0, most: 0 };
  /** What the device named, copied out and copied in, in chunks. */
  readonly moved = { names: 0, save: 0, load: 0 };
  readonly faults = new Map<string, Fault>();
  readonly driver = new FakeDriver(this);
  /** Names of requests, in order. */
  readonly requests: string[] = [];
  readonly #programs: ReadonlyMap<string, KernelProgram>;
  readonly #functions = new Map<string, number>();
  /** Physical memory by descriptor. */
  readonly #descriptors = new Map<number, Uint8Array>();
  readonly #deviceOf = new WeakMap<Uint8Array, number>();
  readonly #handles = new Map<number, { memory: Uint8Array | undefined }>();
  readonly #link: RecorderLink;
  #ring: Buffer[] = [];
  #reserved = 0;
  #consumed = 0;
  #next = 1;
  #address = 0x7f0000000000n;

  constructor({
    file = APP_KERNELS,
    plant,
    namesOnDevice = false,
    devices: count = 1,
    staging,
    hostMemory = 1 << 30,
    systemFree = 0,
    recording = {},
  }: FakeOptions = {}) {
    const text = readFileSync(file, 'latin1');
    this.#programs = programsOfText(text);
    const parts: Parts = {
      driverControl: this.driver,
      openRing: () => ({
        drain: () => this.#drain(),
        get consumed() {
          return owner.#consumed;
        },
        close: () => {},
      }),
      openDevice: async (uuid) => this.#device(uuid[0]! - FIRST_UUID, namesOnDevice),
      createArena: async (bytes) => {
        const arena = new CountedArena(this);
        await arena.grow(bytes);
        return arena;
      },
      createBuffer: (bytes) => {
        const memory = new Uint8Array(bytes);
        const fd = this.#descriptor(memory);
        return {
          fd,
          read: (target) => target.set(memory.subarray(0, target.length)),
          write: (content) => memory.set(content),
          close: () => this.#descriptors.delete(fd),
        };
      },
      closeFd: (fd) => this.#descriptors.delete(fd),
    };
    const owner = this;
    const builder = {
      templatesOf: async () => {
        throw new Error('a process that begins names no images');
      },
      templates: async ({ fd }: { readonly fd: number }) => {
        const bytes = Buffer.from(this.#descriptors.get(fd)!);
        const key = plant ? `${file} ${plant}` : file;
        const image = plant ? Buffer.from(plant(bytes.toString('latin1')), 'latin1') : bytes;
        if (!templates.has(key)) templates.set(key, buildTemplatesFromImage(image, 'image'));
        return new PackedTemplates(packTemplates((await templates.get(key)!).product));
      },
    };
    const connection: Connection = {
      send: (bytes, fds = []) => queueMicrotask(() => this.#answer(decodeMessage(bytes, fds.length), fds)),
      close: () => queueMicrotask(() => this.#link.closed()),
    };
    const devices = Array.from({ length: count }, (_, device) => {
      const name = device === 0 ? 'fake' : `fake ${device}`;
      return { uuid: new Uint8Array(16).fill(FIRST_UUID + device), memory: 1 << 30, name, architecture: 90 };
    });
    const hello = {
      version: PROTOCOL_VERSION,
      greeting: 0,
      pid: 4711,
      startTime: 1n,
      ringBytes: 1 << 22,
      driver: 13000,
      devices,
    };
    this.process = new SupervisedProcess(hello, [0, 0], {
      parts,
      builder,
      command: ['fake'],
      offer: () => ({ close: () => {} }),
      staging: new StagingPool(parts.createArena, staging, () => systemFree),
      images: new HostImages(new HostMemory(parts.createArena, hostMemory)),
      recording,
      onEnd: () => {},
      kill: () => {
        this.killed = true;
        queueMicrotask(() => this.end());
      },
    });
    this.#link = new RecorderLink(connection, this.process);
    this.process.attachLink(this.#link);
    const image = Buffer.from(text, 'latin1');
    this.tell('image', { module: MODULE, size: image.length, kind: 1 }, [this.#descriptor(image)]);
    this.event('module', { module: MODULE });
  }

  #descriptor(memory: Uint8Array): number {
    const fd = this.#next++;
    this.#descriptors.set(fd, memory);
    return fd;
  }

  #device(device: number, namesOnDevice: boolean): Device {
    return {
      namesOnDevice,
      import: async (fd) => {
        const memory = this.#descriptors.get(fd)!;
        return new PhysicalMemory(memory, this.#deviceOf.get(memory)!);
      },
      create: async (bytes) => {
        await this.onCreate(bytes);
        const memory = new Uint8Array(bytes).fill(0xaa);
        this.#deviceOf.set(memory, device);
        this.driver.free -= bytes;
        const close = () => {
          this.driver.free += bytes;
        };
        return { memory: new PhysicalMemory(memory, device, close), fd: this.#descriptor(memory) };
      },
      names: async (spans) => {
        await this.onNames();
        const chunks = chunksOfSpans(spans, device);
        this.moved.names += chunks.length;
        return Buffer.concat(chunks.map((chunk) => hashChunks(chunk)));
      },
      save: async (spans, arena, slots) => {
        this.onSave();
        for (const [i, chunk] of chunksOfSpans(spans, device).entries()) arena.view(slots[i]!, 1).set(chunk);
        this.moved.save += slots.length;
      },
      load: async (spans, arena, slots) => {
        this.onWrite();
        for (const [i, chunk] of chunksOfSpans(spans, device).entries())
          chunk.set(arena.view(slots[i]!, 1).subarray(0, chunk.length));
        this.moved.load += slots.length;
      },
      close: () => {},
    };
  }

  #drain(): Buffer {
    const bytes = Buffer.concat(this.#ring);
    this.#ring = [];
    this.#consumed += bytes.length;
    return bytes;
  }

  /** A message of the recorder's. */
  tell(
    name: 'image' | 'handle' | 'in-use' | 'handle-gone' | 'stopped',
    body: object,
    fds: readonly number[] = [],
  ): void {
    const bytes = encodeMessage(name, body as never);
    bytes.writeUInt16LE(fds.length, 6);
    this.#link.message(bytes, fds);
  }

  event<N extends RecordedEvent['name']>(name: N, body: Body<N>, { stream = 0, flags = 0 } = {}): void {
    this.push(encodeEvent({ name, body, stream, flags } as never));
  }

  /** Bytes into the ring, whatever they are. */
  push(bytes: Buffer): void {
    this.#ring.push(bytes);
    this.#reserved += bytes.length;
  }

  end(): void {
    this.#link.closed();
  }

  #answer(message: Message, fds: readonly number[]): void {
    if (message.name === 'quiet') this.quiet = !this.held;
    if (message.request === 0n) return;
    this.requests.push(message.name);
    const fault = this.faults.get(message.name);
    if (fault === 'silence') return;
    if (fault === 'end') return this.#link.closed();
    const reply = (status: number, text: string, result: Uint8Array = new Uint8Array(0)) =>
      this.#link.message(encodeMessage('reply', { status, message: text, result }, message.request), []);
    if (fault === 'half') this.#half();
    if (fault === 'refuse' || fault === 'half') return reply(1, 'planted');
    switch (message.name) {
      case 'hold': {
        this.held = true;
        this.quiet = false;
        const said = new DataView(new ArrayBuffer(16));
        said.setBigUint64(0, BigInt(this.#reserved), true);
        said.setBigUint64(8, BigInt(this.untold), true);
        return reply(0, '', new Uint8Array(said.buffer));
      }
      case 'release':
        if (this.detached || this.driver.at !== 'running') throw new Error('released without its memory');
        this.held = false;
        return reply(0, '');
      case 'detach':
        this.detached = true;
        for (const handle of this.#handles.values()) handle.memory = undefined;
        return reply(0, '');
      case 'attach':
        if (this.driver.at !== 'running') throw new Error('the application called the driver while that was locked');
        for (const [index, number] of message.body.handles.entries())
          this.#handles.get(number)!.memory = this.#descriptors.get(fds[index]!)!;
        if (!message.body.more) this.detached = false;
        return reply(0, '');
      case 'read':
      case 'write': {
        if (message.name === 'read') this.onRead();
        const { address, size } = message.body;
        const found = this.holding(address);
        const from = Number(address - found.address);
        const [buffer, own] = [this.#descriptors.get(fds[0]!)!, this.memory(found.number).subarray(from, from + size)];
        if (message.name === 'read') buffer.set(own);
        else own.set(buffer.subarray(0, size));
        return reply(0, '');
      }
      default:
        return reply(0, '');
    }
  }

  /** The first half of the memory is unmapped. */
  #half(): void {
    this.detached = true;
    const [first] = this.#handles.values();
    first!.memory = undefined;
  }

  /** What an allocation holds now. */
  memory(number: number): Uint8Array {
    const { handle, bytes } = this.allocations.get(number)!;
    if (handle === 0) return bytes;
    const memory = this.#handles.get(handle)!.memory;
    if (!memory) throw new Error('the application used memory that it gave up');
    return memory;
  }

  holding(address: bigint): Allocation {
    for (const found of this.allocations.values())
      if (address >= found.address && address < found.address + BigInt(found.bytes.length)) return found;
    throw new Error(`nothing at ${address}`);
  }

  alloc(size: number, { handle = true, saveable = true, kind = 0, device = 0 } = {}): Allocation {
    const number = this.#next++;
    const bytes = new Uint8Array(size);
    const own = handle ? this.#next++ : 0;
    const allocation = { number, address: this.#address, bytes, handle: own };
    this.#address += BigInt(Math.ceil(size / 65_536 + 1) * 65_536);
    if (handle) {
      this.#handles.set(own, { memory: bytes });
      this.#deviceOf.set(bytes, device);
      this.tell('handle', { handle: own, size, device }, [this.#descriptor(bytes)]);
    }
    this.allocations.set(number, allocation);
    const { address } = allocation;
    this.event('alloc', {
      allocation: number,
      address,
      size,
      handle: own,
      offset: 0,
      kind,
      saveable: saveable ? 1 : 0,
    });
    return allocation;
  }

  free({ number, handle }: Allocation): void {
    this.event('free', { allocation: number });
    this.allocations.delete(number);
    if (handle === 0) return;
    this.#handles.delete(handle);
    this.tell('handle-gone', { handle });
  }

  copyIn({ number, address }: Allocation, content: Uint8Array, offset = 0, stream = 0): void {
    const { length } = content;
    const target = {
      address: address + BigInt(offset),
      pitch: length,
      width: length,
      height: 1,
      depth: 1,
      slicePitch: 0,
    };
    this.event('copy-in', { target, content: length <= 4096 ? content : new Uint8Array(0) }, { stream });
    this.memory(number).set(content, offset);
  }

  fill({ number, address }: Allocation, value: number, offset: number, size: number, stream = 0): void {
    const at = { address: address + BigInt(offset), pitch: size, width: size, height: 1 };
    this.event('memset', { ...at, value, element: 1 }, { stream });
    this.memory(number).fill(value, offset, offset + size);
  }

  copy(source: Allocation, target: Allocation, size: number): void {
    const place = { address: target.address, pitch: size, width: size, height: 1, depth: 1, slicePitch: 0 };
    this.event('copy', { target: place, source: source.address });
    this.memory(target.number).set(this.memory(source.number).subarray(0, size));
  }

  /** The launch's event, with what running it takes. Arguments are numbers, and allocations for pointers. */
  prepare(kernel: string, grid: number, block: number, args: readonly (number | bigint | Allocation)[]) {
    const program = this.#programs.get(kernel)!;
    let number = this.#functions.get(kernel);
    if (number === undefined) {
      number = this.#next++;
      this.#functions.set(kernel, number);
      const layout = program.parameters.map(({ offset, size }) => ({ offset, size }));
      this.event('function', {
        function: number,
        module: MODULE,
        parameterBytes: program.parameterBytes,
        layout,
        name: kernel,
      });
    }
    const parameters = new Uint8Array(program.parameterBytes);
    const view = new DataView(parameters.buffer);
    for (const [index, { offset, size }] of program.parameters.entries()) {
      const value = args[index]!;
      if (typeof value === 'object') view.setBigUint64(offset, value.address, true);
      else if (size === 8) view.setBigUint64(offset, BigInt(value), true);
      else view.setUint32(offset, Number(value) >>> 0, true);
    }
    const shape = { grid: [grid, 1, 1], block: [block, 1, 1], cluster: [0, 0, 0] } as const;
    const body: Body<'launch'> = { function: number, ...shape, sharedMemory: 0, call: 0, parameters };
    return { body, run: () => this.#run(program, body) };
  }

  launch(
    kernel: string,
    grid: number,
    block: number,
    args: readonly (number | bigint | Allocation)[],
    stream = 0,
  ): void {
    const { body, run } = this.prepare(kernel, grid, block, args);
    if (this.quiet) this.untold++;
    else this.event('launch', body, { stream });
    run();
  }

  #run(program: KernelProgram, { grid, block, parameters }: Body<'launch'>): void {
    if (this.held) throw new Error('the application was held and ran');
    const memory = new DeviceMemory();
    for (const { number, address } of this.allocations.values()) memory.map(address, this.memory(number));
    compileKernel(program).launch({ grid, block, parameters, memory, symbols: this.symbols });
  }

  /** Places of module variables. */
  readonly symbols = new Map<string, bigint>();

  /** A module variable, without a handle of its own. */
  variable(name: string, size: number, flags = 0): Allocation {
    const found = this.alloc(size, { handle: false, kind: 1 });
    const { address, number } = found;
    this.event('variable', { module: MODULE, address, size, allocation: number, name }, { flags });
    this.symbols.set(name, address);
    return found;
  }

  /** A copy of all memory, by allocation. */
  snapshot(): Map<number, Uint8Array> {
    return new Map([...this.allocations.keys()].map((number) => [number, this.memory(number).slice()]));
  }
}
