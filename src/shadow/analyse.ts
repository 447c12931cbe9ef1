/**
 * What one launch may write, from its template and what is known of memory: the one place that {@link ShadowExecutor} asks.
 * Abstract execution answers relative to the launch's pointers; here its answer is put in place, clipped to allocations where it
 * is a superset, and remembered.
 *
 * Soundness. `unknown` stands for every allocation, and its descriptors for nothing. In every other answer each site that
 * may execute has its bytes among the descriptors: those computed, or the whole allocations of all its bases. The latter, and
 * clipping, rely on pointers staying in the allocation they were derived from, and are not used without `provenance`.
 * Content of memory counts as known only while the launch itself writes none of it: the first write to it would have to
 * come from an address that was computed from content still as known, so it would be in the set that is checked.
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
import { AbstractExecution, type AbstractResult, type Effect, type SiteOutcome } from './abstract/execute.js';
import type { Environment } from './abstract/leaves.js';
import { Plan } from './abstract/plan.js';
import { type Allocation, type AllocationMap, POINTER_BYTES } from './allocations.js';
import { checkLaunch, executeConcretely } from './concrete.js';
import { type AccessDescriptor, clipDescriptor, hullOf, rangeDescriptor } from './descriptor.js';
import { DirtySet } from './dirty-set.js';
import { KernelCache } from './kernel-cache.js';
import type { LaunchRecord } from './launch.js';
import { hexAddress } from './ranges.js';
import type { ContentView } from './stream-memory.js';

/** What a launch finds on the device. */
export interface LaunchEnvironment {
  /** Where the module's variables are, by name. */
  readonly symbols: ReadonlyMap<string, bigint>;
  readonly memory: ContentView;
  readonly allocations: AllocationMap;
  /** Whether pointers stay in what they were derived from. */
  readonly provenance: boolean;
}

/** A superset is worth a second look, thread by thread, up to this many threads times values. */
const CONCRETE_WORK = 4_000_000;
const CONCRETE_THREADS = 1 << 16;
/** Looks that did not help before it is no longer tried. */
const CONCRETE_TRIES = 4;
/** Launches that wrote what they read before known memory is no longer used for the kernel. */
const BLIND_TRIES = 4;
/** A superset of at least this many bytes is an unknown offset of 32 bits, and its pointer's allocation says more. */
const WIDE = 1n << 31n;

interface Inner {
  readonly result: AbstractResult;
  /** Memory that was asked for and not known: when it is, another look is worth it. */
  readonly missed: readonly { readonly address: bigint; readonly bytes: number }[];
  /** Memory was taken as unknown throughout, because the launch writes what it reads. */
  readonly blind: boolean;
}

interface Outer {
  readonly set: DirtySet;
  readonly inner: Inner;
  /** {@link AllocationMap.epoch} that it holds for; −1 when allocations do not matter. */
  readonly epoch: number;
  readonly symbols: readonly (readonly [name: string, address: bigint | undefined])[];
  /** {@link ContentView.version} at which its reads were last checked. */
  memoryVersion: number;
}

const PLANS = new WeakMap<KernelTemplate, Plan>();

/** Plans follow from templates alone, so executors share them. */
function planOf(template: KernelTemplate): Plan {
  let plan = PLANS.get(template);
  if (plan === undefined) {
    plan = new Plan(template);
    PLANS.set(template, plan);
  }
  return plan;
}

/** Analyses the launches of one kernel. */
class KernelAnalyser {
  readonly #cache: KernelCache<Inner, Outer>;
  readonly #execution: AbstractExecution;
  #concreteFailures = 0;
  #blindRuns = 0;

  constructor(readonly template: KernelTemplate) {
    this.#cache = new KernelCache(template.parameterBytes);
    this.#execution = new AbstractExecution(planOf(template));
    const bases = template.writes.flatMap((site) => site.bases);
    const pointers = bases.flatMap((base) =>
      'parameter' in base ? [base.parameter] : 'parameters' in base ? this.#pointerOffsets() : [],
    );
    this.#cache.dependOn(new Uint8Array(0), pointers);
  }

  analyse(launch: LaunchRecord, environment: LaunchEnvironment): DirtySet {
    const cache = this.#cache;
    if (launch.parameters.length < this.template.parameterBytes) checkLaunch(this.template, launch);
    cache.select(launch);
    const known = cache.outer;
    if (known !== undefined && this.#holds(known, environment)) return known.set;
    checkLaunch(this.template, launch);
    let inner = cache.inner;
    if (inner === undefined || !isCurrent(inner, environment))
      inner = this.#execute(launch, environment, this.#blindRuns >= BLIND_TRIES);
    let placed = new Placement(this.template, launch, environment, inner.result).place();
    if (inner.result.knownReads.length > 0 && overlapsReads(placed.set, inner)) {
      this.#blindRuns++;
      inner = this.#execute(launch, environment, true);
      placed = new Placement(this.template, launch, environment, inner.result).place();
    }
    if (placed.set.verdict !== 'exact') placed = this.#concretely(launch, environment, placed);
    cache.storeOuter({
      set: placed.set,
      inner,
      epoch: placed.usesAllocations ? environment.allocations.epoch : -1,
      symbols: placed.symbols,
      memoryVersion: environment.memory.version,
    });
    return placed.set;
  }

  #holds(outer: Outer, environment: LaunchEnvironment): boolean {
    if (outer.epoch >= 0 && outer.epoch !== environment.allocations.epoch) return false;
    for (const [name, address] of outer.symbols) if (environment.symbols.get(name) !== address) return false;
    for (const [name, address] of outer.inner.result.symbols)
      if (environment.symbols.get(name) !== address) return false;
    const { memory } = environment;
    if (outer.memoryVersion !== memory.version) {
      if (!isCurrent(outer.inner, environment)) return false;
      outer.memoryVersion = memory.version;
    }
    return true;
  }

  /** Executes abstractly and stores the result under what it depends on. */
  #execute(launch: LaunchRecord, environment: LaunchEnvironment, blind = false): Inner {
    const missed: { address: bigint; bytes: number }[] = [];
    const { memory, symbols } = environment;
    const world: Environment = {
      symbol: (name) => symbols.get(name),
      read: (address, bytes) => {
        const content = blind ? undefined : memory.read(address, bytes);
        if (content === undefined && missed.length < 64) missed.push({ address, bytes });
        return content;
      },
      hasKnownMemory: !blind && !memory.isEmpty,
    };
    // Generic addresses into shared memory count only when they might leave it.
    const { plan } = this.#execution;
    const groups = environment.provenance ? plan.countedGroups : plan.allGroups;
    const result = this.#execution.run(launch, world, groups);
    const inner: Inner = { result, missed, blind };
    const pointers: number[] = [];
    for (const { root } of result.places) if (root?.kind === 'parameter') pointers.push(root.offset);
    for (const { effects } of result.outcomes)
      for (const { root } of effects) if (root?.kind === 'parameter') pointers.push(root.offset);
    if (this.#cache.dependOn(this.#execution.consultedWords, pointers)) this.#cache.select(launch);
    this.#cache.storeInner(inner);
    return inner;
  }

  /** Every place of the parameter block that may hold a pointer. */
  #pointerOffsets(): number[] {
    const count = Math.floor(this.template.parameterBytes / POINTER_BYTES);
    return Array.from({ length: count }, (_, index) => index * POINTER_BYTES);
  }

  /** A second look, thread by thread, where abstract execution gave a superset of what the code determines. */
  #concretely(launch: LaunchRecord, environment: LaunchEnvironment, placed: Placed): Placed {
    const { grid, block } = launch;
    const threads = grid[0] * grid[1] * grid[2] * block[0] * block[1] * block[2];
    const { template } = this;
    if (
      this.#concreteFailures >= CONCRETE_TRIES ||
      template.verdict !== 'exact' ||
      !environment.provenance ||
      threads > CONCRETE_THREADS ||
      threads * template.values.length > CONCRETE_WORK
    )
      return placed;
    const { verdict, ranges, unresolved } = executeConcretely(template, launch, {
      symbols: environment.symbols,
      maxThreads: CONCRETE_THREADS,
      maxSteps: 10_000,
    });
    if (verdict !== 'exact' || unresolved.length > 0) {
      this.#concreteFailures++;
      return placed;
    }
    // All pointers were looked at: the answer is of this launch alone.
    const all = new Uint8Array((template.parameterBytes + 3) >> 2).fill(1);
    if (this.#cache.dependOn(all, [])) this.#cache.select(launch);
    const symbols = template.objects.map(({ name }) => [name, environment.symbols.get(name)] as const);
    return { ...placed, symbols, set: new DirtySet('exact', [], ranges.map(rangeDescriptor)) };
  }
}

function isWide(descriptor: AccessDescriptor): boolean {
  const hull = hullOf(descriptor);
  return hull !== undefined && hull.to - hull.from >= WIDE;
}

/** Whether a result would be the same again, as far as memory and the places of variables go. */
function isCurrent({ result, missed, blind }: Inner, { memory, symbols }: LaunchEnvironment): boolean {
  if (result.symbols.length + missed.length + result.knownReads.length === 0 && !result.unread) return true;
  if (result.symbols.some(([name, address]) => symbols.get(name) !== address)) return false;
  if (blind) return true;
  if (result.unread && !memory.isEmpty) return false;
  if (missed.some(({ address, bytes }) => memory.read(address, bytes) !== undefined)) return false;
  return result.knownReads.every(({ address, content }) => {
    const now = memory.read(address, content.length);
    return now?.every((byte, index) => byte === content[index]);
  });
}

/** Whether a launch may write what its analysis read. */
function overlapsReads(set: DirtySet, inner: Inner): boolean {
  if (set.verdict === 'unknown') return true;
  return set.descriptors.some((descriptor) => {
    const hull = hullOf(descriptor);
    if (!hull) return false;
    return inner.result.knownReads.some(({ address, content }) => {
      const end = address + BigInt(content.length);
      if (hull.to <= address || end <= hull.from) return false;
      return clipDescriptor(descriptor, address, end).descriptors.length > 0;
    });
  });
}

function inMemory({ start, width, dimensions }: RelativeDescriptor, base: bigint): AccessDescriptor {
  return { start: BigInt.asUintN(64, base + BigInt(start)), width, dimensions };
}

interface Placed {
  readonly set: DirtySet;
  readonly usesAllocations: boolean;
  readonly symbols: readonly (readonly [string, bigint | undefined])[];
}

/** Puts a relative result into memory. */
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

  place(): Placed {
    for (const { root, big, descriptors } of this.result.places) {
      const base = (root ? this.#address(root)! : 0n) + big;
      for (const descriptor of descriptors) this.#descriptors.push(inMemory(descriptor, base));
    }
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

/** Analyses launches of any kernel, and remembers. One for each device, since memory is part of what is remembered. */
export class LaunchAnalyser {
  readonly #kernels = new Map<KernelTemplate, KernelAnalyser>();

  /**
   * @returns an answer whose descriptors mean nothing when its verdict is `unknown`: then any allocation may have been written
   * @throws InputError GCR5001 when the launch does not fit the template
   */
  analyse(template: KernelTemplate, launch: LaunchRecord, environment: LaunchEnvironment): DirtySet {
    let kernel = this.#kernels.get(template);
    if (kernel === undefined) {
      kernel = new KernelAnalyser(template);
      this.#kernels.set(template, kernel);
    }
    return kernel.analyse(launch, environment);
  }
}
