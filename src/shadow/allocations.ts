/**
 * The live device memory: what the application allocated, and the places of module variables. An `allocation` verdict
 * takes a whole entry from here and an `unknown` one all of them, so a map that misses an allocation is unsound: every
 * contradiction (an overlap, a free of nothing) is an error of the trace and never smoothed over.
 *
 * The one exception: traces do not say when a module is unloaded, so a variable whose place is given to something else is
 * taken to have gone with its module.
 */
import { type Diagnostic, InputError } from '../diagnostics/index.js';
import { type AccessDescriptor, rangeDescriptor } from './descriptor.js';
import { IntervalMap } from './interval-map.js';
import { ADDRESS_SPACE, type AddressRange, hexAddress } from './ranges.js';

export const POINTER_BYTES = 8;

/** A live allocation, or the place of a module variable (`name`). */
export interface Allocation extends AddressRange {
  readonly name?: string;
  /** All of it. */
  readonly whole: AccessDescriptor;
}

/** Everything that is alive at some time. */
export interface Everything {
  readonly descriptors: () => readonly AccessDescriptor[];
  readonly bytes: bigint;
}

function refuse(code: 'GCR5010' | 'GCR5011' | 'GCR5012', message: string, hint: string): InputError {
  const diagnostic: Diagnostic = { code, severity: 'error', message, hint };
  return new InputError(diagnostic);
}

export class AllocationMap {
  readonly #map = new IntervalMap<Allocation>();
  #epoch = 0;
  #all: readonly Allocation[] | undefined;
  #everything: Everything | undefined;
  #bytes = 0n;

  /** Grows with every change: equal epochs, equal maps. */
  get epoch(): number {
    return this.#epoch;
  }

  /**
   * @param size bytes
   * @throws InputError GCR5010 for a size of zero or past the end of addresses, GCR5011 when something live is there
   */
  allocate(address: bigint, size: number): Allocation {
    return this.#add(address, size);
  }

  /** Places a module variable; errors as {@link allocate}. The same variable at the same place again changes nothing. */
  variable(name: string, address: bigint, size: number): Allocation {
    const known = this.#map.at(address);
    if (known?.name === name && known.to === address + BigInt(size)) return known;
    return this.#add(address, size, name);
  }

  #add(from: bigint, size: number, name?: string): Allocation {
    const range = { from, to: from + BigInt(size) };
    const added = { ...range, ...(name !== undefined && { name }), whole: rangeDescriptor(range) };
    const what = name === undefined ? 'allocation' : `variable ${name}`;
    if (added.from < 0n || added.to <= added.from || added.to > ADDRESS_SPACE) {
      const message = `${what} of ${added.to - added.from} bytes at ${hexAddress(added.from)}`;
      throw refuse('GCR5010', message, 'an allocation has at least one byte and ends below 2^64');
    }
    const there = this.#map.overlapping(added.from, added.to);
    const live = there.find(({ name }) => name === undefined);
    if (live) {
      const place = `${hexAddress(live.from)} of ${live.to - live.from} bytes`;
      const hint = 'is a free event missing before this line?';
      throw refuse('GCR5011', `${what} at ${hexAddress(added.from)} overlaps the live allocation at ${place}`, hint);
    }
    for (const variable of there) this.#remove(variable);
    this.#map.insert(added);
    this.#bytes += added.to - added.from;
    this.#changed();
    return added;
  }

  /** @throws InputError GCR5012 when no live allocation starts there (a double free, a variable, the middle of one) */
  free(address: bigint): Allocation {
    const found = this.#map.at(address);
    if (!found || found.name !== undefined) {
      const inside = found ?? this.#map.find(address);
      const why =
        found?.name !== undefined
          ? `is the variable ${found.name}`
          : inside
            ? `is inside the allocation at ${hexAddress(inside.from)}`
            : 'is not allocated';
      throw refuse(
        'GCR5012',
        `free of ${hexAddress(address)}, which ${why}`,
        'was it freed before, or its alloc event left out?',
      );
    }
    this.#remove(found);
    this.#changed();
    return found;
  }

  #remove(gone: Allocation): void {
    this.#map.remove(gone);
    this.#bytes -= gone.to - gone.from;
  }

  #changed(): void {
    this.#epoch++;
    this.#all = undefined;
    this.#everything = undefined;
  }

  /** What holds an address. */
  find(address: bigint): Allocation | undefined {
    return this.#map.find(address);
  }

  /** What the pointers of a parameter block point into: each word that is aligned like one counts. */
  pointedTo(parameters: DataView): readonly Allocation[] {
    const found = new Set<Allocation>();
    for (let at = 0; at + POINTER_BYTES <= parameters.byteLength; at += POINTER_BYTES) {
      const allocation = this.find(parameters.getBigUint64(at, true));
      if (allocation) found.add(allocation);
    }
    return [...found];
  }

  /** What overlaps `[from, to)`, in order of address. */
  overlapping(from: bigint, to: bigint): readonly Allocation[] {
    return this.#map.overlapping(from, to);
  }

  /** Everything, in order of address; the same array until something changes. */
  all(): readonly Allocation[] {
    this.#all ??= this.#map.all();
    return this.#all;
  }

  /** The same as what may be written, as of now; the same object until something changes. */
  everything(): Everything {
    if (!this.#everything) {
      const all = this.#map.snapshot();
      let made: readonly AccessDescriptor[] | undefined;
      const descriptors = () => {
        // One list for all who ask: an accumulator knows it again.
        made ??= all().map(({ whole }) => whole);
        return made;
      };
      this.#everything = { descriptors, bytes: this.#bytes };
    }
    return this.#everything;
  }
}
