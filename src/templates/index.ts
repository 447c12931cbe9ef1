export {
  COMPARISON_OPERATIONS,
  DominatorTree,
  evaluateFloat,
  evaluateInteger,
  type FloatMode,
  type FloatOperation,
  INTEGER_OPERATIONS,
  type IntegerOperation,
  immediateDominators,
  innermostLoops,
  isFloatOperation,
  isIntegerOperation,
  type MemorySpace,
  predecessorsOf,
  reversePostorder,
} from '../ir/form.js';
export { type DerivationContext, deriveTemplate } from './derive.js';
export {
  encodeTemplateFile,
  parseTemplateFile,
  readTemplateFile,
  TEMPLATE_SCHEMA,
  templateFileParts,
} from './file.js';
export { endTargets, FormulaPrinter, operandsOf, type SiteFormula } from './formula.js';
export { buffersOf, objectsOf, type PackedParts, PackedTemplates, packTemplates } from './packed.js';
export * from './types.js';
