/**
 * Where in memory a launch writes, from what abstract execution says relative to its pointers: put in place, and clipped to
 * allocations where it is a superset.
 *
 * Soundness. See `analyse.ts`, whose answers are made here: each site that may execute has its bytes among the descriptors, or the whole
 * allocations of all its bases, or the verdict is `unknown`.
 */
import {
  type Base,
  type KernelTemplate,
  type Reason,
  type Site,
  type Verdict,
  worseVerdict,
} from '../templates/index.js';
import type { RelativeDescriptor } from './abstract/boxes.js';
import type { AbstractResult, Effect, SiteOutcome } from './abstract/execute.js';
import type { Place } from './abstract/places.js';
import { type Allocation, type AllocationMap, POINTER_BYTES } from './allocations.js';
import { type AccessDescriptor, clipDescriptor, hullOf, rangeDescriptor } from './descriptor.js';
import { DirtySet } from './dirty-set.js';
import type { LaunchRecord } from './launch.js';
import { hexAddress } from './ranges.js';
import type { ContentView } from './stream-memory.js';
import type { TensorMaps } from './tensor-maps.js';

/** What a launch finds on the device. */
export interface LaunchEnvironment {
  /** Where the module's variables are, by name. */
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly memory: ContentView;
  readonly allocations: AllocationMap;
  readonly maps: TensorMaps;
  /** Whether pointers stay in what they were derived from. */
  readonly provenance: boolean;
}

/** A superset of at least this many bytes is an unknown offset of 32 bits, and its pointer's allocation says more. */
const WIDE = 1n << 31n;

function isWide(descriptor: AccessDescriptor): boolean {
  const hull = hullOf(descriptor);
  return hull !== undefined && hull.to - hull.from >= WIDE;
}

function inMemory({ start, width, dimensions }: RelativeDescriptor, base: bigint): AccessDescriptor {
  return {
    start: start === 0 ? BigInt.asUintN(64, base) : BigInt.asUintN(64, base + BigInt(start)),
    width,
    dimensions,
  };
}

export interface Placed {
  readonly set: DirtySet;
  readonly usesAllocations: boolean;
  readonly symbols: readonly (readonly [string, bigint | undefined])[];
}

const NO_REASONS: readonly Reason[] = [];
const NO_SYMBOLS: Placed['symbols'] = [];

/** Puts a relative result into memory. */
export function placeResult(
  template: KernelTemplate,
  launch: LaunchRecord,
  environment: LaunchEnvironment,
  result: AbstractResult,
): Placed {
  const descriptors = placeExactly(result.places, launch.parameters);
  if (result.outcomes.length > 0) return new Placement(template, launch, environment, result).place(descriptors);
  return { set: new DirtySet('exact', NO_REASONS, descriptors), usesAllocations: false, symbols: NO_SYMBOLS };
}

/** Reads pointers without a view of each parameter block. */
const POINTER_WORDS = new Uint8Array(POINTER_BYTES);
const POINTER = new DataView(POINTER_WORDS.buffer);

function pointerAt(parameters: Uint8Array, offset: number): bigint {
  for (let byte = 0; byte < POINTER_BYTES; byte++) POINTER_WORDS[byte] = parameters[offset + byte]!;
  return POINTER.getBigUint64(0, true);
}

function placeExactly(places: readonly Place[], parameters: Uint8Array): AccessDescriptor[] {
  const placed: AccessDescriptor[] = [];
  for (const { root, big, descriptors } of places) {
    let base =
      root?.kind === 'parameter' ? pointerAt(parameters, root.offset) : root?.kind === 'loaded' ? root.value : 0n;
    if (big !== 0n) base += big;
    for (const descriptor of descriptors) placed.push(inMemory(descriptor, base));
  }
  return placed;
}

/** What a result with something else than exact places needs. */
class Placement {
  readonly #descriptors: AccessDescriptor[] = [];
  readonly #whole: Allocation[] = [];
  readonly #reasons: Reason[] = [];
  readonly #symbols: (readonly [string, bigint | undefined])[] = [];
  readonly #parameters: DataView;
  #verdict: Verdict = 'exact';
  #usesAllocations = false;

  constructor(
    readonly template: KernelTemplate,
    readonly launch: LaunchRecord,
    readonly environment: LaunchEnvironment,
    readonly result: AbstractResult,
  ) {
    const { buffer, byteOffset, byteLength } = launch.parameters;
    this.#parameters = new DataView(buffer, byteOffset, byteLength);
  }

  /** @param descriptors what is written exactly */
  place(descriptors: readonly AccessDescriptor[]): Placed {
    this.#descriptors.push(...descriptors);
    for (const outcome of this.result.outcomes) this.#site(outcome);
    for (const allocation of this.#whole) this.#descriptors.push(rangeDescriptor(allocation));
    return {
      set: new DirtySet(this.#verdict, this.#reasons, this.#verdict === 'unknown' ? [] : this.#descriptors),
      usesAllocations: this.#usesAllocations,
      symbols: this.#symbols,
    };
  }

  #worsen(verdict: Verdict, site: Site, why?: Reason): void {
    this.#verdict = worseVerdict(this.#verdict, verdict);
    if (verdict === 'exact') return;
    const own = site.reasons.length > 0 && site.verdict !== 'exact' ? site.reasons : [];
    const { line, instruction } = site;
    const widened: Reason = { code: 'GCR5017', message: 'not expressible exactly for this launch', line, instruction };
    for (const reason of why ? [...own, why] : own.length > 0 ? own : [widened]) {
      const known = this.#reasons.some(
        ({ code, line: at, message }) => code === reason.code && at === reason.line && message === reason.message,
      );
      if (!known) this.#reasons.push(reason);
    }
  }

  #site(outcome: SiteOutcome): void {
    const { site, effects, gaveUp } = outcome;
    if (gaveUp) return this.#allocations(site, site.bases);
    // Nothing but its static verdict is known of a site without an address.
    if (effects.length === 0) return this.#worsen(outcome.verdict, site);
    for (const effect of effects) this.#effect(site, effect);
  }

  #effect(site: Site, effect: Effect): void {
    const { root } = effect;
    if (root?.kind === 'window') {
      const inside = !effect.unbounded && !effect.blurred && this.#isInsideWindow(root.space, root.index, effect);
      if (!inside && !this.environment.provenance)
        this.#worsen('unknown', site, this.#reason(site, 'GCR4012', 'a generic address may leave the memory it is of'));
      else if (!inside && effect.blurred) this.#allocations(site, site.bases);
      return;
    }
    const base = root ? this.#address(root) : 0n;
    if (base === undefined) {
      const name = root?.kind === 'object' ? this.template.objects[root.index]!.name : '?';
      this.#worsen('unknown', site, this.#reason(site, 'GCR5016', `the place of variable ${name} is not known`));
      return;
    }
    if (effect.unbounded) {
      const clean = root !== undefined && !effect.blurred;
      if (clean && root.kind === 'loaded') this.#allocation(site, root.value);
      else this.#allocations(site, site.bases);
      return;
    }
    const placed = effect.descriptors.map((descriptor) => inMemory(descriptor, base + effect.big));
    if (effect.exact) {
      this.#descriptors.push(...placed);
      return;
    }
    const owner = root && !effect.blurred ? base : undefined;
    // Bounds that are no more than the range of an index say nothing about the place.
    if (placed.some(isWide)) {
      if (owner !== undefined && this.environment.provenance) this.#allocation(site, owner);
      else this.#allocations(site, site.bases);
      return;
    }
    this.#superset(site, owner, placed);
  }

  /** A superset with a base keeps to its allocation, where that is known. */
  #superset(site: Site, base: bigint | undefined, placed: readonly AccessDescriptor[]): void {
    this.#usesAllocations = true;
    const allocation =
      this.environment.provenance && base !== undefined ? this.environment.allocations.find(base) : undefined;
    let verdict: Verdict = 'bounded';
    for (const descriptor of placed) {
      const hull = hullOf(descriptor);
      if (!hull) continue;
      if (!allocation || (hull.from >= allocation.from && hull.to <= allocation.to)) this.#descriptors.push(descriptor);
      else {
        verdict = 'allocation';
        this.#descriptors.push(...clipDescriptor(descriptor, allocation.from, allocation.to).descriptors);
      }
    }
    this.#worsen(verdict, site);
  }

  #reason(site: Site, code: Reason['code'], message: string): Reason {
    return { code, message, line: site.line, instruction: site.instruction };
  }

  #isInsideWindow(space: string, index: number, effect: Effect): boolean {
    let size: number;
    if (space === 'parameter') size = this.template.parameterBytes;
    else {
      const object = this.template.objects[index]!;
      size = object.size > 0 ? object.size : object.space === 'shared' ? (this.launch.sharedMemory ?? 0) : 0;
    }
    return effect.descriptors.every((descriptor) => {
      let end = descriptor.start + descriptor.width;
      for (const { stride, count } of descriptor.dimensions) end += stride * (count - 1);
      return descriptor.start >= 0 && end <= size;
    });
  }

  #address(root: NonNullable<Effect['root']>): bigint | undefined {
    if (root.kind === 'parameter') return this.#parameters.getBigUint64(root.offset, true);
    if (root.kind === 'loaded') return root.value;
    if (root.kind === 'window') return undefined;
    return this.#symbol(this.template.objects[root.index]!.name);
  }

  #symbol(name: string): bigint | undefined {
    const address = this.environment.symbols.get(name);
    if (!this.#symbols.some(([known]) => known === name)) this.#symbols.push([name, address]);
    return address;
  }

  /** The whole allocation that holds an address. */
  #allocation(site: Site, address: bigint): void {
    this.#usesAllocations = true;
    const found = this.environment.provenance ? this.environment.allocations.find(address) : undefined;
    if (!found) {
      const why = this.environment.provenance
        ? `${hexAddress(address)} is in no known allocation`
        : 'offset without bounds';
      this.#worsen('unknown', site, this.#reason(site, 'GCR5016', why));
      return;
    }
    if (!this.#whole.includes(found)) this.#whole.push(found);
    this.#worsen('allocation', site);
  }

  /** The whole allocations of all bases of a site, as its template names them. */
  #allocations(site: Site, bases: readonly Base[]): void {
    const unclear = (message: string) => this.#worsen('unknown', site, this.#reason(site, 'GCR4012', message));
    if (site.verdict === 'unknown' || bases.length === 0) return this.#worsen('unknown', site);
    for (const base of bases) {
      if ('parameter' in base) {
        if (base.parameter + POINTER_BYTES > this.#parameters.byteLength) return unclear('a pointer is cut off');
        this.#allocation(site, this.#parameters.getBigUint64(base.parameter, true));
      } else if ('object' in base) {
        const object = this.template.objects[base.object]!;
        if (object.space !== 'global') continue;
        const address = this.#symbol(object.name);
        if (address === undefined) return unclear(`the place of variable ${object.name} is not known`);
        this.#allocation(site, address);
      } else if ('parameters' in base) {
        // Some pointer of the block: whatever in it points into memory that is known, and something must.
        this.#usesAllocations = true;
        const pointed = this.environment.allocations.pointedTo(this.#parameters);
        for (const { from } of pointed) this.#allocation(site, from);
        if (pointed.length === 0) return unclear('no pointer of the parameters is in a known allocation');
      } else if (!('window' in base)) return unclear('what the address is derived from is not known');
    }
  }
}
