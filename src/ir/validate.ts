/**
 * Checks the invariants of a `KernelProgram` (see `program.ts`). Tests run it over every fixture; it is cheap enough to run
 * wherever a program comes from somewhere new.
 */
import { targetsOf } from './builder.js';
import { DominatorTree } from './graph.js';
import { accessOperands, actionOperands } from './operands.js';
import type { KernelProgram } from './program.js';

/** What is wrong with a program, in words; empty when nothing is. */
export function validateProgram(program: KernelProgram): string[] {
  const { blocks, values } = program;
  const problems: string[] = [];
  const tree = new DominatorTree(
    Int32Array.from(blocks, (block) => block.immediateDominator),
    0,
  );
  const blockOf = new Int32Array(values.length).fill(-1);
  let expected = 0;
  for (const [index, block] of blocks.entries()) {
    if (block.first !== expected) problems.push(`block ${index} starts at value ${block.first}, not ${expected}`);
    blockOf.fill(index, block.first, block.first + block.count);
    expected = block.first + block.count;
    if (index === 0 && block.predecessors.length > 0) problems.push('the entry block has predecessors');
    for (const predecessor of block.predecessors) {
      const targets = targetsOf(blocks[predecessor]!.terminator);
      if (!targets.includes(index)) problems.push(`block ${predecessor} does not lead to block ${index}`);
    }
  }
  if (expected !== values.length) problems.push(`blocks hold ${expected} of ${values.length} values`);
  const usable = (definition: number, user: number, inBlock: number, name: string): void => {
    if (definition < 0 || definition >= values.length)
      problems.push(`${name} uses value ${definition}, which is not there`);
    else if (blockOf[definition] === inBlock ? definition >= user : !tree.dominates(blockOf[definition]!, inBlock)) {
      problems.push(`${name} uses value ${definition}, which does not dominate it`);
    }
  };
  for (const [id, value] of values.entries()) {
    const block = blockOf[id]!;
    const name = `value ${id} (${value.op})`;
    if (value.op === 'phi') {
      const { predecessors } = blocks[block]!;
      if (value.args.length !== predecessors.length) problems.push(`${name} has ${value.args.length} operands`);
      value.args.forEach((arg, index) => {
        const predecessor = predecessors[index];
        if (predecessor !== undefined) usable(arg, Number.MAX_SAFE_INTEGER, predecessor, name);
      });
    } else for (const arg of value.args) usable(arg, id, block, name);
    if (value.access) for (const arg of accessOperands(value.access)) usable(arg, id, block, name);
    if (value.action) for (const arg of actionOperands(value.action)) usable(arg, id, block, name);
  }
  for (const [index, block] of blocks.entries()) {
    const { terminator } = block;
    const used =
      terminator.kind === 'branch' ? terminator.condition : terminator.kind === 'switch' ? terminator.index : -1;
    if (used >= 0) usable(used, Number.MAX_SAFE_INTEGER, index, `block ${index}'s end`);
  }
  return problems;
}
