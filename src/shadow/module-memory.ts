/**
 * The content that a module's variables get when it is loaded, as far as templates tell, put into known memory.
 *
 * Soundness. A trace tells a variable's place some time after the module was loaded, and by then its content may have changed.
 * So initial content counts only while nothing was written since the module's first `module` event: no launch, no copy, no fill.
 * An address inside it may become known later than the variable that holds it; its bytes are watched meanwhile, and are filled
 * in only if nothing touched them.
 */
import type { KernelTemplate } from '../templates/index.js';
import type { AccessDescriptor } from './descriptor.js';
import { KnownMemory } from './known-memory.js';
import type { LoadedModule } from './module-table.js';
import type { StreamMemory } from './stream-memory.js';

type Relocation = NonNullable<KernelTemplate['objects'][number]['relocations']>[number];

/** Bytes that wait for the address of a variable. */
interface Waiting {
  readonly place: bigint;
  readonly relocation: Relocation;
}

export class ModuleMemory {
  /** Bytes that wait and have not been written: known here, with no content of interest. */
  readonly #untouched = new KnownMemory();
  /** By the name they wait for. */
  #waiting = new Map<string, Waiting[]>();
  readonly #seen = new WeakSet<LoadedModule>();
  #fresh = false;

  constructor(readonly memory: StreamMemory) {}

  /** A `module` event. Of a module seen before it is not known whether it was loaded anew. */
  enter(module: LoadedModule): void {
    this.#fresh = !this.#seen.has(module);
    this.#seen.add(module);
    this.#waiting = new Map();
    this.#untouched.forgetEverything();
  }

  /** A variable of the module entered last has its place; whatever was known there has been forgotten. */
  place(module: LoadedModule, name: string, address: bigint, size: number): void {
    if (this.#fresh) this.#write(module, name, address, size);
    const waiting = this.#waiting.get(name) ?? [];
    this.#waiting.delete(name);
    for (const entry of waiting) this.#resolve(entry, address);
  }

  #write(module: LoadedModule, name: string, address: bigint, size: number): void {
    const object = module.objects.get(name);
    if (object?.initial === undefined || object.size !== size) return;
    this.memory.fill(address, size, Uint8Array.of(0));
    this.memory.write(address, Buffer.from(object.initial, 'hex'));
    for (const relocation of object.relocations ?? []) {
      const entry = { place: address + BigInt(relocation.offset), relocation };
      const end = entry.place + BigInt(relocation.bytes);
      this.memory.forget(entry.place, end);
      // Where functions are, and the addresses of constants, no trace tells.
      if (relocation.space !== 'global') continue;
      this.#untouched.fill(entry.place, relocation.bytes, Uint8Array.of(0));
      const target = module.symbols.get(relocation.name);
      if (target !== undefined) this.#resolve(entry, target);
      else {
        const waiting = this.#waiting.get(relocation.name);
        if (waiting) waiting.push(entry);
        else this.#waiting.set(relocation.name, [entry]);
      }
    }
  }

  #resolve({ place, relocation }: Waiting, target: bigint): void {
    const { bytes, shift, addend } = relocation;
    if (!this.#untouched.read(place, bytes)) return;
    const content = new Uint8Array(8);
    new DataView(content.buffer).setBigUint64(0, BigInt.asUintN(64, target + BigInt(addend)) >> BigInt(shift), true);
    this.memory.write(place, content.subarray(0, bytes));
    this.#untouched.forget(place, place + BigInt(bytes));
  }

  /** New memory appeared, or old memory went: its bytes wait no longer. */
  forget(from: bigint, to: bigint): void {
    this.#untouched.forget(from, to);
  }

  /** The driver wrote `[from, to)`. */
  written(from: bigint, to: bigint): void {
    this.#fresh = false;
    this.#untouched.forget(from, to);
  }

  /** A launch wrote; without descriptors, anything. */
  launched(descriptors: readonly AccessDescriptor[] | undefined): void {
    this.#fresh = false;
    if (descriptors) this.#untouched.forgetAll(descriptors);
    else this.#untouched.forgetEverything();
  }
}
