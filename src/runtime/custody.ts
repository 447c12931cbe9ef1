/**
 * The supervisor's references to an application's physical memory. A descriptor is kept for every handle from the moment it is told, which
 * costs nothing on the device; memory is imported only when an operation reads or writes it, and kept until the handle goes.
 */
import { formatBytes } from '../checkpoint/index.js';
import { RuntimeError } from './errors.js';
import type { LiveAllocation } from './event-bridge.js';
import type { Device, DeviceMemory, Parts } from './parts.js';
import type { RecorderLink } from './recorder-link.js';

interface Handle {
  readonly size: number;
  readonly device: number;
  /** Undefined while its memory is given up (suspended). */
  fd: number | undefined;
  memory: Promise<DeviceMemory> | undefined;
}

/** Bytes that are copied through the recorder at once, for memory without a handle. */
const PIECE_BYTES = 4 << 20;
const COPY_DEADLINE_MS = 30_000;

export class Custody {
  readonly #handles = new Map<number, Handle>();
  readonly #devices = new Map<number, Promise<Device>>();

  /** @param uuids of the application's devices, by number */
  constructor(
    readonly parts: Parts,
    readonly uuids: readonly Uint8Array[],
    readonly link: () => RecorderLink,
  ) {}

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
      device.catch(() => this.#devices.delete(number));
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

  /** Only while the application is held. */
  async read(allocation: LiveAllocation, from: number, target: Uint8Array): Promise<void> {
    if (allocation.handle === 0) return this.#through('read', allocation, from, target);
    const memory = await this.#memory(allocation);
    await memory.read(allocation.offset + from, target);
  }

  /** Only while the application is held. */
  async write(allocation: LiveAllocation, from: number, bytes: Uint8Array): Promise<void> {
    if (allocation.handle === 0) return this.#through('write', allocation, from, bytes);
    const memory = await this.#memory(allocation);
    await memory.write(allocation.offset + from, bytes);
  }

  async #through(
    direction: 'read' | 'write',
    allocation: LiveAllocation,
    from: number,
    bytes: Uint8Array,
  ): Promise<void> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      const buffer = this.parts.createBuffer(piece.length);
      try {
        if (direction === 'write') buffer.write(piece);
        const address = allocation.address + BigInt(from + at);
        await this.link().request(direction, { address, size: piece.length }, COPY_DEADLINE_MS, [buffer.fd]);
        if (direction === 'read') buffer.read(piece);
      } finally {
        buffer.close();
      }
    }
  }

  /** Gives all memory up: nothing but what was saved is left of it. */
  releaseAll(): void {
    for (const handle of this.#handles.values()) this.#drop(handle);
  }

  /**
   * New memory for every handle whose memory was given up.
   *
   * @throws RuntimeError GCR8114; none is kept then
   */
  async recreateAll(): Promise<void> {
    const wanted = [...this.#handles.values()].filter(({ fd }) => fd === undefined);
    let made = 0;
    try {
      for (const handle of wanted) {
        const device = await this.#device(handle.device);
        const { memory, fd } = await device.create(handle.size);
        handle.fd = fd;
        handle.memory = Promise.resolve(memory);
        made += handle.size;
      }
    } catch (error) {
      for (const handle of wanted) this.#drop(handle);
      const needed = formatBytes(wanted.reduce((sum, { size }) => sum + size, 0));
      const message = `${needed} of device memory are needed, in ${wanted.length} pieces, and ${formatBytes(made)} could be had: ${(error as Error).message}`;
      throw new RuntimeError('failed', 'GCR8114', message, 'nothing was taken; free device memory and try again');
    }
  }

  close(): void {
    this.releaseAll();
    this.#handles.clear();
    for (const device of this.#devices.values()) device.then((open) => open.close()).catch(() => {});
    this.#devices.clear();
  }
}
