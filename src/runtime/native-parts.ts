/** The parts of the machine (parts.ts) as the native addon and the file system give them. */
import { closeSync, constants, ftruncateSync, openSync } from 'node:fs';
import {
  checkpointProcess,
  closeFd,
  createHostArena,
  freeMemory,
  mapFd,
  type HostArena as NativeArena,
  type Connection as NativeConnection,
  type DeviceSpan as NativeSpan,
  type OpenDevice,
  openDevice,
  openRing,
  processState,
} from '../native/index.js';
import type {
  Connection,
  ConnectionListener,
  Device,
  DeviceMemory,
  DeviceSpan,
  EventRing,
  HostArena,
  Parts,
  SharedBuffer,
} from './parts.js';

/** Bytes of events taken at once: between two pieces other things get their turn. */
const DRAIN_BYTES = 1 << 20;
/** Not in Node's constants: a file without a name. */
const O_TMPFILE = 0o20200000;
/** Memory of files without a name is here. */
const SHARED_MEMORY = '/dev/shm';

/** A connection whose packets go to a listener. A send that fails ends it. */
export function connectionOf(native: NativeConnection): Connection & { receive(listener: ConnectionListener): void } {
  return {
    send: (bytes, fds = []) => {
      try {
        native.send(bytes, [...fds]);
      } catch {
        native.close();
      }
    },
    close: () => native.close(),
    receive: (listener) =>
      native.receive(
        (bytes, fds) => listener.message(bytes, fds),
        () => listener.closed(),
      ),
  };
}

function ringOf(ringFd: number, wakeFd: number, onReady: () => void): EventRing {
  const ring = openRing(ringFd, wakeFd);
  let open = true;
  const wait = () => {
    if (open)
      ring.wait(() => {
        if (!open) return;
        onReady();
        wait();
      });
  };
  wait();
  return {
    drain: () => ring.drain(DRAIN_BYTES),
    get consumed() {
      return Number(ring.position);
    },
    close: () => {
      open = false;
      ring.close();
    },
  };
}

function sharedBuffer(bytes: number): SharedBuffer {
  const fd = openSync(SHARED_MEMORY, O_TMPFILE | constants.O_RDWR, 0o600);
  try {
    ftruncateSync(fd, bytes);
    const { buffer, unmap } = mapFd(fd, 0, bytes);
    const view = new Uint8Array(buffer);
    return {
      fd,
      read: (target) => target.set(view.subarray(0, target.length)),
      write: (content) => view.set(content),
      close: () => {
        unmap();
        closeSync(fd);
      },
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Device memory through the driver. */
class DriverDevice implements Device {
  constructor(readonly device: OpenDevice) {}

  get namesOnDevice(): boolean {
    return this.device.namesOnDevice;
  }

  import(fd: number, bytes: number): Promise<DeviceMemory> {
    return this.device.importMemory(fd, bytes);
  }

  create(bytes: number): Promise<{ memory: DeviceMemory; fd: number }> {
    return this.device.createMemory(bytes);
  }

  names(spans: readonly DeviceSpan[]): Promise<Uint8Array> {
    return this.device.names(ownSpans(spans));
  }

  save(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void> {
    return this.device.save(ownSpans(spans), ownArena(arena), slots);
  }

  load(spans: readonly DeviceSpan[], arena: HostArena, slots: Uint32Array): Promise<void> {
    return this.device.load(ownSpans(spans), ownArena(arena), slots);
  }

  /** The context stays until this process ends. */
  close(): void {}
}

// What these parts are given is what they gave out.
const ownSpans = (spans: readonly DeviceSpan[]) => spans as readonly NativeSpan[];
const ownArena = (arena: HostArena) => arena as NativeArena;

/** @param driver path or name of the driver library */
export const nativeParts = (driver: string): Parts => ({
  driverControl: {
    step: (pid, action, timeoutMs) => checkpointProcess(driver, pid, action, timeoutMs),
    state: (pid) => processState(driver, pid),
    freeMemory: (uuid) => freeMemory(driver, uuid),
  },
  openRing: ringOf,
  openDevice: async (uuid) => new DriverDevice(await openDevice(driver, uuid)),
  createArena: (bytes, device) =>
    createHostArena(bytes, device instanceof DriverDevice ? { device: device.device } : {}),
  createBuffer: sharedBuffer,
  closeFd,
});
