/** Reading little-endian fields of untrusted images: what lies outside the bytes reads as undefined, never throws. */

const MAX_STRING = 65536;

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

/** The bytes without NULs at the end. */
export function withoutPadding(bytes: Buffer): Buffer {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return bytes.subarray(0, end);
}

/** A NUL-terminated string; empty when it is not there or not terminated within 64 KiB. */
export function cString(bytes: Buffer, at: number): string {
  if (at < 0 || at >= bytes.length) return '';
  const window = bytes.subarray(at, at + MAX_STRING + 1);
  const end = window.indexOf(0);
  return end < 0 ? '' : window.toString('latin1', 0, end);
}
