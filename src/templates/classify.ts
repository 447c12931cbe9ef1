/**
 * How much is known of every value of a program, without a launch: a fixpoint over the SSA graph. For each value: how far
 * it is determined by launch parameters and thread coordinates, and the linear forms over pointers that it may have.
 *
 * Soundness. `exact` means a function of parameters, coordinates and constants only, so shadow execution can compute it for
 * each thread. Everything read from memory, exchanged between threads or not modelled is at best `bounded`. A base is
 * claimed only for a form in which exactly that pointer has coefficient one: differences of pointers cancel, so a
 * compiler's `p + (q - p)` is seen as `q`. The transfer function is monotone and unknown operations map to the top.
 */
import { COMPARISON_OPERATIONS, type KernelProgram, ORDER_OPERATIONS, type Value, type ValueId } from '../ir/form.js';
import type { ControlDependence } from './control.js';
import { SharedMemory } from './shared-memory.js';

/** 0: exact. 1: one of a bounded set. 2: depends on the content of memory, or is not modelled. */
export type Precision = 0 | 1 | 2;

/** What a pointer can be rooted in; numbers keep comparison cheap. See {@link rootKey}. */
export type Root = string;

/** Sum of roots with coefficients, and how exactly the rest is known. */
export interface LinearForm {
  /** Coefficients modulo 2^64 by root; never zero. */
  readonly roots: ReadonlyMap<Root, bigint>;
  readonly rest: Precision;
}

export interface Knowledge {
  /** Alternatives; empty only before the fixpoint reaches the value. */
  readonly forms: readonly LinearForm[];
  /** Worst of all. */
  readonly precision: Precision;
  /** First value that spoilt exactness: a load, an exchange, an opaque value; -1 when exact. */
  readonly cause: ValueId;
}

/** More alternatives than this become one unknown form. */
const MAX_FORMS = 6;
const NO_ROOTS: ReadonlyMap<Root, bigint> = new Map();
const MASK = (1n << 64n) - 1n;

export const ROOT_MEMORY = 'memory';
export const ROOT_OTHER = 'other';
export const ROOT_PARAMETERS = 'parameters';

const EXACT: Knowledge = { forms: [{ roots: NO_ROOTS, rest: 0 }], precision: 0, cause: -1 };

function single(roots: ReadonlyMap<Root, bigint>, rest: Precision, cause: ValueId): Knowledge {
  return { forms: [{ roots, rest }], precision: rest, cause };
}

function rooted(root: Root, rest: Precision, cause: ValueId): Knowledge {
  return single(new Map([[root, 1n]]), rest, cause);
}

function worst(a: Precision, b: Precision): Precision {
  return a >= b ? a : b;
}

function sameRoots(a: ReadonlyMap<Root, bigint>, b: ReadonlyMap<Root, bigint>): boolean {
  if (a.size !== b.size) return false;
  for (const [root, coefficient] of a) if (b.get(root) !== coefficient) return false;
  return true;
}

/** Alternatives of both, equal roots merged. */
function joinForms(a: readonly LinearForm[], b: readonly LinearForm[]): readonly LinearForm[] {
  const forms = [...a];
  for (const form of b) {
    const index = forms.findIndex((known) => sameRoots(known.roots, form.roots));
    if (index < 0) forms.push(form);
    else if (forms[index]!.rest < form.rest) forms[index] = form;
  }
  if (forms.length > MAX_FORMS) return [{ roots: new Map([[ROOT_OTHER, 1n]]), rest: 2 }];
  return forms;
}

function join(a: Knowledge, b: Knowledge): Knowledge {
  if (a.forms.length === 0) return b;
  if (b.forms.length === 0) return a;
  const precision = worst(a.precision, b.precision);
  return { forms: joinForms(a.forms, b.forms), precision, cause: a.precision >= b.precision ? a.cause : b.cause };
}

/** At least this imprecise, because of `cause`. */
function atLeast(knowledge: Knowledge, precision: Precision, cause: ValueId): Knowledge {
  if (knowledge.precision >= precision || knowledge.forms.length === 0) return knowledge;
  return {
    forms: knowledge.forms.map((form) => ({ roots: form.roots, rest: worst(form.rest, precision) })),
    precision,
    cause: knowledge.cause >= 0 ? knowledge.cause : cause,
  };
}

function addRoots(
  a: ReadonlyMap<Root, bigint>,
  b: ReadonlyMap<Root, bigint>,
  factor: bigint,
): ReadonlyMap<Root, bigint> {
  if (b.size === 0) return a;
  const sum = new Map(a);
  for (const [root, coefficient] of b) {
    const total = ((sum.get(root) ?? 0n) + coefficient * factor) & MASK;
    if (total === 0n) sum.delete(root);
    else sum.set(root, total);
  }
  return sum;
}

/** `a + factor · b` on all pairs of alternatives. */
function linear(a: Knowledge, b: Knowledge, factor: bigint): Knowledge {
  let forms: readonly LinearForm[] = [];
  for (const left of a.forms) {
    for (const right of b.forms) {
      forms = joinForms(forms, [
        { roots: addRoots(left.roots, right.roots, factor), rest: worst(left.rest, right.rest) },
      ]);
    }
  }
  return combineCause(a, b, forms);
}

function combineCause(a: Knowledge, b: Knowledge, forms: readonly LinearForm[]): Knowledge {
  const precision = forms.reduce<Precision>((sum, form) => worst(sum, form.rest), 0);
  return { forms, precision, cause: a.precision >= b.precision ? a.cause : b.cause };
}

/** Roots survive as pointers only through linear operations; elsewhere their data may still matter. */
function scramble(args: readonly Knowledge[]): Knowledge {
  let precision: Precision = 0;
  let cause = -1;
  for (const arg of args) {
    if (arg.forms.length === 0) return arg;
    let own = arg.precision;
    // A pointer read from memory, or one that is not modelled, is data like any other once it is scrambled.
    for (const form of arg.forms) if (form.roots.has(ROOT_MEMORY) || form.roots.has(ROOT_OTHER)) own = 2;
    if (own > precision) {
      precision = own;
      cause = arg.cause;
    }
  }
  return single(NO_ROOTS, precision, cause);
}

/** Whether a knowledge depends on content that is not known, roots read from memory included. */
export function isData(knowledge: Knowledge): boolean {
  return knowledge.forms.some((form) => form.rest === 2 || form.roots.has(ROOT_MEMORY) || form.roots.has(ROOT_OTHER));
}

/** Precision with roots read from memory counted as data. */
export function contentPrecision(knowledge: Knowledge): Precision {
  return isData(knowledge) ? 2 : knowledge.precision;
}

/** Results of at most this many bits are bounded by their type. */
const BOUNDED_BITS = 16;
/** Constant masks, lengths and divisors below this bound a value. */
const BOUNDING_CONSTANT = 1n << 31n;

const ORDER: ReadonlySet<string> = new Set(ORDER_OPERATIONS);

/** Operations whose results are few, whatever goes in. */
const FEW_RESULTS: ReadonlySet<string> = new Set([
  ...COMPARISON_OPERATIONS,
  'carry',
  'isSpace',
  'floatCompare',
  'popCount',
  'leadingZeros',
]);

export class Classification {
  readonly #knowledge: Knowledge[];
  /** Worst precision of the conditions that decide whether a block runs, and their cause. */
  readonly #control: { precision: Precision; cause: ValueId }[];
  readonly #blockOf: Int32Array;
  /** What loads from shared memory may give; undefined for one that may give anything. */
  readonly #sources = new Map<ValueId, readonly ValueId[] | undefined>();
  #shared: SharedMemory | undefined;

  constructor(
    readonly program: KernelProgram,
    readonly control: ControlDependence,
  ) {
    this.#knowledge = program.values.map(() => ({ forms: [], precision: 0, cause: -1 }));
    this.#control = program.blocks.map(() => ({ precision: 0, cause: -1 }));
    this.#blockOf = new Int32Array(program.values.length);
    for (const [index, block] of program.blocks.entries())
      this.#blockOf.fill(index, block.first, block.first + block.count);
    this.#solve();
    // A value that only comes from itself was never put there.
    const empty = [...this.#sources.keys()].filter((id) => this.#knowledge[id]!.forms.length === 0);
    if (empty.length === 0) return;
    for (const id of empty) this.#sources.set(id, undefined);
    this.#solve();
  }

  of(value: ValueId): Knowledge {
    return this.#knowledge[value]!;
  }

  /** How exactly it is known whether a block runs. */
  blockControl(block: number): { readonly precision: Precision; readonly cause: ValueId } {
    return this.#control[block]!;
  }

  blockOf(value: ValueId): number {
    return this.#blockOf[value]!;
  }

  #solve(): void {
    const { program } = this;
    for (let changed = true, round = 0; changed; round++) {
      changed = false;
      for (const [index, block] of program.blocks.entries()) {
        if (this.#updateControl(index)) changed = true;
        for (let id = block.first; id < block.first + block.count; id++) {
          const value = program.values[id]!;
          if (round > 0 && value.op !== 'phi' && value.args.length === 0) continue;
          const known = this.#knowledge[id]!;
          let next = this.#transfer(id, value);
          // Monotone by construction: never forget what an earlier round saw.
          next = join(known, next);
          if (
            next.precision !== known.precision ||
            next.forms.length !== known.forms.length ||
            next.forms.some(
              (form, i) => form.rest !== known.forms[i]!.rest || !sameRoots(form.roots, known.forms[i]!.roots),
            )
          ) {
            this.#knowledge[id] = next;
            changed = true;
          }
        }
      }
    }
  }

  #updateControl(block: number): boolean {
    const own = this.#control[block]!;
    let { precision, cause } = own;
    for (const controller of this.control.controllers[block]!) {
      const outer = controller === block ? own : this.#control[controller]!;
      if (outer.precision > precision) ({ precision, cause } = outer);
      const branch = this.#endOf(controller);
      if (branch.precision > precision) ({ precision, cause } = branch);
    }
    if (precision === own.precision) return false;
    this.#control[block] = { precision, cause };
    return true;
  }

  #transfer(id: ValueId, value: Value): Knowledge {
    const args = value.args.map((arg) => this.#knowledge[arg]!);
    const unreached = args.find((arg) => arg.forms.length === 0);
    if (unreached && value.op !== 'phi') return unreached;
    const [a, b] = args;
    switch (value.op) {
      case 'constant':
      case 'special':
        return EXACT;
      case 'parameter':
        return value.width === 64 ? rooted(`p${value.immediate}`, 0, -1) : EXACT;
      case 'parameterAddress':
        return rooted('w:parameter', 0, -1);
      case 'objectAddress':
        return rooted(`o${value.immediate}`, 0, -1);
      case 'functionAddress':
        return single(NO_ROOTS, 2, id);
      case 'undefined':
        return rooted(ROOT_OTHER, 2, id);
      case 'opaque':
      case 'result':
        return this.#unknown(id, value);
      case 'load':
        return this.#load(id, value, a!);
      case 'element':
        return value.width === 64 || a!.forms.length !== 1
          ? a!
          : single(NO_ROOTS, this.#narrow(value.width, a!.precision), a!.cause);
      case 'exchange':
        return atLeast(a!, 1, id);
      case 'toGeneric':
        return value.space === 'global' ? a! : single(new Map([[`w:${value.space}`, 1n]]), a!.precision, a!.cause);
      case 'fromGeneric':
      case 'truncate':
      case 'zeroExtend':
      case 'signExtend':
        return this.#resize(value, a!);
      case 'add':
        return linear(a!, b!, 1n);
      case 'sub':
        return linear(a!, b!, MASK);
      case 'mul':
        return this.#scale(value, a!, b!);
      case 'shiftLeft':
        return this.#shift(value, a!, b!);
      case 'select':
        return this.#choice([b!, args[2]!], contentPrecision(a!), a!.cause, id);
      case 'phi':
        return this.#phi(id, value, args);
      case 'access':
      case 'action':
        return EXACT;
      default:
        return this.#other(id, value, args);
    }
  }

  /** An opaque value: exchanged predicates and narrow ones are bounded by their type. */
  #unknown(id: ValueId, value: Value): Knowledge {
    if (value.width >= 64) return rooted(ROOT_OTHER, 2, id);
    return single(NO_ROOTS, this.#narrow(value.width, 2), id);
  }

  #narrow(width: number, precision: Precision): Precision {
    return precision === 2 && width <= BOUNDED_BITS ? 1 : precision;
  }

  #load(id: ValueId, value: Value, address: Knowledge): Knowledge {
    // The parameter block's bytes are part of the launch: what is read there is as exact as the place.
    if (value.space === 'parameter' || address.forms.every((form) => isOnly(form, 'w:parameter'))) {
      const precision: Precision = address.precision === 0 ? 0 : 1;
      return value.width === 64
        ? rooted(ROOT_PARAMETERS, precision, address.cause)
        : single(NO_ROOTS, precision, address.cause);
    }
    if (value.width === 64) return value.space === 'shared' ? this.#fromShared(id) : rooted(ROOT_MEMORY, 2, id);
    return single(NO_ROOTS, this.#narrow(value.width, 2), id);
  }

  /** One of the values that threads of the block put there, whichever. */
  #fromShared(id: ValueId): Knowledge {
    if (!this.#sources.has(id)) {
      this.#shared ??= new SharedMemory(this.program, this.control);
      this.#sources.set(id, this.#shared.sourcesOf(id));
    }
    const sources = this.#sources.get(id);
    if (!sources) return rooted(ROOT_MEMORY, 2, id);
    let result: Knowledge = { forms: [], precision: 0, cause: -1 };
    for (const source of sources) result = join(result, this.#knowledge[source]!);
    return atLeast(result, 2, id);
  }

  #resize(value: Value, a: Knowledge): Knowledge {
    if (value.op === 'fromGeneric' || this.program.values[value.args[0]!]!.width === value.width) return a;
    const cut = scramble([a]);
    return single(
      NO_ROOTS,
      value.op === 'truncate' ? this.#narrow(value.width, cut.precision) : cut.precision,
      cut.cause,
    );
  }

  #constant(id: ValueId): bigint | undefined {
    const value = this.program.values[id]!;
    return value.op === 'constant' ? value.immediate : undefined;
  }

  #scale(value: Value, a: Knowledge, b: Knowledge): Knowledge {
    const factor = this.#constant(value.args[1]!);
    if (value.width === 64 && factor !== undefined) return linear(EXACT, a, factor);
    return scramble([a, b]);
  }

  #shift(value: Value, a: Knowledge, b: Knowledge): Knowledge {
    const amount = this.#constant(value.args[1]!);
    if (value.width === 64 && amount !== undefined && amount < 64n) return linear(EXACT, a, 1n << amount);
    return scramble([a, b]);
  }

  /** One of several values; which, is known as exactly as `precision` says. */
  #choice(options: readonly Knowledge[], precision: Precision, cause: ValueId, id: ValueId): Knowledge {
    let result: Knowledge = { forms: [], precision: 0, cause: -1 };
    for (const option of options) result = join(result, option);
    return precision > 0 ? atLeast(result, 1, cause >= 0 ? cause : id) : result;
  }

  #phi(id: ValueId, value: Value, args: readonly Knowledge[]): Knowledge {
    const block = this.#blockOf[id]!;
    const { predecessors, loop } = this.program.blocks[block]!;
    const options = args.filter(
      (arg, index) => arg.forms.length > 0 && this.program.values[value.args[index]!]!.op !== 'undefined',
    );
    let control: { precision: Precision; cause: ValueId } = { precision: 0, cause: -1 };
    for (const predecessor of predecessors) {
      for (const known of [this.#control[predecessor]!, this.#endOf(predecessor)]) {
        if (known.precision > control.precision) control = known;
      }
    }
    const merged = this.#choice(options, control.precision, control.cause, id);
    // In a loop whose number of rounds depends on data, what changes from round to round can be anything.
    if (loop === block && control.precision > 0 && !this.#hasExactExit(block)) return atLeast(merged, 2, control.cause);
    return merged;
  }

  #endOf(block: number): { precision: Precision; cause: ValueId } {
    const { terminator } = this.program.blocks[block]!;
    const condition =
      terminator.kind === 'branch' ? terminator.condition : terminator.kind === 'switch' ? terminator.index : -1;
    if (condition < 0) return { precision: 0, cause: -1 };
    const knowledge = this.#knowledge[condition]!;
    return { precision: contentPrecision(knowledge), cause: knowledge.cause };
  }

  readonly #exits = new Map<number, readonly number[]>();

  /** Branches that leave the loop of a header and are met in every round. */
  #loopExits(header: number): readonly number[] {
    let exits = this.#exits.get(header);
    if (exits) return exits;
    const { blocks } = this.program;
    const inside = new Uint8Array(blocks.length);
    inside[header] = 1;
    const work = blocks[header]!.predecessors.filter((p) => p >= header);
    const latches = [...work];
    while (work.length > 0) {
      const block = work.pop()!;
      if (inside[block]) continue;
      inside[block] = 1;
      work.push(...blocks[block]!.predecessors);
    }
    const dominates = (above: number, below: number): boolean => {
      for (let block = below; ; block = blocks[block]!.immediateDominator) {
        if (block === above) return true;
        if (block === 0 || block === header) return block === above;
      }
    };
    const found: number[] = [];
    for (let block = header; block < blocks.length; block++) {
      if (!inside[block] || this.control.successors[block]!.every((s) => inside[s])) continue;
      if (latches.every((latch) => dominates(block, latch))) found.push(block);
    }
    exits = found;
    this.#exits.set(header, exits);
    return exits;
  }

  /**
   * Whether a loop leaves at a test that bounds its rounds: one that is exact, or a comparison of values that are bounded
   * themselves. (A counter that data may stop early is bounded: it takes the first so many values of an exact sequence.)
   */
  #hasExactExit(header: number): boolean {
    return this.#loopExits(header).some((block) => {
      if (this.#endOf(block).precision === 0) return true;
      const { terminator } = this.program.blocks[block]!;
      if (terminator.kind !== 'branch') return false;
      let condition = this.program.values[terminator.condition]!;
      while (condition.op === 'not') condition = this.program.values[condition.args[0]!]!;
      return ORDER.has(condition.op) && condition.args.every((arg) => contentPrecision(this.#knowledge[arg]!) <= 1);
    });
  }

  #other(id: ValueId, value: Value, args: readonly Knowledge[]): Knowledge {
    const merged = scramble(args);
    if (value.mode?.approximate) return single(NO_ROOTS, 2, id);
    if (merged.precision < 2) return merged;
    if (FEW_RESULTS.has(value.op) || this.#bounds(value, args)) return single(NO_ROOTS, 1, merged.cause);
    return merged;
  }

  /** Whether an operation bounds its result although an operand can be anything. */
  #bounds(value: Value, args: readonly Knowledge[]): boolean {
    const small = (index: number) => {
      const constant = this.#constant(value.args[index]!);
      return constant !== undefined && constant < BOUNDING_CONSTANT;
    };
    const exact = (index: number) => contentPrecision(args[index]!) < 2;
    switch (value.op) {
      case 'and':
      case 'minUnsigned':
        return exact(0) || exact(1);
      case 'remUnsigned':
      case 'remSigned':
        return exact(1);
      case 'extractBitsUnsigned':
      case 'extractBitsSigned':
        return small(2) && this.#constant(value.args[2]!)! <= BigInt(BOUNDED_BITS);
      case 'shiftRightLogical': {
        const amount = this.#constant(value.args[1]!);
        return amount !== undefined && BigInt(value.width) - amount <= BigInt(BOUNDED_BITS);
      }
      default:
        return value.width <= BOUNDED_BITS;
    }
  }
}

/** Whether a form is exactly one root, once. */
export function isOnly(form: LinearForm, root: Root): boolean {
  return form.roots.size === 1 && form.roots.get(root) === 1n;
}
