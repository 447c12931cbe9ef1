/**
 * Local memory as values: a load from a constant place in a `.local` variable gives what the same thread stored there
 * (PTX ISA 5.1.5: local memory is private to each thread). Unoptimised code keeps every variable and every pointer in such
 * slots, and spills do the same; without this pass all their addresses would be "read from memory".
 *
 * A slot is a byte range of one variable that some load reads. Stores to exactly that range define it; whatever else may
 * touch it makes it unknown: a store that overlaps it differently, a store with an offset that is not constant, a store
 * through a pointer of unknown origin once the variable's address has escaped, a call that is not expanded. Variables are
 * taken to be disjoint, as the assembler takes them: a store through a pointer into one never reaches another.
 */
import type { DiagnosticCode } from '../diagnostics/index.js';
import { actionOperands } from './operands.js';
import {
  type Access,
  type Action,
  type BlockId,
  COMPARISON_OPERATIONS,
  type MemoryObject,
  type Operation,
  type ValueId,
} from './program.js';

/** The unfinished program, as the builder holds it. */
export interface DraftProgram {
  readonly objects: readonly MemoryObject[];
  /** Reachable blocks in reverse postorder; the first is the entry. */
  readonly order: readonly BlockId[];
  resolve(id: ValueId): ValueId;
  get(id: ValueId): {
    readonly op: Operation;
    readonly width: number;
    readonly args: readonly ValueId[];
    readonly immediate?: bigint;
    readonly space?: string;
    readonly access?: Access;
    readonly action?: Action;
  };
  /** Values of a block in order: phis first. Leaves belong to no block. */
  valuesOf(block: BlockId): readonly ValueId[];
  predecessorsOf(block: BlockId): readonly BlockId[];
  /** A new value without a place that stands for something not known. */
  opaque(block: BlockId, width: number, reason: DiagnosticCode): ValueId;
  /** A new phi without operands yet. */
  phi(block: BlockId, width: number): ValueId;
  setOperands(phi: ValueId, args: readonly ValueId[]): void;
  /** `condition ? a : b`, placed right in front of a value of the block. */
  select(block: BlockId, before: ValueId, width: number, condition: ValueId, a: ValueId, b: ValueId): ValueId;
  /** Lets every use of `id` use `value`. */
  replace(id: ValueId, value: ValueId): void;
}

/** What an address is, seen from local memory. */
type Provenance =
  /** A place in one object; offset undefined when it is not constant. */
  | { readonly object: number; readonly offset: bigint | undefined }
  /** Made of parameters, coordinates and other memory's addresses alone: never a local address. */
  | 'foreign'
  | 'any';

interface Slot {
  readonly object: number;
  readonly offset: bigint;
  readonly bytes: bigint;
}

/** Phis made at most; beyond, what a slot holds where control joins is not known. */
const MAX_PHIS = 200_000;

/** In place of a value: the slot holds something that is not known. */
const FORGOTTEN = -1;

const COMPARISONS: ReadonlySet<string> = new Set([...COMPARISON_OPERATIONS, 'isSpace']);

/** Rounds: a pointer kept in a slot becomes known in one round and what it points to in the next. */
const MAX_ROUNDS = 4;

/** Replaces loads of local memory by the values stored there. Returns whether it replaced any. */
export function promoteLocalMemory(draft: DraftProgram): boolean {
  if (!draft.objects.some((object) => object.space === 'local')) return false;
  let changed = false;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    if (!new Promotion(draft).run()) break;
    changed = true;
  }
  return changed;
}

class Promotion {
  readonly #provenance = new Map<ValueId, Provenance>();
  readonly #escaped = new Set<number>();
  readonly #slots: Slot[] = [];
  readonly #slotOf = new Map<string, number>();
  readonly #slotsOfObject = new Map<number, number[]>();
  /** By slot: value at a block's end, where the block defines it. */
  readonly #atEnd: Map<BlockId, ValueId>[] = [];
  readonly #atStart: Map<BlockId, ValueId>[] = [];
  #phis = 0;

  constructor(readonly draft: DraftProgram) {}

  run(): boolean {
    this.#solveProvenance();
    this.#findEscapes();
    this.#findSlots();
    if (this.#slots.length === 0) return false;
    return this.#forwardStores();
  }

  // --- addresses ---

  #of(id: ValueId): Provenance | undefined {
    const value = this.draft.resolve(id);
    const known = this.#provenance.get(value);
    if (known !== undefined) return known;
    // Leaves stand in no block.
    const { op, args, immediate, space } = this.draft.get(value);
    // Any value may be chosen for a register that was never written.
    if (args.length > 0 || op === 'opaque' || op === 'phi' || op === 'access' || op === 'undefined') return undefined;
    const made: Provenance =
      op === 'objectAddress' && space === 'local' ? { object: Number(immediate), offset: 0n } : 'foreign';
    this.#provenance.set(value, made);
    return made;
  }

  /** Optimistic: starts from nothing and only ever widens, over the loops until nothing changes. */
  #solveProvenance(): void {
    const { draft } = this;
    for (let changed = true; changed; ) {
      changed = false;
      for (const block of draft.order) {
        for (const id of draft.valuesOf(block)) {
          if (draft.resolve(id) !== id) continue;
          const next = join(this.#provenance.get(id), this.#derive(id));
          if (next === undefined || same(next, this.#provenance.get(id))) continue;
          this.#provenance.set(id, next);
          changed = true;
        }
      }
    }
  }

  #derive(id: ValueId): Provenance | undefined {
    const { draft } = this;
    const { op, args, space, width } = draft.get(id);
    switch (op) {
      case 'phi':
        return args.reduce<Provenance | undefined>((sum, arg) => join(sum, this.#of(arg)), undefined);
      case 'select':
        return join(this.#of(args[1]!), this.#of(args[2]!));
      case 'toGeneric':
      case 'fromGeneric': {
        const inner = this.#of(args[0]!);
        if (typeof inner === 'object') return space === 'local' ? inner : 'any';
        // A number taken for a place in local memory is one.
        return inner === 'foreign' && op === 'toGeneric' && space === 'local' ? 'any' : inner;
      }
      case 'add':
      case 'sub': {
        const [a, b] = [this.#of(args[0]!), this.#of(args[1]!)];
        if (a === undefined || b === undefined) return undefined;
        const constant = this.#constant(args[1]!);
        if (typeof a === 'object' && b === 'foreign') {
          if (constant === undefined || a.offset === undefined) return { object: a.object, offset: undefined };
          const delta = op === 'add' ? constant : -constant;
          return { object: a.object, offset: BigInt.asIntN(64, a.offset + BigInt.asIntN(width, delta)) };
        }
        if (typeof b === 'object' && a === 'foreign' && op === 'add') return { object: b.object, offset: undefined };
        // An offset that was read from memory: still a place in the same object, unless both are pointers.
        if (typeof a === 'object' && b === 'any') return { object: a.object, offset: undefined };
        if (typeof b === 'object' && a === 'any' && op === 'add') return { object: b.object, offset: undefined };
        return a === 'foreign' && b === 'foreign' ? 'foreign' : 'any';
      }
      case 'load':
      case 'element':
      case 'opaque':
      case 'result':
        // Narrow values are no addresses; what memory holds may be one.
        return width <= 16 ? 'foreign' : 'any';
      case 'exchange':
        return this.#of(args[0]!) === 'foreign' ? 'foreign' : this.#of(args[0]!) && 'any';
      default: {
        if (COMPARISONS.has(op) || width <= 16) return 'foreign';
        let sum: Provenance = 'foreign';
        for (const arg of args) {
          const own = this.#of(arg);
          if (own === undefined) return undefined;
          if (own !== 'foreign') sum = 'any';
        }
        return sum;
      }
    }
  }

  #constant(id: ValueId): bigint | undefined {
    const { op, immediate } = this.draft.get(this.draft.resolve(id));
    return op === 'constant' ? immediate : undefined;
  }

  /** An object escapes where its address goes anywhere but into an address computation that is followed. */
  #findEscapes(): void {
    const { draft } = this;
    const letOut = (id: ValueId): void => {
      const known = this.#of(id);
      if (typeof known === 'object') this.#escaped.add(known.object);
    };
    for (const block of draft.order) {
      for (const id of draft.valuesOf(block)) {
        if (draft.resolve(id) !== id) continue;
        const { op, args, access, action } = draft.get(id);
        if (access) {
          for (const value of access.values ?? []) letOut(value);
          if (access.length !== undefined) letOut(access.length);
          if (access.rows) letOut(access.rows.stride);
          for (const value of access.coordinates ?? []) letOut(value);
          continue;
        }
        if (action) {
          for (const value of actionOperands(action)) letOut(value);
          if (op === 'action') continue;
        }
        if (COMPARISONS.has(op)) continue;
        const own = this.#provenance.get(id);
        const pointers = args.filter((arg) => typeof this.#of(arg) === 'object');
        // The result is followed as a place in the same object, and no second pointer went into it.
        if (typeof own === 'object' && (pointers.length <= 1 || op === 'phi' || op === 'select')) continue;
        for (const arg of pointers) letOut(arg);
      }
    }
  }

  // --- slots ---

  /** The local place of an access: an object with an offset, an object, or nothing when it is not a followed place. */
  #place(access: Access, address: ValueId | undefined): Provenance {
    if (address === undefined) return 'any';
    const place = this.#of(address) ?? 'any';
    if (place === 'foreign' && access.space === 'local') return 'any';
    return place === 'any' && access.space !== 'generic' && access.space !== 'local' ? 'foreign' : place;
  }

  #findSlots(): void {
    const { draft } = this;
    for (const block of draft.order) {
      for (const id of draft.valuesOf(block)) {
        if (draft.resolve(id) !== id) continue;
        const place = this.#loadPlace(id);
        if (!place) continue;
        const key = slotKey(place);
        if (this.#slotOf.has(key)) continue;
        const slot = this.#slots.length;
        this.#slots.push(place);
        this.#slotOf.set(key, slot);
        this.#atEnd.push(new Map());
        this.#atStart.push(new Map());
        const list = this.#slotsOfObject.get(place.object);
        if (list) list.push(slot);
        else this.#slotsOfObject.set(place.object, [slot]);
      }
    }
  }

  /** The slot that a load, or an element of a load, reads; undefined when it is not a constant local place. */
  #loadPlace(id: ValueId): Slot | undefined {
    const { op, args, immediate, access, width } = this.draft.get(id);
    if (op === 'element') {
      const load = this.draft.get(this.draft.resolve(args[0]!));
      if (load.op !== 'load' || !load.access || load.access.writes) return undefined;
      return this.#slotAt(load.access, load.args[0], BigInt(width / 8), immediate!);
    }
    if (op !== 'load' || !access || access.writes || (access.elements ?? 1) !== 1) return undefined;
    return this.#slotAt(access, args[0], BigInt(width / 8), 0n);
  }

  #slotAt(access: Access, address: ValueId | undefined, bytes: bigint, element: bigint): Slot | undefined {
    if (access.space !== 'local' && access.space !== 'generic') return undefined;
    const place = this.#place(access, address);
    if (typeof place !== 'object' || place.offset === undefined) return undefined;
    return { object: place.object, offset: place.offset + element * bytes, bytes };
  }

  // --- stores ---

  /** What an access does to the slots: values it defines, and slots it makes unknown. */
  #effects(access: Access, address: ValueId | undefined): { define: Map<number, ValueId>; forget: number[] } {
    const define = new Map<number, ValueId>();
    if (!access.writes || access.writes === 'runtimeMemory') return { define, forget: [] };
    const place = this.#place(access, address);
    if (place === 'foreign') return { define, forget: [] };
    if (place === 'any') {
      // A store to local memory by an address of unknown origin reaches any object, a generic one those whose address
      // got out, and so does a call; a call may also be handed an address by a way that is not followed.
      const all = access.space === 'local' || address === undefined;
      const forget = this.#slots.flatMap((slot, index) => (all || this.#escaped.has(slot.object) ? [index] : []));
      return { define, forget };
    }
    const slots = this.#slotsOfObject.get(place.object) ?? [];
    const count = access.values?.length ?? 0;
    // Operands that do not fit the instruction leave a size that is no whole number.
    const plain = access.writes === 'store' && count > 0 && access.bytes > 0 && access.bytes % count === 0;
    if (place.offset === undefined || !plain) return { define, forget: [...slots] };
    const values = access.values!;
    const size = BigInt(access.bytes / values.length);
    const forget: number[] = [];
    for (const index of slots) {
      const { offset, bytes } = this.#slots[index]!;
      const end = place.offset + BigInt(access.bytes);
      if (offset + bytes <= place.offset || offset >= end) continue;
      const at = offset - place.offset;
      const fits = bytes === size && at >= 0n && at % size === 0n;
      const value = fits ? values[Number(at / size)] : undefined;
      if (value !== undefined && this.draft.get(value).width === Number(bytes) * 8) define.set(index, value);
      else forget.push(index);
    }
    return { define, forget };
  }

  #forwardStores(): boolean {
    const { draft } = this;
    const entry = draft.order[0]!;
    for (const slot of this.#slots.keys()) this.#atStart[slot]!.set(entry, this.#unknown(slot, entry));
    const reads: { load: ValueId; slot: number; block: BlockId }[] = [];
    const guarded: { select: ValueId; slot: number; block: BlockId }[] = [];
    for (const block of draft.order) {
      const now = new Map<number, ValueId>();
      for (const id of [...draft.valuesOf(block)]) {
        if (draft.resolve(id) !== id) continue;
        const { args, access } = draft.get(id);
        const place = this.#loadPlace(id);
        if (place) {
          const slot = this.#slotOf.get(slotKey(place))!;
          const known = now.get(slot);
          if (known === undefined) reads.push({ load: id, slot, block });
          else if (known !== FORGOTTEN) draft.replace(id, known);
          // The load itself stands for what is not known, until the next store.
          else now.set(slot, id);
        }
        if (!access) continue;
        const { define, forget } = this.#effects(access, args[0]);
        for (const slot of forget) now.set(slot, FORGOTTEN);
        for (const [slot, value] of define) {
          if (access.guard === undefined) {
            now.set(slot, value);
            continue;
          }
          const width = Number(this.#slots[slot]!.bytes) * 8;
          let before = now.get(slot);
          if (before === FORGOTTEN) before = this.#unknown(slot, block);
          // What the slot held at the block's start is filled in once all blocks are known.
          const select = draft.select(block, id, width, access.guard, value, before ?? value);
          if (before === undefined) guarded.push({ select, slot, block });
          now.set(slot, select);
        }
      }
      for (const [slot, value] of now) this.#atEnd[slot]!.set(block, value);
    }
    for (const { select, slot, block } of guarded) {
      const { args } = draft.get(select);
      draft.setOperands(select, [args[0]!, args[1]!, this.#start(slot, block)]);
    }
    for (const { load, slot, block } of reads) draft.replace(load, this.#start(slot, block));
    return true;
  }

  #unknown(slot: number, block: BlockId): ValueId {
    return this.draft.opaque(block, Number(this.#slots[slot]!.bytes) * 8, 'GCR4008');
  }

  /** The slot's value at a block's end, where the block defines it. */
  #end(slot: number, block: BlockId): ValueId | undefined {
    const ends = this.#atEnd[slot]!;
    let value = ends.get(block);
    if (value === FORGOTTEN) {
      value = this.#unknown(slot, block);
      ends.set(block, value);
    }
    return value;
  }

  /** The slot's value where a block starts. */
  #start(slot: number, block: BlockId): ValueId {
    const { draft } = this;
    const starts = this.#atStart[slot]!;
    const width = Number(this.#slots[slot]!.bytes) * 8;
    const pending: { phi: ValueId; block: BlockId }[] = [];
    const look = (from: BlockId): ValueId => {
      const path: BlockId[] = [];
      let at = from;
      let value = starts.get(at);
      while (value === undefined) {
        path.push(at);
        const predecessors = draft.predecessorsOf(at);
        if (predecessors.length !== 1) {
          if (this.#phis++ < MAX_PHIS) {
            value = draft.phi(at, width);
            pending.push({ phi: value, block: at });
          } else value = this.#unknown(slot, at);
          break;
        }
        at = predecessors[0]!;
        value = this.#end(slot, at) ?? starts.get(at);
      }
      for (const passed of path) starts.set(passed, value);
      return value;
    };
    const result = look(block);
    for (let index = 0; index < pending.length; index++) {
      const { phi, block: at } = pending[index]!;
      const args = draft.predecessorsOf(at).map((from) => this.#end(slot, from) ?? look(from));
      draft.setOperands(phi, args);
    }
    return result;
  }
}

function slotKey({ object, offset, bytes }: Slot): string {
  return `${object}:${offset}:${bytes}`;
}

function same(a: Provenance | undefined, b: Provenance | undefined): boolean {
  if (typeof a !== 'object' || typeof b !== 'object') return a === b;
  return a.object === b.object && a.offset === b.offset;
}

function join(a: Provenance | undefined, b: Provenance | undefined): Provenance | undefined {
  if (a === undefined) return b;
  if (b === undefined || same(a, b)) return a;
  if (typeof a === 'object' && typeof b === 'object' && a.object === b.object) {
    return { object: a.object, offset: undefined };
  }
  return 'any';
}
