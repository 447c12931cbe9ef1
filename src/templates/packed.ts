/**
 * The templates of one image, kept as text until a kernel is launched: an image may hold thousands of kernels of which a program launches
 * a few. What it is made of goes from thread to thread without being copied, and making it whole costs the receiver nothing.
 */
import type { KernelTemplate, TemplateFile, TemplateModule } from './types.js';

type MemoryObject = KernelTemplate['objects'][number];

/** Texts, one behind the other. */
export interface PackedTexts {
  /** Where each ends. */
  readonly ends: Float64Array<ArrayBuffer>;
  /** UTF-8. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Plain data: small but for its arrays. */
export interface PackedParts {
  readonly modules: readonly TemplateModule[];
  /** Variables in device memory that templates name; not those that they disagree on. */
  readonly objects: readonly MemoryObject[];
  /** Names of variables in device memory, also of those. */
  readonly variables: readonly string[];
  /** Kernels by name, and their templates as JSON; a name may be there several times. */
  readonly names: PackedTexts;
  readonly templates: PackedTexts;
  /** Kernels without a template by name, and which of the reasons is each one's. */
  readonly missing: PackedTexts;
  readonly reasonOf: Uint32Array<ArrayBuffer>;
  readonly reasons: readonly string[];
}

/** Variables in device memory by name; undefined where templates disagree. */
export function objectsOf(kernels: readonly KernelTemplate[]): Map<string, MemoryObject | undefined> {
  const found = new Map<string, MemoryObject | undefined>();
  for (const { objects } of kernels) {
    for (const object of objects) {
      if (object.space !== 'global' && object.space !== 'constant') continue;
      const known = found.get(object.name);
      const agrees = !found.has(object.name) || (known && JSON.stringify(known) === JSON.stringify(object));
      found.set(object.name, agrees ? object : undefined);
    }
  }
  return found;
}

function pack(texts: readonly string[]): PackedTexts {
  const parts = texts.map((text) => Buffer.from(text));
  const ends = new Float64Array(parts.length);
  let end = 0;
  for (const [index, { length }] of parts.entries()) {
    end += length;
    ends[index] = end;
  }
  const bytes = new Uint8Array(end);
  for (const [index, part] of parts.entries()) bytes.set(part, ends[index]! - part.length);
  return { ends, bytes };
}

/** In order of the names' bytes, as they are searched. */
function byName<T extends { readonly name: string }>(list: readonly T[]): readonly T[] {
  const keys = new Map(list.map((one) => [one, Buffer.from(one.name)]));
  return [...list].sort((a, b) => Buffer.compare(keys.get(a)!, keys.get(b)!));
}

export function packTemplates({ modules, kernels, missing }: TemplateFile): PackedParts {
  const variables = objectsOf(kernels);
  const sorted = byName(kernels);
  const without = byName(missing);
  const reasons = new Map<string, number>();
  const reasonOf = Uint32Array.from(without, ({ message }) => {
    const number = reasons.get(message) ?? reasons.size;
    reasons.set(message, number);
    return number;
  });
  return {
    modules,
    objects: [...variables.values()].filter((object) => object !== undefined),
    variables: [...variables.keys()],
    names: pack(sorted.map(({ name }) => name)),
    templates: pack(sorted.map((kernel) => JSON.stringify(kernel))),
    missing: pack(without.map(({ name }) => name)),
    reasonOf,
    reasons: [...reasons.keys()],
  };
}

/** What is handed over instead of being copied. */
export const buffersOf = ({ names, templates, missing, reasonOf }: PackedParts): ArrayBuffer[] =>
  [names, templates, missing]
    .flatMap(({ ends, bytes }) => [ends.buffer, bytes.buffer])
    .concat(reasonOf.buffer as ArrayBuffer);

function textAt({ ends, bytes }: PackedTexts, index: number): Buffer {
  const from = ends[index - 1] ?? 0;
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, ends[index]! - from);
}

/** The first of sorted texts that is not before another. */
function place(texts: PackedTexts, wanted: Buffer): number {
  let low = 0;
  let high = texts.ends.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (Buffer.compare(textAt(texts, middle), wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

const isAt = (texts: PackedTexts, index: number, wanted: Buffer): boolean =>
  index < texts.ends.length && textAt(texts, index).equals(wanted);

export class PackedTemplates {
  readonly #made = new Map<string, readonly KernelTemplate[]>();
  readonly objects: ReadonlyMap<string, MemoryObject>;

  constructor(readonly parts: PackedParts) {
    this.objects = new Map(parts.objects.map((object) => [object.name, object]));
  }

  /** How many there are. */
  get size(): number {
    return this.parts.names.ends.length;
  }

  /** Templates of a kernel: none, one, or several of which one is true. */
  kernels(name: string): readonly KernelTemplate[] {
    let made = this.#made.get(name);
    if (made) return made;
    const { names, templates } = this.parts;
    const wanted = Buffer.from(name);
    const own: KernelTemplate[] = [];
    for (let at = place(names, wanted); isAt(names, at, wanted); at++)
      own.push(JSON.parse(textAt(templates, at).toString('utf8')) as KernelTemplate);
    made = own;
    this.#made.set(name, made);
    return made;
  }

  /** Why a kernel has none, where that is known. */
  whyMissing(name: string): string | undefined {
    const { missing, reasonOf, reasons } = this.parts;
    const wanted = Buffer.from(name);
    const at = place(missing, wanted);
    return isAt(missing, at, wanted) ? reasons[reasonOf[at]!] : undefined;
  }
}
