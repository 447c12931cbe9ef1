/**
 * What values are made of: thread coordinates, launch sizes, parameters, places of variables, and what is not known. With them
 * whatever an evaluation of one launch notes on the way: what its result depends on.
 *
 * Soundness. An unknown value is an atom over its whole type. Whoever looks at a parameter or at the place of a variable notes it.
 */
import type { MemorySpace } from '../../templates/index.js';
import { WARP } from '../concrete.js';
import type { LaunchRecord } from '../launch.js';
import type { TensorMap } from '../tensor-maps.js';
import { divide } from './divide.js';
import { Domain } from './domain.js';
import { addForms, atomForm, constantForm, type Form, NO_ROOT, resolveRoot, rootForm, scaleForm } from './form.js';
import type { Lines } from './lines.js';
import type { Plan } from './plan.js';
import { INFEASIBLE, PROBE_FAILED, type ScaledFloor, State } from './state.js';

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
  /** What a tensor map means; undefined when nobody told. */
  tensorMap(content: Uint8Array): TensorMap | undefined;
  /** Whether any content is known at all. */
  readonly hasKnownMemory: boolean;
}

/** Values between bounds, both included. */
export interface Range {
  readonly low: number;
  readonly high: number;
}
export abstract class Leaves {
  readonly state: State;
  protected launch!: LaunchRecord;
  protected environment!: Environment;
  readonly roots: Root[] = [];
  /** Roots that were loaded, by their value. */
  protected readonly loadedRoots = new Map<bigint, number>();
  protected parameters!: DataView;
  protected readonly specials = new Map<string, Form>();
  /** Words of four bytes of the parameter block whose value some result so far depends on. */
  protected consulted: Uint8Array;
  /** Ranges of device memory whose known content the result depends on. */
  protected knownReads: { readonly address: bigint; readonly content: Uint8Array }[] = [];
  /** Variables whose place was looked at. */
  protected symbols: (readonly [name: string, address: bigint | undefined])[] = [];
  /** Memory was loaded from while none was known. */
  unread = false;
  /** Tensor maps that were asked for and are not known. */
  protected untold: Uint8Array[] = [];
  /** While a loop's end is looked for: its round is unbounded, and windows are promised instead of checked. */
  bounding: { readonly atom: number; readonly promises: { form: Form; low: number; high: number }[] } | undefined;
  /** What is linear in a word of the parameter block, with that word's number; undefined when nothing is. */
  protected lines: Lines | undefined;
  protected readonly uniformMemo: (Form | undefined)[];
  /** Values that are in `uniformMemo` without being constants of the template. */
  protected readonly uniformIds: number[] = [];
  /** All threads of the launch. */
  protected threads = new Domain();
  /** Bounds of values over all threads, by value. */
  protected readonly everywhere = new Map<number, Range>();

  constructor(readonly plan: Plan) {
    this.state = new State(plan);
    const words = (plan.template.parameterBytes + 3) >> 2;
    this.consulted = new Uint8Array(words);
    this.uniformMemo = plan.constants.slice();
  }

  /** The value's form. Forks where cases differ. */
  abstract evaluate(id: number): Form;
  /** The same, where a product too large for a form may come. */
  protected abstract raw(id: number): Form | ScaledFloor;
  /** The value of a phi, by the way control takes: loops and merges are another part's business. */
  protected abstract phi(id: number): Form;
  /** Narrows to threads for which a condition is as wanted; false when there are none. */
  protected abstract assume(id: number, want: boolean): boolean;
  /** One or zero when a condition is the same for all threads of the domain, −1 otherwise. */
  protected abstract truth(id: number): number;

  /** Any value of the type. */
  unknown(width: number): Form {
    const { domain } = this.state;
    if (width >= 64) return atomForm(domain.atom(Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, true));
    return atomForm(domain.atom(0, 2 ** width - 1, true));
  }

  between(low: number, high: number): Form {
    return low === high ? constantForm(low) : atomForm(this.state.domain.atom(low, high, true));
  }

  // --- leaves ---

  protected root(root: Root): number {
    const { roots } = this;
    if (root.kind === 'loaded') {
      const known = this.loadedRoots.get(root.value);
      if (known !== undefined) return known;
      this.loadedRoots.set(root.value, roots.length);
    } else {
      // There are as many of them as pointers and variables: few.
      for (let index = 0; index < roots.length; index++) if (isSameRoot(roots[index]!, root)) return index;
    }
    return roots.push(root) - 1;
  }

  /** Where a root is in memory; undefined when nothing says. */
  rootAddress(index: number): bigint | undefined {
    const root = this.roots[index]!;
    if (root.kind === 'parameter') return this.parameters.getBigUint64(root.offset, true);
    if (root.kind === 'loaded') return root.value;
    if (root.kind === 'window') return undefined;
    const { name } = this.plan.template.objects[root.index]!;
    const address = this.environment.symbol(name);
    if (!this.symbols.some(([known]) => known === name)) this.symbols.push([name, address]);
    return address;
  }

  protected consult(offset: number, bytes: number): void {
    for (let word = offset >> 2; word <= (offset + bytes - 1) >> 2; word++) this.consulted[word] = 1;
  }

  protected parameter(offset: number, width: number): Form {
    if (offset + width / 8 > this.parameters.byteLength) return this.unknown(width);
    if (width === 64) return rootForm(this.root({ kind: 'parameter', offset }));
    this.consult(offset, Math.max(1, width / 8));
    switch (width) {
      case 32:
        return constantForm(this.parameters.getInt32(offset, true));
      case 16:
        return constantForm(this.parameters.getInt16(offset, true));
      case 8:
        return constantForm(this.parameters.getInt8(offset));
      default:
        return this.unknown(width);
    }
  }

  protected object(index: number): Form {
    const object = this.plan.template.objects[index]!;
    return rootForm(
      this.root(
        object.space === 'global' || object.space === 'constant'
          ? { kind: 'object', index }
          : { kind: 'window', space: object.space, index },
      ),
    );
  }

  protected toWindow(id: number): Form {
    const form = this.evaluate(id);
    // The generic address keeps its object as root; without one, it is somewhere.
    return form.root !== NO_ROOT && this.roots[form.root]!.kind !== 'parameter' ? form : this.unknown(64);
  }

  /** The form without symbolic part. */
  plain(form: Form, width = 64): Form {
    if (form.root === NO_ROOT) return form;
    const root = this.roots[form.root]!;
    const address = this.rootAddress(form.root);
    if (root.kind === 'parameter') this.consult(root.offset, 8);
    return address === undefined ? this.unknown(width) : resolveRoot(form, address);
  }

  /** A thread coordinate or launch size (PTX ISA 10). */
  protected special(name: string): Form {
    let form = this.specials.get(name);
    if (form) return form;
    form = this.#makeSpecial(name);
    // Atoms made while nothing was decided yet live in every domain: see `Starting`.
    this.specials.set(name, form);
    return form;
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

  protected infeasible(): never {
    throw INFEASIBLE;
  }
}

function isSameRoot(a: Root, b: Root): boolean {
  if (a.kind === 'parameter') return b.kind === 'parameter' && a.offset === b.offset;
  if (a.kind === 'object') return b.kind === 'object' && a.index === b.index;
  return a.kind === 'window' && b.kind === 'window' && a.space === b.space && a.index === b.index;
}
