/**
 * What is known about one function's body before any value is built: its statements as a flat list cut into basic
 * blocks, the control-flow graph between them, names resolved to registers and variables, and how often each register is
 * written. Computed once per function, used for every place it is inlined at.
 */
import type { DiagnosticCode } from '../../diagnostics/index.js';
import {
  assignOperandRoles,
  type FunctionDeclaration,
  type Instruction,
  type InstructionForm,
  type Operand,
  resolveInstruction,
  type Statement,
} from '../../ptx/index.js';
import { DominatorTree, immediateDominators, predecessorsOf, reversePostorder } from '../graph.js';
import { constantValue } from './constant-expression.js';
import { type ModuleSymbols, parameterSize, variableSymbol } from './module-symbols.js';
import { Scope } from './symbols.js';
import { scalarType } from './types.js';

/** An instruction with the scope it stands in. */
export interface PlacedInstruction {
  readonly node: Instruction;
  readonly scope: Scope;
  readonly form: InstructionForm | undefined;
}

export interface FlatBlock {
  /** Instructions `from … to - 1`; the last may be a terminator. */
  readonly from: number;
  readonly to: number;
  readonly successors: readonly number[];
}

export interface FunctionInfo {
  readonly node: FunctionDeclaration;
  readonly instructions: readonly PlacedInstruction[];
  readonly blocks: readonly FlatBlock[];
  /** Reachable blocks in reverse postorder. */
  readonly order: readonly number[];
  readonly dominators: DominatorTree;
  /** Distinct reachable predecessors, by block. */
  readonly predecessorCount: Uint32Array;
  /** Register widths in bits, by register number. */
  readonly widths: readonly number[];
  /** Writes of each register, saturating at 2; a write under a guard counts as 2. */
  readonly writes: Uint8Array;
  /** Block that holds the only write; -1 otherwise. */
  readonly writtenIn: Int32Array;
  /** `.param` variables and formal parameters whose address is taken. */
  readonly addressTaken: ReadonlySet<string>;
  readonly problems: readonly { readonly code: DiagnosticCode; readonly offset: number; readonly message: string }[];
}

/** How an instruction ends a block, by its opcode. */
export function endsBlock(node: Instruction): boolean {
  switch (node.mnemonic.opcode) {
    case 'bra':
    case 'brx':
    case 'ret':
    case 'exit':
    case 'trap':
      return true;
    default:
      return false;
  }
}

/** The label a `bra` goes to, or the labels of a `brx.idx`; undefined when they cannot be told. */
export function branchLabels(placed: PlacedInstruction): readonly string[] | undefined {
  const { node, scope } = placed;
  if (node.mnemonic.opcode === 'bra') {
    const target = node.operands[0];
    return target?.kind === 'name' ? [target.name] : undefined;
  }
  const list = node.operands[1];
  if (list?.kind !== 'name') return undefined;
  const symbol = scope.lookUp(list.name);
  return symbol?.kind === 'branchTargets' ? expandLabels(symbol.node.labels) : undefined;
}

/** `L<3>` stands for `L0, L1, L2` (PTX ISA 11.3.1). */
function expandLabels(labels: readonly string[]): string[] {
  return labels.flatMap((label) => {
    const match = /^(.*)<(\d+)>$/.exec(label);
    return match ? Array.from({ length: Number(match[2]) }, (_, index) => `${match[1]}${index}`) : [label];
  });
}

class Analyzer {
  readonly instructions: PlacedInstruction[] = [];
  readonly starts = new Set<number>([0]);
  readonly widths: number[] = [];
  readonly problems: FunctionInfo['problems'][number][] = [];
  #formalRegisters = 0;

  constructor(
    readonly node: FunctionDeclaration,
    readonly module: ModuleSymbols,
  ) {}

  run(statements: readonly Statement[]): FunctionInfo {
    const root = new Scope(this.module.scope);
    this.#declareFormals(root);
    this.#formalRegisters = this.widths.length;
    this.#flatten(statements, root);
    const blocks = this.#cutBlocks();
    const successors = blocks.map((block) => block.successors);
    const order = reversePostorder(successors, 0);
    const predecessors = predecessorsOf(successors);
    const reachable = new Set(order);
    const predecessorCount = Uint32Array.from(
      predecessors,
      (list) => new Set(list.filter((block) => reachable.has(block))).size,
    );
    const dominators = new DominatorTree(immediateDominators(order, predecessors), 0);
    return {
      node: this.node,
      instructions: this.instructions,
      blocks,
      order,
      dominators,
      predecessorCount,
      widths: this.widths,
      ...this.#countWrites(blocks, order),
      addressTaken: this.#addressTaken(),
      problems: this.problems,
    };
  }

  #declareFormals(root: Scope): void {
    const { node } = this;
    const declare = (returns: boolean) => {
      for (const [position, formal] of (returns ? node.returns : node.parameters).entries()) {
        if (formal.name === '' || formal.name === '_') continue;
        const size = parameterSize(formal);
        if (node.entry) {
          const offset = this.module.kernelParameters(node).find((p) => p.name === formal.name)?.offset ?? 0;
          root.declare(formal.name, { kind: 'kernelParameter', offset, size, type: formal.type });
        } else if (formal.space === 'reg') {
          root.declare(formal.name, this.#register(scalarType(formal.type)?.width ?? 32, formal.vector ?? 1));
        } else {
          root.declare(formal.name, { kind: 'formal', returns, position, size, type: formal.type });
        }
      }
    };
    declare(false);
    declare(true);
  }

  #register(width: number, components: number, count = 1) {
    const index = this.widths.length;
    for (let i = 0; i < components * count; i++) this.widths.push(width);
    return { kind: 'register' as const, index, width, components };
  }

  #flatten(statements: readonly Statement[], scope: Scope): void {
    // Labels, branch tables and prototypes may be used before they stand.
    for (const statement of statements) {
      switch (statement.kind) {
        case 'variable':
          this.#declareVariable(statement, scope);
          break;
        case 'branchTargets':
          scope.declare(statement.name, { kind: 'branchTargets', node: statement });
          break;
        case 'callTargets':
          scope.declare(statement.name, { kind: 'callTargets', node: statement });
          break;
        case 'callPrototype':
          scope.declare(statement.name, { kind: 'prototype', node: statement });
          break;
        default:
          break;
      }
    }
    this.#declareLabels(statements, scope);
    for (const statement of statements) {
      switch (statement.kind) {
        case 'instruction':
          this.instructions.push({ node: statement, scope, form: resolveInstruction(statement.mnemonic) });
          if (endsBlock(statement)) this.starts.add(this.instructions.length);
          break;
        case 'label':
          this.#labelPositions.get(statement)!.position = this.instructions.length;
          break;
        case 'scope':
          this.#flatten(statement.statements, new Scope(scope));
          break;
        case 'unknownDirective':
          this.problems.push({
            code: 'GCR3001',
            offset: statement.offset,
            message: `directive '${statement.text.slice(0, 40)}' is not known`,
          });
          break;
        default:
          break;
      }
    }
  }

  readonly #labelPositions = new Map<Statement, { kind: 'label'; position: number }>();

  #declareLabels(statements: readonly Statement[], scope: Scope): void {
    for (const statement of statements) {
      if (statement.kind !== 'label') continue;
      const symbol = { kind: 'label' as const, position: -1 };
      this.#labelPositions.set(statement, symbol);
      scope.declare(statement.name, symbol);
    }
  }

  #declareVariable(statement: Extract<Statement, { kind: 'variable' }>, scope: Scope): void {
    for (const declarator of statement.declarators) {
      if (statement.space === 'reg') {
        const width = scalarType(statement.type)?.width;
        if (width === undefined) {
          this.problems.push({
            code: 'GCR3001',
            offset: statement.offset,
            message: `register type '.${statement.type}' is not known`,
          });
        }
        const length = declarator.dimensions.reduce(
          (product, dimension) => product * Number((dimension && constantValue(dimension)) ?? 1n),
          1,
        );
        const components = (statement.vector ?? 1) * Math.max(1, Math.min(length, 65536));
        if (declarator.count === undefined) {
          scope.declare(declarator.name, this.#register(width ?? 64, components));
        } else {
          const first = this.#register(width ?? 64, components, declarator.count).index;
          scope.declareFamily(declarator.name, { count: declarator.count, first, width: width ?? 64, components });
        }
      } else {
        const symbol = variableSymbol(statement, declarator, true);
        if (declarator.count === undefined) scope.declare(declarator.name, symbol);
        else for (let i = 0; i < declarator.count; i++) scope.declare(`${declarator.name}${i}`, { ...symbol });
      }
    }
  }

  /** Blocks start at labels that a branch goes to; the labels of debugging information cut nothing. */
  #cutBlocks(): FlatBlock[] {
    const end = this.instructions.length;
    for (const placed of this.instructions) {
      const { opcode } = placed.node.mnemonic;
      if (opcode !== 'bra' && opcode !== 'brx') continue;
      for (const label of branchLabels(placed) ?? []) {
        const symbol = placed.scope.lookUp(label);
        if (symbol?.kind === 'label') this.starts.add(symbol.position);
      }
    }
    const starts = [...this.starts].filter((start) => start < end).sort((a, b) => a - b);
    if (starts.length === 0) return [{ from: 0, to: 0, successors: [] }];
    const blockAt = new Map(starts.map((start, index) => [start, index]));
    // A label at the very end is the place behind the last instruction: the function returns there.
    const returnBlock = starts.length;
    let needsReturn = false;
    const blockOf = (position: number): number => {
      const block = blockAt.get(position);
      if (block !== undefined) return block;
      needsReturn = true;
      return returnBlock;
    };
    const blocks: FlatBlock[] = starts.map((from, index) => {
      const to = starts[index + 1] ?? end;
      const last = to > from ? this.instructions[to - 1]! : undefined;
      if (!last || !endsBlock(last.node)) return { from, to, successors: [blockOf(to)] };
      const successors: number[] = [];
      const opcode = last.node.mnemonic.opcode;
      if (opcode === 'bra' || opcode === 'brx') {
        for (const label of branchLabels(last) ?? []) {
          const symbol = last.scope.lookUp(label);
          if (symbol?.kind === 'label') successors.push(blockOf(symbol.position));
        }
      }
      if (last.node.guard) successors.push(blockOf(to));
      return { from, to, successors: [...new Set(successors)] };
    });
    if (needsReturn) blocks.push({ from: end, to: end, successors: [] });
    return blocks;
  }

  #countWrites(blocks: readonly FlatBlock[], order: readonly number[]) {
    const writes = new Uint8Array(this.widths.length);
    const writtenIn = new Int32Array(this.widths.length).fill(-1);
    for (const block of order) {
      const { from, to } = blocks[block]!;
      for (let index = from; index < to; index++) {
        const placed = this.instructions[index]!;
        const weight = placed.node.guard ? 2 : 1;
        for (const register of writtenRegisters(placed)) {
          writes[register] = Math.min(2, writes[register]! + weight);
          writtenIn[register] = block;
        }
      }
    }
    // Registers that are formal parameters are written by the call.
    writes.fill(2, 0, this.#formalRegisters);
    for (let register = 0; register < writes.length; register++) if (writes[register] !== 1) writtenIn[register] = -1;
    return { writes, writtenIn };
  }

  #addressTaken(): Set<string> {
    const taken = new Set<string>();
    for (const { node, scope } of this.instructions) {
      if (node.mnemonic.opcode === 'call') continue;
      for (const operand of node.operands) {
        if (operand.kind !== 'name') continue;
        const symbol = scope.lookUp(operand.name);
        if (symbol?.kind === 'formal' || (symbol?.kind === 'variable' && symbol.space === 'callParameter')) {
          taken.add(operand.name);
        }
      }
    }
    return taken;
  }
}

/** Register numbers that an instruction writes; when its operands cannot be told apart, every register it names. */
export function writtenRegisters(placed: PlacedInstruction): number[] {
  const { node, scope, form } = placed;
  const registers: number[] = [];
  const add = (operand: Operand): void => {
    switch (operand.kind) {
      case 'name': {
        const symbol = scope.lookUp(operand.name);
        if (symbol?.kind === 'register') for (let i = 0; i < symbol.components; i++) registers.push(symbol.index + i);
        break;
      }
      case 'component':
      case 'element': {
        const symbol = scope.lookUp(operand.name);
        if (symbol?.kind === 'register') for (let i = 0; i < symbol.components; i++) registers.push(symbol.index + i);
        break;
      }
      case 'vector':
      case 'list':
        for (const element of operand.elements) add(element);
        break;
      case 'pair':
        add(operand.first);
        add(operand.second);
        break;
      default:
        break;
    }
  };
  const roles = form && assignOperandRoles(form, node.operands);
  node.operands.forEach((operand, index) => {
    const role = roles?.[index];
    if (role === 'd' || role === 'x' || !roles) add(operand);
  });
  return registers;
}

/** Analyses a function's statements. Deterministic; never throws for what the text contains. */
export function analyzeFunction(
  node: FunctionDeclaration,
  statements: readonly Statement[],
  module: ModuleSymbols,
): FunctionInfo {
  return new Analyzer(node, module).run(statements);
}
