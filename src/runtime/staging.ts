/**
 * Pinned memory on the way between device and store. Each operation has some of its own while it lasts, so that operations of several processes never wait
 * for each other's; what was made is kept, because pinning takes longer than most operations. So much is never exceeded unless an operation asks for more and
 * the system has plenty; that goes with the operation.
 */
import { CHUNK_BYTES } from '../checkpoint/index.js';
import { availableBytes } from './available-memory.js';
import { HostMemory } from './host-memory.js';
import type { Device, Parts } from './parts.js';

/** What is copied aside at most so that an application goes on before it is written. */
export const STAGING_BYTES = 1 << 30;
const LEAST_BYTES = 16 << 20;
/** Of what the system has free, what an operation may have beyond that. */
const FREE_SHARE = 0.5;

export class StagingPool {
  readonly #idle: HostMemory[] = [];
  /** Memory on its way back to the system. */
  #closing: Promise<unknown> = Promise.resolve();

  /**
   * @param limitBytes for each operation
   * @param free bytes that the system has
   */
  constructor(
    readonly create: Parts['createArena'],
    readonly limitBytes = STAGING_BYTES,
    readonly free = availableBytes,
  ) {}

  /**
   * Memory for an operation that moves at most `chunks` chunks; give it {@link back}. It may have fewer slots than that.
   *
   * @throws RuntimeError GCR8115
   */
  async take(chunks: number, device?: Device): Promise<HostMemory> {
    let wanted = Math.max(1, Math.min(chunks * CHUNK_BYTES, this.limitBytes));
    const fits = this.#idle.findIndex(({ reservedBytes }) => reservedBytes >= wanted);
    if (fits >= 0) return this.#idle.splice(fits, 1)[0]!;
    // One that is too small is replaced, so that there are never more than operations at once.
    this.#close(this.#idle.pop());
    // Never more than there may be, for a moment either.
    await this.#closing;
    for (;;) {
      const memory = new HostMemory(this.create, this.limitBytes);
      try {
        await memory.ensureFree(Math.ceil(wanted / CHUNK_BYTES), device);
        return memory;
      } catch (error) {
        if (wanted <= LEAST_BYTES) throw error;
        wanted /= 2;
      }
    }
  }

  /**
   * Lets memory of an operation's grow further, to half of what the system has free now, until it is given back.
   *
   * @param others bytes of it that somebody else is about to need
   */
  widen(memory: HostMemory, others = 0): void {
    const free = Math.max(0, this.free() - others);
    memory.limitBytes = Math.max(this.limitBytes, memory.reservedBytes + FREE_SHARE * free);
  }

  /** @param memory with no slot in use */
  back(memory: HostMemory): void {
    memory.limitBytes = this.limitBytes;
    if (memory.reservedBytes > this.limitBytes) this.#close(memory);
    else this.#idle.push(memory);
  }

  close(): void {
    for (const memory of this.#idle.splice(0)) this.#close(memory);
  }

  #close(memory: HostMemory | undefined): void {
    this.#closing = Promise.all([this.#closing, memory?.close()]);
  }
}
