export { deriveTemplate, type DerivationContext } from './derive.js';
export {
  encodeTemplateFile,
  parseTemplateFile,
  readTemplateFile,
  TEMPLATE_SCHEMA,
  templateFileParts,
} from './file.js';
export { FormulaPrinter, type SiteFormula } from './formula.js';
export * from './types.js';
export { evaluateInteger, isIntegerOperation } from '../ir/index.js';
