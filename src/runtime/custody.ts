/**
 * The supervisor's references to an application's physical memory, and the way to it. A descriptor is kept for every handle from the moment it is
 * told, which costs nothing on the device; memory is imported when an operation first needs it, and kept until the handle goes. Memory without
 * a handle is reached through the recorder (recorder-mover.ts); who asks need not care.
 */
import { chunksOf, formatBytes } from '../checkpoint/index.js';
import { RuntimeError } from './errors.js';
import type { LiveAllocation } from './event-bridge.js';
import type { Device, DeviceMemory, DeviceSpan, HostArena, Parts } from './parts.js';
import type { RecorderLink } from './recorder-link.js';
import { RecorderMover } from './recorder-mover.js';

interface Handle {
  readonly size: number;
  readonly device: number;
  /** Undefined while its memory is given up (suspended). */
  fd: number | undefined;
  memory: Promise<DeviceMemory> | undefined;
}

/** Whole chunks of an allocation, from byte `from` on. */
export interface MemoryRange {
  readonly live: LiveAllocation;
  readonly from: number;
  readonly bytes: number;
}

interface Group {
  readonly mover: number;
  readonly ranges: MemoryRange[];
  readonly from: number;
  to: number;
}

/** As `Promise.all`, but nothing is under way any more when it rejects: who then frees memory must be alone with it. */
async function allOf<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

export class Custody {
  readonly #handles = new Map<number, Handle>();
  readonly #devices = new Map<number, Promise<Device>>();
  readonly #open = new Set<Device>();
  readonly #inUse = new Set<number>();
  readonly #recorder: RecorderMover;

  /** @param uuids of the application's devices, by number */
  constructor(
    readonly parts: Parts,
    readonly uuids: readonly Uint8Array[],
    readonly link: () => RecorderLink,
  ) {
    this.#recorder = new RecorderMover(parts, link);
  }

  take(number: number, size: number, device: number, fd: number): void {
    this.#drop(this.#handles.get(number));
    this.#handles.set(number, { size, device, fd, memory: undefined });
  }

  /** A handle whose memory was given up before this supervisor came. */
  vacant(number: number, size: number, device: number): void {
    this.#handles.set(number, { size, device, fd: undefined, memory: undefined });
  }

  gone(number: number): void {
    this.#drop(this.#handles.get(number));
    this.#handles.delete(number);
  }

  /** The descriptor of a handle's memory, which stays this object's; undefined when the memory was given up. */
  descriptorOf(number: number): number | undefined {
    return this.#handles.get(number)?.fd;
  }

  has(number: number): boolean {
    return this.#handles.has(number);
  }

  /** The application has a context on a device, with or without memory there. */
  inUse(device: number): void {
    this.#inUse.add(device);
  }

  /** Numbers of the devices on which the application has memory or a context. */
  get devicesInUse(): readonly number[] {
    return [...new Set([...this.deviceNumbers, ...this.#inUse])];
  }

  /** Numbers of the devices whose memory the application has; the first one when it has none. */
  get deviceNumbers(): readonly number[] {
    const numbers = new Set([...this.#handles.values()].map(({ device }) => device));
    return numbers.size > 0 ? [...numbers].sort((a, b) => a - b) : [0];
  }

  get handles(): ReadonlyMap<number, { readonly size: number; readonly device: number }> {
    return this.#handles;
  }

  #drop(handle: Handle | undefined): void {
    if (!handle) return;
    handle.memory?.then((memory) => memory.close()).catch(() => {});
    if (handle.fd !== undefined) this.parts.closeFd(handle.fd);
    handle.memory = undefined;
    handle.fd = undefined;
  }

  #device(number: number): Promise<Device> {
    let device = this.#devices.get(number);
    if (!device) {
      const uuid = this.uuids[number];
      if (!uuid)
        throw new RuntimeError(
          'failed',
          'GCR8105',
          `memory is on device ${number}, which the application did not name`,
        );
      device = this.parts.openDevice(uuid);
      this.#devices.set(number, device);
      device.then(
        (open) => this.#open.add(open),
        () => this.#devices.delete(number),
      );
    }
    return device;
  }

  #memory(allocation: LiveAllocation): Promise<DeviceMemory> {
    const handle = this.#handles.get(allocation.handle);
    if (handle?.fd === undefined || allocation.offset + allocation.size > handle.size)
      throw new RuntimeError('failed', 'GCR8105', `the memory of allocation ${allocation.number} was not handed over`);
    const { fd, size } = handle;
    if (!handle.memory) {
      handle.memory = this.#device(handle.device).then((device) => device.import(fd, size));
      handle.memory.catch(() => {
        handle.memory = undefined;
      });
    }
    return handle.memory;
  }

  /** Opens devices and imports memory, so that an operation need not do it while the application is held. */
  async prepare(allocations: Iterable<LiveAllocation>): Promise<void> {
    const handles = new Map<number, LiveAllocation>();
    for (const live of allocations) if (this.#handles.has(live.handle)) handles.set(live.handle, live);
    const devices = new Set([...handles.values()].map((live) => this.moverOf(live)));
    for (const number of devices) await this.#device(number);
    // What has gone meanwhile is found out when it is used.
    await Promise.allSettled([...handles.values()].map(async (live) => this.#memory(live)));
  }

  /** Whether all devices that were used so far compute names themselves. */
  get namesOnDevice(): boolean {
    return this.#open.size > 0 && [...this.#open].every((device) => device.namesOnDevice);
  }

  /** One of the devices that were used so far. */
  get anyDevice(): Device | undefined {
    return this.#open.values().next().value;
  }

  /** The application's first device, opened. */
  async firstDevice(): Promise<Device | undefined> {
    return this.uuids.length > 0 ? this.#device(0) : undefined;
  }

  /** What moves an allocation's memory: its device by number, or the recorder (-1). Ranges of one come best one behind the other. */
  moverOf({ handle }: LiveAllocation): number {
    return handle === 0 ? -1 : (this.#handles.get(handle)?.device ?? 0);
  }

  /** Names of the chunks of ranges, 16 bytes each. Only while the application is held. */
  async names(ranges: readonly MemoryRange[]): Promise<Uint8Array> {
    const groups = this.#grouped(ranges);
    const results = await allOf(
      groups.map(async ({ mover, ranges: own }) =>
        mover < 0 ? this.#recorder.names(own) : (await this.#device(mover)).names(await this.#spans(own)),
      ),
    );
    if (results.length === 1) return results[0]!;
    const names = new Uint8Array(results.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const result of results) {
      names.set(result, at);
      at += result.length;
    }
    return names;
  }

  /** Chunk i of the ranges to slot `slots[i]`. Only while the application is held. */
  save(ranges: readonly MemoryRange[], arena: HostArena, slots: Uint32Array): Promise<void> {
    return this.#copy('save', ranges, arena, slots);
  }

  /** Slot `slots[i]` to chunk i of the ranges. Only while the application is held. */
  load(ranges: readonly MemoryRange[], arena: HostArena, slots: Uint32Array): Promise<void> {
    return this.#copy('load', ranges, arena, slots);
  }

  async #copy(
    direction: 'save' | 'load',
    ranges: readonly MemoryRange[],
    arena: HostArena,
    slots: Uint32Array,
  ): Promise<void> {
    await allOf(
      this.#grouped(ranges).map(async ({ mover, ranges: own, from, to }) => {
        const target = slots.subarray(from, to);
        if (mover < 0) await this.#recorder[direction](own, arena, target);
        else await (await this.#device(mover))[direction](await this.#spans(own), arena, target);
      }),
    );
  }

  /** Ranges of one mover each, with the numbers of their chunks. */
  #grouped(ranges: readonly MemoryRange[]): Group[] {
    const groups: Group[] = [];
    let chunk = 0;
    for (const range of ranges) {
      const mover = this.moverOf(range.live);
      let group = groups.at(-1);
      if (group?.mover !== mover) {
        group = { mover, ranges: [], from: chunk, to: chunk };
        groups.push(group);
      }
      group.ranges.push(range);
      chunk += chunksOf(range.bytes);
      group.to = chunk;
    }
    return groups;
  }

  async #spans(ranges: readonly MemoryRange[]): Promise<DeviceSpan[]> {
    const memories = new Map<number, DeviceMemory>();
    for (const { live } of ranges) if (!memories.has(live.handle)) memories.set(live.handle, await this.#memory(live));
    return ranges.map(({ live, from, bytes }) => ({
      memory: memories.get(live.handle)!,
      offset: live.offset + from,
      bytes,
    }));
  }

  /** Gives all memory up: nothing but what was saved is left of it. */
  releaseAll(): void {
    for (const handle of this.#handles.values()) this.#drop(handle);
  }

  /** Takes memory of a device that somebody else is to have later. @returns what gives it back */
  async reserve(device: number, bytes: number): Promise<() => void> {
    const { memory, fd } = await (await this.#device(device)).create(bytes);
    this.parts.closeFd(fd);
    return () => memory.close();
  }

  /**
   * New memory for every handle whose memory was given up.
   *
   * @throws RuntimeError GCR8114; what was made stays, until {@link releaseAll}
   */
  async recreateAll(): Promise<void> {
    const wanted = [...this.#handles.values()].filter(({ fd }) => fd === undefined);
    let made = 0;
    try {
      await allOf(
        wanted.map(async (handle) => {
          const device = await this.#device(handle.device);
          const { memory, fd } = await device.create(handle.size);
          handle.fd = fd;
          handle.memory = Promise.resolve(memory);
          made += handle.size;
        }),
      );
    } catch (error) {
      const needed = formatBytes(wanted.reduce((sum, { size }) => sum + size, 0));
      const message = `${needed} of device memory are needed, in ${wanted.length} pieces, and ${formatBytes(made)} could be had: ${(error as Error).message}`;
      throw new RuntimeError('failed', 'GCR8114', message, 'free device memory and try again');
    }
  }

  close(): void {
    this.releaseAll();
    this.#handles.clear();
    for (const device of this.#devices.values()) device.then((open) => open.close()).catch(() => {});
    this.#devices.clear();
  }
}
