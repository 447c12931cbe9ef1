/**
 * How a client ends its thread. JavaScript can be stopped anywhere, but a thread that is stopped inside a native call leaves it half
 * done: a descriptor closed that counts as open, or worse. So a thread is stopped only while it executes a launch; otherwise it
 * sees the wish to stop before its next message. Each side writes its own word and then reads the other's, so at least one sees.
 */
const HANDLED = 0;
const STOP = 1;
const LAUNCHING = 2;

/** Shared by a client and its thread. */
export class WorkerControl {
  constructor(readonly words: Int32Array = new Int32Array(new SharedArrayBuffer(12))) {}

  // --- the client's side ---

  /** Number of messages that the thread is done with. */
  get handled(): number {
    return Atomics.load(this.words, HANDLED);
  }

  /** Has the thread stop before its next message. True when it executes a launch, in which it must be stopped. */
  stop(): boolean {
    Atomics.store(this.words, STOP, 1);
    return Atomics.load(this.words, LAUNCHING) === 1;
  }

  // --- the thread's side ---

  get stopped(): boolean {
    return Atomics.load(this.words, STOP) === 1;
  }

  countHandled(): void {
    Atomics.add(this.words, HANDLED, 1);
  }

  /** Runs a launch, during which the thread may be stopped. False without running it when it should stop. */
  launch(run: () => void): boolean {
    Atomics.store(this.words, LAUNCHING, 1);
    try {
      if (this.stopped) return false;
      run();
      return true;
    } finally {
      Atomics.store(this.words, LAUNCHING, 0);
    }
  }
}
