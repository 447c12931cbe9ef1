/**
 * One function body at one place where it is expanded: reads operands into values and writes results into registers.
 * Here, and only here, the source's register rules live: operands wider or narrower than the instruction (PTX ISA 9.4.1),
 * guards that keep the old value, vectors, sinks, special registers, and the `.param` variables of calls.
 */
import type { AddressOperand, ElementOperand, Instruction, NameOperand, Operand } from '../../ptx/index.js';
import type { ProgramBuilder, VariableId } from '../builder.js';
import { type Origin, SPECIAL_VALUES, type SpecialValue, type ValueId } from '../program.js';
import { act } from './actions.js';
import { constantValue } from './constant-expression.js';
import type { FunctionInfo, PlacedInstruction } from './function-info.js';
import type { Lowering } from './lower-kernel.js';
import { type MnemonicInfo, mnemonicInfo } from './mnemonic-info.js';
import { memoryObject } from './module-symbols.js';
import type { LocalSymbol, Scope } from './symbols.js';
import { scalarType } from './types.js';

const SPECIALS: ReadonlySet<string> = new Set(SPECIAL_VALUES);

/** Special registers that are modelled as other than a special value; all others are opaque. */
const SPECIAL_WIDTHS: Readonly<Record<string, number>> = {
  '%clock64': 64,
  '%globaltimer': 64,
  '%gridid': 64,
  '%current_graph_exec': 64,
  '%is_explicit_cluster': 1,
};

/** A `.param` variable: call arguments and results, in pieces as they are stored and loaded. */
export class ParameterVariable {
  readonly #slots: { offset: number; width: number; variable: VariableId }[] = [];
  /** Something wrote it that is not described piece by piece. */
  opaque = false;

  constructor(readonly size: number) {}

  write(builder: ProgramBuilder, offset: number, width: number, value: ValueId, guarded: boolean): void {
    const bytes = Math.max(8, width) / 8;
    let exact: VariableId | undefined;
    for (const slot of this.#slots) {
      if (slot.offset === offset && slot.width === width) exact = slot.variable;
      else if (slot.offset < offset + bytes && offset < slot.offset + slot.width / 8) this.opaque = true;
    }
    if (guarded) this.opaque = true;
    if (this.opaque) return;
    if (exact === undefined) {
      exact = builder.newVariables([width]);
      this.#slots.push({ offset, width, variable: exact });
    }
    builder.write(exact, value);
  }

  read(builder: ProgramBuilder, offset: number, width: number): ValueId {
    if (this.opaque) return builder.opaque(width, 'GCR4008');
    const slot = this.#slots.find((candidate) => candidate.offset === offset && candidate.width === width);
    if (slot) return builder.read(slot.variable);
    const half = width / 2;
    if (half >= 8 && Number.isInteger(half)) {
      const low = this.#slots.find((candidate) => candidate.offset === offset && candidate.width === half);
      const high = this.#slots.find((candidate) => candidate.offset === offset + half / 8 && candidate.width === half);
      if (low && high) return builder.value('concat', width, [builder.read(low.variable), builder.read(high.variable)]);
    }
    const whole = this.#slots.find((candidate) => candidate.offset === offset && candidate.width > width);
    if (whole) return builder.value('truncate', width, [builder.read(whole.variable)]);
    return builder.opaque(width, 'GCR4008');
  }
}

/** An instruction being lowered, with what its mnemonic says. */
export interface View {
  readonly node: Instruction;
  readonly scope: Scope;
  readonly m: MnemonicInfo;
  /** Value of width 1 under which the instruction acts; undefined when it always does. */
  readonly guard: ValueId | undefined;
}

/** An address operand as a value: 64 bits wide, in the space the instruction names. */
export interface Address {
  readonly value: ValueId;
  /** A `.param` variable at a constant offset, when the address is one. */
  readonly parameter?: { readonly variable: ParameterVariable; readonly offset: number };
}

export class Frame {
  readonly #firstVariable: VariableId;
  readonly #parameters = new Map<LocalSymbol, ParameterVariable>();
  #carry: VariableId | undefined;
  /** Where `ret` goes. */
  readonly returnBlock: number;

  constructor(
    readonly lowering: Lowering,
    readonly info: FunctionInfo,
    readonly inlined: readonly string[],
    returnBlock: number,
    /** Bound formal parameters: arguments first, then results. */
    readonly formals: {
      readonly parameters: readonly ParameterVariable[];
      readonly returns: readonly ParameterVariable[];
    },
    /** The flat block being lowered. */
    public block = 0,
  ) {
    this.#firstVariable = lowering.builder.newVariables(info.widths);
    this.returnBlock = returnBlock;
  }

  get builder(): ProgramBuilder {
    return this.lowering.builder;
  }

  view(placed: PlacedInstruction): View {
    const { node, scope } = placed;
    return { node, scope, m: mnemonicInfo(node.mnemonic), guard: this.#guard(node, scope) };
  }

  origin(view: View): Origin {
    return { offset: view.node.offset, instruction: view.node.mnemonic.text, inlined: this.inlined };
  }

  #guard(node: Instruction, scope: Scope): ValueId | undefined {
    if (!node.guard) return undefined;
    const symbol = scope.lookUp(node.guard.register);
    const value =
      symbol?.kind === 'register' && symbol.width === 1
        ? this.readRegister(symbol.index)
        : this.undeclared(node.guard.register, node.offset, 1);
    return node.guard.negated ? this.builder.value('not', 1, [value]) : value;
  }

  // --- registers ---

  readRegister(register: number): ValueId {
    const variable = this.#firstVariable + register;
    const { info, builder } = this;
    if (info.writes[register] === 1) {
      const value = builder.readSingle(variable);
      const writtenIn = info.writtenIn[register]!;
      if (value >= 0 && info.dominators.dominates(writtenIn, this.block)) return value;
    }
    return builder.read(variable);
  }

  writeRegister(register: number, value: ValueId): void {
    const variable = this.#firstVariable + register;
    if (this.info.writes[register] === 1) this.builder.writeSingle(variable, value);
    else this.builder.write(variable, value);
  }

  /** Gives formal parameters that are registers the values of their arguments (old register-based calls). */
  bindRegisters(): void {
    this.#formalRegisters(this.info.node.parameters, 0, (register, width, formal) => {
      const variable = this.formals.parameters[formal];
      if (variable) this.builder.write(this.#firstVariable + register, variable.read(this.builder, 0, width));
    });
  }

  /** After the body: hands results that are registers back to the caller. */
  returnRegisters(): void {
    const before = this.info.node.parameters.filter((formal) => formal.space === 'reg').length;
    this.#formalRegisters(this.info.node.returns, before, (register, width, formal) => {
      const variable = this.formals.returns[formal];
      variable?.write(this.builder, 0, width, this.builder.read(this.#firstVariable + register), false);
    });
  }

  #formalRegisters(
    formals: FunctionInfo['node']['parameters'],
    first: number,
    visit: (register: number, width: number, formal: number) => void,
  ): void {
    let register = first;
    for (const [index, formal] of formals.entries()) {
      if (formal.space !== 'reg') continue;
      visit(register, this.info.widths[register]!, index);
      register += formal.vector ?? 1;
    }
  }

  /** The flag of extended-precision arithmetic (PTX ISA 9.7.2), as additions leave it or as subtractions do. */
  #flag(subtract: boolean): VariableId {
    this.#carry ??= this.builder.newVariables([1, 1]);
    return this.#carry + (subtract ? 1 : 0);
  }

  readCarry(subtract: boolean): ValueId {
    return this.builder.read(this.#flag(subtract));
  }

  /** Sets the flag; what one kind of arithmetic leaves is not known to the other. Without a value nothing is known. */
  writeCarry(view: View, subtract: boolean, out: ValueId | undefined): void {
    const { builder } = this;
    for (const kind of [false, true]) {
      const known = kind === subtract && view.guard === undefined ? out : undefined;
      builder.write(this.#flag(kind), known ?? builder.opaque(1, 'GCR4008'));
    }
  }

  undeclared(name: string, offset: number, width: number): ValueId {
    this.lowering.note('GCR3002', offset, `'${name}' is not declared`);
    return this.builder.opaque(width, 'GCR3002');
  }

  // --- operands ---

  /** An operand as a value of exactly `width` bits. Narrower registers are extended as `signed` says, wider ones cut. */
  use(view: View, operand: Operand | undefined, width: number, signed = false): ValueId {
    const { builder } = this;
    if (!operand) return builder.opaque(width, 'GCR3008');
    switch (operand.kind) {
      case 'name': {
        const symbol = view.scope.lookUp(operand.name);
        if (symbol?.kind === 'register' && symbol.components === 1) {
          return this.fit(this.readRegister(symbol.index), width, signed);
        }
        if (symbol) return this.fit(this.#symbolValue(view, operand.name, symbol), width, false);
        if (operand.name === 'WARP_SZ') return builder.constant(width, 32);
        if (operand.name === '_') return builder.leaf('undefined', width);
        if (operand.name.startsWith('%')) return this.fit(this.#special(view, operand), width, false);
        return this.undeclared(operand.name, operand.offset, width);
      }
      case 'component':
        return this.fit(this.#component(view, operand.name, operand.component, operand.offset), width, signed);
      case 'integer':
        return builder.constant(width, operand.value);
      case 'float':
        return this.#float(operand.bits, operand.width, width);
      case 'unary':
        if (operand.operator === '!' && width === 1) {
          return builder.value('not', 1, [this.use(view, operand.operand, 1)]);
        }
        break;
      case 'vector': {
        const part = width / operand.elements.length;
        if (!Number.isInteger(part)) return builder.opaque(width, 'GCR3008');
        return this.#pack(operand.elements.map((element) => this.use(view, element, part)));
      }
      case 'binary': {
        // `variable + constant`: an address.
        const right = constantValue(operand.right);
        if (
          operand.left.kind === 'name' &&
          right !== undefined &&
          (operand.operator === '+' || operand.operator === '-')
        ) {
          const base = this.use(view, operand.left, width);
          return builder.value(operand.operator === '+' ? 'add' : 'sub', width, [base, builder.constant(width, right)]);
        }
        break;
      }
      case 'element': {
        const index = constantValue(operand.index);
        const symbol = view.scope.lookUp(operand.name);
        if (symbol?.kind === 'register' && index !== undefined && index >= 0n && index < BigInt(symbol.components)) {
          return this.fit(this.readRegister(symbol.index + Number(index)), width, signed);
        }
        break;
      }
      default:
        break;
    }
    if (operand.kind !== 'address' && operand.kind !== 'list' && operand.kind !== 'pair') {
      const constant = constantValue(operand);
      if (constant !== undefined) return builder.constant(width, constant);
      if (operand.kind === 'unary' && operand.operator === '-' && operand.operand.kind === 'float') {
        const sign = 1n << BigInt(width - 1);
        return builder.value('xor', width, [this.use(view, operand.operand, width), builder.constant(width, sign)]);
      }
    }
    this.lowering.note('GCR3008', operand.offset, `operand of '${view.node.mnemonic.text}' is not supported`);
    return builder.opaque(width, 'GCR3008');
  }

  /** A value cut or extended to `width` bits. */
  fit(value: ValueId, width: number, signed: boolean): ValueId {
    const own = this.builder.width(value);
    if (own === width) return value;
    if (own > width) return this.builder.value('truncate', width, [value]);
    return this.builder.value(signed ? 'signExtend' : 'zeroExtend', width, [value]);
  }

  #pack(parts: readonly ValueId[]): ValueId {
    let level = [...parts];
    while (level.length > 1) {
      const next: ValueId[] = [];
      for (let index = 0; index + 1 < level.length; index += 2) {
        const width = this.builder.width(level[index]!) * 2;
        next.push(this.builder.value('concat', width, [level[index]!, level[index + 1]!]));
      }
      level = next;
    }
    return level[0]!;
  }

  #float(bits: bigint, from: 32 | 64, width: number): ValueId {
    if (from === width) return this.builder.constant(width, bits);
    const view = new DataView(new ArrayBuffer(8));
    if (width === 32) {
      view.setBigUint64(0, bits);
      view.setFloat32(0, view.getFloat64(0));
      return this.builder.constant(32, view.getUint32(0));
    }
    if (width === 64) {
      view.setUint32(0, Number(bits));
      view.setFloat64(0, view.getFloat32(0));
      return this.builder.constant(64, view.getBigUint64(0));
    }
    return this.builder.opaque(width, 'GCR4008');
  }

  #symbolValue(view: View, name: string, symbol: LocalSymbol): ValueId {
    const { builder } = this;
    switch (symbol.kind) {
      case 'variable':
        return builder.objectAddress(symbol, 64, () => memoryObject(symbol, this.lowering.module.scope));
      case 'kernelParameter':
        return builder.leaf('parameterAddress', 64, { immediate: BigInt(symbol.offset) });
      case 'formal':
        // Its address is taken: it moves to local memory (PTX ISA 5.1.6.4).
        return builder.objectAddress(this.#formal(symbol), 64, () => ({
          name,
          space: 'local',
          size: symbol.size,
          align: 1,
          external: false,
          managed: false,
        }));
      case 'function':
        return builder.functionAddress(this.lowering.module.resolveFunction(symbol.name)?.name ?? symbol.name, 64);
      default:
        this.lowering.note('GCR3008', view.node.offset, `'${name}' cannot be used as an operand here`);
        return builder.opaque(64, 'GCR3008');
    }
  }

  #special(view: View, { name, offset }: NameOperand): ValueId {
    const plain = name.slice(1);
    if (SPECIALS.has(plain)) return this.builder.special(plain as SpecialValue);
    const known =
      /^%(clock|clock_hi|clock64|globaltimer(_lo|_hi)?|gridid|smid|nsmid|warpid|nwarpid|pm[0-7](_64)?|envreg\d+|is_explicit_cluster|reserved_smem_.*|current_graph_exec)$/;
    if (!known.test(name)) return this.undeclared(name, offset, 32);
    const register = act(this, { ...view, guard: undefined }, 'machineRegister', { mode: plain });
    return this.builder.result(register, 0, SPECIAL_WIDTHS[name] ?? (name.endsWith('_64') ? 64 : 32), 'GCR4015');
  }

  #component(view: View, name: string, component: string, offset: number): ValueId {
    const symbol = view.scope.lookUp(name);
    if (symbol?.kind === 'register') {
      const index = { x: 0, y: 1, z: 2, w: 3, r: 0, g: 1, b: 2, a: 3 }[component];
      if (index !== undefined && index < symbol.components) return this.readRegister(symbol.index + index);
      return this.builder.opaque(symbol.width, 'GCR4008');
    }
    if (name.startsWith('%')) {
      const whole = `${name.slice(1)}.${component}`;
      if (SPECIALS.has(whole)) return this.builder.special(whole as SpecialValue);
      // A fourth component of a three-dimensional register is zero (PTX ISA 10.1).
      if (component === 'w' && SPECIALS.has(`${name.slice(1)}.x`)) return this.builder.constant(32, 0);
    }
    return this.undeclared(`${name}.${component}`, offset, 32);
  }

  // --- addresses ---

  /** The address an operand in brackets means; tensor coordinates and the like are in `operand.rest`. */
  address(view: View, operand: Operand | undefined): Address {
    const { builder } = this;
    if (operand?.kind === 'element') {
      // `g[%r2]`, `a[4]`: an element of a variable (PTX ISA 6.4.2).
      const base = this.use(view, { kind: 'name', name: operand.name, offset: operand.offset }, 64);
      return { value: builder.value('add', 64, [base, this.#elementOffset(view, operand)]) };
    }
    if (operand?.kind !== 'address') return { value: this.use(view, operand, 64) };
    const displacement = operand.displacement ? constantValue(operand.displacement) : 0n;
    const parameter = displacement === undefined ? undefined : this.#parameterAt(view, operand, displacement);
    if (parameter) return { value: builder.leaf('undefined', 64), parameter };
    let base: ValueId;
    if (operand.base.kind === 'element') base = this.address(view, operand.base).value;
    else base = this.use(view, operand.base, 64);
    if (displacement === 0n) return { value: base };
    const delta =
      displacement === undefined ? this.use(view, operand.displacement, 64, true) : builder.constant(64, displacement);
    return { value: builder.value('add', 64, [base, delta]) };
  }

  /**
   * Bytes from a variable to one of its elements. The index counts scalars of the declared type, also in arrays of vectors
   * and of arrays; a 32-bit index is multiplied in 32 bits and extended by zeros. (Both seen in what ptxas makes of it, the first
   * on a GPU besides; PTX ISA 6.4.2 leaves it open.)
   */
  #elementOffset(view: View, operand: ElementOperand): ValueId {
    const { builder } = this;
    const bytes = elementBytes(view.scope.lookUp(operand.name));
    const constant = constantValue(operand.index);
    if (constant !== undefined) return builder.constant(64, constant * BigInt(bytes));
    const symbol = operand.index.kind === 'name' ? view.scope.lookUp(operand.index.name) : undefined;
    const width = symbol?.kind === 'register' && symbol.width <= 32 ? 32 : 64;
    const index = this.use(view, operand.index, width);
    return this.fit(builder.value('mul', width, [index, builder.constant(width, bytes)]), 64, false);
  }

  #parameterAt(view: View, operand: AddressOperand, displacement: bigint): Address['parameter'] {
    let { base } = operand;
    let offset = displacement;
    if (base.kind === 'element') {
      const index = constantValue(base.index);
      if (index === undefined) return undefined;
      offset += index * BigInt(elementBytes(view.scope.lookUp(base.name)));
      base = { kind: 'name', name: base.name, offset: base.offset };
    }
    if (base.kind !== 'name') return undefined;
    const symbol = view.scope.lookUp(base.name);
    if (!symbol || !isParameterVariable(symbol) || this.info.addressTaken.has(base.name)) return undefined;
    return { variable: this.parameterVariable(symbol), offset: Number(offset) };
  }

  /** The storage of a `.param` variable of this body. */
  parameterVariable(symbol: LocalSymbol): ParameterVariable {
    if (symbol.kind === 'formal') return this.#formal(symbol);
    let variable = this.#parameters.get(symbol);
    if (!variable) {
      variable = new ParameterVariable(symbol.kind === 'variable' ? symbol.size : 0);
      this.#parameters.set(symbol, variable);
    }
    return variable;
  }

  #formal(symbol: Extract<LocalSymbol, { kind: 'formal' }>): ParameterVariable {
    const list = symbol.returns ? this.formals.returns : this.formals.parameters;
    return list[symbol.position] ?? new ParameterVariable(symbol.size);
  }

  // --- results ---

  /** Writes a destination operand; registers wider than the value are filled as `signed` says. */
  define(view: View, operand: Operand | undefined, value: ValueId, signed = false): void {
    if (!operand) return;
    switch (operand.kind) {
      case 'name':
      case 'component': {
        if (operand.kind === 'name' && operand.name === '_') return;
        const symbol = view.scope.lookUp(operand.name);
        if (symbol?.kind !== 'register') {
          this.undeclared(operand.name, operand.offset, 1);
          return;
        }
        let register = symbol.index;
        if (operand.kind === 'component') {
          const index = { x: 0, y: 1, z: 2, w: 3, r: 0, g: 1, b: 2, a: 3 }[operand.component];
          if (index === undefined || index >= symbol.components) {
            // `vadd d.b0, …` writes part of a register: all of it becomes unknown.
            this.#assign(view, register, this.builder.opaque(symbol.width, 'GCR4008'));
            return;
          }
          register += index;
        }
        this.#assign(view, register, this.fit(value, symbol.width, signed));
        return;
      }
      case 'vector': {
        const part = this.builder.width(value) / operand.elements.length;
        if (!Number.isInteger(part)) return this.defineOpaque(view, operand, 'GCR3008');
        operand.elements.forEach((element, index) => {
          const shifted =
            index === 0
              ? value
              : this.builder.value('shiftRightLogical', this.builder.width(value), [
                  value,
                  this.builder.constant(32, index * part),
                ]);
          this.define(view, element, this.fit(shifted, part, false));
        });
        return;
      }
      default:
        this.defineOpaque(view, operand, 'GCR3008');
    }
  }

  #assign(view: View, register: number, value: ValueId): void {
    if (view.guard === undefined) {
      this.writeRegister(register, value);
      return;
    }
    const old = this.readRegister(register);
    const kept = this.builder.get(old).op === 'undefined' ? value : undefined;
    this.writeRegister(
      register,
      kept ?? this.builder.value('select', this.builder.width(value), [view.guard, value, old]),
    );
  }

  /** Makes every register that an operand names unknown. */
  defineOpaque(
    view: View,
    operand: Operand | undefined,
    reason: 'GCR3001' | 'GCR3008' | 'GCR4008' | 'GCR4011' | 'GCR4015',
  ): void {
    switch (operand?.kind) {
      case 'name':
      case 'component':
      case 'element': {
        const symbol = view.scope.lookUp(operand.name);
        if (symbol?.kind !== 'register') return;
        for (let i = 0; i < symbol.components; i++) {
          this.#assign(view, symbol.index + i, this.builder.opaque(symbol.width, reason, this.origin(view)));
        }
        return;
      }
      case 'vector':
      case 'list':
        for (const element of operand.elements) this.defineOpaque(view, element, reason);
        return;
      case 'pair':
        this.defineOpaque(view, operand.first, reason);
        this.defineOpaque(view, operand.second, reason);
        return;
      default:
        return;
    }
  }
}

function isParameterVariable(symbol: LocalSymbol): boolean {
  return symbol.kind === 'formal' || (symbol.kind === 'variable' && symbol.space === 'callParameter');
}

/** Bytes of one scalar of what a name is declared as; 1 for anything else. */
function elementBytes(symbol: LocalSymbol | undefined): number {
  const type =
    symbol?.kind === 'variable'
      ? symbol.declaration.type
      : symbol?.kind === 'formal' || symbol?.kind === 'kernelParameter'
        ? symbol.type
        : undefined;
  const width = type === undefined ? undefined : scalarType(type)?.width;
  return width === undefined ? 1 : Math.max(1, width / 8);
}
