/**
 * Device memory of other processes, through the driver: physical memory that came as a descriptor, and memory made here to be sent. Addresses
 * play no part; who uses memory says where it is in its handle.
 */
import { addon, type NativeMemory } from './addon.js';

/** Physical memory, mapped in this process. Copies run off this thread; `close` takes effect when those under way have ended. */
export type MappedMemory = NativeMemory;

export interface OpenDevice {
  /** The descriptor stays the caller's. Throws an `Error` with the driver's. */
  importMemory(fd: number, bytes: number): MappedMemory;
  /** New memory, and a descriptor of it, which is the caller's. */
  createMemory(bytes: number): { readonly memory: MappedMemory; readonly fd: number };
}

/**
 * Opens a device by its UUID; the first call makes a context of this process's on it. Throws an `Error` when driver or device are not there.
 *
 * @param driver path of the driver library, or its name for the usual search
 */
export function openDevice(driver: string, uuid: Uint8Array): OpenDevice {
  return new (addon().NativeDevice)(driver, uuid);
}
