/** Lists of names, 16 bytes each: comparing and gathering a hundred thousand of them in about a millisecond. */
import { NAME_BYTES } from '../checkpoint/index.js';

/** Names that are compared as one before each is looked at. */
const BLOCK = 64;

const wordsOf = ({ buffer, byteOffset, length }: Uint8Array): Int32Array | undefined =>
  byteOffset % 4 === 0 ? new Int32Array(buffer, byteOffset, length / 4) : undefined;

/** The numbers of names that differ, from `base` on, go to `target` from `at` on. @returns the next place of `target` */
export function differing(own: Uint8Array, other: Uint8Array, base: number, target: Uint32Array, at: number): number {
  if (Buffer.compare(own, other) === 0) return at;
  const count = own.length / NAME_BYTES;
  const [a, b] = [wordsOf(own) ?? wordsOf(own.slice())!, wordsOf(other) ?? wordsOf(other.slice())!];
  let next = at;
  for (let from = 0; from < count; from += BLOCK) {
    const to = Math.min(count, from + BLOCK);
    const [start, end] = [from * NAME_BYTES, to * NAME_BYTES];
    if (Buffer.compare(own.subarray(start, end), other.subarray(start, end)) === 0) continue;
    for (let i = from; i < to; i++) {
      const w = 4 * i;
      if (a[w] !== b[w] || a[w + 1] !== b[w + 1] || a[w + 2] !== b[w + 2] || a[w + 3] !== b[w + 3])
        target[next++] = base + i;
    }
  }
  return next;
}

/** Of ascending numbers of names, those whose name is not the zero name. */
export function withoutZero(names: Uint8Array, list: Uint32Array): Uint32Array<ArrayBuffer> {
  const words = wordsOf(names) ?? wordsOf(names.slice())!;
  const kept = new Uint32Array(list.length);
  let count = 0;
  for (let i = 0; i < list.length; i++) {
    const w = 4 * list[i]!;
    if ((words[w]! | words[w + 1]! | words[w + 2]! | words[w + 3]!) !== 0) kept[count++] = list[i]!;
  }
  return kept.subarray(0, count);
}

/** The numbers below `end` that an ascending list does not have. */
export function othersThan(list: Uint32Array, end: number): Uint32Array<ArrayBuffer> {
  const others = new Uint32Array(end - list.length);
  let count = 0;
  let next = 0;
  for (let i = 0; i < list.length; i++) {
    const number = list[i]!;
    while (next < number) others[count++] = next++;
    next++;
  }
  while (next < end) others[count++] = next++;
  return others;
}

/**
 * How many numbers of an ascending list follow each other from position `at` on, at most `limit`. Found by doubling, so that a long run costs next to
 * nothing.
 */
export function runLength(list: Uint32Array, at: number, limit: number): number {
  const first = list[at]!;
  const holds = (count: number) => list[at + count - 1] === first + count - 1;
  let low = 1;
  let high = Math.min(2, limit);
  while (high < limit && holds(high)) {
    low = high;
    high = Math.min(limit, 2 * high);
  }
  if (holds(high)) return high;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Names of the ascending numbers `list[from … to)`, one behind the other. */
export function gathered(names: Uint8Array, list: Uint32Array, from = 0, to = list.length): Uint8Array {
  const target = new Uint8Array(NAME_BYTES * (to - from));
  for (let at = from; at < to; ) {
    const first = list[at]!;
    const count = runLength(list, at, to - at);
    target.set(names.subarray(NAME_BYTES * first, NAME_BYTES * (first + count)), NAME_BYTES * (at - from));
    at += count;
  }
  return target;
}
