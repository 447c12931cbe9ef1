/**
 * The channel between recorder, supervisor and simulated device (docs/formats/runtime-protocol.md): packets over a Unix socket, with file
 * descriptors. It guarantees that a packet handed out is as long as its head says and came with as many descriptors as its head
 * says, and that the peer is of the same user or root. What packets mean is their reader's business.
 */
import { addon, type NativeConnection } from './addon.js';

/**
 * One connection. `receive` is called once and starts delivery; what arrives before waits. Descriptors of a delivered packet are the
 * receiver's to close; descriptors sent stay the sender's. `send` throws an `Error` with `errno` when the peer has gone or takes
 * nothing for ten seconds.
 */
export type Connection = NativeConnection;

/**
 * Listens at a path, which must not exist (mode 0600). Throws an `Error` with `errno`. Returns what ends it; connections stay.
 */
export function listen(path: string, onConnection: (connection: Connection) => void): { close(): void } {
  const native = addon();
  return { close: native.listenChannel(native.NativeConnection, path, onConnection) };
}

/** Connects to a listening channel of this user or root. Throws an `Error` with `errno`. */
export function connect(path: string): Connection {
  const native = addon();
  return native.connectChannel(native.NativeConnection, path);
}

/** Who is at the other end of a connected Unix socket. Throws an `Error` with `errno`. */
export function peerCredentials(fd: number): { pid: number; uid: number } {
  return addon().peerCredentials(fd);
}

export function closeFd(fd: number): void {
  addon().closeFd(fd);
}

/**
 * Maps a part of a file or memfd, shared and writable; `offset` is a multiple of the page size. A RangeError when the file has no such part.
 * `unmap` detaches the buffer first, so later use of a view finds it empty. Whoever may shrink the file can end this process: map
 * only files that are sealed or our own. The descriptor stays the caller's.
 */
export function mapFd(fd: number, offset: number, size: number): { readonly buffer: ArrayBuffer; unmap(): void } {
  const [buffer, unmap] = addon().mapFd(fd, offset, size);
  return { buffer, unmap };
}
