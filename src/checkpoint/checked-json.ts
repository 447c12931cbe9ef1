/**
 * Checked JSON (docs/formats/store.md): an object on one line whose last member is the hash of every byte before it. A file
 * that was cut off or changed anywhere is refused before its content is looked at. Manifests and store.json rely on it.
 */
import { treeHash } from '../native/index.js';
import { damaged } from './errors.js';

const TAIL = /^,"check":"([0-9a-f]{32})"\}\n?$/;
/** `,"check":"` + 32 digits + `"}` */
const TAIL_BYTES = 44;

export const hex = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');

/** The bytes of a file with these members. */
export function encodeCheckedJson(members: object): Uint8Array {
  const head = Buffer.from(JSON.stringify(members).slice(0, -1), 'utf8');
  return Buffer.concat([head, Buffer.from(`,"check":"${hex(treeHash(head))}"}\n`)]);
}

/**
 * The members of a checked JSON file, `check` included.
 *
 * @param place the store, and `file` the name inside it, for messages
 * @throws StoreError GCR7012 when the file is not whole
 */
export function decodeCheckedJson(bytes: Uint8Array, place: string, file: string): Record<string, unknown> {
  const end = bytes.at(-1) === 0x0a ? bytes.length - 1 : bytes.length;
  const tail = Buffer.from(bytes.subarray(Math.max(0, end - TAIL_BYTES), end)).toString('latin1');
  const check = TAIL.exec(tail)?.[1];
  if (check === undefined) throw damaged(place, file, 'is cut off, or is not a file of a store');
  if (hex(treeHash(bytes.subarray(0, end - TAIL_BYTES))) !== check)
    throw damaged(place, file, 'was changed after it was written: its check does not fit');
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw damaged(place, file, `is not JSON: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw damaged(place, file, 'is not a JSON object');
  return value as Record<string, unknown>;
}

/** Reads members of known types; every mistake is a {@link damaged} error that names the member. */
export class Members {
  constructor(
    readonly values: Readonly<Record<string, unknown>>,
    readonly place: string,
    readonly file: string,
    readonly path = '',
  ) {}

  fail(name: string, expected: string): never {
    throw damaged(this.place, this.file, `member ${this.path}${name} must be ${expected}`);
  }

  #value(name: string): unknown {
    return Object.hasOwn(this.values, name) ? this.values[name] : undefined;
  }

  text(name: string, pattern?: RegExp): string {
    const value = this.#value(name);
    if (typeof value !== 'string') return this.fail(name, 'a string');
    if (pattern && !pattern.test(value)) return this.fail(name, `like ${pattern.source}`);
    return value;
  }

  optionalText(name: string): string | undefined {
    return this.#value(name) === undefined ? undefined : this.text(name);
  }

  count(name: string): number {
    const value = this.#value(name);
    if (!Number.isSafeInteger(value) || (value as number) < 0) return this.fail(name, 'a count');
    return value as number;
  }

  flag(name: string): boolean {
    const value = this.#value(name);
    return typeof value === 'boolean' ? value : this.fail(name, 'true or false');
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const value = this.#value(name);
    return values.find((known) => known === value) ?? this.fail(name, `one of ${values.join(', ')}`);
  }

  texts(name: string): readonly string[] {
    const value = this.#value(name);
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string'))
      return this.fail(name, 'a list of strings');
    return value;
  }

  object(name: string): Members {
    const value = this.#value(name);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return this.fail(name, 'an object');
    return new Members(value as Record<string, unknown>, this.place, this.file, `${this.path}${name}.`);
  }

  /** An object, or null. */
  nullable<T>(name: string, read: (members: Members) => T): T | null {
    return this.#value(name) === null ? null : read(this.object(name));
  }

  list<T>(name: string, limit: number, read: (members: Members) => T): readonly T[] {
    const value = this.#value(name);
    if (!Array.isArray(value) || value.length > limit) return this.fail(name, `a list of at most ${limit}`);
    return value.map((_, index) => {
      const inner = new Members(
        value as unknown as Record<string, unknown>,
        this.place,
        this.file,
        `${this.path}${name}.`,
      );
      return read(inner.object(String(index)));
    });
  }
}
