/**
 * The value of each operation of a slice, as an affine form over the atoms of the present domain. What an operation cannot
 * express exactly becomes an atom that stands for any value of its type (or of a narrower range that is certain), marked as
 * data; where a finite number of cases is exact, it forks.
 *
 * Soundness. For every thread of the domain, the operation's real bits are congruent to the form's value modulo 2^width. Each
 * `case` below keeps that; the default is an atom over the whole type.
 */
import {
  evaluateFloat,
  evaluateInteger,
  type IntegerOperation,
  isFloatOperation,
  type MemorySpace,
} from '../../templates/index.js';
import { isExactFloat, readBits, WARP } from '../concrete.js';
import type { LaunchRecord } from '../launch.js';
import { andForms, orForms, tableFunction, xorForms } from './bitwise.js';
import { type Division, divide, isDense, replaceTerms } from './divide.js';
import { Domain } from './domain.js';
import { foldNumbers } from './fold.js';
import {
  addForms,
  addNumber,
  atomForm,
  bigForm,
  constantBits,
  constantForm,
  type Form,
  isConstant,
  isNumber,
  LIMIT,
  NO_ROOT,
  resolveRoot,
  rootForm,
  scaleForm,
  termsOf,
  withBig,
  withConstant,
  withoutRoot,
  withTerms,
} from './form.js';
import { Ground, History, type Start } from './ground.js';
import type { Plan } from './plan.js';
import { EXHAUSTED, INFEASIBLE, isScaledFloor, PROBE_FAILED, ScaledFloor, State } from './state.js';

/** Something symbolic an address can start from. */
export type Root =
  | { readonly kind: 'parameter'; readonly offset: number }
  | { readonly kind: 'object'; readonly index: number }
  /** A pointer read from known memory or from a table in the parameters. */
  | { readonly kind: 'loaded'; readonly value: bigint }
  /** Shared, local, constant or parameter memory: its generic address is not known. */
  | { readonly kind: 'window'; readonly space: MemorySpace; readonly index: number };

/** What the executor asks of the world outside the launch. */
export interface Environment {
  /** Where a module variable is; undefined when not known. */
  symbol(name: string): bigint | undefined;
  /** Known content of device memory; undefined unless every byte is known. */
  read(address: bigint, bytes: number): Uint8Array | undefined;
  /** Whether any content is known at all. */
  readonly hasKnownMemory: boolean;
}

interface Range {
  readonly low: number;
  readonly high: number;
}
const ANYTHING: Range = { low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };

/** Values that a form is split into one by one at most. */
const MAX_CASES = 64;
/** Entries of a table in memory that are looked at in one load. */
const MAX_TABLE = 1 << 16;
/** Windows of 2^width that a value is cut along at most. */
const MAX_WINDOWS = 8;

/** Where a launch starts that shares nothing with the one before. */
const NOTHING: Start = { domain: new Domain(), mark: 0, uniforms: 0, roots: 0 };

export abstract class Evaluator {
  readonly state: State;
  protected launch!: LaunchRecord;
  protected environment!: Environment;
  readonly roots: Root[] = [];
  /** Roots that were loaded, by their value. */
  readonly #loadedRoots = new Map<bigint, number>();
  #parameters!: DataView;
  readonly #specials = new Map<string, Form>();
  /** Words of four bytes of the parameter block whose value some result so far depends on. */
  protected consulted: Uint8Array;
  /** Ranges of device memory whose known content the result depends on. */
  protected knownReads: { readonly address: bigint; readonly content: Uint8Array }[] = [];
  /** Variables whose place was looked at. */
  protected symbols: (readonly [name: string, address: bigint | undefined])[] = [];
  /** Memory was loaded from while none was known. */
  unread = false;
  /** While a loop's end is looked for: its round is unbounded, and windows are promised instead of checked. */
  bounding: { readonly atom: number; readonly promises: { form: Form; low: number; high: number }[] } | undefined;
  readonly #uniformMemo: (Form | undefined)[];
  /** Values that are in `#uniformMemo` without being constants of the template. */
  readonly #uniformIds: number[] = [];
  /** All threads of the launch. */
  #threads = new Domain();
  /** Bounds of values over all threads, by value. */
  readonly #everywhere = new Map<number, Range>();
  readonly #history: History;
  /** What evaluations start from; undefined while the threads are others than those of the launch before. */
  #ground: Ground | undefined;

  constructor(readonly plan: Plan) {
    this.state = new State(plan);
    const words = (plan.template.parameterBytes + 3) >> 2;
    this.consulted = new Uint8Array(words);
    this.#history = new History(words);
    this.#uniformMemo = plan.constants.slice();
  }

  /** The value of a phi, by the way control takes: loops and merges are another part's business. */
  protected abstract phi(id: number): Form;
  /** Narrows to threads for which a condition is as wanted; false when there are none. */
  protected abstract assume(id: number, want: boolean): boolean;
  /** One or zero when a condition is the same for all threads of the domain, −1 otherwise. */
  protected abstract truth(id: number): number;

  // --- values ---

  /** The value's form. Forks where cases differ. */
  evaluate(id: number): Form {
    const value = this.raw(id);
    if (!isScaledFloor(value)) return value;
    const form = this.#floor(value, this.plan.widths[id]!);
    this.state.remember(id, form);
    return form;
  }

  protected raw(id: number): Form | ScaledFloor {
    const known = this.#uniformMemo[id] ?? this.state.memo[id];
    if (known !== undefined) return known;
    this.state.spend(1);
    const result = this.plan.widths[id] === 1 ? this.#bit(id) : this.#operation(id);
    if (this.plan.uniform[id] && !isScaledFloor(result) && result.atoms.length === 0) {
      this.#uniformMemo[id] = result;
      this.#uniformIds.push(id);
    } else this.state.remember(id, result);
    return result;
  }

  /** A condition as a number: forks when it is not the same for all. */
  #bit(id: number): Form {
    const op = this.plan.names[id]!;
    if (op === 'phi') return this.phi(id);
    const truth = this.truth(id);
    if (truth >= 0) return constantForm(truth);
    this.state.fork(
      () => this.assume(id, true),
      () => this.assume(id, false),
    );
  }

  #operation(id: number): Form | ScaledFloor {
    const op = this.plan.names[id]!;
    const width = this.plan.widths[id]!;
    if (this.plan.isInteger[id]) return this.#integer(id, op as IntegerOperation, width);
    if (op === 'parameter') return this.#parameter(this.plan.values[id]![2] as number, width);
    const rest = this.plan.values[id]!.slice(2);
    switch (op) {
      case 'special':
        return this.special(rest[0] as string);
      case 'parameterAddress':
        return withConstant(rootForm(this.#root({ kind: 'window', space: 'parameter', index: 0 })), rest[0] as number);
      case 'objectAddress':
        return this.#object(rest[0] as number);
      case 'phi':
        return this.phi(id);
      case 'load':
        return this.#load(id, rest[1] as number, rest[0] as MemorySpace, width, 0);
      case 'element': {
        const load = this.plan.values[rest[0] as number]!;
        return load[0] === 'load'
          ? this.#load(
              rest[0] as number,
              load[3] as number,
              load[2] as MemorySpace,
              width,
              (rest[1] as number) * (width / 8),
            )
          : this.unknown(width);
      }
      case 'toGeneric':
        return rest[0] === 'global' ? this.evaluate(rest[1] as number) : this.#toWindow(rest[1] as number);
      case 'fromGeneric':
        return rest[0] === 'global' ? this.evaluate(rest[1] as number) : this.unknown(width);
      case 'exchange':
        return this.#fromOtherThread(rest[0] as number, width);
      default:
        return this.float(id) ?? this.unknown(width);
    }
  }

  /** A floating-point operation on constants; what the hardware approximates in its own way stays unknown. */
  protected float(id: number): Form | undefined {
    const [op, width, ...rest] = this.plan.values[id]!;
    const mode = rest.at(-1);
    if (!isFloatOperation(op) || typeof mode !== 'object' || !isExactFloat(op, mode)) return undefined;
    const args: bigint[] = [];
    for (const operand of this.plan.operands[id]!) {
      const form = this.evaluate(operand);
      if (!isConstant(form)) return undefined;
      args.push(constantBits(form, this.plan.widths[operand]!));
    }
    return bigForm(evaluateFloat(op, width, mode, args), width);
  }

  /** Any value of the type. */
  unknown(width: number): Form {
    const { domain } = this.state;
    if (width >= 64) return atomForm(domain.atom(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, true));
    return atomForm(domain.atom(0, 2 ** width - 1, true));
  }

  between(low: number, high: number): Form {
    return low === high ? constantForm(low) : atomForm(this.state.domain.atom(low, high, true));
  }

  /**
   * A value that another thread computed: that thread need not be on the present path, so nothing counts that was assumed or
   * remembered here, only what holds for all threads of the launch.
   */
  #fromOtherThread(id: number, width: number): Form {
    if (this.plan.uniform[id]) return this.evaluate(id);
    let range = this.#everywhere.get(id);
    if (!range) {
      range = this.#rangeEverywhere(id);
      this.#everywhere.set(id, range);
    }
    return Number.isFinite(range.low) && Number.isFinite(range.high)
      ? this.between(range.low, range.high)
      : this.unknown(width);
  }

  #rangeEverywhere(id: number): Range {
    const { state, bounding } = this;
    const { mark, domain, loops, steps } = state;
    for (let known = 0; known < state.memo.length; known++) state.forget(known);
    state.domain = new Domain(this.#threads);
    state.loops = new Map();
    state.steps = new Map();
    this.bounding = undefined;
    state.probing++;
    try {
      const form = this.evaluate(id);
      if (form.root !== NO_ROOT || form.big !== 0n) return ANYTHING;
      return { low: state.domain.low(form), high: state.domain.high(form) };
    } catch (error) {
      if (error !== PROBE_FAILED && error !== INFEASIBLE) throw error;
      return ANYTHING;
    } finally {
      state.probing--;
      this.bounding = bounding;
      state.steps = steps;
      state.loops = loops;
      state.domain = domain;
      state.rollBack(mark);
    }
  }

  // --- leaves ---

  #root(root: Root): number {
    const { roots } = this;
    if (root.kind === 'loaded') {
      const known = this.#loadedRoots.get(root.value);
      if (known !== undefined) return known;
      this.#loadedRoots.set(root.value, roots.length);
    } else {
      // There are as many of them as pointers and variables: few.
      for (let index = 0; index < roots.length; index++) if (isSameRoot(roots[index]!, root)) return index;
    }
    return roots.push(root) - 1;
  }

  /** Where a root is in memory; undefined when nothing says. */
  rootAddress(index: number): bigint | undefined {
    const root = this.roots[index]!;
    if (root.kind === 'parameter') return this.#parameters.getBigUint64(root.offset, true);
    if (root.kind === 'loaded') return root.value;
    if (root.kind === 'window') return undefined;
    const { name } = this.plan.template.objects[root.index]!;
    const address = this.environment.symbol(name);
    if (!this.symbols.some(([known]) => known === name)) this.symbols.push([name, address]);
    return address;
  }

  #consult(offset: number, bytes: number): void {
    for (let word = offset >> 2; word <= (offset + bytes - 1) >> 2; word++) this.consulted[word] = 1;
  }

  #parameter(offset: number, width: number): Form {
    if (offset + width / 8 > this.#parameters.byteLength) return this.unknown(width);
    if (width === 64) return rootForm(this.#root({ kind: 'parameter', offset }));
    this.#consult(offset, Math.max(1, width / 8));
    switch (width) {
      case 32:
        return constantForm(this.#parameters.getInt32(offset, true));
      case 16:
        return constantForm(this.#parameters.getInt16(offset, true));
      case 8:
        return constantForm(this.#parameters.getInt8(offset));
      default:
        return this.unknown(width);
    }
  }

  #object(index: number): Form {
    const object = this.plan.template.objects[index]!;
    return rootForm(
      this.#root(
        object.space === 'global' || object.space === 'constant'
          ? { kind: 'object', index }
          : { kind: 'window', space: object.space, index },
      ),
    );
  }

  #toWindow(id: number): Form {
    const form = this.evaluate(id);
    // The generic address keeps its object as root; without one, it is somewhere.
    return form.root !== NO_ROOT && this.roots[form.root]!.kind !== 'parameter' ? form : this.unknown(64);
  }

  /** The form without symbolic part. */
  plain(form: Form, width = 64): Form {
    if (form.root === NO_ROOT) return form;
    const root = this.roots[form.root]!;
    const address = this.rootAddress(form.root);
    if (root.kind === 'parameter') this.#consult(root.offset, 8);
    return address === undefined ? this.unknown(width) : resolveRoot(form, address);
  }

  /** A thread coordinate or launch size (PTX ISA 10). */
  protected special(name: string): Form {
    let form = this.#specials.get(name);
    if (form) return form;
    form = this.#makeSpecial(name);
    // Atoms made while nothing was decided yet live in every domain: see `prepare`.
    this.#specials.set(name, form);
    return form;
  }

  /** Takes up a launch. Whatever an earlier one left is gone, but for what holds for this one too. */
  protected begin(launch: LaunchRecord, environment: Environment): void {
    this.launch = launch;
    this.environment = environment;
    const { buffer, byteOffset, byteLength } = launch.parameters;
    this.#parameters = new DataView(buffer, byteOffset, byteLength);
    if (this.knownReads.length > 0) this.knownReads = [];
    if (this.symbols.length > 0) this.symbols = [];
    this.unread = false;
    this.bounding = undefined;
    this.#everywhere.clear();
    const sameThreads = this.#history.follow(launch, this.consulted);
    if (!sameThreads) {
      this.#ground = undefined;
      this.#rewind(NOTHING);
      this.#specials.clear();
      this.#prepare();
      this.#threads = this.state.domain;
      this.state.domain = new Domain(this.#threads);
      return;
    }
    if (!this.#ground?.holds(this.#parameters)) {
      this.#rewind({ ...NOTHING, domain: this.#threads });
      this.#ground = this.#layGround();
    }
    this.#rewind(this.#ground);
  }

  /** Back to where evaluations start. */
  #rewind({ domain, mark, uniforms, roots }: Start): void {
    const { state } = this;
    state.reset(new Domain(domain), mark);
    while (this.#uniformIds.length > uniforms) this.#uniformMemo[this.#uniformIds.pop()!] = undefined;
    this.#loadedRoots.clear();
    this.roots.length = roots;
  }

  /** Makes the atoms of all thread coordinates that the slice names, before anything forks. */
  #prepare(): void {
    this.state.probing++;
    for (const name of this.plan.specials) this.special(name);
    this.state.probing--;
  }

  /**
   * Evaluates, for all threads, what should be the same in launches to come. What needs a fork, would lose precision or relates
   * atoms to others (which would say less once a guard narrows them) is left to those who ask for it.
   */
  #layGround(): Ground {
    const { state } = this;
    const before = this.consulted;
    const consulted = new Uint8Array(before.length);
    this.consulted = consulted;
    const isLeft = new Uint8Array(this.plan.values.length);
    state.begin();
    state.probing++;
    try {
      for (const id of this.plan.valuesWithout(this.#history.varying)) {
        const snapshot = state.snapshot();
        if (!this.plan.operands[id]!.some((operand) => isLeft[operand]) && this.#isPlainlyEvaluated(id)) continue;
        isLeft[id] = 1;
        state.restore(snapshot);
      }
    } finally {
      state.probing--;
      this.consulted = before;
    }
    for (let word = 0; word < before.length; word++) if (consulted[word] !== 0) before[word] = 1;
    state.makeCanonical();
    const { domain, mark } = state;
    const start = { domain, mark, uniforms: this.#uniformIds.length, roots: this.roots.length };
    return new Ground(start, consulted, this.#parameters);
  }

  #isPlainlyEvaluated(id: number): boolean {
    const { inexact, relations } = this.state.domain;
    try {
      this.raw(id);
    } catch (error) {
      if (error === PROBE_FAILED || error === INFEASIBLE || error === EXHAUSTED) return false;
      throw error;
    }
    return this.state.domain.inexact === inexact && this.state.domain.relations.length === relations.length;
  }

  #makeSpecial(name: string): Form {
    const { grid, block, cluster = [1, 1, 1] } = this.launch;
    const { domain } = this.state;
    const axis = 'xyz'.indexOf(name.at(-1)!);
    const stem = name.slice(0, -2);
    const range = (count: number): Form => (count === 1 ? constantForm(0) : atomForm(domain.atom(0, count - 1)));
    if (name.at(-2) === '.') {
      const clusters = grid[axis]! / cluster[axis]!;
      switch (stem) {
        case 'tid':
          return range(block[axis]!);
        case 'ntid':
          return constantForm(block[axis]!);
        case 'nctaid':
          return constantForm(grid[axis]!);
        case 'ctaid': {
          if (cluster[axis] === 1 || !this.#namesClusters()) return range(grid[axis]!);
          const inner = this.special(`cluster_ctaid.${name.at(-1)}`);
          const scaled = scaleForm(this.special(`clusterid.${name.at(-1)}`), cluster[axis]!, 64)!;
          return addForms(scaled, inner, 1, 64)!;
        }
        case 'clusterid':
          return cluster[axis] === 1 ? this.special(`ctaid.${name.at(-1)}`) : range(clusters);
        case 'nclusterid':
          return constantForm(clusters);
        case 'cluster_ctaid':
          return range(cluster[axis]!);
        case 'cluster_nctaid':
          return constantForm(cluster[axis]!);
      }
    }
    switch (name) {
      case 'cluster_nctarank':
        return constantForm(cluster[0]! * cluster[1]! * cluster[2]!);
      case 'cluster_ctarank':
        return this.#linear(['cluster_ctaid.x', 'cluster_ctaid.y', 'cluster_ctaid.z'], cluster);
      case 'laneid':
        return this.#lane(this.#linear(['tid.x', 'tid.y', 'tid.z'], block));
      case 'dynamic_smem_size':
        return this.launch.sharedMemory === undefined ? this.unknown(32) : constantForm(this.launch.sharedMemory);
      default:
        return this.unknown(32);
    }
  }

  #lane(thread: Form): Form {
    try {
      return divide(this.state, thread, WARP).remainder;
    } catch (error) {
      if (error !== PROBE_FAILED) throw error;
      this.state.domain.inexact = true;
      return this.between(0, WARP - 1);
    }
  }

  #namesClusters(): boolean {
    return this.plan.specials.some((name) => name.includes('cluster'));
  }

  #linear(names: readonly string[], sizes: readonly number[]): Form {
    let form: Form = constantForm(0);
    let stride = 1;
    for (const [index, name] of names.entries()) {
      form = addForms(form, this.special(name), stride, 64)!;
      stride *= sizes[index]!;
    }
    return form;
  }

  // --- memory ---

  #load(id: number, addressId: number, space: MemorySpace, width: number, extra: number): Form {
    if (this.plan.widths[id]! > 64 || width > 64) return this.unknown(width);
    const address = addNumber(this.evaluate(addressId), extra);
    if (!address || space === 'shared' || space === 'local' || space === 'runtime') return this.unknown(width);
    const root = address.root === NO_ROOT ? undefined : this.roots[address.root]!;
    const bytes = width / 8;
    if (root?.kind === 'window') {
      if (root.space !== 'parameter') return this.unknown(width);
      const byteLength = this.plan.template.parameterBytes;
      return this.#table(withoutRoot(address), width, (offset) => {
        if (offset < 0 || offset + bytes > byteLength) return undefined;
        this.#consult(offset, bytes);
        return readBits(this.#parameters, offset, bytes);
      });
    }
    if (space === 'parameter') return this.unknown(width);
    if (!this.environment.hasKnownMemory) {
      this.unread = true;
      return this.unknown(width);
    }
    const plain = this.plain(address);
    return this.#table(plain, width, (offset) => {
      const place = BigInt.asUintN(64, plain.big + BigInt(offset));
      const content = this.environment.read(place, bytes);
      if (!content) return undefined;
      this.knownReads.push({ address: place, content });
      return readBits(new DataView(content.buffer, content.byteOffset, content.byteLength), 0, bytes);
    });
  }

  /** What a table holds at the places that a form takes: one progression, or cases of which each is one. */
  #table(place: Form, width: number, read: (offset: number) => bigint | undefined): Form {
    const { domain } = this.state;
    const canonical = domain.canonical(withBig(place, 0n));
    if (!canonical || !Number.isFinite(domain.low(canonical)) || !Number.isFinite(domain.high(canonical)))
      return this.unknown(width);
    const free = canonical.atoms.filter((atom) => domain.lo[atom] !== domain.hi[atom]);
    if (free.length === 0) {
      const bits = read(domain.low(canonical));
      return bits === undefined ? this.unknown(width) : this.#loaded(bits, width);
    }
    if (free.length > 1) {
      this.#compose(canonical);
      return this.unknown(width);
    }
    const atom = free[0]!;
    const c = canonical.coefs[canonical.atoms.indexOf(atom)]!;
    const first = domain.lo[atom]!;
    const last = domain.hi[atom]!;
    if (!(last - first < MAX_TABLE)) return this.unknown(width);
    const base = domain.low(canonical) - (c > 0 ? c * first : c * last);
    const at = (index: number) => read(base + c * index);
    const start = at(first);
    if (start === undefined) return this.unknown(width);
    // As far as it is one progression.
    let end = first;
    let step = 0n;
    for (let index = first + 1; index <= last; index++) {
      const bits = at(index);
      if (bits === undefined) return this.unknown(width);
      if (index === first + 1) step = BigInt.asIntN(width, bits - start);
      if (step < -BigInt(LIMIT) || step > BigInt(LIMIT)) break;
      if (BigInt.asUintN(width, start + step * BigInt(index - first)) !== bits) break;
      end = index;
    }
    if (end === last) {
      if (step === 0n) return this.#loaded(start, width);
      const offset = withConstant(atomForm(atom), -first);
      const scaled = scaleForm(offset, Number(step), width);
      const sum = scaled && addForms(bigForm(start, width, width === 64), scaled, 1, width);
      return sum ?? this.unknown(width);
    }
    this.state.fork(
      () => this.state.domain.assumeNonNegative(addForms(constantForm(end), atomForm(atom), -1, 64)!),
      () => this.state.domain.assumeNonNegative(addNumber(atomForm(atom), -end - 1)!),
    );
  }

  /** Makes one atom of a dense index over several, and evaluates again; returns when that is not possible. */
  #compose(place: Form): void {
    const { state } = this;
    if (state.probing > 0) return;
    const unit = Math.min(...place.coefs.map(Math.abs));
    if (place.coefs.some((c) => c % unit !== 0)) return;
    const index = termsOf(
      place.atoms,
      place.coefs.map((c) => c / unit),
    );
    if (!isDense(state, index)) return;
    const low = state.domain.low(index);
    const high = state.domain.high(index);
    if (!(high - low < MAX_TABLE)) return;
    replaceTerms(state, index, atomForm(state.domain.atom(low, high, state.domain.isDataForm(index))));
    state.fork(() => true);
  }

  #loaded(bits: bigint, width: number): Form {
    return width === 64 ? rootForm(this.#root({ kind: 'loaded', value: bits })) : bigForm(bits, width);
  }

  // --- windows ---

  /**
   * The form whose value is the number itself, in `[0, 2^width)` or the signed range: shifted by a multiple of 2^width where all
   * values lie in one window, forking where they lie in several.
   */
  window(form: Form, width: number, signed: boolean): Form {
    const plain = this.plain(form, width);
    if (plain.big !== 0n) return this.#bigWindow(plain, width, signed);
    const { domain } = this.state;
    const low = domain.low(plain);
    const high = domain.high(plain);
    if (width >= 64) return this.#window64(plain, low, high, signed);
    const size = width === 32 ? 4294967296 : 2 ** width;
    const start = signed ? -size / 2 : 0;
    if (!Number.isFinite(low) || !Number.isFinite(high)) return this.#promised(plain, width, start, size);
    const first = Math.floor((low - start) / size);
    const last = Math.floor((high - start) / size);
    if (first === last)
      return first === 0 ? plain : (addNumber(plain, -first * size) ?? this.between(start, start + size - 1));
    if (last - first > MAX_WINDOWS) {
      domain.inexact = true;
      return this.between(start, start + size - 1);
    }
    const bound = start + (first + 1) * size;
    const below = scaleForm(plain, -1, 64);
    const belowBound = below && addNumber(below, bound - 1);
    const above = addNumber(plain, -bound);
    if (!belowBound || !above) return this.between(start, start + size - 1);
    this.state.fork(
      () => this.state.domain.assumeNonNegative(belowBound),
      () => this.state.domain.assumeNonNegative(above),
    );
  }

  #window64(form: Form, low: number, high: number, signed: boolean): Form {
    if (low >= -LIMIT && high <= LIMIT) {
      if (signed || low >= 0) return form;
      if (high < 0) return bigShift(form);
      this.state.fork(
        () => this.state.domain.assumeNonNegative(form),
        () => this.state.domain.assumeNonNegative(withConstant(scaleForm(form, -1, 64)!, -form.constant - 1)),
      );
    }
    // One unknown number is in the window that it is looked at in.
    if (
      form.atoms.length === 1 &&
      form.coefs[0] === 1 &&
      form.constant === 0 &&
      this.state.domain.isData[form.atoms[0]!]
    ) {
      if (signed || low >= 0) return form;
      if (high < 0) return bigShift(form);
      this.state.fork(
        () => this.state.domain.assumeNonNegative(form),
        () => this.state.domain.assumeNonNegative(withConstant(scaleForm(form, -1, 64)!, -1)),
      );
    }
    if (this.bounding) return this.#promised(form, 64, signed ? -(2 ** 63) : 0, 2 ** 64);
    this.state.domain.inexact = true;
    return this.unknown(64);
  }

  /** Numbers beyond the exact range: constants only. */
  #bigWindow(form: Form, width: number, signed: boolean): Form {
    if (isConstant(form)) {
      const bits = constantBits(form, width);
      const value = signed ? BigInt.asIntN(width, bits) : bits;
      if (value >= -BigInt(LIMIT) && value <= BigInt(LIMIT)) return constantForm(Number(value));
      return withBig(withConstant(form, 0), value);
    }
    this.state.domain.inexact = true;
    return this.unknown(width);
  }

  /** While a loop's end is looked for: right if the first round's window holds for all, which is checked afterwards. */
  #promised(form: Form, width: number, start: number, size: number): Form {
    const { bounding } = this;
    const { domain } = this.state;
    if (bounding) {
      const index = form.atoms.indexOf(bounding.atom);
      if (index >= 0) {
        const atoms = form.atoms.filter((_, i) => i !== index);
        const first: Form = withTerms(
          form,
          atoms,
          form.coefs.filter((_, i) => i !== index),
        );
        const low = domain.low(first);
        const high = domain.high(first);
        const window = Math.floor((low - start) / size);
        if (Number.isFinite(low) && Number.isFinite(high) && window === Math.floor((high - start) / size)) {
          const shifted = window === 0 ? form : addNumber(form, -window * size);
          if (shifted) {
            bounding.promises.push({ form: shifted, low: start, high: start + size - 1 });
            return shifted;
          }
        }
      }
    }
    domain.inexact = true;
    return width >= 64 ? this.unknown(64) : this.between(start, start + size - 1);
  }

  // --- integer operations ---

  #integer(id: number, op: IntegerOperation, width: number): Form | ScaledFloor {
    const args = this.plan.operands[id]!;
    if (this.plan.uniform[id]) {
      const constant = this.#constantFold(op, width, args);
      if (constant) return constant;
    }
    const result =
      op === 'add' ? this.#add(args, width) : op === 'mul' ? this.#multiply(args, width) : this.#apply(op, width, args);
    return result ?? this.#widened(id, op, width);
  }

  /** Everything constant: the one definition of the operations, and what is quick of them on ordinary numbers. */
  #constantFold(op: IntegerOperation, width: number, args: readonly number[]): Form | undefined {
    const { values } = this.plan;
    const pointers = op === 'add' || op === 'sub';
    const first = this.#constant(args[0]!, pointers);
    if (first === undefined) return undefined;
    const operandWidth = values[args[0]!]![1];
    const second = args.length > 1 ? this.#constant(args[1]!, pointers) : undefined;
    if (args.length > 1 && second === undefined) return undefined;
    if (args.length <= 2 && first.big === 0n && !first.blurred && (!second || (second.big === 0n && !second.blurred))) {
      const quick = foldNumbers(op, width, operandWidth, first.constant, second?.constant ?? 0);
      if (quick !== undefined) return constantForm(quick);
    }
    const bits: bigint[] = [];
    let blurred = false;
    for (const arg of args) {
      const form = this.#constant(arg, pointers);
      if (form === undefined) return undefined;
      blurred ||= form.blurred;
      bits.push(constantBits(form, values[arg]![1]));
    }
    return bigForm(evaluateInteger(op, width, operandWidth, bits), width, blurred);
  }

  /** A value as a constant. An addition leaves pointers symbolic, everything else looks at their number. */
  #constant(id: number, pointers: boolean): Form | undefined {
    const raw = this.raw(id);
    if (isScaledFloor(raw)) return undefined;
    const form = pointers ? raw : this.plain(raw);
    return isConstant(form) ? form : undefined;
  }

  #widened(id: number, op: string, width: number): Form {
    this.state.domain.inexact = true;
    const operand = this.plan.operands[id]![0];
    const operandWidth = operand === undefined ? width : this.plan.widths[operand]!;
    if (op === 'popCount' || op === 'leadingZeros') return this.between(0, operandWidth);
    return this.unknown(width);
  }

  #apply(op: IntegerOperation, width: number, args: readonly number[]): Form | ScaledFloor | undefined {
    const { state } = this;
    const form = (index: number) => this.evaluate(args[index]!);
    const operandWidth = this.plan.widths[args[0]!]!;
    switch (op) {
      case 'sub': {
        const a = form(0);
        const b = form(1);
        if (a.root !== NO_ROOT && a.root === b.root) return addForms(withoutRoot(a), withoutRoot(b), -1, width);
        return addForms(a, this.plain(b), -1, width);
      }
      case 'shiftLeft': {
        const bits = this.#shiftAmount(args[1]!, width);
        if (bits === undefined) return undefined;
        if (bits === width) return constantForm(0);
        if (bits > 50) return this.#constantOnly(op, width, args);
        return this.#scale(form(0), 2 ** bits, width);
      }
      case 'shiftRightLogical':
      case 'shiftRightArithmetic':
        return this.#shiftRight(args, width, op === 'shiftRightArithmetic');
      case 'and':
        return andForms(state, this.plain(form(0)), this.plain(form(1)), width, this.#settler);
      case 'or':
        return orForms(state, this.plain(form(0)), this.plain(form(1)), width, this.#settler);
      case 'xor':
        return xorForms(state, this.plain(form(0)), this.plain(form(1)), width, this.#settler);
      case 'not': {
        const negative = scaleForm(this.plain(form(0)), -1, width);
        return negative && addNumber(negative, -1);
      }
      case 'logic3': {
        const table = form(3);
        if (!isNumber(table)) return undefined;
        const inputs = [this.plain(form(0)), this.plain(form(1)), this.plain(form(2))] as const;
        return tableFunction(state, inputs, table.constant & 255, width, this.#settler);
      }
      case 'truncate':
        return this.#truncate(args[0]!, width);
      case 'zeroExtend': {
        const raw = this.raw(args[0]!);
        if (isScaledFloor(raw)) {
          if (this.#isInWindow(raw, operandWidth, false)) return raw;
          return this.window(this.evaluate(args[0]!), operandWidth, false);
        }
        return operandWidth === 1 ? raw : this.window(raw, operandWidth, false);
      }
      case 'signExtend':
        return operandWidth === 1 ? scaleForm(form(0), -1, width) : this.window(form(0), operandWidth, true);
      case 'concat': {
        const low = this.window(form(0), operandWidth, false);
        const high = scaleForm(this.plain(form(1)), 2 ** operandWidth, width);
        return high && addForms(low, high, 1, width);
      }
      case 'minSigned':
      case 'minUnsigned':
      case 'maxSigned':
      case 'maxUnsigned':
        return this.#extreme(form(0), form(1), width, op.endsWith('Signed'), op.startsWith('min'));
      case 'divUnsigned':
      case 'remUnsigned': {
        const quotient = this.#divide(this.window(form(0), width, false), this.window(form(1), width, false));
        return op === 'divUnsigned' ? quotient?.quotient : quotient?.remainder;
      }
      case 'divSigned':
      case 'remSigned': {
        const quotient = this.#divideSigned(this.window(form(0), width, true), this.window(form(1), width, true));
        return op === 'divSigned' ? quotient?.quotient : quotient?.remainder;
      }
      case 'mulHighUnsigned':
      case 'mulHighSigned':
        return this.#multiplyHigh(args, width, op === 'mulHighSigned');
      case 'extractBitsUnsigned':
      case 'extractBitsSigned':
        return this.#extract(form(0), form(1), form(2), width, op === 'extractBitsSigned');
      case 'insertBits':
        return this.#insert(form(0), form(1), form(2), form(3), width);
      case 'funnelLeft':
      case 'funnelRight':
        return this.#funnel(form(0), form(1), form(2), op === 'funnelLeft');
      case 'permuteBytes':
        return this.#permute(form(0), form(1), form(2));
      case 'select': {
        const truth = this.truth(args[0]!);
        if (truth >= 0) return this.raw(args[truth ? 1 : 2]!);
        state.fork(
          () => this.assume(args[0]!, true),
          () => this.assume(args[0]!, false),
        );
        return undefined;
      }
      case 'popCount':
      case 'leadingZeros':
      case 'bitReverse':
        return this.#constantOnly(op, width, args);
      default:
        return undefined;
    }
  }

  /** Operations on numbers only: forks over the values of the operands when they are few. */
  #constantOnly(op: IntegerOperation, width: number, args: readonly number[]): Form | undefined {
    const bits: bigint[] = [];
    for (const arg of args) {
      const form = this.plain(this.evaluate(arg));
      const settled = isConstant(form) ? form : this.settled(form);
      if (!settled) return undefined;
      bits.push(constantBits(settled, this.plan.widths[arg]!));
    }
    return bigForm(evaluateInteger(op, width, this.plan.widths[args[0]!]!, bits), width);
  }

  readonly #settler = { enumerate: (form: Form) => this.settled(form) };

  /** The form as a plain number, forking over its values; undefined when they are too many or the form is data. */
  settled(form: Form): Form | undefined {
    const plain = this.plain(form);
    if (isNumber(plain)) return plain;
    const { domain } = this.state;
    const canonical = plain.big === 0n ? domain.canonical(plain) : undefined;
    if (!canonical) return undefined;
    const low = domain.low(canonical);
    if (low === domain.high(canonical)) return constantForm(low);
    let cases = 1;
    let widest = -1;
    for (const atom of canonical.atoms) {
      const span = domain.hi[atom]! - domain.lo[atom]!;
      cases *= span + 1;
      if (span > 0 && (widest < 0 || span > domain.hi[widest]! - domain.lo[widest]!)) widest = atom;
    }
    if (cases > MAX_CASES || widest < 0 || this.state.probing > 0) return undefined;
    const middle = Math.floor((domain.lo[widest]! + domain.hi[widest]!) / 2);
    this.state.fork(
      () => this.state.domain.assumeNonNegative(addForms(constantForm(middle), atomForm(widest), -1, 64)!),
      () => this.state.domain.assumeNonNegative(addNumber(atomForm(widest), -middle - 1)!),
    );
  }

  #add(args: readonly number[], width: number): Form | ScaledFloor | undefined {
    if (this.plan.isHalf[args[0]!] || this.plan.isHalf[args[1]!]) {
      const average = this.#average(args);
      if (average) return average;
    }
    const left = this.raw(args[0]!);
    const right = this.raw(args[1]!);
    const sum = isScaledFloor(left)
      ? this.#addOperand(left, right, width)
      : isScaledFloor(right)
        ? this.#addOperand(right, left, width)
        : undefined;
    if (sum) return sum;
    const a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (a.root !== NO_ROOT && b.root !== NO_ROOT) b = this.plain(b);
    return addForms(a, b, 1, width);
  }

  /** `x + floor(s·x / 2^n) = floor((s + 2^n)·x / 2^n)` */
  #addOperand(scaled: ScaledFloor, other: Form | ScaledFloor, width: number): ScaledFloor | undefined {
    if (isScaledFloor(other) || !isSameForm(this.window(other, width, true), scaled.operand)) return undefined;
    return new ScaledFloor(scaled.operand, scaled.scale + (1n << BigInt(scaled.shift)), scaled.shift);
  }

  /** `((x − t) >> 1) + t` is `(x + t) >> 1`: how compilers divide by numbers whose reciprocal does not fit. */
  #average(args: readonly number[]): ScaledFloor | undefined {
    for (const [half, other] of [
      [args[0]!, args[1]!],
      [args[1]!, args[0]!],
    ] as const) {
      const shift = this.plan.values[half]!;
      if (shift[0] !== 'shiftRightLogical') continue;
      const [difference, amount] = this.plan.operands[half]!;
      const minus = this.plan.values[difference!]!;
      if (minus[0] !== 'sub' || this.plan.operands[difference!]![1] !== other) continue;
      const one = this.evaluate(amount!);
      if (!isNumber(one) || one.constant !== 1) continue;
      const scaled = this.raw(other);
      if (!isScaledFloor(scaled) || scaled.scale < 0n || scaled.scale >= 1n << BigInt(scaled.shift)) continue;
      const x = this.window(this.evaluate(this.plan.operands[difference!]![0]!), shift[1], false);
      if (!isSameForm(x, scaled.operand)) continue;
      return new ScaledFloor(x, scaled.scale + (1n << BigInt(scaled.shift)), scaled.shift + 1);
    }
    return undefined;
  }

  #scale(form: Form, factor: number, width: number): Form | undefined {
    if (factor === 1) return form;
    return scaleForm(this.plain(form), factor, width);
  }

  #multiply(args: readonly number[], width: number): Form | ScaledFloor | undefined {
    let a = this.evaluate(args[0]!);
    let b = this.evaluate(args[1]!);
    if (!isConstant(b)) [a, b] = [b, a];
    b = this.plain(b);
    a = this.plain(a);
    if (isNumber(a) && !isNumber(b)) [a, b] = [b, a];
    if (isNumber(b)) {
      const product = scaleForm(a, b.constant, width);
      if (product && (width <= 32 || this.#isSmall(product))) return product;
      return this.#product(a, b, width);
    }
    if (isConstant(b)) {
      if (isConstant(a)) return bigForm(constantBits(a, width) * constantBits(b, width), width, a.blurred || b.blurred);
      return this.#product(a, b, width);
    }
    const { domain } = this.state;
    const spanA = domain.high(a) - domain.low(a);
    const spanB = domain.high(b) - domain.low(b);
    const settled = this.settled(spanA <= spanB ? a : b);
    return settled && scaleForm(spanA <= spanB ? b : a, settled.constant, width);
  }

  #isSmall(form: Form): boolean {
    const { domain } = this.state;
    const low = domain.low(form);
    const high = domain.high(form);
    // Unknown numbers are no less known when scaled.
    return (low >= -LIMIT && high <= LIMIT) || !Number.isFinite(low) || !Number.isFinite(high);
  }

  /** A 64-bit product too large for a form, of a number that is not negative and a constant. */
  #product(a: Form, b: Form, width: number): ScaledFloor | undefined {
    if (width !== 64 || a.big !== 0n) return undefined;
    const { domain } = this.state;
    const high = domain.high(a);
    const scale = constantBits(b, 64);
    if (domain.low(a) < 0 || !(high <= LIMIT) || BigInt(high) * scale >= 1n << 64n) return undefined;
    return new ScaledFloor(a, scale, 0);
  }

  #multiplyHigh(args: readonly number[], width: number, signed: boolean): Form | ScaledFloor | undefined {
    let a = this.window(this.evaluate(args[0]!), width, signed);
    let b = this.window(this.evaluate(args[1]!), width, signed);
    if (!isConstant(b)) [a, b] = [b, a];
    if (!isConstant(b)) return undefined;
    const scale = b.big + BigInt(b.constant);
    if (isConstant(a)) return bigForm(((a.big + BigInt(a.constant)) * scale) >> BigInt(width), width);
    return a.big === 0n ? new ScaledFloor(a, scale, width) : undefined;
  }

  /** A product shifted down, as a division: `floor(s·x / 2^n)` is `floor(x / d)` when `s·d` is just above 2^n. */
  #floor({ operand, scale, shift }: ScaledFloor, width: number): Form {
    const { domain } = this.state;
    const low = domain.low(operand);
    const high = domain.high(operand);
    const power = 1n << BigInt(shift);
    if (scale > 0n && low >= -LIMIT && high <= LIMIT) {
      const divisor = (power + scale - 1n) / scale;
      const error = divisor * scale - power;
      const reach = BigInt(Math.max(Math.abs(low), Math.abs(high)));
      if (divisor <= BigInt(LIMIT) && reach * error < power) {
        const d = Number(divisor);
        if (low >= 0 || error === 0n) return divide(this.state, operand, d).quotient;
        const negative = scaleForm(operand, -1, 64)!;
        if (high < 0) {
          // −ceil(s·y / 2^n), and s·y / 2^n lies just above y / d.
          const { quotient } = divide(this.state, negative, d);
          const result = scaleForm(quotient, -1, 64);
          return (result && addNumber(result, -1)) ?? this.unknown(width);
        }
        this.state.fork(
          () => this.state.domain.assumeNonNegative(operand),
          () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
        );
      }
      domain.inexact = true;
      const ends = [BigInt(low), BigInt(high)].map((end) => (scale * end) >> BigInt(shift));
      if (ends.every((end) => end >= -BigInt(LIMIT) && end <= BigInt(LIMIT)))
        return this.between(Number(ends[0]), Number(ends[1]));
    }
    domain.inexact = true;
    return this.unknown(width);
  }

  /** An amount of bits to shift by, unsigned and clamped at the width (PTX ISA 9.7.8.8); undefined when it varies too much. */
  #shiftAmount(id: number, width: number): number | undefined {
    const amount = this.settled(this.window(this.evaluate(id), this.plan.widths[id]!, false));
    return amount && Math.min(amount.constant, width);
  }

  #shiftRight(args: readonly number[], width: number, arithmetic: boolean): Form | ScaledFloor | undefined {
    const bits = this.#shiftAmount(args[1]!, width);
    if (bits === undefined) return undefined;
    const raw = this.raw(args[0]!);
    if (isScaledFloor(raw) && bits < width) {
      const shifted = new ScaledFloor(raw.operand, raw.scale, raw.shift + bits);
      if (this.#isInWindow(raw, width, arithmetic)) return shifted;
      // Compilers take the sign of a quotient by a logical shift: the large number is 2^width more than the negative one.
      if (raw.scale > 0n && width <= 32 && this.#isInWindow(raw, width, true)) {
        const { domain } = this.state;
        const negative = scaleForm(raw.operand, -1, 64)!;
        if (domain.high(raw.operand) < 0) return addNumber(this.#floor(shifted, 64), 2 ** (width - bits));
        this.state.fork(
          () => this.state.domain.assumeNonNegative(raw.operand),
          () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
        );
      }
    }
    const form = this.window(this.evaluate(args[0]!), width, arithmetic);
    if (form.big !== 0n) {
      if (!isConstant(form)) return undefined;
      return bigForm((form.big + BigInt(form.constant)) >> BigInt(bits), width, form.blurred);
    }
    if (bits === 0) return form;
    if (bits > 51) {
      const { domain } = this.state;
      if (domain.low(form) >= 0) return constantForm(0);
      return domain.high(form) < 0 ? constantForm(-1) : undefined;
    }
    return divide(this.state, form, 2 ** bits).quotient;
  }

  /** Whether a product shifted down is the number that its bits stand for. */
  #isInWindow({ operand, scale, shift }: ScaledFloor, width: number, signed: boolean): boolean {
    const { domain } = this.state;
    const ends = [domain.low(operand), domain.high(operand)];
    if (!ends.every((end) => end >= -LIMIT && end <= LIMIT)) return false;
    return ends.every((end) => {
      const value = (scale * BigInt(end)) >> BigInt(shift);
      return value === (signed ? BigInt.asIntN(width, value) : BigInt.asUintN(width, value));
    });
  }

  #truncate(arg: number, width: number): Form | ScaledFloor | undefined {
    const raw = this.raw(arg);
    if (isScaledFloor(raw)) {
      const high = this.state.domain.high(raw.operand);
      const fits =
        raw.scale > 0n &&
        this.state.domain.low(raw.operand) >= 0 &&
        high <= LIMIT &&
        (raw.scale * BigInt(high)) >> BigInt(raw.shift) < 1n << BigInt(width);
      if (fits) return raw;
    }
    const form = this.plain(this.evaluate(arg));
    if (form.big !== 0n) {
      const small = bigForm(form.big, width, form.blurred);
      return addForms(small, withBig(form, 0n), 1, width);
    }
    return width <= 32 ? addForms(constantForm(0), form, 1, width) : form;
  }

  #extreme(left: Form, right: Form, width: number, signed: boolean, least: boolean): Form | undefined {
    const a = this.window(left, width, signed);
    const b = this.window(right, width, signed);
    if (a.big !== 0n || b.big !== 0n) return undefined;
    const difference = addForms(b, a, -1, 64);
    if (!difference) return undefined;
    const { domain } = this.state;
    if (domain.low(difference) >= 0) return least ? a : b;
    if (domain.high(difference) <= 0) return least ? b : a;
    const opposite = scaleForm(difference, -1, 64)!;
    this.state.fork(
      () => this.state.domain.assumeNonNegative(difference),
      () => this.state.domain.assumeNonNegative(addNumber(opposite, -1)!),
    );
  }

  /** Of numbers that are not negative. */
  #divide(dividend: Form, divisor: Form): Division | undefined {
    if (dividend.big !== 0n || divisor.big !== 0n) return this.#divideBig(dividend, divisor);
    const number = this.settled(divisor);
    if (!number || number.constant <= 0) {
      // Division by zero gives all ones, and the dividend as remainder.
      return number?.constant === 0 ? { quotient: constantForm(-1), remainder: dividend } : undefined;
    }
    return divide(this.state, dividend, number.constant);
  }

  #divideBig(dividend: Form, divisor: Form): Division | undefined {
    if (!isConstant(dividend) || !isConstant(divisor)) return undefined;
    const a = dividend.big + BigInt(dividend.constant);
    const b = divisor.big + BigInt(divisor.constant);
    if (a < 0n || b <= 0n) return undefined;
    return { quotient: bigForm(a / b, 64), remainder: bigForm(a % b, 64) };
  }

  #divideSigned(dividend: Form, divisor: Form): Division | undefined {
    if (dividend.big !== 0n || divisor.big !== 0n) return undefined;
    const number = this.settled(divisor);
    if (!number) return undefined;
    if (number.constant === 0) return { quotient: constantForm(-1), remainder: dividend };
    const { domain } = this.state;
    const low = domain.low(dividend);
    const size = Math.abs(number.constant);
    const sign = Math.sign(number.constant);
    if (low >= 0) {
      const { quotient, remainder } = divide(this.state, dividend, size);
      const signedQuotient = scaleForm(quotient, sign, 64);
      return signedQuotient && { quotient: signedQuotient, remainder };
    }
    const negative = scaleForm(dividend, -1, 64);
    if (!negative || !Number.isFinite(low)) return undefined;
    if (domain.high(dividend) <= 0) {
      const { quotient, remainder } = divide(this.state, negative, size);
      const signedQuotient = scaleForm(quotient, -sign, 64);
      const signedRemainder = scaleForm(remainder, -1, 64);
      return signedQuotient && signedRemainder && { quotient: signedQuotient, remainder: signedRemainder };
    }
    this.state.fork(
      () => this.state.domain.assumeNonNegative(dividend),
      () => this.state.domain.assumeNonNegative(addNumber(negative, -1)!),
    );
  }

  #extract(value: Form, position: Form, length: Form, width: number, signed: boolean): Form | undefined {
    const from = this.settled(position);
    const count = this.settled(length);
    if (!from || !count) return undefined;
    const start = from.constant & 255;
    const bits = count.constant & 255;
    if (bits === 0) return constantForm(0);
    if (start >= width || start > 51) return signed ? undefined : constantForm(0);
    const end = Math.min(start + bits, width);
    // Bits above the value are copies of its sign: only a signed window has them.
    const source = end === width ? this.window(value, width, signed) : this.plain(value);
    if (source.big !== 0n) return undefined;
    const shifted = start === 0 ? source : divide(this.state, source, 2 ** start).quotient;
    if (end === width) return shifted;
    if (end - start > 51) return undefined;
    const field = divide(this.state, shifted, 2 ** (end - start)).remainder;
    return signed ? this.window(field, end - start, true) : field;
  }

  #insert(field: Form, base: Form, position: Form, length: Form, width: number): Form | undefined {
    const from = this.settled(position);
    const count = this.settled(length);
    if (!from || !count) return undefined;
    const start = from.constant & 255;
    const bits = Math.min(count.constant & 255, Math.max(0, width - start));
    const plainBase = this.plain(base);
    if (bits === 0) return plainBase;
    if (bits > 50 || start > 50) return undefined;
    const { state } = this;
    const old = divide(state, divide(state, plainBase, 2 ** start).quotient, 2 ** bits).remainder;
    const fresh = divide(state, this.plain(field), 2 ** bits).remainder;
    const change = addForms(fresh, old, -1, 64);
    return change && addForms(plainBase, change, 2 ** start, width);
  }

  /** Shifts of a 64-bit pair, one half of it. */
  #funnel(low: Form, high: Form, amount: Form, left: boolean): Form | undefined {
    const count = this.settled(amount);
    if (!count) return undefined;
    const bits = count.constant & 31;
    if (bits === 0) return left ? high : low;
    const down = left ? 32 - bits : bits;
    const lower = divide(this.state, this.window(low, 32, false), 2 ** down).quotient;
    return addForms(lower, this.plain(high), 2 ** (32 - down), 32);
  }

  #permute(low: Form, high: Form, selector: Form): Form | undefined {
    const picks = this.settled(selector);
    if (!picks) return undefined;
    let result: Form | undefined = constantForm(0);
    for (let byte = 0; byte < 4 && result; ) {
      const pick = (picks.constant >> (byte * 4)) & 15;
      if (pick & 8) return undefined;
      // Neighbouring bytes of one source go together.
      let count = 1;
      while (
        byte + count < 4 &&
        ((picks.constant >> ((byte + count) * 4)) & 15) === pick + count &&
        (pick & 4) === ((pick + count) & 4)
      )
        count++;
      const source = this.plain(pick & 4 ? high : low);
      const { quotient } = divide(this.state, source, 2 ** (8 * (pick & 3)));
      const part = count === 4 ? source : divide(this.state, quotient, 2 ** (8 * count)).remainder;
      result = addForms(result, part, 2 ** (8 * byte), 32);
      byte += count;
    }
    return result;
  }

  protected infeasible(): never {
    throw INFEASIBLE;
  }
}

function isSameRoot(a: Root, b: Root): boolean {
  if (a.kind === 'parameter') return b.kind === 'parameter' && a.offset === b.offset;
  if (a.kind === 'object') return b.kind === 'object' && a.index === b.index;
  return a.kind === 'window' && b.kind === 'window' && a.space === b.space && a.index === b.index;
}

/** A negative number as the large unsigned one that it is congruent to. */
function bigShift(form: Form): Form {
  return withBig(form, 1n << 64n);
}

function isSameForm(a: Form, b: Form): boolean {
  return (
    a.constant === b.constant &&
    a.big === b.big &&
    a.root === b.root &&
    a.atoms.length === b.atoms.length &&
    a.atoms.every((atom, i) => atom === b.atoms[i] && a.coefs[i] === b.coefs[i])
  );
}
