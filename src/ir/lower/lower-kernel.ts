/**
 * From a kernel's syntax tree to its `KernelProgram`: walks the blocks of the kernel and, in place, of every function it
 * calls. What cannot be expanded (recursion, a body that is not there, too large) becomes a `call` access that may write
 * anything, unless everything it can reach writes no global memory.
 */
import type { Diagnostic, DiagnosticCode } from '../../diagnostics/index.js';
import { assignOperandRoles, type FunctionDeclaration } from '../../ptx/index.js';
import { ProgramBuilder, ProgramTooLarge } from '../builder.js';
import type { KernelProgram, LaunchBounds, ProgramNote } from '../program.js';
import { act, lowerAction } from './actions.js';
import { lowerAddress } from './address.js';
import { lowerCall } from './calls.js';
import { constantValue } from './constant-expression.js';
import { CONTROL_FORMS, WITHOUT_EFFECT } from './effects.js';
import { lowerFloat } from './float.js';
import { Frame, type View } from './frame.js';
import { branchLabels, endsBlock, type FunctionInfo, type PlacedInstruction } from './function-info.js';
import { lowerInteger } from './integer.js';
import { lowerMemory } from './memory.js';
import type { ModuleSymbols } from './module-symbols.js';

/** Largest size of a launch in one dimension (CUDA programming guide, compute capabilities). */
const MAX_EXTENT = 2n ** 31n - 1n;

/** Limits of one kernel; beyond them calls are not expanded any further. */
export interface LoweringLimits {
  /** Values in a program before calls stop being expanded. */
  readonly values: number;
  /** Calls expanded. */
  readonly calls: number;
  /** Nested calls. */
  readonly depth: number;
}

export const DEFAULT_LIMITS: LoweringLimits = { values: 500_000, calls: 10_000, depth: 64 };

/** The state of lowering one kernel. */
export class Lowering {
  readonly builder = new ProgramBuilder();
  readonly notes: ProgramNote[] = [];
  /** Where threads end. */
  readonly exitBlock: number;
  /** Size of the kernel's parameter block. */
  readonly parameterBytes: number;
  /** Functions that were expanded, the kernel first. */
  readonly expanded = new Set<FunctionDeclaration>();
  /** Number of expanded calls. */
  calls = 0;
  readonly #noted = new Set<string>();

  constructor(
    readonly module: ModuleSymbols,
    readonly kernel: FunctionDeclaration,
    readonly limits: LoweringLimits,
  ) {
    this.exitBlock = this.builder.newBlock();
    const last = module.kernelParameters(kernel).at(-1);
    this.parameterBytes = last ? last.offset + last.size : 0;
  }

  /** Records a fact once a place. */
  note(code: DiagnosticCode, offset: number, message: string): void {
    const key = `${code}@${offset}:${message}`;
    if (this.#noted.has(key)) return;
    this.#noted.add(key);
    this.notes.push({ code, offset, message });
  }

  /** Builds a body's blocks, starting from the builder's current block; ends with every path in a terminator. */
  body(frame: Frame): void {
    const { builder } = this;
    const { info } = frame;
    this.expanded.add(info.node);
    for (const problem of info.problems) {
      // A directive or type that is not known may mean anything: the whole body counts as an unknown instruction.
      this.note(problem.code, problem.offset, problem.message);
      builder.value('access', 0, [], {
        access: {
          writes: 'unknownInstruction',
          space: 'generic',
          bytes: 0,
          reason: problem.code,
          detail: problem.message,
          origin: { offset: problem.offset, instruction: 'directive', inlined: frame.inlined },
        },
      });
    }
    const blocks = info.blocks.map(() => -1);
    for (const block of info.order) blocks[block] = builder.newBlock();
    const pending = Uint32Array.from(info.predecessorCount);
    pending[0]!++;
    const arrive = (block: number): void => {
      pending[block]!--;
      if (pending[block] === 0) builder.seal(blocks[block]!);
    };
    builder.terminate({ kind: 'jump', target: blocks[0]! });
    arrive(0);
    for (const block of info.order) {
      builder.startBlock(blocks[block]!);
      frame.block = block;
      const { from, to, successors } = info.blocks[block]!;
      let last: PlacedInstruction | undefined;
      for (let index = from; index < to; index++) {
        const placed = info.instructions[index]!;
        if (index === to - 1 && endsBlock(placed.node)) last = placed;
        else this.instruction(frame, placed);
      }
      this.#terminate(frame, last, successors, blocks);
      for (const successor of successors) arrive(successor);
    }
  }

  #terminate(
    frame: Frame,
    last: PlacedInstruction | undefined,
    successors: readonly number[],
    blocks: readonly number[],
  ): void {
    const { builder } = this;
    if (!last) {
      const next = successors[0];
      builder.terminate({ kind: 'jump', target: next === undefined ? frame.returnBlock : blocks[next]! });
      return;
    }
    const view = frame.view(last);
    const opcode = last.node.mnemonic.opcode;
    // Behind a guard the block goes on with the text's next block, which is the last successor.
    const next = view.guard === undefined ? undefined : blocks[successors[successors.length - 1]!]!;
    const go = (target: number): void => {
      if (view.guard === undefined || next === undefined) builder.terminate({ kind: 'jump', target });
      else builder.terminate({ kind: 'branch', condition: view.guard, whenTrue: target, whenFalse: next });
    };
    if (opcode === 'trap') act(frame, view, 'trap');
    if (opcode === 'ret') return go(frame.returnBlock);
    if (opcode === 'exit' || opcode === 'trap') return go(this.exitBlock);
    const labels = branchLabels(last);
    const targets = (labels ?? []).map((label) => {
      const symbol = last.scope.lookUp(label);
      return symbol?.kind === 'label' ? this.#blockAt(frame.info, symbol.position, blocks) : undefined;
    });
    if (targets.length === 0 || targets.includes(undefined)) {
      this.note('GCR3003', last.node.offset, `target of '${last.node.mnemonic.text}' is not known`);
      this.unknown(frame, view, 'GCR3003', 'branch target is not known');
      return go(this.exitBlock);
    }
    if (opcode === 'bra') return go(targets[0]!);
    const index = frame.use(view, last.node.operands[0], 32);
    if (next !== undefined) {
      const taken = builder.newBlock();
      builder.terminate({ kind: 'branch', condition: view.guard!, whenTrue: taken, whenFalse: next });
      builder.seal(taken);
      builder.startBlock(taken);
    }
    builder.terminate({ kind: 'switch', index, targets: targets as number[] });
  }

  #blockAt(info: FunctionInfo, position: number, blocks: readonly number[]): number | undefined {
    // Blocks are in order of the text; a label's position starts one.
    let low = 0;
    let high = info.blocks.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (info.blocks[middle]!.from < position) low = middle + 1;
      else high = middle;
    }
    return info.blocks[low]!.from === position && blocks[low]! >= 0 ? blocks[low] : undefined;
  }

  /** An access that may write anything, for what this version does not understand. */
  unknown(frame: Frame, view: View, reason: DiagnosticCode, detail: string): void {
    this.builder.value('access', 0, [], {
      access: {
        writes: 'unknownInstruction',
        space: 'generic',
        bytes: 0,
        ...(view.guard !== undefined && { guard: view.guard }),
        reason,
        detail,
        origin: frame.origin(view),
      },
    });
  }

  instruction(frame: Frame, placed: PlacedInstruction): void {
    const view = frame.view(placed);
    const { form, node } = placed;
    if (!form) {
      const text = node.mnemonic.text;
      this.note('GCR3001', node.offset, `instruction '${text}' is not known`);
      this.unknown(frame, view, 'GCR3001', `instruction '${text}' is not known`);
      for (const operand of node.operands) frame.defineOpaque(view, operand, 'GCR3001');
      return;
    }
    if (form.name === 'call') return lowerCall(this, frame, view);
    if (lowerInteger(frame, view, form.name)) return;
    if (lowerAddress(frame, view, form.name)) return;
    if (lowerMemory(this, frame, view, form)) return;
    if (lowerFloat(frame, view, form.name)) return;
    if (lowerAction(frame, view, form.name)) return;
    if (!WITHOUT_EFFECT.has(form.name) && !CONTROL_FORMS.has(form.name)) {
      this.note('GCR3001', node.offset, `effect of '${node.mnemonic.text}' is not known`);
      this.unknown(frame, view, 'GCR3001', `effect of '${node.mnemonic.text}' is not known`);
    }
    this.opaqueResults(frame, view, placed);
  }

  /** Makes all results of an instruction unknown; when operands do not fit their form, everything it names. */
  opaqueResults(frame: Frame, view: View, placed: Pick<PlacedInstruction, 'form' | 'node'>): void {
    const { form, node } = placed;
    const roles = form && assignOperandRoles(form, node.operands);
    const exchanged = EXCHANGES.has(node.mnemonic.opcode);
    if (view.m.has.has('cc')) frame.writeCarry(view, false, undefined);
    node.operands.forEach((operand, index) => {
      const role = roles?.[index];
      if (role === 'd' || role === 'x' || !roles) frame.defineOpaque(view, operand, exchanged ? 'GCR4011' : 'GCR4008');
    });
  }
}

/** Instructions whose result comes from other threads. */
const EXCHANGES: ReadonlySet<string> = new Set([
  'vote',
  'match',
  'activemask',
  'redux',
  'elect',
  'bar',
  'barrier',
  'shfl',
  'mbarrier',
  'clusterlaunchcontrol',
]);

function launchBounds(kernel: FunctionDeclaration): LaunchBounds {
  const triple = (name: string): readonly [number, number, number] | undefined => {
    const directive = kernel.directives.find((candidate) => candidate.name === name);
    if (!directive) return undefined;
    const values = directive.arguments.map((argument) =>
      argument.kind === 'string' ? undefined : constantValue(argument),
    );
    // A promise that makes no sense is none.
    if (values.some((value) => value === undefined || value < 1n || value > MAX_EXTENT)) return undefined;
    const at = (index: number) => Number(values[index] ?? 1n);
    return [at(0), at(1), at(2)];
  };
  const requiredBlock = triple('reqntid');
  const maximumBlock = triple('maxntid');
  const requiredCluster = triple('reqnctapercluster');
  return {
    ...(requiredBlock && { requiredBlock }),
    ...(maximumBlock && { maximumBlock }),
    ...(requiredCluster && { requiredCluster }),
  };
}

/**
 * Lowers one kernel of a module.
 *
 * @param kernel an `.entry` with a body
 * @returns the program; undefined when its body does not parse, which the parser has reported, and with a warning (GCR3007)
 *   when it is too large to be held
 */
export function lowerKernel(
  module: ModuleSymbols,
  kernel: FunctionDeclaration,
  limits: LoweringLimits = DEFAULT_LIMITS,
): { readonly product: KernelProgram | undefined; readonly diagnostics: readonly Diagnostic[] } {
  const info = module.info(kernel);
  if (!info) return { product: undefined, diagnostics: [] };
  try {
    return { product: lower(module, kernel, info, limits), diagnostics: [] };
  } catch (error) {
    if (!(error instanceof ProgramTooLarge)) throw error;
    const message = `kernel '${kernel.name}' has more values than are held in memory`;
    return { product: undefined, diagnostics: [{ code: 'GCR3007', severity: 'warning', message }] };
  }
}

function lower(
  module: ModuleSymbols,
  kernel: FunctionDeclaration,
  info: FunctionInfo,
  limits: LoweringLimits,
): KernelProgram {
  const lowering = new Lowering(module, kernel, limits);
  const { builder } = lowering;
  lowering.body(new Frame(lowering, info, [], lowering.exitBlock, { parameters: [], returns: [] }));
  builder.startBlock(lowering.exitBlock);
  builder.terminate({ kind: 'exit' });
  const { values, blocks, irreducible } = builder.finish();
  if (irreducible) lowering.note('GCR4008', kernel.offset, 'control flow is irreducible');
  return {
    name: kernel.name,
    offset: kernel.offset,
    parameters: module.kernelParameters(kernel),
    parameterBytes: lowering.parameterBytes,
    bounds: launchBounds(kernel),
    objects: builder.objects,
    functions: builder.functions,
    values,
    blocks,
    spans: [...lowering.expanded].map(({ offset, length }) => ({ offset, length })).sort((a, b) => a.offset - b.offset),
    notes: lowering.notes,
  };
}
