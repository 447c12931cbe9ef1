/**
 * What the supervisor needs of the machine: a channel to the recorder, the ring, device memory. The native addon gives it for real
 * (native-parts.ts); tests give it in memory, so that every step of an operation can be made to fail.
 */
import type { CheckpointAction, ProcessState as DriverState } from '../native/index.js';

export { SEGMENT_SLOTS } from '../native/index.js';

/** A connection to a recorder. Nothing here throws: what cannot be sent ends the connection. */
export interface Connection {
  /** Descriptors stay the caller's. */
  send(bytes: Uint8Array, fds?: readonly number[]): void;
  close(): void;
}

export interface ConnectionListener {
  /** The descriptors are the listener's to close. */
  message(bytes: Uint8Array, fds: readonly number[]): void;
  closed(): void;
}

/** The consumer's side of a ring. */
export interface EventRing {
  /** The events that are there, whole ones, one behind the other; they are taken out. Empty when there is none. */
  drain(): Uint8Array;
  /** Bytes taken out since the start, fillers included: to be compared with the position that `hold` answers. */
  readonly consumed: number;
  close(): void;
}

/** Physical memory that is shared with the application. */
export interface DeviceMemory {
  close(): void;
}

/** A run of whole chunks of memory, the last one as long as `bytes` leave it. */
export interface DeviceSpan {
  readonly memory: DeviceMemory;
  readonly offset: number;
  readonly bytes: number;
}

/** Host memory in slots of a chunk each, from which and to which devices copy at full speed. Zero at first. */
export interface HostArena {
  readonly slots: number;
  /** Appends slots; copies and views of the others are not disturbed. */
  grow(bytes: number): Promise<void>;
  /** Slots `first` to `first + count`, no copy; they lie between two multiples of {@link SEGMENT_SLOTS}. */
  view(first: number, count: number): Uint8Array;
  /** Nobody may be at work on a view. Resolves when the system has the memory back. */
  close(): Promise<void>;
}

/** Rejections are `Error`s with what the driver says. Any number of calls may be under way. */
export interface Device {
  /** The descriptor stays the caller's. */
  import(fd: number, bytes: number): Promise<DeviceMemory>;
  /** New memory, in which anything may be, and a descriptor of it, which is the caller's. */
  create(bytes: number): Promise<{ readonly memory: DeviceMemory; readonly fd: number }>;
  /** Whether names are computed on the device, so that looking at all memory costs next to nothing. */
  readonly namesOnDevice: boolean;
  /** Names of all chunks of the spans, 16 bytes each. */
  names(spans: readonly DeviceSpan[]): Promise<Uint8Array>;
  /** Chunk i of the spans, counted through all of them, to slot `slots[i]`. */
  save(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void>;
  /** Slot `slots[i]` to chunk i. */
  load(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void>;
  close(): void;
}

/** Memory of this process that can be sent. */
export interface SharedBuffer {
  readonly fd: number;
  read(target: Uint8Array): void;
  write(bytes: Uint8Array): void;
  close(): void;
}

/** The driver's own checkpoint of another process (src/native/process.ts). Rejects with an `Error` that names the driver's code. */
export interface DriverControl {
  /** @param timeoutMs of `lock`: how long it may wait for the process's work */
  step(pid: number, action: CheckpointAction, timeoutMs: number): Promise<void>;
  state(pid: number): Promise<DriverState>;
  /** Bytes of a device that nobody uses. */
  freeMemory(uuid: Uint8Array): Promise<number>;
}

export interface Parts {
  readonly driverControl: DriverControl;
  /** @param onReady called when events may have come */
  openRing(ringFd: number, wakeFd: number, onReady: () => void): EventRing;
  openDevice(uuid: Uint8Array): Promise<Device>;
  /**
   * Host memory that devices copy to and from at full speed. Takes its time, off this thread.
   *
   * @param device any one of the machine; without it the first that copies pays for what makes it fast
   */
  createArena(bytes: number, device?: Device): Promise<HostArena>;
  createBuffer(bytes: number): SharedBuffer;
  closeFd(fd: number): void;
}
