/**
 * What one launch may write, from its template and what is known of memory: the one place that {@link ShadowExecutor} asks.
 * Abstract execution answers relative to the launch's pointers, `placement.ts` puts its answer in place; here both are asked for, and
 * answers are remembered.
 *
 * Soundness. `unknown` stands for every allocation, and its descriptors for nothing. In every other answer each site that
 * may execute has its bytes among the descriptors: those computed, or the whole allocations of all its bases. The latter, and
 * clipping, rely on pointers staying in the allocation they were derived from, and are not used without `provenance`.
 * Content of memory counts as known only while the launch itself writes none of it: the first write to it would have to
 * come from an address that was computed from content still as known, so it would be in the set that is checked.
 */
import type { KernelTemplate } from '../templates/index.js';
import { AbstractExecution, type AbstractResult } from './abstract/execute.js';
import type { Environment } from './abstract/leaves.js';
import { Plan } from './abstract/plan.js';
import { POINTER_BYTES } from './allocations.js';
import { checkLaunch, executeConcretely, withCluster } from './concrete.js';
import { clipDescriptor, hullOf, rangeDescriptor } from './descriptor.js';
import { DirtySet } from './dirty-set.js';
import { KernelCache } from './kernel-cache.js';
import type { LaunchRecord } from './launch.js';
import { type LaunchEnvironment, type Placed, placeResult } from './placement.js';
import type { TensorMap } from './tensor-maps.js';

/** A superset is worth a second look, thread by thread, up to this many threads times values. */
const CONCRETE_WORK = 4_000_000;
const CONCRETE_THREADS = 1 << 16;
/** Looks that did not help before it is no longer tried. */
const CONCRETE_TRIES = 4;
/** Launches that wrote what they read before known memory is no longer used for the kernel. */
const BLIND_TRIES = 4;
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
  /** {@link ContentView.version} and {@link TensorMaps.version} at which its reads were last checked. */
  memoryVersion: number;
  mapsVersion: number;
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

const NOTHING_MISSED: Inner['missed'] = [];
/** Places of memory that are noted as missed at most. */
const MAX_MISSED = 64;

/** What an execution sees of the device, and what it asked for in vain. */
class World implements Environment {
  #missed: { address: bigint; bytes: number }[] | undefined;
  #environment!: LaunchEnvironment;
  #isBlind = false;
  hasKnownMemory = false;

  /** @param isBlind whether memory is to be taken as unknown */
  enter(environment: LaunchEnvironment, isBlind: boolean): void {
    this.#missed = undefined;
    this.#environment = environment;
    this.#isBlind = isBlind;
    this.hasKnownMemory = !isBlind && !environment.memory.isEmpty;
  }

  get missed(): Inner['missed'] {
    return this.#missed ?? NOTHING_MISSED;
  }

  tensorMap(content: Uint8Array): TensorMap | undefined {
    return this.#environment.maps.find(content);
  }

  symbol(name: string): bigint | undefined {
    return this.#environment.symbols.get(name);
  }

  read(address: bigint, bytes: number): Uint8Array | undefined {
    const content = this.#isBlind ? undefined : this.#environment.memory.read(address, bytes);
    if (content !== undefined) return content;
    this.#missed ??= [];
    if (this.#missed.length < MAX_MISSED) this.#missed.push({ address, bytes });
    return undefined;
  }
}

/** Analyses the launches of one kernel. */
class KernelAnalyser {
  readonly #cache: KernelCache<Inner, Outer>;
  readonly #execution: AbstractExecution;
  readonly #world = new World();
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

  analyse(record: LaunchRecord, environment: LaunchEnvironment): DirtySet {
    const launch = withCluster(this.template, record);
    const cache = this.#cache;
    if (launch.parameters.length < this.template.parameterBytes) checkLaunch(this.template, launch);
    cache.select(launch);
    const known = cache.outer;
    if (known !== undefined && this.#holds(known, environment)) return known.set;
    checkLaunch(this.template, launch);
    let inner = cache.inner;
    if (inner === undefined || !isCurrent(inner, environment))
      inner = this.#execute(launch, environment, this.#blindRuns >= BLIND_TRIES);
    let placed = placeResult(this.template, launch, environment, inner.result);
    if (inner.result.knownReads.length > 0 && overlapsReads(placed.set, inner)) {
      this.#blindRuns++;
      inner = this.#execute(launch, environment, true);
      placed = placeResult(this.template, launch, environment, inner.result);
    }
    if (placed.set.verdict !== 'exact') placed = this.#concretely(launch, environment, placed);
    const outer = {
      set: placed.set,
      inner,
      epoch: placed.usesAllocations ? environment.allocations.epoch : -1,
      symbols: placed.symbols,
      memoryVersion: environment.memory.version,
      mapsVersion: environment.maps.version,
    };
    cache.storeOuter(outer, inner.result.outcomes.length === 0 && inner.result.knownReads.length === 0);
    return placed.set;
  }

  #holds(outer: Outer, environment: LaunchEnvironment): boolean {
    if (outer.epoch >= 0 && outer.epoch !== environment.allocations.epoch) return false;
    for (const [name, address] of outer.symbols) if (environment.symbols.get(name) !== address) return false;
    for (const [name, address] of outer.inner.result.symbols)
      if (environment.symbols.get(name) !== address) return false;
    const { memory, maps } = environment;
    if (outer.memoryVersion !== memory.version || outer.mapsVersion !== maps.version) {
      if (!isCurrent(outer.inner, environment)) return false;
      outer.memoryVersion = memory.version;
      outer.mapsVersion = maps.version;
    }
    return true;
  }

  /** Executes abstractly and stores the result under what it depends on. */
  #execute(launch: LaunchRecord, environment: LaunchEnvironment, blind = false): Inner {
    const world = this.#world;
    world.enter(environment, blind);
    // Generic addresses into shared memory count only when they might leave it.
    const { plan } = this.#execution;
    const groups = environment.provenance ? plan.countedGroups : plan.allGroups;
    const result = this.#execution.run(launch, world, groups);
    const inner: Inner = { result, missed: world.missed, blind };
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

/** Whether a result would be the same again, as far as memory and the places of variables go. */
function isCurrent({ result, missed, blind }: Inner, { memory, symbols, maps }: LaunchEnvironment): boolean {
  if (result.untold.some((content) => maps.find(content))) return false;
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

/** A launch that names no cluster is in the one that its kernel requires; one whose grid does not fit it does not run. */
function inRequiredCluster({ bounds }: KernelTemplate, launch: LaunchRecord): LaunchRecord {
  const { requiredCluster: cluster } = bounds;
  const fits = cluster?.every((size, axis) => launch.grid[axis]! % size === 0);
  return launch.cluster === undefined && cluster && fits ? { ...launch, cluster } : launch;
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
    return kernel.analyse(inRequiredCluster(template, launch), environment);
  }
}
