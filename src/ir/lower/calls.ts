/**
 * Calls (PTX ISA 9.7.12.5). A direct call is expanded in place. An indirect one becomes a chain of comparisons with the
 * address of every function it may mean: those of its target list, or those whose address is taken and whose prototype
 * fits. What is left over writes anything.
 */
import type { DiagnosticCode } from '../../diagnostics/index.js';
import type { CallPrototype, FunctionDeclaration, Operand, Parameter } from '../../ptx/index.js';
import type { ValueId } from '../program.js';
import { act } from './actions.js';
import { RUNTIME_FUNCTIONS } from './effects.js';
import { Frame, ParameterVariable, type View } from './frame.js';
import type { Lowering } from './lower-kernel.js';
import { parameterSize } from './module-symbols.js';
import { writesNothing } from './write-free.js';

interface CallOperands {
  readonly returns: readonly Operand[];
  readonly callee: Operand | undefined;
  readonly parameters: readonly Operand[];
  /** Target list or prototype of an indirect call. */
  readonly targets: Operand | undefined;
}

function callOperands(view: View): CallOperands {
  const operands = [...view.node.operands];
  const first = operands[0];
  let returns: readonly Operand[] = [];
  if (first?.kind === 'list') {
    returns = first.elements;
    operands.shift();
  }
  const callee = operands.shift();
  const list = operands[0];
  let parameters: readonly Operand[] = [];
  if (list?.kind === 'list') {
    parameters = list.elements;
    operands.shift();
  }
  return { returns, callee, parameters, targets: operands[0] };
}

/** The `.param` variables and registers of one call, as variables that the callee's formals are bound to. */
class Binding {
  readonly parameters: ParameterVariable[];
  readonly returns: ParameterVariable[];
  readonly #registers: { readonly operand: Operand; readonly variable: ParameterVariable; readonly width: number }[] =
    [];

  constructor(
    readonly frame: Frame,
    readonly view: View,
    operands: CallOperands,
  ) {
    const { builder } = frame;
    this.parameters = operands.parameters.map((operand) => {
      const known = this.#variable(operand);
      if (known) return known;
      const symbol = operand.kind === 'name' ? view.scope.lookUp(operand.name) : undefined;
      const width = symbol?.kind === 'register' ? symbol.width : 64;
      const variable = new ParameterVariable(width / 8);
      variable.write(builder, 0, width, frame.use(view, operand, width), false);
      return variable;
    });
    this.returns = operands.returns.map((operand) => {
      const known = this.#variable(operand);
      if (known) return known;
      const symbol = operand.kind === 'name' ? view.scope.lookUp(operand.name) : undefined;
      const width = symbol?.kind === 'register' ? symbol.width : 64;
      const variable = new ParameterVariable(width / 8);
      this.#registers.push({ operand, variable, width });
      return variable;
    });
  }

  #variable(operand: Operand): ParameterVariable | undefined {
    if (operand.kind !== 'name') return undefined;
    const symbol = this.view.scope.lookUp(operand.name);
    if (symbol?.kind === 'formal' || (symbol?.kind === 'variable' && symbol.space === 'callParameter')) {
      return this.frame.parameterVariable(symbol);
    }
    return undefined;
  }

  /** After a call whose body was expanded: results that are registers get their values. */
  collect(): void {
    for (const { operand, variable, width } of this.#registers) {
      this.frame.define({ ...this.view, guard: undefined }, operand, variable.read(this.frame.builder, 0, width));
    }
  }

  /** After a call whose body is not known. */
  forget(): void {
    for (const variable of this.returns) variable.opaque = true;
  }
}

/** Lowers one `call` instruction; control goes on behind it. */
export function lowerCall(lowering: Lowering, frame: Frame, view: View): void {
  const { builder } = lowering;
  if (view.guard !== undefined) {
    const taken = builder.newBlock();
    const after = builder.newBlock();
    builder.terminate({ kind: 'branch', condition: view.guard, whenTrue: taken, whenFalse: after });
    builder.seal(taken);
    builder.startBlock(taken);
    lowerCall(lowering, frame, { ...view, guard: undefined });
    builder.terminate({ kind: 'jump', target: after });
    builder.seal(after);
    builder.startBlock(after);
    return;
  }
  const operands = callOperands(view);
  const binding = new Binding(frame, view, operands);
  const symbol = operands.callee?.kind === 'name' ? view.scope.lookUp(operands.callee.name) : undefined;
  if (symbol?.kind === 'function') {
    callFunction(lowering, frame, view, binding, symbol.name, symbol.node);
  } else if (symbol?.kind === 'register') {
    callIndirect(lowering, frame, view, binding, operands, frame.use(view, operands.callee, 64));
  } else {
    const name = operands.callee?.kind === 'name' ? operands.callee.name : '?';
    callUnknown(lowering, frame, view, binding, 'GCR3002', `called function '${name}' is not declared`);
  }
  binding.collect();
}

function callUnknown(
  lowering: Lowering,
  frame: Frame,
  view: View,
  binding: Binding,
  reason: DiagnosticCode,
  detail: string,
): void {
  lowering.note(reason, view.node.offset, detail);
  access(lowering, frame, view, 'call', reason, detail);
  binding.forget();
}

function access(
  lowering: Lowering,
  frame: Frame,
  view: View,
  writes: 'call' | 'runtimeMemory' | 'childLaunch',
  reason: DiagnosticCode,
  detail: string,
): void {
  const space = writes === 'runtimeMemory' ? 'runtime' : 'generic';
  lowering.builder.value('access', 0, [], {
    access: { writes, space, bytes: 0, reason, detail, origin: frame.origin(view) },
  });
}

function callFunction(
  lowering: Lowering,
  frame: Frame,
  view: View,
  binding: Binding,
  name: string,
  node: FunctionDeclaration | undefined,
): void {
  const { builder, limits } = lowering;
  // A module's own function of such a name is that function.
  const runtime = node?.bodySpan ? undefined : RUNTIME_FUNCTIONS.get(name);
  if (runtime) {
    if (runtime.effect === 'runtimeMemory') {
      access(lowering, frame, view, 'runtimeMemory', 'GCR4007', `'${name}' writes memory of the device runtime`);
    } else {
      access(lowering, frame, view, 'childLaunch', 'GCR3010', `'${name}' launches another kernel`);
    }
    binding.forget();
    const call = act(frame, view, runtime.returns ? 'runtimeCall' : 'trap', { mode: name });
    const [result] = binding.returns;
    if (result && (result.size === 4 || result.size === 8)) {
      result.opaque = false;
      result.write(builder, 0, result.size * 8, builder.result(call, 0, result.size * 8, 'GCR4008'), false);
    }
    if (!runtime.returns) {
      builder.terminate({ kind: 'jump', target: lowering.exitBlock });
      const unreachable = builder.newBlock();
      builder.seal(unreachable);
      builder.startBlock(unreachable);
    }
    return;
  }
  if (node?.entry) {
    return callUnknown(lowering, frame, view, binding, 'GCR3010', `'${name}' is a kernel`);
  }
  const info = node && lowering.module.info(node);
  if (!node || !info) {
    return callUnknown(lowering, frame, view, binding, 'GCR3005', `function '${name}' has no body here`);
  }
  const recursive = frame.inlined.includes(node.name);
  const tooMany = builder.size > limits.values || lowering.calls >= limits.calls;
  if (recursive || tooMany || frame.inlined.length >= limits.depth) {
    if (writesNothing(lowering.module, node)) {
      // Through a pointer it was given it may still write this thread's local memory.
      builder.value('access', 0, [], {
        access: { writes: 'call', space: 'local', bytes: 0, origin: frame.origin(view) },
      });
      binding.forget();
      return;
    }
    const [code, why] = recursive
      ? (['GCR3004', `'${name}' calls itself`] as const)
      : (['GCR3007', `kernel is too large to expand '${name}'`] as const);
    return callUnknown(lowering, frame, view, binding, code, why);
  }
  lowering.calls++;
  const after = builder.newBlock();
  const fill = (formals: readonly Parameter[], actual: readonly ParameterVariable[]) =>
    formals.map((formal, index) => actual[index] ?? new ParameterVariable(parameterSize(formal)));
  const callee = new Frame(lowering, info, [...frame.inlined, node.name], after, {
    parameters: fill(node.parameters, binding.parameters),
    returns: fill(node.returns, binding.returns),
  });
  callee.bindRegisters();
  lowering.body(callee);
  builder.seal(after);
  builder.startBlock(after);
  callee.returnRegisters();
}

function signatureFits(node: FunctionDeclaration, prototype: CallPrototype): boolean {
  const sizes = (list: readonly Parameter[]) => list.map(parameterSize).join();
  if (prototype.variadic || node.variadic) return true;
  return sizes(node.parameters) === sizes(prototype.parameters) && sizes(node.returns) === sizes(prototype.returns);
}

function callIndirect(
  lowering: Lowering,
  frame: Frame,
  view: View,
  binding: Binding,
  operands: CallOperands,
  target: ValueId,
): void {
  const { builder, module } = lowering;
  const named = operands.targets?.kind === 'name' ? view.scope.lookUp(operands.targets.name) : undefined;
  let candidates: FunctionDeclaration[] = [];
  let closed = false;
  const resolve = (name: string) => module.resolveFunction(name);
  if (named?.kind === 'callTargets') {
    const functions = named.node.functions.map(resolve);
    candidates = functions.filter((node) => node?.bodySpan !== undefined) as FunctionDeclaration[];
    closed = candidates.length === functions.length;
  } else if (named?.kind === 'prototype') {
    candidates = [...module.addressTaken]
      .map(resolve)
      .filter((node): node is FunctionDeclaration => node?.bodySpan !== undefined && !node.entry)
      .filter((node) => signatureFits(node, named.node));
    closed = !module.isOpen((name) => RUNTIME_FUNCTIONS.has(name));
  }
  candidates = [...new Set(candidates)];
  const done = builder.newBlock();
  for (const [index, candidate] of candidates.entries()) {
    const last = closed && index === candidates.length - 1;
    const next = last ? undefined : builder.newBlock();
    if (next !== undefined) {
      const taken = builder.newBlock();
      const matches = builder.value('equal', 1, [target, builder.functionAddress(candidate.name, 64)]);
      builder.terminate({ kind: 'branch', condition: matches, whenTrue: taken, whenFalse: next });
      builder.seal(taken);
      builder.startBlock(taken);
    }
    callFunction(lowering, frame, view, binding, candidate.name, candidate);
    builder.terminate({ kind: 'jump', target: done });
    if (next !== undefined) {
      builder.seal(next);
      builder.startBlock(next);
    }
  }
  if (!closed || candidates.length === 0) {
    const detail =
      candidates.length === 0
        ? 'no function of this module fits the indirect call'
        : 'indirect call may leave the module';
    callUnknown(lowering, frame, view, binding, 'GCR3006', detail);
    builder.terminate({ kind: 'jump', target: done });
  }
  builder.seal(done);
  builder.startBlock(done);
}
