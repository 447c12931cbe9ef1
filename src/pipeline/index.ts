export {
  type BuildOptions,
  type BuildSummary,
  buildTemplates,
  buildTemplatesFromText,
  buildTemplatesTo,
  worstVerdict,
} from './build.js';
export { isTemplate, ModuleBuild, type ModuleInput } from './module-build.js';
