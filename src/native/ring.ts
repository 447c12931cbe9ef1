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
 * How long the consumer looks away after it took something, and while nothing comes, or little, twice as long each time; after the longest in which nothing
 * came it goes to sleep. A producer that finds it asleep has to wake it, which costs the application a system call and, on a virtual machine, a signal between
 * processors: microseconds, for every launch of a program that launches one now and then.
 */
const PAUSE_MS = 2;
const LONGEST_PAUSE_MS = 16;
/** So much in a pause, some hundred events, is little: looking as often as that costs more than taking them. */
const LITTLE_BYTES = 16 * 1024;
/** An event may come without a wake at the moment of going to sleep (native/core/ring.h); it is there to be seen after so long. */
const SECOND_LOOK_MS = 10;
/** After so much it does not look away: this in a pause, and the ring (4 MiB) would fill. */
const MUCH_BYTES = 256 * 1024;

/**
 * Opens a ring that came by a channel with its eventfd; both descriptors are taken over. Throws an `Error` when the memory is no ring, or
 * not sealed.
 */
export function openRing(fd: number, wakeFd: number): Ring {
  let callback: (() => void) | undefined;
  let timer: NodeJS.Timeout | undefined;
  let taken = 0;
  // 0 when it has slept: what comes then may be the first of many.
  let pause = 0;
  const call = () => {
    clearTimeout(timer);
    const waiting = callback;
    callback = undefined;
    if (waiting === undefined) return;
    native.awake();
    waiting();
  };
  const native = new (addon().NativeRing)(fd, wakeFd, call);
  return {
    drain: (maxBytes) => {
      const events = native.drain(maxBytes);
      taken += events.length;
      return events;
    },
    wait: (wanted) => {
      const waits = callback !== undefined;
      callback = wanted;
      if (waits) return;
      const since = taken;
      taken = 0;
      if (since >= LITTLE_BYTES || (since > 0 && pause === 0)) pause = PAUSE_MS;
      else pause = since > 0 ? Math.min(2 * pause, LONGEST_PAUSE_MS) : 2 * pause;
      if (since > MUCH_BYTES) setImmediate(call);
      else if (pause > 0 && pause <= LONGEST_PAUSE_MS) timer = setTimeout(call, pause);
      else {
        pause = 0;
        if (native.sleep()) timer = setTimeout(() => native.hasEvent && call(), SECOND_LOOK_MS);
        else setImmediate(call);
      }
    },
    get position() {
      return native.position;
    },
    close: () => {
      callback = undefined;
      clearTimeout(timer);
      native.close();
    },
  };
}
