/** Reading little-endian fields of untrusted images: what lies outside the bytes reads as undefined, never throws. */

export function u16(bytes: Buffer, at: number): number | undefined {
  return at >= 0 && at + 2 <= bytes.length ? bytes.readUInt16LE(at) : undefined;
}

export function u32(bytes: Buffer, at: number): number | undefined {
  return at >= 0 && at + 4 <= bytes.length ? bytes.readUInt32LE(at) : undefined;
}

/** A 64-bit field as a number; undefined beyond 2^53, which no file reaches. */
export function u64(bytes: Buffer, at: number): number | undefined {
  if (at < 0 || at + 8 > bytes.length) return undefined;
  const value = bytes.readBigUInt64LE(at);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : undefined;
}

/** A NUL-terminated string; empty when it is not there or not terminated within 64 KiB. */
export function cString(bytes: Buffer, at: number): string {
  if (at < 0 || at >= bytes.length) return '';
  const end = bytes.indexOf(0, at);
  return end < 0 || end - at > 65536 ? '' : bytes.toString('latin1', at, end);
}
