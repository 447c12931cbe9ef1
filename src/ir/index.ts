export { accessOperands, targetsOf } from './builder.js';
export { evaluateInteger, isIntegerOperation, toSigned } from './evaluate.js';
export { formatProgram } from './format.js';
export {
  DominatorTree,
  immediateDominators,
  innermostLoops,
  predecessorsOf,
  reversePostorder,
  type Successors,
} from './graph.js';
export { DEFAULT_LIMITS, type LoweringLimits, lowerKernel } from './lower/lower-kernel.js';
export { type BodyProvider, ModuleSymbols } from './lower/module-symbols.js';
export * from './program.js';
export { validateProgram } from './validate.js';
