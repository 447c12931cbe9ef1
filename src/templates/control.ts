/**
 * Which branches decide whether a block runs: postdominators and control dependence (Ferrante, Ottenstein, Warren). Blocks
 * that cannot reach the end get an edge to it, so that infinite loops have postdominators too; slices built on this are
 * insensitive to termination, which only widens them.
 */
import {
  DominatorTree,
  immediateDominators,
  type KernelProgram,
  predecessorsOf,
  reversePostorder,
  targetsOf,
} from '../ir/form.js';

export interface ControlDependence {
  /** Block behind all paths from a block; `blocks.length` (the end) when there is none other. */
  readonly immediatePostdominator: Int32Array;
  /**
   * Blocks whose branch decides whether a block runs at all. Branches that a block dominates are left out: when they are
   * reached it has run, and whether it runs again matters only through the phis of the loop, which count their own way.
   */
  readonly controllers: readonly (readonly number[])[];
  readonly successors: readonly (readonly number[])[];
}

/** Control dependence of a program's blocks. */
export function controlDependence(program: KernelProgram): ControlDependence {
  const count = program.blocks.length;
  const successors = program.blocks.map((block) => targetsOf(block.terminator));
  const end = count;
  const forward: number[][] = [...successors.map((list) => [...list]), []];
  for (let block = 0; block < count; block++) if (forward[block]!.length === 0) forward[block]!.push(end);
  let backward = predecessorsOf(forward);
  // Reach backwards from the end; what is not reached loops for ever: tie its last block to the end.
  const reaches = new Uint8Array(count + 1);
  const spread = (from: number): void => {
    const work = [from];
    reaches[from] = 1;
    while (work.length > 0) {
      for (const predecessor of backward[work.pop()!]!) {
        if (!reaches[predecessor]) {
          reaches[predecessor] = 1;
          work.push(predecessor);
        }
      }
    }
  };
  spread(end);
  for (let block = count - 1; block >= 0; block--) {
    if (reaches[block]) continue;
    forward[block]!.push(end);
    backward = predecessorsOf(forward);
    spread(block);
  }
  const order = reversePostorder(backward, end);
  const immediatePostdominator = immediateDominators(order, forward);
  const dominators = new DominatorTree(
    Int32Array.from(program.blocks, (block) => block.immediateDominator),
    0,
  );
  const controllers: number[][] = Array.from({ length: count }, () => []);
  for (let block = 0; block < count; block++) {
    if (forward[block]!.length < 2) continue;
    const stop = immediatePostdominator[block]!;
    const marked = new Set<number>();
    for (const successor of forward[block]!) {
      for (let runner = successor; runner !== stop && runner !== end; runner = immediatePostdominator[runner]!) {
        if (marked.has(runner)) break;
        marked.add(runner);
        if (!dominators.dominates(runner, block)) controllers[runner]!.push(block);
      }
    }
  }
  return { immediatePostdominator, controllers, successors };
}
