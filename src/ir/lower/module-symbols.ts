/**
 * A module's names: variables, functions (definitions before forward declarations), aliases followed to their end, and
 * the layout of kernel parameters. Bodies are asked for only when a kernel needs them, so that lowering one kernel of a
 * large module touches that kernel and what it calls.
 */
import type {
  Declarator,
  Expression,
  FunctionDeclaration,
  Initializer,
  Module,
  Parameter,
  Statement,
  VariableDeclaration,
} from '../../ptx/index.js';
import type { KernelParameter, MemoryObject } from '../program.js';
import { constantValue } from './constant-expression.js';
import { analyzeFunction, type FunctionInfo } from './function-info.js';
import { initialContent, loadedContent } from './initial-content.js';
import { type LocalSymbol, Scope } from './symbols.js';
import { scalarType } from './types.js';

/** Hands out a function's statements; parses them on demand. Undefined when the body has syntax errors. */
export type BodyProvider = (node: FunctionDeclaration) => readonly Statement[] | undefined;

const SPACES = {
  reg: 'local',
  sreg: 'local',
  const: 'constant',
  global: 'global',
  local: 'local',
  param: 'callParameter',
  shared: 'shared',
  tex: 'object',
} as const;

function elementCount(dimensions: readonly (Expression | null)[], initializer: Initializer | undefined): number {
  let count = 1;
  for (const dimension of dimensions) {
    const length = dimension ? constantValue(dimension) : undefined;
    if (length !== undefined) count *= Math.max(0, Number(length));
    else count *= initializer?.kind === 'initializerList' ? initializer.elements.length : 0;
  }
  // No memory is larger; sums of sizes stay exact.
  return Math.min(count, 2 ** 48);
}

/** Bytes of one element: the type's width, times the vector. */
function elementBytes(type: string, vector: number | undefined): number {
  return (Math.max(8, scalarType(type)?.width ?? 64) / 8) * (vector ?? 1);
}

/** Bytes of a formal parameter. */
export function parameterSize(parameter: Parameter): number {
  return elementBytes(parameter.type, parameter.vector) * elementCount(parameter.dimensions, undefined);
}

/** The symbol for one declared variable. */
export function variableSymbol(
  declaration: VariableDeclaration,
  declarator: Declarator,
  inBody: boolean,
): Extract<LocalSymbol, { kind: 'variable' }> {
  const type = scalarType(declaration.type);
  const bytes = elementBytes(declaration.type, declaration.vector);
  const space = type?.as === 'object' ? 'object' : SPACES[declaration.space];
  return {
    kind: 'variable',
    declaration,
    declarator,
    space: space === 'callParameter' && !inBody ? 'object' : space,
    size: bytes * elementCount(declarator.dimensions, declarator.initializer),
    align: declaration.align ?? bytes,
  };
}

/**
 * The storage behind a variable symbol.
 *
 * @param scope the module's names
 */
export function memoryObject(symbol: Extract<LocalSymbol, { kind: 'variable' }>, scope: Scope): MemoryObject {
  const { declaration, declarator } = symbol;
  return {
    name: declarator.name,
    space: symbol.space === 'object' ? 'global' : symbol.space === 'callParameter' ? 'local' : symbol.space,
    size: symbol.size,
    align: symbol.align,
    external: declaration.linking === 'extern',
    managed: declaration.attributes.some((attribute) => attribute.replace(/^\./, '').startsWith('managed')),
    ...initialContent(symbol, scope),
  };
}

export class ModuleSymbols {
  readonly scope = new Scope(undefined);
  readonly #functions = new Map<string, FunctionDeclaration>();
  readonly #aliases = new Map<string, string>();
  readonly #infos = new WeakMap<FunctionDeclaration, FunctionInfo | null>();
  readonly #layouts = new WeakMap<FunctionDeclaration, readonly KernelParameter[]>();
  #addressTaken: ReadonlySet<string> | undefined;

  constructor(
    readonly module: Module,
    readonly bodyOf: BodyProvider,
  ) {
    for (const item of module.items) {
      if (item.kind === 'function') {
        const known = this.#functions.get(item.name);
        if (!known || (!known.bodySpan && item.bodySpan)) this.#functions.set(item.name, item);
      } else if (item.kind === 'alias') {
        this.#aliases.set(item.name, item.target);
      } else if (item.kind === 'variable') {
        for (const declarator of item.declarators) this.#declareVariable(item, declarator);
      } else if (item.kind === 'callPrototype') {
        this.scope.declare(item.name, { kind: 'prototype', node: item });
      }
    }
    for (const name of [...this.#functions.keys(), ...this.#aliases.keys()]) {
      this.scope.declare(name, { kind: 'function', name, node: this.resolveFunction(name) });
    }
  }

  #declareVariable(item: VariableDeclaration, declarator: Declarator): void {
    const symbol = variableSymbol(item, declarator, false);
    const known = this.scope.lookUp(declarator.name);
    // A definition may follow its `.extern` declaration; the definition knows the size.
    if (known?.kind === 'variable' && known.declaration.linking === 'extern') Object.assign(known, symbol);
    else this.scope.declare(declarator.name, symbol);
  }

  /**
   * The module's variables in global and constant memory, in order of the text, with what they hold when it is loaded for itself;
   * without `initial` where their initialiser is not understood.
   */
  get variables(): MemoryObject[] {
    const found: MemoryObject[] = [];
    const seen = new Set<string>();
    for (const item of this.module.items) {
      if (item.kind !== 'variable') continue;
      for (const { name } of item.declarators) {
        const symbol = this.scope.lookUp(name);
        if (seen.has(name) || symbol?.kind !== 'variable') continue;
        seen.add(name);
        const { initial: _, relocations: __, ...object } = memoryObject(symbol, this.scope);
        if (object.space !== 'global' && object.space !== 'constant') continue;
        found.push({ ...object, ...loadedContent(symbol, this.scope) });
      }
    }
    return found;
  }

  /** The kernels with a body, in order of the text. */
  get kernels(): FunctionDeclaration[] {
    return [...this.#functions.values()].filter((node) => node.entry && node.bodySpan);
  }

  /** The function a name means after aliases; undefined when nothing defines it or the aliases form a cycle. */
  resolveFunction(name: string): FunctionDeclaration | undefined {
    const seen = new Set<string>();
    let current = name;
    for (;;) {
      const node = this.#functions.get(current);
      const target = this.#aliases.get(current);
      // `.alias f, g` gives the declared f the body of g.
      if (node?.bodySpan || target === undefined) return node;
      if (seen.has(current)) return undefined;
      seen.add(current);
      current = target;
    }
  }

  /** The analysed body of a function; undefined when it has none or it does not parse. */
  info(node: FunctionDeclaration): FunctionInfo | undefined {
    let info = this.#infos.get(node);
    if (info === undefined) {
      const body = node.body ?? (node.bodySpan ? this.bodyOf(node) : undefined);
      info = body ? analyzeFunction(node, body, this) : null;
      this.#infos.set(node, info);
    }
    return info ?? undefined;
  }

  /** Drops the cached analysis of a function that nothing will ask for again (a kernel that was lowered). */
  forget(node: FunctionDeclaration): void {
    this.#infos.delete(node);
  }

  /** Offsets and sizes of a kernel's parameters: each aligned to its alignment, in order (PTX ISA 5.1.6.1). */
  kernelParameters(node: FunctionDeclaration): readonly KernelParameter[] {
    let layout = this.#layouts.get(node);
    if (!layout) {
      let offset = 0;
      layout = node.parameters.map((parameter) => {
        const size = parameterSize(parameter);
        const align = Math.max(1, parameter.align ?? elementBytes(parameter.type, parameter.vector));
        offset = Math.ceil(offset / align) * align;
        const placed: KernelParameter = {
          name: parameter.name,
          offset,
          size,
          align,
          type: parameter.type,
          isArray: parameter.dimensions.length > 0,
        };
        offset += size;
        return placed;
      });
      this.#layouts.set(node, layout);
    }
    return layout;
  }

  /** Functions whose address is taken anywhere in the module: in an initialiser, or as an operand that is not a call target. */
  get addressTaken(): ReadonlySet<string> {
    if (!this.#addressTaken) {
      const taken = new Set<string>();
      const note = (name: string) => {
        if (this.#functions.has(name) || this.#aliases.has(name)) taken.add(name);
      };
      for (const item of this.module.items) {
        if (item.kind !== 'variable') continue;
        for (const declarator of item.declarators) {
          if (declarator.initializer) visitNames(declarator.initializer, note);
        }
      }
      for (const node of this.#functions.values()) {
        for (const { node: instruction } of this.info(node)?.instructions ?? []) {
          if (instruction.mnemonic.opcode === 'call') continue;
          for (const operand of instruction.operands) if (operand.kind === 'name') note(operand.name);
        }
      }
      this.#addressTaken = taken;
    }
    return this.#addressTaken;
  }

  /** Whether functions of other modules may be linked in: something undefined is declared that the runtime does not provide. */
  isOpen(isRuntimeFunction: (name: string) => boolean): boolean {
    for (const node of this.#functions.values()) {
      if (!node.entry && !this.resolveFunction(node.name)?.bodySpan && !isRuntimeFunction(node.name)) return true;
    }
    return false;
  }
}

function visitNames(initializer: Initializer, note: (name: string) => void): void {
  const work: Initializer[] = [initializer];
  while (work.length > 0) {
    const node = work.pop()!;
    switch (node.kind) {
      case 'initializerList':
        for (const element of node.elements) work.push(element);
        break;
      case 'name':
        note(node.name);
        break;
      case 'unary':
      case 'cast':
      case 'generic':
      case 'mask':
        work.push(node.operand);
        break;
      case 'binary':
        work.push(node.left, node.right);
        break;
      case 'conditional':
        work.push(node.whenTrue, node.whenFalse);
        break;
      default:
        break;
    }
  }
}
