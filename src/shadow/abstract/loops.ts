/**
 * The natural loops of a slice: blocks, ways out, the tests that every round passes, and variables with what they start from and
 * what a round makes of them. Follows from the template alone.
 */
import {
  type DominatorTree,
  isFloatOperation,
  isIntegerOperation,
  type KernelTemplate,
} from '../../templates/index.js';

export interface Loop {
  readonly header: number;
  /** Header of the enclosing loop; -1 without. */
  readonly parent: number;
  readonly latches: readonly number[];
  readonly members: ReadonlySet<number>;
  /** Edges that leave, with the block they leave from. */
  readonly exits: readonly LoopExit[];
  /** Exits that every round passes, once: the block ends in a test, and all back edges come after it. */
  readonly tests: readonly LoopTest[];
  /** Values of the header that differ between rounds. */
  readonly variables: readonly number[];
  /** By variable: values at the ends of a round, one after the other. */
  readonly backs: ReadonlyMap<number, readonly number[]>;
  /** By variable: what its values at the ends of a round are made of, as far as that may be another number in each round. */
  readonly parts: ReadonlyMap<number, readonly number[]>;
}

export interface LoopExit {
  readonly from: number;
  readonly to: number;
  /** A test that leaves by it, if its outcome is the same in every round; -1 otherwise. */
  readonly condition: number;
  readonly leaveWhen: boolean;
}

export interface LoopTest {
  readonly condition: number;
  readonly stayWhen: boolean;
  /** What the condition uses from outside the loop. */
  readonly outside: readonly number[];
  /** What it uses that may be another number in each round for another reason than the loop's own variables; empty if nothing does. */
  readonly parts: readonly number[];
}

/** What a phi may be, and by which predecessor; of a loop's variable without those of back edges. */
export interface PhiEntries {
  readonly operands: ReadonlyMap<number, number>;
  /** Each operand once. */
  readonly choices: readonly number[];
}

/** What is known of the control flow before its loops. */
export interface Flow {
  readonly template: KernelTemplate;
  readonly order: readonly number[];
  readonly successors: readonly (readonly number[])[];
  readonly predecessors: readonly (readonly number[])[];
  readonly tree: DominatorTree;
  /** Innermost loop header by block; -1 outside. */
  readonly loopOf: Int32Array;
  /** Values of each block. */
  readonly ends: Int32Array;
  readonly operands: readonly (readonly number[])[];
}

/** Loops by header, outer ones first. */
export function findLoops(flow: Flow): Map<number, Loop> {
  const loops = new Map<number, Loop>();
  for (const header of flow.order) {
    if (flow.loopOf[header] !== header) continue;
    let parent = -1;
    for (const outer of loops.values()) if (outer.members.has(header)) parent = outer.header;
    loops.set(header, loopAt(flow, header, parent));
  }
  return loops;
}

function loopAt(flow: Flow, header: number, parent: number): Loop {
  const { template, successors, predecessors, tree, ends } = flow;
  const latches = predecessors[header]!.filter((block) => tree.dominates(header, block));
  const members = new Set<number>([header]);
  const work = [...latches];
  while (work.length > 0) {
    const block = work.pop()!;
    if (members.has(block)) continue;
    members.add(block);
    work.push(...predecessors[block]!);
  }
  const exits = [...members].flatMap((from) =>
    successors[from]!.filter((to) => !members.has(to)).map((to) => exitOf(flow, header, members, from, to)),
  );
  const tests: LoopTest[] = [];
  for (const { from } of exits) {
    const { end } = template.blocks[from]!;
    if (end[0] !== 'branch' || !latches.every((latch) => tree.dominates(from, latch))) continue;
    // In an inner loop the test is passed several times a round.
    if (flow.loopOf[from] !== header) continue;
    const stays = members.has(end[2]);
    if (stays === members.has(end[3])) continue;
    const outside = usedFromOutside(flow, header, members, latches, end[1]);
    const parts = partsOf(flow, header, members, [end[1]]);
    tests.push({ condition: end[1], stayWhen: stays, outside, parts: parts.isFresh ? parts.ids : [] });
  }
  const variables: number[] = [];
  const backs = new Map<number, readonly number[]>();
  const parts = new Map<number, readonly number[]>();
  for (let id = template.blocks[header]!.first; id < ends[header]!; id++) {
    if (template.values[id]![0] !== 'phi') continue;
    variables.push(id);
    backs.set(
      id,
      operandsOfPhi(template, id).flatMap(([from, operand]) => (latches.includes(from) ? [operand] : [])),
    );
  }
  for (const [phi, values] of backs) parts.set(phi, partsOf(flow, header, members, values).ids);
  return { header, parent, latches, members, exits, tests, variables, backs, parts };
}

function exitOf(flow: Flow, header: number, members: ReadonlySet<number>, from: number, to: number): LoopExit {
  const { end } = flow.template.blocks[from]!;
  const isTest = end[0] === 'branch' && end[2] !== end[3];
  const isSteady = isTest && partsOf(flow, header, members, [end[1]], true).ids.length === 0;
  return { from, to, condition: isSteady ? end[1] : -1, leaveWhen: end[2] === to };
}

/** Operations whose result follows from their operands, or from the launch. */
const STEADY: ReadonlySet<string> = new Set([
  'constant',
  'parameter',
  'parameterAddress',
  'objectAddress',
  'functionAddress',
  'special',
  'toGeneric',
  'fromGeneric',
  'isSpace',
]);

/**
 * What values of a loop are made of inside of it, as far as it may be another number in each round: by a variable of this loop or of one
 * within, by the way taken, or by what is read.
 *
 * @param withVariables whether the loop's own variables are among them
 * @returns `isFresh`: something but the loop's own variables makes the difference
 */
function partsOf(
  { template, ends, operands }: Flow,
  header: number,
  members: ReadonlySet<number>,
  of: readonly number[],
  withVariables = false,
): { readonly ids: readonly number[]; readonly isFresh: boolean } {
  const { values, blocks } = template;
  const isIn = (id: number, block: number) => id >= blocks[block]!.first && id < ends[block]!;
  const isVariable = (id: number) => values[id]![0] === 'phi' && isIn(id, header);
  const made: number[] = [];
  const seen = new Set<number>();
  const work = [...of];
  for (let id = work.pop(); id !== undefined; id = work.pop()) {
    const at = id;
    if (seen.has(at) || ![...members].some((block) => isIn(at, block))) continue;
    seen.add(at);
    made.push(at);
    if (!isVariable(at)) work.push(...operands[at]!);
  }
  const isFresh = (id: number) => {
    const [op] = values[id]!;
    return !isVariable(id) && !STEADY.has(op) && !isIntegerOperation(op) && !isFloatOperation(op);
  };
  const differs = new Set(made.filter((id) => isVariable(id) || isFresh(id)));
  for (let before = -1; before < differs.size; ) {
    before = differs.size;
    for (const id of made) if (operands[id]!.some((operand) => differs.has(operand))) differs.add(id);
  }
  return { ids: [...differs].filter((id) => withVariables || !isVariable(id)), isFresh: made.some(isFresh) };
}

/** Numbers from outside a loop that a value of it is made of, in the order of their use. */
function usedFromOutside(
  { template, ends, operands }: Flow,
  header: number,
  members: ReadonlySet<number>,
  latches: readonly number[],
  condition: number,
): number[] {
  const { values, blocks } = template;
  const isMember = new Uint8Array(values.length);
  for (const block of members) isMember.fill(1, blocks[block]!.first, ends[block]);
  const found: number[] = [];
  const seen = new Set<number>();
  const work = [condition];
  for (let id = work.pop(); id !== undefined; id = work.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    const [op, width] = values[id]!;
    if (!isMember[id]) {
      if (width > 1) found.push(id);
    } else if (op !== 'phi') work.push(...[...operands[id]!].reverse());
    else if (id >= blocks[header]!.first && id < ends[header]!) {
      // Of the loop's own variables what they start from.
      const entries = operandsOfPhi(template, id).filter(([from]) => !latches.includes(from));
      work.push(...entries.map(([, operand]) => operand).reverse());
    }
  }
  return found;
}

/** @param loop the one whose variable the phi is */
export function entriesOf(template: KernelTemplate, id: number, loop: Loop | undefined): PhiEntries {
  const operands = new Map(operandsOfPhi(template, id).filter(([from]) => !loop?.latches.includes(from)));
  return { operands, choices: [...new Set(operands.values())] };
}

function operandsOfPhi(template: KernelTemplate, id: number): [predecessor: number, operand: number][] {
  const value = template.values[id]!;
  const pairs: [number, number][] = [];
  for (let index = 2; index < value.length; index += 2)
    pairs.push([value[index] as number, value[index + 1] as number]);
  return pairs;
}
