/**
 * What can be said of a template before any launch: operands by index, the forward graph, dominators, loops, and which values
 * are the same for all threads. Made once per template.
 */
import {
  COMPARISON_OPERATIONS,
  countsAsWrite,
  DominatorTree,
  endTargets,
  immediateDominators,
  innermostLoops,
  isIntegerOperation,
  type KernelTemplate,
  operandsOf,
  predecessorsOf,
  reversePostorder,
  type Site,
  type SliceValue,
} from '../../templates/index.js';
import { bigForm, type Form } from './form.js';
import { entriesOf, findLoops, type Loop, type PhiEntries } from './loops.js';
import { type Route, routeTo } from './routes.js';

/** One block's sites. */
export interface SiteGroup {
  readonly block: number;
  readonly sites: readonly number[];
  /** By place in `sites`: up to where the guards of all have a condition in common, and which; −1 when they have none. */
  readonly runs: readonly SiteRun[];
}

export interface SiteRun {
  readonly end: number;
  readonly condition: number;
}

const COMPARISONS: ReadonlySet<string> = new Set(COMPARISON_OPERATIONS);
const EQUALITIES: ReadonlySet<string> = new Set(['equal', 'notEqual']);

/** Conditions of a guard that are looked at to find common ones. */
const MAX_CONJUNCTS = 8;

const SPECIAL_UNIFORM: ReadonlySet<string> = new Set([
  'ntid.x',
  'ntid.y',
  'ntid.z',
  'nctaid.x',
  'nctaid.y',
  'nctaid.z',
  'nclusterid.x',
  'nclusterid.y',
  'nclusterid.z',
  'cluster_nctaid.x',
  'cluster_nctaid.y',
  'cluster_nctaid.z',
  'cluster_nctarank',
  'dynamic_smem_size',
]);

export class Plan {
  readonly values: readonly SliceValue[];
  /** Operations and widths by value; what is looked at most lies close together. */
  readonly names: readonly string[];
  readonly widths: Int32Array;
  /** Operand values by value. */
  readonly operands: readonly (readonly number[])[];
  readonly blockOf: Int32Array;
  readonly successors: readonly (readonly number[])[];
  readonly predecessors: readonly (readonly number[])[];
  readonly idom: Int32Array;
  readonly tree: DominatorTree;
  /** Innermost loop header by block; -1 outside. */
  readonly loopOf: Int32Array;
  readonly loops: ReadonlyMap<number, Loop>;
  /** What phis may be on entering their block, by value. */
  readonly entries: readonly (PhiEntries | undefined)[];
  /** Cycles that are no natural loops: the executor declines. */
  readonly irreducible: boolean;
  /** The same for every thread, as far as launch values go. */
  readonly uniform: Uint8Array;
  /** Names of the special values that the slice uses. */
  readonly specials: readonly string[];
  /** Byte offsets of the parameters of 32 bits that the slice uses. */
  readonly words: readonly number[];
  /** Write sites that count, and all of them, by block. */
  readonly countedGroups: readonly SiteGroup[];
  readonly allGroups: readonly SiteGroup[];
  /** Constants as forms, by value. */
  readonly constants: readonly (Form | undefined)[];
  /** Whether a value is a difference shifted right, as in the average of two numbers. */
  readonly isHalf: Uint8Array;
  /** Whether a value is an integer operation. */
  readonly isInteger: Uint8Array;
  /** Whether a value compares two integers, and whether by their order. */
  readonly isComparison: Uint8Array;
  readonly isOrder: Uint8Array;
  /** Values of each block. */
  readonly ends: Int32Array;
  readonly #must = new Map<number, Int8Array>();
  readonly #routes = new Map<number, Route | undefined>();
  readonly #order: readonly number[];
  readonly #isNeeded: Uint8Array;

  constructor(readonly template: KernelTemplate) {
    const { blocks, values } = template;
    this.values = values.map((value) => [sharedName(value[0]), ...value.slice(1)] as unknown as SliceValue);
    this.names = this.values.map(([name]) => name);
    this.widths = Int32Array.from(values, ([, width]) => width);
    this.operands = values.map(operandsOf);
    this.constants = values.map(([op, width, bits]) =>
      op === 'constant' ? bigForm(BigInt(bits as string), width) : undefined,
    );
    this.specials = [...new Set(values.filter(([op]) => op === 'special').map((value) => value[2] as string))];
    this.words = [
      ...new Set(values.filter(([op, width]) => op === 'parameter' && width === 32).map((value) => value[2] as number)),
    ].filter((offset) => offset % 4 === 0);
    this.countedGroups = groupSites(template, countsAsWrite);
    this.allGroups = groupSites(template, () => true);
    this.isHalf = Uint8Array.from(values, ([op], id) =>
      op === 'shiftRightLogical' && values[this.operands[id]![0]!]![0] === 'sub' ? 1 : 0,
    );
    this.isInteger = Uint8Array.from(values, ([op]) => (isIntegerOperation(op) ? 1 : 0));
    this.isComparison = Uint8Array.from(values, ([op]) => (COMPARISONS.has(op) ? 1 : 0));
    this.isOrder = Uint8Array.from(values, ([op]) => (COMPARISONS.has(op) && !EQUALITIES.has(op) ? 1 : 0));
    this.blockOf = new Int32Array(values.length);
    this.ends = new Int32Array(blocks.length);
    for (let block = 0; block < blocks.length; block++) {
      const end = blocks[block + 1]?.first ?? values.length;
      this.ends[block] = end;
      this.blockOf.fill(block, blocks[block]!.first, end);
    }
    this.successors = blocks.map(({ end }) => [...new Set(endTargets(end))]);
    this.#order = reversePostorder(this.successors, 0);
    const reachable = new Set(this.#order);
    this.predecessors = predecessorsOf(this.successors).map((list) => list.filter((block) => reachable.has(block)));
    this.idom = immediateDominators(this.#order, this.predecessors);
    this.tree = new DominatorTree(this.idom, 0);
    const { header, irreducible } = innermostLoops(this.#order, this.predecessors, this.tree);
    this.loopOf = header;
    this.irreducible = irreducible;
    this.loops = findLoops({
      template,
      order: this.#order,
      successors: this.successors,
      predecessors: this.predecessors,
      tree: this.tree,
      loopOf: this.loopOf,
      ends: this.ends,
      operands: this.operands,
    });
    this.entries = values.map(([op], id) =>
      op === 'phi' ? entriesOf(template, id, this.loops.get(this.blockOf[id]!)) : undefined,
    );
    this.uniform = this.#findUniform();
    this.#isNeeded = this.#findNeeded();
  }

  /** Values that sites use, directly or through others. */
  #findNeeded(): Uint8Array {
    const needed = new Uint8Array(this.values.length);
    const work = this.template.writes.flatMap(({ address, guard, length, rows, coordinates }) => [
      address,
      guard,
      length,
      rows?.stride,
      ...(coordinates ?? []),
    ]);
    while (work.length > 0) {
      const id = work.pop();
      if (id === undefined || needed[id]) continue;
      needed[id] = 1;
      work.push(...this.operands[id]!);
    }
    return needed;
  }

  #findUniform(): Uint8Array {
    const uniform = new Uint8Array(this.values.length);
    for (let id = 0; id < this.values.length; id++) {
      const value = this.values[id]!;
      const [op] = value;
      if (op === 'constant' || op === 'parameter' || op === 'objectAddress') uniform[id] = 1;
      else if (op === 'special') uniform[id] = SPECIAL_UNIFORM.has(value[2] as string) ? 1 : 0;
      else if (this.isInteger[id]) uniform[id] = this.operands[id]!.every((operand) => uniform[operand]) ? 1 : 0;
    }
    return uniform;
  }

  /**
   * What sites need of values that follow from thread coordinates, launch sizes and parameter words alone, none of which varies;
   * operands first. What only control needs would split thread coordinates finer than addresses do.
   *
   * @param varying words of four bytes of the parameter block
   */
  valuesWithout(varying: Uint8Array): number[] {
    const isFree = this.#findFree(varying);
    const free: number[] = [];
    for (let id = 0; id < this.values.length; id++)
      if (isFree[id] && this.isInteger[id] && this.#isNeeded[id]) free.push(id);
    return free;
  }

  /** Variables of loops to which a round adds something that follows from the same. */
  variablesWithout(varying: Uint8Array): { readonly variable: number; readonly loop: Loop }[] {
    const isFree = this.#findFree(varying);
    const found: { variable: number; loop: Loop }[] = [];
    for (const loop of this.loops.values()) {
      for (const variable of loop.variables) {
        // A round's values in order: what the variable is made of, step by step, from itself and from what does not vary.
        const seen = new Set([variable]);
        const work = [...loop.backs.get(variable)!];
        let follows = true;
        for (let id = work.pop(); id !== undefined && follows; id = work.pop()) {
          if (isFree[id] || seen.has(id)) continue;
          seen.add(id);
          follows = this.isInteger[id] === 1;
          work.push(...this.operands[id]!);
        }
        if (follows) found.push({ variable, loop });
      }
    }
    return found;
  }

  /** By value, whether it follows from thread coordinates, launch sizes and words that do not vary. */
  #findFree(varying: Uint8Array): Uint8Array {
    const isFree = new Uint8Array(this.values.length);
    for (let id = 0; id < this.values.length; id++) {
      const [op, width, offset] = this.values[id]!;
      if (op === 'constant' || op === 'special') isFree[id] = 1;
      else if (op === 'parameter') {
        const first = (offset as number) >> 2;
        const last = ((offset as number) + width / 8 - 1) >> 2;
        isFree[id] = varying.subarray(first, last + 1).includes(1) ? 0 : 1;
      } else if (this.isInteger[id] && this.operands[id]!.every((operand) => operand < id && isFree[operand]))
        isFree[id] = 1;
    }
    return isFree;
  }

  /**
   * Successors on the way to `target`: back edges of loops that hold the target lead nowhere (to another round), those of other
   * loops lead to where the loop ends.
   */
  forward(block: number, target: number): readonly number[] {
    const list = this.successors[block]!;
    let result: number[] | undefined;
    for (let index = 0; index < list.length; index++) {
      const to = list[index]!;
      const loop = this.tree.dominates(to, block) ? this.loops.get(to) : undefined;
      if (!loop) {
        result?.push(to);
        continue;
      }
      result ??= list.slice(0, index);
      if (!loop.members.has(target)) for (const exit of loop.exits) result.push(exit.to);
    }
    return result ?? list;
  }

  /** The way to a block; undefined when there is none. */
  route(block: number): Route | undefined {
    if (!this.#routes.has(block)) this.#routes.set(block, routeTo(this, block));
    return this.#routes.get(block);
  }

  /** For each block how it leads to `target` in the same round: 0 never, 1 on some ways, 2 on all. */
  ways(target: number): Int8Array {
    let ways = this.#must.get(target);
    if (ways) return ways;
    ways = new Int8Array(this.successors.length).fill(-1);
    const stack = [0];
    ways[target] = 2;
    // Depth first, iteratively; the forward graph has no cycles but through ends of other loops, which settle at "some".
    const state = new Uint8Array(this.successors.length);
    while (stack.length > 0) {
      const block = stack[stack.length - 1]!;
      if (ways[block] !== -1) {
        stack.pop();
        continue;
      }
      const next = this.forward(block, target);
      if (state[block] === 0) {
        state[block] = 1;
        for (const to of next) if (ways[to] === -1 && state[to] === 0) stack.push(to);
        continue;
      }
      stack.pop();
      let some = false;
      let all = next.length > 0;
      for (const to of next) {
        const way = ways[to]!;
        if (way !== 0) some = true;
        if (way !== 2) all = false;
      }
      ways[block] = all ? 2 : some ? 1 : 0;
    }
    this.#must.set(target, ways);
    return ways;
  }
}

/**
 * The same name as a string that exists once. Names from a file are strings of their own, and comparing one with the names in the
 * code would look at its characters.
 */
function sharedName(name: string): string {
  return Object.keys({ [name]: 0 })[0]!;
}

/** Write sites by block, in order of blocks. */
function groupSites(template: KernelTemplate, counts: (site: Site) => boolean): SiteGroup[] {
  const byBlock = new Map<number, number[]>();
  for (const [index, site] of template.writes.entries()) {
    if (!counts(site)) continue;
    const list = byBlock.get(site.block);
    if (list) list.push(index);
    else byBlock.set(site.block, [index]);
  }
  return [...byBlock]
    .sort((a, b) => a[0] - b[0])
    .map(([block, sites]) => ({ block, sites, runs: runsOf(template, sites) }));
}

function runsOf(template: KernelTemplate, sites: readonly number[]): SiteRun[] {
  const parts = sites.map((site) => conjuncts(template, template.writes[site]!.guard));
  const runs: SiteRun[] = [];
  while (runs.length < sites.length) {
    let end = runs.length + 1;
    let common = parts[runs.length]!;
    for (; end < sites.length; end++) {
      const rest = common.filter((condition) => parts[end]!.includes(condition));
      if (rest.length === 0) break;
      common = rest;
    }
    const run = { end, condition: common[0] ?? -1 };
    while (runs.length < end) runs.push(run);
  }
  return runs;
}

/** Conditions that must all hold for a guard to: not necessarily all there are. */
function conjuncts(template: KernelTemplate, guard: number | undefined): number[] {
  const found: number[] = [];
  const work = guard === undefined ? [] : [guard];
  while (work.length > 0 && found.length < MAX_CONJUNCTS) {
    const id = work.pop()!;
    const value = template.values[id]!;
    if (value[0] === 'and') work.push(value[3] as number, value[2] as number);
    else found.push(id);
  }
  return found;
}
