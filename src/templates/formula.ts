/**
 * A site's place and guard as a formula a person can check: `out[4·(ntid.x·ctaid.x + tid.x)] if ntid.x·ctaid.x + tid.x < n`.
 * For reading only. Conversions between widths are left out and 32-bit wrap-around is not shown; shadow execution works
 * on the slice, never on this text.
 */
import { DominatorTree, immediateDominators, innermostLoops, predecessorsOf, reversePostorder } from '../ir/form.js';
import type { KernelTemplate, Site, SliceEnd, SliceValue } from './types.js';

/** Terms longer than this get a name of their own, explained behind `where`; so texts stay short however values nest. */
const MAX_TERM_TEXT = 56;
/** Sums of more terms get a name, and products of sums are multiplied out up to this many terms. */
const MAX_TERMS = 8;
/** Conditions nested deeper are not taken apart. */
const MAX_CONDITION_DEPTH = 4;

/** Sum of products: coefficient by sorted factor list joined with `·`; the empty list is the constant. */
type Polynomial = ReadonlyMap<string, bigint>;

const OPERATORS: Readonly<Record<string, string>> = {
  divSigned: '/',
  divUnsigned: '/',
  remSigned: 'mod',
  remUnsigned: 'mod',
  and: '&',
  or: '|',
  xor: '^',
  shiftLeft: '<<',
  shiftRightLogical: '>>',
  shiftRightArithmetic: '>>',
};

const RELATIONS: Readonly<Record<string, readonly [string, string]>> = {
  equal: ['=', '≠'],
  notEqual: ['≠', '='],
  lessSigned: ['<', '≥'],
  lessUnsigned: ['<', '≥'],
  lessEqualSigned: ['≤', '>'],
  lessEqualUnsigned: ['≤', '>'],
};

const MIRRORED: Readonly<Record<string, string>> = { '<': '>', '>': '<', '≤': '≥', '≥': '≤' };

function constant(value: bigint): Polynomial {
  return value === 0n ? new Map() : new Map([['', value]]);
}

function atom(text: string): Polynomial {
  return new Map([[text, 1n]]);
}

function sum(a: Polynomial, b: Polynomial, factor = 1n): Polynomial {
  const result = new Map(a);
  for (const [key, coefficient] of b) {
    const total = (result.get(key) ?? 0n) + coefficient * factor;
    if (total === 0n) result.delete(key);
    else result.set(key, total);
  }
  return result;
}

function isConstant(polynomial: Polynomial): bigint | undefined {
  if (polynomial.size === 0) return 0n;
  return polynomial.size === 1 ? polynomial.get('') : undefined;
}

function gcd(a: bigint, b: bigint): bigint {
  let x = a < 0n ? -a : a;
  let y = b < 0n ? -b : b;
  while (y) [x, y] = [y, x % y];
  return x;
}

function printTerms(terms: readonly (readonly [string, bigint])[]): string {
  let text = '';
  for (const [key, coefficient] of terms) {
    const size = coefficient < 0n ? -coefficient : coefficient;
    const body = key === '' ? String(size) : size === 1n ? key : `${size}·${key}`;
    if (text === '') text = coefficient < 0n ? `-${body}` : body;
    else text += coefficient < 0n ? ` - ${body}` : ` + ${body}`;
  }
  return text === '' ? '0' : text;
}

/** Prints a sum, constants last, a common factor taken out: `4·(256·ctaid.x + tid.x)`. */
function print(polynomial: Polynomial): string {
  const terms = [...polynomial].sort(([a], [b]) => (a === '' ? 1 : 0) - (b === '' ? 1 : 0));
  const divisor = terms.reduce((common, [, coefficient]) => gcd(common, coefficient), 0n);
  if (terms.length > 1 && divisor > 1n) {
    return `${divisor}·(${printTerms(terms.map(([key, coefficient]) => [key, coefficient / divisor] as const))})`;
  }
  return printTerms(terms);
}

function printFactor(polynomial: Polynomial): string {
  const text = print(polynomial);
  return isAtomic(text) ? text : `(${text})`;
}

/** Whether a text needs no parentheses: no sign, space or product outside brackets. */
function isAtomic(text: string): boolean {
  let depth = 0;
  for (const character of text) {
    if (character === '(' || character === '[') depth++;
    else if (character === ')' || character === ']') depth--;
    else if (depth === 0 && (character === ' ' || character === '·' || character === '-')) return false;
  }
  return true;
}

/** What a formula says about one site. */
export interface SiteFormula {
  /** `out[4·(…)]`, or words where no formula describes the place. */
  readonly place: string;
  /** Conditions that all must hold; empty when it always runs. */
  readonly conditions: readonly string[];
  /** `i from tid.x in steps of ntid.x`: what the loop variables used in it run over. */
  readonly loops: readonly string[];
  /** `$1 = (n + 63) / 64`: long terms used in it, each explained by those before it. */
  readonly where: readonly string[];
}

/** A name used in formulas, with the text that explains it. */
interface Definition {
  readonly kind: 'loop' | 'term';
  readonly text: () => string;
}

export class FormulaPrinter {
  readonly #memo = new Map<number, Polynomial>();
  readonly #blockOf: Int32Array;
  /** Loop variables and named terms, by name. */
  readonly #definitions = new Map<string, Definition>();
  readonly #taken: ReadonlySet<string>;
  readonly #terms = new Map<string, string>();
  #loopCount = 0;
  readonly #tree: DominatorTree;
  readonly #idom: Int32Array;
  readonly #header: Int32Array;
  readonly #successors: readonly number[][];
  readonly #predecessors: readonly number[][];

  constructor(readonly template: KernelTemplate) {
    this.#blockOf = new Int32Array(template.values.length);
    for (const [index, block] of template.blocks.entries()) this.#blockOf.fill(index, block.first);
    this.#successors = template.blocks.map((block) => endTargets(block.end));
    this.#predecessors = predecessorsOf(this.#successors);
    const order = reversePostorder(this.#successors, 0);
    this.#idom = immediateDominators(order, this.#predecessors);
    this.#tree = new DominatorTree(this.#idom, 0);
    this.#header = innermostLoops(order, this.#predecessors, this.#tree).header;
    this.#taken = new Set([
      ...template.parameters.map((parameter) => this.parameterName(parameter.offset)),
      ...template.objects.map((object) => object.name),
    ]);
  }

  /** The formula of one site of this template. */
  site(site: Site): SiteFormula {
    const place = this.#place(site);
    const conditions = this.#conditions(site);
    const loops: string[] = [];
    const where: string[] = [];
    // What explains a name may mention further names; those stand before it.
    const told = new Set<string>();
    const tell = (text: string): void => {
      const work: { name: string; definition: Definition; text: string | undefined }[] = [];
      const push = (mentioned: string): void => {
        for (const name of (mentioned.match(/[$\w]+/g) ?? []).reverse()) {
          const definition = this.#definitions.get(name);
          if (definition && !told.has(name)) work.push({ name, definition, text: undefined });
        }
      };
      push(text);
      while (work.length > 0) {
        const top = work[work.length - 1]!;
        if (top.text === undefined) {
          if (told.has(top.name)) {
            work.pop();
            continue;
          }
          told.add(top.name);
          top.text = top.definition.text();
          push(top.text);
        } else {
          work.pop();
          (top.definition.kind === 'loop' ? loops : where).push(top.text);
        }
      }
    };
    for (const text of [place, ...conditions]) tell(text);
    return { place, conditions, loops, where };
  }

  /** Short name of a parameter: without the kernel's name in front. */
  parameterName(offset: number): string {
    const { name, parameters } = this.template;
    const parameter = parameters.find((p) => p.offset <= offset && offset < p.offset + p.size);
    if (!parameter) return `parameter block + ${offset}`;
    const short = parameter.name.startsWith(`${name}_`) ? parameter.name.slice(name.length + 1) : parameter.name;
    return offset === parameter.offset && !parameter.isArray ? short : `${short}.${offset - parameter.offset}`;
  }

  #place(site: Site): string {
    if (site.address === undefined) return 'a place that is not described';
    const polynomial = this.#polynomial(site.address);
    if (site.coordinates) {
      const coordinates = site.coordinates.map((c) => print(this.#polynomial(c))).join(', ');
      return `tensor map ${print(polynomial)} at (${coordinates})`;
    }
    // The base: a pointer with coefficient one.
    const bases = site.bases.map((base) =>
      'parameter' in base
        ? this.parameterName(base.parameter)
        : 'object' in base
          ? this.#objectName(base.object)
          : undefined,
    );
    for (const base of bases) {
      if (base === undefined || polynomial.get(base) !== 1n) continue;
      const offset = new Map(polynomial);
      offset.delete(base);
      return `${base}[${print(offset)}]`;
    }
    return `[${print(polynomial)}]`;
  }

  #objectName(index: number): string {
    return this.template.objects[index]?.name ?? `object ${index}`;
  }

  #conditions(site: Site): string[] {
    const conditions: string[] = [];
    if (site.guard !== undefined) conditions.push(this.#truth(site.guard, true));
    for (let block = site.block; block !== 0; ) {
      const above = this.#idom[block]!;
      const { end } = this.template.blocks[above]!;
      if (end[0] === 'branch') {
        const [, condition, then, otherwise] = end;
        const holds = this.#onlyThrough(then, above, site.block);
        const fails = this.#onlyThrough(otherwise, above, site.block);
        if (holds !== fails) conditions.push(this.#truth(condition, holds));
      } else if (end[0] === 'switch') {
        const taken = end
          .slice(2)
          .flatMap((target, index) => (this.#onlyThrough(target as number, above, site.block) ? [index] : []));
        if (taken.length > 0 && taken.length < end.length - 2) {
          conditions.push(`${print(this.#polynomial(end[1]))} ∈ {${taken.join(', ')}}`);
        }
      }
      block = above;
    }
    return [...new Set(conditions.reverse())].filter((condition) => condition !== 'true');
  }

  #onlyThrough(target: number, from: number, site: number): boolean {
    return (
      this.#predecessors[target]!.every((p) => p === from || this.#tree.dominates(target, p)) &&
      this.#tree.dominates(target, site)
    );
  }

  /** A condition in words, or its negation. */
  #truth(id: number, holds: boolean, depth = 0): string {
    const value = this.template.values[id]!;
    const [op, , ...rest] = value;
    const args = rest as number[];
    const relation = RELATIONS[op];
    if (relation) {
      const [a, b] = args.map((arg) => this.#polynomial(arg)) as [Polynomial, Polynomial];
      const sign = relation[holds ? 0 : 1];
      // The bound stands on the right, as people write it.
      if (b.size > a.size || isConstant(a) !== undefined) return `${print(b)} ${MIRRORED[sign] ?? sign} ${print(a)}`;
      return `${print(a)} ${sign} ${print(b)}`;
    }
    if (op === 'not' && depth < MAX_CONDITION_DEPTH) return this.#truth(args[0]!, !holds, depth + 1);
    if (op === 'constant') return (rest[0] !== '0') === holds ? 'true' : 'false';
    if ((op === 'and' || op === 'or') && depth < MAX_CONDITION_DEPTH) {
      const word = (op === 'and') === holds ? 'and' : 'or';
      const [a, b] = args.map((arg) => this.#truth(arg, holds, depth + 1));
      return `(${a} ${word} ${b})`;
    }
    const text = print(this.#polynomial(id));
    return holds ? text : `not ${text}`;
  }

  #polynomial(id: number): Polynomial {
    const known = this.#memo.get(id);
    if (known) return known;
    // Operands first, without recursion: chains are as long as kernels are.
    const work = [id];
    while (work.length > 0) {
      const top = work[work.length - 1]!;
      if (this.#memo.has(top)) {
        work.pop();
        continue;
      }
      const value = this.template.values[top]!;
      const missing = value[0] === 'phi' ? this.#choices(top, value) : operandsOf(value);
      const open = missing.filter((operand) => !this.#memo.has(operand));
      if (open.length > 0) {
        work.push(...open);
        continue;
      }
      work.pop();
      this.#memo.set(top, this.#named(this.#make(top, value)));
    }
    return this.#memo.get(id)!;
  }

  /** The values that a merge chooses from; none for a loop's variable, which has a name. */
  #choices(id: number, value: SliceValue): number[] {
    if (this.#header[this.#blockOf[id]!] === this.#blockOf[id]) return [];
    // An operand made later comes by an edge of an irreducible loop.
    return (value.slice(2) as number[]).filter((operand, index) => index % 2 === 1 && operand < id);
  }

  /** The same sum with names for terms too long to read. */
  #named(polynomial: Polynomial): Polynomial {
    let result = polynomial;
    for (const [key, coefficient] of polynomial) {
      if (key.length <= MAX_TERM_TEXT) continue;
      if (result === polynomial) result = new Map(polynomial);
      (result as Map<string, bigint>).delete(key);
      result = sum(result, atom(this.#term(key)), coefficient);
    }
    if (result.size <= MAX_TERMS) return result;
    // A pointer stays in sight.
    const isPointer = (key: string, coefficient: bigint) => coefficient === 1n && this.#taken.has(key);
    const terms = [...result];
    const rest = new Map(terms.filter(([key, coefficient]) => !isPointer(key, coefficient)));
    const pointers = new Map(terms.filter(([key, coefficient]) => isPointer(key, coefficient)));
    return sum(pointers, atom(this.#term(print(rest))));
  }

  /** The name of a long term; the same for the same text. */
  #term(text: string): string {
    let name = this.#terms.get(text);
    if (name === undefined) {
      name = `$${this.#terms.size + 1}`;
      this.#terms.set(text, name);
      const explained = `${name} = ${text}`;
      this.#definitions.set(name, { kind: 'term', text: () => explained });
    }
    return name;
  }

  #make(id: number, value: SliceValue): Polynomial {
    const [op, width, ...rest] = value;
    const args = rest as number[];
    const of = (index: number) => this.#polynomial(args[index]!);
    switch (op) {
      case 'constant':
        return constant(BigInt.asIntN(width === 1 ? 2 : width, BigInt(rest[0] as string)));
      case 'special':
        return atom(rest[0] as string);
      case 'parameter':
        return atom(this.parameterName(rest[0] as number));
      case 'parameterAddress':
        return atom(`&${this.parameterName(rest[0] as number)}`);
      case 'objectAddress':
        return atom(this.#objectName(rest[0] as number));
      case 'functionAddress':
        return atom(`&${this.template.functions[rest[0] as number] ?? '?'}`);
      case 'opaque':
        return atom('⟨not modelled⟩');
      case 'undefined':
        return atom('⟨undefined⟩');
      case 'toGeneric':
      case 'fromGeneric':
        return this.#polynomial(rest[1] as number);
      case 'isSpace':
        return atom(`(${print(this.#polynomial(rest[1] as number))} is in ${rest[0]})`);
      case 'load':
        return atom(`${rest[0] === 'generic' ? 'memory' : rest[0]}[${print(this.#polynomial(rest[1] as number))}]`);
      case 'element':
        return atom(`${printFactor(of(0))}.${'xyzw'[rest[1] as number] ?? rest[1]}`);
      case 'exchange':
        return atom(`⟨some lane's ${print(of(0))}⟩`);
      case 'zeroExtend':
      case 'signExtend':
      case 'truncate':
        return of(0);
      case 'add':
        return sum(of(0), of(1));
      case 'sub':
        return sum(of(0), of(1), -1n);
      case 'mul':
        return this.#product(of(0), of(1));
      case 'shiftLeft': {
        const amount = isConstant(of(1));
        if (amount !== undefined && amount >= 0n && amount < 64n) return this.#product(of(0), constant(1n << amount));
        break;
      }
      case 'shiftRightArithmetic':
      case 'and': {
        const quotient = this.#quotient(op, width, args);
        if (quotient) return quotient;
        break;
      }
      case 'not':
        return width === 1 ? atom(`(${this.#truth(args[0]!, false)})`) : atom(`~${printFactor(of(0))}`);
      case 'select':
        return atom(`(${this.#truth(args[0]!, true)} ? ${print(of(1))} : ${print(of(2))})`);
      case 'phi':
        return this.#phi(id, value);
      default:
        break;
    }
    if (RELATIONS[op]) return atom(`(${this.#truth(id, true)})`);
    const operator = OPERATORS[op];
    if (operator) return atom(`(${printFactor(of(0))} ${operator} ${printFactor(of(1))})`);
    const plain = rest.filter((argument) => typeof argument === 'number') as number[];
    return atom(`${op}(${plain.map((argument) => print(this.#polynomial(argument))).join(', ')})`);
  }

  #constantOf(id: number | undefined): bigint | undefined {
    const value = id === undefined ? undefined : this.template.values[id]!;
    return value?.[0] === 'constant' ? BigInt(value[2] as string) : undefined;
  }

  /** Signed division by 2^k as compilers write it: `(x + ((x >> 31) >>> (32 - k))) >> k`, or `& -2^k` for a multiple. */
  #quotient(op: string, width: number, args: readonly number[]): Polynomial | undefined {
    const second = this.#constantOf(args[1]);
    if (second === undefined) return undefined;
    const factor = op === 'and' ? BigInt.asUintN(width, -second) : 1n << second;
    if (factor < 2n || (factor & (factor - 1n)) !== 0n) return undefined;
    const [add, , x, bias] = this.template.values[args[0]!]!;
    if (add !== 'add') return undefined;
    const [shift, , sign, amount] = this.template.values[bias as number]!;
    if (
      shift !== 'shiftRightLogical' ||
      1n << (BigInt(width) - (this.#constantOf(amount as number) ?? 0n)) !== factor
    ) {
      return undefined;
    }
    const [fill, , filled, all] = this.template.values[sign as number]!;
    const whole = fill === 'shiftRightArithmetic' && this.#constantOf(all as number) === BigInt(width - 1);
    if (whole ? filled !== x : sign !== x || factor !== 2n) return undefined;
    const quotient = atom(`(${printFactor(this.#polynomial(x as number))} / ${factor})`);
    return op === 'and' ? this.#product(quotient, constant(factor)) : quotient;
  }

  #product(a: Polynomial, b: Polynomial): Polynomial {
    if (a.size * b.size > MAX_TERMS) return atom(`${printFactor(a)}·${printFactor(b)}`);
    let result: Polynomial = new Map();
    for (const [left, x] of a) {
      for (const [right, y] of b) {
        const key = [left, right]
          .filter((factor) => factor !== '')
          .sort()
          .join('·');
        result = sum(result, new Map([[key, x * y]]));
      }
    }
    return result;
  }

  #phi(id: number, value: SliceValue): Polynomial {
    if (this.#header[this.#blockOf[id]!] === this.#blockOf[id]) {
      const name = this.#loopName();
      this.#definitions.set(name, { kind: 'loop', text: () => this.#loopText(id, name) });
      return atom(name);
    }
    const pairs = value.slice(2) as number[];
    const options = this.#choices(id, value);
    const texts = new Set(options.map((option) => print(this.#polynomial(option))));
    if (options.length < pairs.length / 2) texts.add('what a loop made');
    return texts.size === 1 && options.length > 0
      ? this.#polynomial(options[0]!)
      : atom(`(one of ${[...texts].join(', ')})`);
  }

  #loopName(): string {
    for (;;) {
      const name = loopName(this.#loopCount++);
      if (!this.#taken.has(name)) return name;
    }
  }

  /** How a loop variable starts and goes on. */
  #loopText(id: number, name: string): string {
    const pairs = this.template.values[id]!.slice(2) as number[];
    const block = this.#blockOf[id]!;
    const starts: string[] = [];
    const steps: string[] = [];
    for (let index = 0; index < pairs.length; index += 2) {
      const next = this.#polynomial(pairs[index + 1]!);
      if (!this.#tree.dominates(block, pairs[index]!)) {
        starts.push(print(next));
        continue;
      }
      const step = sum(next, atom(name), -1n);
      const linear = next.get(name) === 1n && ![...step.keys()].some((key) => key.split('·').includes(name));
      steps.push(linear ? `in steps of ${print(step)}` : `then ${print(next)}`);
    }
    // A loop tested at its end goes round while the latch's condition holds.
    const goesOn: string[] = [];
    for (let index = 0; index < pairs.length; index += 2) {
      const { end } = this.template.blocks[pairs[index]!]!;
      if (!this.#tree.dominates(block, pairs[index]!) || end[0] !== 'branch' || end[2] === end[3]) continue;
      goesOn.push(this.#truth(end[1], end[2] === block));
    }
    const text = `${name} from ${[...new Set(starts)].join(' or ')} ${[...new Set(steps)].join(' or ')}`;
    return goesOn.length > 0 ? `${text} while ${[...new Set(goesOn)].join(' or ')}` : text;
  }
}

function loopName(index: number): string {
  const letters = 'ijklmnpq';
  return index < letters.length ? letters[index]! : `i${index - letters.length + 1}`;
}

/** Targets of a slice block's end. */
export function endTargets(end: SliceEnd): number[] {
  switch (end[0]) {
    case 'jump':
      return [end[1]];
    case 'branch':
      return [end[2], end[3]];
    case 'switch':
      return [...new Set(end.slice(2) as number[])];
    case 'exit':
      return [];
  }
}

/** The values that a value is computed from. */
export function operandsOf(value: SliceValue): readonly number[] {
  const [op, , ...rest] = value;
  switch (op) {
    case 'constant':
    case 'undefined':
    case 'opaque':
    case 'special':
    case 'parameter':
    case 'parameterAddress':
    case 'objectAddress':
    case 'functionAddress':
      return [];
    case 'toGeneric':
    case 'fromGeneric':
    case 'isSpace':
    case 'load':
      return [rest[1] as number];
    case 'element':
      return [rest[0] as number];
    case 'phi':
      return rest.filter((_, index) => index % 2 === 1) as number[];
    default:
      return rest.filter((operand) => typeof operand !== 'object') as number[];
  }
}
