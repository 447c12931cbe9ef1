/**
 * A site's place and guard as a formula a person can check: `out[4·(ntid.x·ctaid.x + tid.x)] if ntid.x·ctaid.x + tid.x < n`.
 * For reading only. Conversions between widths are left out and 32-bit wrap-around is not shown; shadow execution works
 * on the slice, never on this text.
 */
import { DominatorTree, immediateDominators, innermostLoops, predecessorsOf, reversePostorder } from '../ir/index.js';
import type { KernelTemplate, Site, SliceEnd, SliceValue } from './types.js';

/** Formulas longer than this are cut: nobody checks them by eye. */
const MAX_TEXT = 300;
/** Products of sums are multiplied out up to this many terms. */
const MAX_TERMS = 12;

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
  // A single atom is already in parentheses where it needs them.
  if (polynomial.size === 1 && [...polynomial.values()][0] === 1n && ![...polynomial.keys()][0]!.includes('·'))
    return text;
  return polynomial.size > 1 || text.startsWith('-') || /[·\s]/.test(text) ? `(${text})` : text;
}

/** What a formula says about one site. */
export interface SiteFormula {
  /** `out[4·(…)]`, or words where no formula describes the place. */
  readonly place: string;
  /** Conditions that all must hold; empty when it always runs. */
  readonly conditions: readonly string[];
  /** `i = tid.x, tid.x + ntid.x, …`: what the loop variables used above run over. */
  readonly loops: readonly string[];
}

export class FormulaPrinter {
  readonly #memo = new Map<number, Polynomial>();
  readonly #blockOf: Int32Array;
  readonly #loops = new Map<number, string>();
  readonly #tree: DominatorTree;
  readonly #idom: Int32Array;
  readonly #header: Int32Array;
  readonly #successors: readonly number[][];
  readonly #predecessors: readonly number[][];
  #used = new Set<number>();

  constructor(readonly template: KernelTemplate) {
    this.#blockOf = new Int32Array(template.values.length);
    for (const [index, block] of template.blocks.entries()) this.#blockOf.fill(index, block.first);
    this.#successors = template.blocks.map((block) => endTargets(block.end));
    this.#predecessors = predecessorsOf(this.#successors);
    const order = reversePostorder(this.#successors, 0);
    this.#idom = immediateDominators(order, this.#predecessors);
    this.#tree = new DominatorTree(this.#idom, 0);
    this.#header = innermostLoops(order, this.#predecessors, this.#tree).header;
  }

  /** The formula of one site of this template. */
  site(site: Site): SiteFormula {
    this.#used = new Set();
    const place = this.#place(site);
    const conditions = this.#conditions(site);
    const loops: string[] = [];
    // Starts and steps may mention further loop variables.
    const told = new Set<number>();
    for (let more = true; more; ) {
      more = false;
      for (const id of [...this.#used]) {
        if (told.has(id)) continue;
        told.add(id);
        more = true;
        loops.push(this.#loopText(id));
      }
    }
    return { place: cut(place), conditions: conditions.map(cut), loops: loops.map(cut) };
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
  #truth(id: number, holds: boolean): string {
    const value = this.template.values[id]!;
    const [op, , ...rest] = value;
    const args = rest as number[];
    const relation = RELATIONS[op];
    if (relation) {
      const [a, b] = args as [number, number];
      return `${print(this.#polynomial(a))} ${relation[holds ? 0 : 1]} ${print(this.#polynomial(b))}`;
    }
    if (op === 'not') return this.#truth(args[0]!, !holds);
    if (op === 'constant') return (rest[0] !== '0') === holds ? 'true' : 'false';
    if (op === 'and' || op === 'or') {
      const word = (op === 'and') === holds ? 'and' : 'or';
      return `(${this.#truth(args[0]!, holds)} ${word} ${this.#truth(args[1]!, holds)})`;
    }
    const text = print(this.#polynomial(id));
    return holds ? text : `not ${text}`;
  }

  #polynomial(id: number): Polynomial {
    const known = this.#memo.get(id);
    if (known) {
      if (this.#loops.has(id)) this.#used.add(id);
      for (const key of known.keys()) this.#useLoops(key);
      return known;
    }
    this.#memo.set(id, atom(`v${id}`));
    const made = this.#make(id, this.template.values[id]!);
    this.#memo.set(id, made);
    return made;
  }

  /** Notes the loop variables that a remembered text mentions. */
  #useLoops(text: string): void {
    for (const [id, name] of this.#loops) {
      if (text === name || new RegExp(`(^|[^\\w])${name}([^\\w]|$)`, 'u').test(text)) this.#used.add(id);
    }
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
      case 'not':
        return width === 1 ? atom(`(${this.#truth(args[0]!, false)})`) : atom(`~${printFactor(of(0))}`);
      case 'select':
        return atom(`(${this.#truth(args[0]!, true)} ? ${print(of(1))} : ${print(of(2))})`);
      case 'phi':
        return this.#phi(id, rest as number[]);
      default:
        break;
    }
    if (RELATIONS[op]) return atom(`(${this.#truth(id, true)})`);
    const operator = OPERATORS[op];
    if (operator) return atom(`(${printFactor(of(0))} ${operator} ${printFactor(of(1))})`);
    const plain = rest.filter((argument) => typeof argument === 'number') as number[];
    return atom(`${op}(${plain.map((argument) => print(this.#polynomial(argument))).join(', ')})`);
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

  #phi(id: number, pairs: readonly number[]): Polynomial {
    const block = this.#blockOf[id]!;
    if (this.#header[block] === block) {
      const name = loopName(this.#loops.size);
      this.#loops.set(id, name);
      this.#used.add(id);
      return atom(name);
    }
    const options: string[] = [];
    for (let index = 1; index < pairs.length; index += 2) options.push(print(this.#polynomial(pairs[index]!)));
    const distinct = [...new Set(options)];
    return distinct.length === 1 ? this.#polynomial(pairs[1]!) : atom(`(one of ${distinct.join(', ')})`);
  }

  /** How a loop variable starts and goes on. */
  #loopText(id: number): string {
    const name = this.#loops.get(id)!;
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
    return `${name} from ${[...new Set(starts)].join(' or ')} ${[...new Set(steps)].join(' or ')}`;
  }
}

function loopName(index: number): string {
  const letters = 'ijklmnpq';
  return index < letters.length ? letters[index]! : `i${index - letters.length + 1}`;
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
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
