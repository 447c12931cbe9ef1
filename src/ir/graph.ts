/**
 * Graph algorithms on integer-numbered control-flow graphs: reverse postorder, dominators (also of the reversed graph,
 * for postdominators), natural loops. All iterative: a kernel with 100,000 blocks must not overflow the stack.
 */

/** Successor lists by block number. */
export type Successors = readonly (readonly number[])[];

/** Blocks reachable from `entry` in reverse postorder, entry first. O(blocks + edges). */
export function reversePostorder(successors: Successors, entry: number): number[] {
  const state = new Uint8Array(successors.length);
  const next = new Uint32Array(successors.length);
  const postorder: number[] = [];
  const stack = [entry];
  state[entry] = 1;
  while (stack.length > 0) {
    const block = stack[stack.length - 1]!;
    const list = successors[block]!;
    let pushed = false;
    while (next[block]! < list.length) {
      const successor = list[next[block]!++]!;
      if (state[successor] === 0) {
        state[successor] = 1;
        stack.push(successor);
        pushed = true;
        break;
      }
    }
    if (!pushed) {
      stack.pop();
      postorder.push(block);
    }
  }
  return postorder.reverse();
}

/** Predecessor lists by block number; parallel edges are kept. */
export function predecessorsOf(successors: Successors): number[][] {
  const predecessors: number[][] = successors.map(() => []);
  for (let block = 0; block < successors.length; block++) {
    for (const successor of successors[block]!) predecessors[successor]!.push(block);
  }
  return predecessors;
}

/**
 * Immediate dominators of the blocks in `order` (reverse postorder, entry first); -1 for blocks not in it; the entry is
 * its own. Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm".
 */
export function immediateDominators(order: readonly number[], predecessors: Successors): Int32Array {
  const count = predecessors.length;
  const number = new Int32Array(count).fill(-1);
  for (let index = 0; index < order.length; index++) number[order[index]!] = index;
  const idom = new Int32Array(count).fill(-1);
  const entry = order[0]!;
  idom[entry] = entry;
  for (let changed = true; changed; ) {
    changed = false;
    for (let index = 1; index < order.length; index++) {
      const block = order[index]!;
      let common = -1;
      for (const predecessor of predecessors[block]!) {
        if (number[predecessor] === -1 || idom[predecessor] === -1) continue;
        if (common === -1) {
          common = predecessor;
          continue;
        }
        let left = predecessor;
        let right = common;
        while (left !== right) {
          while (number[left]! > number[right]!) left = idom[left]!;
          while (number[right]! > number[left]!) right = idom[right]!;
        }
        common = left;
      }
      if (idom[block] !== common) {
        idom[block] = common;
        changed = true;
      }
    }
  }
  return idom;
}

/** Constant-time dominance queries over a tree of immediate dominators. */
export class DominatorTree {
  readonly #enter: Int32Array;
  readonly #leave: Int32Array;

  constructor(
    readonly idom: Int32Array,
    entry: number,
  ) {
    const children: number[][] = Array.from(idom, () => []);
    for (let block = 0; block < idom.length; block++) {
      if (idom[block] !== -1 && block !== entry) children[idom[block]!]!.push(block);
    }
    this.#enter = new Int32Array(idom.length).fill(-1);
    this.#leave = new Int32Array(idom.length).fill(-1);
    let clock = 0;
    const stack = [entry];
    const next = new Uint32Array(idom.length);
    this.#enter[entry] = clock++;
    while (stack.length > 0) {
      const block = stack[stack.length - 1]!;
      const child = children[block]![next[block]!];
      if (child === undefined) {
        this.#leave[block] = clock++;
        stack.pop();
      } else {
        next[block]!++;
        this.#enter[child] = clock++;
        stack.push(child);
      }
    }
  }

  /** Whether every path from the entry to `below` passes `above`; a block dominates itself. */
  dominates(above: number, below: number): boolean {
    return this.#enter[above]! <= this.#enter[below]! && this.#leave[below]! <= this.#leave[above]!;
  }
}

/**
 * Innermost loop header of each block, -1 outside loops. A loop is a back edge whose target dominates its source
 * (natural loop); edges of irreducible cycles are reported in `irreducible` so that nobody mistakes them for straight code.
 */
export function innermostLoops(
  order: readonly number[],
  predecessors: Successors,
  tree: DominatorTree,
): { readonly header: Int32Array; readonly irreducible: boolean } {
  const header = new Int32Array(predecessors.length).fill(-1);
  const number = new Int32Array(predecessors.length).fill(-1);
  for (let index = 0; index < order.length; index++) number[order[index]!] = index;
  let irreducible = false;
  // Outer loops have smaller order numbers; visiting headers innermost-last lets inner loops overwrite outer ones.
  for (const candidate of order) {
    const latches = predecessors[candidate]!.filter((p) => number[p]! >= number[candidate]!);
    if (latches.length === 0) continue;
    const body: number[] = [];
    for (const latch of latches) {
      if (tree.dominates(candidate, latch)) body.push(latch);
      else irreducible = true;
    }
    if (body.length === 0) continue;
    const seen = new Set<number>([candidate]);
    header[candidate] = candidate;
    while (body.length > 0) {
      const block = body.pop()!;
      if (seen.has(block)) continue;
      seen.add(block);
      header[block] = candidate;
      for (const predecessor of predecessors[block]!) if (number[predecessor] !== -1) body.push(predecessor);
    }
  }
  return { header, irreducible };
}
