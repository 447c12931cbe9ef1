/** Pseudo-random words: a deterministic stand-in for values that nothing determines. */

/** A well mixed 32-bit word of three (the finisher of MurmurHash3 between the words). */
export function hash32(a: number, b: number, c: number): number {
  let h = a | 0;
  for (const word of [b, c, 0x9e3779b9]) {
    h = Math.imul(h ^ (word | 0), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h ^= h >>> 16;
  }
  return h | 0;
}
