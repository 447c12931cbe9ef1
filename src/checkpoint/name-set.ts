/** A set of chunk names, 16 bytes each: a hundred million of them must not become a hundred million strings. */
import { NAME_BYTES } from './types.js';

const WORDS = NAME_BYTES / 4;

/** Insertion order is kept. The zero name is never a member: it names nothing that is stored. */
export class NameSet {
  #names = new Uint32Array(1024 * WORDS);
  #count = 0;
  /** Position + 1 of a member, by the first word of its name; open addressing, at most half full. */
  #slots = new Uint32Array(4096);
  readonly #word = new Uint32Array(WORDS);
  readonly #wordBytes = new Uint8Array(this.#word.buffer);

  get size(): number {
    return this.#count;
  }

  /** Adds the name at byte `at`. @returns whether it is new */
  add(names: Uint8Array, at: number): boolean {
    for (let i = 0; i < NAME_BYTES; i++) this.#wordBytes[i] = names[at + i]!;
    const [a, b, c, d] = this.#word as unknown as [number, number, number, number];
    if ((a | b | c | d) === 0) return false;
    const slot = this.#find(a, b, c, d);
    if (this.#slots[slot] !== 0) return false;
    if ((this.#count + 1) * WORDS > this.#names.length) {
      const larger = new Uint32Array(this.#names.length * 2);
      larger.set(this.#names);
      this.#names = larger;
    }
    this.#names.set(this.#word, this.#count * WORDS);
    this.#slots[slot] = ++this.#count;
    if (this.#count * 2 > this.#slots.length) this.#grow();
    return true;
  }

  /** Adds all names of a list. */
  addAll(names: Uint8Array): void {
    for (let at = 0; at < names.length; at += NAME_BYTES) this.add(names, at);
  }

  /** All members, one behind the other; valid until the next `add`. */
  bytes(): Uint8Array {
    return new Uint8Array(this.#names.buffer, 0, this.#count * NAME_BYTES);
  }

  #find(a: number, b: number, c: number, d: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = (a ^ (b << 7)) & mask; ; slot = (slot + 1) & mask) {
      const position = this.#slots[slot]!;
      if (position === 0) return slot;
      const at = (position - 1) * WORDS;
      const names = this.#names;
      if (names[at] === a && names[at + 1] === b && names[at + 2] === c && names[at + 3] === d) return slot;
    }
  }

  #grow(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    const names = this.#names;
    for (let i = 0; i < this.#count; i++) {
      const at = i * WORDS;
      this.#slots[this.#find(names[at]!, names[at + 1]!, names[at + 2]!, names[at + 3]!)] = i + 1;
    }
  }
}
