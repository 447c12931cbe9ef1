/**
 * The bytes a module variable holds when its module is loaded (PTX ISA 5.4.4): those of its initialiser, zeros where it says
 * nothing, and the addresses of other variables as relocations. Shadow execution follows pointers with it, so a form that is
 * not understood here makes the content unknown; it is never guessed.
 *
 * Content is unknown, too, where this text does not decide it: `.extern`, `.weak` and `.common` variables may get it from
 * another module, managed ones from the host.
 */
import type { Declarator, Expression, Initializer } from '../../ptx/index.js';
import type { InitialContent, Relocation } from '../program.js';
import { constantValue } from './constant-expression.js';
import type { LocalSymbol, Scope } from './symbols.js';
import { type ScalarType, scalarType } from './types.js';

type Variable = Extract<LocalSymbol, { kind: 'variable' }>;

/** Bytes of an initialiser at most; tables of pointers are far smaller, and every kernel that uses it carries it. */
const MAX_BYTES = 65_536;
/** The same where a module is loaded: as much as constant memory and tables of code generators ever have. */
const MAX_LOADED_BYTES = 2 ** 26;
const MAX_RELOCATIONS = 8192;
const ADDRESS_BITS = 64;

/** The address of a variable or function, plus bytes. */
interface SymbolAddress {
  readonly name: string;
  readonly addend: bigint;
  readonly generic: boolean;
}

function symbolAddress(expression: Expression): SymbolAddress | undefined {
  if (expression.kind === 'name') return { name: expression.name, addend: 0n, generic: false };
  if (expression.kind === 'generic') {
    const inner = symbolAddress(expression.operand);
    return inner && { ...inner, generic: true };
  }
  if (expression.kind !== 'binary' || (expression.operator !== '+' && expression.operator !== '-')) return undefined;
  const left = symbolAddress(expression.left);
  const right = constantValue(expression.right);
  if (!left || right === undefined) return undefined;
  return { ...left, addend: expression.operator === '+' ? left.addend + right : left.addend - right };
}

/** The shift that brings the byte of a mask (`0xFF00` and the like) to the bottom. */
function maskShift(mask: bigint): number | undefined {
  for (let shift = 0; shift < ADDRESS_BITS; shift += 8) if (mask === 0xffn << BigInt(shift)) return shift;
  return undefined;
}

/** A floating-point literal in a type, where the type can hold it exactly. */
function floatBits(expression: Expression, width: number): bigint | undefined {
  if (expression.kind === 'unary' && expression.operator === '-') {
    const bits = floatBits(expression.operand, width);
    return bits === undefined ? undefined : bits ^ (1n << BigInt(width - 1));
  }
  if (expression.kind !== 'float' || (width !== 32 && width !== 64)) return undefined;
  if (expression.width === width) return expression.bits;
  const view = new DataView(new ArrayBuffer(8));
  if (expression.width === 32) {
    view.setUint32(0, Number(expression.bits));
    view.setFloat64(0, view.getFloat32(0));
    return view.getBigUint64(0);
  }
  view.setBigUint64(0, expression.bits);
  const value = view.getFloat64(0);
  if (!Object.is(Math.fround(value), value)) return undefined;
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

class Image {
  readonly bytes: Uint8Array;
  readonly relocations: Relocation[] = [];

  constructor(
    size: number,
    readonly type: ScalarType,
    readonly scope: Scope,
  ) {
    this.bytes = new Uint8Array(size);
  }

  /** Whether an initialiser of `dimensions` elements, outermost first, could be placed. */
  place(initializer: Initializer, dimensions: readonly number[], offset: number): boolean {
    const [count, ...inner] = dimensions;
    if (initializer.kind !== 'initializerList') return count === undefined && this.#element(initializer, offset);
    if (count === undefined || initializer.fields || initializer.elements.length > count) return false;
    const step = inner.reduce((product, length) => product * length, this.type.width / 8);
    return initializer.elements.every((element, index) => this.place(element, inner, offset + index * step));
  }

  #element(expression: Expression, offset: number): boolean {
    const { width, as } = this.type;
    const mask = expression.kind === 'mask' ? maskShift(expression.mask) : undefined;
    if (expression.kind === 'mask') {
      if (mask === undefined || width !== 8) return false;
      return this.#relocation(expression.operand, offset, mask);
    }
    const integral = as === 'bits' || as === 'unsigned' || as === 'signed';
    const bits = integral ? constantValue(expression) : as === 'float' ? floatBits(expression, width) : undefined;
    if (bits === undefined) return integral && width === ADDRESS_BITS && this.#relocation(expression, offset, 0);
    for (let index = 0; index < width / 8; index++)
      this.bytes[offset + index] = Number((bits >> BigInt(8 * index)) & 0xffn);
    return true;
  }

  #relocation(expression: Expression, offset: number, shift: number): boolean {
    const address = symbolAddress(expression);
    const symbol = address && this.scope.lookUp(address.name);
    if (!address || !symbol || this.relocations.length >= MAX_RELOCATIONS) return false;
    const addend = Number(address.addend);
    if (!Number.isSafeInteger(addend)) return false;
    const space =
      symbol.kind === 'function'
        ? 'function'
        : symbol.kind === 'variable' && (symbol.space === 'global' || symbol.space === 'constant')
          ? symbol.space
          : undefined;
    if (!space) return false;
    const { name, generic } = address;
    this.relocations.push({ offset, bytes: this.type.width / 8, shift, name, space, generic, addend });
    return true;
  }
}

function arrayLengths(symbol: Variable, type: ScalarType): number[] | undefined {
  const { declaration, declarator } = symbol;
  const lengths = declarator.dimensions.map((dimension) => {
    const length = dimension ? constantValue(dimension) : undefined;
    if (dimension) return length === undefined ? -1 : Number(length);
    return declarator.initializer?.kind === 'initializerList' ? declarator.initializer.elements.length : -1;
  });
  if (declaration.vector !== undefined) lengths.push(declaration.vector);
  const bytes = lengths.reduce((product, length) => product * length, type.width / 8);
  return lengths.every((length) => length >= 0) && bytes === symbol.size ? lengths : undefined;
}

/** Evaluated once a declaration: many kernels of a module name the same table. */
const cache = new WeakMap<Declarator, InitialContent | null>();

/**
 * What a variable of the module holds at first; undefined when that is not known.
 *
 * @param scope the module's names
 */
export function initialContent(symbol: Variable, scope: Scope): InitialContent | undefined {
  let content = cache.get(symbol.declarator);
  if (content === undefined) {
    content = evaluate(symbol, scope) ?? null;
    cache.set(symbol.declarator, content);
  }
  return content ?? undefined;
}

function evaluate(symbol: Variable, scope: Scope): InitialContent | undefined {
  const { declaration, declarator, space } = symbol;
  if (space !== 'global' && space !== 'constant') return undefined;
  if (declaration.linking !== 'none' && declaration.linking !== 'visible') return undefined;
  if (declaration.attributes.length > 0 || declaration.modifiers.length > 0) return undefined;
  // Only a variable of the module itself; names inside its initialiser are the module's, too.
  if (scope.lookUp(declarator.name) !== symbol) return undefined;
  return imageOf(symbol, scope, MAX_BYTES);
}

/**
 * What a variable holds after its module was loaded for itself, with nothing linked to it: then `.weak`, `.common` and managed
 * variables are the module's own, too. Undefined for an initialiser that is not understood.
 */
export function loadedContent(symbol: Variable, scope: Scope): InitialContent | undefined {
  return imageOf(symbol, scope, MAX_LOADED_BYTES);
}

function imageOf(symbol: Variable, scope: Scope, limit: number): InitialContent | undefined {
  const { declaration, declarator } = symbol;
  const { initializer } = declarator;
  // Zeros are the default for both spaces (PTX ISA 5.4.4).
  if (!initializer) return { initial: '' };
  const type = scalarType(declaration.type);
  if (!type || type.width % 8 !== 0 || symbol.size > limit) return undefined;
  const lengths = arrayLengths(symbol, type);
  const image = lengths && new Image(symbol.size, type, scope);
  if (!image?.place(initializer, lengths!, 0)) return undefined;
  let end = image.bytes.length;
  while (end > 0 && image.bytes[end - 1] === 0) end--;
  const initial = Buffer.from(image.bytes.subarray(0, end)).toString('hex');
  return { initial, ...(image.relocations.length > 0 && { relocations: image.relocations }) };
}
