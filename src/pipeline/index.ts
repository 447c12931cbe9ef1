export {
  type BuildOptions,
  type BuildSummary,
  type BuiltTemplates,
  buildTemplates,
  buildTemplatesFromText,
  buildTemplatesTo,
} from './build.js';
