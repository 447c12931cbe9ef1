/**
 * What readers of programs need: the form, its graph algorithms, what its operations compute. Without the lowering, so that
 * whoever only reads templates does not load the parser.
 */
export { targetsOf } from './builder.js';
export { evaluateInteger, isIntegerOperation, toSigned } from './evaluate.js';
export { evaluateFloat, isFloatOperation } from './evaluate-float.js';
export {
  DominatorTree,
  immediateDominators,
  innermostLoops,
  predecessorsOf,
  reversePostorder,
  type Successors,
} from './graph.js';
export { accessOperands, actionOperands } from './operands.js';
export * from './program.js';
