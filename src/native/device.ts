/**
 * Device memory of other processes, through the driver: physical memory that came as a descriptor, and memory made here to be sent; names of
 * its chunks, and copies between it and pinned host memory. Addresses play no part; who uses memory says where it is in its handle.
 *
 * What is asked for is checked before anything starts. Work runs on threads of the device's own, one for names, one for each direction of
 * copies; what is under way at once in one direction takes turns. Failures reject with an `Error` that has the driver's message.
 */
import { addon, type NativeDevice, type NativeHostArena, type NativeMemory } from './addon.js';

/** Physical memory, mapped in this process. Copies run off this thread; `close` takes effect when those under way have ended. */
export type MappedMemory = NativeMemory;

/** Bytes of a chunk, and of a slot. */
export const SLOT_BYTES = 65_536;
/** A view of slots lies between two multiples of this: 64 MiB. An arena has a multiple of it. */
export const SEGMENT_SLOTS = 1_024;

/**
 * A run of whole chunks of mapped memory: chunk i at `offset` + 65,536 i, the last one as long as `bytes` leave it. `offset` is a multiple of
 * 16 in the memory; `bytes` is at least 1.
 */
export interface DeviceSpan {
  readonly memory: MappedMemory;
  readonly offset: number;
  readonly bytes: number;
}

export interface OpenDevice {
  /** The descriptor stays the caller's, who keeps it open until this is settled. Any number may be under way. */
  importMemory(fd: number, bytes: number): Promise<MappedMemory>;
  /** New memory, and a descriptor of it, which is the caller's. */
  createMemory(bytes: number): Promise<{ readonly memory: MappedMemory; readonly fd: number }>;
  /** Whether names are computed on the device. Elsewhere memory is copied and hashed by the processor. */
  readonly namesOnDevice: boolean;
  /** The names (gcr-nh128-1, 16 bytes each) of all chunks of the spans, one behind the other. */
  names(spans: readonly DeviceSpan[]): Promise<Uint8Array>;
  /**
   * Copies chunk i, counted through all spans, to slot `slots[i]`; resolves when the bytes are there. Bytes of a slot behind a chunk's end are
   * undefined. `slots` may be changed as soon as this has returned.
   */
  save(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void>;
  /** The other way: slot `slots[i]` to chunk i, and not a byte beside it. One slot may be read any number of times. */
  load(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void>;
}

/** Host memory in slots of 64 KiB, pinned so that devices copy at full speed. Its content at first is zero. */
export interface HostArena {
  /** Those that are there; more while it grows. */
  readonly slots: number;
  /** Whether the driver has pinned all of it. Memory that is not works as well, at a third of the speed. */
  readonly pinned: boolean;
  /** Why it is not pinned. */
  readonly unpinnedBecause: string | undefined;
  /**
   * The bytes of slots `first` to `first + count`, no copy, aligned to 4,096. Throws a RangeError unless they lie in one segment
   * ({@link SEGMENT_SLOTS}).
   */
  view(first: number, count: number): Uint8Array;
  /**
   * Appends slots for `bytes` bytes, as {@link createHostArena} makes them; what is there may be used meanwhile, and slots that are ready
   * before the rest, too. They stay when this rejects half way.
   */
  grow(bytes: number, onProgress?: ByteProgress): Promise<void>;
  /**
   * Gives the memory back once copies under way on devices have ended; where there are none it is given back when this resolves. All views become
   * empty at once; whoever still reads or writes one elsewhere (a store's writer, a file) has to be waited for before.
   */
  close(): Promise<void>;
}

type ByteProgress = (done: { readonly bytes: number; readonly total: number }) => void;

export interface HostArenaOptions {
  /** Pins the memory for this device, and with it for every device of the same driver; without it the first device that copies does. */
  readonly device?: OpenDevice;
  /** Bytes that are ready, of how many. */
  readonly onProgress?: ByteProgress;
}

/** A device of the addon's with the flat form of what it is asked. */
class DriverDevice implements OpenDevice {
  constructor(readonly native: NativeDevice) {}

  get namesOnDevice(): boolean {
    return this.native.namesOnDevice;
  }

  async importMemory(fd: number, bytes: number): Promise<MappedMemory> {
    return this.native.importMemory(fd, bytes);
  }

  async createMemory(bytes: number): Promise<{ readonly memory: MappedMemory; readonly fd: number }> {
    return this.native.createMemory(bytes);
  }

  async names(spans: readonly DeviceSpan[]): Promise<Uint8Array> {
    return this.native.names(flat(spans));
  }

  async save(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void> {
    await this.native.save(flat(spans), nativeOf(arena), slots);
  }

  async load(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void> {
    await this.native.load(flat(spans), nativeOf(arena), slots);
  }
}

/** Three numbers a span: the memory's number, offset and bytes. */
function flat(spans: readonly DeviceSpan[]): Float64Array {
  const numbers = new Float64Array(3 * spans.length);
  let at = 0;
  for (const { memory, offset, bytes } of spans) {
    numbers[at++] = memory.number;
    numbers[at++] = offset;
    numbers[at++] = bytes;
  }
  return numbers;
}

class DriverArena implements HostArena {
  constructor(
    readonly native: NativeHostArena,
    readonly device: NativeDevice | undefined,
  ) {}

  get slots(): number {
    return this.native.slots;
  }

  get pinned(): boolean {
    return this.native.pinned;
  }

  get unpinnedBecause(): string | undefined {
    return this.native.unpinnedBecause;
  }

  view(first: number, count: number): Uint8Array {
    const segment = Math.floor(first / SEGMENT_SLOTS);
    const at = first - segment * SEGMENT_SLOTS;
    if (!(first >= 0 && count >= 0 && at + count <= SEGMENT_SLOTS && first + count <= this.slots))
      throw new RangeError(`slots ${first} to ${first + count} are not in one segment of the arena`);
    return new Uint8Array(this.native.segment(segment), at * SLOT_BYTES, count * SLOT_BYTES);
  }

  async grow(bytes: number, onProgress?: ByteProgress): Promise<void> {
    const told = onProgress && ((done: number, total: number) => onProgress({ bytes: done, total }));
    await this.native.grow(bytes, this.device, told);
  }

  async close(): Promise<void> {
    await this.native.close();
  }
}

function nativeOf(arena: HostArena): NativeHostArena {
  if (!(arena instanceof DriverArena)) throw new TypeError('the arena is not one of createHostArena');
  return arena.native;
}

const opened = new Map<string, Promise<OpenDevice>>();

/**
 * Opens a device by its UUID: a context of this process's on it, and our kernels compiled for it, which may take half a second. It stays open until
 * the process ends, and whoever asks for the same one gets the same. Rejects with an `Error` when driver or device are not there.
 *
 * @param driver path of the driver library, or its name for the usual search
 */
export function openDevice(driver: string, uuid: Uint8Array): Promise<OpenDevice> {
  const key = `${Buffer.from(uuid).toString('hex')} ${driver}`;
  let device = opened.get(key);
  if (!device) {
    device = openNative(driver, uuid);
    opened.set(key, device);
    device.catch(() => opened.delete(key));
  }
  return device;
}

async function openNative(driver: string, uuid: Uint8Array): Promise<OpenDevice> {
  return new DriverDevice(await addon().openDevice(driver, uuid));
}

/**
 * Host memory for `bytes` bytes (rounded up to segments of 64 MiB), made off this thread: huge pages where the system has them, touched by many
 * threads, and pinned. Takes about a second for 10 GB. Rejects with an `Error` when the system has no such memory.
 */
export async function createHostArena(bytes: number, options: HostArenaOptions = {}): Promise<HostArena> {
  const { device, onProgress } = options;
  const native = device instanceof DriverDevice ? device.native : undefined;
  const arena = new DriverArena(new (addon().NativeHostArena)(), native);
  try {
    await arena.grow(bytes, onProgress);
    return arena;
  } catch (error) {
    await arena.close();
    throw error;
  }
}
