/**
 * Where 64-bit values that a thread reads in shared memory come from: compilers pass tensors of pointers from thread to thread through it.
 *
 * Soundness. Shared memory holds nothing when a block begins, so what is read there was put there by the block: the answer names every value
 * that may have been. It is given only where all instructions that may write the memory are known to store whole 64-bit values, which
 * lie at multiples of eight bytes (PTX ISA 5.4.5), so that one read gives one of them. Stores that certainly come later do not count: those
 * behind a barrier of the whole block that every thread passes exactly once, and before which the read stands. Barriers order that only if
 * every thread meets all of them in one order, so each barrier must be passed once by every thread, whatever it does; and only
 * within the block, so nothing may have the address of another block's memory.
 */
import type { Action, KernelProgram, Value, ValueId } from '../ir/form.js';
import { DominatorTree } from '../ir/form.js';
import type { ControlDependence } from './control.js';

/** An instruction that may write shared memory; without values when it is not known what it stores. */
interface SharedWrite {
  readonly id: ValueId;
  readonly values: readonly ValueId[] | undefined;
}

/** Spaces that an access may reach shared memory in. */
const MAY_BE_SHARED: ReadonlySet<string> = new Set(['shared', 'generic']);
const POINTER_BITS = 64;

export class SharedMemory {
  /** By id; undefined when another block may write as well, or something of which nothing is known. */
  readonly #writes: readonly SharedWrite[] | undefined;
  /** Barriers that order all threads of a block, by id. */
  readonly #barriers: readonly ValueId[];
  readonly #blockOf: Int32Array;
  readonly #dominators: DominatorTree;

  constructor(
    readonly program: KernelProgram,
    readonly control: ControlDependence,
  ) {
    this.#blockOf = new Int32Array(program.values.length);
    for (const [index, block] of program.blocks.entries())
      this.#blockOf.fill(index, block.first, block.first + block.count);
    this.#dominators = new DominatorTree(
      Int32Array.from(program.blocks, (block) => block.immediateDominator),
      0,
    );
    this.#writes = this.#findWrites();
    this.#barriers = this.#findBarriers();
  }

  #findWrites(): readonly SharedWrite[] | undefined {
    const writes: SharedWrite[] = [];
    for (const [id, value] of this.program.values.entries()) {
      const { action } = value;
      // Memory of another block of the cluster.
      if (action?.kind === 'clusterAddress' || action?.kind === 'unmodelled') return undefined;
      if (action?.kind === 'matrixStore') writes.push({ id, values: undefined });
      else if (mayWriteShared(value)) writes.push({ id, values: this.#stored(value) });
    }
    return writes;
  }

  /** The whole 64-bit values that a store writes; undefined when it does something else. */
  #stored({ access }: Value): readonly ValueId[] | undefined {
    const { writes, values = [], bytes } = access!;
    const whole = values.every((value) => this.program.values[value]!.width === POINTER_BITS);
    return writes === 'store' && whole && values.length > 0 && bytes === 8 * values.length ? values : undefined;
  }

  #findBarriers(): readonly ValueId[] {
    const { program } = this;
    const always = new Set<number>();
    for (let block = 0; block < program.blocks.length; block = this.control.immediatePostdominator[block]!)
      always.add(block);
    const found: ValueId[] = [];
    for (const [id, { action }] of program.values.entries()) {
      if (action?.kind !== 'barrier') continue;
      const block = this.#blockOf[id]!;
      const once = always.has(block) && program.blocks[block]!.loop < 0;
      // One that only some threads meet may stand for another of theirs.
      if (!once || !isForAll(action)) return [];
      found.push(id);
    }
    return found;
  }

  /** Whether a barrier stands before an instruction on every way to it. */
  #isBefore(barrier: ValueId, id: ValueId): boolean {
    const [first, block] = [this.#blockOf[barrier]!, this.#blockOf[id]!];
    return first === block ? barrier < id : this.#dominators.dominates(first, block);
  }

  /** Whether every way from an instruction leads to a barrier. */
  #isBehind(barrier: ValueId, id: ValueId): boolean {
    const [last, block] = [this.#blockOf[barrier]!, this.#blockOf[id]!];
    if (last === block) return barrier > id;
    for (let at = block; at < this.program.blocks.length; at = this.control.immediatePostdominator[at]!)
      if (at === last) return true;
    return false;
  }

  /**
   * What a load of 64 bits from shared memory may give.
   *
   * @returns undefined when it may be anything
   */
  sourcesOf(load: ValueId): readonly ValueId[] | undefined {
    const value = this.program.values[load]!;
    if (value.space !== 'shared' || value.width !== POINTER_BITS || value.access?.reads !== 'load') return undefined;
    const behind = this.#barriers.filter((barrier) => this.#isBehind(barrier, load));
    const sources: ValueId[] = [];
    for (const { id, values } of this.#writes ?? []) {
      if (behind.some((barrier) => this.#isBefore(barrier, id))) continue;
      if (!values) return undefined;
      sources.push(...values);
    }
    return this.#writes && sources.length > 0 ? sources : undefined;
  }
}

const isForAll = ({ mode, count, guard }: Action): boolean =>
  mode !== 'arrive' && count === undefined && guard === undefined;

function mayWriteShared({ access }: Value): boolean {
  if (!access) return false;
  const { writes, reads, space } = access;
  if (reads === 'asyncLoad' || reads === 'bulkLoad' || reads === 'tensorLoad') return true;
  if (writes === undefined) return false;
  return writes === 'call' || writes === 'unknownInstruction' || MAY_BE_SHARED.has(space);
}
