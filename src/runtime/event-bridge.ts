/**
 * From events of the ring to dirty memory: keeps the process's allocations, modules and functions, lets shadow execution answer
 * for each launch, and adds the answers up by how certain they are.
 *
 * Order. Events are applied in the order of the ring. One that needs a module whose image has not come or whose templates are still
 * being built waits, and all later ones with it; the application does not. Whatever cannot be understood widens: a launch becomes unknown, an
 * event that contradicts what is known ends the recording, and from then on a checkpoint says so (`state`).
 */
import { InputError } from '../diagnostics/index.js';
import { DirtySet, type LaunchRecord, type LoadedModule, rangeDescriptor, ShadowExecutor } from '../shadow/index.js';
import { type KernelTemplate, TEMPLATE_FORMAT, TEMPLATE_VERSION } from '../templates/index.js';
import { type BridgeOptions, QUIET_AFTER } from './bridge-options.js';
import { DirtyOrigins } from './dirty.js';
import {
  ALLOCATION_KINDS,
  type CallEvent,
  COPY_SCATTERED,
  type GraphNode,
  LAUNCH_INCOMPLETE,
  type LaunchEvent,
  LIBRARY_FAMILIES,
  ORDERED_ONE,
  type Place,
  type RecordedEvent,
  STOPPED_BLIND,
  TENSOR_MAP_KINDS,
  VARIABLE_OF_SEVERAL,
} from './events.js';
import { LaunchStatistics } from './launch-statistics.js';
import { descriptorsOf, type LibraryCall, LibraryCalls } from './library-calls.js';
import type { ModuleImages } from './module-images.js';

/** Device memory that the application has now. */
export interface LiveAllocation {
  readonly number: number;
  readonly address: bigint;
  readonly size: number;
  /** 0: none; then it is read and written through the recorder. */
  readonly handle: number;
  readonly offset: number;
  readonly kind: (typeof ALLOCATION_KINDS)[number];
  readonly saveable: boolean;
  /** Names of variables in it; of the library that it belongs to. */
  label: string;
}

/**
 * How much of what happens is known. `writes-unknown`: allocations are, writes are not, so every checkpoint is a full one. `blind`: not even
 * the allocations are, so there can be none.
 */
export type RecordingState =
  | { readonly kind: 'recording' }
  | { readonly kind: 'writes-unknown' | 'blind'; readonly reason: string };

/** What the driver itself writes. */
type DriverWrite = Exclude<GraphNode, LaunchEvent | CallEvent>;

type Extent = Pick<KernelTemplate['parameters'][number], 'offset' | 'size'>;

interface KnownFunction {
  readonly module: number;
  readonly name: string;
  readonly parameterBytes: number;
  readonly layout: readonly { readonly offset: number; readonly size: number }[];
}

/** What a part of a graph writes, whenever it runs. */
interface GraphWrite {
  readonly origin: 'copy' | 'launch';
  readonly set: DirtySet;
  readonly launch?: LaunchRecord;
  readonly contract?: string | undefined;
}

interface Graph {
  readonly nodes: readonly GraphNode[];
  /** Of the allocations that `writes` is for. */
  epoch: number;
  writes: readonly GraphWrite[];
}

const MAX_LABEL = 200;
/** What a recorder says of a function that the driver gave it and nobody loaded. */
const NO_MODULE = 0;
/** Events that wait for templates before launches of modules in building are taken as unknown. */
const MAX_WAITING = 1 << 20;

export class EventBridge {
  readonly executor: ShadowExecutor;
  readonly dirty: DirtyOrigins;
  statistics = new LaunchStatistics();
  readonly #modules: ModuleImages;
  readonly #loaded = new Map<number, LoadedModule>();
  readonly #functions = new Map<number, KnownFunction>();
  readonly #allocations = new Map<number, LiveAllocation>();
  /** Managed memory, which the host may change at any time, and that of other processes: nobody sees it, so its content is never known. */
  readonly #unseen = new Set<LiveAllocation>();
  readonly #graphs = new Map<number, Graph>();
  readonly #calls = new LibraryCalls();
  #entered: LoadedModule | undefined;
  #state: RecordingState = { kind: 'recording' };
  #shared: string | undefined;
  /** Events not applied yet: from `#next` on. */
  #queue: RecordedEvent[] = [];
  #next = 0;
  #applied = 0;
  #idle: (() => void)[] = [];
  readonly #quietAfter: number;
  #quiet = false;
  /** Of the writes that may have gone anywhere, those before the last hold. */
  #anythingBefore = 0;
  #untoldBefore = 0;

  constructor(modules: ModuleImages, options: BridgeOptions = {}) {
    this.#modules = modules;
    this.#quietAfter = options.quietAfter ?? QUIET_AFTER;
    const none = { format: TEMPLATE_FORMAT, version: TEMPLATE_VERSION, modules: [], kernels: [], missing: [] } as const;
    const unknown = options.unknown ?? 'all';
    this.executor = new ShadowExecutor(none, { unknown });
    this.dirty = new DirtyOrigins(unknown === 'all');
  }

  /** Why device memory may be another process's, too, so that no other memory may take its place; undefined when it is not. */
  get shared(): string | undefined {
    return this.#shared;
  }

  get state(): RecordingState {
    return this.#state;
  }

  get allocations(): ReadonlyMap<number, LiveAllocation> {
    return this.#allocations;
  }

  /** Events that wait for a module. */
  get waiting(): number {
    return this.#queue.length - this.#next;
  }

  /** Events applied since the start. */
  get applied(): number {
    return this.#applied;
  }

  /** Recording ended; a worse state stays. */
  stop(kind: 'writes-unknown' | 'blind', reason: string): void {
    if (this.#state.kind === 'blind' || (this.#state.kind === 'writes-unknown' && kind === 'writes-unknown')) return;
    this.#state = { kind, reason };
    this.executor.memory.forgetEverything();
  }

  /**
   * Whether launches of kernels need not be told until the application is held the next time: all memory counts as written since it was held last, many
   * times over. True once; from then on, until {@link held}, launches may be missing among the events.
   */
  becomesQuiet(): boolean {
    // What counts for less than all memory has to be told.
    if (this.#quiet || this.#state.kind !== 'recording' || !this.dirty.unknownIsAnything) return false;
    this.#quiet = this.dirty.anything - this.#anythingBefore >= this.#quietAfter;
    return this.#quiet;
  }

  /** Whether launches may be missing among the events since the last hold. */
  get isQuiet(): boolean {
    return this.#quiet;
  }

  /**
   * The application is held with its queues empty, and all events of before are applied. What was not told may have been anywhere among them: nothing
   * that they say of memory's content holds.
   *
   * @param untold launches of kernels that were not told since the recorder's hello
   */
  held(untold: number): void {
    const launches = untold - this.#untoldBefore;
    if (this.#quiet && this.#state.kind === 'recording') {
      const reason = 'all memory counted as written already, so launches were counted and not told';
      const { set } = this.#writeOf({ name: 'wrote', stream: 0, flags: 0, body: { address: 0n, size: 0n, reason } });
      this.executor.wrote(set);
      this.dirty.add('unknown', set);
      if (launches > 0) this.statistics.addUntold(launches, set);
    }
    this.#quiet = false;
    this.#untoldBefore = untold;
    this.#anythingBefore = this.dirty.anything;
  }

  /** The recorder has said hello again. */
  greeted(): void {
    this.#untoldBefore = 0;
  }

  push(event: RecordedEvent): void {
    this.#queue.push(event);
  }

  /** Applies what can be applied. Call it when events were pushed, and when a module is ready. */
  pump(): void {
    while (this.#next < this.#queue.length && this.#state.kind !== 'blind') {
      const event = this.#queue[this.#next]!;
      if (!this.#ready(event)) break;
      this.#next++;
      this.#applied++;
      this.#take(event);
    }
    if (this.#state.kind === 'blind') this.#next = this.#queue.length;
    if (this.#next === this.#queue.length || this.#next > 4096) {
      this.#queue = this.#queue.slice(this.#next);
      this.#next = 0;
    }
    if (this.#queue.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when everything that was pushed so far, and until then, is applied. */
  idle(): Promise<void> {
    return this.waiting === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #moduleReady(module: number | undefined): boolean {
    // Of a function that nobody told, and of one whose module the recorder does not know, there is nothing to wait for.
    if (module === undefined || module === NO_MODULE || this.#state.kind !== 'recording') return true;
    return typeof this.#modules.find(module) === 'object' || this.waiting > MAX_WAITING;
  }

  #ready(event: RecordedEvent): boolean {
    switch (event.name) {
      case 'module':
        return this.#modules.find(event.body.module) !== 'absent' || this.#state.kind !== 'recording';
      case 'variable':
        return this.#moduleReady(event.body.module);
      case 'launch':
        return this.#moduleReady(this.#functions.get(event.body.function)?.module);
      case 'graph':
        return event.body.nodes.every(
          (node) => node.name !== 'launch' || this.#moduleReady(this.#functions.get(node.body.function)?.module),
        );
      default:
        return true;
    }
  }

  #take(event: RecordedEvent): void {
    try {
      this.#apply(event);
    } catch (error) {
      // What contradicts the allocations known so far: an event was lost, or its bytes are not the recorder's.
      if (!(error instanceof InputError)) throw error;
      this.stop('blind', `the recording contradicts itself: ${error.diagnostics[0]!.message}`);
    }
  }

  #apply(event: RecordedEvent): void {
    switch (event.name) {
      case 'module':
        this.#loaded.delete(event.body.module);
        return;
      case 'module-gone':
        return this.#moduleGone(event.body.module);
      case 'function': {
        const { function: number, ...known } = event.body;
        this.#functions.set(number, known);
        return;
      }
      case 'variable':
        return this.#variable(event);
      case 'alloc': {
        const { allocation: number, kind, saveable, ...body } = event.body;
        const label = LIBRARY_FAMILIES[event.flags] ?? '';
        const live = { number, ...body, kind: ALLOCATION_KINDS[kind]!, saveable: saveable !== 0, label };
        // An array has no address that a kernel could write to.
        if (live.kind !== 'array') this.executor.allocate(body.address, body.size);
        this.#allocations.set(number, live);
        if (event.flags !== 0 && live.kind !== 'array') this.#calls.allocated(event.flags, live);
        if (live.kind === 'managed' || live.kind === 'imported') this.#unseen.add(live);
        return;
      }
      case 'free':
        return this.#free(event.body.allocation);
      case 'stopped':
        this.stop((event.flags & STOPPED_BLIND) !== 0 ? 'blind' : 'writes-unknown', event.body.reason);
        return;
      case 'shared':
        this.#shared ??= event.body.reason;
        return;
      default:
        if (this.#state.kind === 'recording') this.#work(event);
    }
  }

  /** What happens on the device, or orders it. */
  #work(event: Exclude<RecordedEvent, { readonly name: 'module' | 'alloc' }>): void {
    const { memory } = this.executor;
    switch (event.name) {
      case 'launch':
        memory.select(event.stream);
        return this.#launch(event);
      case 'memset':
      case 'copy-in':
      case 'copy':
      case 'wrote':
        memory.select(event.stream);
        return this.#driverWrite(event);
      case 'call':
        return this.#calls.call(event);
      case 'graph':
        this.#graphs.set(event.body.exec, { nodes: event.body.nodes, epoch: -1, writes: [] });
        return;
      case 'graph-launch':
        return this.#graphLaunch(event.body.exec);
      case 'graph-gone':
        this.#graphs.delete(event.body.exec);
        return;
      case 'ordered':
        return memory.order((event.flags & ORDERED_ONE) !== 0 ? event.stream : undefined);
      case 'wait':
        return memory.wait(event.stream, event.body.stream);
      case 'tensor-map':
        return this.#tensorMap(event.body);
      default:
    }
  }

  #tensorMap(body: Extract<RecordedEvent, { readonly name: 'tensor-map' }>['body']): void {
    const { maps } = this.executor;
    const kind = TENSOR_MAP_KINDS[body.kind];
    if (kind === 'moved') return maps.move(body.from, body.map, body.address);
    const rank = Math.min(body.rank, body.sizes.length);
    if (kind === undefined || rank < 1) return;
    const { address, dataType, interleave } = body;
    maps.tell(body.map, {
      ...{ kind, address, dataType, interleave },
      sizes: body.sizes.slice(0, rank),
      strides: body.strides.slice(0, rank - 1),
      box: kind === 'tiled' ? body.box.slice(0, rank) : [],
      elementStrides: body.steps.slice(0, rank),
    });
  }

  #moduleGone(module: number): void {
    this.#loaded.delete(module);
    this.#modules.gone(module);
    for (const [number, known] of this.#functions) if (known.module === module) this.#functions.delete(number);
  }

  #variable({ body, flags }: Extract<RecordedEvent, { readonly name: 'variable' }>): void {
    const holder = this.#allocations.get(body.allocation);
    if (holder && holder.label.length < MAX_LABEL) holder.label += `${holder.label === '' ? '' : ', '}${body.name}`;
    const module = this.#module(body.module);
    if (!module) return;
    if ((flags & VARIABLE_OF_SEVERAL) !== 0) {
      // Which one a launch means is not told: without a place, whatever depends on it is unknown. Also what graphs were said to write.
      module.symbols.delete(body.name);
      for (const graph of this.#graphs.values()) graph.epoch = -1;
      return;
    }
    if (body.size === 0) return;
    this.#enter(module);
    this.executor.memory.select(undefined);
    this.executor.variable(body.name, body.address, body.size);
  }

  #free(number: number): void {
    const live = this.#allocations.get(number);
    if (!live)
      return this.stop('blind', `the recording contradicts itself: allocation ${number} was freed and is not known`);
    this.#allocations.delete(number);
    this.#unseen.delete(live);
    this.#calls.freed(live);
    if (live.kind === 'array') return;
    this.executor.free(live.address);
    this.dirty.remove(live.address, live.address + BigInt(live.size));
  }

  #module(number: number): LoadedModule | undefined {
    let module = this.#loaded.get(number);
    if (!module) {
      const templates = this.#modules.find(number);
      if (typeof templates !== 'object') return undefined;
      module = this.executor.load(templates);
      this.#loaded.set(number, module);
    }
    return module;
  }

  #enter(module: LoadedModule): void {
    if (this.#entered === module) return;
    this.#entered = module;
    this.executor.enter(module);
  }

  #launch(event: LaunchEvent): void {
    const call = this.#calls.at(event.body.call);
    const { launch, set, contract } = this.#answer(event, call, (record) => this.executor.launch(record));
    this.dirty.add(contract === undefined ? set.verdict : 'contract', set);
    this.statistics.add(launch, set, this.executor.allocations, contract);
  }

  /**
   * What a launch writes, by `ask`, with its parameters where its template has them. Unknown when they cannot be put there, and then as the
   * library call documents it that the launch was made in, if it was in one.
   */
  #answer(
    event: LaunchEvent,
    call: LibraryCall | undefined,
    ask: (launch: LaunchRecord) => DirtySet,
    told = true,
  ): { readonly launch: LaunchRecord; readonly set: DirtySet; readonly contract?: string } {
    const { function: number, grid, block, sharedMemory, parameters } = event.body;
    // A launch without clusters has none to tell.
    const named = event.body.cluster.some((size) => size !== 0);
    const known = this.#functions.get(number);
    const module = known && this.#module(known.module);
    const launch: LaunchRecord = {
      kernel: known?.name ?? `function ${number}`,
      grid,
      block,
      ...(named && { cluster: event.body.cluster }),
      sharedMemory,
      parameters,
    };
    const documented = (by: LibraryCall) => {
      const set = this.#calls.writes(by, this.executor.allocations);
      if (told) this.executor.wrote(set);
      return { launch, set, contract: by.name };
    };
    const incomplete = (event.flags & LAUNCH_INCOMPLETE) !== 0;
    const unknown = (why: string) => {
      if (call) return documented(call);
      const set = incomplete ? this.executor.unknownWrite(why) : this.executor.unknownLaunch(launch, why);
      if (told) this.executor.wrote(set);
      return { launch, set };
    };
    if (!known || !module) return unknown('the kernel’s module is not known');
    if (incomplete) return unknown('the launch’s parameters are not known');
    this.#enter(module);
    try {
      const templates = module.kernels(known.name);
      // Asking without a template would forget what is known of memory.
      if (call && templates.length === 0) return documented(call);
      const placed = templates.length > 0 ? placeParameters(templates, known, parameters) : parameters;
      if (!placed) return unknown('the launch’s parameters do not fit the kernel’s template');
      const set = ask({ ...launch, parameters: placed });
      return set.verdict === 'unknown' && call ? documented(call) : { launch, set };
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      return unknown(error.diagnostics[0]!.message);
    }
  }

  #changesUnseen({ address }: Pick<Place, 'address'>): boolean {
    for (const live of this.#unseen)
      if (address >= live.address && address < live.address + BigInt(live.size)) return true;
    return false;
  }

  #driverWrite(event: DriverWrite): void {
    if (this.#changesUnseen(event.name === 'copy-in' || event.name === 'copy' ? event.body.target : event.body))
      return this.#writeUnknown(event);
    const { executor } = this;
    const add = (from: bigint, bytes: number) => this.dirty.addRange('copy', from, from + BigInt(bytes));
    if (event.name === 'memset' && event.body.height === 1 && event.body.width % event.body.element === 0) {
      const { address, width, value, element } = event.body;
      executor.fill(address, width, value, element as 1 | 2 | 4);
      return add(address, width);
    }
    if (event.name === 'copy-in' && event.body.content.length > 0) {
      const { target, content } = event.body;
      executor.copyIn(target.address, content.length, content);
      return add(target.address, content.length);
    }
    if (event.name === 'copy' && isOneRow(event.body.target) && (event.flags & COPY_SCATTERED) === 0) {
      const { target, source } = event.body;
      executor.copy(source, target.address, target.width);
      return add(target.address, target.width);
    }
    this.#writeUnknown(event);
  }

  #writeUnknown(event: DriverWrite): void {
    const { origin, set } = this.#writeOf(event);
    this.executor.wrote(set);
    this.dirty.add(origin, set);
  }

  /** What the driver writes, without its content. */
  #writeOf(event: DriverWrite): { readonly origin: 'copy' | 'unknown'; readonly set: DirtySet } {
    if (event.name === 'wrote') {
      const { address, size, reason } = event.body;
      if (size === 0n) return { origin: 'unknown', set: this.executor.unknownWrite(reason) };
      return {
        origin: 'copy',
        set: new DirtySet('exact', [], [rangeDescriptor({ from: address, to: address + size })]),
      };
    }
    const target = event.name === 'memset' ? { ...event.body, depth: 1, slicePitch: 0 } : event.body.target;
    return { origin: 'copy', set: new DirtySet('exact', [], descriptorsOf(target)) };
  }

  #graphLaunch(exec: number): void {
    const graph = this.#graphs.get(exec);
    const { executor } = this;
    if (!graph) {
      const set = executor.unknownWrite('a graph that was not told');
      executor.wrote(set);
      return this.dirty.add('unknown', set);
    }
    if (graph.epoch !== executor.allocations.epoch) {
      graph.epoch = executor.allocations.epoch;
      graph.writes = this.#writesOf(graph.nodes);
    }
    for (const { origin, set, launch, contract } of graph.writes) {
      executor.wrote(set);
      this.dirty.add(origin === 'copy' ? 'copy' : contract === undefined ? set.verdict : 'contract', set);
      if (launch) this.statistics.add(launch, set, executor.allocations, contract);
    }
  }

  /** What the nodes of a graph write, whenever it runs. A call goes before the launches that were made in it. */
  #writesOf(nodes: readonly GraphNode[]): readonly GraphWrite[] {
    const writes: GraphWrite[] = [];
    let call: CallEvent | undefined;
    for (const node of nodes) {
      if (node.name === 'call') {
        call = node;
      } else if (node.name === 'launch') {
        const by = call && node.body.call === call.body.call ? this.#calls.of(call) : undefined;
        writes.push({
          origin: 'launch',
          ...this.#answer(node, by, (launch) => this.executor.whenever(launch), false),
        });
      } else {
        const { origin, set } = this.#writeOf(node);
        writes.push({ origin: origin === 'copy' ? 'copy' : 'launch', set });
      }
    }
    return writes;
  }
}

const isOneRow = ({ height, depth }: Place): boolean => height === 1 && depth === 1;

const isSamePlace = (a: Extent, b: Extent): boolean => a.offset === b.offset && a.size === b.size;

/** The parameter block as the templates have it, from the driver's layout; undefined when they do not fit. */
function placeParameters(
  [template, ...others]: readonly KernelTemplate[],
  { layout, parameterBytes }: KnownFunction,
  parameters: Uint8Array,
): Uint8Array | undefined {
  if (!template) return undefined;
  const own = template.parameters;
  for (const { parameters: theirs, parameterBytes: bytes } of others) {
    if (bytes !== template.parameterBytes || theirs.length !== own.length) return undefined;
    if (!theirs.every((parameter, index) => isSamePlace(parameter, own[index]!))) return undefined;
  }
  if (layout.length === 0) {
    const fits = parameterBytes === template.parameterBytes || parameterBytes === 0xffffffff;
    return fits && parameters.length >= template.parameterBytes && own.length <= 1 ? parameters : undefined;
  }
  if (layout.length !== own.length) return undefined;
  if (
    layout.every(({ offset }, index) => offset === own[index]!.offset) &&
    parameters.length >= template.parameterBytes
  )
    return layout.every(({ size }, index) => size === own[index]!.size) ? parameters : undefined;
  const placed = new Uint8Array(template.parameterBytes);
  for (const [index, { offset, size }] of layout.entries()) {
    if (size !== own[index]!.size || offset + size > parameters.length) return undefined;
    placed.set(parameters.subarray(offset, offset + size), own[index]!.offset);
  }
  return placed;
}
