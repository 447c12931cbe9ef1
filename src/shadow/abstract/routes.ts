/**
 * How control comes to a block, as far as the template alone says: the tests that every thread passes on its way from the entry,
 * and the pieces of the way that only a launch can tell (loops passed over, ways that part and meet again, switches).
 *
 * A route says the same as walking from dominator to dominator, step by step, which {@link Control} does for those pieces.
 */
import type { Plan } from './plan.js';

export interface Leg {
  /** What all who come here have as `want` says; −1: a piece that is to be walked. */
  readonly condition: number;
  readonly want: boolean;
  readonly from: number;
  readonly to: number;
}

export type Route = readonly Leg[];

/** The legs from the entry to a block, in order; undefined when no way leads there. */
export function routeTo(plan: Plan, block: number): Route | undefined {
  const chain: number[] = [];
  for (let at = block; ; at = plan.idom[at]!) {
    if (!(at >= 0)) return undefined;
    chain.push(at);
    if (at === 0) break;
  }
  const legs: Leg[] = [];
  for (let index = chain.length - 1; index > 0; index--) addLegs(plan, chain[index]!, chain[index - 1]!, legs);
  return legs;
}

function addLegs(plan: Plan, from: number, to: number, legs: Leg[]): void {
  const ways = plan.ways(to);
  for (let at = from; at !== to && ways[at] !== 2; ) {
    const { end } = plan.template.blocks[at]!;
    const live = plan.forward(at, to).filter((next) => ways[next] !== 0);
    const [next] = live;
    const isPlain = ways[at] !== 0 && live.length === 1 && next !== undefined && !leavesLoop(plan, at, to);
    const isTest = end[0] === 'branch' && end[2] !== end[3] && (next === end[2] || next === end[3]);
    if (!isPlain || !(isTest || end[0] === 'jump')) {
      legs.push({ condition: -1, want: false, from: at, to });
      return;
    }
    if (isTest) legs.push({ condition: end[1], want: next === end[2], from: at, to: next });
    at = next;
  }
}

/** Whether a loop around one block does not hold another. */
function leavesLoop(plan: Plan, block: number, target: number): boolean {
  for (let header = plan.loopOf[block]!; header >= 0; ) {
    const loop = plan.loops.get(header)!;
    if (!loop.members.has(target)) return true;
    header = loop.parent;
  }
  return false;
}
