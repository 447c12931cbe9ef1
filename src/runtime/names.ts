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

/** Names of the numbers `list[from … to)`, one behind the other. */
export function gathered(names: Uint8Array, list: Uint32Array, from = 0, to = list.length): Uint8Array {
  const target = new Uint8Array(NAME_BYTES * (to - from));
  for (let at = from; at < to; ) {
    const first = list[at]!;
    let count = 1;
    while (at + count < to && list[at + count] === first + count) count++;
    target.set(names.subarray(NAME_BYTES * first, NAME_BYTES * (first + count)), NAME_BYTES * (at - from));
    at += count;
  }
  return target;
}
