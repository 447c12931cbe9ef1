/**
 * The part of a program that computes a set of values and decides a set of blocks, as a smaller program that can still be
 * executed: values by data dependence, branches by control dependence, everything else skipped. A branch that decides
 * nothing of interest becomes a jump to its postdominator.
 *
 * Soundness. Every block that holds a kept value or a site is kept, with all branches it is transitively control
 * dependent on, and for every kept phi all its predecessors; so whenever the kernel runs a kept block with some values,
 * the slice does too. It may run more (loops that never end are skipped), never less.
 */
import { accessOperands, type KernelProgram, type Value, type ValueId } from '../ir/form.js';
import type { ControlDependence } from './control.js';
import type { SliceBlock, SliceEnd, SliceValue } from './types.js';

export interface Slice {
  readonly values: readonly SliceValue[];
  readonly blocks: readonly SliceBlock[];
  /** New number of a kept value. */
  value(id: ValueId): number;
  /** New number of a kept block. */
  block(id: number): number;
}

class Slicer {
  readonly #values: Uint8Array;
  readonly #blocks: Uint8Array;
  /** Blocks whose branch is kept. */
  readonly #branches: Uint8Array;
  readonly #blockOf: Int32Array;
  readonly #valueWork: ValueId[] = [];
  readonly #blockWork: number[] = [];

  constructor(
    readonly program: KernelProgram,
    readonly control: ControlDependence,
  ) {
    this.#values = new Uint8Array(program.values.length);
    this.#blocks = new Uint8Array(program.blocks.length);
    this.#branches = new Uint8Array(program.blocks.length);
    this.#blockOf = new Int32Array(program.values.length);
    for (const [index, block] of program.blocks.entries())
      this.#blockOf.fill(index, block.first, block.first + block.count);
  }

  keepValue(id: ValueId): void {
    if (this.#values[id]) return;
    this.#values[id] = 1;
    this.#valueWork.push(id);
  }

  keepBlock(block: number): void {
    if (this.#blocks[block]) return;
    this.#blocks[block] = 1;
    this.#blockWork.push(block);
  }

  #keepBranch(block: number): void {
    this.keepBlock(block);
    if (this.#branches[block]) return;
    this.#branches[block] = 1;
    const { terminator } = this.program.blocks[block]!;
    if (terminator.kind === 'branch') this.keepValue(terminator.condition);
    else if (terminator.kind === 'switch') this.keepValue(terminator.index);
  }

  close(): void {
    const { program, control } = this;
    for (;;) {
      const id = this.#valueWork.pop();
      if (id !== undefined) {
        const value = program.values[id]!;
        const block = this.#blockOf[id]!;
        this.keepBlock(block);
        // What threads do together is not part of a slice: its results count as not known.
        if (value.op !== 'result') for (const arg of value.args) this.keepValue(arg);
        if (value.op === 'phi') {
          for (const predecessor of program.blocks[block]!.predecessors) {
            this.keepBlock(predecessor);
            if (control.successors[predecessor]!.length > 1) this.#keepBranch(predecessor);
          }
        }
        continue;
      }
      const block = this.#blockWork.pop();
      if (block === undefined) return;
      for (const controller of control.controllers[block]!) this.#keepBranch(controller);
    }
  }

  build(): Slice {
    const { program } = this;
    const end = program.blocks.length;
    const kept: number[] = [];
    const blockNumber = new Int32Array(program.blocks.length).fill(-1);
    for (let block = 0; block < end; block++) {
      if (!this.#blocks[block]) continue;
      blockNumber[block] = kept.length;
      kept.push(block);
    }
    /** The next kept block from a block on, following what is not kept; `end` when there is none. */
    const next = (from: number): number => {
      let block = from;
      // More steps than blocks: control goes round for ever without coming to anything kept.
      for (let steps = 0; block !== end && !this.#blocks[block]; steps++) block = steps > end ? end : this.#skip(block);
      return block;
    };
    const exitNeeded = { used: false };
    const target = (from: number): number => {
      const block = next(from);
      if (block !== end) return blockNumber[block]!;
      exitNeeded.used = true;
      return kept.length;
    };
    const valueNumber = new Int32Array(program.values.length).fill(-1);
    let count = 0;
    for (let id = 0; id < program.values.length; id++) if (this.#values[id]) valueNumber[id] = count++;
    const number = (id: ValueId): number => valueNumber[id]!;
    const values: SliceValue[] = [];
    const blocks: SliceBlock[] = kept.map((block) => {
      const { first, count: size, terminator } = program.blocks[block]!;
      const start = values.length;
      for (let id = first; id < first + size; id++) {
        if (this.#values[id]) values.push(this.#encode(program.values[id]!, block, number, blockNumber));
      }
      let sliceEnd: SliceEnd;
      if (this.#branches[block] && terminator.kind === 'branch') {
        sliceEnd = ['branch', number(terminator.condition), target(terminator.whenTrue), target(terminator.whenFalse)];
      } else if (this.#branches[block] && terminator.kind === 'switch') {
        sliceEnd = ['switch', number(terminator.index), ...terminator.targets.map(target)];
      } else {
        const follow = next(this.#skip(block));
        sliceEnd = follow === end ? ['exit'] : ['jump', blockNumber[follow]!];
      }
      return { first: start, end: sliceEnd };
    });
    if (exitNeeded.used) blocks.push({ first: values.length, end: ['exit'] });
    return { values, blocks, value: number, block: (id) => blockNumber[id]! };
  }

  /** Where control certainly goes after a block whose branch is not kept. */
  #skip(block: number): number {
    const { terminator } = this.program.blocks[block]!;
    if (terminator.kind === 'jump') return terminator.target;
    return this.control.immediatePostdominator[block]!;
  }

  #encode(value: Value, block: number, number: (id: ValueId) => number, blockNumber: Int32Array): SliceValue {
    const { op, width } = value;
    const args = value.args.map(number);
    switch (op) {
      case 'constant':
        return [op, width, String(value.immediate)];
      case 'parameter':
      case 'parameterAddress':
      case 'objectAddress':
      case 'functionAddress':
        return [op, width, Number(value.immediate)];
      case 'special':
        return [op, width, value.special!];
      case 'opaque':
      case 'result':
        return ['opaque', width, value.reason!];
      case 'toGeneric':
      case 'fromGeneric':
      case 'isSpace':
        return [op, width, value.space!, args[0]!];
      case 'load':
        return [op, width, value.space!, args[0]!, value.access?.elements ?? 1];
      case 'element':
        return [op, width, args[0]!, Number(value.immediate)];
      case 'phi':
        return [op, width, ...this.program.blocks[block]!.predecessors.flatMap((p, i) => [blockNumber[p]!, args[i]!])];
      default:
        return value.mode ? [op, width, ...args, value.mode] : [op, width, ...args];
    }
  }
}

/** What to keep of one access: everything an execution of it needs but the values it stores. */
export function accessPlace(value: Value): ValueId[] {
  const { access } = value;
  if (!access) return [];
  const { values: _stored, transfer: _other, ...place } = access;
  return [...value.args, ...accessOperands(place)];
}

/**
 * Slices a program on the places of some accesses.
 *
 * @param accesses the ids of `load` and `access` values to keep the places of
 */
export function sliceProgram(program: KernelProgram, control: ControlDependence, accesses: readonly ValueId[]): Slice {
  const slicer = new Slicer(program, control);
  slicer.keepBlock(0);
  const blockOf = new Int32Array(program.values.length);
  for (const [index, block] of program.blocks.entries()) blockOf.fill(index, block.first, block.first + block.count);
  for (const id of accesses) {
    slicer.keepBlock(blockOf[id]!);
    for (const operand of accessPlace(program.values[id]!)) slicer.keepValue(operand);
  }
  slicer.close();
  return slicer.build();
}
