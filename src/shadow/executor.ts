/**
 * Shadow execution of a whole run: follows the memory and the modules through a trace (or the calls of a recorder) and
 * answers for each launch which bytes it may have written.
 *
 * Soundness. Whatever changes memory is told to two listeners at once: known memory forgets it, the accumulator
 * counts it. Known memory is updated after the launch was analysed and before anything else, so no later launch computes with
 * content that this one may have changed. A launch that is `unknown` takes all known content with it.
 */
import type { Diagnostic } from '../diagnostics/index.js';
import type { KernelTemplate, PackedTemplates, Reason, TemplateFile } from '../templates/index.js';
import { DirtyAccumulator, type Mark } from './accumulator.js';
import { AllocationMap } from './allocations.js';
import { Alternatives } from './alternatives.js';
import { LaunchAnalyser } from './analyse.js';
import type { AccessDescriptor } from './descriptor.js';
import { DirtySet } from './dirty-set.js';
import type { LaunchRecord } from './launch.js';
import { ModuleMemory } from './module-memory.js';
import { type LoadedModule, loadImage, ModuleTable } from './module-table.js';
import type { LaunchEnvironment } from './placement.js';
import type { AddressRange } from './ranges.js';
import { type ContentView, NO_CONTENT, StreamMemory } from './stream-memory.js';
import { TensorMaps } from './tensor-maps.js';
import type { TraceEvent } from './trace.js';

/**
 * What an `unknown` launch is taken to have written. `all`: every live allocation. `args`: those that some 8-byte-aligned
 * word of the parameter block points into; a heuristic that misses pointers kept in memory.
 */
export type UnknownPolicy = 'all' | 'args';

export interface ShadowOptions {
  /** Whether pointers stay in the allocation they were derived from. Default true. */
  readonly provenance?: boolean;
  /** Default `all`. */
  readonly unknown?: UnknownPolicy;
  /** Told of each kernel without a template (GCR5013), once. */
  readonly onDiagnostic?: (diagnostic: Diagnostic) => void;
}

/** Kernels without a template mostly. */
const MAX_WHYS = 10_000;

export class ShadowExecutor {
  readonly allocations = new AllocationMap();
  readonly memory = new StreamMemory();
  /** Tensor maps that were encoded: to be told before the launches that use them. */
  readonly maps = new TensorMaps();
  readonly #accumulator = new DirtyAccumulator();
  readonly #analyser = new LaunchAnalyser();
  readonly #alternatives = new Alternatives();
  readonly #initial = new ModuleMemory(this.memory);
  readonly #modules: ModuleTable;
  readonly #provenance: boolean;
  readonly #unknown: UnknownPolicy;
  readonly #onDiagnostic: (diagnostic: Diagnostic) => void;
  readonly #reported = new Set<string>();
  #module: LoadedModule;
  /** What launches of the present module find. */
  #environment: LaunchEnvironment;
  /** The same without content: what launches of a graph find is not known. */
  #whenever: LaunchEnvironment;
  /** Variables whose place was told since the last `module` event. */
  readonly #placed = new Set<string>();
  /** Answers that name all allocations, by their reasons, with the epoch they are of. */
  readonly #unknownSets = new WeakMap<readonly Reason[], { readonly epoch: number; readonly set: DirtySet }>();
  readonly #whys = new Map<string, readonly Reason[]>();

  constructor(templates: TemplateFile, options: ShadowOptions = {}) {
    this.#modules = new ModuleTable(templates);
    this.#provenance = options.provenance ?? true;
    this.#module = this.#modules.everything;
    this.#environment = this.#environmentOf(this.#module, this.memory);
    this.#whenever = this.#environmentOf(this.#module, NO_CONTENT);
    this.#unknown = options.unknown ?? 'all';
    this.#onDiagnostic = options.onDiagnostic ?? (() => {});
  }

  /**
   * One event of a trace; a launch answers with its dirty set.
   *
   * @throws InputError GCR5001 and GCR5010 to GCR5015, without a place; the state is as before
   */
  event(event: TraceEvent): DirtySet | undefined {
    switch (event.event) {
      case 'launch':
        return this.launch(event.launch);
      case 'module':
        return this.module(event.ptx, event.hash);
      case 'global':
        return this.variable(event.name, event.address, event.size);
      case 'alloc':
        return this.allocate(event.address, event.size);
      case 'free':
        return this.free(event.address);
      case 'memcpyHtoD':
        return this.copyIn(event.address, event.size, event.bytes);
      case 'memset':
        return this.fill(event.address, event.size, event.value, event.width);
      case 'memcpyDtoD':
        return this.copy(event.source, event.address, event.size);
      case 'tensorMap':
        this.maps.tell(event.map, event.record);
    }
  }

  /** Later launches and variables are of this module; see {@link ModuleTable.find}. */
  module(path: string, hash?: string): undefined {
    this.enter(this.#modules.find(path, hash));
  }

  /** An image loaded by itself, beside the modules of the constructor; see {@link enter}. */
  load(templates: PackedTemplates): LoadedModule {
    return loadImage(templates);
  }

  /** Later launches and variables are of this module. */
  enter(module: LoadedModule): void {
    if (module !== this.#module) {
      this.#environment = this.#environmentOf(module, this.memory);
      this.#whenever = this.#environmentOf(module, NO_CONTENT);
    }
    this.#module = module;
    this.#placed.clear();
    this.#initial.enter(module);
  }

  #environmentOf({ symbols }: LoadedModule, memory: ContentView): LaunchEnvironment {
    return { symbols, memory, allocations: this.allocations, maps: this.maps, provenance: this.#provenance };
  }

  /** Tells the place of a variable of the present module. Telling it again changes nothing. */
  variable(name: string, address: bigint, size: number): undefined {
    // A recorder tells the memory of a module's variables as an allocation that holds them.
    const holder = this.allocations.find(address);
    if (holder && holder.name === undefined && address + BigInt(size) <= holder.to) {
      if (this.#module.symbols.get(name) === address) return;
      this.#module.symbols.set(name, address);
      this.#initial.place(this.#module, name, address, size);
      return;
    }
    const { epoch } = this.allocations;
    const { from, to } = this.allocations.variable(name, address, size);
    if (this.allocations.epoch === epoch && this.#placed.has(name)) return;
    this.#placed.add(name);
    this.#module.symbols.set(name, address);
    this.#appeared(from, to);
    this.#initial.place(this.#module, name, address, size);
  }

  allocate(address: bigint, size: number): undefined {
    const { from, to } = this.allocations.allocate(address, size);
    this.#appeared(from, to);
  }

  /** New memory, of which nothing is known: its content differs from whatever was there before. */
  #appeared(from: bigint, to: bigint): void {
    this.memory.forget(from, to);
    this.#initial.forget(from, to);
    this.#accumulator.addRange(from, to);
  }

  free(address: bigint): undefined {
    const { from, to } = this.allocations.free(address);
    this.memory.forget(from, to);
    this.#initial.forget(from, to);
    this.#accumulator.remove(from, to);
  }

  /** A copy from the host. @param bytes the content, when known */
  copyIn(address: bigint, size: number, bytes?: Uint8Array): undefined {
    this.#written(address, address + BigInt(size));
    if (bytes) this.memory.write(address, bytes);
  }

  /** @param value of each group of `width` bytes, when known */
  fill(address: bigint, size: number, value?: number, width: 1 | 2 | 4 = 1): undefined {
    this.#written(address, address + BigInt(size));
    if (value === undefined) return;
    const pattern = new Uint8Array(4);
    new DataView(pattern.buffer).setUint32(0, value, true);
    this.memory.fill(address, size, pattern.subarray(0, width));
  }

  /** A copy on the device. */
  copy(source: bigint, target: bigint, size: number): undefined {
    const end = target + BigInt(size);
    this.memory.copy(source, target, size);
    this.#initial.written(target, end);
    this.#accumulator.addRange(target, end);
  }

  /** The driver wrote `[from, to)`, with content that is not known so far. */
  #written(from: bigint, to: bigint): void {
    this.memory.forget(from, to);
    this.#initial.written(from, to);
    this.#accumulator.addRange(from, to);
  }

  /**
   * One launch, in order with all other events.
   *
   * @throws InputError GCR5001 when it does not fit its template, GCR5015 when several kernels have its name
   */
  launch(launch: LaunchRecord): DirtySet {
    const set = this.#answer(launch, this.#environment);
    this.wrote(set);
    return set;
  }

  /**
   * What a launch may write whatever memory holds when it runs, which may be later and more than once (a graph). Changes
   * nothing; {@link wrote} says when it ran. Holds until {@link AllocationMap.epoch} changes. Errors as {@link launch}.
   */
  whenever(launch: LaunchRecord): DirtySet {
    return this.#answer(launch, this.#whenever);
  }

  /** A launch that nothing is known of. */
  unknownLaunch(launch: LaunchRecord, message: string): DirtySet {
    return this.#unknownSet(launch, this.#because(message));
  }

  /** A write of which nothing is known that could be looked at: all live allocations, under every policy. */
  unknownWrite(message: string): DirtySet {
    return this.#everything(this.#because(message));
  }

  /** What an answer names was written. */
  wrote(set: DirtySet): void {
    if (set.verdict === 'unknown') this.memory.forgetEverything();
    else this.memory.forgetAll(set.descriptors);
    this.#initial.launched(set.verdict === 'unknown' ? undefined : set.descriptors);
    this.#accumulator.add(set);
  }

  #answer(launch: LaunchRecord, environment: LaunchEnvironment): DirtySet {
    const templates = this.#module.kernels(launch.kernel);
    return templates.length > 0 ? this.#analyse(templates, launch, environment) : this.#withoutTemplate(launch);
  }

  #analyse(templates: readonly KernelTemplate[], launch: LaunchRecord, environment: LaunchEnvironment): DirtySet {
    const [template, ...others] = templates;
    const first = this.#analyser.analyse(template!, launch, environment);
    const set =
      others.length === 0
        ? first
        : this.#alternatives.join([
            first,
            ...others.map((other) => this.#analyser.analyse(other, launch, environment)),
          ]);
    return set.verdict === 'unknown' ? this.#unknownSet(launch, set.reasons) : set;
  }

  #withoutTemplate(launch: LaunchRecord): DirtySet {
    const { kernel } = launch;
    const message = this.#whyWithout(kernel);
    if (!this.#reported.has(kernel)) {
      this.#reported.add(kernel);
      const hint = 'build templates from the PTX that has it; until then its launches are unknown';
      this.#onDiagnostic({ code: 'GCR5013', severity: 'warning', message, hint });
    }
    return this.#unknownSet(launch, this.#because(message));
  }

  #whyWithout(kernel: string): string {
    const why = this.#module.whyMissing(kernel);
    return why === undefined ? `kernel ${kernel} has no template` : `kernel ${kernel} has no template: ${why}`;
  }

  #unknownSet(launch: LaunchRecord, reasons: readonly Reason[]): DirtySet {
    if (this.#unknown === 'args') return new DirtySet('unknown', reasons, this.#allocationsOfArguments(launch));
    return this.#everything(reasons);
  }

  #everything(reasons: readonly Reason[]): DirtySet {
    // Whole programs are made of such launches: the same answer is the same object, which everybody who was given it knows again.
    const { epoch } = this.allocations;
    let known = this.#unknownSets.get(reasons);
    if (known?.epoch !== epoch) {
      const { descriptors, bytes } = this.allocations.everything();
      known = { epoch, set: new DirtySet('unknown', reasons, descriptors, bytes) };
      this.#unknownSets.set(reasons, known);
    }
    return known.set;
  }

  /** Why nothing is known of a launch, the same object for the same words. */
  #because(message: string): readonly Reason[] {
    let reasons = this.#whys.get(message);
    if (!reasons) {
      if (this.#whys.size >= MAX_WHYS) this.#whys.clear();
      reasons = [{ code: 'GCR5013', message, line: 0, instruction: '' }];
      this.#whys.set(message, reasons);
    }
    return reasons;
  }

  #allocationsOfArguments({ parameters }: LaunchRecord): readonly AccessDescriptor[] {
    const view = new DataView(parameters.buffer, parameters.byteOffset, parameters.byteLength);
    return this.allocations.pointedTo(view).map(({ whole }) => whole);
  }

  /** A moment to ask {@link since} about. */
  mark(): Mark {
    return this.#accumulator.mark();
  }

  /** What launches and the driver may have written since, without what was freed: disjoint, sorted. */
  since(mark: Mark): readonly AddressRange[] {
    return this.#accumulator.since(mark);
  }

  release(mark: Mark): void {
    this.#accumulator.release(mark);
  }
}
