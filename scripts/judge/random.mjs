/** Seeded random numbers: a session is found again by seed, kernel and number. */

/** A seed of 32 bits from a text (FNV-1a). */
export function seedOf(text) {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** A generator with what sessions draw (mulberry32). */
export class Random {
  constructor(seed) {
    this.state = seed >>> 0;
  }

  /** Any 32 bits, not negative. */
  word() {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** From zero to `limit - 1`. */
  below(limit) {
    return Math.floor((this.word() / 2 ** 32) * limit);
  }

  chance(share) {
    return this.word() < share * 2 ** 32;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  /** Fills bytes with noise. */
  fill(bytes) {
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    for (let index = 0; index < words.length; index++) words[index] = this.word();
    for (let index = words.length << 2; index < bytes.length; index++) bytes[index] = this.word();
    return bytes;
  }
}
