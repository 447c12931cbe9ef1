/**
 * Builds a `KernelProgram`: values with constant folding, blocks, and static single assignment on the fly (Braun et al.,
 * "Simple and Efficient Construction of Static Single Assignment Form", made iterative). The lowering reads and writes
 * numbered variables; the builder places phis.
 *
 * Variables written once can be declared so with the blocks that their definition dominates: reading them is then one
 * look-up, which is what makes large straight compiler output cheap.
 */
import { type DiagnosticCode, InternalError } from '../diagnostics/index.js';
import { evaluateInteger, isIntegerOperation } from './evaluate.js';
import { DominatorTree, immediateDominators, innermostLoops, predecessorsOf, reversePostorder } from './graph.js';
import { accessOperands, actionOperands, renumberAccess, renumberAction } from './operands.js';
import type {
  Access,
  Action,
  Block,
  BlockId,
  FloatMode,
  MemoryObject,
  MemorySpace,
  Operation,
  Origin,
  SpecialValue,
  Terminator,
  Value,
  ValueId,
} from './program.js';
import { type DraftProgram, promoteLocalMemory } from './promote-local.js';

/** Variable number, given out by {@link ProgramBuilder.newVariables}. */
export type VariableId = number;

interface DraftValue {
  op: Operation;
  width: number;
  args: ValueId[];
  immediate?: bigint;
  special?: SpecialValue;
  space?: MemorySpace;
  mode?: FloatMode;
  reason?: DiagnosticCode;
  access?: Access;
  action?: Action;
  origin?: Origin;
}

interface DraftBlock {
  readonly values: ValueId[];
  readonly phis: ValueId[];
  readonly predecessors: BlockId[];
  readonly definitions: Map<VariableId, ValueId>;
  /** Phis waiting for predecessors, while the block is not sealed. */
  incomplete: { variable: VariableId; phi: ValueId }[] | undefined;
  terminator: Terminator | undefined;
}

/** Extra properties of a value beside operation, width and operands. */
export type ValueExtras = Omit<DraftValue, 'op' | 'width' | 'args'>;

/** Operations whose operands may be swapped. */
const COMMUTATIVE: ReadonlySet<Operation> = new Set(['add', 'mul', 'and', 'or', 'xor', 'equal', 'notEqual']);

/** A program beyond these is given up: register-times-block tables grow with the square of a hostile text. */
const MAX_VALUES = 1_500_000;
const MAX_OPERANDS = 6_000_000;

/** Thrown while a program is built: it has more values than memory should be spent on. */
export class ProgramTooLarge extends Error {
  constructor() {
    super('program is too large');
  }
}

export class ProgramBuilder {
  #operands = 0;
  readonly #values: DraftValue[] = [];
  readonly #forward: ValueId[] = [];
  readonly #blocks: DraftBlock[] = [];
  /** Values without operands: they stand at the head of the entry block, before everything that uses them. */
  readonly #leaves: ValueId[] = [];
  /** Leaves that only {@link forExecution} has asked for: behind the others, so that these keep their order. */
  readonly #asides = new Set<ValueId>();
  #aside = false;
  readonly #constants = new Map<string, ValueId>();
  readonly #variableWidths: number[] = [];
  readonly #singleBlock: BlockId[] = [];
  readonly #singleValue: ValueId[] = [];
  readonly objects: MemoryObject[] = [];
  readonly functions: string[] = [];
  readonly #objectIndex = new Map<object, number>();
  readonly #functionIndex = new Map<string, number>();
  current: BlockId;

  constructor() {
    this.current = this.newBlock();
    this.seal(this.current);
  }

  /** Number of values made so far; the lowering's size limit counts them. */
  get size(): number {
    return this.#values.length;
  }

  // --- blocks ---

  /** A new block without predecessors, not sealed. */
  newBlock(): BlockId {
    this.#blocks.push({
      values: [],
      phis: [],
      predecessors: [],
      definitions: new Map(),
      incomplete: [],
      terminator: undefined,
    });
    return this.#blocks.length - 1;
  }

  /** Ends the current block. Further values need {@link startBlock} first. */
  terminate(terminator: Terminator): void {
    const block = this.#blocks[this.current]!;
    if (block.terminator) throw new InternalError('block terminated twice');
    block.terminator = normalizeTerminator(terminator);
    for (const target of targetsOf(block.terminator)) this.#blocks[target]!.predecessors.push(this.current);
  }

  get isTerminated(): boolean {
    return this.#blocks[this.current]!.terminator !== undefined;
  }

  startBlock(block: BlockId): void {
    this.current = block;
  }

  /** Declares that all predecessors of a block are known. */
  seal(block: BlockId): void {
    const draft = this.#blocks[block]!;
    const incomplete = draft.incomplete;
    draft.incomplete = undefined;
    if (incomplete && incomplete.length > 0) {
      this.#fillPhis(incomplete.map(({ variable, phi }) => ({ block, variable, phi })));
    }
  }

  isSealed(block: BlockId): boolean {
    return this.#blocks[block]!.incomplete === undefined;
  }

  // --- variables ---

  /** Reserves consecutive variables; returns the first. */
  newVariables(widths: readonly number[]): VariableId {
    const first = this.#variableWidths.length;
    for (const width of widths) {
      this.#variableWidths.push(width);
      this.#singleBlock.push(-1);
      this.#singleValue.push(-1);
    }
    return first;
  }

  widthOf(variable: VariableId): number {
    return this.#variableWidths[variable]!;
  }

  write(variable: VariableId, value: ValueId): void {
    this.#blocks[this.current]!.definitions.set(variable, value);
  }

  /** Records the only definition of a variable; reads that it dominates use {@link readSingle}. */
  writeSingle(variable: VariableId, value: ValueId): void {
    this.#singleBlock[variable] = this.current;
    this.#singleValue[variable] = value;
  }

  /** The value of the only definition, -1 when it was not met yet. */
  readSingle(variable: VariableId): ValueId {
    const value = this.#singleValue[variable]!;
    return value < 0 ? value : this.resolve(value);
  }

  /** The variable's value at the end of the current block so far. */
  read(variable: VariableId): ValueId {
    const filled: { block: BlockId; variable: VariableId; phi: ValueId }[] = [];
    const value = this.#lookUp(variable, this.current, filled);
    if (filled.length === 0) return this.resolve(value);
    this.#fillPhis(filled);
    return this.resolve(value);
  }

  #definition(variable: VariableId, block: BlockId): ValueId | undefined {
    if (this.#singleBlock[variable] === block) return this.#singleValue[variable];
    return this.#blocks[block]!.definitions.get(variable);
  }

  #lookUp(
    variable: VariableId,
    from: BlockId,
    pending: { block: BlockId; variable: VariableId; phi: ValueId }[],
  ): ValueId {
    const path: BlockId[] = [];
    let block = from;
    let value: ValueId;
    for (;;) {
      const known = this.#definition(variable, block);
      if (known !== undefined) {
        value = known;
        break;
      }
      const draft = this.#blocks[block]!;
      if (draft.incomplete) {
        value = this.#newPhi(block, variable);
        draft.incomplete.push({ variable, phi: value });
        break;
      }
      if (draft.predecessors.length === 1) {
        path.push(block);
        block = draft.predecessors[0]!;
        continue;
      }
      if (draft.predecessors.length === 0) {
        value = this.leaf('undefined', this.#variableWidths[variable]!);
        draft.definitions.set(variable, value);
        break;
      }
      value = this.#newPhi(block, variable);
      pending.push({ block, variable, phi: value });
      break;
    }
    for (const passed of path) this.#blocks[passed]!.definitions.set(variable, value);
    return value;
  }

  #newPhi(block: BlockId, variable: VariableId): ValueId {
    const phi = this.#push({ op: 'phi', width: this.#variableWidths[variable]!, args: [] });
    this.#blocks[block]!.phis.push(phi);
    this.#blocks[block]!.definitions.set(variable, phi);
    return phi;
  }

  #fillPhis(pending: { block: BlockId; variable: VariableId; phi: ValueId }[]): void {
    for (let index = 0; index < pending.length; index++) {
      const { block, variable, phi } = pending[index]!;
      const predecessors = this.#blocks[block]!.predecessors;
      this.#count(predecessors.length);
      const args = predecessors.map((predecessor) => this.#lookUp(variable, predecessor, pending));
      this.#values[phi]!.args = args;
    }
    for (let changed = true; changed; ) {
      changed = false;
      for (let index = pending.length - 1; index >= 0; index--) {
        if (this.#removeTrivialPhi(pending[index]!.phi)) changed = true;
      }
    }
  }

  /** Forwards a phi whose operands are all itself or one other value. */
  #removeTrivialPhi(phi: ValueId): boolean {
    if (this.#forward[phi] !== phi) return false;
    let same = -1;
    for (const arg of this.#values[phi]!.args) {
      const value = this.resolve(arg);
      if (value === same || value === phi) continue;
      if (same >= 0) return false;
      same = value;
    }
    if (same < 0) same = this.leaf('undefined', this.#values[phi]!.width);
    this.#forward[phi] = same;
    return true;
  }

  // --- values ---

  /** The value that stands for `id` now, after phis were found to be trivial. */
  resolve(id: ValueId): ValueId {
    let value = id;
    while (this.#forward[value] !== value) value = this.#forward[value]!;
    for (let step = id; step !== value; ) {
      const next = this.#forward[step]!;
      this.#forward[step] = value;
      step = next;
    }
    return value;
  }

  get(id: ValueId): Readonly<DraftValue> {
    return this.#values[this.resolve(id)]!;
  }

  width(id: ValueId): number {
    return this.#values[id]!.width;
  }

  /** The bits of a constant; undefined for any other value. */
  constantBits(id: ValueId): bigint | undefined {
    const value = this.get(id);
    return value.op === 'constant' ? value.immediate : undefined;
  }

  constant(width: number, bits: bigint | number): ValueId {
    return this.leaf('constant', width, { immediate: BigInt.asUintN(width, BigInt(bits)) });
  }

  /** Makes values that an execution needs and nothing else does. */
  forExecution<T>(make: () => T): T {
    const before = this.#aside;
    this.#aside = true;
    try {
      return make();
    } finally {
      this.#aside = before;
    }
  }

  /** A value without operands that is the same everywhere: made once, in the entry block. */
  leaf(op: Operation, width: number, extras: ValueExtras = {}): ValueId {
    const key = `${op}:${width}:${extras.immediate ?? ''}:${extras.special ?? ''}:${extras.space ?? ''}`;
    const known = this.#constants.get(key);
    if (known !== undefined) {
      if (!this.#aside && this.#asides.delete(known)) this.#leaves.push(known);
      return known;
    }
    const id = this.#push({ op, width, args: [], ...extras });
    if (this.#aside) this.#asides.add(id);
    else this.#leaves.push(id);
    this.#constants.set(key, id);
    return id;
  }

  special(special: SpecialValue): ValueId {
    return this.leaf('special', 32, { special });
  }

  objectAddress(key: object, width: number, make: () => MemoryObject): ValueId {
    let index = this.#objectIndex.get(key);
    if (index === undefined) {
      index = this.objects.length;
      this.objects.push(make());
      this.#objectIndex.set(key, index);
    }
    return this.leaf('objectAddress', width, { immediate: BigInt(index), space: this.objects[index]!.space });
  }

  functionAddress(name: string, width: number): ValueId {
    let index = this.#functionIndex.get(name);
    if (index === undefined) {
      index = this.functions.length;
      this.functions.push(name);
      this.#functionIndex.set(name, index);
    }
    return this.leaf('functionAddress', width, { immediate: BigInt(index) });
  }

  /** A value that is not modelled; distinct at every place, since two unknowns need not be equal. */
  opaque(width: number, reason: DiagnosticCode, origin?: Origin): ValueId {
    return this.#append({ op: 'opaque', width, args: [], reason, ...(origin && { origin }) });
  }

  /** Result number `index` of an action, or of an exchange. */
  result(action: ValueId, index: number, width: number, reason: DiagnosticCode): ValueId {
    return this.#append({ op: 'result', width, args: [action], immediate: BigInt(index), reason });
  }

  /** Appends a value to the current block, folding integer operations on constants and a few identities. */
  value(op: Operation, width: number, args: readonly ValueId[], extras?: ValueExtras): ValueId {
    const operands = args.map((arg) => this.resolve(arg));
    if (isIntegerOperation(op)) {
      const folded = this.#fold(op, width, operands);
      if (folded >= 0) return folded;
    }
    return this.#append(extras ? { op, width, args: operands, ...extras } : { op, width, args: operands });
  }

  #fold(op: Operation, width: number, args: ValueId[]): ValueId {
    let allConstant = true;
    for (const arg of args) {
      if (this.#values[arg]!.op !== 'constant') {
        allConstant = false;
        break;
      }
    }
    if (allConstant && isIntegerOperation(op)) {
      const bits = args.map((arg) => this.#values[arg]!.immediate!);
      return this.constant(width, evaluateInteger(op, width, this.#values[args[0]!]!.width, bits));
    }
    if (COMMUTATIVE.has(op) && this.#values[args[0]!]!.op === 'constant') args.reverse();
    const a = this.#values[args[0]!]!;
    const b = args.length > 1 ? this.#values[args[1]!]! : undefined;
    const constant = b?.op === 'constant' ? b.immediate! : undefined;
    switch (op) {
      case 'add':
      case 'sub':
        if (constant === 0n) return args[0]!;
        if (constant !== undefined) {
          const delta = op === 'add' ? constant : -constant;
          if (a.op === 'parameterAddress') {
            return this.leaf('parameterAddress', width, {
              ...a,
              immediate: BigInt.asUintN(width, a.immediate! + delta),
            });
          }
          const inner = a.op === 'add' ? this.#values[a.args[1]!]! : undefined;
          if (inner?.op === 'constant') {
            return this.value('add', width, [a.args[0]!, this.constant(width, inner.immediate! + delta)]);
          }
          if (op === 'sub') return this.value('add', width, [args[0]!, this.constant(width, -constant)]);
        }
        return -1;
      case 'or':
      case 'xor':
      case 'shiftLeft':
      case 'shiftRightLogical':
      case 'shiftRightArithmetic':
        return constant === 0n ? args[0]! : -1;
      case 'mul':
        if (constant === 1n) return args[0]!;
        return constant === 0n ? args[1]! : -1;
      case 'and':
        if (constant === 0n) return args[1]!;
        return constant === BigInt.asUintN(width, -1n) ? args[0]! : -1;
      case 'truncate':
        if (a.width === width) return args[0]!;
        if (a.op === 'truncate') return this.value('truncate', width, a.args);
        if (a.op === 'zeroExtend' || a.op === 'signExtend') {
          const inner = this.#values[this.resolve(a.args[0]!)]!;
          if (inner.width === width) return this.resolve(a.args[0]!);
          if (inner.width > width) return this.value('truncate', width, a.args);
        }
        if (a.op === 'concat' && this.#values[this.resolve(a.args[0]!)]!.width === width)
          return this.resolve(a.args[0]!);
        return -1;
      case 'zeroExtend':
      case 'signExtend':
        return a.width === width ? args[0]! : -1;
      case 'select':
        if (a.op === 'constant') return a.immediate ? args[1]! : args[2]!;
        return args[1] === args[2] ? args[1]! : -1;
      case 'not':
        return a.op === 'not' ? this.resolve(a.args[0]!) : -1;
      default:
        return -1;
    }
  }

  #append(value: DraftValue): ValueId {
    const block = this.#blocks[this.current]!;
    const id = this.#push(value);
    block.values.push(id);
    return id;
  }

  #count(operands: number): void {
    this.#operands += operands;
    if (this.#operands > MAX_OPERANDS || this.#values.length > MAX_VALUES) throw new ProgramTooLarge();
  }

  #push(value: DraftValue): ValueId {
    this.#count(value.args.length);
    this.#values.push(value);
    this.#forward.push(this.#values.length - 1);
    return this.#values.length - 1;
  }

  // --- the finished program ---

  /** Seals what is left, removes unreachable blocks, trivial phis and dead values, and numbers everything anew. */
  finish(): { readonly values: readonly Value[]; readonly blocks: readonly Block[]; readonly irreducible: boolean } {
    for (let block = 0; block < this.#blocks.length; block++) if (!this.isSealed(block)) this.seal(block);
    const successors = this.#blocks.map((block) => (block.terminator ? targetsOf(block.terminator) : []));
    const order = reversePostorder(successors, 0);
    const reachable = new Uint8Array(this.#blocks.length);
    for (const block of order) reachable[block] = 1;
    this.#dropUnreachableOperands(order, reachable);
    this.#simplifyPhis(order);
    if (promoteLocalMemory(this.#draft(order))) this.#simplifyPhis(order);
    const live = this.#markLive(order);

    const newBlock = new Int32Array(this.#blocks.length).fill(-1);
    for (let index = 0; index < order.length; index++) newBlock[order[index]!] = index;
    const newValue = new Int32Array(this.#values.length).fill(-1);
    const kept: ValueId[] = [];
    const first: number[] = [];
    for (const block of order) {
      first.push(kept.length);
      const draft = this.#blocks[block]!;
      for (const list of block === 0 ? [this.#leaves, this.#asides, draft.values] : [draft.phis, draft.values]) {
        for (const id of list) {
          if (!live[id]) continue;
          newValue[id] = kept.length;
          kept.push(id);
        }
      }
    }
    first.push(kept.length);
    const renumber = (id: ValueId): ValueId => {
      const value = newValue[this.resolve(id)]!;
      if (value < 0) throw new InternalError('a live value uses a dead one');
      return value;
    };
    const values: Value[] = kept.map((id) => {
      const draft = this.#values[id]!;
      const value: Value = { ...draft, args: draft.args.map(renumber) };
      if (draft.access) return { ...value, access: renumberAccess(draft.access, renumber) };
      return draft.action ? { ...value, action: renumberAction(draft.action, renumber) } : value;
    });
    const finalSuccessors = order.map((block) => successors[block]!.map((target) => newBlock[target]!));
    const predecessors = predecessorsOf(finalSuccessors);
    const finalOrder = order.map((_, index) => index);
    const idom = immediateDominators(finalOrder, predecessors);
    const { header, irreducible } = innermostLoops(finalOrder, predecessors, new DominatorTree(idom, 0));
    const blocks: Block[] = order.map((block, index) => ({
      first: first[index]!,
      count: first[index + 1]! - first[index]!,
      predecessors: this.#blocks[block]!.predecessors.map((predecessor) => newBlock[predecessor]!),
      terminator: renumberTerminator(this.#blocks[block]!.terminator ?? { kind: 'exit' }, renumber, newBlock),
      immediateDominator: idom[index]!,
      loop: header[index]!,
    }));
    return { values, blocks, irreducible };
  }

  /** The program as {@link promoteLocalMemory} sees and changes it. */
  #draft(order: readonly BlockId[]): DraftProgram {
    const block = (id: BlockId) => this.#blocks[id]!;
    return {
      objects: this.objects,
      order,
      resolve: (id) => this.resolve(id),
      get: (id) => this.get(id),
      valuesOf: (id) => [...block(id).phis, ...block(id).values],
      predecessorsOf: (id) => block(id).predecessors,
      opaque: (id, width, reason) => {
        const value = this.#push({ op: 'opaque', width, args: [], reason });
        block(id).values.unshift(value);
        return value;
      },
      phi: (id, width) => {
        const phi = this.#push({ op: 'phi', width, args: [] });
        block(id).phis.push(phi);
        return phi;
      },
      setOperands: (phi, args) => {
        this.#count(args.length);
        this.#values[phi]!.args = [...args];
      },
      select: (id, before, width, condition, a, b) => {
        const value = this.#push({ op: 'select', width, args: [condition, a, b] });
        const { values } = block(id);
        values.splice(values.indexOf(before), 0, value);
        return value;
      },
      replace: (id, value) => {
        this.#forward[id] = this.resolve(value);
      },
    };
  }

  #dropUnreachableOperands(order: readonly BlockId[], reachable: Uint8Array): void {
    for (const block of order) {
      const draft = this.#blocks[block]!;
      if (draft.predecessors.every((predecessor) => reachable[predecessor])) continue;
      const keep = draft.predecessors.map((predecessor) => reachable[predecessor] === 1);
      for (const phi of draft.phis) {
        this.#values[phi]!.args = this.#values[phi]!.args.filter((_, index) => keep[index]);
      }
      draft.predecessors.splice(0, draft.predecessors.length, ...draft.predecessors.filter((_, index) => keep[index]));
    }
  }

  #simplifyPhis(order: readonly BlockId[]): void {
    const users = new Map<ValueId, ValueId[]>();
    const work: ValueId[] = [];
    for (const block of order) {
      for (const phi of this.#blocks[block]!.phis) {
        if (this.#forward[phi] !== phi) continue;
        work.push(phi);
        for (const arg of this.#values[phi]!.args) {
          const value = this.resolve(arg);
          if (this.#values[value]!.op !== 'phi') continue;
          const list = users.get(value);
          if (list) list.push(phi);
          else users.set(value, [phi]);
        }
      }
    }
    while (work.length > 0) {
      const phi = work.pop()!;
      if (!this.#removeTrivialPhi(phi)) continue;
      const list = users.get(phi);
      if (!list) continue;
      work.push(...list);
      const target = this.resolve(phi);
      const existing = users.get(target);
      if (existing) existing.push(...list);
      else users.set(target, list);
    }
  }

  #markLive(order: readonly BlockId[]): Uint8Array {
    const live = new Uint8Array(this.#values.length);
    const work: ValueId[] = [];
    const mark = (id: ValueId) => {
      const value = this.resolve(id);
      if (live[value]) return;
      live[value] = 1;
      work.push(value);
    };
    for (const block of order) {
      const draft = this.#blocks[block]!;
      for (const id of draft.values) if (this.#values[id]!.access || this.#values[id]!.op === 'action') mark(id);
      const terminator = draft.terminator;
      if (terminator?.kind === 'branch') mark(terminator.condition);
      else if (terminator?.kind === 'switch') mark(terminator.index);
    }
    while (work.length > 0) {
      const value = this.#values[work.pop()!]!;
      for (const arg of value.args) mark(arg);
      if (value.access) for (const id of accessOperands(value.access)) mark(id);
      if (value.action) for (const id of actionOperands(value.action)) mark(id);
    }
    return live;
  }
}

/** Distinct successors, in order. */
export function targetsOf(terminator: Terminator): BlockId[] {
  switch (terminator.kind) {
    case 'jump':
      return [terminator.target];
    case 'branch':
      return [terminator.whenTrue, terminator.whenFalse];
    case 'switch':
      return [...new Set(terminator.targets)];
    case 'exit':
      return [];
  }
}

function normalizeTerminator(terminator: Terminator): Terminator {
  if (terminator.kind === 'branch' && terminator.whenTrue === terminator.whenFalse) {
    return { kind: 'jump', target: terminator.whenTrue };
  }
  if (terminator.kind === 'switch' && new Set(terminator.targets).size === 1) {
    return { kind: 'jump', target: terminator.targets[0]! };
  }
  return terminator;
}

function renumberTerminator(terminator: Terminator, value: (id: ValueId) => ValueId, block: Int32Array): Terminator {
  switch (terminator.kind) {
    case 'jump':
      return { kind: 'jump', target: block[terminator.target]! };
    case 'branch':
      return {
        kind: 'branch',
        condition: value(terminator.condition),
        whenTrue: block[terminator.whenTrue]!,
        whenFalse: block[terminator.whenFalse]!,
      };
    case 'switch':
      return { kind: 'switch', index: value(terminator.index), targets: terminator.targets.map((t) => block[t]!) };
    case 'exit':
      return terminator;
  }
}
