/**
 * Little-endian layouts as values: a layout reads and writes one kind of content, and is what messages and events are described by
 * (messages.ts, events.ts). Reading checks every size against what is there and never reads beyond it; what does not fit is
 * a {@link WireError}, which ends the connection or the recording, never the supervisor.
 */

/** Content that is not what the protocol says. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

/** Reads a piece of memory from its beginning. */
export class WireReader {
  #at = 0;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get left(): number {
    return this.bytes.length - this.#at;
  }

  /** The place of `count` bytes, which are then read. */
  #take(count: number): number {
    if (count > this.left) throw new WireError(`needs ${count} bytes where ${this.left} are left`);
    const at = this.#at;
    this.#at += count;
    return at;
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8), true);
  }

  /** A copy: rings and buffers are used again. */
  take(count: number): Uint8Array {
    const at = this.#take(count);
    return new Uint8Array(this.bytes.subarray(at, at + count));
  }

  skip(count: number): void {
    this.#take(count);
  }
}

/** Writes a piece of memory that grows. */
export class WireWriter {
  #bytes = Buffer.alloc(256);
  #length = 0;

  #room(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length)
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(Math.max(count, this.#bytes.length))]);
    return at;
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#bytes.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#bytes.writeUInt32LE(value, at);
  }

  u64(value: bigint): void {
    const at = this.#room(8);
    this.#bytes.writeBigUInt64LE(value, at);
  }

  put(bytes: Uint8Array): void {
    const at = this.#room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  zeros(count: number): void {
    this.put(new Uint8Array(count));
  }

  finish(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#length));
  }
}

/** How a kind of content is laid out. */
export interface Layout<T> {
  read(from: WireReader): T;
  write(to: WireWriter, value: T): void;
}

export type ContentOf<L> = L extends Layout<infer T> ? T : never;

export const u16: Layout<number> = { read: (from) => from.u16(), write: (to, value) => to.u16(value) };
export const u32: Layout<number> = { read: (from) => from.u32(), write: (to, value) => to.u32(value) };
/** An address. */
export const address: Layout<bigint> = { read: (from) => from.u64(), write: (to, value) => to.u64(value) };
/** A 64-bit number or size, below 2^53. */
export const u64: Layout<number> = {
  read: (from) => {
    const value = from.u64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new WireError(`number ${value} is too large`);
    return Number(value);
  },
  write: (to, value) => to.u64(BigInt(value)),
};
/** Four bytes that mean nothing. */
export const reserved: Layout<undefined> = {
  read: (from) => {
    from.skip(4);
    return undefined;
  },
  write: (to) => to.zeros(4),
};

export const fixedBytes = (count: number): Layout<Uint8Array> => ({
  read: (from) => from.take(count),
  write: (to, value) => to.put(value.subarray(0, count)),
});

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** UTF-8 with its length in front, padded to a multiple of four. */
export const text: Layout<string> = {
  read: (from) => {
    const bytes = from.take(from.u32());
    from.skip(Math.min(from.left, (4 - (bytes.length % 4)) % 4));
    try {
      return UTF8.decode(bytes);
    } catch {
      throw new WireError('a string is not UTF-8');
    }
  },
  write: (to, value) => {
    const bytes = Buffer.from(value, 'utf8');
    to.u32(bytes.length);
    to.put(bytes);
    to.zeros((4 - (bytes.length % 4)) % 4);
  },
};

/** Bytes with their number (u32) and four zero bytes in front. What pads them is left to the message's or event's end. */
export const countedBytes: Layout<Uint8Array> = {
  read: (from) => {
    const count = from.u32();
    from.skip(4);
    return from.take(count);
  },
  write: (to, value) => {
    to.u32(value.length);
    to.zeros(4);
    to.put(value);
  },
};

/** As many as a u32 in front says. @param least bytes of an element, which bounds the number before anything is made */
export const list = <T>(element: Layout<T>, least: number): Layout<readonly T[]> => ({
  read: (from) => {
    const count = from.u32();
    if (count * least > from.left) throw new WireError(`a list of ${count} does not fit into ${from.left} bytes`);
    return Array.from({ length: count }, () => element.read(from));
  },
  write: (to, values) => {
    to.u32(values.length);
    for (const value of values) element.write(to, value);
  },
});

/** Always as many. */
export const times = <T>(count: number, element: Layout<T>): Layout<readonly T[]> => ({
  read: (from) => Array.from({ length: count }, () => element.read(from)),
  write: (to, values) => {
    for (let index = 0; index < count; index++) element.write(to, values[index]!);
  },
});

/** All that is left. */
export const rest: Layout<Uint8Array> = {
  read: (from) => from.take(from.left),
  write: (to, value) => to.put(value),
};

type Triple = readonly [number, number, number];
export const triple: Layout<Triple> = {
  read: (from): Triple => [from.u32(), from.u32(), from.u32()],
  write: (to, values) => {
    for (const value of values) to.u32(value);
  },
};

type Fields = Readonly<Record<string, Layout<unknown>>>;
type StructOf<F extends Fields> = {
  readonly [K in keyof F as ContentOf<F[K]> extends undefined ? never : K]: ContentOf<F[K]>;
};

/** Members one behind the other. */
export function struct<F extends Fields>(fields: F): Layout<StructOf<F>> {
  const entries = Object.entries(fields);
  return {
    read: (from) => {
      const values: Record<string, unknown> = {};
      for (const [name, layout] of entries) {
        const value = layout.read(from);
        if (value !== undefined) values[name] = value;
      }
      return values as StructOf<F>;
    },
    write: (to, value) => {
      for (const [name, layout] of entries) layout.write(to, (value as Record<string, unknown>)[name]);
    },
  };
}

/** As {@link list}, with four zero bytes behind the number. */
export const paddedList = <T>(element: Layout<T>, least: number): Layout<readonly T[]> => ({
  read: (from) => {
    const count = from.u32();
    from.skip(4);
    if (count * least > from.left) throw new WireError(`a list of ${count} does not fit into ${from.left} bytes`);
    return Array.from({ length: count }, () => element.read(from));
  },
  write: (to, values) => {
    to.u32(values.length);
    to.zeros(4);
    for (const value of values) element.write(to, value);
  },
});
