/**
 * Known content of memory that several streams work on. What a stream was given is known to its own later launches at once, and
 * to others only when it was ordered before them: the copy that brings it may still wait while another stream's launch runs.
 * So content is kept beside the stream that brings it until something orders it, and each launch sees what is ordered
 * before everything plus what its own stream has.
 *
 * The legacy default stream is ordered with blocking streams without anybody's saying so: its work begins after all of theirs that was submitted
 * before, and theirs after its. So each of them sees what it has, too; what a blocking stream has gets to another one only by
 * an order that is told.
 *
 * Soundness. Forgetting goes to every stream's content, whoever writes; so content that is known anywhere was not written
 * since it was told, in the order in which the driver was called. A program whose streams write, unordered, what
 * another's launches take addresses from has a race of its own, and is not followed.
 */
import type { AccessDescriptor } from './descriptor.js';
import { KnownMemory } from './known-memory.js';

/** Streams whose content waits for an order at the same time; the one that waits longest is forgotten beyond. */
const MAX_STREAMS = 64;

/** The legacy default stream, and which streams it is ordered with (docs/formats/runtime-protocol.md). */
const LEGACY = 0;
const isBlocking = (stream: number): boolean => stream % 2 === 0;

/** What a launch may read. */
export interface ContentView {
  /** Equal versions, equal answers. */
  readonly version: number;
  readonly isEmpty: boolean;
  read(address: bigint, bytes: number): Uint8Array | undefined;
}

/** Where nothing is known. */
export const NO_CONTENT: ContentView = { version: -1, isEmpty: true, read: () => undefined };

export class StreamMemory implements ContentView {
  /** Ordered before everything that comes. */
  readonly #common = new KnownMemory();
  /** Content that waits for an order, by stream. */
  readonly #waiting = new Map<number, KnownMemory>();
  #parts: readonly KnownMemory[] = [this.#common];
  #stream: number | undefined;
  /** What the present stream sees besides what all see. */
  #own: readonly KnownMemory[] = [];
  #version = 0;

  get version(): number {
    return this.#version;
  }

  get isEmpty(): boolean {
    return this.#common.isEmpty && this.#own.every(({ isEmpty }) => isEmpty);
  }

  read(address: bigint, bytes: number): Uint8Array | undefined {
    for (const memory of this.#own) {
      const content = memory.read(address, bytes);
      if (content) return content;
    }
    return this.#common.read(address, bytes);
  }

  /** What follows happens in a stream; without one it is ordered with everything. */
  select(stream: number | undefined): void {
    if (stream === this.#stream) return;
    this.#stream = stream;
    this.#settle();
    if (this.#waiting.size > 0) this.#version++;
  }

  /** What was given to a stream, or to all of them, has happened when later events run. */
  order(stream?: number): void {
    for (const [number, memory] of this.#waiting) {
      if (stream !== undefined && stream !== number) continue;
      this.#waiting.delete(number);
      this.#common.absorb(memory);
    }
    this.#settle();
    this.#version++;
  }

  /** The stream waits for what another was given before this. */
  wait(stream: number, other: number): void {
    const seen = this.#seenBy(other);
    if (seen.length === 0 || stream === other) return;
    const target = this.#of(stream);
    for (const memory of seen) if (memory !== target) target.absorb(memory);
    this.#settle();
    this.#version++;
  }

  /** What waits for an order, as far as it comes before what is submitted to the stream now. */
  #seenBy(stream: number): readonly KnownMemory[] {
    if (stream === LEGACY) return [...this.#waiting].filter(([other]) => isBlocking(other)).map(([, memory]) => memory);
    const numbers = isBlocking(stream) ? [stream, LEGACY] : [stream];
    return numbers.flatMap((number) => this.#waiting.get(number) ?? []);
  }

  #settle(): void {
    this.#own = this.#stream === undefined ? [] : this.#seenBy(this.#stream);
    this.#parts = [this.#common, ...this.#waiting.values()];
  }

  #of(stream: number): KnownMemory {
    let memory = this.#waiting.get(stream);
    if (!memory) {
      const [oldest] = this.#waiting.keys();
      if (this.#waiting.size >= MAX_STREAMS) this.#waiting.delete(oldest!);
      memory = new KnownMemory();
      this.#waiting.set(stream, memory);
    }
    return memory;
  }

  /** Where new content of the present stream goes. */
  #target(): KnownMemory {
    if (this.#stream === undefined) return this.#common;
    const memory = this.#of(this.#stream);
    this.#settle();
    return memory;
  }

  #everywhere(change: (memory: KnownMemory) => void): void {
    for (const part of this.#parts) {
      const before = part.version;
      change(part);
      if (part.version !== before) this.#version++;
    }
  }

  write(address: bigint, bytes: Uint8Array): void {
    this.forget(address, address + BigInt(bytes.length));
    this.#target().write(address, bytes);
    this.#version++;
  }

  /** As {@link KnownMemory.fill}. */
  fill(address: bigint, size: number, pattern: Uint8Array): void {
    this.forget(address, address + BigInt(size));
    this.#target().fill(address, size, pattern);
    this.#version++;
  }

  /** A copy on the device, of what the present stream knows of the source. */
  copy(source: bigint, target: bigint, size: number): void {
    const known = [...this.#own, this.#common];
    // Into a place of its own first: the target may hold part of the source.
    const copied = new KnownMemory();
    copied.copy(source, target, size, known);
    this.forget(target, target + BigInt(size));
    if (copied.isEmpty) return;
    this.#target().absorb(copied);
    this.#version++;
  }

  forget(from: bigint, to: bigint): void {
    this.#everywhere((memory) => memory.forget(from, to));
  }

  forgetAll(descriptors: readonly AccessDescriptor[]): void {
    this.#everywhere((memory) => memory.forgetAll(descriptors));
  }

  forgetEverything(): void {
    this.#everywhere((memory) => memory.forgetEverything());
  }
}
