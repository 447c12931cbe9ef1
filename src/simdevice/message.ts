/**
 * Messages between simulated driver and device (docs/formats/runtime-protocol.md, "Simulated device") as bytes. A reader never goes beyond
 * what came and remembers that something was missing, so a decoder needs one check at its end.
 */

export const HEAD_BYTES = 16;
export const PROTOCOL_VERSION = 1;

/** Types of messages, by who sends them. */
export const FROM_DRIVER = {
  hello: 1,
  memory: 2,
  map: 3,
  unmap: 4,
  memoryInfo: 5,
  module: 6,
  launch: 7,
  place: 8,
  moduleGone: 9,
  process: 10,
  processReply: 18,
} as const;
export const FROM_DEVICE = { reply: 16, process: 17 } as const;

/** The `CUresult`s that the device answers with. */
export const RESULT = {
  success: 0,
  invalidValue: 1,
  outOfMemory: 2,
  notInitialized: 3,
  deviceUnavailable: 46,
  invalidPtx: 218,
  invalidHandle: 400,
  illegalAddress: 700,
  launchTimeout: 702,
  illegalInstruction: 715,
  launchFailed: 719,
  notSupported: 801,
  unknown: 999,
} as const;

export interface Head {
  readonly type: number;
  readonly request: bigint;
}

export function readHead(packet: Buffer): Head {
  return { type: packet.readUInt16LE(4), request: packet.readBigUInt64LE(8) };
}

export class MessageReader {
  #at = HEAD_BYTES;
  #good = true;

  constructor(readonly packet: Buffer) {}

  #take(size: number): number {
    if (this.#at + size > this.packet.length) {
      this.#good = false;
      this.#at = this.packet.length;
      return -1;
    }
    this.#at += size;
    return this.#at - size;
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.packet.readUInt32LE(at);
  }

  u64(): bigint {
    const at = this.#take(8);
    return at < 0 ? 0n : this.packet.readBigUInt64LE(at);
  }

  bytes(size: number): Buffer {
    const at = this.#take(size);
    return at < 0 ? Buffer.alloc(0) : this.packet.subarray(at, at + size);
  }

  /** Whether everything asked for was there, and nothing else. */
  get complete(): boolean {
    return this.#good && this.#at === this.packet.length;
  }
}

export class MessageWriter {
  readonly #parts: Buffer[] = [];

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.#parts.push(part);
    return this;
  }

  u64(value: bigint | number): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(BigInt.asUintN(64, BigInt(value)));
    this.#parts.push(part);
    return this;
  }

  /** Bytes, padded with zeros to a multiple of 4. */
  padded(content: Uint8Array): this {
    this.#parts.push(Buffer.from(content), Buffer.alloc(-content.length & 3));
    return this;
  }

  string(text: string): this {
    const bytes = Buffer.from(text, 'utf8');
    return this.u32(bytes.length).padded(bytes);
  }

  bytes(content: Uint8Array): this {
    this.#parts.push(Buffer.from(content));
    return this;
  }

  /** What was written, without a head. */
  content(): Buffer {
    return Buffer.concat(this.#parts);
  }

  /** What was written as a message. */
  packet(type: number, request: bigint): Buffer {
    const head = Buffer.alloc(HEAD_BYTES);
    const body = this.content();
    head.writeUInt32LE(HEAD_BYTES + body.length, 0);
    head.writeUInt16LE(type, 4);
    head.writeBigUInt64LE(request, 8);
    return Buffer.concat([head, body]);
  }
}

/** Characters of a reply's text: what is longer is cut, so that a message stays one. */
const MAX_TEXT = 16_000;

export function replyPacket(request: bigint, status: number, text = '', body?: Buffer): Buffer {
  const writer = new MessageWriter().u32(status).string(text.slice(0, MAX_TEXT));
  if (body) writer.bytes(body);
  return writer.packet(FROM_DEVICE.reply, request);
}
