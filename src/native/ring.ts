/**
 * The consumer's end of the ring of events (docs/formats/runtime-protocol.md). Whatever the other process writes into the ring, what comes
 * out is a run of whole events by their sizes, or an error; their content is the decoder's to judge.
 */
import { addon } from './addon.js';

export interface Ring {
  /**
   * Takes consecutive whole events, fillers left out: at most `maxBytes`, but at least one when one is there. Empty when none is. Throws
   * an `Error` when the ring breaks its rules, and then for ever.
   */
  drain(maxBytes: number): Buffer;
  /**
   * Calls back once when an event may be there, never before this function has returned. A second call replaces the first's callback. Keeps the process alive.
   */
  wait(callback: () => void): void;
  /** Bytes taken since the ring began, fillers included: comparable with the position that `hold` answers. */
  readonly position: bigint;
  /** Producers stop recording. Later calls throw. */
  close(): void;
}

/**
 * Opens a ring that came by a channel with its eventfd; both descriptors are taken over. Throws an `Error` when the memory is no ring, or
 * not sealed.
 */
export function openRing(fd: number, wakeFd: number): Ring {
  let callback: (() => void) | undefined;
  const call = () => {
    const waiting = callback;
    callback = undefined;
    if (waiting === undefined) return;
    native.awake();
    waiting();
  };
  const native = new (addon().NativeRing)(fd, wakeFd, call);
  return {
    drain: (maxBytes) => native.drain(maxBytes),
    wait: (wanted) => {
      const asleep = callback !== undefined;
      callback = wanted;
      if (!asleep && !native.sleep()) setImmediate(call);
    },
    get position() {
      return native.position;
    },
    close: () => {
      callback = undefined;
      native.close();
    },
  };
}
